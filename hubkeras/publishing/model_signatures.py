"""What a Keras model, or a function beside it, takes and gives: signatures of a module."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from hubkeras.errors import PublishingError, SignatureTypeError
from hubkeras.layers.keras_internals import built_shapes
from hubkeras.modules.defaults import DEFAULT
from hubkeras.modules.output_names import flat_names, name_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_IMAGES = "images"
_NAMED_BY_KERAS = re.compile(r"(keras_tensor|input_layer|input)(_\d+)?")
_CALL_FORMS = "None, a model, a function, a tf.function with an input_signature, or a pair of a function and specs"


@dataclass(frozen=True, eq=False)
class ModelSignature:
    """One signature of a module that is being made of a model."""

    inputs: Mapping[str, tf.TypeSpec]
    """Specifications by name."""
    call: Callable[[dict[str, Any], bool], dict[str, Any]]
    """Takes the inputs by name and whether it is the variant for training, and returns the outputs by name."""
    model: keras.Model | None = None
    """The model that is called, if it is one."""


@dataclass(frozen=True, eq=False)
class _Arguments:
    """The arguments of a call whose leaves are specifications, and the name of each leaf."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    names: Sequence[str]

    @property
    def specs(self) -> list[tf.TypeSpec]:
        return tf.nest.flatten((self.args, dict(self.kwargs)))

    def filled(self, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return tf.nest.pack_sequence_as((self.args, dict(self.kwargs)), [values[name] for name in self.names])


def model_signatures(
    model: keras.Model, signatures: Mapping[str, Any] | None, has_images: bool
) -> dict[str, ModelSignature]:
    """Returns the signatures of the module that a model becomes.

    Args:
        model: The model.
        signatures: What the caller of `publish` asked for, by name.
        has_images: Whether the input of rank 4 is images.

    Returns:
        The signatures by name; "default" is the call of the model, unless the caller gave another one.

    Raises:
        PublishingError: The model has not been built, its inputs cannot be told, or a name is malformed.
        SignatureTypeError: A signature is nothing that can be called.
    """
    given = _checked(signatures)
    found = {}
    # Of a model that is a class of its own, nobody knows dtypes: whoever gives signatures gives that of its call, too.
    if DEFAULT not in given and (not given or getattr(model, "inputs", None)):
        given = {DEFAULT: None, **given}
    for name, value in given.items():
        found[name] = _signature(model, name, value, has_images)
    return found


def _checked(signatures: Any) -> dict[str, Any]:
    if signatures is None:
        return {}
    if not isinstance(signatures, Mapping):
        raise SignatureTypeError(
            "Cannot publish a model",
            expected=f"signatures= a dict from names to signatures, each {_CALL_FORMS}",
            received=f"signatures={signatures!r}",
        )
    wrong = [n for n in signatures if not isinstance(n, str) or not n or n.startswith("__saved_model")]
    if wrong:
        raise PublishingError(
            "Cannot publish a model: malformed name of a signature",
            expected="strings that are not empty and do not begin with '__saved_model'",
            received=", ".join(map(repr, wrong)),
        )
    return dict(signatures)


def _signature(model: keras.Model, name: str, value: Any, has_images: bool) -> ModelSignature:
    function, specs = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    if _is_specs(value):
        function, specs = None, value
    function = model if function is None else function
    if isinstance(function, keras.Model):
        arguments = _model_arguments(function, has_images) if specs is None else _given_arguments(function, specs)
        output_names = list(getattr(function, "output_names", None) or ())
    elif callable(function):
        arguments = _function_arguments(function, specs, model, has_images)
        # Without its tf.function: it is traced anyway, and a call inside the trace would have to be written out.
        function, output_names = getattr(function, "python_function", function), []
    else:
        raise SignatureTypeError(
            f"Cannot publish signature {name!r}", expected=_CALL_FORMS, received=type(function).__name__
        )
    _check_names(name, arguments.names)
    takes_training = isinstance(function, keras.Layer) or "training" in _parameters(function)

    def call(values: dict[str, Any], training: bool) -> dict[str, Any]:
        args, kwargs = arguments.filled(values)
        training_argument = {"training": training} if takes_training else {}
        return name_outputs(function(*args, **kwargs, **training_argument), output_names)

    called = function if isinstance(function, keras.Model) else None
    return ModelSignature(dict(zip(arguments.names, arguments.specs, strict=True)), call, called)


def _is_specs(value: Any) -> bool:
    flat = tf.nest.flatten(value)
    return value is not None and bool(flat) and all(isinstance(item, tf.TypeSpec) for item in flat)


def _parameters(function: Any) -> Mapping[str, Any]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins have none
        return {}


def _check_names(signature: str, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise PublishingError(
            f"Cannot publish signature {signature!r}: two of its inputs have one name",
            expected="inputs named apart, as by keras.Input(..., name=...)",
            received=", ".join(map(repr, names)),
        )


# --- inputs ----------------------------------------------------------------------------------------------------


def _model_arguments(model: keras.Model, has_images: bool) -> _Arguments:
    """Returns the arguments of a model's call, named as in Keras.

    Images are called so if the caller said that there are any, and where nobody has given the only input a name.
    """
    arguments = _symbolic_arguments(model) or _built_arguments(model)
    if arguments is None:
        raise PublishingError(
            f"Cannot publish model {model.name!r}: it is not known what its call takes",
            expected="a sequential or functional model that has been built, or another one with a single argument that "
            "has been called",
            received=f"{type(model).__name__}, {'built' if model.built else 'not built'}",
            fix="Call it once on a batch of data, or pass signatures={'default': {'x': tf.TensorSpec([None, 4])}}",
        )
    images = [i for i, spec in enumerate(arguments.specs) if _is_batch_of_images(spec, any_channels=has_images)]
    names = list(arguments.names)
    if not has_images and (len(names) > 1 or not images or not _NAMED_BY_KERAS.fullmatch(names[0])):
        return arguments
    if len(images) != 1:
        raise PublishingError(
            f"Cannot publish model {model.name!r} with an image_size",
            expected="one input of images: a batch of shape [batch_size, height, width, channels]",
            received=", ".join(f"{n}: {s}" for n, s in zip(arguments.names, arguments.specs, strict=True)),
        )
    names[images[0]] = _IMAGES
    return _Arguments(arguments.args, arguments.kwargs, names)


def _is_batch_of_images(spec: Any, any_channels: bool) -> bool:
    dense = isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4
    return dense and (any_channels or (spec.dtype.is_floating and spec.shape[-1] == 3))


def _symbolic_arguments(model: keras.Model) -> _Arguments | None:
    """Returns the arguments of a functional or sequential model, None for any other, or one that is not built."""
    if not getattr(model, "inputs", None):
        return None
    # A Sequential gives its only input as a list, but is called with the tensor.
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    specs = tf.nest.map_structure(_spec_of, structure)
    names = [tensor.name for tensor in tf.nest.flatten(structure)]
    if isinstance(structure, dict) and len(structure) == len(names):
        names = sorted(structure)  # as `nest` flattens it; the keys are what callers know, not the names of the Inputs
    return _Arguments((specs,), {}, names)


def _spec_of(tensor: Any) -> tf.TypeSpec:
    shape, dtype = tf.TensorShape(tensor.shape), tf.as_dtype(tensor.dtype)
    if getattr(tensor, "sparse", False):
        return tf.SparseTensorSpec(shape, dtype)
    if getattr(tensor, "ragged", False):
        return tf.RaggedTensorSpec(shape, dtype, getattr(tensor, "ragged_rank", None) or 1)
    return tf.TensorSpec(shape, dtype)


def _built_arguments(model: keras.Model) -> _Arguments | None:
    """Returns the arguments of a model that was written as a class, from the shapes it was first called with."""
    shapes = built_shapes(model)
    if not shapes:
        return None
    parameters = [name for name in _parameters(model.call) if name != "training"]
    # Keras names the shape of an only argument "input_shape", whatever the argument is called.
    if set(shapes) == {"input_shape"}:
        shapes = {f"{parameters[0]}_shape": shapes["input_shape"]}
    kwargs, names = {}, []
    for key, shape in shapes.items():
        parameter = key.removesuffix("_shape")
        kwargs[parameter] = _specs_of_shape(shape, model.input_dtype)
        names += flat_names(parameter, kwargs[parameter])
    needed = [p for p in _parameters(model.call).values() if p.default is p.empty and p.kind < p.VAR_KEYWORD]
    if any(p.name not in {*kwargs, "training"} and p.kind != p.VAR_POSITIONAL for p in needed):
        return None  # Keras remembers the shape of the first argument alone
    # nest sorts the keys of a dict
    ordered = [n for key in sorted(kwargs) for n in flat_names(key, kwargs[key])]
    return _Arguments((), kwargs, ordered)


def _specs_of_shape(shape: Any, dtype: str) -> Any:
    if isinstance(shape, Mapping):
        return {key: _specs_of_shape(value, dtype) for key, value in shape.items()}
    if all(size is None or isinstance(size, int) for size in shape):
        # The first axis is the batch of that first call.
        return tf.TensorSpec([None, *shape[1:]], dtype)  # pyright: ignore[reportArgumentType]
    return [_specs_of_shape(value, dtype) for value in shape]


def _given_arguments(function: Any, specs: Any) -> _Arguments:
    """Returns the arguments of a call that is given specs: one of them as it is; several as what has their names."""
    if isinstance(specs, tf.TypeSpec):
        return _Arguments((specs,), {}, [getattr(specs, "name", None) or DEFAULT])
    if not isinstance(specs, Mapping):
        names = [getattr(s, "name", None) or f"input_{i}" for i, s in enumerate(tf.nest.flatten(specs))]
        return _Arguments(tuple(specs), {}, names)
    if len(specs) == 1:
        return _Arguments(tuple(specs.values()), {}, list(specs))
    parameters = _parameters(function.call if isinstance(function, keras.Layer) else function)
    if set(specs) <= set(parameters):
        return _Arguments((), dict(specs), sorted(specs))
    return _Arguments((dict(specs),), {}, sorted(specs))


def _function_arguments(function: Any, specs: Any, model: keras.Model, has_images: bool) -> _Arguments:
    if specs is not None:
        return _given_arguments(getattr(function, "python_function", function), specs)
    if getattr(function, "input_signature", None) is not None:
        names = [n for n in _parameters(function.python_function) if n != "training"]
        flat = [n for n, spec in zip(names, function.input_signature, strict=False) for n in flat_names(n, spec)]
        return _Arguments(tuple(function.input_signature), {}, flat)
    own = _model_arguments(model, has_images)
    if len(own.names) == 1:
        return _Arguments((own.specs[0],), {}, own.names)
    return _Arguments((), dict(zip(own.names, own.specs, strict=True)), sorted(own.names))
