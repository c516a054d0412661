"""Rows as engines hand them over: dicts of arrays, Arrow tables, data frames. Taken apart, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hubkeras.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Outputs = dict[str, np.ndarray]
"""Results by the names of outputs, one row for each row of inputs."""


class Rows(Protocol):
    """Rows of one kind."""

    count: int

    @property
    def columns(self) -> Mapping[str, Any]:
        """Columns by name. A slice of one is a column again."""
        ...

    def to_numpy(self, column: Any) -> np.ndarray:
        """Returns a slice of a column."""
        ...

    def first_null(self, column: Any) -> int | None:
        """Returns the first row of a slice without a value."""
        ...

    def combine(self, kept: Iterable[str], outputs: Outputs, kinds: Mapping[str, tuple[np.dtype, int] | None]) -> Any:
        """Returns rows of the same kind.

        Args:
            kept: Names of columns that come first, as they are.
            outputs: The columns that follow them.
            kinds: Of each output the dtype and the number of axes beside that of the rows, None where it is not known.
        """
        ...


def take_apart(given: Any) -> Rows:
    """Returns what was given as rows.

    Args:
        given: A mapping of columns, a `pyarrow.Table`, a `pyarrow.RecordBatch`, or a `pandas.DataFrame`.

    Raises:
        InputError: It is nothing of these, or its columns are not of one length.
    """
    if isinstance(given, Mapping):
        return _Arrays(given)
    kind = type(given)
    if kind.__module__.split(".")[0] == "pyarrow" and hasattr(given, "schema"):
        return _Arrow(given)
    if kind.__module__.split(".")[0] == "pandas" and hasattr(given, "columns"):
        return _Frame(given)
    raise InputError(
        "Cannot read rows",
        expected="a dict of columns, a pyarrow.Table, a pyarrow.RecordBatch or a pandas.DataFrame",
        received=kind.__name__,
    )


class _Arrays:
    def __init__(self, given: Mapping[str, Any]) -> None:
        self.columns: Mapping[str, Any] = {name: as_array(column) for name, column in given.items()}
        without = sorted(name for name, column in self.columns.items() if not column.ndim)
        lengths = {name: len(column) for name, column in self.columns.items() if column.ndim}
        if without or len(set(lengths.values())) > 1:
            raise InputError(
                "Cannot read rows",
                expected="columns of one length",
                received=str(lengths | dict.fromkeys(without, "no length")),
            )
        self.count = next(iter(lengths.values()), 0)

    def to_numpy(self, column: np.ndarray) -> np.ndarray:
        return column

    def first_null(self, column: np.ndarray) -> int | None:
        if isinstance(column, np.ma.MaskedArray):
            return _first(np.ma.getmaskarray(column).reshape(len(column), -1).any(1))
        if column.dtype.kind == "M":
            return _first(np.isnat(column).reshape(len(column), -1).any(1))
        if column.dtype != object:
            return None
        return next((row for row, value in enumerate(column) if _is_null(value)), None)

    def combine(self, kept: Iterable[str], outputs: Outputs, kinds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        del kinds
        return {**{name: self.columns[name] for name in kept}, **outputs}


class _Frame(_Arrays):
    def __init__(self, frame: Any) -> None:
        super().__init__({name: frame[name].to_numpy() for name in frame.columns})
        self._frame = frame

    def combine(self, kept: Iterable[str], outputs: Outputs, kinds: Mapping[str, Any]) -> Any:
        del kinds
        cells = {name: list(array) if array.ndim > 1 else array for name, array in outputs.items()}
        return self._frame[list(kept)].assign(**cells)


class _Arrow:
    def __init__(self, given: Any) -> None:
        from hubkeras.batch import arrow_columns

        arrow_columns.check_columns(given)
        self._arrow, self._given = arrow_columns, given
        self.columns: Mapping[str, Any] = {name: given.column(name) for name in given.schema.names}
        self.count = given.num_rows

    def to_numpy(self, column: Any) -> np.ndarray:
        return self._arrow.to_numpy(column)

    def first_null(self, column: Any) -> int | None:
        return self._arrow.first_null(column)

    def combine(self, kept: Iterable[str], outputs: Outputs, kinds: Mapping[str, tuple[np.dtype, int] | None]) -> Any:
        columns: dict[str, Any] = {name: self.columns[name] for name in kept}
        for name, array in outputs.items():
            kind = kinds[name]
            columns[name] = self._arrow.from_numpy(name, array, self._arrow.value_type(*kind) if kind else None)
        return self._arrow.like(self._given, columns)


def as_array(values: Any) -> np.ndarray:
    """Returns a column as an array; what has no common shape becomes an array of objects."""
    if isinstance(values, np.ndarray):
        return values.astype(object) if values.dtype.kind in "T" else values
    if hasattr(values, "__array__"):
        return as_array(np.asarray(values))
    if isinstance(values, (list, tuple)):
        try:
            array = np.array(values)
        except ValueError:  # rows of several lengths
            array = np.array(None)
        if array.ndim and array.dtype.kind in "biufc":
            return array
        return object_array(values)
    raise InputError("Cannot read a column", expected="an array or a list", received=type(values).__name__)


def object_array(rows: Sequence[Any]) -> np.ndarray:
    """Returns rows as an array of objects."""
    array = np.empty(len(rows), dtype=object)
    # One by one: numpy would make a matrix of rows that happen to have one length.
    for number, row in enumerate(rows):
        array[number] = row
    return array


def _is_null(value: Any) -> bool:
    # pandas writes NaN where a text is missing, and has values of its own for "nothing", which cannot be compared.
    if isinstance(value, float):
        return value != value
    return value is None or type(value).__name__ in {"NAType", "NaTType"}


def _first(rows: Any) -> int | None:
    return int(rows.argmax()) if rows.any() else None
