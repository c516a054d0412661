"""Values in the place of variables, where a graph only reads these."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hubkeras.graphs.subgraph import STATE, by_name, consumers_of
from hubkeras.savedmodel.graph_index import attribute
from hubkeras.savedmodel.protos import copy_of
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.graphs.subgraph import Subgraph

VALUE = "hubkeras_value"
"""Number i is the value of the variable that is the state number i."""

_PASSES_ON = frozenset({"Enter", "Switch", "Identity"})
_READS = {"ReadVariableOp": "Identity", "VariableShape": "Shape", "ResourceGather": "Gather"}
"""Ops that read a variable, each with the one that takes a value."""


def read_values(graph: Subgraph, dtypes: Mapping[int, int]) -> tuple[Subgraph, frozenset[int]]:
    """Lets a graph take the values of variables in place of their handles, where it only reads, outside of functions.

    Args:
        graph: The graph.
        dtypes: Which of its state are variables, by position, and the numbers of their dtypes.

    Returns:
        The graph, and the positions of the variables whose values it takes.
    """
    nodes = {node.name: copy_of(node) for node in graph.nodes.values()}
    consumers = consumers_of(nodes.values())
    taken = set()
    for position, dtype in dtypes.items():
        users = _users(f"{STATE}/{position}", nodes, consumers)
        if users is not None:
            taken.add(position)
            for user in users:
                _take_value(user, position, dtype)
    return dataclasses.replace(graph, nodes=by_name(list(nodes.values()))), frozenset(taken)


def _users(source: str, nodes: Mapping[str, Any], consumers: Mapping[str, Any]) -> list[Any] | None:
    """Returns the nodes that get a handle or read what it stands for; None if there are others that get it."""
    found: dict[str, Any] = {}
    left = [source]
    while left:
        name = left.pop()
        for user in (nodes[c] for c in consumers.get(name, ())):
            uses = [k for k, text in enumerate(user.input) if _is_data(text, name)]
            if not uses or user.name in found:
                continue
            if uses != [0] or user.op not in _READS.keys() | _PASSES_ON or attribute(user, "batch_dims").i:
                return None
            found[user.name] = user
            if user.op in _PASSES_ON:
                left.append(user.name)
    return list(found.values())


def _is_data(text: str, name: str) -> bool:
    ref = Ref.parse(text)
    return ref.node == name and ref.index is not None


def _take_value(node: Any, position: int, dtype: int) -> None:
    if Ref.parse(node.input[0]).node == f"{STATE}/{position}":
        node.input[0] = f"{VALUE}/{position}:0"
    if node.op == "ResourceGather":
        indices = node.attr["Tindices"].type
        node.attr.clear()
        node.attr["Tparams"].type, node.attr["Tindices"].type = dtype, indices
    else:
        for name in ("dtype", "batch_dims"):
            node.attr.pop(name, None)
        node.attr["T"].type = dtype
    node.op = _READS.get(node.op, node.op)
