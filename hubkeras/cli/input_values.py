"""What stands behind `--input` and in files of examples, made what a signature asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hubkeras.errors import HubKerasError, InputError, MissingFileError, UnsupportedError
from hubkeras.modules.images import get_expected_image_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hubkeras.functions.tensor_info import ParsedTensorInfo

_IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".bmp")


class InputValues:
    """Makes values for the inputs of one signature.

    Args:
        module: The loaded module.
        signature: Name of the signature.
    """

    def __init__(self, module: Any, signature: str) -> None:
        self._module, self._signature = module, signature
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
                f"There is no input {name!r} in signature {self._signature!r}",
                expected=f"one of {sorted(self.infos)}",
                fix="`hubkeras show` prints signatures with their inputs",
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
        return (
            array if info.dtype == tf.string or array.dtype != np.float64 else array.astype(info.dtype.as_numpy_dtype)
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
            return np.load(path, allow_pickle=False)
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
            raise InputError(f"Cannot decode the image {path}", received=error.message) from error
        try:
            size = get_expected_image_size(self._module, self._signature, name)
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
