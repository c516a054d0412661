"""Python expressions for values that fit the inputs of a signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hubkeras.savedmodel.description import TensorInfo
from hubkeras.savedmodel.graph_index import dtype_name, shape_tuple
from hubkeras.savedmodel.protos import TypeSpecProto

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hubkeras.savedmodel.description import Shape

ImageSize = tuple[int, int] | None

_BATCH, _LENGTH, _IMAGE_SIDE = 2, 4, 64
_TEXTS = ("a first text", "and another one")
_IMAGE_DECODERS = frozenset({"DecodeJpeg", "DecodePng", "DecodeImage", "DecodeBmp", "DecodeAndCropJpeg", "DecodeGif"})
_EXAMPLE_PARSERS = frozenset({"ParseExample", "ParseExampleV2", "ParseSingleExample"})
_QUANTISED = {"qint8": "int8", "quint8": "uint8", "qint16": "int16", "quint16": "uint16", "qint32": "int32"}


@dataclass(frozen=True)
class Example:
    """Values for a call."""

    values: Mapping[str, str]
    """Expressions by the names of the inputs."""
    is_sequence: bool = False
    """Whether these are several positional arguments."""

    def assignment(self, variable: str) -> str:
        """Returns a statement that gives a variable the values: the only one, a tuple, or a dict of them."""
        if self.is_sequence:
            return f"{variable} = ({', '.join(self.values.values())},)"
        if len(self.values) == 1:
            return f"{variable} = {next(iter(self.values.values()))}"
        lines = "".join(f"    {name!r}: {value},\n" for name, value in self.values.items())
        return f"{variable} = {{\n{lines}}}"


def for_inputs(inputs: Mapping[str, TensorInfo], ops: Collection[str], image_size: ImageSize) -> Example | None:
    """Returns values for the inputs of a signature.

    Args:
        inputs: The inputs by name.
        ops: What a call runs: a text may have to be an encoded image.
        image_size: Height and width that the module asks for, if it does.

    Returns:
        The values, None where an input is of a kind that Python code cannot make without further help.
    """
    values = {name: _value(info, ops, image_size) for name, info in inputs.items()}
    if None in values.values():
        return None
    return Example({name: value for name, value in values.items() if value is not None})


def for_arguments(arguments: Sequence[Sequence[TensorInfo]], ops: Collection[str]) -> Example:
    """Returns values for positional arguments, each one tensor or a dict of them."""
    if len(arguments) == 1:
        return Example({info.name: _value(info, ops, None) or "None" for info in arguments[0]})
    values = {f"{number}": _argument(argument, ops) for number, argument in enumerate(arguments)}
    return Example(values, is_sequence=True)


def _argument(argument: Sequence[TensorInfo], ops: Collection[str]) -> str:
    values = {info.name: _value(info, ops, None) or "None" for info in argument}
    if len(values) == 1:
        return next(iter(values.values()))
    return "{" + ", ".join(f"{name!r}: {value}" for name, value in values.items()) + "}"


# --- one tensor -----------------------------------------------------------------------------------------------------


def _value(info: TensorInfo, ops: Collection[str], image_size: ImageSize) -> str | None:
    if info.dtype in ("resource", "variant"):
        return None
    if info.kind == "sparse":
        return _sparse(info)
    if info.kind == "ragged":
        return _ragged(info)
    return _dense(info, ops, image_size) if info.kind == "dense" else None


def _dense(info: TensorInfo, ops: Collection[str], image_size: ImageSize) -> str:
    shape = _concrete(info.shape, image_size)
    if info.dtype == "string":
        return _texts(shape, ops, image_size)
    return _numbers(shape, info.dtype)


def _concrete(shape: Shape, image_size: ImageSize) -> list[int]:
    if shape is None:
        return [_BATCH]
    if len(shape) == 4 and shape[3] in (1, 3, 4):
        sides = image_size or (_IMAGE_SIDE, _IMAGE_SIDE)
        defaults: tuple[int, ...] = (_BATCH, *sides, _LENGTH)
    else:
        defaults = (_BATCH, *[_LENGTH] * max(len(shape) - 1, 0))
    return [default if size is None else size for size, default in zip(shape, defaults, strict=False)]


def _texts(shape: list[int], ops: Collection[str], image_size: ImageSize) -> str:
    if _IMAGE_DECODERS & set(ops):
        height, width = image_size or (_IMAGE_SIDE, _IMAGE_SIDE)
        text = f"tf.io.encode_jpeg(tf.zeros([{height}, {width}, 3], tf.uint8))"
    elif _EXAMPLE_PARSERS & set(ops):
        text = "tf.train.Example().SerializeToString()"
    elif shape == [_BATCH]:
        return f"tf.constant([{', '.join(map(repr, _TEXTS))}])"
    else:
        text = repr(_TEXTS[0])
    return f"tf.fill({shape}, {text})" if shape else f"tf.constant({text})"


def _numbers(shape: list[int], dtype: str) -> str:
    if dtype == "float32":
        return f"tf.random.uniform({shape})"
    if dtype in _QUANTISED:
        return f"tf.bitcast(tf.zeros({shape}, tf.{_QUANTISED[dtype]}), tf.{dtype})"
    return f"tf.zeros({shape}, tf.{dtype})"


def _flat(count: int, dtype: str) -> str:
    return repr([_TEXTS[0]] * count) if dtype == "string" else _numbers([count], dtype)


def _sparse(info: TensorInfo) -> str:
    shape = _concrete(info.shape if info.shape is not None else (None, None), None)
    return f"tf.SparseTensor([{[0] * len(shape)}], {_flat(1, info.dtype)}, {shape})"


def _ragged(info: TensorInfo) -> str | None:
    spec = TypeSpecProto.FromString(info.type_spec or b"")
    values = spec.type_state.tuple_value.values
    ranks = [value.int64_value for value in values if value.WhichOneof("kind") == "int64_value"]
    dtypes = [value.tensor_dtype_value for value in values if value.WhichOneof("kind") == "tensor_dtype_value"]
    ragged_rank = ranks[0] if ranks else 1
    if not 0 < ragged_rank < len(info.tensors):  # each ragged dimension has a tensor of its own
        return None
    splits = dtype_name(dtypes[1]) if len(dtypes) > 1 else "int64"
    inner = [_LENGTH if size is None else size for size in (info.shape or ())[ragged_rank + 1 :]]
    shape, rows = [3, *inner], 3
    result = f"tf.fill({shape}, {_TEXTS[0]!r})" if info.dtype == "string" else _numbers(shape, info.dtype)
    for level in range(ragged_rank):
        lengths = [rows - 1, 1] if level == ragged_rank - 1 else [1] * (rows - 1) + [1]
        result = f"tf.RaggedTensor.from_row_lengths({result}, tf.constant({lengths}, tf.{splits}))"
        rows = len(lengths)
    return result


# --- arguments of TF2 functions -------------------------------------------------------------------------------------


def read_arguments(signature: Any) -> list[list[TensorInfo]] | None:
    """Returns the positional arguments of a function that are tensors, or dicts of tensors.

    Args:
        signature: A `StructuredValue` of positional and keyword arguments.

    Returns:
        One list per argument; what follows the last tensor is left to its default. None where an argument is of
        another kind.
    """
    values = signature.tuple_value.values
    if not values:
        return None
    arguments = [read_structure(value) for value in values[0].tuple_value.values]
    while arguments and arguments[-1] is None:
        arguments.pop()
    return None if not arguments or None in arguments else [a for a in arguments if a is not None]


def read_structure(value: Any, name: str = "") -> list[TensorInfo] | None:
    """Returns the tensors of a structure that is one tensor or a dict of tensors, None for any other."""
    kind = value.WhichOneof("kind")
    if kind == "tensor_spec_value":
        spec = value.tensor_spec_value
        shape, dtype = shape_tuple(spec.shape), dtype_name(spec.dtype)
        return [TensorInfo(name or spec.name, dtype, shape, "dense", ())]
    if kind == "dict_value":
        found = [read_structure(item, key) for key, item in value.dict_value.fields.items()]
        if found and all(item is not None and len(item) == 1 for item in found):
            return [info for item in found if item is not None for info in item]
    return None
