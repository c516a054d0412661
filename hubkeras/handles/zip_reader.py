"""A zip archive as a stream of members."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from hubkeras.errors import ArchiveError
from hubkeras.handles.archive_members import Member, limit_exceeded, member_refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubkeras.config import ArchiveLimits

_PIECE = 1 << 20
# As with gzip: bytes that may be unpacked at any ratio.
_FREE = 16 << 20
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
# The fixed length of the ZIP64 locator between the two end records, and of one entry of the directory, in bytes.
_END64_LOCATOR = 20
_ENTRY = 46
_ENCRYPTED = 1
_FAILURES = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, IndexError,
    OverflowError, OSError, struct.error,
)  # fmt: skip


def read_zip(file: IO[bytes], limits: ArchiveLimits) -> Iterator[Member]:
    """Gives the members of a zip archive in the order of its directory.

    Yields:
        Members; the content of a file can be read until the next one is asked for.

    Raises:
        ArchiveError: For anything but regular files and directories, and for what is damaged, cut or encrypted.
    """
    size = _check_directory(file, limits)
    unpacked = 0
    with _damage("The archive"), zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            _check(info)
            # By what the directory says, before anything is unpacked; `ExtractionDirectory` holds the content to it.
            unpacked += info.file_size
            if unpacked > max(_FREE, size * limits.ratio):
                raise limit_exceeded("bytes for its size", size * limits.ratio, "HUBKERAS_MAX_ARCHIVE_RATIO")
            # `orig_filename`: zipfile cuts `filename` at a NUL and turns separators, which would hide a hostile name
            # from the check.
            yield Member(info.orig_filename, info.is_dir(), info.file_size, _content(archive, info))


def _check(info: zipfile.ZipInfo) -> None:
    # The upper half holds the mode where a Unix wrote the archive, and 0 elsewhere.
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise member_refused(info.orig_filename, "a link" if kind == stat.S_IFLNK else "a device or a pipe")
    if info.is_dir() and info.file_size:
        raise member_refused(info.orig_filename, f"a directory with {info.file_size} bytes of content")
    if info.flag_bits & _ENCRYPTED:
        raise member_refused(info.orig_filename, "an encrypted file")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        packing = zipfile.compressor_names.get(info.compress_type, str(info.compress_type))
        raise member_refused(info.orig_filename, f"a file that is not stored or deflated, but packed with {packing}")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with _damage(repr(info.filename)), archive.open(info) as file:
        while piece := file.read(_PIECE):
            yield piece


@contextmanager
def _damage(what: str) -> Iterator[None]:
    """Says that something is damaged where zipfile fails in one of its ways (a bad offset is an OSError)."""
    try:
        yield
    except ArchiveError:
        raise
    except _FAILURES as error:
        # A full or failing disk is no damage to the archive, and must be told as what it is.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise ArchiveError(f"{what} is damaged", received=str(error) or type(error).__name__) from error


def _check_directory(file: IO[bytes], limits: ArchiveLimits) -> int:
    """Refuses an archive whose directory alone would fill the memory; returns the archive's size."""
    size = file.seek(0, 2)
    tail_size = min(size, _END.size + 0xFFFF + _END64_LOCATOR + _END64.size)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    # zipfile reads the whole directory into objects when it opens a file, so its size is looked at by hand before that.
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise ArchiveError("The archive ends too early", expected="the directory at the end of a zip archive")
    members, length = _END.unpack_from(tail, at)[4:6]
    at64 = tail.rfind(b"PK\6\6", 0, at)
    if at64 >= 0 and at - at64 >= _END64.size:
        members, length = _END64.unpack_from(tail, at64)[7:9]
    if members > limits.members:
        raise limit_exceeded("members", limits.members, "HUBKERAS_MAX_ARCHIVE_MEMBERS")
    if length > limits.members * (_ENTRY + limits.path_length):
        raise ArchiveError("The archive is damaged", received=f"a directory of {length} bytes for {members} members")
    return size
