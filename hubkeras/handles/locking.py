"""Folders of downloads in progress: one per process, locked while it lives, collected when it is dead."""

from __future__ import annotations

import os
import re
import socket
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from hubkeras import config
from hubkeras.config import LOGGER
from hubkeras.errors import CacheError
from hubkeras.handles.cache_entries import NAME, CacheEntry, delete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32] or "host"
_TEMPORARY = re.compile(r"^[0-9a-f]{40}\.(?P<host>[A-Za-z0-9-]+)\.(?P<pid>[0-9]{1,9})\.[0-9a-f]{8}\.tmp$")
_LOCK = re.compile(r"^[0-9a-f]{40}\.hubkeras\.lock$")
_OWNER = "owner"
_FOREIGN_AGE = 24 * 3600.0
# Seconds. Between making a folder and locking it, its process has no lock that others could see.
_NEWBORN_AGE = 60.0
# Seconds. The same of a lock's file, which takes no more than a moment.
_UNLOCKED_AGE = 2.0
_POLL = 0.05


@contextmanager
def temporary_directory(entry: CacheEntry) -> Iterator[Path]:
    """Makes a folder of this process alone beside an entry, and deletes it in the end.

    Raises:
        CacheError: If the cache directory cannot be written.
    """
    path = entry.root / f"{entry.name}.{_HOST}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise CacheError(
            f"Cannot write to the cache directory {entry.root}",
            received=error.strerror or str(error),
            fix="Set TFHUB_CACHE_DIR to a folder that you may write",
        ) from error
    owner = FileLock(path / _OWNER)
    with suppress(OSError, NotImplementedError):
        owner.acquire(blocking=False)
    try:
        yield path
    finally:
        # Released first: Windows deletes no file that is open.
        owner.release()
        delete(path)


@contextmanager
def download_lock(entry: CacheEntry, is_done: Callable[[], bool]) -> Iterator[None]:
    """Waits while another process downloads the same module, to spare a second download and for nothing else.

    Where locks do not work, or their holder is silent for longer than `HUBKERAS_LOCK_TIMEOUT`, it goes on without.
    """
    entry.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(entry.lock)
    deadline = time.monotonic() + config.lock_timeout()
    try:
        # Polled and not waited for: the module may be complete long before its downloader lets go, or come from
        # elsewhere.
        while not _acquired(lock) and not is_done() and time.monotonic() < deadline:
            time.sleep(_POLL)
    except (OSError, NotImplementedError) as error:
        LOGGER.debug("Locks do not work in %s: %s", entry.root, error)
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # while it is locked, so that nobody's fresh lock is removed
                entry.lock.unlink()
            lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    # Whoever held it before may have removed its file after it was opened here: that keeps nobody out.
    if Path(lock.lock_file).exists():
        return True
    lock.release()
    return False


def remove_stale_files(root: Path) -> None:
    """Deletes what killed processes left in the cache: their folders, their locks, links that lead nowhere.

    A folder of this machine is dead when nobody holds its lock; one of another machine when it has not changed for
    a day. Nothing else is touched, and a cache that may not be written stays as it is.
    """
    with suppress(OSError), os.scandir(root) as listing:
        for item in listing:
            path = root / item.name
            with suppress(OSError, NotImplementedError):
                if (owner := _TEMPORARY.match(item.name)) and _is_dead(path, owner["host"], int(owner["pid"])):
                    delete(path)
                elif _LOCK.match(item.name):
                    _delete_lock_of_nobody(path)
                elif NAME.match(item.name) and path.is_symlink() and not path.exists():
                    path.unlink()


def _delete_lock_of_nobody(path: Path) -> None:
    lock = FileLock(path)
    if time.time() - path.lstat().st_mtime > _UNLOCKED_AGE and _acquired(lock):
        try:
            path.unlink()  # while it is locked, so that nobody's fresh lock is removed
        finally:
            lock.release()


def _is_dead(path: Path, host: str, pid: int) -> bool:
    # The youngest file counts: the folder's own time stands still while a large file in it grows.
    age = time.time() - max(item.stat().st_mtime for item in (path, *path.rglob("*")))
    # On a network disk, locks and process numbers of another machine mean nothing here.
    if host != _HOST:
        return age > _FOREIGN_AGE
    if age < _NEWBORN_AGE and _runs(pid):
        return False
    owner = path / _OWNER
    return not owner.exists() or _is_free(owner)


def _runs(pid: int) -> bool:
    """Tells whether a process exists; only a folder that is not locked yet depends on the answer."""
    # On Windows, os.kill(pid, 0) would end the process.
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_free(path: Path) -> bool:
    lock = FileLock(path)
    if not _acquired(lock):
        return False
    lock.release()
    return True
