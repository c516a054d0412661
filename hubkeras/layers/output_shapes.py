"""Shapes that a user gives for a layer's outputs, and symbolic outputs made of signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from hubkeras.errors import LayerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hubkeras.functions.tensor_info import ParsedTensorInfo


def parse_output_shape(value: Any) -> Any:
    """Makes TensorShapes of a nest of shapes without the batch axis, as `(128,)`, `[20]` or `{"a": (3,), "b": ()}`.

    Raises:
        LayerError: It is no nest of shapes.
    """
    if isinstance(value, dict):
        return {k: parse_output_shape(v) for k, v in value.items()}
    # A list may be a shape or hold shapes; whatever TensorFlow can read as one shape is one, as in tensorflow_hub.
    try:
        return tf.TensorShape(value)
    except (TypeError, ValueError):
        pass
    if isinstance(value, (list, tuple)):
        return type(value)(parse_output_shape(v) for v in value)
    raise LayerError(
        "Cannot read output_shape",
        expected="a shape without the batch axis, such as (128,), or a nest of shapes",
        received=repr(value),
    )


def parse_input_shape(value: Any) -> tuple[int | None, ...] | None:
    """Parses the shape of one example, without the batch axis; None stays None.

    Raises:
        LayerError: It is no shape.
    """
    if not isinstance(value, int):
        try:
            return None if value is None else tuple(tf.TensorShape(value))
        except (TypeError, ValueError):
            pass
    raise LayerError(
        "Cannot read input_shape",
        expected="the shape of one example without the batch axis, such as (50,), or [] for a single value",
        received=repr(value),
        fix=f"Write input_shape=[{value}]" if isinstance(value, int) else "",
    )


def shapes_to_config(shapes: Any) -> Any:
    """Turns the TensorShapes of a nest into lists that JSON can hold."""
    return tf.nest.map_structure(lambda s: s.as_list(), shapes)


def set_shapes(outputs: Any, shapes: Any, inputs: Any) -> Any:
    """Tells outputs their static shapes: the batch axis of the first input, then what the user gave."""
    batch = _batch_of(inputs)

    def with_shape(tensor: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        full = batch.concatenate(shape)
        if not tensor.shape.is_compatible_with(full):
            raise _wrong_shape(full, tensor.shape, "the output")
        # At run time, too: the batch axis may be known of the inputs alone, and the user may be wrong about the others.
        return tf.ensure_shape(tensor, full)

    return tf.nest.map_structure(with_shape, outputs, shapes)


def full_shapes(shapes: Any, inputs: Any) -> Any:
    """Returns a nest of shapes with the batch axis of the first input, as tuples."""
    return tf.nest.map_structure(lambda s: tuple(_batch_of(inputs).concatenate(s)), shapes)


def _batch_of(inputs: Any) -> tf.TensorShape:
    for tensor in tf.nest.flatten(inputs):
        if hasattr(tensor, "shape"):
            return tf.TensorShape(tensor.shape)[:1]
    return tf.TensorShape([None])


def map_shapes(make: Callable[[tuple[Any, ...], Any], Any], shapes: Any, path: tuple[Any, ...] = ()) -> Any:
    """Calls `make` with the path and the value of every shape in a nest of dicts, lists and tuples."""
    if isinstance(shapes, dict):
        return {k: map_shapes(make, v, (*path, k)) for k, v in shapes.items()}
    if any(isinstance(s, (dict, list, tuple)) for s in shapes):
        return [map_shapes(make, s, (*path, i)) for i, s in enumerate(shapes)]
    return make(path, tuple(shapes))


def symbolic_outputs(
    infos: Mapping[str, ParsedTensorInfo], key: str | None, shapes: Any, inputs: Any, layer: str
) -> Any:
    """Makes symbolic outputs from what a signature says, and the user.

    Args:
        infos: What it says about its outputs.
        key: The output to return alone, None for a dict.
        shapes: What `parse_output_shape` returned; None if the user said nothing.
        inputs: Symbolic inputs, for the batch axis.
        layer: Name of the layer, for messages.

    Raises:
        LayerError: The rank of an output is not known, or the user's shapes contradict the signature.
    """
    chosen = infos if key is None else {key: infos[key]}
    given = shapes if key is None else {key: shapes}
    outputs = {}
    for name, info in chosen.items():
        shape = info.get_shape()
        if shapes is not None:
            full = _batch_of(inputs).concatenate(_shape_of(given, name, chosen))
            if not shape.is_compatible_with(full):
                raise _wrong_shape(full, shape, f"output {name!r}")
            shape = shape.merge_with(full)
        if shape.rank is None:
            raise LayerError(
                f"Cannot tell the output shape of layer {layer!r}",
                expected="outputs of known rank",
                received=f"output {name!r} of unknown rank",
                fix="Pass output_shape=, the shape of the output without the batch axis, or a dict of such shapes",
            )
        is_ragged = isinstance(info.type_spec, tf.RaggedTensorSpec)
        outputs[name] = keras.KerasTensor(tuple(shape), info.dtype.name, sparse=info.is_sparse, ragged=is_ragged)
    return outputs if key is None else outputs[key]


def _shape_of(shapes: Any, name: str, outputs: Mapping[str, Any]) -> tf.TensorShape:
    if isinstance(shapes, dict) and isinstance(shapes.get(name), tf.TensorShape):
        return shapes[name]
    raise LayerError(
        "Cannot read output_shape",
        expected="one shape for a single output" if len(outputs) == 1 else f"a dict with the keys {sorted(outputs)}",
        received=str(shapes),
    )


def unknown_outputs(layer: str, inputs: Any, error: Exception) -> LayerError:
    """Makes the error of a layer over something that tells nothing, and fails on inputs made to find its outputs."""
    dtypes = sorted({str(tensor.dtype) for tensor in keras.tree.flatten(inputs) if hasattr(tensor, "dtype")})
    return LayerError(
        f"Cannot tell the outputs of layer {layer!r} for inputs of dtype {' and '.join(dtypes)}",
        expected="inputs that it can be called with, and outputs of known rank",
        received=str(error),
        fix="Pass dtype= to the layer if its inputs are of another one, as dtype=tf.string for texts, and"
        " output_shape=, the shape of the output without the batch axis, if that is not known",
    )


def _wrong_shape(given: tf.TensorShape, found: tf.TensorShape, what: str) -> LayerError:
    return LayerError(
        f"Cannot give {what} the output_shape: with the batch axis it stands for {given}",
        expected=f"a shape that fits {found}, which the module returns",
        received=str(given[1:]),
    )
