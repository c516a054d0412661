"""What one call needs of a graph variant, cut out and made fit for import."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tensorflow.core.framework import graph_pb2

from hubkeras.errors import FormatError, MissingOpError
from hubkeras.graphs.common_subexpressions import merge_equal
from hubkeras.graphs.control_flow import CONTROL_FLOW, ContextTree, alive_after
from hubkeras.graphs.function_library import Library, inline_calls, rename_functions
from hubkeras.graphs.gc_pause import paused_collection
from hubkeras.graphs.lost_gradients import mark_lost_gradients
from hubkeras.graphs.op_packages import how_to_register
from hubkeras.graphs.pruning import PLACEHOLDERS, Pruned, prune
from hubkeras.graphs.row_gathers import gather_from_variables
from hubkeras.graphs.state_arguments import INPUT, STATE, VARIABLES, changes_state, is_state, rewrite, uses_of_state
from hubkeras.graphs.tensorflow_internals import op_def
from hubkeras.savedmodel.graph import tensor_name
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from hubkeras.savedmodel.description import GraphVariant

_serial = itertools.count()


@dataclass(frozen=True)
class Fragment:
    """The part of a graph that some tensors need, as a function of inputs and state."""

    graph_def: Any
    feeds: int
    """How many inputs it has; number i is the tensor `hubkeras_input/i`."""
    state: tuple[str, ...]
    """Names of nodes; number i is the tensor `hubkeras_state/i`."""
    fetches: tuple[str, ...]
    """Full names of its tensors (an input may be among them)."""
    targets: tuple[str, ...]
    """Names of ops that run before any fetched tensor is given out."""
    changed: frozenset[int]
    """Positions of the state that it may change."""
    contexts: ContextTree = field(repr=False)
    custom_gradients: bool = False
    """Whether it calls functions with a gradient of their own."""

    @cached_property
    def ops(self) -> frozenset[str]:
        """The op types in it and in its functions."""
        bodies = (f.node_def for f in self.graph_def.library.function)
        return frozenset(n.op for n in itertools.chain(self.graph_def.node, *bodies))

    @property
    def needs_replay(self) -> bool:
        """Whether its gradient must be taken in a plain graph: through v1 control flow or a function's own gradient."""
        return self.custom_gradients or not CONTROL_FLOW.isdisjoint(self.ops)


