"""Equal nodes of a graph made one.

A graph written by TF1 has a constant of its own for each axis, shape and scale that its code mentions, and asks for the
shape of one tensor again and again; often that is half of all nodes. TensorFlow merges them too, but only after it has
imported each of them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hubkeras.graphs.op_registry import op_def
from hubkeras.savedmodel.protos import copy_of
from hubkeras.savedmodel.pruning import PLACEHOLDERS
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.graphs.subgraph import Subgraph

# Larger nodes are constants of weights, which are seldom equal and cost more to compare than merging would save.
_MOST_BYTES = 4096


def merge_common_subexpressions(graph: Subgraph) -> Subgraph:
    """Drops nodes that compute what another one computes, and lets those who took them take the other one.

    Nodes that have state, are large, or wait for another one by a control input (as all do that belong to a branch or a
    loop) are left alone.

    Args:
        graph: A subgraph that owns its nodes; their inputs may be changed.
    """
    if graph.contexts.roots:
        # Equal constants of two branches are not the same: each runs only where its branch does, and a context lists
        # its nodes by name.
        return graph
    named_outside = {Ref.parse(name).node for name in (*graph.fetches, *graph.targets)}
    first: dict[bytes, str] = {}
    replacements: dict[str, str] = {}
    left = {}
    for node in graph.nodes.values():
        _follow(node, replacements)
        if node.name not in named_outside and _is_function_of_inputs(node):
            anonymous = copy_of(node)
            # Serialised without its name, a node is equal to another exactly if op, inputs and attributes are.
            anonymous.name = ""
            name = first.setdefault(anonymous.SerializeToString(deterministic=True), node.name)
            if name != node.name:
                replacements[node.name] = name
                continue
        left[node.name] = node
    # Once more: in a file, nodes may stand before what they take, which was merged only later.
    for node in left.values() if replacements else ():
        _follow(node, replacements)
    return dataclasses.replace(graph, nodes=left)


def _follow(node: Any, replacements: Mapping[str, str]) -> None:
    for position, text in enumerate(node.input):
        ref = Ref.parse(text)
        if ref.node in replacements:
            node.input[position] = str(ref._replace(node=replacements[ref.node]))


def _is_function_of_inputs(node: Any) -> bool:
    if node.op in PLACEHOLDERS or node.ByteSize() > _MOST_BYTES or any(i.startswith("^") for i in node.input):
        return False
    definition = op_def(node.op)
    return definition is not None and not definition.is_stateful
