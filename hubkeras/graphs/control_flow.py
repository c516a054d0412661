"""V1 control flow: which nodes belong to which `cond` or `while` context.

A graph says so in the collections COND_CONTEXT and WHILE_CONTEXT (control_flow.proto); gradients are built from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from hubkeras.errors import FormatError
from hubkeras.savedmodel.collection_defs import byte_values
from hubkeras.savedmodel.protos import ControlFlowContextDef, copy_of
from hubkeras.savedmodel.pruning import PLACEHOLDERS, prune
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

CONTROL_FLOW = frozenset({"Enter", "Exit", "Switch", "Merge", "NextIteration", "LoopCond"})
_TENSORS = ("pred_name", "pivot_name", "pivot_for_pred_name", "pivot_for_body_name", "maximum_iterations_name")
_COLLECTIONS = {"cond_context": "cond_ctxt", "while_context": "while_ctxt"}


@dataclass(frozen=True)
class ContextTree:
    """The contexts of a graph: the outermost ones, each holding those inside it."""

    roots: tuple[Any, ...] = ()
    """`ControlFlowContextDef`s."""

    @staticmethod
    def of(meta_graph: Any) -> ContextTree:
        """Reads the contexts of a MetaGraphDef."""
        roots = []
        for collection, kind in _COLLECTIONS.items():
            for value in byte_values(meta_graph, collection):
                root = ControlFlowContextDef()
                try:
                    # The collection holds the bare CondContextDef or WhileContextDef; wrapped, it is as nested ones.
                    getattr(root, kind).ParseFromString(value)
                except DecodeError as error:
                    raise FormatError(
                        f"Cannot read collection {collection!r} of a graph", received=str(error)
                    ) from error
                roots.append(root)
        return ContextTree(tuple(roots))

    def walk(self) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        """Yields each context's own proto with those of the contexts around it, outermost first."""
        pending: list[tuple[Any, tuple[Any, ...]]] = [(root, ()) for root in reversed(self.roots)]
        while pending:
            wrapper, around = pending.pop()
            context = own(wrapper)
            yield context, around
            pending.extend((inner, (*around, context)) for inner in context.nested_contexts)

    def adopt(self, owners: Mapping[str, str], names: Mapping[str, str] = {}) -> ContextTree:
        """Returns the contexts after nodes were added and tensors renamed.

        Args:
            owners: For each new node the one it was made for, whose contexts it shares.
            names: New names of tensors, by their full names.
        """
        if not self.roots or not (owners or names):
            return self
        made: dict[str, list[str]] = {}
        for new, owner in owners.items():
            # A node may have been made for one that was itself made, and contexts know only those of the file.
            while owner in owners:
                owner = owners[owner]
            made.setdefault(owner, []).append(new)
        tree = ContextTree(tuple(map(copy_of, self.roots)))
        for context, _ in tree.walk():
            inside = {Ref.parse(v).node for v in values_inside(context)}
            context.values_def.values.extend(f"{new}:0" for name in inside for new in made.get(name, ()))
            for attribute in _TENSORS:
                text = getattr(context, attribute, "")
                if text and Ref.parse(text).tensor in names:
                    setattr(context, attribute, names[Ref.parse(text).tensor])
        return tree

    def renamed(self, rename: Callable[[str], str]) -> ContextTree:
        """Returns the contexts after `rename` has given new names to tensors, loops and branches."""
        tree = ContextTree(tuple(map(copy_of, self.roots)))
        for context, _ in tree.walk():
            values = context.values_def
            context.context_name = rename(context.context_name)
            outside = {rename(key): rename(value) for key, value in values.external_values.items()}
            values.external_values.clear()
            values.external_values.update(outside)
            lists = [values.values]
            if not _is_cond(context):
                lists += [context.loop_enter_names, context.loop_exit_names]
            for names in lists:
                names[:] = [rename(name) for name in names]
            for attribute in _TENSORS:
                if getattr(context, attribute, ""):
                    setattr(context, attribute, rename(getattr(context, attribute)))
        return tree

    def surviving(self, present: Collection[str]) -> dict[str, list[bytes]]:
        """Returns the contexts that still have nodes, of those that are present, as collections hold them."""
        collections: dict[str, list[bytes]] = {}
        for root in map(copy_of, self.roots):
            if _strip(root, present):
                collection = next(name for name, kind in _COLLECTIONS.items() if kind == root.WhichOneof("ctxt"))
                collections.setdefault(collection, []).append(own(root).SerializeToString())
        return collections

    def pivots(self, present: set[str]) -> set[str]:
        """Returns the nodes that the contexts of some nodes hang on, whether or not the nodes need them.

        All exits of a loop are among them: a loop variable has a gradient only if it leaves the loop.
        """
        found = set()
        for context, _ in self.walk():
            if any(Ref.parse(v).node in present for v in values_inside(context)):
                found |= {Ref.parse(getattr(context, a)).node for a in _TENSORS if getattr(context, a, "")}
                found |= {Ref.parse(name).node for name in getattr(context, "loop_exit_names", ())}
        return found

    def inner_nodes(self) -> set[str]:
        """Returns the names of the nodes that are in any context."""
        return {Ref.parse(value).node for context, _ in self.walk() for value in values_inside(context)}

    def branches_around(self, node: Any) -> list[Any]:
        """Returns the `cond` contexts that a node is in, innermost first."""
        # By its inputs too: an op without outputs, such as a group, stands in no context's list of values.
        tensors = {Ref.parse(i).tensor for i in node.input} | {f"{node.name}:0"}
        return [c for c in reversed(self._around(tensors)) if _is_cond(c)]

    def loops_around(self, node: Any) -> list[Any]:
        """Returns the `while` contexts that a node is in, outermost first."""
        return [c for c in self._around({f"{node.name}:0"}) if not _is_cond(c)]

    def _around(self, tensors: set[str]) -> tuple[Any, ...]:
        """Returns the contexts around any of some tensors, outermost first, where they are the most."""
        best: tuple[Any, ...] = ()
        for context, around in self.walk():
            if len(around) >= len(best) and not tensors.isdisjoint(values_inside(context)):
                best = (*around, context)
        return best


