"""Reads `.npz` files, which anybody may have written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of a file, none of which may hold Python objects.

    Args:
        path: The file.

    Returns:
        The arrays by name.

    Raises:
        ValueError: It is damaged, or holds something else.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:  # numpy leaves a damaged one open
            arrays = {name: file[name] for name in file.files}
    # What is damaged fails with whatever zipfile, its decompressors, or the parsers of numpy happen to raise; a file
    # of a few bytes may say that its array takes terabytes.
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    others = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if others:
        raise ValueError(f"{others[:5]}, which are no arrays")
    return arrays
