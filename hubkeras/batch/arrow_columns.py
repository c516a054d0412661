"""Columns of Arrow as arrays of numpy, and back.

A tensor of several axes is a list of lists: every reader of Arrow and Parquet knows these, and one column holds rows of
several shapes.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow  # noqa: TID253  (imported by who has tables of it)

from hubkeras.batch.columns import object_array
from hubkeras.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_VALUES = 1 << 30
"""How many values a chunk holds at most: offsets of a list are 32 bits wide."""
_AS_NUMPY = "Give and take dicts of numpy arrays, which hold every output as it is"


def to_numpy(column: Any) -> np.ndarray:
    """Returns a column as an array: lists of one length as further axes, else as an array of objects.

    Args:
        column: An `Array` or `ChunkedArray` without nulls.
    """
    array: Any = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    kind: Any = array.type
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _extension_to_numpy(array)
    if pyarrow.types.is_dictionary(kind):
        return to_numpy(array.dictionary_decode())
    if pyarrow.types.is_fixed_size_list(kind):
        return _stacked(array, kind.list_size)
    if _is_list(kind):
        lengths = array.value_lengths().to_numpy(zero_copy_only=False)
        if len(lengths) and (lengths == lengths[0]).all():
            return _stacked(array, int(lengths[0]))
        return object_array(array.to_pylist())
    return array.to_numpy(zero_copy_only=False)


def _extension_to_numpy(array: Any) -> np.ndarray:
    if hasattr(array, "to_numpy_ndarray"):  # Arrow's own tensors
        return array.to_numpy_ndarray()
    if "tensor" in array.type.extension_name.lower():  # those of Ray, which would make a flat list of the storage
        return array.to_numpy(zero_copy_only=False)
    return to_numpy(array.storage)


def _is_list(kind: Any) -> bool:
    types = pyarrow.types
    tests = (types.is_list, types.is_large_list, types.is_list_view, types.is_large_list_view)
    return any(test(kind) for test in tests)


def _stacked(array: Any, length: int) -> np.ndarray:
    values = to_numpy(array.flatten())  # not `.values`, which ignores where a slice begins
    return values.reshape(len(array), length, *values.shape[1:])


def first_null(column: Any) -> int | None:
    """Returns the first row of a column that has no value, or no value somewhere in its list; None if all have one."""
    if column.null_count:
        return column.is_null().to_pylist().index(True)
    kind = column.type
    if not (_is_list(kind) or pyarrow.types.is_fixed_size_list(kind)):
        return None
    pieces = column.chunks if isinstance(column, pyarrow.ChunkedArray) else [column]
    if all(first_null(piece.flatten()) is None for piece in pieces):
        return None
    return next(row for row in range(len(column)) if first_null(column[row].values) is not None)


def value_type(dtype: np.dtype, axes: int) -> Any:
    """Returns the type of Arrow that `from_numpy` gives the rows of an output.

    Args:
        dtype: Of numpy; objects are texts.
        axes: How many there are beside that of the rows.
    """
    if dtype.kind == "O":
        kind = pyarrow.string()
    elif dtype.kind == "c":
        kind, axes = pyarrow.from_numpy_dtype(np.empty(0, dtype).real.dtype), axes + 1
    else:
        kind = pyarrow.float32() if _is_half(dtype) else pyarrow.from_numpy_dtype(dtype)
    for _ in range(axes):
        kind = pyarrow.list_(kind)
    return kind


def _is_half(dtype: np.dtype) -> bool:
    return dtype.itemsize == 2 and dtype.kind in "fV"  # V: bfloat16, which is not numpy's own


def from_numpy(name: str, array: np.ndarray, kind: Any = None) -> Any:
    """Returns an array as a `ChunkedArray`.

    Args:
        name: Of the output, for messages.
        array: Numbers, or objects that are bytes, lists or arrays. Half precision becomes float32, a complex number a
            list of its two parts, bytes become text: none of these is known to most readers of Arrow.
        kind: The type of a row that is an object; None to find it in the values.

    Raises:
        OutputError: Bytes are no text, or Arrow holds no values of this kind.
    """
    try:
        if array.dtype.kind == "O":
            return pyarrow.chunked_array([pyarrow.array([_plain(value) for value in array.tolist()], kind)])
        if array.dtype.kind == "c":
            array = np.ascontiguousarray(array)[..., None].view(array.real.dtype)
        elif _is_half(array.dtype):
            array = array.astype(np.float32)
        rows = max(1, _MOST_VALUES // max(math.prod(array.shape[1:]), 1))
        pieces = [array[start : start + rows] for start in range(0, max(len(array), 1), rows)]
        return pyarrow.chunked_array([_nested(piece) for piece in pieces])
    except UnicodeDecodeError as error:
        raise OutputError(
            f"Cannot put the output {name!r} into a table",
            expected="text in UTF-8",
            received=repr(error.object[:40]),
            fix=_AS_NUMPY,
        ) from error
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise OutputError(f"Cannot put the output {name!r} into a table", received=str(error), fix=_AS_NUMPY) from error


def _nested(array: np.ndarray) -> Any:
    """Builds lists from the innermost axis out."""
    values: Any = pyarrow.array(np.ascontiguousarray(array).reshape(-1))
    for axis in range(array.ndim - 1, 0, -1):
        offsets = np.arange(math.prod(array.shape[:axis]) + 1) * array.shape[axis]
        values = pyarrow.ListArray.from_arrays(pyarrow.array(offsets, pyarrow.int32()), values)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.tolist() if value.ndim != 1 else value
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    return value


def check_columns(table: Any) -> None:
    """Refuses a table in which a name stands twice, since a dict of its columns would lose one."""
    twice = sorted(name for name, count in Counter(table.schema.names).items() if count > 1)
    if twice:
        raise InputError("Cannot tell the columns of a table apart", expected="names that differ", received=str(twice))


def like(given: Any, columns: Mapping[str, Any]) -> Any:
    """Returns columns as a table, or as one batch if what was given is one."""
    table = pyarrow.table(dict(columns))
    if isinstance(given, pyarrow.Table):
        return table
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pyarrow.RecordBatch.from_pylist([], schema=table.schema)
