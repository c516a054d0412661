"""A tar archive as a stream of members.

`tarfile` parses each header block; the walk from header to header is our own. So no header can make it hang, recurse,
seek or allocate more than a bound, and an archive without its end mark is known to be cut.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from hubkeras.errors import ArchiveError
from hubkeras.handles.archive_members import Member, member_refused

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = tarfile.BLOCKSIZE
# An extended header is read into memory as a whole. A path has a few KB at most, and a handful of headers per member.
_LONGEST_EXTENSION = 64 << 10
_MOST_EXTENSIONS = 8
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.CONTTYPE: "a contiguous file",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class _Stream:
    """The unpacked bytes, read in exact amounts."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Gives the next `size` bytes as they come."""
        while size > 0:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    raise ArchiveError(
                        "The archive ends too early", expected=f"{size} more bytes, and an end mark", received="nothing"
                    )
                continue
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))

    def drain(self) -> None:
        for _ in self._chunks:
            pass


def read_tar(chunks: Iterator[bytes]) -> Iterator[Member]:
    """Gives the members of a tar archive in their order.

    Yields:
        Members; the content of a file can be read until the next one is asked for, and is skipped otherwise.

    Raises:
        ArchiveError: For anything but regular files and directories, and for what is damaged or cut.
    """
    stream = _Stream(chunks)
    extensions: dict[str, str] = {}
    found = 0
    while True:
        block = stream.read(_BLOCK)
        if not block.strip(b"\0"):
            break
        header = _header(block)
        if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
            found += 1
            if found > _MOST_EXTENSIONS:
                raise member_refused(header.name, f"more than {_MOST_EXTENSIONS} extended headers in a row")
            # Several may stand before one member, such as a long name and a size.
            extensions |= _extension(header, stream)
            continue
        yield from _member(header, extensions, stream)
        extensions, found = {}, 0
    stream.drain()  # the bytes behind the end mark count for the checksum of gzip and the sha256 of the archive


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        raise ArchiveError(
            "The archive is damaged", expected="the header of a tar member", received=repr(block[:40])
        ) from error
    if header.size < 0:
        raise member_refused(header.name, "a negative size")
    return header


def _member(header: tarfile.TarInfo, extensions: dict[str, str], stream: _Stream) -> Iterator[Member]:
    name = extensions.get("path", header.name)
    size = _size(name, extensions.get("size"), header.size)
    # PAX writes a sparse file under the type of a regular one; only these keys tell.
    if any(key.startswith("GNU.sparse") for key in extensions):
        raise member_refused(name, "a sparse file")
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        raise member_refused(name, _KINDS.get(header.type, f"an entry of the unknown type {header.type!r}"))
    is_directory = header.type == tarfile.DIRTYPE
    if is_directory and size:
        raise member_refused(name, f"a directory with {size} bytes of content")
    content = stream.pieces(size)
    yield Member(name, is_directory, size, content)
    # What the consumer left unread is skipped, or the next header would be looked for in the middle of a file.
    for _ in content:
        pass
    stream.read(-size % _BLOCK)


def _size(name: str, text: str | None, size: int) -> int:
    if text is None:
        return size
    # int() also takes " 1" and "1_0", takes long over a number without end, and fails on "²", which isdigit() takes.
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise member_refused(name, f"the size {text[:40]!r}")
    return int(text)


def _extension(header: tarfile.TarInfo, stream: _Stream) -> dict[str, str]:
    """Reads the block of an extended header: a long name, or records of key and value."""
    if header.size > _LONGEST_EXTENSION:
        raise member_refused(header.name, f"an extended header of {header.size} bytes")
    data = stream.read(header.size)
    stream.read(-header.size % _BLOCK)
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")}
    records = dict(_records(header.name, data))
    # A global header is meant for all members behind it. git writes one with its commit; nothing in it concerns a
    # module.
    return {} if header.type == tarfile.XGLTYPE else records


def _records(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    r"""Splits `"<length> <key>=<value>\n"` records, where the length counts the whole record."""
    data = data.rstrip(b"\0")
    while data:
        length, space, _ = data[:10].partition(b" ")
        # 0 for no number makes `equals` empty below, so that every way to be wrong ends in one error.
        end = int(length) if length.isdigit() and space else 0
        key, equals, value = data[len(length) + 1 : max(end - 1, 0)].partition(b"=")
        if not (equals and end <= len(data) and data[end - 1 : end] == b"\n"):
            raise ArchiveError(f"The archive is damaged: the extended header {name!r}", received=repr(data[:40]))
        yield key.decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")
        data = data[end:]
