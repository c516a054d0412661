"""`TensorInfo`s of what is being published: made of tensors, and the names of the tensors in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.graphs.tensorflow_internals import encode_type_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TENSOR_CLASSES = (tf.Tensor, tf.SparseTensor, tf.RaggedTensor)
"""What a module can take and give."""


def describe_tensor(value: Any, info: Any) -> Any:
    """Fills in the `TensorInfo` of a tensor of a graph, and returns it.

    Args:
        value: A dense, sparse or ragged tensor.
        info: An empty `TensorInfo`.
    """
    if isinstance(value, tf.RaggedTensor):
        info.composite_tensor.type_spec.ParseFromString(encode_type_spec(tf.type_spec_from_value(value)))
        for part in tf.nest.flatten(value, expand_composites=True):
            describe_tensor(part, info.composite_tensor.components.add())
        return info
    info.dtype = value.dtype.as_datatype_enum
    info.tensor_shape.CopyFrom(value.shape.as_proto())
    # Sparse tensors are composite ones, too, but the format is older than these and has a form of its own for them.
    if isinstance(value, tf.SparseTensor):
        info.coo_sparse.indices_tensor_name = value.indices.name
        info.coo_sparse.values_tensor_name = value.values.name
        info.coo_sparse.dense_shape_tensor_name = value.dense_shape.name
    else:
        info.name = value.name
    return info


def tensor_names(infos: Iterable[Any]) -> list[str]:
    """Returns the names of the tensors that `TensorInfo`s name."""
    names = []
    for info in infos:
        kind = info.WhichOneof("encoding")
        if kind == "coo_sparse":
            sparse = info.coo_sparse
            names += [sparse.indices_tensor_name, sparse.values_tensor_name, sparse.dense_shape_tensor_name]
        elif kind == "composite_tensor":
            names += tensor_names(info.composite_tensor.components)
        else:
            names.append(info.name)
    return names


def rename_tensors(info: Any, rename: Callable[[str], str]) -> None:
    """Gives the tensors that a `TensorInfo` names other names, in place."""
    kind = info.WhichOneof("encoding")
    if kind == "coo_sparse":
        sparse = info.coo_sparse
        sparse.indices_tensor_name = rename(sparse.indices_tensor_name)
        sparse.values_tensor_name = rename(sparse.values_tensor_name)
        sparse.dense_shape_tensor_name = rename(sparse.dense_shape_tensor_name)
    elif kind == "composite_tensor":
        for component in info.composite_tensor.components:
            rename_tensors(component, rename)
    else:
        info.name = rename(info.name)
