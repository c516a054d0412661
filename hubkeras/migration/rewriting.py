"""Nodes of a syntax tree replaced by others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

if TYPE_CHECKING:
    from collections.abc import Mapping


class Rewriter(cst.CSTTransformer):
    """Replaces nodes, and leaves every other byte of a file as it is.

    A node inside a replaced one is replaced, too, where the replacement kept it.

    Args:
        changes: What is replaced by what.
    """

    def __init__(self, changes: Mapping[cst.CSTNode, cst.CSTNode]) -> None:
        super().__init__()
        self._changes = changes

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        """Returns what stands in the place of a node."""
        return self._changes.get(original_node, updated_node)


def replaced_root(name: cst.CSTNode | None, root: str) -> Any:
    """Returns a dotted name with another first part."""
    if isinstance(name, cst.Attribute):
        return name.with_changes(value=replaced_root(name.value, root))
    return cst.Name(root)
