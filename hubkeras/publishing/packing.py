"""Archives of modules, as servers of the hosting protocol give them out."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubkeras import config
from hubkeras.errors import ArchiveError, ExportError
from hubkeras.handles.archive_members import MARKER, safe_parts
from hubkeras.modules.staging import new_file
from hubkeras.savedmodel.reader import read_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def pack(directory: str | os.PathLike[str], archive: str | os.PathLike[str]) -> None:
    """Packs a module's directory into the `.tar.gz` that a server of the hosting protocol gives out.

    The root of the archive is the root of the module. It tells no owners, times or modes, and its files stand in the
    order of their names: the same module gives the same bytes, with one version of zlib.

    Args:
        directory: A module in TF1 Hub format, or another SavedModel.
        archive: The file to write, which does not exist yet; by custom it ends in `.tar.gz`.

    Raises:
        FormatError: There is no module in the directory, or a broken one.
        ExportExistsError: There is something at `archive`.
        ExportError: The directory holds what no archive of a module may hold, or the archive cannot be written; nothing
            is left behind.

    Example:
        >>> hubkeras.pack("module", "module.tar.gz")  # doctest: +SKIP
        >>> hubkeras.load("module.tar.gz")  # doctest: +SKIP

    It does not judge what the module's graphs would do. The protocol is described at
    https://www.tensorflow.org/hub/hosting.
    """
    source = Path(directory).expanduser().absolute()
    read_module(source)
    # All of them before the archive is begun: what no archive may hold is found while there is nothing to remove.
    paths = list(_paths_to_pack(source, source))
    if Path(archive).expanduser().absolute().is_relative_to(source):
        raise ExportError(f"Cannot pack {source} into itself", expected="another place", received=str(archive))
    with new_file(archive, f"module {source}") as path, path.open("wb") as file:
        _write(source, paths, file)


def _paths_to_pack(root: Path, directory: Path) -> Iterator[Path]:
    """Yields what is below the directory in the order of the names, each folder before what it holds.

    Raises:
        ExportError: Something is neither a regular file nor a directory, or has a name that readers refuse.
    """
    # By bytes, since names need not be text, and an order of letters would be that of a locale.
    for path in sorted(directory.iterdir(), key=os.fsencode):
        if path == root / MARKER:  # of the cache, if the module comes from there; in an archive readers ignore it
            continue
        file_mode = path.lstat().st_mode
        if not (stat.S_ISREG(file_mode) or stat.S_ISDIR(file_mode)):
            raise ExportError(
                f"Cannot pack {path}",
                expected="regular files and directories",
                received="a symbolic link" if stat.S_ISLNK(file_mode) else "something else",
                fix="Copy what it stands for into the module's directory",
            )
        try:
            safe_parts(path.relative_to(root).as_posix(), config.archive_limits().path_length)
        except ArchiveError as error:
            raise ExportError(f"Cannot pack {path}: readers would refuse it", received=str(error)) from error
        yield path
        if stat.S_ISDIR(file_mode):
            yield from _paths_to_pack(root, path)


def _write(root: Path, paths: Iterable[Path], file: Any) -> None:
    """Writes the archive; nothing in it depends on when and by whom."""
    # Not tarfile's own "w:gz", which writes the name and the time into the header of gzip.
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in paths:
            # A TarInfo of its own tells no owner and no time, and gives files the mode 0644.
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
                continue
            with path.open("rb") as content:
                entry.size = os.fstat(content.fileno()).st_size
                tar.addfile(entry, content)
