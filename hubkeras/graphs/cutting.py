"""What one call needs of a graph variant, cut out and made fit for import: the passes, in their order."""

from __future__ import annotations

import dataclasses
import itertools
from functools import cached_property
from typing import TYPE_CHECKING

from hubkeras.errors import FormatError
from hubkeras.graphs.common_subexpressions import merge_common_subexpressions
from hubkeras.graphs.control_flow import ContextTree, with_pivots
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.gc_pause import paused_collection
from hubkeras.graphs.guarded_targets import guard_targets
from hubkeras.graphs.inlining import inline_calls
from hubkeras.graphs.kernel_guards import guard_kernels
from hubkeras.graphs.lost_gradients import mark_lost_gradients
from hubkeras.graphs.op_packages import require_registered
from hubkeras.graphs.producer_version import raise_producer
from hubkeras.graphs.random_seeds import can_draw_from_seed
from hubkeras.graphs.row_gathers import gather_rows_from_variables
from hubkeras.graphs.specialization import specialize_functions
from hubkeras.graphs.state_arguments import take_state_out
from hubkeras.graphs.state_in_functions import expose_state
from hubkeras.graphs.state_nodes import ResourceKey, is_state, resource_key
from hubkeras.graphs.subgraph import Subgraph, consumers_of
from hubkeras.savedmodel.collection_defs import read_table_initializers
from hubkeras.savedmodel.graph_index import Graph
from hubkeras.savedmodel.pruning import MUST_BE_FED, prune
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import GraphVariant


def _prune(graph: Subgraph) -> Subgraph:
    """Leaves only what the fetched tensors and the targets need, and what their control flow contexts hang on.

    Raises:
        FormatError: A node is missing, or a placeholder is not fed.
    """
    pruned = prune(graph.nodes, [*graph.fetches, *(f"^{target}" for target in graph.targets)], graph.feeds)
    if pruned.missing:
        raise FormatError(
            f"Cannot build {graph.purpose}",
            expected="a graph with all nodes that it refers to",
            received=f"no node {pruned.missing[0]!r}",
            fix="The module is damaged, or was written by a broken exporter",
        )
    if pruned.unfed:
        raise FormatError(
            f"Cannot run {graph.purpose}",
            expected="a signature that feeds every placeholder its outputs need",
            received=f"placeholder {sorted(pruned.unfed)[0]!r} without a value",
            fix="Use a signature that has this placeholder among its inputs",
        )
    nodes = {node.name: node for node in pruned.nodes}
    return dataclasses.replace(graph, nodes=with_pivots(nodes, graph.nodes, graph.contexts, graph.feeds))


def _check_ops(graph: Subgraph) -> Subgraph:
    """Leaves a graph as it is.

    Raises:
        MissingOpError: An op is not registered in this process.
    """
    library = graph.library
    # A dict for a set, here and in other places: it keeps the order, so that a message names the same op each time.
    ops = dict.fromkeys(node.op for node in graph.nodes.values())
    for name in library.reachable(graph.nodes.values()):
        ops |= dict.fromkeys(node.op for node in library.functions[name].node_def)
    require_registered(ops, library.functions, f"Cannot build {graph.purpose}")
    return graph


_PASSES = (
    # What is unused, unfed or broken must not matter until something fetched needs it, so all else comes after.
    _prune,
    # The next passes ask how many outputs an op has, and whether it is stateful.
    _check_ops,
    # Whatever is done to nodes must be done to those of a called function too; so their calls go first.
    inline_calls,
    # While reads of variables still look as TensorFlow 1 wrote them.
    gather_rows_from_variables,
    # From here on the subgraph owns its nodes, and passes may change them in place, which spares a copy.
    take_state_out,
    # Only now: before, constants differ by the attributes that the pass above drops.
    merge_common_subexpressions,
    # Adds nodes to the branches, which no pass above is to see.
    guard_targets,
    # What is left of the functions is what runs, and gets its names in this process.
    specialize_functions,
    # In the form in which TensorFlow gets it, with no function left that has the name of an op.
    guard_kernels,
    # These look into the functions too.
    mark_lost_gradients,
    raise_producer,
)


