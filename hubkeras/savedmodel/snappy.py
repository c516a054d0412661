"""Unpacks raw Snappy data, in which TensorFlow 1 stored the index of a checkpoint.

A few kilobytes are all that is ever read this way; a dependency would weigh more than these lines.
"""

from __future__ import annotations

_LITERAL, _COPY_1, _COPY_2 = 0, 1, 2


def unpack(data: bytes, limit: int) -> bytes:
    """Unpacks one block.

    The framed format of Snappy files is not read.

    Args:
        data: The packed block.
        limit: The most bytes that it may unpack to.

    Returns:
        The block.

    Raises:
        ValueError: The data is damaged, or unpacks to more than the limit.

    Example:
        >>> unpack(bytes([6, 0b100, 97, 98, 0b1, 2]), limit=100)
        b'ababab'
    """
    try:
        return _unpack(data, limit)
    except IndexError as error:
        raise ValueError("the data ends early") from error


def _unpack(data: bytes, limit: int) -> bytes:
    size, position = _size(data)
    if size > limit:
        raise ValueError(f"{size} bytes announced where at most {limit} are read")
    out = bytearray()
    while position < len(data):
        tag = data[position]
        position = _literal(data, position, out) if tag & 3 == _LITERAL else _copy(data, position, out)
        # In the loop, or a few bytes of copies could fill the memory before the end is reached.
        if len(out) > size:
            raise ValueError(f"more than the {size} bytes it announces")
    if len(out) != size:
        raise ValueError(f"{len(out)} bytes where it announces {size}")
    return bytes(out)


def _size(data: bytes) -> tuple[int, int]:
    size = 0
    # 32 bits, seven in each byte.
    for position in range(5):
        size |= (data[position] & 0x7F) << (7 * position)
        if data[position] < 0x80:
            return size, position + 1
    raise ValueError("no length")


def _literal(data: bytes, position: int, out: bytearray) -> int:
    length = data[position] >> 2
    position += 1
    # 60 to 63 say that the length follows, in one to four bytes.
    if length >= 60:
        width = length - 59
        length = int.from_bytes(data[position : position + width], "little")
        position += width
    end = position + length + 1
    if end > len(data):
        raise ValueError("a literal that leaves the data")
    out += data[position:end]
    return end


def _copy(data: bytes, position: int, out: bytearray) -> int:
    tag = data[position]
    if tag & 3 == _COPY_1:
        length, offset, end = ((tag >> 2) & 7) + 4, (tag >> 5) << 8 | data[position + 1], position + 2
    else:
        width = 2 if tag & 3 == _COPY_2 else 4
        end = position + 1 + width
        length, offset = (tag >> 2) + 1, int.from_bytes(data[position + 1 : end], "little")
    if end > len(data) or not 0 < offset <= len(out):
        raise ValueError("a copy from before the start")
    # A copy may run into what it writes itself, which then repeats.
    source = bytes(out[-offset:][:length])
    out += (source * (length // len(source) + 1))[:length]
    return end
