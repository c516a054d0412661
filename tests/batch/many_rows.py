"""What the tests of all engines share: many different texts, and what must have become of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import hubkeras
from hubkeras.cli.demo import MODULE

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = 100_000


def sentence(row: int) -> str:
    """Returns a text that is another one in every row."""
    return f"row {row} fog along the coast {row % 7} stew"


def expect_each_once(ids: Sequence[int], rows: int = ROWS) -> None:
    """Fails unless every row is there, and none of them twice."""
    assert sorted(ids) == list(range(rows))


def expect_vectors(ids: Sequence[int], vectors: Sequence[Sequence[float]]) -> None:
    """Fails unless these are the vectors of some rows, as the module itself gives them."""
    expected = hubkeras.load(MODULE)([sentence(row) for row in ids]).numpy()
    np.testing.assert_allclose(np.array(vectors), expected, rtol=1e-5, atol=1e-6)
