"""Files of examples, read batch by batch: columns by the names of a signature's inputs."""

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
"""Lists or arrays of one length, by name."""


def read_batches(path: str, size: int, only_input: str | None) -> Iterator[Columns]:
    """Reads a file of examples.

    Args:
        path: An `.npz`, `.jsonl`, `.csv` or `.parquet`.
        size: How many examples a batch holds at most.
        only_input: Name of the only input: of what stands in a file of another or no name.

    Yields:
        Columns of one batch.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is of another kind, or not what its name says.
        UnsupportedError: A package that reads it is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"Cannot find {path}, the file of inputs")
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise InputError(f"Cannot read inputs from {path}", expected=f"a file named {', '.join(_READERS)}")
    for columns in reader(file, size):
        named = {only_input: next(iter(columns.values()))} if only_input and len(columns) == 1 else columns
        lengths = {name: len(column) for name, column in named.items()}
        if len(set(lengths.values())) != 1:
            raise InputError(f"Cannot read {path}", expected="columns of one length", received=str(lengths))
        yield named


def _read_npz(path: Path, size: int) -> Iterator[Columns]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"Cannot read {path}", expected="an npz file of arrays, without Python objects", received=str(error)
        ) from error
    scalars = [name for name, array in arrays.items() if not array.ndim]
    if scalars:
        raise InputError(f"Cannot read {path}", expected="arrays of examples", received=f"no axis in {scalars}")
    for start in range(0, max((len(array) for array in arrays.values()), default=0), size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


def _read_jsonl(path: Path, size: int) -> Iterator[Columns]:
    with path.open(encoding="utf-8") as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        rows = (_parse_line(path, number, line) for number, line in numbered)
        for batch in _batches(rows, size):
            yield _transpose(path, batch)


def _parse_line(path: Path, number: int, line: str) -> Columns:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InputError(f"Cannot read line {number} of {path}", expected="JSON", received=str(error)) from error
    return value if isinstance(value, dict) else {"value": value}


def _read_csv(path: Path, size: int) -> Iterator[Columns]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for batch in _batches(reader, size):
                yield _transpose(path, batch)
        except csv.Error as error:
            raise InputError(f"Cannot read line {reader.line_num} of {path}", received=str(error)) from error


def _read_parquet(path: Path, size: int) -> Iterator[Columns]:
    parquet = require_parquet()
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=size):
                yield batch.to_pydict()
    except (ValueError, OSError) as error:  # pyarrow's errors derive from these
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


def _batches(rows: Iterable[Columns], size: int) -> Iterator[list[Columns]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _transpose(path: Path, rows: list[Columns]) -> Columns:
    names = rows[0].keys()
    for row in rows:
        if row.keys() != names or None in row.values():
            raise InputError(
                f"Cannot read {path}",
                expected=f"a value for each of {sorted(names)} in every row",
                received=str(row)[:200],
            )
    return {name: [row[name] for row in rows] for name in names}


_READERS: dict[str, Callable[[Path, int], Iterator[Columns]]] = {
    ".npz": _read_npz,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
