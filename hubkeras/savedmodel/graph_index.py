"""Names and nodes of a GraphDef, looked up without copying any of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hubkeras.errors import FormatError
from hubkeras.savedmodel.protos import DT_STRING, AttrValue, DataType
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.savedmodel.description import Shape

RESOURCE_VARIABLE_OPS = frozenset({"VarHandleOp"})
REFERENCE_VARIABLE_OPS = frozenset({"VariableV2", "Variable", "AutoReloadVariable"})
ASSIGN_OPS = frozenset({"Assign", "AssignVariableOp"})
VARIABLE_OPS = RESOURCE_VARIABLE_OPS | REFERENCE_VARIABLE_OPS

NO_DTYPE = "invalid"
"""What TensorFlow calls the dtype that a file does not give."""

_DATA_TYPE: Any = DataType
_INTEGERS = {_DATA_TYPE.Value("DT_INT32"): np.int32, _DATA_TYPE.Value("DT_INT64"): np.int64}
_DTYPE_NAMES = {"half": "float16", "float": "float32", "double": "float64"}


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes of one GraphDef."""

    nodes: Mapping[str, Any]
    """By name."""
    variables: tuple[Any, ...]
    """The nodes that hold a variable, in the order of the file."""


def index_graph(graph_def: Any) -> Graph:
    """Builds the lookup of a GraphDef's nodes in one pass; it refers to these.

    Raises:
        FormatError: Two nodes or two functions have one name. TensorFlow refuses that, but only once it imports
            them; until then everybody would have to agree on which one counts.
    """
    nodes = {}
    variables = []
    for node in graph_def.node:
        nodes[node.name] = node
        if node.op in VARIABLE_OPS:
            variables.append(node)
    if len(nodes) != len(graph_def.node):
        raise _duplicate("nodes", [node.name for node in graph_def.node])
    functions = [function.signature.name for function in graph_def.library.function]
    if len(set(functions)) != len(functions):
        raise _duplicate("functions", functions)
    return Graph(nodes, tuple(variables))


def _duplicate(what: str, names: list[str]) -> FormatError:
    name = next(name for name, count in Counter(names).items() if count > 1)
    return FormatError(f"A graph has two {what} of one name", expected="every name once", received=f"{name!r} again")


def dtype_name(number: int) -> str:
    """Returns TensorFlow's name of a `DataType`: of the base type for a reference, "invalid" where the file gives none.

    Raises:
        FormatError: The number is no dtype of this TensorFlow.

    Example:
        >>> dtype_name(19), dtype_name(103)
        ('float16', 'int32')
    """
    try:
        name: str = _DATA_TYPE.Name(number)
    except ValueError as error:
        raise FormatError(
            "Cannot read a dtype", expected="a number of the enum DataType", received=str(number)
        ) from error
    name = name.removeprefix("DT_").removesuffix("_REF").lower()
    return _DTYPE_NAMES.get(name) or name


def attribute(node: Any, key: str) -> Any:
    """Returns an attribute of a node, an empty one if it is not there; indexing `node.attr` would write it."""
    return node.attr[key] if key in node.attr else AttrValue()


def integers_in(tensor: Any) -> list[int]:
    """Returns the numbers that a `TensorProto` of int32 or int64 holds, none of another; the last may be repeated."""
    dtype = _INTEGERS.get(tensor.dtype)
    if dtype is None or len(tensor.tensor_content) % np.dtype(dtype).itemsize:
        return []
    return [*tensor.int_val, *tensor.int64_val, *np.frombuffer(tensor.tensor_content, dtype).tolist()]


def data_inputs(node: Any) -> list[Ref]:
    """Returns the inputs of a node that carry values, in their order.

    Positions count these only. Control inputs come last in what TensorFlow writes, but nothing holds a file to that.
    """
    return [ref for ref in map(Ref.parse, node.input) if ref.index is not None]


def data_input_texts(node: Any) -> list[str]:
    """Returns the inputs of a node that carry values as they stand there, also in the body of a function."""
    return [text for text in node.input if not text.startswith("^")]


def input_node(text: str) -> str:
    """Returns the name of the node that an input names, whether it stands in a graph or in the body of a function."""
    return text.removeprefix("^").partition(":")[0]


def shape_tuple(proto: Any) -> Shape:
    """Returns a `TensorShapeProto` as a tuple with None for unknown dimensions, or None for an unknown rank."""
    if proto.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in proto.dim)


def constant_strings(node: Any) -> tuple[str, ...] | None:
    """Returns the values of a `Const` of strings, bytes that are not UTF-8 replaced; None of anything else."""
    if node is None or node.op != "Const":
        return None
    tensor = attribute(node, "value").tensor
    if tensor.dtype != DT_STRING:
        return None
    return tuple(value.decode("utf-8", "replace") for value in tensor.string_val)
