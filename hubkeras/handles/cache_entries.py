"""The folders of the cache: which one belongs to a handle, and how a new one comes into being.

    <cache>/<sha1 of the handle>/                    the module, as tensorflow_hub names it
    <cache>/<sha1 of the handle>.descriptor.txt      for people, as tensorflow_hub writes it
    <cache>/<sha1 of another name> -> <sha1>         the same module under another of its names
    <cache>/<sha1>.pin                               the sha256 that it must have
    <cache>/<sha1>.hubkeras.lock                     while a process downloads
    <cache>/<sha1>.<host>.<process>.<random>.tmp/    what that process has so far

Correctness hangs on one rename of a complete folder, never on a lock: whoever renames first wins, and everybody uses
what he put there.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import os
import re
import shutil
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hubkeras.config import LOGGER
from hubkeras.errors import CacheError, HubKerasError
from hubkeras.handles.completeness import what_is_missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = re.compile(r"^[0-9a-f]{40}$")
"""Of an entry: a sha1."""
_ATTEMPTS = 10
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class CacheEntry:
    """One folder of the cache and the files beside it. Whether it exists is another question."""

    root: Path
    name: str

    @classmethod
    def of(cls, root: Path, handle: str) -> CacheEntry:
        """Returns the entry that tensorflow_hub would use for this very text."""
        # sha1, as tensorflow_hub has it: both find in one cache what the other fetched. Nothing rests on it being hard
        # to forge.
        return cls(root, hashlib.sha1(handle.encode("utf-8"), usedforsecurity=False).hexdigest())

    @property
    def directory(self) -> Path:
        """The module's folder, or a link to it."""
        return self.root / self.name

    @property
    def descriptor(self) -> Path:
        """The note for people."""
        return self.root / f"{self.name}.descriptor.txt"

    @property
    def pin(self) -> Path:
        """The file with the sha256 that the module must have."""
        return self.root / f"{self.name}.pin"

    @property
    def lock(self) -> Path:
        """The file that a downloading process locks."""
        return self.root / f"{self.name}.hubkeras.lock"


def find_complete(root: Path, names: Iterable[str]) -> tuple[Path | None, str]:
    """Looks for a complete entry under any of a module's names.

    Returns:
        The folder, or None; and what is wrong with an incomplete entry (empty if there is no entry at all).
    """
    broken = ""
    for name in dict.fromkeys(names):
        directory = CacheEntry.of(root, name).directory
        if not directory.is_dir():
            continue
        missing = what_is_missing(directory)
        if not missing:
            return link_target(directory), ""
        broken = f"{directory}: {missing}"
    return None, broken


def link_target(path: Path) -> Path:
    """Returns where a link of the cache leads; anything else is its own target."""
    # One step only, and no `resolve()`: a cache directory that is a link itself keeps the name that its user gave it.
    return Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else path


def publish(module: Path, entry: CacheEntry, aside: Path) -> Path:
    """Makes a complete folder the entry, by a rename; an entry that is there and complete wins.

    Raises:
        CacheError: If the rename fails.
    """
    # Several times: between clearing the place and the rename another process may put its own module there.
    for attempt in range(_ATTEMPTS):
        if not what_is_missing(entry.directory):
            return entry.directory
        try:
            # A rename does not replace a folder that holds files, so an incomplete entry must go first.
            _clear(entry.directory, aside / f"old{attempt}")
            module.rename(entry.directory)
        except OSError as error:
            LOGGER.debug("Renaming to %s failed: %s", entry.directory, error)
            continue
        sync_directory(entry.root)
        return entry.directory
    raise CacheError(
        f"Cannot move a downloaded module to {entry.directory}",
        fix="Look who holds that folder open, or set TFHUB_CACHE_DIR to another one",
    )


def _clear(directory: Path, aside: Path) -> None:
    """Moves an incomplete entry away, and back if another process completed it in between."""
    with suppress(FileNotFoundError):
        directory.rename(aside)
        # Between the look at it and its rename, another process may have finished this very entry.
        if not aside.is_symlink() and not what_is_missing(aside):
            aside.rename(directory)


def link_names(root: Path, names: Iterable[str], directory: Path) -> None:
    """Lets other names of a module lead to its folder, where the filesystem and its rights allow it."""
    for name in names:
        alias = CacheEntry.of(root, name).directory
        if alias == directory or os.path.lexists(alias):
            continue
        try:
            alias.symlink_to(directory.name if directory.parent == root else directory, target_is_directory=True)
        except OSError as error:
            LOGGER.debug("No link from %s to %s: %s", alias, directory, error)
            return


def write_descriptor(entry: CacheEntry, handle: str, staging: Path) -> None:
    """Writes the note beside an entry that says for people what it is."""
    draft = staging / "descriptor.txt"
    draft.write_text(
        f"Module: {handle}\nDownload Time: {datetime.datetime.now()}\n"
        f"Downloader Hostname: {socket.gethostname()} (PID:{os.getpid()})",
        encoding="utf-8",
    )
    draft.replace(entry.descriptor)


def sync_tree(directory: Path) -> None:
    """Has the disk hold a folder's files before a rename makes them count."""
    for path in directory.rglob("*"):
        if path.is_dir():
            sync_directory(path)
        else:
            # Not "rb": on Windows a file must be open for writing to be flushed.
            with path.open("r+b") as file:
                os.fsync(file.fileno())
    sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Has the disk hold a folder's list of names, where the system can do that."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def delete(path: Path) -> None:
    """Deletes a file, a link or a folder with all it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Says what a full, failing or forbidden disk means."""
    try:
        yield
    except HubKerasError:
        raise
    except OSError as error:
        problem = f"The disk of the cache directory {root} is full" if error.errno in _FULL else ""
        raise CacheError(
            problem or f"Cannot write to the cache directory {root}",
            received=error.strerror or str(error),
            fix="Make room there, or set TFHUB_CACHE_DIR to another place; what was in the cache is intact",
        ) from error
