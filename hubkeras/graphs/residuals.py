"""Residuals: what a backward function gets from the forward one instead of computing it again.

Running a subgraph again gives the same only where its ops give the same. So

1. what an op outside of control flow gave that draws at random, looks into a table or acts on the world is kept, and
   that op does not run again;
2. rows gathered from a variable outside of control flow are kept too, and their gradient is that of the rows: a big
   table is neither copied nor looked at as it is by then;
3. of every other variable the whole value is kept (a reference to it, unless it was written sparsely before).

Ops of the first kind that stand in control flow, or in functions, cannot be replayed; `cannot_repeat` finds them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from hubkeras.graphs.op_registry import op_def
from hubkeras.graphs.subgraph import STATE, by_name, used_tensors
from hubkeras.graphs.tensorflow_internals import never_differentiable
from hubkeras.savedmodel.graph_index import attribute, data_input_texts
from hubkeras.savedmodel.protos import NodeDef, copy_of, dtypes
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hubkeras.graphs.subgraph import Subgraph

RESIDUAL = "hubkeras_residual"
_GRADIENT = "HubKerasResidualRows"
_GATHERS = frozenset({"ResourceGather", "ResourceGatherNd"})
# Prefixes of ops that are stateful and yet give the same: assignments run on copies in a gradient, and TensorArrays and
# stacks live within one run.
_REPEATABLE = ("ReadVariableOp", "Resource", "Assign", "Var", "TensorArray", "Stack", "Assert", "Print")
_REPEATABLE += ("LookupTableFind", "LookupTableSize", "If", "While", "Case", "Placeholder")
_REPEATABLE += ("PartitionedCall", "StatefulPartitionedCall", "SymbolicGradient")
_NEVER_RESIDUAL = frozenset({dtypes.DT_RESOURCE, dtypes.DT_VARIANT})


class Residuals(NamedTuple):
    """A subgraph that gets from outside what it must not compute again, and what that is."""

    graph: Subgraph
    tensors: tuple[str, ...]
    """What is kept, by the names that it has in the forward graph; number i is `hubkeras_residual/i:0`."""
    ends: tuple[str, ...]
    """What the ops took whose results are kept: a gradient stops there, though it should go on."""
    whole: tuple[int, ...]
    """Positions of the variables whose whole value it needs."""


def find_residuals(forward: Subgraph, backward: Subgraph, variables: Mapping[int, Any]) -> Residuals:
    """Finds what the backward function must get from the forward one.

    Args:
        forward: What a call runs.
        backward: What is to be differentiated.
        variables: The state of `backward` that is a variable, by position.
    """
    inside = backward.contexts.inner_nodes()
    # What stands in a loop has another value in each turn, and no single tensor could be kept of it.
    outside = [n for n in backward.nodes.values() if n.name not in inside and n.name in forward.nodes]
    # Lookups repeat only as long as nobody inserts into the table, so their results are kept as well.
    residual_nodes = {n.name: n for n in outside if (not repeats(n.op) or _looks_up(n.op)) and _can_be_residual(n.op)}
    gathers = [n for n in outside if n.op in _GATHERS]
    used = used_tensors(backward.nodes.values()) | set(backward.fetches)
    tensors = sorted(t for t in used if Ref.parse(t).node in residual_nodes)
    names = {t: f"{RESIDUAL}/{i}:0" for i, t in enumerate(tensors)}
    rows = [_rows(n, f"{RESIDUAL}/{len(tensors) + i}") for i, n in enumerate(gathers)]
    names |= {f"{n.name}:0": f"{new.name}:0" for n, new in zip(gathers, rows, strict=True)}
    left = [_renamed(n, names, residual_nodes) for n in backward.nodes.values() if n.name not in residual_nodes]
    graph = dataclasses.replace(
        backward,
        nodes=by_name([*left, *rows]),
        fetches=tuple(names.get(f, f) for f in backward.fetches),
        contexts=backward.contexts.adopt({}, names),
    )
    ends = {Ref.parse(i).tensor for n in residual_nodes.values() for i in _differentiable_inputs(n)}
    whole = sorted(_read_whole(left, {n.name for n in gathers}) & variables.keys())
    return Residuals(graph, (*tensors, *(f"{n.name}:0" for n in gathers)), tuple(sorted(ends)), tuple(whole))


def _renamed(node: Any, names: Mapping[str, str], gone: Mapping[str, Any]) -> Any:
    """Returns a node that takes tensors by other names, and waits for nothing that is gone."""
    new = copy_of(node)
    del new.input[:]
    for text in node.input:
        ref = Ref.parse(text)
        if ref.index is not None:
            new.input.append(names.get(ref.tensor, text))
        elif ref.node not in gone:
            new.input.append(text)
    return new


def repeats(op: str) -> bool:
    """Tells whether an op that runs again gives the same, over variables of the same values."""
    definition = op_def(op)
    if definition is None:
        return True
    draws = any(a.name in {"seed", "seed2"} for a in definition.attr)
    return not draws and (not definition.is_stateful or op.startswith(_REPEATABLE))


def cannot_repeat(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yields those nodes that would give something else when they run again."""
    return (n for n in nodes if not repeats(n.op))


def take_rows(graph: Subgraph) -> Subgraph:
    """Lets nodes that stand for rows which were kept be just that, once gradients are taken; they are changed."""
    for node in graph.nodes.values():
        if attribute(node, "_gradient_op_type").s == _GRADIENT.encode():
            dtype = node.attr["T"].list.type[0]
            node.op = "Identity"
            node.attr.clear()
            node.attr["T"].type = dtype
            del node.input[1:]
    return graph


@tf.RegisterGradient(_GRADIENT)
def _rows_gradient(op: tf.Operation, kept: Any, gathered: Any) -> list[Any]:
    del op, gathered
    # To the second input, the real gather: the rows that were kept are only values, and know no variable.
    return [None, kept]


def _rows(gather: Any, source: str) -> Any:
    """Makes the node that gives out the rows that were kept, with the gradient of those that `gather` gives."""
    node = NodeDef(name=f"{gather.name}/_kept", op="IdentityN", input=[source, gather.name])
    node.attr["T"].list.type.extend([gather.attr["dtype"].type] * 2)
    node.attr["_gradient_op_type"].s = _GRADIENT.encode()
    return node


def _looks_up(op: str) -> bool:
    return op.startswith(("LookupTableFind", "LookupTableSize"))


def _can_be_residual(op: str) -> bool:
    definition = op_def(op)
    return definition is not None and not any(a.type in _NEVER_RESIDUAL or a.is_ref for a in definition.output_arg)


def _differentiable_inputs(node: Any) -> list[str]:
    """Returns the inputs of a node through which its op may have a gradient."""
    return [] if never_differentiable(node.op) else data_input_texts(node)


def _read_whole(nodes: Iterable[Any], gathers: set[str]) -> set[int]:
    """Returns the positions of the state that is used for more than gathering rows outside of control flow."""
    found = set()
    for node in nodes:
        if node.name not in gathers:
            for text in node.input:
                scope, _, number = Ref.parse(text).node.rpartition("/")
                if scope == STATE and number.isdecimal():
                    found.add(int(number))
    return found
