"""Rows looked up in a variable without reading the whole variable.

Graphs of TensorFlow 1 read a variable, then gather rows of what they have read. Once an optimizer has written rows of
a variable, each read copies all of it. So where nothing but reads and lookups uses a variable, a lookup that nothing
orders takes the rows from the variable itself, and its gradient is that of the rows.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

from hubkeras.graphs.subgraph import consumers_of
from hubkeras.savedmodel.graph_index import VARIABLE_OPS, attribute
from hubkeras.savedmodel.protos import NodeDef, dtypes
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hubkeras.graphs.subgraph import Subgraph

_GATHERS = {"Gather": 2, "GatherV2": 3}
"""Ops with the number of their inputs."""
_READS = frozenset({"Identity", "ReadVariableOp"})
_FLOATS = frozenset({dtypes.DT_FLOAT, dtypes.DT_DOUBLE, dtypes.DT_HALF, dtypes.DT_BFLOAT16})


def gather_rows_from_variables(graph: Subgraph) -> Subgraph:
    """Makes lookups in what was read of a variable lookups in the variable, and drops reads that nothing needs then."""
    index = dict(graph.nodes)
    holders = [n.name for n in index.values() if n.op in VARIABLE_OPS and f"{n.name}:0" not in graph.feeds]
    named = Counter(graph.aliases.get(name, name) for name in holders)
    consumers = consumers_of(index.values())
    wanted = {*graph.fetches, *(f"{target}:0" for target in graph.targets)}
    for variable in holders:
        # Two nodes may stand for one variable; then an assignment to the other one is not among the users of this one.
        users = [index[name] for name in consumers.get(variable, ())]
        if named[graph.aliases.get(variable, variable)] == 1 and all(_only_reads(user) for user in users):
            for read in users:
                # A read that waits for something is ordered, such as after an update. One without may run at any time.
                if f"{read.name}:0" not in graph.feeds and not any(i.startswith("^") for i in read.input):
                    _take_rows(index, consumers, variable, read, wanted)
    return dataclasses.replace(graph, nodes=index)


def _take_rows(
    index: dict[str, Any], consumers: Mapping[str, Iterable[str]], variable: str, read: Any, wanted: Collection[str]
) -> None:
    gathers = [read] if read.op in _GATHERS else [index[name] for name in consumers.get(read.name, ())]
    rest = 0
    for gather in gathers:
        if _is_lookup(gather, read.name if read is not gather else variable, index):
            index[gather.name] = _from_variable(gather, variable)
        else:
            rest += 1
    if read.op in _READS and gathers and not rest and f"{read.name}:0" not in wanted:
        del index[read.name]


def _only_reads(node: Any) -> bool:
    return node.op in _READS or node.op in _GATHERS or node.op in {"VariableShape", "ResourceGather"}


def _is_lookup(node: Any, source: str, index: Mapping[str, Any]) -> bool:
    """Tells whether a node gathers rows of `source`, and may do so at any time."""
    if len(node.input) != _GATHERS.get(node.op) or any(i.startswith("^") for i in node.input):
        return False
    # Only these are what an optimizer writes rows of, and so what a read copies.
    if Ref.parse(node.input[0]) != Ref(source, 0) or node.attr["Tparams"].type not in _FLOATS:
        return False
    if node.op == "Gather":
        return True
    axis = index.get(Ref.parse(node.input[2]).node)
    if axis is None or axis.op != "Const" or attribute(node, "batch_dims").i:
        return False
    # Not made an array of: nothing has looked yet at whether it fits its shape and what that takes.
    value = axis.attr["value"].tensor
    # Axis 0, a scalar: the only one that ResourceGather knows.
    return not (value.tensor_shape.dim or any(value.tensor_content) or any(value.int_val) or any(value.int64_val))


def _from_variable(gather: Any, variable: str) -> Any:
    node = NodeDef(name=gather.name, op="ResourceGather", input=[variable, gather.input[1]])
    node.attr["dtype"].type = gather.attr["Tparams"].type
    node.attr["Tindices"].type = gather.attr["Tindices"].type
    return node
