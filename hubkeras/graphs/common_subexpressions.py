"""Equal nodes of a graph made one.

A graph written by TF1 has a constant of its own for each axis, shape and scale that its code mentions, and asks for the
shape of one tensor again and again; often that is half of all nodes. TensorFlow merges them too, but only after it has
imported each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.core.framework import node_def_pb2

from hubkeras.graphs.pruning import PLACEHOLDERS
from hubkeras.graphs.tensorflow_internals import op_def
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_MOST_BYTES = 4096


def merge_equal(nodes: Sequence[Any], kept: Collection[str]) -> list[Any]:
    """Drops nodes that compute what another one computes, and lets those who took them take the other one.

    Nodes that have state, are large, or wait for another one by a control input (as all do that belong to a branch or a
    loop) are left alone.

    Args:
        nodes: NodeDefs in an order in which inputs come first, as far as equal nodes are to be found; their inputs may
            be changed.
        kept: Names of nodes that must stay.

    Returns:
        The nodes that are left, in their order.
    """
    first: dict[bytes, str] = {}
    other: dict[str, str] = {}
    left = []
    for node in nodes:
        _follow(node, other)
        if node.name not in kept and _is_function_of_inputs(node):
            anonymous = node_def_pb2.NodeDef()
            anonymous.CopyFrom(node)
            anonymous.name = ""
            name = first.setdefault(anonymous.SerializeToString(deterministic=True), node.name)
            if name != node.name:
                other[node.name] = name
                continue
        left.append(node)
    for node in left if other else ():
        _follow(node, other)
    return left


def _follow(node: Any, other: dict[str, str]) -> None:
    for position, text in enumerate(node.input):
        ref = Ref.parse(text)
        if ref.node in other:
            node.input[position] = str(ref._replace(node=other[ref.node]))


def _is_function_of_inputs(node: Any) -> bool:
    if node.op in PLACEHOLDERS or node.ByteSize() > _MOST_BYTES or any(i.startswith("^") for i in node.input):
        return False
    definition = op_def(node.op)
    return definition is not None and not definition.is_stateful
