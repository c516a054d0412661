"""The messages that a module consists of: those of TensorFlow, and those of TF1 Hub format, which it does not have.

The latter live in a descriptor pool of their own: in the default pool they would collide with those of an installed
`tensorflow_hub`, whichever is imported second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from hubkeras.errors import CorruptFileError
from hubkeras.savedmodel.message_modules import message_module

if TYPE_CHECKING:  # each name stands in both branches: for type checkers, and for whoever runs this
    from tensorflow.core.framework import types_pb2 as dtypes
    from tensorflow.core.framework.attr_value_pb2 import AttrValue
    from tensorflow.core.framework.function_pb2 import FunctionDef, FunctionDefLibrary
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef
    from tensorflow.core.framework.types_pb2 import DT_STRING, DataType
    from tensorflow.core.framework.variable_pb2 import VariableDef
    from tensorflow.core.protobuf.control_flow_pb2 import ControlFlowContextDef
    from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef, MetaGraphDef, SignatureDef, TensorInfo
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.core.protobuf.struct_pb2 import StructuredValue, TypeSpecProto
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
else:
    dtypes = message_module("framework.types_pb2")
    AttrValue = message_module("framework.attr_value_pb2").AttrValue
    FunctionDef = message_module("framework.function_pb2").FunctionDef
    FunctionDefLibrary = message_module("framework.function_pb2").FunctionDefLibrary
    GraphDef = message_module("framework.graph_pb2").GraphDef
    NodeDef = message_module("framework.node_def_pb2").NodeDef
    DT_STRING = message_module("framework.types_pb2").DT_STRING
    DataType = message_module("framework.types_pb2").DataType
    VariableDef = message_module("framework.variable_pb2").VariableDef
    ControlFlowContextDef = message_module("protobuf.control_flow_pb2").ControlFlowContextDef
    AssetFileDef = message_module("protobuf.meta_graph_pb2").AssetFileDef
    MetaGraphDef = message_module("protobuf.meta_graph_pb2").MetaGraphDef
    SignatureDef = message_module("protobuf.meta_graph_pb2").SignatureDef
    TensorInfo = message_module("protobuf.meta_graph_pb2").TensorInfo
    SavedModel = message_module("protobuf.saved_model_pb2").SavedModel
    StructuredValue = message_module("protobuf.struct_pb2").StructuredValue
    TypeSpecProto = message_module("protobuf.struct_pb2").TypeSpecProto
    BundleEntryProto = message_module("protobuf.tensor_bundle_pb2").BundleEntryProto
    BundleHeaderProto = message_module("protobuf.tensor_bundle_pb2").BundleHeaderProto
    TrackableObjectGraph = message_module("protobuf.trackable_object_graph_pb2").TrackableObjectGraph

__all__ = [
    "DT_STRING",
    "FORMAT_V3",
    "AssetFileDef",
    "AttrValue",
    "BundleEntryProto",
    "BundleHeaderProto",
    "ControlFlowContextDef",
    "DataType",
    "FunctionDef",
    "FunctionDefLibrary",
    "GraphDef",
    "ImageModuleInfo",
    "MetaGraphDef",
    "ModuleAttachment",
    "ModuleDef",
    "NodeDef",
    "SavedModel",
    "SignatureDef",
    "StructuredValue",
    "TensorInfo",
    "TrackableObjectGraph",
    "TypeSpecProto",
    "VariableDef",
    "copy_of",
    "dtypes",
    "parse",
]

M = TypeVar("M", bound=Message)
FORMAT_V3 = 3
"""The only value of `ModuleDef.format` that was ever written."""


def parse(message: Any, data: bytes, where: str) -> Any:
    """Parses a serialised message of a class; `where` is what holds it, for the error.

    Raises:
        CorruptFileError: The data is no such message.
    """
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise CorruptFileError(
            f"Cannot parse {where}",
            expected=f"a {message.DESCRIPTOR.name} message",
            received=str(error),
            fix="Fetch the module again",
        ) from error


def copy_of(message: M) -> M:
    """Returns a copy of a message."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


_Field: Any = descriptor_pb2.FieldDescriptorProto


def _field(name: str, number: int, kind: int, *, type_name: str = "", repeated: bool = False) -> Any:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    return _Field(name=name, number=number, type=kind, type_name=type_name or None, label=label)


def _module_def() -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name="ModuleDef")
    values = message.enum_type.add(name="Format").value
    values.add(name="UNSPECIFIED", number=0)
    values.add(name="FORMAT_V3", number=FORMAT_V3)
    message.field.append(_field("format", 1, _Field.TYPE_ENUM, type_name=".tensorflow_hub.ModuleDef.Format"))
    message.field.append(_field("required_features", 2, _Field.TYPE_STRING, repeated=True))
    return message


def _module_attachment() -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name="ModuleAttachment")
    message.field.append(_field("key", 1, _Field.TYPE_STRING))
    message.field.append(_field("value", 2, _Field.TYPE_BYTES))
    return message


def _image_module_info() -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name="ImageModuleInfo")
    size = message.nested_type.add(name="InputSize")
    size.field.append(_field("height", 1, _Field.TYPE_INT32))
    size.field.append(_field("width", 2, _Field.TYPE_INT32))
    size_name = ".tensorflow_hub.ImageModuleInfo.InputSize"
    message.field.append(_field("default_image_size", 1, _Field.TYPE_MESSAGE, type_name=size_name))
    return message


def _message_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="hubkeras/tensorflow_hub.proto", package="tensorflow_hub", syntax="proto3"
    )
    file.message_type.extend([_module_def(), _module_attachment(), _image_module_info()])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}")) for name in names
    }


_CLASSES = _message_classes()
ModuleDef = _CLASSES["ModuleDef"]
"""Content of `tfhub_module.pb`: `format` and `required_features`."""
ModuleAttachment = _CLASSES["ModuleAttachment"]
"""One message attached to a graph variant: `key` and the serialised `value`."""
ImageModuleInfo = _CLASSES["ImageModuleInfo"]
ImageModuleInfo.__doc__ = """What an image module says of its images: `default_image_size` with `height` and `width`.

It is attached under the key `image_module_info`. An installed `tensorflow_hub` has another class for the same bytes.

Example:
    >>> info = ImageModuleInfo()
    >>> info.default_image_size.height, info.default_image_size.width = 224, 224
"""
