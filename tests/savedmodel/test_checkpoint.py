import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_slice_pb2 import TensorSliceProto
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

from hubkeras.errors import CorruptFileError, MissingFileError
from hubkeras.savedmodel import checkpoint, leveldb_table
from hubkeras.savedmodel.checkpoint import CheckpointEntry, read_checkpoint
from savedmodel.builder import refusal, write_checkpoint

# Written by TensorFlow 1 (tensorflow/serving, saved_model_half_plus_two_cpu), Apache-2.0.
SNAPPY_INDEX = bytes.fromhex(
    "646c00000608011a02080100010b61080112002804350638271f01010d32010f0420040d110c00010d6205112c0828043510fd784f00010d63"
    "05111c0c280435efd682c315333c10280435efd682c300000000010000000103da3e1d000000000100000000c0f2a1b0000102640057000000"
    "00010000000075f79c875c08690e00000000000000000000000000000000000000000000000000000000000000000057fb808b247547db"
)


@pytest.fixture
def prefix(tmp_path):
    values = {
        "dense/kernel": np.zeros((3, 4), np.float32),
        "dense/bias": np.zeros(4, np.float16),
        "step": np.int64(7),
        "words": np.array([b"a", b"bc"]),
        "flag": np.array(True),
    }
    return write_checkpoint(tmp_path / "variables", values)


def test_tensors_have_names_dtypes_and_shapes(prefix):
    assert read_checkpoint(prefix).tensors == {
        "dense/bias": CheckpointEntry("float16", (4,)),
        "dense/kernel": CheckpointEntry("float32", (3, 4)),
        "flag": CheckpointEntry("bool", ()),
        "step": CheckpointEntry("int64", ()),
        "words": CheckpointEntry("string", (2,)),
    }


def test_many_tensors_span_several_blocks(tmp_path):
    values = {f"scope_{i // 100}/variable_{i}": np.zeros((i % 5, 2), np.float32) for i in range(2000)}
    tensors = read_checkpoint(write_checkpoint(tmp_path / "v", values)).tensors
    assert {name: entry.shape for name, entry in tensors.items()} == {name: v.shape for name, v in values.items()}


def test_parts_of_a_partitioned_tensor_count_as_the_whole(tmp_path):
    parts = {"emb": np.zeros((2, 3), np.float32)}
    prefix = write_checkpoint(tmp_path / "v", parts, slices={"emb": "5 3 0,2:0,3"})
    assert read_checkpoint(prefix).tensors == {"emb": CheckpointEntry("float32", (5, 3))}


def test_index_of_tensorflow_1_is_snappy_compressed(tmp_path):
    (tmp_path / "v.index").write_bytes(SNAPPY_INDEX)
    (tmp_path / "v.data-00000-of-00001").write_bytes(bytes(20))
    tensors = read_checkpoint(tmp_path / "v").tensors
    assert tensors == {name: CheckpointEntry("float32", ()) for name in ("a", "a2", "b", "c", "c2")}


def test_missing_index(tmp_path):
    with pytest.raises(MissingFileError, match=r"nothing\.index"):
        read_checkpoint(tmp_path / "nothing")


def test_missing_data_file_is_named(prefix):
    prefix.with_name("variables.data-00000-of-00001").unlink()
    with pytest.raises(MissingFileError, match=r"variables\.data-00000-of-00001"):
        read_checkpoint(prefix)


def test_truncated_data_file_is_named_with_both_sizes(prefix):
    path = prefix.with_name("variables.data-00000-of-00001")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptFileError, match=rf"data-00000-of-00001 is truncated.*{size} bytes.*{size - 1} bytes"):
        read_checkpoint(prefix)


def test_longer_data_file_is_fine(prefix):
    path = prefix.with_name("variables.data-00000-of-00001")
    path.write_bytes(path.read_bytes() + b"more")
    assert len(read_checkpoint(prefix).tensors) == 5


