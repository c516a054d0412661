"""Packed bytes in, unpacked bytes out, piece by piece."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Protocol

from hubkeras.errors import ArchiveError
from hubkeras.handles.archive_members import too_much

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE = 1 << 20
_FREE = 16 << 20
_XZ_MEMORY = 256 << 20

GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the interface that those of bz2 and lzma have."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length and not self._inner.unconsumed_tail
        return piece


_FORMATS: dict[bytes, Callable[[], _Decompressor]] = {
    GZIP: _Gzip,
    BZIP2: bz2.BZ2Decompressor,
    XZ: lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
}


def inflated(chunks: Iterator[bytes], head: bytes, ratio: int) -> Iterator[bytes]:
    """Unpacks gzip, bzip2 or xz; passes on whatever is none of them.

    Args:
        chunks: The packed bytes.
        head: The first bytes of them (which `chunks` gives too).
        ratio: Unpacked bytes allowed per packed byte.

    Yields:
        The unpacked bytes, in pieces of at most 1 MiB.

    Raises:
        ArchiveError: If the packed bytes are cut or damaged, or unpack to more than `ratio` allows.
    """
    make = next((make for magic, make in _FORMATS.items() if head.startswith(magic)), None)
    if make is None:
        yield from chunks
        return
    unpacker = _Unpacker(make)
    packed = unpacked = 0
    for chunk in chunks:
        packed += len(chunk)
        for piece in unpacker.feed(chunk):
            unpacked += len(piece)
            if unpacked > _FREE and unpacked > packed * ratio:
                raise too_much("bytes for its size", packed * ratio, "HUBKERAS_MAX_ARCHIVE_RATIO")
            yield piece
    if not unpacker.is_complete:
        raise ArchiveError("The archive ends too early", received=f"{packed} bytes of a packed stream without its end")


class _Unpacker:
    """One packed stream, or several in a row with zeros between and behind them."""

    def __init__(self, make: Callable[[], _Decompressor]) -> None:
        self._make = make
        self._current = make()

    @property
    def is_complete(self) -> bool:
        return self._current.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._current.eof:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._current = self._make()
            yield self._decompress(data)
            data = self._current.unused_data if self._current.eof else b""
            if self._current.needs_input and not data:
                return

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._current.decompress(data, _PIECE)
        except (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError) as error:
            raise ArchiveError("The archive is damaged", received=str(error)) from error
