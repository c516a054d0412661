"""What is found in code that is moved: where it stands, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fate = Literal["rewritten", "works", "by hand"]
"""What becomes of a use: rewritten; works as it stands with the imports rewritten; or a person must see to it."""


@dataclass(frozen=True, order=True)
class Finding:
    """One use of tensorflow_hub, or of something beside it that Keras 3 does not have.

    Finding no use in a file does not mean that the file runs: only what belongs to tensorflow_hub and to the Keras that
    it needed is looked for.
    """

    line: int
    """Number of the line in the file, from 1; in a notebook, in the cell."""
    found: str
    """The code, on one line."""
    fate: Fate
    becomes: str
    """What stands there now, or what to do."""
    cell: int | None = None
    """Number of a notebook's cell, from 1, markdown cells counted."""

    def __str__(self) -> str:
        place = f"line {self.line}" if self.cell is None else f"cell {self.cell}, line {self.line}"
        return f"{place}: {self.found} ({self.fate}): {self.becomes}"


@dataclass(frozen=True)
class Migrated:
    """A text after its migration."""

    text: str
    findings: tuple[Finding, ...]
