"""Builds SavedModel directories from a few nodes, without running a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import (
    attr_value_pb2,
    function_pb2,
    node_def_pb2,
    op_def_pb2,
    variable_pb2,
)
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from hubkeras.errors import HubKerasError
from hubkeras.savedmodel.protos import ModuleAttachment, ModuleDef

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

AttrValue = attr_value_pb2.AttrValue


def dtype(name: str) -> AttrValue:
    return AttrValue(type=tf.as_dtype(name).as_datatype_enum)


def shape(*sizes: int) -> AttrValue:
    return AttrValue(shape=tf.TensorShape(sizes).as_proto())


def func(name: str, **attrs: AttrValue) -> AttrValue:
    return AttrValue(func=attr_value_pb2.NameAttrList(name=name, attr=attrs))


def funcs(*names: str) -> AttrValue:
    return AttrValue(list=AttrValue.ListValue(func=[attr_value_pb2.NameAttrList(name=name) for name in names]))


def text(value: str) -> AttrValue:
    return AttrValue(s=value.encode())


def node(name: str, op: str, *inputs: str, **attrs: AttrValue) -> node_def_pb2.NodeDef:
    return node_def_pb2.NodeDef(name=name, op=op, input=inputs, attr=attrs)


def const(name: str, value: Any) -> node_def_pb2.NodeDef:
    tensor = tf.make_tensor_proto(value)
    return node(name, "Const", dtype=AttrValue(type=tensor.dtype), value=AttrValue(tensor=tensor))


def placeholder(name: str, dtype_name: str = "float32") -> node_def_pb2.NodeDef:
    return node(name, "Placeholder", dtype=dtype(dtype_name))


def variable(
    name: str, sizes: Sequence[int] = (2,), dtype_name: str = "float32", *, op: str = "VarHandleOp"
) -> list[node_def_pb2.NodeDef]:
    assign, read = ("Assign", "Identity") if op != "VarHandleOp" else ("AssignVariableOp", "ReadVariableOp")
    return [
        node(name, op, dtype=dtype(dtype_name), shape=shape(*sizes)),
        const(f"{name}/initial", np.zeros(sizes, tf.as_dtype(dtype_name).as_numpy_dtype)),
        node(f"{name}/Assign", assign, name, f"{name}/initial"),
        node(f"{name}/Read", read, name),
    ]


def variable_def(
    name: str, *, slice_info: tuple[str, Sequence[int], Sequence[int], Sequence[int]] | None = None
) -> bytes:
    proto = variable_pb2.VariableDef(
        variable_name=f"{name}:0", initializer_name=f"{name}/Assign", initial_value_name=f"{name}/initial:0"
    )
    if slice_info is not None:
        full_name, full_shape, offset, part_shape = slice_info
        proto.save_slice_info_def.CopyFrom(
            variable_pb2.SaveSliceInfoDef(
                full_name=full_name, full_shape=full_shape, var_offset=offset, var_shape=part_shape
            )
        )
    return proto.SerializeToString()


def function(
    name: str,
    *nodes: node_def_pb2.NodeDef,
    args: Sequence[str] = (),
    returns: Mapping[str, str] | None = None,
    of: str = "string",
) -> function_pb2.FunctionDef:
    """Returns a function; `of` is the dtype of its arguments and of what it returns."""
    number = tf.as_dtype(of).as_datatype_enum
    signature = op_def_pb2.OpDef(
        name=name,
        input_arg=[op_def_pb2.OpDef.ArgDef(name=arg, type=number) for arg in args],
        output_arg=[op_def_pb2.OpDef.ArgDef(name=result, type=number) for result in returns or ()],
    )
    return function_pb2.FunctionDef(signature=signature, node_def=nodes, ret=returns)


def tensor_info(name: str, dtype_name: str = "float32", sizes: Sequence[int | None] | None = None) -> Any:
    return meta_graph_pb2.TensorInfo(
        name=name, dtype=tf.as_dtype(dtype_name).as_datatype_enum, tensor_shape=tf.TensorShape(sizes).as_proto()
    )


def attachment(key: str, value: bytes) -> bytes:
    return ModuleAttachment(key=key, value=value).SerializeToString()


def asset_file_def(tensor: str, filename: str) -> Any:
    return meta_graph_pb2.AssetFileDef(tensor_info=meta_graph_pb2.TensorInfo(name=tensor), filename=filename)


Signatures = "Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]"


def meta_graph(
    *nodes: node_def_pb2.NodeDef | Sequence[node_def_pb2.NodeDef],
    tags: Sequence[str] = (),
    signatures: Signatures | None = None,
    collections: Mapping[str, Sequence[str | bytes]] | None = None,
    assets: Mapping[str, str] | None = None,
    functions: Sequence[function_pb2.FunctionDef] = (),
) -> Any:
    """Returns a MetaGraphDef; signatures are (inputs, outputs), tensors given by name or as TensorInfo."""
    proto = meta_graph_pb2.MetaGraphDef()
    proto.meta_info_def.tags.extend(tags)
    for item in nodes:
        proto.graph_def.node.extend([item] if isinstance(item, node_def_pb2.NodeDef) else item)
    proto.graph_def.library.function.extend(functions)
    for name, (inputs, outputs) in (signatures or {}).items():
        signature = proto.signature_def[name]
        for key, value in inputs.items():
            signature.inputs[key].CopyFrom(tensor_info(value) if isinstance(value, str) else value)
        for key, value in outputs.items():
            signature.outputs[key].CopyFrom(tensor_info(value) if isinstance(value, str) else value)
    for key, values in (collections or {}).items():
        for value in values:
            kind = "node_list" if isinstance(value, str) else "bytes_list"
            getattr(proto.collection_def[key], kind).value.append(value)
    for tensor, filename in (assets or {}).items():
        proto.collection_def["saved_model_assets"].any_list.value.add().Pack(asset_file_def(tensor, filename))
    return proto


def write_module(
    path: Path,
    *meta_graphs: Any,
    hub: bool = True,
    values: Mapping[str, Any] | None = None,
    assets: Mapping[str, str] | None = None,
    as_text: bool = False,
) -> Path:
    """Writes the directory and returns it; `values` makes a checkpoint."""
    path.mkdir(parents=True, exist_ok=True)
    saved_model = saved_model_pb2.SavedModel(saved_model_schema_version=1, meta_graphs=meta_graphs)
    if as_text:
        (path / "saved_model.pbtxt").write_text(text_format.MessageToString(saved_model))
    else:
        (path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    if hub:
        (path / "tfhub_module.pb").write_bytes(ModuleDef(format=3).SerializeToString())
    for name, content in (assets or {}).items():
        (path / "assets").mkdir(exist_ok=True)
        (path / "assets" / name).write_text(content)
    if values is not None:
        write_checkpoint(path / "variables" / "variables", values)
    return path


def write_checkpoint(prefix: Path, values: Mapping[str, Any], slices: Mapping[str, str] | None = None) -> Path:
    """Writes a checkpoint; `slices` gives the slice specification of the tensors that are parts."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(values)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[(slices or {}).get(name, "") for name in names],
        tensors=[tf.constant(values[name]) for name in names],
    )
    return prefix


def dense_module(path: Path, **options: Any) -> Path:
    """Writes a module that adds the variable `w` of shape (2,) to its input."""
    return write_module(path, dense_graph(), values={"w": np.float32([1, 2])}, **options)


def dense_graph(**options: Any) -> Any:
    options.setdefault("collections", {"variables": [variable_def("w")], "trainable_variables": [variable_def("w")]})
    options.setdefault("signatures", {"default": ({"x": "x:0"}, {"default": "y:0"})})
    nodes = [placeholder("x"), *variable("w"), node("y", "AddV2", "x", "w/Read", T=dtype("float32"))]
    return meta_graph(nodes, **options)


def refusal(call: Callable[..., Any], *args: Any) -> HubKerasError | None:
    """Calls and returns the error of hubkeras if there is one; any other error passes."""
    try:
        call(*args)
    except HubKerasError as error:
        return error
    return None
