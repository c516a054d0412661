"""Reads the index of a checkpoint: which tensors it holds, and whether its data files are whole.

No value of a tensor is read here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hubkeras.errors import CorruptFileError, FormatError, MissingFileError
from hubkeras.savedmodel.graph_index import dtype_name, shape_tuple
from hubkeras.savedmodel.leveldb_table import MAX_VARINT_BYTES, DamagedTableError, read_table
from hubkeras.savedmodel.protos import DT_STRING, BundleEntryProto, BundleHeaderProto, dtypes, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hubkeras.handles.filesystem_path import AnyPath

_HEADER = b""
_CHECKSUM_SIZE = 4
_PIECE = 1 << 20
# Of TensorFlow's shapes, which check it with an assertion.
_MAX_DIMENSIONS = 254
_MAX_ELEMENTS = 1 << 40
"""Far from 2**63, and beyond what any file holds."""
_SLICE_MARK = b"\0"
"""What the key of a part of a partitioned tensor begins with; the whole has an entry of its own, without values."""


@dataclass(frozen=True)
class CheckpointEntry:
    """One tensor of a checkpoint, a partitioned one as a whole."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    prefix: AnyPath
    """What the names of its files begin with."""
    tensors: Mapping[str, CheckpointEntry]


def read_checkpoint(prefix: AnyPath) -> Checkpoint:
    """Reads `<prefix>.index` and checks that the data files are as long as it says.

    Values are neither read nor compared with their checksums; TensorFlow does that when it restores them. It makes room
    for a tensor before it looks for its values, so no tensor may be larger than the files could hold.

    Args:
        prefix: Such as `module/variables/variables`.

    Raises:
        MissingFileError: The index or a data file is not there.
        CorruptFileError: The index is damaged, or a data file is too short.
    """
    path = prefix.with_name(f"{prefix.name}.index")
    if not path.is_file():
        raise MissingFileError(f"Cannot find {path}, the index of the module's variables", fix="Fetch the module again")
    try:
        shards, entries = _read_entries(path)
        found = {key: _tensor(proto) for key, proto in entries.items()}
        tensors = {key.decode(): tensor for key, tensor in found.items() if not key.startswith(_SLICE_MARK)}
    except (FormatError, UnicodeDecodeError) as error:
        raise _corrupt(path, str(error)) from error
    held = _check_shards(prefix, shards, entries.values())
    for name, tensor in tensors.items():
        proto = entries[name.encode()]
        # At least a byte for each element. The whole of a partitioned tensor has no values of its own, so all files are
        # its bound.
        if math.prod(tensor.shape) > (held if proto.slices else proto.size):
            raise _corrupt(path, f"the tensor {name!r}, of more elements than its values have bytes")
        if not all(_lies_in(part.extent, tensor.shape) for part in proto.slices):
            raise _corrupt(path, f"a part of the tensor {name!r} that does not lie in it")
    for key, proto in entries.items():
        if proto.dtype == DT_STRING and not proto.slices:
            _check_texts(_shard(prefix, proto.shard_id, shards), key, proto)
    return Checkpoint(prefix, tensors)


def _read_entries(path: AnyPath) -> tuple[int, Mapping[bytes, Any]]:
    """Returns the number of data files, and the entries by key."""
    try:
        values = dict(read_table(path))
    except OSError as error:
        raise _corrupt(path, str(error)) from error
    if _HEADER not in values:
        raise DamagedTableError("a table without the entry that tells the number of data files")
    shards = parse(BundleHeaderProto, values.pop(_HEADER), "the first entry").num_shards
    entries = {key: parse(BundleEntryProto, value, f"the entry {key!r}") for key, value in values.items()}
    for key, entry in entries.items():
        if entry.offset < 0 or entry.size < 0 or not 0 <= entry.shard_id < shards:
            raise DamagedTableError(f"the entry {key!r}, whose values lie in none of {shards} data files")
        if entry.dtype in (dtypes.DT_VARIANT, dtypes.DT_RESOURCE):  # no variable has such values
            raise DamagedTableError(f"the entry {key!r} of dtype {dtype_name(entry.dtype)}")
    return shards, entries


