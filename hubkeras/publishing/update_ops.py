"""Which ops of a traced function change state, and which of them must run with every call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.graphs.op_registry import op_def
from hubkeras.graphs.tensorflow_internals import handle_spec
from hubkeras.savedmodel.protos import dtypes
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import tensorflow as tf

    from hubkeras.publishing.function_traces import Trace


def find_updates(trace: Trace) -> list[str]:
    """Returns the ops that assign a variable or change a table, or run a function that does.

    Args:
        trace: A traced function.

    Returns:
        Names of nodes, in the order of the graph.
    """
    library = trace.library
    bodies = {name: function.node_def for name, function in library.functions.items()}
    changing = {name for name, body in bodies.items() if any(_changes_state(node.op) for node in body)}
    return [
        node.name
        for node in trace.nodes.values()
        if _changes_state(node.op) or not changing.isdisjoint(library.reachable([node]))
    ]


def _changes_state(op: str) -> bool:
    definition = op_def(op)
    # An op that also returns something, such as a draw from a generator, is run by whoever needs what it returns.
    if definition is None or not definition.is_stateful or definition.output_arg:
        return False
    return any(argument.type == dtypes.DT_RESOURCE for argument in definition.input_arg)


def find_seeds(trace: Trace, updates: Sequence[str]) -> set[str]:
    """Returns what random ops are seeded from and each call advances, as the generators of Keras do.

    Args:
        trace: A traced function.
        updates: Names of the nodes that assign.

    Returns:
        Names of nodes that stand for variables.
    """
    nodes, library = trace.nodes, trace.library
    drawing = {name for name, function in library.functions.items() if any(map(_takes_seed, function.node_def))}
    seeds: list[str] = []
    for node in nodes.values():
        # What runs functions that draw takes the seed among other things; only the variable's form tells then.
        if _takes_seed(node) or not drawing.isdisjoint(library.reachable([node])):
            seeds += node.input
    read = {node.name for node in prune(nodes, seeds).nodes}
    assigned = {Ref.parse(nodes[update].input[0]).node for update in updates if nodes[update].input}
    return {name for name in read & assigned if _is_seed(trace.captures.get(name))}


def _takes_seed(node: Any) -> bool:
    definition = op_def(node.op)
    return definition is not None and any(argument.name == "seed" for argument in definition.input_arg)


def _is_seed(handle: tf.Tensor | None) -> bool:
    """Tells whether a variable has the form that a seed of stateless random ops has: two whole numbers."""
    spec = None if handle is None else handle_spec(handle)
    return spec is not None and spec.dtype.is_integer and spec.shape == [2]


def order_draws(nodes: Mapping[str, Any], updates: Sequence[str], seeds: Collection[str]) -> None:
    """Makes what draws at random wait until the seed that it read has been advanced.

    A TF1 program runs update ops only if it trains moving averages. Without them each step would draw the same numbers.

    Args:
        nodes: The nodes of the graph, changed in place.
        updates: Names of the ops that assign.
        seeds: Names of the variables that hold a seed.
    """
    for update in updates:
        inputs = [Ref.parse(text) for text in nodes[update].input]
        if not inputs or inputs[0].node not in seeds:
            continue
        before = {node.name for node in prune(nodes, [f"^{update}"]).nodes}
        reads = {name for name, node in nodes.items() if node.op == "ReadVariableOp" and inputs[0].node in node.input}
        for node in nodes.values():
            takes = any(Ref.parse(text).node in reads for text in node.input if not text.startswith("^"))
            # What the update itself needs cannot wait for it.
            if takes and node.name not in before and f"^{update}" not in node.input:
                node.input.append(f"^{update}")