def test_no_changed_byte_of_the_index_gives_another_answer(prefix):
    """Checksums cover the blocks; an unused block and the padding of the footer are read by nobody."""
    path = prefix.with_name("variables.index")
    good = path.read_bytes()
    wanted = read_checkpoint(prefix)
    noticed = 0
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x41]) + good[position + 1 :])
        error = refusal(read_checkpoint, prefix)
        if error is None:
            assert read_checkpoint(prefix) == wanted
        else:
            assert isinstance(error, CorruptFileError)
            assert str(path) in str(error)
            noticed += 1
    assert noticed > len(good) / 2


def test_a_truncated_index_is_noticed_at_every_size(prefix):
    path = prefix.with_name("variables.index")
    good = path.read_bytes()
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(CorruptFileError):
            read_checkpoint(prefix)


def table(block: bytes, compression: int = 0) -> bytes:
    """Returns a table of one data block with right checksums around whatever the block holds."""

    def with_trailer(content: bytes, kind: int) -> bytes:
        kind_byte = bytes([kind])
        return content + kind_byte + struct.pack("<I", leveldb_table._masked_crc32c(content + kind_byte))

    def handle(offset: int, size: int) -> bytes:
        return varint(offset) + varint(size)

    data = with_trailer(block, compression)
    pointer = handle(0, len(block))
    index = bytes([0, 1, len(pointer)]) + b"z" + pointer + struct.pack("<II", 0, 1)
    footer = handle(0, 0) + handle(len(data), len(index))
    return data + with_trailer(index, 0) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block=st.binary(max_size=80), compression=st.integers(0, 2), restarts=st.booleans())
def test_damage_behind_right_checksums_never_escapes_as_another_error(tmp_path, block, compression, restarts):
    content = block + struct.pack("<II", 0, 1) if restarts else block
    (tmp_path / "v.index").write_bytes(table(content, compression))
    error = refusal(read_checkpoint, tmp_path / "v")
    assert error is None or str(tmp_path) in str(error)


def entries(*items: tuple[int, bytes, bytes]) -> bytes:
    """Returns a block; each entry tells how much of the key before it it shares."""
    packed = (
        bytes([*varint(shared), *varint(len(key)), *varint(len(value))]) + key + value for shared, key, value in items
    )
    return b"".join(packed) + struct.pack("<II", 0, 1)


HEADER = (0, b"", BundleHeaderProto(num_shards=1).SerializeToString())


def entry(*sizes: int | None, **fields: Any) -> bytes:
    """Returns the entry of a tensor of 16 bytes."""
    given = {"dtype": types_pb2.DT_FLOAT, "size": 16} | fields
    return BundleEntryProto(shape=tf.TensorShape(sizes).as_proto(), **given).SerializeToString()


def part(*extents: tuple[int, int]) -> TensorSliceProto:
    return TensorSliceProto(extent=[TensorSliceProto.Extent(start=start, length=length) for start, length in extents])


def write(path: Path, *items: tuple[int, bytes, bytes]) -> Path:
    (path / "v.index").write_bytes(table(entries(*items)))
    (path / "v.data-00000-of-00001").write_bytes(bytes(16))
    return path / "v"


