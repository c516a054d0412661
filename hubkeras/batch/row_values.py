"""Values of rows: arrays as inputs take them, and outputs as arrays with one row for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hubkeras.batch.columns import object_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hubkeras.functions.tensor_info import ParsedTensorInfo


def input_value(array: np.ndarray, info: ParsedTensorInfo) -> Any:
    """Returns rows of a column as an input takes them.

    Args:
        array: The rows; objects are texts, or lists and arrays.
        info: What the signature says about the input.

    Raises:
        ValueError: Rows that must have one shape have several.
    """
    spec = info.type_spec
    if isinstance(spec, tf.RaggedTensorSpec):
        splits = spec.row_splits_dtype.as_numpy_dtype
        return tf.ragged.constant(_lists(array), info.dtype, spec.ragged_rank, row_splits_dtype=splits)
    if array.dtype != object or isinstance(array[0], (str, bytes)):
        return array
    kind = object if info.dtype == tf.string else None
    return np.stack([np.asarray(value, dtype=kind) for value in array])


def _lists(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def repeat_last(value: Any, times: int) -> Any:
    """Returns the rows of an input with the last one once more, so many times."""
    return tf.concat([value, *[value[-1:]] * times], 0)


def output_array(value: Any) -> np.ndarray:
    """Returns an output as an array: dense where it is sparse, of lists where it is ragged."""
    if isinstance(value, tf.SparseTensor):
        value = tf.sparse.to_dense(value)
    if isinstance(value, tf.RaggedTensor):
        return object_array(value.to_list())
    return np.asarray(value.numpy())


def join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the rows of several calls as one array, of objects where their shapes differ."""
    if len({array.shape[1:] for array in arrays}) == 1:
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return object_array([row for array in arrays for row in array])


def numpy_dtype(info: ParsedTensorInfo) -> np.dtype:
    """Returns the dtype that an output has as an array."""
    return np.dtype(object if info.dtype == tf.string else info.dtype.as_numpy_dtype)


def row_kind(info: ParsedTensorInfo) -> tuple[np.dtype, int] | None:
    """Returns an output's dtype and its number of axes beside that of the rows, None where the signature has none."""
    rank = info.get_shape().rank
    return (numpy_dtype(info), rank - 1) if rank else None


def empty_array(info: ParsedTensorInfo) -> np.ndarray:
    """Returns what an output is of no rows."""
    shape = info.get_shape()
    axes = [length or 0 for length in shape[1:]] if shape.rank and not info.is_composite else []
    return np.empty((0, *axes), numpy_dtype(info))
