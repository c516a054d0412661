"""From a handle to a directory: used where it lies, found in the cache, or fetched into it once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hubkeras import config
from hubkeras.config import LOGGER
from hubkeras.errors import CacheError, DownloadError, HubKerasError, OfflineError
from hubkeras.handles.archive import module_root
from hubkeras.handles.cache_entries import (
    CacheEntry,
    disk_errors,
    find_complete,
    link_names,
    publish,
    sync_tree,
    write_descriptor,
)
from hubkeras.handles.completeness import Marker, tree_sha256
from hubkeras.handles.handle import FetchedModule, Handle, redacted
from hubkeras.handles.locking import download_lock, remove_stale_files, temporary_directory
from hubkeras.handles.parse import parse_handle
from hubkeras.handles.path_handles import find_in_remote_cache
from hubkeras.handles.pins import check_pin
from hubkeras.handles.progress import progress_meter
from hubkeras.handles.registry import find_resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubkeras.handles.progress import Meter, Progress


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
    directory = parsed.directory_in_place()
    if directory is None:
        return _through_cache(parsed, progress)
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
    # What a resolver does is not known, and it may download.
    if isinstance(handle, str) and find_resolver(handle):
        return False
    parsed = parse_handle(handle)
    if not parsed.needs_network:
        return parsed.exists()
    return parsed.goes_through_cache and find_complete(config.local_cache_directory(), parsed.names)[0] is not None


def find_cached(handle: Handle) -> tuple[str | None, str]:
    """Looks a module up: in a cache directory on another filesystem, where one is set, then in that of this machine.

    Returns:
        Its folder, None if it is not there; and what is wrong with an incomplete entry (empty if there is none).
    """
    remote_root = config.remote_cache_directory()
    if remote_root and not config.is_offline():
        # Two names only: each costs a request to the other filesystem.
        remote = find_in_remote_cache(remote_root, (handle.names[0], handle.text))
        if remote is not None:
            return remote, ""
    found, broken = find_complete(config.local_cache_directory(), handle.names)
    return (str(found) if found else None), broken


def _through_cache(handle: Handle, progress: Callable[[Progress], None] | None) -> str:
    root = config.local_cache_directory()
    remove_stale_files(root)
    directory, broken = find_cached(handle)
    if directory is None:
        _check_network(handle, root, broken)
        directory = str(_fetch_once(handle, CacheEntry.of(root, handle.names[0]), progress))
    # After a download as well: where several processes fetch the module, the one that renames first decides.
    check_pin(handle, directory)
    # So that tensorflow_hub, which knows this very text alone, finds the module as well.
    if handle.text in handle.names and "://" not in directory:
        link_names(root, (handle.text,), Path(directory))
    return directory


def _check_network(handle: Handle, root: Path, broken: str) -> None:
    if not (handle.needs_network and config.is_offline()):
        if broken:
            LOGGER.warning("An entry of the cache is not complete and is fetched again: %s", broken)
        return
    raise OfflineError(
        f"{redacted(handle.text)} is not in the cache, and HUBKERAS_OFFLINE is set",
        expected=f"a complete entry {CacheEntry.of(root, handle.names[0]).directory}",
        received=broken or "no entry",
        fix="Unset HUBKERAS_OFFLINE once to fetch it, or copy the module's directory there",
    )


def _fetch_once(handle: Handle, entry: CacheEntry, progress: Callable[[Progress], None] | None) -> Path:
    def is_done() -> bool:
        return find_complete(entry.root, handle.names)[0] is not None

    with disk_errors(entry.root), download_lock(entry, is_done):
        # Again, under the lock: whoever held it before may have fetched the module.
        found, _ = find_complete(entry.root, handle.names)
        if found is not None:
            return found
        with temporary_directory(entry) as staging, progress_meter(redacted(handle.text), progress) as meter:
            fetched = _fetch_from_first_source(handle, staging, meter)
            # kagglehub keeps it in a cache of its own, maybe mounted read-only, so it is linked and not moved.
            if fetched.files is None:
                link_names(entry.root, handle.names[:1], fetched.directory)
                return fetched.directory
            return _publish(handle, entry, fetched, staging)


def _publish(handle: Handle, entry: CacheEntry, fetched: FetchedModule, staging: Path) -> Path:
    module, files = module_root(fetched.directory, fetched.files or {})
    marker = Marker(redacted(handle.text), tree_sha256(files), fetched.archive_sha256, files)
    # Before it is published: a module that is not the pinned one must never be seen in the cache.
    check_pin(handle, module, files, fetched.archive_sha256)
    marker.write(module)
    # After the marker, before the rename: should the machine fail, a marked entry must be one that the disk holds
    # whole.
    sync_tree(module)
    write_descriptor(entry, redacted(handle.text), staging)
    found = publish(module, entry, staging)
    LOGGER.info("Keeping %s in %s, sha256 %s", redacted(handle.text), found, marker.sha256)
    return found


def _fetch_from_first_source(handle: Handle, staging: Path, meter: Meter) -> FetchedModule:
    """Takes the first source that gives the module; where none does, the error tells of all."""
    errors: list[HubKerasError] = []
    for number, source in enumerate(handle.sources):
        directory = staging / str(number)
        directory.mkdir()
        meter.restart()
        try:
            return source.fetch(directory, meter)
        # The disk, or a pin: another source would meet the same, and a pin must not be evaded by trying another one.
        except CacheError:
            raise
        except HubKerasError as error:
            LOGGER.debug("A source failed: %s", error)
            errors.append(error)
    if len(errors) == 1 and not handle.advice:
        raise errors[0]
    raise DownloadError(
        f"Cannot fetch {redacted(handle.text)}", received=" Then: ".join(map(str, errors)), fix=handle.advice
    ) from errors[-1]
