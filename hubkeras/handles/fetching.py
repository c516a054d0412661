"""Modules that go through the cache: found there, or fetched into it once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubkeras import config
from hubkeras.config import LOGGER
from hubkeras.errors import CacheError, DownloadError, HubKerasError, OfflineError
from hubkeras.handles.archive import module_root
from hubkeras.handles.cache_entries import Entry, describe, describe_failure, find, link, publish, sync_tree
from hubkeras.handles.completeness import Marker, tree_sha256
from hubkeras.handles.handle import Fetched, Handle, shown
from hubkeras.handles.paths import find_remotely
from hubkeras.handles.pins import check_pin
from hubkeras.handles.progress import metered
from hubkeras.handles.staging import collect_litter, turn, work_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hubkeras.handles.progress import Meter, Progress


def kept(handle: Handle, progress: Callable[[Progress], None] | None = None) -> str:
    """Returns the folder of a module in the cache, after fetching it where it is not there.

    Args:
        handle: A handle that is not used in place.
        progress: Called now and then during a download.

    Raises:
        OfflineError: If it is not there and the network may not be used.
        DownloadError: If no source gives it.
        ArchiveError: If what came is no good archive of a module.
        CacheError: If the cache cannot be written.
    """
    root = config.local_cache_directory()
    names = handle.names
    if remote := kept_remotely(handle):
        check_pin(handle, remote)
        return remote
    collect_litter(root)
    found, broken = find(root, names)
    if found is None:
        _check_network(handle, root, broken)
        found = _fetched(handle, Entry.of(root, names[0]), progress)
    check_pin(handle, found)
    if handle.text in names:
        link(root, (handle.text,), found)
    return str(found)


def kept_remotely(handle: Handle) -> str | None:
    """Looks into a cache directory that lies on another filesystem."""
    root = config.remote_cache_directory()
    return find_remotely(root, (handle.names[0], handle.text)) if root and not config.is_offline() else None


def _check_network(handle: Handle, root: Path, broken: str) -> None:
    if not (handle.needs_network and config.is_offline()):
        if broken:
            LOGGER.warning("An entry of the cache is not complete and is fetched again: %s", broken)
        return
    raise OfflineError(
        f"{shown(handle.text)} is not in the cache, and HUBKERAS_OFFLINE is set",
        expected=f"a complete entry {Entry.of(root, handle.names[0]).directory}",
        received=broken or "no entry",
        fix="Unset HUBKERAS_OFFLINE once to fetch it, or copy the module's directory there",
    )


def _fetched(handle: Handle, entry: Entry, progress: Callable[[Progress], None] | None) -> Path:
    def is_done() -> bool:
        return find(entry.root, handle.names)[0] is not None

    with describe_failure(entry.root), turn(entry, is_done):
        found, _ = find(entry.root, handle.names)
        if found is not None:
            return found
        with work_directory(entry) as work, metered(shown(handle.text), progress) as meter:
            fetched = _from_sources(handle, work, meter)
            if fetched.files is None:
                link(entry.root, handle.names[:1], fetched.directory)
                return fetched.directory
            return _published(handle, entry, fetched, work)


def _published(handle: Handle, entry: Entry, fetched: Fetched, work: Path) -> Path:
    module, files = module_root(fetched.directory, fetched.files or {})
    marker = Marker(shown(handle.text), tree_sha256(files), fetched.archive_sha256, files)
    check_pin(handle, module, files, fetched.archive_sha256)
    marker.write(module)
    sync_tree(module)
    describe(entry, shown(handle.text), work)
    found = publish(module, entry, work)
    LOGGER.info("Keeping %s in %s, sha256 %s", shown(handle.text), found, marker.sha256)
    return found


def _from_sources(handle: Handle, work: Path, meter: Meter) -> Fetched:
    """Takes the first source that gives the module; where none does, the error tells of all."""
    errors: list[HubKerasError] = []
    for number, source in enumerate(handle.sources):
        directory = work / str(number)
        directory.mkdir()
        meter.restart()
        try:
            return source.fetch(directory, meter)
        except CacheError:
            raise
        except HubKerasError as error:
            LOGGER.debug("A source failed: %s", error)
            errors.append(error)
    if len(errors) == 1 and not handle.advice:
        raise errors[0]
    raise DownloadError(
        f"Cannot fetch {shown(handle.text)}", received=" Then: ".join(map(str, errors)), fix=handle.advice
    ) from errors[-1]
