"""Inputs that fit a signature, made up from what it says about them."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hubkeras.functions.tensor_info import ParsedTensorInfo

_SENTENCES = ("the cat sat on the mat", "Words, and more of them!", "", "42")
_ROWS = 2


class _Choice(NamedTuple):
    """What a signature does not say of its inputs, guessed."""

    text: Callable[[], list[bytes]]
    greatest: int
    """The greatest whole number."""
    size: int
    """Of axes of unknown size, but for the first one."""
    rank: int
    """Where it is unknown."""


def generated_inputs(infos: Mapping[str, ParsedTensorInfo]) -> Iterator[dict[str, Any]]:
    """Yields inputs for a signature, the most likely ones first.

    A signature does not tell what texts it takes (sentences, images, numbers), how great numbers may be that it looks
    up, and which sizes it takes along an axis. So whoever asks takes the first inputs that work.

    Args:
        infos: What the signature says about its inputs.
    """
    has_text = any(info.dtype == tf.string for info in infos.values())
    has_whole = any(info.dtype.is_integer for info in infos.values())
    has_unknown = any(info.get_shape().rank is not None and None in info.get_shape()[1:] for info in infos.values())
    has_no_rank = any(info.get_shape().rank is None for info in infos.values())
    texts = (_sentences, _image, _numbers, _example) if has_text else (_sentences,)
    greatest = (9, 1, 0) if has_whole else (1,)
    sizes = (3, 64, 224, 1) if has_unknown else (3,)
    ranks = (1, 2, 4, 0) if has_no_rank else (1,)
    for rank, size, number, text in itertools.product(ranks, sizes, greatest, texts):
        made = _Choice(text, number, size, rank)
        random = np.random.default_rng(1)
        yield {name: _value(info, made, random) for name, info in infos.items()}


def _value(info: ParsedTensorInfo, choice: _Choice, random: np.random.Generator) -> Any:
    shape = info.get_shape()
    if info.is_sparse:
        rank = shape.rank or 2
        dense = [_ROWS if size is None else size for size in (shape.as_list() if shape.rank else [None] * rank)]
        count = min(dense)
        indices = np.repeat(np.arange(count, dtype=np.int64)[:, None], rank, axis=1)
        return tf.SparseTensor(indices, _tensor(info.dtype, [count], choice, random), dense)
    if isinstance(info.type_spec, tf.RaggedTensorSpec):
        return _ragged(info, choice, random)
    return _tensor(info.dtype, _sizes(shape, choice), choice, random)


def _sizes(shape: tf.TensorShape, choice: _Choice) -> list[int]:
    known = [None] * choice.rank if shape.rank is None else shape.as_list()
    return [(_ROWS if axis == 0 else choice.size) if size is None else size for axis, size in enumerate(known)]


def _ragged(info: ParsedTensorInfo, choice: _Choice, random: np.random.Generator) -> Any:
    spec: Any = info.type_spec
    splits, rows = [], info.get_shape()[0] or _ROWS
    for _ in range(spec.ragged_rank):
        lengths = [2 - i % 2 for i in range(rows)]
        splits.append(np.cumsum([0, *lengths]).astype(spec.row_splits_dtype.as_numpy_dtype))
        rows = sum(lengths)
    inner = info.get_shape().as_list()[spec.ragged_rank + 1 :]
    shape = [rows, *(choice.size if size is None else size for size in inner)]
    return tf.RaggedTensor.from_nested_row_splits(_tensor(info.dtype, shape, choice, random), splits)


def _tensor(dtype: tf.DType, shape: Sequence[int], choice: _Choice, random: np.random.Generator) -> tf.Tensor:
    if dtype == tf.string:
        texts = list(itertools.islice(itertools.cycle(choice.text()), math.prod(shape)))
        return tf.constant(texts, tf.string, shape)
    if dtype == tf.bool:
        return tf.constant(random.random(shape) < 0.5)
    if dtype.is_quantized:
        whole = {1: tf.uint8, 2: tf.uint16, 4: tf.int32}[dtype.size]
        return tf.bitcast(tf.constant(random.integers(0, choice.greatest + 1, shape), whole), dtype)
    if dtype.is_integer:
        return tf.cast(random.integers(0, choice.greatest + 1, shape), dtype)
    return tf.cast(random.random(shape), dtype)


def _sentences() -> list[bytes]:
    return [text.encode() for text in _SENTENCES]


def _image() -> list[bytes]:
    pixels = np.random.default_rng(1).integers(0, 256, [32, 32, 3], np.uint8)
    return [tf.io.encode_jpeg(pixels).numpy()]


def _numbers() -> list[bytes]:
    return [b"1", b"2"]


def _example() -> list[bytes]:
    return [tf.train.Example().SerializeToString()]