def test_keys_that_share_what_is_before_them(tmp_path):
    prefix = write(tmp_path, HEADER, (0, b"a/kernel", entry(4)), (2, b"more", entry(2, 2)))
    assert list(read_checkpoint(prefix).tensors) == ["a/kernel", "a/more"]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([(0, b"w", entry(4))], "without the entry that tells the number of data files"),
        ([HEADER, (0, b"w", entry(4)), (0, b"v", entry(4))], "the key b'v' out of order"),
        ([HEADER, (0, b"w", entry(4)), (1, b"", entry(4))], "the key b'w' out of order"),
        ([HEADER, (0, b"w", entry(4, shard_id=1))], "lie in none of 1 data files"),
        ([HEADER, (0, b"w", entry(4, shard_id=-1))], "lie in none of 1 data files"),
        ([HEADER, (0, b"w", entry(4, offset=-16))], "lie in none of 1 data files"),
        ([HEADER, (0, b"w", entry(4, size=-1))], "lie in none of 1 data files"),
        ([HEADER, (0, b"w", entry(1 << 40))], "'w', of more elements than its values have bytes"),
        ([HEADER, (0, b"w", entry(1 << 40, size=0, slices=[TensorSliceProto()]))], "more elements than its values"),
        ([HEADER, (0, b"w", entry(4, slices=[part((-1, 2))]))], "a part of the tensor 'w' that does not lie in it"),
        ([HEADER, (0, b"w", entry(4, slices=[part((0, 2)), part((2, 3))]))], "a part of the tensor 'w'"),
        ([HEADER, (0, b"w", entry(4, slices=[part((1 << 62, 1 << 62))]))], "a part of the tensor 'w'"),
        ([HEADER, (0, b"w", entry(4, slices=[part((0, -(1 << 31)))]))], "a part of the tensor 'w'"),
        ([HEADER, (0, b"w", entry(4, slices=[part((0, 1), (0, 1))]))], "a part of the tensor 'w'"),
        ([HEADER, (0, b"w", entry(None))], "unknown shape"),
        ([HEADER, (0, b"w", entry(*[1] * 255))], "a tensor of 255 dimensions"),
        ([HEADER, (0, b"w", entry(0, 1 << 40, 1 << 40))], "1.21e+24 elements"),
        ([HEADER, (0, b"\0part", entry(1 << 40, 2, 0, size=0)), (0, b"w", entry(4))], "2.2e+12 elements"),
        ([HEADER, (0, b"w", entry(4, dtype=4321))], "4321"),
        ([HEADER, (0, b"w", entry(4, dtype=types_pb2.DT_VARIANT))], "the entry b'w' of dtype variant"),
        ([HEADER, (0, b"w", entry(4, dtype=types_pb2.DT_RESOURCE))], "the entry b'w' of dtype resource"),
        ([HEADER, (0, b"\xff", entry(4))], "can't decode"),
        ([HEADER, (0, b"w", b"\x0a\xff")], "Cannot parse the entry b'w'"),
        ([(0, b"", b"\xff")], "Cannot parse the first entry"),
    ],
)
def test_entries_that_contradict_the_format_or_the_data_files(tmp_path, items, words):
    with pytest.raises(CorruptFileError) as info:
        read_checkpoint(write(tmp_path, *items))
    assert words in str(info.value)
    assert str(tmp_path / "v.index") in str(info.value)


def test_a_small_table_that_stands_for_much(tmp_path):
    """Keys of 200,000 bytes, of which each shares all with the one before it."""
    items = [HEADER, (0, b"a" * 200_000, entry(4)), *((200_000, b"%05d" % i, entry(4)) for i in range(1000))]
    with pytest.raises(CorruptFileError, match=r"more than .* bytes once unpacked"):
        read_checkpoint(write(tmp_path, *items))


def test_too_many_entries(tmp_path):
    many = [(0, b"%06d" % i, entry(1)) for i in range(leveldb_table._MAX_ENTRIES)]
    with pytest.raises(CorruptFileError, match=f"more than {leveldb_table._MAX_ENTRIES} entries"):
        read_checkpoint(write(tmp_path, HEADER, *many))


