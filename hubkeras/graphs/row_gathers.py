"""Rows looked up in a variable without reading the whole variable.

Graphs of TensorFlow 1 read a variable, then gather rows of what they have read. Once an optimizer has written rows of
a variable, each read copies all of it. So where nothing but reads and lookups uses a variable, a lookup that nothing
orders takes the rows from the variable itself, and its gradient is that of the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.core.framework import node_def_pb2, types_pb2
from tensorflow.python.framework import tensor_util

from hubkeras.savedmodel.graph import tensor_name
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

_GATHERS = frozenset({"Gather", "GatherV2"})
_READS = frozenset({"Identity", "ReadVariableOp"})
_FLOATS = frozenset({types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16})


def gather_from_variables(
    nodes: Iterable[Any], variables: Collection[str], feeds: Collection[str], fetches: Collection[str]
) -> list[Any]:
    """Makes lookups in what was read of a variable lookups in the variable.

    Args:
        nodes: NodeDefs; they are not changed.
        variables: Names of the nodes that are variables.
        feeds: Full names of the tensors that are fed.
        fetches: Full names of the tensors that are wanted.

    Returns:
        The nodes, without reads that nothing needs any longer.
    """
    index = {n.name: n for n in nodes}
    consumers = _consumers(index)
    for variable in variables:
        users = [index[name] for name in consumers.get(variable, ())]
        if all(_only_reads(user) for user in users):
            for read in users:
                if f"{read.name}:0" not in feeds and not any(i.startswith("^") for i in read.input):
                    _take_rows(index, consumers, variable, read, fetches)
    return list(index.values())


def _take_rows(
    index: dict[str, Any], consumers: Mapping[str, list[str]], variable: str, read: Any, fetches: Collection[str]
) -> None:
    gathers = [read] if read.op in _GATHERS else [index[name] for name in consumers.get(read.name, ())]
    rest = 0
    for gather in gathers:
        if _is_lookup(gather, read.name if read is not gather else variable, index):
            index[gather.name] = _from_variable(gather, variable)
        else:
            rest += 1
    if read.op in _READS and gathers and not rest and f"{read.name}:0" not in fetches:
        del index[read.name]


def _consumers(index: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in index.values():
        for text in dict.fromkeys(Ref.parse(i).node for i in node.input):
            found.setdefault(text, []).append(node.name)
    return found


def _only_reads(node: Any) -> bool:
    return node.op in _READS or node.op in _GATHERS or node.op in {"VariableShape", "ResourceGather"}


def _is_lookup(node: Any, source: str, index: Mapping[str, Any]) -> bool:
    """Tells whether a node gathers rows of `source`, and may do so at any time."""
    if node.op not in _GATHERS or any(i.startswith("^") for i in node.input):
        return False
    if tensor_name(node.input[0]) != f"{source}:0" or node.attr["Tparams"].type not in _FLOATS:
        return False
    if node.op == "Gather":
        return True
    axis = index.get(Ref.parse(node.input[2]).node)
    if axis is None or axis.op != "Const" or ("batch_dims" in node.attr and node.attr["batch_dims"].i):
        return False
    return int(tensor_util.MakeNdarray(axis.attr["value"].tensor)) == 0


def _from_variable(gather: Any, variable: str) -> Any:
    node = node_def_pb2.NodeDef(name=gather.name, op="ResourceGather", input=[variable, gather.input[1]])
    node.attr["dtype"].type = gather.attr["Tparams"].type
    node.attr["Tindices"].type = gather.attr["Tindices"].type
    return node
