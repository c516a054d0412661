"""Files of examples, read batch by batch: columns by name."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubkeras.errors import InputError, MissingFileError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Columns = dict[str, Any]
"""Lists, arrays of numpy or arrays of Arrow, of one length, by name."""


def read_batches(path: str, size: int) -> Iterator[Columns]:
    """Reads a file of examples.

    Args:
        path: An `.npz`, `.jsonl`, `.csv` or `.parquet`.
        size: How many examples a batch holds at most.

    Yields:
        Columns of one batch, at least one of them in all.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is of another kind, not what its name says, or holds no examples.
        UnsupportedError: A package that reads it is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"Cannot find {path}, the file of inputs")
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise InputError(f"Cannot read inputs from {path}", expected=f"a file named {', '.join(_READERS)}")
    is_empty = True
    for columns in reader(file, size):
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise InputError(f"Cannot read {path}", expected="columns of one length", received=str(lengths))
        is_empty = False
        yield columns
    if is_empty:
        raise InputError(f"Cannot read inputs from {path}", expected="examples", received="none")


def _read_npz(path: Path, size: int) -> Iterator[Columns]:
    from hubkeras.conversion.npz_files import read_npz

    try:
        arrays = read_npz(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"Cannot read {path}", expected="an npz file of arrays, without Python objects", received=str(error)
        ) from error
    scalars = [name for name, array in arrays.items() if not array.ndim]
    if scalars:
        raise InputError(f"Cannot read {path}", expected="arrays of examples", received=f"no axis in {scalars}")
    for start in range(0, max((len(array) for array in arrays.values()), default=0), size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


def _read_jsonl(path: Path, size: int) -> Iterator[Columns]:
    with path.open("rb") as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        rows = ((number, _parse_line(path, number, line)) for number, line in numbered)
        yield from _batches(path, rows, size)


def _parse_line(path: Path, number: int, line: bytes) -> Columns:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"Cannot read line {number} of {path}", expected="JSON in UTF-8", received=str(error)
        ) from error
    return value if isinstance(value, dict) else {"value": value}


def _read_csv(path: Path, size: int) -> Iterator[Columns]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            names = list(reader.fieldnames or ())
            if len(set(names)) < len(names):
                raise InputError(f"Cannot read {path}", expected="columns of different names", received=str(names))
            yield from _batches(path, _csv_rows(path, reader, names), size)
        except csv.Error as error:
            raise InputError(f"Cannot read line {reader.line_num} of {path}", received=str(error)) from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"Cannot read {path} after line {reader.line_num}", expected="text in UTF-8", received=str(error)
            ) from error


def _csv_rows(path: Path, reader: csv.DictReader[str], names: list[str]) -> Iterator[tuple[int, Columns]]:
    for row in reader:
        if None in row or None in row.values():  # more values than names, or fewer
            more = len(row.get(None) or ())  # pyright: ignore[reportArgumentType, reportCallIssue]
            found = sum(name is not None and value is not None for name, value in row.items()) + more
            raise InputError(
                f"Cannot read line {reader.line_num} of {path}",
                expected=f"{len(names)} values, for {names}",
                received=str(found),
            )
        yield reader.line_num, row


def _read_parquet(path: Path, size: int) -> Iterator[Columns]:
    parquet = require_parquet()
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=size):
                yield {name: batch.column(place) for place, name in enumerate(batch.schema.names)}
    except (ValueError, OSError) as error:  # pyarrow's errors derive from these
        if isinstance(error, InputError):  # of whoever takes the batches
            raise
        raise InputError(f"Cannot read {path}", expected="a parquet file", received=str(error)) from error


def require_parquet() -> Any:
    """Returns the package that reads and writes parquet files.

    Raises:
        UnsupportedError: It is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UnsupportedError(
            "Cannot use parquet files: pyarrow is not installed", fix="Run: pip install 'hubkeras[parquet]'"
        ) from error
    return parquet


def _batches(path: Path, rows: Iterable[tuple[int, Columns]], size: int) -> Iterator[Columns]:
    iterator = iter(rows)
    names: list[str] | None = None
    while batch := list(itertools.islice(iterator, size)):
        names = list(batch[0][1]) if names is None else names
        for number, row in batch:
            if row.keys() != set(names):
                raise InputError(
                    f"Cannot read line {number} of {path}",
                    expected=f"a value for each of {sorted(names)}, as in the first one",
                    received=str(row)[:200],
                )
        yield {name: [row[name] for _, row in batch] for name in names}


_READERS: dict[str, Callable[[Path, int], Iterator[Columns]]] = {
    ".npz": _read_npz,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
