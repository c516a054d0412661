"""Pins: the sha256 that a module must have, whoever serves it."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from hubkeras.errors import CacheError
from hubkeras.handles.cache_entries import Entry
from hubkeras.handles.completeness import Marker, digests, tree_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SHA256 = re.compile(r"^[0-9a-f]{64}$")


def pinned(root: Path, names: Iterable[str]) -> str:
    """Returns the sha256 to which a module is pinned under any of its names; empty if it is not."""
    for name in names:
        with suppress(FileNotFoundError, NotADirectoryError):
            return Entry.of(root, name).pin.read_text(encoding="ascii").strip()
    return ""


def check_pin(root: Path, names: Iterable[str], directory: Path, marker: Marker | None = None) -> None:
    """Refuses a module that is not the one it was pinned to.

    Args:
        root: The cache directory.
        names: The module's names.
        directory: Its folder.
        marker: What is known of it; without one, its files are read.

    Raises:
        CacheError: If neither its files nor its archive have the pinned sha256.
    """
    wanted = pinned(root, names)
    if not wanted:
        return
    marker = marker or Marker.read(directory)
    has = [marker.sha256, marker.archive_sha256] if marker else [tree_sha256(digests(directory))]
    if wanted not in has:
        raise CacheError(
            f"The module {directory} is not the one that was pinned",
            expected=f"sha256 {wanted}",
            received=f"sha256 {has[0]}",
            fix="Find out who changed it; hubkeras.unpin accepts it",
        )
