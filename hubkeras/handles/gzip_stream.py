"""Gzip as a stream: packed bytes in, unpacked bytes out, piece by piece."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from hubkeras.errors import ArchiveError
from hubkeras.handles.archive_members import limit_exceeded

if TYPE_CHECKING:
    from collections.abc import Iterator

GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 20
# Bytes that may be unpacked at any ratio: a small archive of zeros is no attack, and its ratio may be a thousand.
_FREE = 16 << 20
_GZIP_FORMAT = 31  # zlib's code for a gzip header and the largest window


def gunzip(chunks: Iterator[bytes], ratio: int) -> Iterator[bytes]:
    """Unpacks gzip: one stream, or several in a row with zeros between and behind them.

    Yields:
        The unpacked bytes, in pieces of at most 1 MiB: a bomb is noticed before it fills memory or disk.

    Raises:
        ArchiveError: If the packed bytes are cut or damaged, or unpack to more than `ratio` allows.
    """
    stream = zlib.decompressobj(wbits=_GZIP_FORMAT)
    packed = unpacked = 0
    for chunk in chunks:
        packed += len(chunk)
        data = chunk
        while data:
            if stream.eof:
                # tar and tape programs fill up their last block with zeros behind the stream.
                data = data.lstrip(b"\0")
                if not data:
                    break
                stream = zlib.decompressobj(wbits=_GZIP_FORMAT)
            piece = _decompressed(stream, data)
            unpacked += len(piece)
            if unpacked > _FREE and unpacked > packed * ratio:
                raise limit_exceeded("bytes for its size", packed * ratio, "HUBKERAS_MAX_ARCHIVE_RATIO")
            if piece:
                yield piece
            # zlib puts what it has not used in one of two places: behind a stream's end, or what `_PIECE` left no room
            # for.
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not stream.eof:
        raise ArchiveError("The archive ends too early", received=f"{packed} bytes of a packed stream without its end")


def _decompressed(stream: zlib._Decompress, data: bytes) -> bytes:
    try:
        return stream.decompress(data, _PIECE)
    except zlib.error as error:
        raise ArchiveError("The archive is damaged", received=str(error)) from error
