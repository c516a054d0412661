"""Who takes what a node gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable


def consumers_of(nodes: Iterable[Any]) -> dict[str, dict[str, list[int | None]]]:
    """Finds for each node those that take its outputs.

    Args:
        nodes: NodeDefs.

    Returns:
        By the name of a node: its consumers' names, each with the numbers of the outputs that it takes, None for a
        control edge.
    """
    found: dict[str, dict[str, list[int | None]]] = {}
    for node in nodes:
        for ref in map(Ref.parse, node.input):
            found.setdefault(ref.node, {}).setdefault(node.name, []).append(ref.index)
    return found
