"""Reads a sorted table as LevelDB writes it, the format of a checkpoint's index.

Such a file is a row of data blocks, then an index block that tells where they lie, then a footer that tells where the
index block lies. Blocks may be packed, and a key is stored as what it does not share with the one before it: a small
file can stand for far more than its size. The bounds below are ten times what the largest modules need.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubkeras.errors import CorruptFileError
from hubkeras.savedmodel.snappy import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubkeras.handles.filesystem_path import AnyPath

_FOOTER_SIZE = 48
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_TRAILER_SIZE = 5
_CRC_POLYNOMIAL = 0x82F63B78
_CRC_MASK_DELTA = 0xA282EAD8
MAX_VARINT_BYTES = 10
"""Of a number of 64 bits, seven in each byte."""
_UNCOMPRESSED, _SNAPPY = 0, 1
# An index takes some 100 bytes for each tensor, and large modules have some thousand of these.
_MAX_BYTES = 1 << 26
"""Of the file, and of all blocks, keys and values together once they are unpacked."""
_MAX_ENTRIES = 1 << 18


class DamagedTableError(CorruptFileError):
    """The table breaks its own format, or stands for more than anybody writes."""


def read_table(path: AnyPath) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a table, the keys in ascending order.

    Raises:
        DamagedTableError: The file is no table.
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise DamagedTableError(f"{size} bytes where at most {_MAX_BYTES} are read")
    data = path.read_bytes()
    if len(data) < _FOOTER_SIZE or not data.endswith(_MAGIC):
        raise DamagedTableError(f"{len(data)} bytes without the footer of a table")
    footer = len(data) - _FOOTER_SIZE
    # The first handle is that of the index of filters, which checkpoints have none of.
    _, position = _block_handle(data, footer)
    index, _ = _block_handle(data, position)
    budget = _Budget()
    end, previous = 0, None
    for _, handle in _block_entries(_block(data, index, budget), budget):
        block, _ = _block_handle(handle, 0)
        # Overlapping blocks would let a small file stand for many entries: each block is unpacked once for each
        # mention.
        if block[0] < end:
            raise DamagedTableError(f"a block at byte {block[0]} that overlaps the one before it")
        end = sum(block)
        for key, value in _block_entries(_block(data, block, budget), budget):
            if previous is not None and key <= previous:
                raise DamagedTableError(f"the key {key[:80]!r} out of order")
            previous = key
            yield key, value


@dataclass
class _Budget:
    """What is left to be read of a table."""

    free_bytes: int = _MAX_BYTES
    free_entries: int = _MAX_ENTRIES

    def spend(self, size: int, entries: int = 0) -> None:
        self.free_bytes -= size
        self.free_entries -= entries
        if self.free_bytes < 0 or self.free_entries < 0:
            raise DamagedTableError(f"a table of more than {_MAX_ENTRIES} entries or {_MAX_BYTES} bytes once unpacked")


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Reads a number of as many bytes as it needs; returns it and the position behind it.

    Raises:
        DamagedTableError: There is none.
    """
    value = 0
    for count, byte in enumerate(data[position : position + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise DamagedTableError(f"no number at byte {position}")


def _block_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _block(data: bytes, handle: tuple[int, int], budget: _Budget) -> bytes:
    offset, size = handle
    end = offset + size
    # Behind each block stand a byte that names its compression and a checksum, which covers that byte too.
    if end + _TRAILER_SIZE > len(data):
        raise DamagedTableError(f"a block that ends at byte {end} of {len(data)}")
    compression, checksum = struct.unpack_from("<BI", data, end)
    if _masked_crc32c(data[offset : end + 1]) != checksum:
        raise DamagedTableError(f"a block at byte {offset} that does not match its checksum")
    if compression == _UNCOMPRESSED:
        return data[offset:end]
    if compression != _SNAPPY:
        raise DamagedTableError(f"a block at byte {offset} with compression {compression}")
    try:
        block = unpack(data[offset:end], limit=budget.free_bytes)
    except ValueError as error:
        raise DamagedTableError(f"a block at byte {offset} that cannot be unpacked: {error}") from error
    budget.spend(len(block))
    return block


def _block_entries(block: bytes, budget: _Budget) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise DamagedTableError("a block without its restart points")
    (count,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 * (count + 1)
    if end < 0 or count > _MAX_ENTRIES:
        raise DamagedTableError(f"a block with {count} restart points")
    # TensorFlow searches from there; one inside of a value would have it find entries that are not read here.
    restarts = set(struct.unpack_from(f"<{count}I", block, end))
    key, position = b"", 0
    while position < end:
        start = position
        shared, position = read_varint(block, position)
        if start in restarts:
            if shared:
                raise DamagedTableError(f"a restart point at byte {start}, where a key needs the one before it")
            restarts.remove(start)
        unshared, position = read_varint(block, position)
        length, position = read_varint(block, position)
        value_start = position + unshared
        if shared > len(key) or value_start + length > end:
            raise DamagedTableError(f"an entry that leaves its block at byte {position}")
        budget.spend(shared + unshared + length, entries=1)
        key = key[:shared] + block[position:value_start]
        position = value_start + length
        yield key, block[value_start:position]
    if restarts - {end}:
        raise DamagedTableError(f"restart points where no entry begins: {sorted(restarts)[:5]}")


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_CRC_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def _masked_crc32c(data: bytes) -> int:
    """Returns the checksum of a block, rotated and shifted as tables store it."""
    table = _CRC_TABLE
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    # LevelDB stores it so, because a checksum of data that holds checksums of itself is weak.
    return (((crc >> 15) | (crc << 17)) + _CRC_MASK_DELTA) & 0xFFFFFFFF
