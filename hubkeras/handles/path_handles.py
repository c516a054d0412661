"""Handles that are paths: of this machine, or of a filesystem that TensorFlow knows."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hubkeras import config
from hubkeras.errors import ArchiveError, DownloadError, HandleError, MissingFileError, OfflineError
from hubkeras.handles.archive import GRAPH_FILES, SUFFIXES, extract
from hubkeras.handles.archive_members import MARKER, FileDigest
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.filesystem_path import FilesystemPath
from hubkeras.handles.handle import FORMS, FetchedModule, Handle, Source
from hubkeras.handles.tfhub_to_kaggle import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hubkeras.handles.progress import Meter

_PIECE = 1 << 20
_FILES_OF_MODULES = (*GRAPH_FILES, "tfhub_module.pb", "keras_metadata.pb", "fingerprint.pb")


@dataclass(frozen=True)
class LocalHandle(Handle):
    """A directory, or an archive, on this machine."""

    path: Path

    @classmethod
    def parse(cls, text: str) -> LocalHandle:
        """Reads a path: relative ones start here, `~` is the user's home, `file://` may stand before it."""
        if text[:7].lower() == "file://":
            parts = urlsplit(text)
            if parts.netloc not in ("", "localhost"):
                raise HandleError(f"{text!r} is on another machine", expected="file:///absolute/path")
            path = url2pathname(parts.path)
        else:
            path = os.path.expanduser(text)  # noqa: PTH111  (a Path would drop a trailing slash and "./")
        return cls(text, Path(os.path.abspath(path)))  # noqa: PTH100  (resolve() would follow links)

    @property
    def names(self) -> tuple[str, ...]:
        """An archive that changes is another module.

        The change time of its inode counts too: whoever writes other bytes can set size and modification time as they
        were, but not that.
        """
        try:
            stat = self.path.stat()
        except OSError as error:
            raise self._missing() from error
        return (f"{self.path.as_uri()}?size={stat.st_size}&mtime_ns={stat.st_mtime_ns}&ctime_ns={stat.st_ctime_ns}",)

    @property
    def pin_names(self) -> tuple[str, ...]:
        """The path alone, so that a pin still holds when the archive is exchanged for another one."""
        return (self.path.as_uri(),)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Reads it from where it lies."""
        return (LocalArchive(self.path),)

    @property
    def needs_network(self) -> bool:
        """Tells whether the path leads to other machines."""
        return False

    def exists(self) -> bool:
        """Asks the filesystem."""
        return self.path.exists()

    def directory_in_place(self) -> str | None:
        """Returns a directory, None for an archive."""
        if self.path.is_dir():
            return str(self.path)
        _refuse_file_of_module(str(self.path))
        if not self.path.exists():
            raise self._missing()
        return None

    def _missing(self) -> MissingFileError:
        nearby = sorted(path.name for path in self.path.parent.iterdir()) if self.path.parent.is_dir() else []
        near = get_close_matches(self.path.name, nearby, n=1)
        guess = self.path.parent / near[0] if near else nearest(self.text)
        return MissingFileError(
            f"{self.path} does not exist",
            expected=FORMS,
            received=repr(self.text),
            fix=f"Did you mean {guess}?" if guess else "",
        )


@dataclass(frozen=True)
class LocalArchive:
    """An archive on this machine."""

    path: Path

    def fetch(self, directory: Path, meter: Meter) -> FetchedModule:
        """Unpacks it."""
        if not self.path.is_file():  # opening a pipe would wait for its other end
            raise ArchiveError(f"{self.path} cannot be used", expected="a directory or a file", received="neither")
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise DownloadError(f"Cannot read {self.path}", received=error.strerror or str(error)) from error
        try:
            with file:
                return _unpack(file, self.path.stat().st_size, directory, meter)
        except ArchiveError as error:
            raise ArchiveError(f"{self.path} cannot be used. {error.message}") from error


@dataclass(frozen=True)
class FilesystemHandle(Handle):
    """A directory, or an archive, on a filesystem that `tf.io.gfile` knows, such as `gs://bucket/module`."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Reads it from where it lies."""
        return (FilesystemArchive(self.text),)

    @property
    def needs_network(self) -> bool:
        """Tells whether the path leads to other machines."""
        return not self.text.lower().startswith("ram://")  # which keeps files in the memory of this process

    def exists(self) -> bool:
        """Asks the filesystem."""
        return FilesystemPath(self.text).exists()

    def directory_in_place(self) -> str | None:
        """Returns a directory, None for an archive."""
        # By its name: asking a bucket what lies there takes a request and credentials, and a cached archive needs
        # neither.
        if self.text.lower().endswith(SUFFIXES):
            return None
        _refuse_file_of_module(self.text)
        if self.needs_network and config.is_offline():
            raise OfflineError(
                f"{self.text} lies in a network, and HUBKERAS_OFFLINE is set", fix="Unset it, or use a local copy"
            )
        if not self.exists():
            raise MissingFileError(f"{self.text} does not exist", expected="the directory of a module")
        return self.text


@dataclass(frozen=True)
class FilesystemArchive:
    """An archive on a filesystem that `tf.io.gfile` knows."""

    path: str

    def fetch(self, directory: Path, meter: Meter) -> FetchedModule:
        """Unpacks it while TensorFlow reads it."""
        try:
            with FilesystemPath(self.path).open() as file:
                return _unpack(file, FilesystemPath(self.path).stat().st_size, directory, meter)
        except ArchiveError as error:
            raise ArchiveError(f"{self.path} cannot be used. {error.message}") from error


def _refuse_file_of_module(text: str) -> None:
    folder, _, name = text.replace(os.sep, "/").rpartition("/")
    if name in _FILES_OF_MODULES:
        raise HandleError(
            f"{text} is one file of a module",
            expected="the folder that holds it",
            received=repr(text),
            fix=f"Pass {folder or '.'!r}",
        )


def find_in_remote_cache(root: str, names: Iterable[str]) -> str | None:
    """Looks for an entry in a cache directory on another filesystem."""
    for name in dict.fromkeys(names):
        # Object stores know no folders, so only a file that must be in it tells whether an entry is there.
        folder = FilesystemPath(root) / CacheEntry.of(Path(), name).name
        if any((folder / graph).exists() for graph in GRAPH_FILES):
            return str(folder)
    return None


def digest_remote_files(folder: str) -> dict[str, FileDigest]:
    """Reads all files of a folder on another filesystem, as `completeness.digest_files` does on this machine."""
    found: dict[str, FileDigest] = {}
    for path in FilesystemPath(folder).files():
        digest, size = hashlib.sha256(), 0
        with path.open() as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
        found[str(path).removeprefix(folder.rstrip("/") + "/")] = FileDigest(size, digest.hexdigest())
    found.pop(MARKER, None)
    return found


def _unpack(file: Any, size: int, directory: Path, meter: Meter) -> FetchedModule:
    digest = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        while piece := file.read(_PIECE):
            meter.add(len(piece), size)
            digest.update(piece)
            yield piece

    files = extract(pieces(), directory)
    return FetchedModule(directory, files, digest.hexdigest())