def _corrupt(path: AnyPath, received: str) -> CorruptFileError:
    return CorruptFileError(
        f"Cannot read {path}",
        expected="the index of a TensorFlow checkpoint",
        received=received,
        fix="Fetch the module again",
    )


def _tensor(proto: Any) -> CheckpointEntry:
    shape = shape_tuple(proto.shape)
    if shape is None or None in shape:
        raise DamagedTableError("a tensor of unknown shape")
    # Without zeros: TensorFlow multiplies one by one, and ends the process where that overflows.
    elements = math.prod(size for size in shape if size)
    if len(shape) > _MAX_DIMENSIONS or elements > _MAX_ELEMENTS:
        raise DamagedTableError(f"a tensor of {len(shape)} dimensions and {elements:.3g} elements")
    return CheckpointEntry(dtype_name(proto.dtype), tuple(size for size in shape if size is not None))


def _lies_in(extents: Sequence[Any], shape: tuple[int, ...]) -> bool:
    """Tells whether a part, a start and a length for each axis, lies in a tensor; TensorFlow ends where it does not."""
    return len(extents) == len(shape) and all(
        # Without a length it is the whole axis.
        extent.start >= 0 and 0 <= extent.length <= size - extent.start
        for extent, size in zip(extents, shape, strict=True)
    )


def _check_shards(prefix: AnyPath, count: int, entries: Iterable[Any]) -> int:
    """Checks that the data files are there and long enough, and returns how many bytes they have together."""
    needed: dict[int, int] = {}
    for entry in entries:
        needed[entry.shard_id] = max(needed.get(entry.shard_id, 0), entry.offset + entry.size)
    held = 0
    for shard, size in sorted(needed.items()):
        path = _shard(prefix, shard, count)
        if size and not path.is_file():
            raise MissingFileError(
                f"Cannot find {path}, which holds values of the variables",
                expected=f"every data file that {prefix.name}.index names",
                fix="Fetch the module again",
            )
        actual = path.stat().st_size if size else 0
        if actual < size:
            raise CorruptFileError(
                f"{path} is truncated",
                expected=f"at least {size} bytes",
                received=f"{actual} bytes",
                fix="Fetch the module again",
            )
        held += actual
    return held


def _shard(prefix: AnyPath, number: int, count: int) -> AnyPath:
    return prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{count:05d}")


def _check_texts(path: AnyPath, key: bytes, entry: Any) -> None:
    """Checks the lengths of texts, which stand before them: TensorFlow makes room for what they say, and ends there.

    Raises:
        CorruptFileError: The texts are longer or shorter than what the file holds of them.
    """
    count = math.prod(dim.size for dim in entry.shape.dim)
    with path.open("rb") as file:
        file.seek(entry.offset)
        # The lengths stand first, all together; the texts themselves may be gigabytes.
        head = file.read(min(entry.size, count * MAX_VARINT_BYTES))
    found = _sum_of_varints(head, count)
    if found is None:
        raise _corrupt(path, f"the texts of {key!r}, whose lengths do not stand there")
    length, position = found
    # Between lengths and texts lies a checksum of the lengths.
    if count and position + _CHECKSUM_SIZE + length != entry.size:
        raise _corrupt(
            path, f"the texts of {key!r}, of {length} bytes where {entry.size} are stored with their lengths"
        )


def _sum_of_varints(data: bytes, count: int) -> tuple[int, int] | None:
    """Returns the sum of the numbers that data begins with, and the position behind them; None if there are fewer.

    With arrays, as a vocabulary may have millions of texts; in pieces, as these take many times what they stand for.
    """
    total = position = 0
    while count:
        piece = np.frombuffer(data[position : position + _PIECE], np.uint8)
        ends = np.flatnonzero(piece < 0x80)[:count]
        if not len(ends):
            return None
        sizes = np.diff(ends, prepend=-1)
        if sizes.max() > MAX_VARINT_BYTES:
            return None
        piece = piece[: ends[-1] + 1]
        places = np.arange(len(piece)) - np.repeat(ends + 1 - sizes, sizes)
        # Each place by itself, in Python's integers: the sum may have more bits than an element of an array.
        total += sum(int((piece[places == p] & 0x7F).sum()) << (7 * p) for p in range(sizes.max()))
        position, count = position + len(piece), count - len(ends)
    return total, position
