"""`hubkeras run` in this process: examples of the command line or of a file, computed batch by batch."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from hubkeras.batch.row_values import output_array
from hubkeras.cli.row_files import read_batches
from hubkeras.errors import InputError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from hubkeras.cli.input_values import InputValues


class _Examples(NamedTuple):
    """What one call of the module takes, and what is written beside its outputs."""

    inputs: Mapping[str, Any]
    others: Mapping[str, Any]
    place: str
    """Which examples of a file, for messages."""


def local_results(
    module: Any, values: InputValues, given: Sequence[str], file: str | None, feeds: Mapping[str, str], size: int
) -> Iterator[dict[str, Any]]:
    """Computes examples.

    Args:
        module: The loaded module.
        values: Makes the values of the signature's inputs.
        given: `NAME=VALUE`s.
        file: A file of examples.
        feeds: By the names of inputs, columns of the file that are called otherwise.
        size: How many examples a call takes at most.

    Yields:
        For each batch the columns of the file that are no inputs, and one array per output, whose first axis are the
        examples where the inputs have one.

    Raises:
        InputError: Something given does not fit; of a file, the message says which examples.
        WorkerError: TensorFlow failed on some examples.
    """
    columns = values.parse(given)
    if file:
        fixed, batches = columns, _examples_of_file(values, columns, file, feeds, size)
    else:
        fixed = {name: column for name, column in columns.items() if not values.is_batched(name)}
        batches = _given_examples({n: c for n, c in columns.items() if n not in fixed}, size)
    for inputs, others, place in batches:
        with _named_place(place):
            tensors = {name: values.tensor(name, column, typed=True) for name, column in fixed.items()}
            tensors |= {name: values.tensor(name, column, typed=not file) for name, column in inputs.items()}
            outputs = _apply(module, values.signature, tensors)
            values.refuse_names(others, outputs)
        yield {**others, **outputs}


def _given_examples(columns: Mapping[str, list[Any]], size: int) -> Iterator[_Examples]:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError("Cannot pair the inputs", expected="as many values for each", received=str(lengths))
    for start in range(0, next(iter(lengths.values()), 1), size):
        yield _Examples({name: column[start : start + size] for name, column in columns.items()}, {}, "")


def _examples_of_file(
    values: InputValues, given: Mapping[str, Any], file: str, feeds: Mapping[str, str], size: int
) -> Iterator[_Examples]:
    start = 0
    for columns in read_batches(file, size):
        used = values.columns_for(list(columns), given, feeds)
        others = {name: column for name, column in columns.items() if name not in used.values()}
        inputs = {name: _plain(columns[column]) for name, column in used.items()}
        for name, column in inputs.items():
            if isinstance(column, list) and None in column:
                raise InputError(
                    f"Column {used[name]!r} of {file} holds no value in example {start + column.index(None) + 1}",
                    expected="a value in every row",
                    fix="Drop such rows, or fill them",
                )
        stop = start + len(next(iter(columns.values())))
        yield _Examples(inputs, others, f"Examples {start + 1} to {stop} of {file}")
        start = stop


def _plain(column: Any) -> Any:
    return column.to_pylist() if hasattr(column, "to_pylist") else column


@contextlib.contextmanager
def _named_place(place: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        if not place:
            raise
        raise InputError(f"{place}: {error.message}") from error
    except tf.errors.OpError as error:
        raise WorkerError(
            f"Cannot apply the module{f' to {place[0].lower()}{place[1:]}' if place else ''}",
            received=f"{type(error).__name__}: {error.message}",
        ) from error


def _apply(module: Any, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    outputs = module(inputs, signature=signature, as_dict=True)
    arrays = {name: output_array(value) for name, value in sorted(outputs.items())}
    return {name: array if array.ndim else array.reshape(1) for name, array in arrays.items()}
