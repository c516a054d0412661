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
        OSError: It cannot be opened.
        ValueError: It is damaged, or holds something else.
    """
    with path.open("rb") as stream:  # numpy leaves a damaged file open
        try:
            with np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        # What is damaged fails with whatever zipfile, its decompressors, or the parsers of numpy happen to raise. A few
        # bytes may say that an array takes terabytes.
        except Exception as error:
            raise ValueError(str(error) or type(error).__name__) from error
    others = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if others:
        raise ValueError(f"{others[:5]}, which are no arrays")
    return arrays