@pytest.mark.parametrize("inside", [True, False])
def test_entries_that_only_a_search_finds(tmp_path, inside):
    """TensorFlow searches from the restart points: one inside of a value would lead it to others than those read."""
    hidden = entries((0, b"u", entry(4)), (0, b"w", entry(1 << 40)))[:-8]
    unknown = b"\xfa\x01" + varint(len(hidden)) + hidden  # a field that the message does not have
    first = entries(HEADER, (0, b"a", entry(4) + unknown))[:-8]
    block = first + entries((0, b"w", entry(4)))[:-8]
    restart = len(first) - len(hidden) if inside else len(first)
    (tmp_path / "v.index").write_bytes(table(block + struct.pack("<III", 0, restart, 2)))
    (tmp_path / "v.data-00000-of-00001").write_bytes(bytes(16))
    error = refusal(read_checkpoint, tmp_path / "v")
    assert inside == (error is not None and "restart points where no entry begins" in str(error))


def test_a_restart_point_at_a_key_that_needs_the_one_before_it(tmp_path):
    block = entries(HEADER, (0, b"a/kernel", entry(4)), (2, b"more", entry(2, 2)))[:-8]
    start = block.index(b"more") - 3
    (tmp_path / "v.index").write_bytes(table(block + struct.pack("<III", 0, start, 2)))
    with pytest.raises(CorruptFileError, match="needs the one before it"):
        read_checkpoint(tmp_path / "v")


def test_a_table_that_is_too_large(tmp_path):
    with (tmp_path / "v.index").open("wb") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(CorruptFileError, match="67108865 bytes where at most 67108864 are read"):
        read_checkpoint(tmp_path / "v")


def test_unknown_compression_is_named(tmp_path):
    (tmp_path / "v.index").write_bytes(table(bytes(8), compression=7))
    with pytest.raises(CorruptFileError, match="compression 7"):
        read_checkpoint(tmp_path / "v")


def test_an_index_that_is_a_folder(tmp_path):
    (tmp_path / "v.index").mkdir()
    with pytest.raises(MissingFileError):
        read_checkpoint(tmp_path / "v")


def test_blocks_that_lie_on_one_another(tmp_path):
    """An index block may name one data block as often as it likes; only the first time is read."""
    pointer = varint(0) + varint(len(entries(HEADER)))
    data = table(entries(HEADER))
    twice = entries((0, b"y", pointer), (0, b"z", pointer))
    start = len(entries(HEADER)) + 5
    trailer = b"\0" + struct.pack("<I", leveldb_table._masked_crc32c(twice + b"\0"))
    footer = varint(0) + varint(0) + varint(start) + varint(len(twice))
    (tmp_path / "v.index").write_bytes(data[:start] + twice + trailer + footer.ljust(40, b"\0") + data[-8:])
    with pytest.raises(CorruptFileError, match="overlaps the one before it"):
        read_checkpoint(tmp_path / "v")


@pytest.mark.parametrize("length", [0, 9, 1 << 40])
def test_texts_of_other_lengths_than_are_stored(tmp_path, length):
    """TensorFlow makes room for what the lengths say, and ends the process where it cannot."""
    write_checkpoint(tmp_path / "v", {"texts": np.array(["ten bytes.", "two"], object)})
    (path,) = tmp_path.glob("v.data-*")
    assert read_checkpoint(tmp_path / "v").tensors["texts"] == CheckpointEntry("string", (2,))
    data = path.read_bytes()
    assert data[0] == 10
    path.write_bytes(varint(length) + data[1:])
    with pytest.raises(CorruptFileError, match="lengths"):
        read_checkpoint(tmp_path / "v")


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_lengths_of_many_texts(monkeypatch, size):
    monkeypatch.setattr(checkpoint, "_PIECE", size)
    numbers = [0, 1, 127, 128, 300, 16383, 16384, 5] * 3
    data = b"".join(map(varint, numbers)) + b"rest"
    for count in (0, 1, len(numbers)):
        assert checkpoint._sum_of_varints(data, count) == (
            sum(numbers[:count]),
            len(b"".join(map(varint, numbers[:count]))),
        )
    assert checkpoint._sum_of_varints(b"\xff" * 12 + b"\0", 1) is None
    assert checkpoint._sum_of_varints(data, len(data)) is None
    assert checkpoint._sum_of_varints(b"\1\x80", 2) is None
