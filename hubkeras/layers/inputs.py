"""A layer's inputs: Python and numpy values made tensors, floats made the floats of the signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from hubkeras.errors import InputError
from hubkeras.layers.keras_internals import is_computed
from hubkeras.modules.inputs import by_name, convert, has_extra_axis

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from hubkeras.functions.tensor_info import ParsedTensorInfo

_TENSORS = (tf.Tensor, tf.SparseTensor, tf.RaggedTensor, tf.Variable, keras.KerasTensor, keras.Variable)


def from_python(
    inputs: Any, options: Sequence[Mapping[str, ParsedTensorInfo]], given: Collection[str], signature: str
) -> Any:
    """Converts Python and numpy values, which Keras would refuse or give another dtype.

    Args:
        inputs: A bare value, or a dict.
        options: What is known of the inputs: of each kind of inputs that there is, each by its name.
        given: Names of inputs that the layer's arguments set.
        signature: Name of the signature, for messages.
    """
    if len(options) != 1:  # a TF2 object with functions for several kinds of inputs finds the one that fits itself
        return _without_infos(inputs)
    (infos,) = options
    if isinstance(inputs, dict):
        return {
            k: _convert(v, k, infos, signature) if k in infos else _without_infos(v)  # refused by name later
            for k, v in inputs.items()
        }
    name = only_input(infos, given)
    return inputs if name is None else _convert(inputs, name, infos, signature)


def only_input(infos: Collection[str], given: Collection[str]) -> str | None:
    """Returns the name of the only input that the layer's arguments do not give: the one that a bare value is for."""
    rest = [name for name in infos if name not in given]
    return rest[0] if len(rest) == 1 else None


def _convert(value: Any, name: str, infos: Mapping[str, ParsedTensorInfo], signature: str) -> Any:
    if value is None or isinstance(value, _TENSORS):
        return value
    return convert({name: value}, {name: infos[name]}, signature)[name]


def _without_infos(inputs: Any) -> Any:
    leaves = keras.tree.flatten(inputs)
    if any(isinstance(x, _TENSORS) for x in leaves):
        return inputs
    # A list of numbers or strings is one batch; arrays in a list are several inputs, as in Keras.
    if isinstance(inputs, (list, tuple)) and leaves and not isinstance(leaves[0], np.ndarray):
        return tf.convert_to_tensor(inputs)
    return keras.tree.map_structure(lambda x: None if x is None else tf.convert_to_tensor(x), inputs)


def check_symbolic(
    inputs: Any, options: Sequence[Mapping[str, ParsedTensorInfo]], arguments: Mapping[str, Any], signature: str
) -> None:
    """Refuses symbolic inputs that cannot fit a signature.

    Args:
        inputs: A bare value, or a dict.
        options: What the signature says about its inputs; they need to fit one of several.
        arguments: Further inputs, which the layer's arguments set.
        signature: Its name.

    Raises:
        InputError: Keys are missing or not known, or an input has the wrong kind, dtype or shape.
    """
    errors = []
    for infos in options:
        try:
            for name, value in by_name(inputs, infos, signature, arguments).items():
                if isinstance(value, keras.KerasTensor):
                    _check(value, name, infos[name], signature)
        except InputError as error:
            errors.append(error)
        else:
            return
    if errors:
        raise errors[0]


def _check(value: keras.KerasTensor, name: str, info: ParsedTensorInfo, signature: str) -> None:
    kind = "sparse" if value.sparse else "ragged" if value.ragged else "dense"
    if kind == "sparse" and is_computed(value):  # Keras calls too much sparse, as `2 * keras.Input(...)`
        kind = info.description.kind
    dtype = tf.as_dtype(value.dtype)
    # Any float will do: `fit_floats` casts it, so that a layer under mixed precision takes what the one before gives.
    fits = dtype == info.dtype or (dtype.is_floating and info.dtype.is_floating)
    if kind != info.description.kind or not fits or not info.get_shape().is_compatible_with(value.shape):
        raise InputError(
            f"Cannot use a KerasTensor as input {name!r} of signature {signature!r}",
            expected=f"a {info.description.kind} one of dtype {info.dtype.name} and shape {info.get_shape()}",
            received=f"a {kind} one of dtype {dtype.name} and shape {tf.TensorShape(value.shape)}",
            fix="Take the last axis off with keras.ops.squeeze(x, -1), or make the input without it"
            if has_extra_axis(info.get_shape(), tf.TensorShape(value.shape))
            else f"Make it with keras.Input(shape, dtype={info.dtype.name!r}), sparse=True or ragged=True",
        )


def fit_floats(inputs: Any, dtype_of: Callable[[str | None], tf.DType | None]) -> Any:
    """Casts floating-point tensors to the floats that a callable takes; other dtypes are left alone.

    Args:
        inputs: A bare value, or a nest.
        dtype_of: Returns the dtype of an input by its name, None for a bare value; None if it is not known.
    """
    if isinstance(inputs, dict):
        return {name: _cast(value, dtype_of(name)) for name, value in inputs.items()}
    if isinstance(inputs, tf.Tensor):
        return _cast(inputs, dtype_of(None))
    return tf.nest.map_structure(lambda value: _cast(value, dtype_of(None)), inputs)


def _cast(value: Any, dtype: tf.DType | None) -> Any:
    if isinstance(value, keras.Variable):
        value = tf.convert_to_tensor(value)
    known = getattr(value, "dtype", None)
    if dtype is None or known is None or not dtype.is_floating or not tf.as_dtype(known).is_floating:
        return value
    return tf.cast(value, dtype)
