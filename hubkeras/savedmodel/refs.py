"""References from one node of a graph to another."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

_MAX_INDEX_DIGITS = 9


class Ref(NamedTuple):
    """An input of a node, parsed: output `index` of `node`, or a control edge from it where `index` is None.

    Example:
        >>> Ref.parse("a/b"), Ref.parse("a/b:1"), Ref.parse("^a/b")
        (Ref(node='a/b', index=0), Ref(node='a/b', index=1), Ref(node='a/b', index=None))
    """

    node: str
    index: int | None  # pyright: ignore[reportIncompatibleMethodOverride]

    @staticmethod
    @lru_cache(maxsize=1 << 16)
    def parse(text: str) -> Ref:
        """Parses "node", "node:2" or "^node"; what is none of these becomes the name of a node that cannot exist."""
        if text.startswith("^"):
            return Ref(text[1:], None)
        node, colon, index = text.rpartition(":")
        # TensorFlow reads a longer number modulo 2**32, so that another output would be meant; no op has so many.
        if colon and index.isascii() and index.isdecimal() and len(index) <= _MAX_INDEX_DIGITS:
            return Ref(node, int(index))
        return Ref(text, 0)

    @property
    def tensor(self) -> str:
        """The full name of the tensor, such as "a/b:0"; of a control edge, that of the first output."""
        return f"{self.node}:{self.index or 0}"

    def __str__(self) -> str:
        if self.index is None:
            return f"^{self.node}"
        return f"{self.node}:{self.index}" if self.index else self.node
