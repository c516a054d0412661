"""Inputs and outputs of signatures as users see them, and values in between nested and flat."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError
from hubkeras.graphs.structured_values import check_structured_values
from hubkeras.graphs.tensorflow_internals import decode_structured_value
from hubkeras.savedmodel.protos import StructuredValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hubkeras.savedmodel.description import TensorInfo


class ParsedTensorInfo:
    """What a signature says about one of its inputs or outputs.

    Example:
        >>> import hubkeras
        >>> module = hubkeras.load("my_module")  # doctest: +SKIP
        >>> module.get_input_info_dict()["default"].dtype  # doctest: +SKIP
        tf.string
    """

    def __init__(self, info: TensorInfo) -> None:
        self._info = info

    @property
    def description(self) -> TensorInfo:
        """The tensor as the module's description has it."""
        return self._info

    @property
    def name(self) -> str:
        """The key in the signature."""
        return self._info.name

    @cached_property
    def dtype(self) -> tf.DType:
        """The dtype of the values."""
        return tf.as_dtype(self._info.dtype)

    def get_shape(self) -> tf.TensorShape:
        """Returns the dense shape, of unknown rank where the signature does not tell."""
        return self._shape

    @cached_property
    def _shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._info.shape)  # pyright: ignore[reportArgumentType]

    @property
    def is_sparse(self) -> bool:
        """Whether it is a SparseTensor."""
        return self._info.kind == "sparse"

    @property
    def is_composite(self) -> bool:
        """Whether it is composed of several tensors, as a SparseTensor or a RaggedTensor is."""
        return self._info.kind != "dense"

    @property
    def is_supported_type(self) -> bool:
        """Whether modules take and return such values: tensors, SparseTensors and RaggedTensors."""
        return issubclass(self.type_spec.value_type, (tf.Tensor, tf.SparseTensor, tf.RaggedTensor))

    @cached_property
    def type_spec(self) -> tf.TypeSpec:
        """The type specification of the values."""
        if self._info.kind == "dense":
            return tf.TensorSpec(self.get_shape(), self.dtype, self.name)
        if self._info.type_spec is not None:
            return _decoded(self._info, self._info.type_spec)
        return tf.SparseTensorSpec(self.get_shape(), self.dtype)

    def __repr__(self) -> str:
        if self.is_composite and not self.is_sparse:
            return f"<hubkeras.ParsedTensorInfo type_spec={self.type_spec}>"
        return (
            f"<hubkeras.ParsedTensorInfo shape={self.get_shape()} dtype={self.dtype.name} is_sparse={self.is_sparse}>"
        )

    @cached_property
    def component_specs(self) -> list[tf.TensorSpec]:
        """Specifications of the dense tensors that carry a value."""
        if self._info.kind == "dense":
            return [tf.TensorSpec(self.get_shape(), self.dtype)]
        return list(tf.nest.flatten(self.type_spec, expand_composites=True))

    def flatten(self, value: Any) -> list[tf.Tensor]:
        """Returns the tensors that carry a value, in the order in which a signature lists them."""
        return list(tf.nest.flatten(value, expand_composites=True)) if self.is_composite else [value]

    def pack(self, tensors: Sequence[tf.Tensor]) -> Any:
        """Puts a value together from the tensors that carry it."""
        if self._info.kind == "dense":
            return _with_shape(tensors[0], self.get_shape())
        return tf.nest.pack_sequence_as(self.type_spec, list(tensors), expand_composites=True)


def _decoded(info: TensorInfo, serialized: bytes) -> tf.TypeSpec:
    """Reads the type specification of a composite tensor.

    Raises:
        FormatError: It is damaged, or of a kind that this process does not know.
    """
    proto = StructuredValue()
    try:
        proto.type_spec_value.ParseFromString(serialized)
        check_structured_values([proto], "a type specification")
        spec = decode_structured_value(proto)
    except Exception as error:  # TensorFlow's decoder fails with whatever its Python happens to raise
        raise _no_spec(info, f"{type(error).__name__}: {error}") from error
    if not isinstance(spec, tf.TypeSpec):
        raise _no_spec(info, type(spec).__name__)
    # Before it is taken apart: a number in the file says into how many tensors.
    if isinstance(spec, tf.RaggedTensorSpec) and not 0 <= spec.ragged_rank < len(info.tensors):
        raise _no_spec(info, f"{spec.ragged_rank} ragged dimensions of {len(info.tensors)} tensors")
    return spec


def _no_spec(info: TensorInfo, received: str) -> FormatError:
    return FormatError(
        f"Cannot read the type specification of {info.name!r} in a signature",
        expected="that of a composite tensor which TensorFlow knows",
        received=received.partition("\n")[0],
        fix="The module is damaged, or its types come from a package that must be imported first",
    )


def _with_shape(tensor: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Tells a symbolic tensor what the signature knows of its shape; an import may have lost it."""
    if not tf.executing_eagerly() and not tensor.shape.is_fully_defined() and tensor.shape.is_compatible_with(shape):
        tensor.set_shape(shape)
    return tensor


def parse_infos(infos: Mapping[str, TensorInfo]) -> dict[str, ParsedTensorInfo]:
    """Returns what a signature says about its inputs or outputs, by name."""
    return {name: ParsedTensorInfo(info) for name, info in infos.items()}


def flatten_all(infos: Mapping[str, ParsedTensorInfo], values: Mapping[str, Any]) -> list[tf.Tensor]:
    """Returns the tensors that carry some values, in the order of `infos`."""
    return [t for name, info in infos.items() for t in info.flatten(values[name])]


def pack_all(infos: Mapping[str, ParsedTensorInfo], tensors: Sequence[tf.Tensor]) -> dict[str, Any]:
    """Puts values together from the tensors that carry them, in the order of `infos`."""
    packed, position = {}, 0
    for name, info in infos.items():
        count = len(info.component_specs)
        packed[name] = info.pack(tensors[position : position + count])
        position += count
    return packed
