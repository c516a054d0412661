import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubkeras.savedmodel import snappy


def unpack(data: bytes) -> bytes:
    return snappy.unpack(data, limit=1 << 20)


def literal(data: bytes) -> bytes:
    size = len(data) - 1
    if size < 60:
        return bytes([size << 2]) + data
    width = 1 if size < 256 else 2
    return bytes([(59 + width) << 2]) + size.to_bytes(width, "little") + data


def length(size: int) -> bytes:
    out = bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*out, size])


@pytest.mark.parametrize("size", [1, 59, 60, 61, 255, 256, 257, 5000])
def test_literals_of_every_width(size):
    data = bytes(i % 251 for i in range(size))
    assert unpack(length(size) + literal(data)) == data


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        (bytes([0b00000001, 2]), b"abab" + b"ab"),
        (bytes([(5 << 2) | 2, 2, 0]), b"ab" + b"ababab"),
        (bytes([(2 << 2) | 3, 1, 0, 0, 0]), b"ab" + b"bbb"),
    ],
)
def test_copies_of_every_width_may_overlap_themselves(copy, expected):
    assert unpack(length(len(expected)) + literal(b"ab") + copy) == expected


def test_distant_copies_use_the_high_bits_of_the_tag():
    data = bytes(i % 251 for i in range(300))
    copy = bytes([(1 << 5) | (0 << 2) | 1, 300 - 256])
    assert unpack(length(304) + literal(data) + copy) == data + data[:4]


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x80",
        b"\xff\xff\xff\xff\xff\xff",
        b"\x05" + literal(b"abc"),
        b"\x02" + literal(b"abc"),
        b"\x04" + bytes([3 << 2]) + b"ab",
        b"\x06" + literal(b"ab") + bytes([1, 3]),
        b"\x06" + literal(b"ab") + bytes([1, 0]),
        b"\x06" + literal(b"ab") + bytes([1]),
        b"\x06" + literal(b"ab") + bytes([2, 1]),
    ],
)
def test_damaged_data(packed):
    with pytest.raises(ValueError, match=r".+"):
        unpack(packed)


def test_what_unpacks_to_too_much():
    packed = length(100) + literal(b"a") + bytes([(59 << 2) | 2, 1, 0]) + bytes([(38 << 2) | 2, 1, 0])
    assert snappy.unpack(packed, limit=100) == b"a" * 100
    with pytest.raises(ValueError, match="100 bytes announced where at most 99"):
        snappy.unpack(packed, limit=99)


@given(st.binary(max_size=64))
def test_anything_else_is_an_answer_or_a_value_error(packed):
    with contextlib.suppress(ValueError):
        assert isinstance(unpack(packed), bytes)
