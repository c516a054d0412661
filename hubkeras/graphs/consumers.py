"""Who takes what a node gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable


def consumers_of(nodes: Iterable[Any]) -> dict[str, dict[str, list[int | None]]]:
    """Returns by the name of each node its consumers, with the numbers of the outputs they take, None for control."""
    found: dict[str, dict[str, list[int | None]]] = {}
    for node in nodes:
        for ref in map(Ref.parse, node.input):
            found.setdefault(ref.node, {}).setdefault(node.name, []).append(ref.index)
    return found
