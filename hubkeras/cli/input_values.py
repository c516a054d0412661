"""What stands behind `--input` and in files of examples, made what a signature asks for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hubkeras.errors import HubKerasError, InputError, MissingFileError, UnsupportedError
from hubkeras.modules.images import get_expected_image_size

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hubkeras.functions.tensor_info import ParsedTensorInfo

_IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
_NODE = re.compile(r"\{\{[^}]*\}\} *| *\[Op:\w*\]")
"""What TensorFlow says of its own parts in a message."""


class InputValues:
    """Makes values for the inputs of one signature.

    Args:
        module: The loaded module.
        signature: Name of the signature.
    """

    def __init__(self, module: Any, signature: str) -> None:
        self._module, self.signature = module, signature
        self.infos: Mapping[str, ParsedTensorInfo] = module.get_input_info_dict(signature)
        composite = [
            name for name, info in self.infos.items() if info.is_sparse or (info.is_composite and not _is_ragged(info))
        ]
        if composite:
            raise UnsupportedError(
                f"Cannot run signature {signature!r} here: {composite} are sparse or composite tensors",
                fix="Call the module in Python; `hubkeras show` prints how",
            )

    @property
    def only_input(self) -> str | None:
        """Name of the only input, None if there are others."""
        return next(iter(self.infos)) if len(self.infos) == 1 else None

    def is_batched(self, name: str) -> bool:
        """Tells whether an input takes any number of examples."""
        shape = self.infos[name].get_shape()
        return shape.rank is None or (shape.rank > 0 and shape[0] is None)

    def parse(self, texts: Sequence[str]) -> dict[str, list[Any]]:
        """Returns what the `--input NAME=VALUE`s say, one list per input, in their order.

        Raises:
            InputError: One has no name, or the name of no input.
        """
        given: dict[str, list[Any]] = {}
        for text in texts:
            name, sign, value = text.partition("=")
            if not sign:
                raise InputError("Cannot read --input", expected="NAME=VALUE", received=repr(text))
            if name not in self.infos and self.only_input is not None:
                name = self.only_input
            self.require(name)
            given.setdefault(name, []).append(value)
        return given

    def require(self, name: str) -> None:
        """Refuses what is no name of an input."""
        if name not in self.infos:
            raise InputError(
                f"There is no input {name!r} in signature {self.signature!r}",
                expected=f"one of {sorted(self.infos)}",
                fix="`hubkeras show` prints signatures with their inputs",
            )

    def columns_for(self, columns: Sequence[str], given: Collection[str], feeds: Mapping[str, str]) -> dict[str, str]:
        """Returns the column that feeds each input.

        Args:
            columns: Names of what a file holds.
            given: Names of inputs that stand on the command line.
            feeds: By the names of inputs, columns that are called otherwise.

        Raises:
            InputError: An input has no column or two values, or there is no such input or column.
        """
        for name in feeds:
            self.require(name)
        wanted = [name for name in self.infos if name not in given]
        chosen = {name: name for name in self.infos if name in columns} | dict(feeds)
        if not chosen and len(wanted) == len(columns) == 1:
            chosen = {wanted[0]: columns[0]}
        renamed = {name for name, column in feeds.items() if name in columns and column != name}
        twice = sorted(chosen.keys() & set(given) | renamed)
        if twice:
            raise InputError(
                f"Cannot tell which values the inputs {twice} take",
                expected="a column of that name, --column, or --input",
                received="two of these",
            )
        missing = [name for name in wanted if name not in chosen or chosen[name] not in columns]
        if missing or not chosen:
            raise InputError(
                f"No columns feed {f'the inputs {missing}' if missing else 'an input'} of signature {self.signature!r}",
                expected=f"columns {sorted(wanted)}, each named like its input",
                received=f"columns {list(columns)}",
                fix=f"Say which one with --column {missing[0]}=NAME" if missing else "Leave an input to the file",
            )
        return chosen

    def refuse_names(self, columns: Collection[str], outputs: Collection[str]) -> None:
        """Refuses columns that have the names of outputs, which stand beside them in the result."""
        both = sorted(set(columns) & set(outputs))
        if both:
            raise InputError(
                f"Cannot put the outputs of signature {self.signature!r} beside the columns: both have {both}",
                expected="columns with names of their own",
                fix="Rename the columns",
            )

    def tensor(self, name: str, values: Any, *, typed: bool) -> Any:
        """Makes the tensor of an input.

        Args:
            name: Of the input.
            values: An array, or a list of examples: numbers, texts, nested lists of these, texts of JSON, or `@file`.
            typed: Whether they stood on the command line. Texts of a file may begin with an "@" of their own.

        Raises:
            InputError: A value does not fit.
            MissingFileError: A file is not there.
        """
        info = self.infos[name]
        if isinstance(values, np.ndarray) and values.dtype != object:
            return _encoded(values) if info.dtype == tf.string else values
        examples = [self._example(name, info, value, typed) for value in values]
        if _is_ragged(info):
            return self._ragged(name, info, examples)
        if not self.is_batched(name):
            rank = info.get_shape().rank or 0
            whole = np.asarray(examples[0]) if len(examples) == 1 else None
            if whole is not None and whole.ndim == rank:
                examples = examples[0]
        return self._stack(name, info, examples)

    def _ragged(self, name: str, info: ParsedTensorInfo, examples: list[Any]) -> tf.RaggedTensor:
        try:
            return tf.ragged.constant(examples, dtype=info.dtype)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"Cannot read input {name!r}",
                expected=f"for each example a list of {info.dtype.name}, nested as in shape {info.get_shape()}",
                received=str(examples)[:200],
            ) from error

    def _stack(self, name: str, info: ParsedTensorInfo, examples: Any) -> Any:
        shapes = {np.shape(example) for example in examples} if isinstance(examples, list) else set()
        if len(shapes) > 1:
            raise InputError(
                f"Cannot put the examples of input {name!r} into one batch",
                expected="examples of one shape",
                received=", ".join(map(str, sorted(shapes))),
                fix="Run them one by one (--batch 1)",
            )
        rank = info.get_shape().rank
        array = np.array(examples, dtype=object if info.dtype == tf.string else None)
        if rank is not None and array.ndim == rank + 1 and array.shape[0] == 1:
            array = array[0]  # a whole batch, given as one value
        if array.dtype == object and info.dtype != tf.string:
            raise InputError(f"Cannot read input {name!r}", expected=info.dtype.name, received=str(examples)[:200])
        # Not to whole numbers: what stands behind the point would be lost, so the module refuses it.
        return (
            array.astype(info.dtype.as_numpy_dtype) if array.dtype == np.float64 and info.dtype.is_floating else array
        )

    def _example(self, name: str, info: ParsedTensorInfo, value: Any, typed: bool) -> Any:
        if isinstance(value, str) and value.startswith("@") and (typed or info.dtype != tf.string):
            return self._file(name, info, Path(value[1:]))
        if info.dtype == tf.string:
            rank = info.get_shape().rank
            nested = isinstance(value, str) and value.startswith("[") and (_is_ragged(info) or (rank or 0) > 1)
            return self._parse_json(name, value) if nested else value
        return self._parse_json(name, value) if isinstance(value, str) else value

    def _parse_json(self, name: str, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise InputError(
                f"Cannot read input {name!r}",
                expected=f"{self.infos[name].dtype.name} of shape {self.infos[name].get_shape()}, as JSON, or @file",
                received=repr(text[:200]),
            ) from error

    def _file(self, name: str, info: ParsedTensorInfo, path: Path) -> Any:
        if not path.is_file():
            raise MissingFileError(f"Cannot find {path}, a value of input {name!r}")
        if path.suffix.lower() == ".npy":
            try:
                return np.load(path, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise InputError(f"Cannot read {path} for input {name!r}", received=str(error)) from error
        if info.dtype == tf.string:
            return path.read_bytes()
        if path.suffix.lower() in _IMAGES:
            return self._image(name, info, path)
        raise InputError(
            f"Cannot read {path} for input {name!r}, {info.dtype.name} of shape {info.get_shape()}",
            expected=f"a file named .npy, {', '.join(_IMAGES)}",
        )

    def _image(self, name: str, info: ParsedTensorInfo, path: Path) -> np.ndarray:
        """Decodes an image and makes it as large as the signature expects, with floats from 0 to 1."""
        shape = info.get_shape()
        channels = shape[-1] if shape.rank == 4 and shape[-1] in (1, 3) else 3
        try:
            image = tf.io.decode_image(path.read_bytes(), channels=channels, expand_animations=False)
        except tf.errors.InvalidArgumentError as error:
            raise InputError(f"Cannot decode the image {path}", received=_NODE.sub("", error.message)) from error
        try:
            size = get_expected_image_size(self._module, self.signature, name)
        except HubKerasError:
            size = None  # the module takes images of any size
        if info.dtype.is_floating:
            image = tf.image.convert_image_dtype(image, tf.float32)
        if size is not None:
            image = tf.image.resize(tf.cast(image, tf.float32), size, antialias=True)
        if not info.dtype.is_floating:
            image = tf.round(tf.cast(image, tf.float32))
        return tf.cast(image, info.dtype).numpy()


def _is_ragged(info: ParsedTensorInfo) -> bool:
    return isinstance(info.type_spec, tf.RaggedTensorSpec)


def _encoded(values: np.ndarray) -> np.ndarray:
    """Returns texts as TensorFlow takes them."""
    return values if values.dtype.kind == "S" else np.char.encode(values.astype(np.str_), "utf-8")
