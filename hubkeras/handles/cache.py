"""What the cache holds, for people and programs: list, measure, verify, remove, pin."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hubkeras import config
from hubkeras.errors import CacheError, HandleError
from hubkeras.handles.cache_entries import NAME, CacheEntry, delete, disk_errors, link_target
from hubkeras.handles.completeness import Marker, digest_files, what_is_missing
from hubkeras.handles.handle import redacted
from hubkeras.handles.locking import temporary_directory
from hubkeras.handles.parse import parse_handle
from hubkeras.handles.pins import SHA256, read_pin, sha256_of_files, write_pin
from hubkeras.handles.resolver import find_cached

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hubkeras.handles.handle import Handle

_LONGEST_HANDLE = 2000


@dataclass(frozen=True)
class CachedModule:
    """One module in the cache."""

    name: str
    """Of its folder in the cache directory: the sha1 of its handle."""
    path: Path
    handle: str
    """For which it was fetched, without user name and query; empty where nobody wrote it down."""
    size: int
    """Bytes on disk; 0 for a module that lies elsewhere and is only linked."""
    problem: str
    """What is wrong with it, empty if nothing is."""
    sha256: str
    """Of its files as they were fetched; empty where tensorflow_hub fetched it."""
    aliases: tuple[str, ...]
    """Names of links to it."""


def cached_modules() -> list[CachedModule]:
    """Lists what is in the cache directory.

    Returns:
        One entry per module, ordered by name; those of tensorflow_hub too.

    Example:
        >>> for module in cached_modules():  # doctest: +SKIP
        ...     print(module.handle, module.size, module.problem or "complete")

    It compares sizes only; `verify_cached` reads the files.
    """
    return [_module(entry) for entry in _entries(config.local_cache_directory())]


def cache_size() -> int:
    """Returns the bytes that all modules in the cache take.

    Example:
        >>> cache_size() >= 0
        True
    """
    return sum(module.size for module in cached_modules())


def verify_cached(handle: str | os.PathLike[str] | None = None) -> list[CachedModule]:
    """Reads the files of cached modules and compares them with what was fetched.

    Args:
        handle: Of the module to verify; None for all.

    Returns:
        The modules that are damaged, each with its `problem`; an empty list is good news.

    Raises:
        CacheError: If there is no module of that handle in the cache.

    Example:
        >>> verify_cached()  # doctest: +SKIP
        []

    Of a module that tensorflow_hub fetched it can only say whether it is complete. It repairs nothing: remove what is
    damaged, and the next use fetches it again.
    """
    root = config.local_cache_directory()
    entries = list(_entries(root)) if handle is None else _known(root, handle)
    verified = (_verified(_module(entry)) for entry in entries)
    return [module for module in verified if module.problem]


def remove_cached(handle: str | os.PathLike[str]) -> int:
    """Removes a module from the cache, under all its names.

    Args:
        handle: Its handle, or the name of its folder.

    Returns:
        The bytes that became free.

    Raises:
        CacheError: If it is not in the cache, or the cache cannot be written.

    Example:
        >>> remove_cached("https://tfhub.dev/google/nnlm-en-dim128/1")  # doctest: +SKIP
        494123012

    A pin stays; `unpin` removes it. A module that is only linked stays where it lies.
    """
    root = config.local_cache_directory()
    freed = 0
    for entry in _known(root, handle):
        module = _module(entry)
        with temporary_directory(entry) as staging, disk_errors(root):
            for alias in module.aliases:
                (root / alias).unlink(missing_ok=True)
            # A rename first: whoever looks meanwhile finds the whole module or none, never half of one that is being
            # deleted.
            entry.directory.rename(staging / "removed")
            delete(entry.descriptor)
        freed += module.size
    return freed


def pin(handle: str | os.PathLike[str], sha256: str | None = None) -> str:
    """Pins a module: from now on `resolve` refuses another one under its handle, in the cache or downloaded.

    Args:
        handle: Its handle.
        sha256: Of its files (as `resolve` logs it and `cached_modules` lists it) or of its archive; None for that of
            the module in the cache.

    Returns:
        The sha256 that is pinned.

    Raises:
        CacheError: If no sha256 is given and the module is not in the cache, or the cache cannot be written.
        HandleError: If the sha256 is none, or the handle is used in place.

    Example:
        >>> pin("https://tfhub.dev/google/nnlm-en-dim128/1")  # doctest: +SKIP
        'b9a447cb30a8e525c99bab6f402b85273ebd0460602f97f49b63b5d0acabd493'

    At each use the module's files are read and compared. The sha256 of an archive can be compared only when that
    archive is fetched: where the module is in the cache already, pin the sha256 of its files, or remove it first.
    """
    parsed = _cached_handle(handle)
    # "" stands for "need not be looked at": the pin of a given sha256 can be set before the module was ever fetched.
    place = "" if sha256 is not None else parsed.directory_in_place() or find_cached(parsed)[0]
    if place is None:
        raise _not_in_the_cache(parsed.text)
    value = sha256_of_files(place) if sha256 is None else sha256.strip().lower()
    if not SHA256.match(value):
        raise HandleError(
            f"Cannot pin {redacted(os.fspath(handle))!r}",
            expected="a sha256 of 64 hexadecimal digits",
            received=repr(sha256),
        )
    write_pin(CacheEntry.of(config.local_cache_directory(), parsed.pin_names[0]), value)
    return value


def unpin(handle: str | os.PathLike[str]) -> None:
    """Removes the pin of a module, if it has one.

    Args:
        handle: Its handle.

    Raises:
        CacheError: If the cache cannot be written.

    Example:
        >>> unpin("https://tfhub.dev/google/nnlm-en-dim128/1")
    """
    root = config.local_cache_directory()
    with disk_errors(root):
        for name in _cached_handle(handle).pin_names:
            CacheEntry.of(root, name).pin.unlink(missing_ok=True)


def pinned_sha256(handle: str | os.PathLike[str]) -> str:
    """Returns the sha256 to which a module is pinned, empty if it is not.

    Args:
        handle: Its handle.

    Example:
        >>> pinned_sha256("https://tfhub.dev/google/nnlm-en-dim128/1")
        ''
    """
    found = read_pin(_cached_handle(handle))
    return found[1][0] if found else ""


def _cached_handle(handle: str | os.PathLike[str]) -> Handle:
    parsed = parse_handle(handle)
    if not parsed.needs_network and parsed.exists() and parsed.directory_in_place():
        raise HandleError(
            f"{redacted(parsed.text)} is used where it lies, not from the cache",
            expected="the path of an archive or a remote handle",
        )
    return parsed


def _known(root: Path, handle: str | os.PathLike[str]) -> list[CacheEntry]:
    """Returns the entries of a handle that exist, links aside."""
    text = os.fspath(handle)
    if NAME.match(text):
        entries = [CacheEntry(root, text)]
    else:
        entries = [CacheEntry.of(root, name) for name in _cached_handle(handle).names]
    found = {entry.name: entry for entry in entries if os.path.lexists(entry.directory)}
    for entry in list(found.values()):
        # A link within the cache is another name of one module: the folder itself is what is verified or removed.
        if entry.directory.is_symlink() and (module := link_target(entry.directory)).parent == root:
            del found[entry.name]
            found[module.name] = CacheEntry(root, module.name)
    if not found:
        raise _not_in_the_cache(text)
    return list(found.values())


def _not_in_the_cache(text: str) -> CacheError:
    root = config.local_cache_directory()
    return CacheError(
        f"{redacted(text)!r} is not in the cache {root}",
        expected=f"one of {len(list(_entries(root)))} modules that hubkeras.cached_modules() lists",
    )


def _entries(root: Path) -> Iterator[CacheEntry]:
    """Gives the modules of a cache: folders, and links to folders elsewhere."""
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    for name in filter(NAME.match, names):
        path = root / name
        if path.is_dir() and not (path.is_symlink() and link_target(path).parent == root):
            yield CacheEntry(root, name)


def _module(entry: CacheEntry) -> CachedModule:
    directory = entry.directory
    marker = Marker.read(directory)
    links = [path for path in entry.root.iterdir() if path.is_symlink() and link_target(path) == directory]
    is_elsewhere = directory.is_symlink()
    return CachedModule(
        name=entry.name,
        path=link_target(directory),
        handle=marker.handle if marker else _described(entry),
        # `lstat`, as a link in a module takes no room here however large what it leads to is.
        size=0 if is_elsewhere else sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file()),
        problem=what_is_missing(directory),
        sha256=marker.sha256 if marker else "",
        aliases=tuple(sorted(path.name for path in links)),
    )


def _described(entry: CacheEntry) -> str:
    if not entry.descriptor.is_file():
        return ""
    with entry.descriptor.open(encoding="utf-8", errors="replace") as file:
        return file.readline(_LONGEST_HANDLE).rstrip("\n").removeprefix("Module: ")


def _verified(module: CachedModule) -> CachedModule:
    marker = Marker.read(module.path)
    if module.problem or marker is None:
        return module
    found = digest_files(module.path)
    wrong = [name for name, digest in marker.files.items() if found.get(name) != digest]
    added = sorted(found.keys() - marker.files.keys())
    problem = f"{wrong[0]} is not what was fetched" if wrong else f"{added[0]} was not fetched" if added else ""
    return replace(module, problem=problem)