class VariantGraph:
    """The graph of one variant, from which subgraphs are cut.

    Args:
        variant: The variant.
        module: What the module is called in messages.
        policy: What the gate lets its graph do.
    """

    def __init__(self, variant: GraphVariant, module: str, policy: OpPolicy) -> None:
        self.variant, self.module = variant, module
        self.assets = {Ref.parse(a.tensor).node: a for a in variant.assets}
        graph_def = variant.meta_graph.graph_def
        whole = Subgraph(
            variant.nodes,
            FunctionLibrary.of(graph_def.library),
            ContextTree.of(variant.meta_graph),
            graph_def.versions,
            purpose=f"module {module}",
            policy=policy,
            assets=self.assets.keys(),
        )
        self._whole = expose_state(whole)
        self.nodes = self._whole.nodes

    @cached_property
    def table_initializers(self) -> tuple[str, ...]:
        """Names of the ops that fill tables."""
        # Nothing was written out, so what the reader found still holds. Else initializers may have come out of
        # functions.
        if self.nodes is self.variant.nodes:
            return self.variant.table_initializers
        return read_table_initializers(self.variant.meta_graph, Graph(self.nodes, ()), with_init_op=True)

    def runnable(self, ops: Iterable[str], feeds: Sequence[str]) -> list[str]:
        """Returns those of `ops` that need no placeholder besides the fed tensors."""
        fed = set(feeds)
        blocked = {n for n, node in self.nodes.items() if node.op in MUST_BE_FED and f"{n}:0" not in fed}
        pending = list(blocked)
        while pending:
            name = pending.pop()
            for consumer, outputs in self._consumers.get(name, {}).items():
                if consumer not in blocked and any(f"{name}:{index}" not in fed for index in outputs):
                    blocked.add(consumer)
                    pending.append(consumer)
        return [op for op in dict.fromkeys(ops) if op in self.nodes and op not in blocked]

    @cached_property
    def _consumers(self) -> dict[str, dict[str, list[int | None]]]:
        return consumers_of(self.nodes.values())

    def reached(self, fetches: Iterable[str], feeds: Collection[str]) -> set[str]:
        """Returns the names of the state that some tensors need."""
        found = {n.name for n in prune(self.nodes, fetches, feeds).nodes if is_state(n)}
        return {self.state_of(name) for name in found}

    def is_random(self, fetches: Iterable[str], feeds: Collection[str]) -> bool:
        """Tells whether what some tensors need draws from a seed that a call brings."""
        if not any(map(can_draw_from_seed, self._whole.all_nodes())):  # as nearly always
            return False
        needed = prune(self.nodes, fetches, feeds).nodes
        functions = self._whole.library.reachable(needed)
        inner = (node for name in functions for node in self._whole.library.functions[name].node_def)
        return any(map(can_draw_from_seed, itertools.chain(needed, inner)))

    def state_of(self, name: str) -> str:
        """Returns the node that stands for a state node: the first of the same kind and shared name."""
        return self._aliases.get(name, name)

    @cached_property
    def _aliases(self) -> dict[str, str]:
        first: dict[ResourceKey, str] = {}
        aliases: dict[str, str] = {}
        for name, node in self.nodes.items():
            key = resource_key(node) if is_state(node) else None
            if key is not None:
                # Two nodes of one shared name are one variable, of which only one may have a value in the checkpoint.
                aliases[name] = first.setdefault(key, self._variable_of(key, name))
        return aliases

    def _variable_of(self, key: ResourceKey, name: str) -> str:
        """Returns the variable that a node shares its state with, if that has a value of its own; else the node."""
        variables = self.variant.variables
        other = self.nodes.get(key.name)
        shares = name not in variables and key.name in variables and other is not None
        return key.name if shares and resource_key(other) == key else name

    @paused_collection()
    def cut(
        self,
        fetches: Sequence[str],
        feeds: Sequence[str] = (),
        targets: Sequence[str] = (),
        what: str = "",
        calls_own_gradients: bool = False,
    ) -> Subgraph:
        """Cuts out what some tensors and ops need.

        Args:
            fetches: Names of tensors.
            feeds: Full names of the tensors that are fed.
            targets: Names of ops that are to run as well.
            what: For messages, what all this is for.
            calls_own_gradients: Whether calls of functions with a gradient of their own stay calls.

        Returns:
            The subgraph.

        Raises:
            FormatError: A node is missing, a placeholder is not fed, or functions do not fit their calls.
            MissingOpError: An op is not registered in this process.
        """
        graph = dataclasses.replace(
            self._whole,
            fetches=tuple(Ref.parse(fetch).tensor for fetch in fetches),
            feeds=tuple(feeds),
            targets=tuple(targets),
            purpose=f"{what} of module {self.module}",
            aliases=self._aliases,
            calls_own_gradients=calls_own_gradients,
        )
        for run in _PASSES:
            graph = run(graph)
        return graph
