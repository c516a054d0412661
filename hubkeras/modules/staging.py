"""Directories and files that come into being as a whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from hubkeras.errors import ExportError, ExportExistsError, HubKerasError
from hubkeras.handles.filesystem_path import FilesystemPath, as_path, copy_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hubkeras.handles.filesystem_path import AnyPath


@contextmanager
def new_directory(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Gives an empty directory to write into, beside the place that it takes when the block ends.

    Args:
        path: A directory that does not exist yet, or is empty.
        what: What is written, for errors, such as "module m".

    Yields:
        The directory.

    Raises:
        ExportExistsError: There is something at `path`.
        ExportError: It could not be written. Nothing is left behind, as after any other error in the block.
    """
    target = check_new_directory(path)
    if isinstance(target, FilesystemPath):
        with _elsewhere(target, what) as staging:
            yield staging
        return
    with _beside(target, what) as temporary:
        # One level further down: the outer folder is removed in the end, with what a failure has left in it.
        staging = temporary / target.name
        staging.mkdir()
        yield staging
        # A module is for others to read, a server for instance; a strict umask would shut them out of the folder.
        staging.chmod(0o755)
        # One rename, so nobody sees half a module; it fails where something has come to lie there meanwhile.
        staging.replace(target)


def check_new_directory(path: str | os.PathLike[str]) -> AnyPath:
    """Returns the absolute path of a directory that can be written, for whoever has work to do before.

    Raises:
        ExportExistsError: There is something at `path`.
    """
    target = as_path(os.fspath(path))
    if isinstance(target, FilesystemPath):
        is_taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    else:
        target = _absolute(path)
        is_taken = os.path.lexists(target) and (not target.is_dir() or target.is_symlink() or any(target.iterdir()))
    if is_taken:
        raise _exists(target, "a path that does not exist yet, or an empty directory")
    return target


@contextmanager
def new_file(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Gives a path to write a file to, beside the place that the file takes when the block ends.

    Args:
        path: A file that does not exist yet.
        what: What is written, for errors, such as "module m".

    Yields:
        The path; its name is that of `path`.

    Raises:
        ExportExistsError: There is something at `path`.
        ExportError: It could not be written. Nothing is left behind, as after any other error in the block.
    """
    target = _absolute(path)
    if os.path.lexists(target):
        raise _exists(target, "a path that does not exist yet")
    with _beside(target, what) as temporary:
        yield temporary / target.name
        try:
            os.link(temporary / target.name, target)  # not a rename, which would replace what came there meanwhile
        except FileExistsError as error:
            raise _exists(target, "a path that does not exist yet") from error


def _absolute(path: str | os.PathLike[str]) -> Path:
    """Returns the absolute path of what is written.

    Raises:
        ExportError: It is on another filesystem than this machine's.
    """
    text = os.fspath(path)
    if "://" in text:
        raise ExportError(f"Cannot export to {text}", expected="a path on this machine", received=repr(text))
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 (a link to a directory stays one)


def _exists(target: AnyPath, expected: str) -> ExportError:
    return ExportExistsError(
        f"Cannot export to {target}: something is there already",
        expected=expected,
        fix="Choose another path, or remove it first",
    )


@contextmanager
def _elsewhere(target: FilesystemPath, what: str) -> Iterator[Path]:
    """Gives a directory of this machine, whose files are then copied to a filesystem that cannot rename a folder."""
    try:
        with tempfile.TemporaryDirectory(prefix="hubkeras-") as temporary:
            staging = Path(temporary)
            yield staging
            files = (path for path in staging.rglob("*") if path.is_file())
            # The graphs come last: they tell a reader that the rest is there.
            for file in sorted(files, key=lambda path: (path.parent == staging, path)):
                place = target / file.relative_to(staging).as_posix()
                place.parent.mkdir()
                copy_file(file, place)
    except BaseException as error:
        with suppress(HubKerasError):  # a filesystem that is gone cannot be cleaned up either
            target.remove()
        if isinstance(error, (OSError, tf.errors.OpError)) and not isinstance(error, ExportError):
            raise ExportError(f"Cannot export {what} to {target}", received=str(error)) from error
        raise


@contextmanager
def _beside(target: Path, what: str) -> Iterator[Path]:
    """Gives a temporary directory on the filesystem of the target."""
    # Noted before any is made, innermost first: those that were there stay if the export fails.
    missing_parents = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        _remove_empty(missing_parents)
        raise ExportError(f"Cannot export to {target}", received=str(error)) from error
    try:
        yield temporary
    except ExportError:  # is an OSError, too
        raise
    except (OSError, tf.errors.OpError) as error:
        raise ExportError(
            f"Cannot export {what} to {target}", received=str(error), fix="Nothing was left there"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(missing_parents)


def _remove_empty(directories: Iterable[Path]) -> None:
    """Removes those of the directories, innermost first, that are there and empty."""
    for directory in directories:
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
