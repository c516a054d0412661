"""The one search for what some tensors and ops need of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MUST_BE_FED = frozenset({"Placeholder", "PlaceholderV2"})
"""Not one with a default, which runs unfed as well."""
PLACEHOLDERS = MUST_BE_FED | {"PlaceholderWithDefault"}


class Pruned(NamedTuple):
    """The part of a graph that some fetches need."""

    nodes: list[Any]
    """NodeDefs, in the order of the graph."""
    unfed: list[str]
    """Names of placeholders in it that nothing feeds."""
    missing: list[str]
    """Names of nodes that are referred to and do not exist."""


def prune(nodes: Mapping[str, Any], fetches: Iterable[str], feeds: Collection[str] = ()) -> Pruned:
    """Finds the nodes that `fetches` need.

    As in a session, a fed tensor needs nothing, and a fed placeholder runs no longer, not even for a control edge.

    Args:
        nodes: NodeDefs by name.
        fetches: Names of tensors ("n:0") and ops ("^n").
        feeds: Full names of the tensors that are fed ("n:0").

    Returns:
        The nodes, and what is wrong with them.
    """
    seen: set[str] = set()
    unfed: list[str] = []
    missing: list[str] = []
    pending = list(fetches)
    while pending:
        ref = Ref.parse(pending.pop())
        # A control edge has the index None, so "n:None" is never among the feeds: the op has to run even where its
        # output is fed.
        if ref.node in seen or (feeds and f"{ref.node}:{ref.index}" in feeds):
            continue
        node = nodes.get(ref.node)
        if node is not None and ref.index is None and node.op in PLACEHOLDERS and f"{ref.node}:0" in feeds:
            continue
        seen.add(ref.node)
        if node is None:
            missing.append(ref.node)
            continue
        if node.op in MUST_BE_FED:
            unfed.append(ref.node)
        pending.extend(node.input)
    # In the graph's order, so that the same fetches give the same graph each time.
    found = [node for name, node in nodes.items() if name in seen]
    return Pruned(found, unfed, missing)
