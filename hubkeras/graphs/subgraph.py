"""The one type that the passes of `cutting` take and return."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hubkeras.errors import FormatError
from hubkeras.graphs.control_flow import CONTROL_FLOW, ContextTree
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.savedmodel.protos import GraphDef
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

INPUT, STATE = "hubkeras_input", "hubkeras_state"
"""Names that no node bears: of what a subgraph gets from outside, which the importer maps to arguments."""


@dataclass(frozen=True)
class FunctionContexts:
    """The contexts of a subgraph that was made a function, under the names of the subgraph."""

    contexts: ContextTree
    state: int
    """How many of the function's arguments come before the subgraph's inputs, its state first of all."""

    def of_call(self, scope: str, arguments: Sequence[str]) -> ContextTree:
        """Returns the contexts of a call that has been written out, with nodes whose names begin with a scope."""
        outside = {f"{STATE}/{i}": text for i, text in enumerate(arguments[: self.state])}
        outside |= {f"{INPUT}/{i}": text for i, text in enumerate(arguments[self.state :])}

        def rename(text: str) -> str:
            ref = Ref.parse(text)
            # Full names for what comes from outside, since contexts compare names of tensors letter by letter.
            return Ref.parse(outside[ref.node]).tensor if ref.node in outside else f"{scope}/{text}"

        return self.contexts.renamed(rename)


@dataclass(frozen=True, eq=False)
class Subgraph:
    """A part of a graph variant on its way from the file to TensorFlow: what some tensors need, and for what."""

    nodes: Mapping[str, Any]
    """NodeDefs by name, in the order of the file."""
    library: FunctionLibrary = field(default_factory=FunctionLibrary)
    contexts: ContextTree = field(default_factory=ContextTree)
    versions: Any = None
    """The `VersionDef` of the graph."""
    purpose: str = "a graph"
    """For messages: what it computes, of which module."""
    policy: OpPolicy = field(default_factory=OpPolicy)
    """What the gate lets it do."""
    feeds: tuple[str, ...] = ()
    """Full names of the tensors that it is fed; number i becomes the tensor `hubkeras_input/i`."""
    fetches: tuple[str, ...] = ()
    """Full names of the tensors that are wanted (an input may be among them)."""
    targets: tuple[str, ...] = ()
    """Names of ops that run before any fetched tensor is given out."""
    assets: Collection[str] = frozenset()
    """Names of the nodes that hold the path of an asset."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """State nodes which stand for the state of another node, with that node's name."""
    state: tuple[str, ...] = ()
    """Names of the nodes whose state or path it takes from outside; number i is the tensor `hubkeras_state/i`."""
    calls_own_gradients: bool = False
    """Whether calls of functions with a gradient of their own stay calls, for whoever differentiates them."""
    has_own_gradients: bool = False
    """Whether such functions were called."""
    function_contexts: Mapping[str, FunctionContexts] = field(default_factory=dict)
    """Of functions with v1 control flow, by their names; no file says so, as only nodes of a graph have contexts."""

    @cached_property
    def graph_def(self) -> Any:
        """The `GraphDef`, with the functions."""
        graph_def = GraphDef(versions=self.versions, library=self.library.to_proto())
        graph_def.node.extend(self.nodes.values())
        return graph_def

    @cached_property
    def ops(self) -> frozenset[str]:
        """The op types in it and in its functions."""
        return frozenset(node.op for node in self.all_nodes())

    @property
    def needs_replay(self) -> bool:
        """Whether its gradient must be taken in a plain graph: through v1 control flow or a function's own gradient."""
        return self.has_own_gradients or not CONTROL_FLOW.isdisjoint(self.ops)

    @property
    def asset_arguments(self) -> frozenset[str]:
        """The tensors that come from outside and hold the path of an asset."""
        return frozenset(f"{STATE}/{i}:0" for i, name in enumerate(self.state) if name in self.assets)

    def all_nodes(self) -> Iterable[Any]:
        """Yields its nodes and those of its functions."""
        return itertools.chain(self.nodes.values(), *(f.node_def for f in self.library.functions.values()))


def used_tensors(nodes: Iterable[Any]) -> set[str]:
    """Returns the full names of the tensors that nodes take."""
    # A control edge counts as one from the first output: there may be a name too many, never one too few.
    return {Ref.parse(text).tensor for node in nodes for text in node.input}


def consumers_of(nodes: Iterable[Any]) -> dict[str, dict[str, list[int | None]]]:
    """Returns by the name of each node its consumers, with the numbers of the outputs they take, None for control."""
    found: dict[str, dict[str, list[int | None]]] = {}
    for node in nodes:
        for ref in map(Ref.parse, node.input):
            found.setdefault(ref.node, {}).setdefault(node.name, []).append(ref.index)
    return found


def by_name(nodes: Collection[Any]) -> dict[str, Any]:
    """Returns nodes by their names.

    Raises:
        FormatError: Two have the same: a node of the module has the name of one that stands for part of a call.
    """
    index = {node.name: node for node in nodes}
    if len(index) < len(nodes):
        twice = next(name for name, count in Counter(node.name for node in nodes).items() if count > 1)
        raise FormatError("A graph has two nodes of one name", expected="every name once", received=f"{twice!r} again")
    return index
