"""What a call of a TF2 object takes, as the functions say that were saved with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import InputError
from hubkeras.functions.tensor_info import parse_infos
from hubkeras.graphs.tensorflow_internals import encode_type_spec
from hubkeras.modules.inputs import normalize
from hubkeras.savedmodel.description import TensorInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hubkeras.functions.tensor_info import ParsedTensorInfo

CALL = "__call__"
_NO_FUNCTION = ("Could not find matching concrete function", "Binding inputs to tf.function failed")
"""How messages of TensorFlow start that say that no function takes these arguments."""


@dataclass(frozen=True)
class ObjectInputs:
    """The tensors that one function of an object takes in its first argument; the others are Python values."""

    infos: Mapping[str, ParsedTensorInfo]
    """By their keys; a bare tensor by the name of the argument."""
    is_dict: bool

    def convert(self, inputs: Any) -> Any:
        """Converts inputs as those of a signature are converted.

        Raises:
            InputError: They do not fit.
        """
        values = normalize(inputs, self.infos, CALL)
        return values if self.is_dict else next(iter(values.values()))


def call_functions(restored: Any) -> list[Any]:
    """Returns the functions that the call of a restored object was saved with; anything else has none."""
    return list(getattr(getattr(restored, CALL, None), "concrete_functions", ()))


def inputs_of(restored: Any) -> list[ObjectInputs]:
    """Returns what a restored object takes, once for each kind of inputs that it was saved with.

    Nothing is known where functions take something else than one dense tensor, or one dict of them.
    """
    found = [_first_argument(f) for f in call_functions(restored)]
    known = [f for f in found if f is not None]
    # One function that takes something else could take any input: converting to the others' dtypes would hide it.
    if len(known) < len(found):
        return []
    return list({_key(f): f for f in known}.values())


def _key(inputs: ObjectInputs) -> tuple[Any, ...]:
    return (inputs.is_dict, *((name, info.dtype, str(info.get_shape())) for name, info in inputs.infos.items()))


def _first_argument(function: tf.types.experimental.ConcreteFunction) -> ObjectInputs | None:
    args, kwargs = function.structured_input_signature
    if not args or any(isinstance(leaf, tf.TypeSpec) for leaf in tf.nest.flatten([args[1:], kwargs])):
        return None
    first = args[0]
    specs = first if isinstance(first, dict) else {next(iter(function.function_type.parameters)): first}
    if not specs or not all(isinstance(n, str) and isinstance(s, tf.TensorSpec) for n, s in specs.items()):
        return None
    return ObjectInputs(infos_of(specs), isinstance(first, dict))


def infos_of(specs: Mapping[str, tf.TypeSpec]) -> dict[str, ParsedTensorInfo]:
    """Returns what the specifications of a function of TF2 say about its inputs or outputs."""
    return parse_infos({name: _info_of(name, spec) for name, spec in specs.items()})


def _info_of(name: str, spec: Any) -> TensorInfo:
    shape = None if spec.shape.rank is None else tuple(spec.shape)
    if isinstance(spec, tf.TensorSpec):
        return TensorInfo(name, spec.dtype.name, shape, "dense", (name,))
    kind = "sparse" if isinstance(spec, tf.SparseTensorSpec) else "ragged"
    return TensorInfo(name, spec.dtype.name, shape, kind, (name,), encode_type_spec(spec))


def call_object(function: Callable[..., Any], owner: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Calls a restored object, which takes numpy and Python values as a signature does.

    Args:
        function: The object.
        owner: What it is called in messages.
        args: Positional arguments.
        kwargs: Keyword arguments.

    Raises:
        InputError: The arguments fit none of its functions.
    """
    # As they are first: the object may take Python values, and a conversion costs time. TensorFlow has no class for
    # this error, and whatever else the function raises is for the caller to see.
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError) as error:
        if not str(error).startswith(_NO_FUNCTION):
            raise
    options = inputs_of(function)
    if not options or len(args) != 1:
        raise _refused(function, owner, args, kwargs)
    converted = _convert(options, args[0])
    try:
        return function(converted, **kwargs)
    except (TypeError, ValueError) as error:
        if not str(error).startswith(_NO_FUNCTION):
            raise
    raise _refused(function, owner, args, kwargs)


def _convert(options: list[ObjectInputs], inputs: Any) -> Any:
    """Converts inputs to those of the first kind that they fit.

    Raises:
        InputError: They fit none; what is the matter with the kind that looks most like them.
    """
    errors = []
    for option in sorted(options, key=lambda option: option.is_dict != isinstance(inputs, dict)):
        try:
            return option.convert(inputs)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _refused(function: Any, owner: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> InputError:
    calls = dict.fromkeys(_written(*f.structured_input_signature) for f in call_functions(function))
    return InputError(
        f"Cannot call {owner}", expected=f"arguments {' or '.join(calls)}", received=_written(args, kwargs)
    )


def _written(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Writes arguments as a call has them, tensors by dtype and shape."""
    return f"({', '.join([*map(_value, args), *(f'{name}={_value(value)}' for name, value in kwargs.items())])})"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {_value(v)}' for k, v in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, (tf.RaggedTensorSpec, tf.SparseTensorSpec)):
        return f"{type(value).__name__.removesuffix('Spec')}[{value.dtype.name}, {value.shape}]"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{tf.as_dtype(value.dtype).name} of shape {tf.TensorShape(value.shape)}"
    return f"{value!r:.40}"