class VariantGraph:
    """The graph of one variant, from which fragments are cut.

    Args:
        variant: The variant.
        module: What the module is called in messages.
    """

    def __init__(self, variant: GraphVariant, module: str) -> None:
        meta_graph = variant.meta_graph
        self.variant, self.module = variant, module
        self.nodes = variant.nodes
        self.library = Library(meta_graph.graph_def.library)
        self.assets = {Ref.parse(a.tensor).node: a for a in variant.assets}
        self.contexts = ContextTree.of(meta_graph)
        self._versions = meta_graph.graph_def.versions

    @cached_property
    def _consumers(self) -> dict[str, list[tuple[str, int | None]]]:
        consumers: dict[str, list[tuple[str, int | None]]] = {}
        for node in self.nodes.values():
            for ref in map(Ref.parse, node.input):
                consumers.setdefault(ref.node, []).append((node.name, ref.index))
        return consumers

    def runnable(self, ops: Iterable[str], feeds: Sequence[str]) -> list[str]:
        """Returns those of `ops` that need no placeholder besides the fed tensors."""
        fed = set(feeds)
        unfed = [n for n, node in self.nodes.items() if node.op in PLACEHOLDERS - {"PlaceholderWithDefault"}]
        blocked = {name for name in unfed if f"{name}:0" not in fed}
        pending = list(blocked)
        while pending:
            name = pending.pop()
            for consumer, index in self._consumers.get(name, ()):
                if consumer not in blocked and f"{name}:{index}" not in fed:
                    blocked.add(consumer)
                    pending.append(consumer)
        return [op for op in dict.fromkeys(ops) if op in self.nodes and op not in blocked]

    def reached(self, fetches: Iterable[str], feeds: Collection[str]) -> set[str]:
        """Returns the names of the state that some tensors need."""
        found = {n.name for n in prune(self.nodes, fetches, feeds).nodes if is_state(n)}
        return {self.state_of(name) for name in found}

    def state_of(self, name: str) -> str:
        """Returns the node that stands for a state node: the first of the same kind and shared name."""
        return self._same_state.get(name, name)

    @cached_property
    def _same_state(self) -> dict[str, str]:
        first: dict[str, str] = {}
        same: dict[str, str] = {}
        for name, node in self.nodes.items():
            shared = node.attr["shared_name"].s.decode() if "shared_name" in node.attr else ""
            if shared and is_state(node):
                same[name] = first.setdefault(shared, self._variable_name(shared, name))
        return same

    def _variable_name(self, shared: str, name: str) -> str:
        return shared if shared in self.variant.variables and name not in self.variant.variables else name

    @paused_collection()
    def cut(
        self,
        fetches: Sequence[str],
        feeds: Sequence[str] = (),
        targets: Sequence[str] = (),
        what: str = "",
        keep_calls: bool = False,
    ) -> Fragment:
        """Cuts out what some tensors and ops need.

        Args:
            fetches: Names of tensors.
            feeds: Full names of the tensors that are fed.
            targets: Names of ops that are to run as well.
            what: For messages, what all this is for.
            keep_calls: Whether calls of functions with a gradient of their own stay calls.

        Returns:
            The fragment.

        Raises:
            FormatError: A node is missing, or a placeholder is not fed.
            MissingOpError: An op is not registered in this process.
        """
        fetches = [tensor_name(f) for f in fetches]
        fed = set(feeds)
        pruned = prune(self.nodes, [*fetches, *(f"^{t}" for t in targets)], fed)
        self._check(pruned, what)
        pruned = self._with_pivots(pruned, fed)
        self._check_ops(pruned.nodes, what)
        own_gradients = self.library.has_own_gradient(pruned.nodes)
        keep = self.library.gradients.__contains__ if keep_calls else _never
        nodes, owners = inline_calls(pruned.nodes, self.library, keep)
        assets = [n.name for n in nodes if n.name in self.assets and f"{n.name}:0" not in fed]
        state = [n.name for n in nodes if is_state(n) and f"{n.name}:0" not in fed]
        once = Counter(map(self.state_of, state))
        variables = [n.name for n in nodes if n.op in VARIABLES and once[self.state_of(n.name)] == 1]
        nodes = gather_from_variables(nodes, variables, fed, {*fetches, *(f"{t}:0" for t in targets)})
        rewritten = rewrite(nodes, feeds, [*state, *assets], fetches, assets)
        graph_def = graph_pb2.GraphDef(versions=self._versions)
        named = {Ref.parse(name).node for name in (*fetches, *targets)}
        graph_def.node.extend(rewritten.nodes if self.contexts.roots else merge_equal(rewritten.nodes, kept=named))
        contexts = self.contexts.adopt({**owners, **rewritten.owners}, rewritten.names)
        guards = [alive_after(target, graph_def, contexts) for target in targets]
        serial = next(_serial)
        rename_functions(graph_def, self.library, f"_hubkeras_{serial}")
        _make_shared_names_unique(graph_def, serial)
        mark_lost_gradients(graph_def)
        return Fragment(
            graph_def=graph_def,
            feeds=len(feeds),
            state=(*map(self.state_of, state), *assets),
            fetches=tuple(rewritten.outputs.get(f, f) for f in fetches),
            targets=tuple(guards),
            changed=uses_of_state(graph_def.node, len(state), self._writing_functions(graph_def)),
            contexts=contexts,
            custom_gradients=own_gradients,
        )

    def _with_pivots(self, pruned: Pruned, fed: set[str]) -> Pruned:
        """Adds the nodes that the control flow contexts of the others hang on."""
        pivots: set[str] = set()
        while self.contexts.roots:
            present = {n.name for n in pruned.nodes}
            more = self.contexts.pivots(present) - present
            more = {p for p in more if p in self.nodes and self.nodes[p].op not in PLACEHOLDERS}
            if not more:
                break
            pivots |= more
            names = [*(f"^{n}" for n in present), *(f"^{p}" for p in pivots)]
            pruned = prune(self.nodes, names, fed)
        return pruned

    def _check(self, pruned: Any, what: str) -> None:
        if pruned.missing:
            raise FormatError(
                f"Cannot build {what} of module {self.module}",
                expected="a graph with all nodes that it refers to",
                received=f"no node {pruned.missing[0]!r}",
                fix="The module is damaged, or was written by a broken exporter",
            )
        if pruned.unfed:
            raise FormatError(
                f"Cannot run {what} of module {self.module}",
                expected="a signature that feeds every placeholder its outputs need",
                received=f"placeholder {sorted(pruned.unfed)[0]!r} without a value",
                fix="Use a signature that has this placeholder among its inputs",
            )

    def _check_ops(self, nodes: Sequence[Any], what: str) -> None:
        functions = self.library.functions
        bodies = [functions[name].node_def for name in self.library.reachable(nodes)]
        for op in dict.fromkeys(n.op for n in itertools.chain(nodes, *bodies)):
            if op not in functions and op_def(op) is None:
                raise MissingOpError(
                    f"Cannot build {what} of module {self.module}: its graph needs op {op!r}",
                    expected="an op that is registered in this process",
                    fix=how_to_register(op),
                )

    def _writing_functions(self, graph_def: Any) -> dict[str, bool]:
        functions = {f.signature.name: f for f in graph_def.library.function}
        library = Library(graph_def.library)
        result = {}
        for name, function in functions.items():
            bodies = [function.node_def, *(functions[n].node_def for n in library.reachable(function.node_def))]
            result[name] = any(changes_state(n.op) for n in itertools.chain(*bodies))
        return result


def _never(name: str) -> bool:
    del name
    return False


def _make_shared_names_unique(graph_def: Any, serial: int) -> None:
    """Keeps what has a name in the process (queues, stacks, iterators) apart from other loads of the module."""
    for node in graph_def.node:
        for attr in ("shared_name", "stack_name"):
            if attr in node.attr and node.attr[attr].s:
                node.attr[attr].s += f"_hubkeras_{serial}".encode()


__all__ = ["INPUT", "STATE", "Fragment", "VariantGraph"]
