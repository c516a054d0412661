"""From a handle to a directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hubkeras import config
from hubkeras.handles.cache_entries import find
from hubkeras.handles.fetching import kept
from hubkeras.handles.parse import parse_handle
from hubkeras.handles.pins import check_pin
from hubkeras.handles.registry import find_resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubkeras.handles.progress import Progress


def resolve(handle: str | os.PathLike[str], *, progress: Callable[[Progress], None] | None = None) -> str:
    """Turns a handle into a directory on disk, fetching the module once where it is not there yet.

    Args:
        handle: A directory, or an archive (`.tar.gz`, `.tgz`, `.tar`, `.zip`), as a path, with `~` or `file://`; an
            `http(s)://` URL; a Kaggle handle (`owner/model/framework/variation/version`) or URL; a path of a
            filesystem that TensorFlow knows (`gs://...`); or what `register_resolver` made known.
        progress: Called with a `Progress` some ten times a second during a download, in a thread of its own; without
            it, a terminal shows a bar. An exception that it raises ends the download.

    Returns:
        The absolute path of the directory (for `gs://` and the like: the handle itself).

    Raises:
        HandleError: If the handle has no form that is known.
        MissingFileError: If a path does not exist.
        OfflineError: If the module is not in the cache and `HUBKERAS_OFFLINE` is set.
        DownloadError: If it cannot be downloaded.
        ArchiveError: If an archive is damaged or holds what a module never holds.
        CacheError: If the cache directory cannot be written, or the module is not the one that `pin` fixed.

    Example:
        >>> resolve("~/modules/nnlm")  # doctest: +SKIP
        '/home/me/modules/nnlm'

    It does not look into the module: `hubkeras.load` does. A module that is in the cache is never asked for again, not
    even where its handle names no version.
    """
    resolver = find_resolver(handle) if isinstance(handle, str) else None
    if resolver is not None:
        return os.fspath(resolver(str(handle)))
    parsed = parse_handle(handle)
    directory = parsed.in_place()
    if directory is None:
        return kept(parsed, progress)
    check_pin(parsed, directory)
    return directory


def is_available(handle: str | os.PathLike[str]) -> bool:
    """Tells whether `resolve` would succeed without any network.

    Args:
        handle: As for `resolve`.

    Returns:
        True for a path that exists on this machine and for a module that is complete in the cache.

    Raises:
        HandleError: If the handle has no form that is known.

    Example:
        >>> is_available("/no/such/module")
        False

    It does not ask filesystems such as `gs://` and resolvers that were registered: for them it says False.
    """
    if isinstance(handle, str) and find_resolver(handle):
        return False
    parsed = parse_handle(handle)
    if not parsed.needs_network:
        return parsed.exists()
    return parsed.is_kept and find(config.local_cache_directory(), parsed.names)[0] is not None