def with_pivots(
    nodes: dict[str, Any], whole: Mapping[str, Any], contexts: ContextTree, feeds: Collection[str]
) -> dict[str, Any]:
    """Adds to some nodes of a whole graph those that its control flow contexts hang on, and what these need."""
    pivots: set[str] = set()
    # Pivots need nodes that may be in contexts of their own, so this goes on until no more are found.
    while contexts.roots:
        more = contexts.pivots(set(nodes)) - nodes.keys()
        more = {p for p in more if p in whole and whole[p].op not in PLACEHOLDERS}
        if not more:
            break
        pivots |= more
        names = [*(f"^{n}" for n in nodes), *(f"^{p}" for p in pivots)]
        nodes = {node.name: node for node in prune(whole, names, feeds).nodes}
    return nodes


def own(wrapper: Any) -> Any:
    """Returns the CondContextDef or WhileContextDef in a ControlFlowContextDef."""
    kind = wrapper.WhichOneof("ctxt")
    if kind is None:
        raise FormatError("Cannot read a control flow context of a graph", expected="one of a cond or a while loop")
    return getattr(wrapper, kind)


def _strip(wrapper: Any, present: Collection[str]) -> bool:
    context = own(wrapper)
    values = context.values_def
    outside = set(values.external_values)
    for key in [k for k, v in values.external_values.items() if Ref.parse(v).node not in present]:
        del values.external_values[key]
    # A value from outside is named after its tensor there and mapped to one inside: what counts is whether the map is
    # left.
    _retain(values.values, lambda v: v in values.external_values if v in outside else Ref.parse(v).node in present)
    if not _is_cond(context):
        for names in (context.loop_enter_names, context.loop_exit_names):
            _retain(names, lambda n: Ref.parse(n).node in present)
    nested = [inner for inner in context.nested_contexts if _strip(inner, present)]
    del context.nested_contexts[:]
    context.nested_contexts.extend(nested)
    return bool(values_inside(context))


def _retain(names: Any, wanted: Callable[[str], bool]) -> None:
    kept = [n for n in names if wanted(n)]
    del names[:]
    names.extend(kept)


def _is_cond(context: Any) -> bool:
    return context.DESCRIPTOR.name == "CondContextDef"


def values_inside(context: Any) -> set[str]:
    """Returns the tensors that a CondContextDef or WhileContextDef holds, without those that it takes from outside."""
    # `values` lists what a context uses too; only the rest is made inside it.
    return set(context.values_def.values) - set(context.values_def.external_values)
