"""Reads the signatures of a MetaGraph."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hubkeras.errors import FormatError
from hubkeras.savedmodel.description import SignatureSpec, TensorInfo
from hubkeras.savedmodel.graph_index import NO_DTYPE, dtype_name, shape_tuple
from hubkeras.savedmodel.protos import TypeSpecProto
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hubkeras.savedmodel.description import Kind, Shape

INIT_SIGNATURE = "__saved_model_init_op"
_PRIVATE_SIGNATURES = frozenset({INIT_SIGNATURE, "__saved_model_train_op"})
_COMPOSITE_KINDS: dict[int, Kind] = {
    TypeSpecProto.RAGGED_TENSOR_SPEC: "ragged",
    TypeSpecProto.SPARSE_TENSOR_SPEC: "sparse",
}


def read_signatures(meta_graph: Any) -> Mapping[str, SignatureSpec]:
    """Returns the signatures that a user can call, by name and sorted.

    Whether the graph has the tensors they name is not checked: a broken signature matters only to who calls it.

    Raises:
        FormatError: A dtype is missing, or unknown to this TensorFlow.
    """
    signatures = {}
    for name in sorted(meta_graph.signature_def):
        if name in _PRIVATE_SIGNATURES:
            continue
        proto = meta_graph.signature_def[name]
        inputs, outputs = _tensor_infos(proto.inputs), _tensor_infos(proto.outputs)
        for info in (*inputs.values(), *outputs.values()):
            if info.dtype == NO_DTYPE:
                raise FormatError(f"The signature {name!r} has no dtype for {info.name!r}", expected="a dtype")
        signatures[name] = SignatureSpec(name, inputs, outputs, proto.method_name)
    return MappingProxyType(signatures)


def _tensor_infos(protos: Mapping[str, Any]) -> Mapping[str, TensorInfo]:
    # Sorted: the maps of protocol buffers have no order, and positions of arguments follow this one.
    return MappingProxyType({name: _tensor_info(name, protos[name]) for name in sorted(protos)})


def _tensor_info(name: str, proto: Any) -> TensorInfo:
    encoding = proto.WhichOneof("encoding")
    tensors = tuple(_tensor_names(proto))
    if encoding == "composite_tensor":
        return _composite_info(name, proto, tensors)
    kind: Kind = "sparse" if encoding == "coo_sparse" else "dense"
    return TensorInfo(name, dtype_name(proto.dtype), shape_tuple(proto.tensor_shape), kind, tensors)


def _tensor_names(proto: Any) -> Iterator[str]:
    encoding = proto.WhichOneof("encoding")
    if encoding == "coo_sparse":
        sparse = proto.coo_sparse
        yield Ref.parse(sparse.indices_tensor_name).tensor
        yield Ref.parse(sparse.values_tensor_name).tensor
        yield Ref.parse(sparse.dense_shape_tensor_name).tensor
    elif encoding == "composite_tensor":
        for component in proto.composite_tensor.components:
            yield from _tensor_names(component)
    else:
        yield Ref.parse(proto.name).tensor


def _composite_info(name: str, proto: Any, tensors: tuple[str, ...]) -> TensorInfo:
    type_spec = proto.composite_tensor.type_spec
    kind = _COMPOSITE_KINDS.get(type_spec.type_spec_class, "composite")
    spec_dtype, spec_shape = _spec_dtype_and_shape(type_spec)
    shape = shape_tuple(proto.tensor_shape) if proto.HasField("tensor_shape") else spec_shape
    dtype = dtype_name(proto.dtype or spec_dtype)
    return TensorInfo(name, dtype, shape, kind, tensors, type_spec.SerializeToString(deterministic=True))


def _spec_dtype_and_shape(type_spec: Any) -> tuple[int, Shape]:
    """Returns the first dtype and shape that a type specification names: those of the values as a whole."""
    dtype, shape = 0, None
    # From the last to the first, so that the first of each kind is what is left.
    for item in reversed(type_spec.type_state.tuple_value.values):
        kind = item.WhichOneof("kind")
        if kind == "tensor_dtype_value":
            dtype = item.tensor_dtype_value
        elif kind == "tensor_shape_value":
            shape = shape_tuple(item.tensor_shape_value)
    return dtype, shape
