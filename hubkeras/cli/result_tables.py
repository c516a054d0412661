"""Results on the terminal, readable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from hubkeras.batch.columns import object_array
from hubkeras.cli.class_labels import labels_for
from hubkeras.cli.result_files import as_text, plain, values_of
from hubkeras.cli.verbs import echo
from hubkeras.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS, _BEST = 6, 5


class ResultPrinter:
    """Prints the outputs of each example, and the best labels where there are labels.

    Args:
        labels: Names of classes, empty for none.
    """

    def __init__(self, labels: list[str]) -> None:
        self._labels, self._row = labels, 0

    def write(self, results: dict[str, Any]) -> None:
        """Prints the results of one batch."""
        results = {
            name: column if isinstance(column, np.ndarray) else object_array(values_of(column))
            for name, column in results.items()
        }
        if self._labels and not any(_is_classes(array, self._labels) for array in results.values()):
            shapes = {name: tuple(np.shape(array)) for name, array in results.items()}
            raise InputError(
                f"The {len(self._labels)} labels fit no output",
                expected=f"an output of shape (examples, {len(self._labels)})",
                received=str(shapes),
                fix="Pass --labels with as many lines as there are classes",
            )
        count = max((len(array) for array in results.values()), default=0)
        for row in range(count):
            self._row += 1
            click.echo(f"example {self._row}")
            for name, array in results.items():
                if row < len(array):
                    for line in self._lines(name, array, array[row]):
                        echo(f"  {line}")

    def _lines(self, name: str, array: np.ndarray, value: Any) -> Iterator[str]:
        labels = labels_for(self._labels, array.shape[1]) if _is_classes(array, self._labels) else None
        if labels is None:
            yield f"{name}: {_text(value)}"
            return
        yield f"{name}:"
        for number in np.argsort(value)[::-1][:_BEST]:
            yield f"  {value[number]:.4f}  {labels[number]}"


def _is_classes(array: np.ndarray, labels: list[str]) -> bool:
    numbers = array.dtype.kind == "f" and array.ndim == 2
    return bool(labels) and numbers and labels_for(labels, array.shape[1]) is not None


def _text(value: Any) -> str:
    if isinstance(value, (bytes, str)):
        return as_text(value)
    if isinstance(value, (list, dict)) or np.ndim(value) == 0 or np.asarray(value).dtype == object:
        return json.dumps(plain(value), ensure_ascii=False, default=as_text)
    array = np.asarray(value)
    if array.size <= _NUMBERS:
        return np.array2string(array, precision=4, separator=", ", suppress_small=True).replace("\n", "")
    shown = ", ".join(
        f"{number:.4g}" if array.dtype.kind == "f" else str(number) for number in array.ravel()[:_NUMBERS]
    )
    return f"[{shown}, ...] {array.dtype} of shape {array.shape}"
