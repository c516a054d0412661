"""Paths on filesystems that only TensorFlow knows, such as `gs://bucket/module`, with what `pathlib` has for others."""

from __future__ import annotations

import importlib
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hubkeras.errors import DownloadError, HandleError
from hubkeras.handles.handle import FORMS

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Stat(NamedTuple):
    st_size: int
    """Bytes."""


@dataclass(frozen=True)
class FilesystemPath:
    """A path that `tf.io.gfile` knows. It has no links, and is absolute.

    What TensorFlow raises about it becomes a `HandleError` or a `DownloadError`.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def __fspath__(self) -> str:
        return self.text

    def __truediv__(self, part: object) -> FilesystemPath:
        return FilesystemPath(f"{self.text.rstrip('/')}/{part}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.text.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> FilesystemPath:
        """The folder that it is in."""
        return FilesystemPath(self.text.rstrip("/").rpartition("/")[0])

    def with_name(self, name: str) -> FilesystemPath:
        """Returns another path in the same folder."""
        return self.parent / name

    def resolve(self) -> FilesystemPath:
        """Returns the path itself: there are no links to follow."""
        return self

    def is_relative_to(self, other: object) -> bool:
        """Tells whether the path lies below another one."""
        return self.text.startswith(f"{str(other).rstrip('/')}/")

    def exists(self) -> bool:
        """Asks the filesystem."""
        return bool(self._call("exists"))

    def is_dir(self) -> bool:
        """Asks the filesystem."""
        return bool(self._call("isdir"))

    def is_file(self) -> bool:
        """Asks the filesystem."""
        return self.exists() and not self.is_dir()

    def stat(self) -> _Stat:
        """Asks the filesystem for the size of a file."""
        return _Stat(self._call("stat").length)

    def iterdir(self) -> Iterator[FilesystemPath]:
        """Yields what is in a folder."""
        # Where folders are but parts of names, they come with a slash behind them.
        yield from (self / name.rstrip("/") for name in self._call("listdir"))

    def files(self) -> Iterator[FilesystemPath]:
        """Yields all files below a folder."""
        with filesystem_errors(self.text):
            for directory, _, names in gfile().walk(self.text):
                yield from (FilesystemPath(directory) / name for name in names)

    @contextmanager
    def open(self, mode: str = "rb") -> Iterator[Any]:
        """Opens a file for reading bytes."""
        with filesystem_errors(self.text), gfile().GFile(self.text, mode) as file:
            yield file

    def read_bytes(self) -> bytes:
        """Reads a file."""
        with self.open() as file:
            return file.read()

    def mkdir(self) -> None:
        """Makes a folder, with those that it is in, where it is not there yet."""
        with filesystem_errors(self.text, "write"):
            gfile().makedirs(self.text)

    def unlink(self) -> None:
        """Removes a file."""
        with filesystem_errors(self.text, "write"):
            gfile().remove(self.text)

    def remove(self) -> None:
        """Removes a folder with all that is in it, if it is there."""
        with filesystem_errors(self.text, "write"):
            if gfile().exists(self.text):
                gfile().rmtree(self.text)

    def _call(self, question: str) -> Any:
        with filesystem_errors(self.text):
            return getattr(gfile(), question)(self.text)


AnyPath = Path | FilesystemPath


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def as_path(text: str) -> AnyPath:
    """Returns an absolute path, of whatever filesystem."""
    return FilesystemPath(text) if _SCHEME.match(text) else Path(text).absolute()


def copy_file(source: AnyPath, target: AnyPath) -> None:
    """Copies a file from one filesystem to the same or another one."""
    if isinstance(source, Path) and isinstance(target, Path):
        shutil.copyfile(source, target)
        return
    with filesystem_errors(str(source), f"copy to {target}"):
        # Overwriting is not for all of them: "ram://" would add to the file.
        gfile().copy(str(source), str(target), overwrite=isinstance(target, Path))


def copy_tree(source: AnyPath, target: Path) -> None:
    """Copies all that is in a folder into one of this machine."""
    if isinstance(source, Path):
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    for file in source.files():
        place = target / file.text.removeprefix(f"{source.text.rstrip('/')}/")
        place.parent.mkdir(parents=True, exist_ok=True)
        copy_file(file, place)


def gfile() -> Any:
    """Imports TensorFlow's view of filesystems, which takes seconds: nobody else shall wait for it."""
    return importlib.import_module("tensorflow").io.gfile


@contextmanager
def filesystem_errors(path: str, doing: str = "read") -> Iterator[None]:
    """Turns TensorFlow's errors about a path into those of hubkeras.

    Raises:
        HandleError: TensorFlow knows no such filesystem.
        DownloadError: The filesystem refuses what is asked for.
    """
    errors = importlib.import_module("tensorflow").errors
    try:
        yield
    except errors.UnimplementedError as error:
        raise HandleError(
            f"TensorFlow knows no filesystem for {path!r}",
            expected=FORMS,
            fix="Filesystems such as s3:// and hdfs:// need `import tensorflow_io` first",
        ) from error
    except errors.OpError as error:
        raise DownloadError(f"Cannot {doing} {path}", received=error.message) from error
