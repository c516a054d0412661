"""What gradients need of the plain graph that they were taken in, made fit for import: the passes, in their order."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hubkeras.errors import UnsupportedError
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.inlining import inline_calls
from hubkeras.graphs.residuals import cannot_repeat, take_rows
from hubkeras.graphs.specialization import drop_private_attributes, specialize_functions
from hubkeras.graphs.subgraph import STATE, by_name
from hubkeras.savedmodel.protos import copy_of
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hubkeras.graphs.subgraph import Subgraph


def _call_own_gradients(graph: Subgraph) -> Subgraph:
    """Calls the gradients that functions bring along, where TensorFlow would derive them symbolically."""
    for node in graph.all_nodes():
        own = graph.library.gradients.get(node.attr["f"].func.name) if node.op == "SymbolicGradient" else None
        if own:
            # SymbolicGradient takes inputs and gradients of the outputs in the order in which such a function does, so
            # the call can stay as it is.
            node.op = "PartitionedCall"
            node.attr["f"].func.name = own
    return graph


def _prune(graph: Subgraph) -> Subgraph:
    """Leaves only what the gradients need, without the nodes that stood for what comes from outside."""
    nodes = graph.nodes
    # State too: variables are VarHandleOps in the plain graph, made only so that TensorFlow knows what to
    # differentiate.
    outside = {name for name, n in nodes.items() if n.op == "Placeholder" or name.startswith(f"{STATE}/")}
    needed = prune(nodes, graph.fetches, {f"{name}:0" for name in outside}).nodes
    kept = {node.name: node for node in needed if node.name not in outside}
    for node in kept.values():
        # An argument of a function is there from the start, and no control edge can name it.
        for text in [i for i in node.input if i.startswith("^") and Ref.parse(i).node in outside]:
            node.input.remove(text)
        drop_private_attributes(node.attr)
    return dataclasses.replace(graph, nodes=kept)


def _check_repeatable(graph: Subgraph) -> Subgraph:
    """Leaves a graph as it is.

    Raises:
        UnsupportedError: It would compute something else than the forward call did.
    """
    for node in cannot_repeat(graph.all_nodes()):
        raise UnsupportedError(
            f"Cannot take the gradient: node {node.name!r} stands in control flow or a function, and its op {node.op!r}"
            " gives something else each time it runs",
            expected="an op that can draw from a seed, such as RandomUniform, or one outside of control flow",
            fix="Call it where no gradient tape watches; for a layer, set trainable=False",
        )
    return graph


_PASSES = (
    # Before calls are written out, as these are calls then.
    _call_own_gradients,
    inline_calls,
    take_rows,
    # TensorFlow took gradients for all sources; not all of them have one.
    _prune,
    specialize_functions,
    # Looks at what is left, in the functions too.
    _check_repeatable,
)


def cut_gradient(source: Subgraph, graph_def: Any, fetches: Sequence[str]) -> Subgraph:
    """Cuts out what gradients need.

    Args:
        source: The subgraph that was differentiated; the new one has its state and inputs.
        graph_def: The plain graph, with the gradients.
        fetches: Full names of the gradients.

    Raises:
        UnsupportedError: The gradient runs something again that does not give the same.
    """
    graph = dataclasses.replace(
        source,
        nodes=by_name([copy_of(node) for node in graph_def.node]),
        library=FunctionLibrary.of(graph_def.library),
        contexts=dataclasses.replace(source.contexts, roots=()),
        versions=graph_def.versions,
        purpose=f"the gradient of {source.purpose}",
        fetches=tuple(fetches),
        targets=(),
        calls_own_gradients=False,
    )
    for run in _PASSES:
        graph = run(graph)
    return graph
