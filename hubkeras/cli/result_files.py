"""Files of results, written batch by batch beside their place and moved there when they are whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hubkeras.batch.columns import as_array
from hubkeras.cli.row_files import require_parquet
from hubkeras.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Results = dict[str, Any]
"""Of one batch: arrays of outputs, and arrays, lists, or arrays of Arrow of columns that go with them; by name."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def result_file(path: str) -> Iterator[Callable[[Results], None]]:
    """Opens a file of results.

    Args:
        path: An `.npz`, `.jsonl` or `.parquet`; one that exists is replaced, once the new one is whole.

    Yields:
        A function that writes the results of one batch, all of one length.

    Raises:
        ExportError: The name says no known format, the folder is not there or takes no more, or the results are not of
            one length.
        UnsupportedError: A package that writes it is not installed.
    """
    place = Path(path)
    writer = check_result_path(path)
    try:
        descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    except OSError as error:
        raise ExportError(f"Cannot write {path}", received=str(error)) from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        with writer(temporary) as write:
            yield lambda results: write(_of_one_length(results))
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(place)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ExportError(f"Cannot write {path}", received=str(error), fix="Nothing was left there") from error
    finally:
        temporary.unlink(missing_ok=True)


def _of_one_length(results: Any) -> Any:
    lengths = {name: len(column) for name, column in results.items()} if isinstance(results, dict) else {}
    if len(set(lengths.values())) > 1:
        raise ExportError(
            "Cannot write the results side by side",
            expected="one row of each output for each example",
            received=f"numbers of rows: {lengths}",
            fix="Print them, or call the module in Python",
        )
    return results


def check_result_path(path: str) -> Callable[[Path], contextlib.AbstractContextManager[Callable[[Results], None]]]:
    """Returns what writes a file of results, before anything is computed for it."""
    place = Path(path)
    writer = _WRITERS.get(place.suffix.lower())
    if writer is None:
        raise ExportError(f"Cannot write results to {path}", expected=f"a file named {', '.join(_WRITERS)}")
    if not place.parent.is_dir():
        raise ExportError(f"Cannot write {path}: there is no folder {place.parent}")
    if place.is_dir():
        raise ExportError(f"Cannot write {path}: it is a folder")
    if writer is _parquet:
        require_parquet()
    return writer


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@contextlib.contextmanager
def _npz(path: Path) -> Iterator[Callable[[Results], None]]:
    """Writes raw values to one file for each output, since an array's length stands at its beginning."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".hubkeras-") as folder:
        files: dict[str, IO[bytes]] = {}
        heads: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        texts: dict[str, list[np.ndarray]] = {}
        rows = 0
        with contextlib.ExitStack() as stack:

            def write(results: Results) -> None:
                nonlocal rows
                for number, (name, column) in enumerate(results.items()):
                    array = _for_npz(name, column)
                    if array.dtype == object:
                        texts.setdefault(name, []).append(array)
                        continue
                    if name not in files:
                        files[name] = stack.enter_context(Path(folder, str(number)).open("w+b"))
                        heads[name] = array.dtype, array.shape[1:]
                    if heads[name] != (array.dtype, array.shape[1:]):
                        raise ExportError(
                            f"Cannot write {name!r} as one array",
                            expected=f"{heads[name][0]} of shape {heads[name][1]} in every batch",
                            received=f"{array.dtype} of shape {array.shape[1:]}",
                            fix="Write a .jsonl file",
                        )
                    files[name].write(np.ascontiguousarray(array).data)
                rows += len(next(iter(results.values())))

            yield write
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for name, file in files.items():
                    _copy_array(archive, name, file, heads[name][0], (rows, *heads[name][1]))
                for name, arrays in texts.items():
                    whole = np.concatenate(arrays)
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, whole.astype(np.bytes_), allow_pickle=False)


def _for_npz(name: str, column: Any) -> np.ndarray:
    """Returns a column as an array of numbers, or of objects that are bytes."""
    if not isinstance(column, np.ndarray):
        column = as_array(values_of(column))
    elif column.dtype.kind == "U":
        column = column.astype(object)
    if column.dtype != object:
        return column
    if any(isinstance(value, list) for value in column):
        raise ExportError(
            f"Cannot write {name!r} to an .npz file: it is ragged",
            expected="rows of one length",
            fix="Write a .jsonl or .parquet file",
        )
    texts = np.array([value.encode() if isinstance(value, str) else value for value in column.ravel()], object)
    wrong = next((value for value in texts if not isinstance(value, bytes)), None)
    if any(not isinstance(value, bytes) for value in texts):
        raise ExportError(
            f"Cannot write {name!r} to an .npz file",
            expected="numbers or texts alone",
            received=repr(wrong)[:100],
            fix="Write a .jsonl or .parquet file",
        )
    return texts.reshape(column.shape)


def _copy_array(archive: zipfile.ZipFile, name: str, file: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    file.seek(0)
    descriptor = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_2_0(member, descriptor)  # pyright: ignore[reportArgumentType]
        while block := file.read(1 << 20):
            member.write(block)


@contextlib.contextmanager
def _jsonl(path: Path) -> Iterator[Callable[[Results], None]]:
    with path.open("w", encoding="utf-8") as file:

        def write(results: Results) -> None:
            for row in rows_of(results) if isinstance(results, dict) else results.to_pylist():
                file.write(json.dumps(row, ensure_ascii=False, default=as_text) + "\n")

        yield write


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Callable[[Results], None]]:
    import pyarrow

    parquet = require_parquet()
    with contextlib.ExitStack() as stack:
        writer: Any = None

        def write(results: Results) -> None:
            nonlocal writer
            if isinstance(results, dict):
                table = pyarrow.table({name: _for_arrow(name, column) for name, column in results.items()})
            else:
                table = results
            if writer is None:
                writer = stack.enter_context(parquet.ParquetWriter(path, table.schema))
            try:
                table = table.cast(writer.schema)
            except (pyarrow.ArrowException, ValueError) as error:
                raise ExportError(
                    "Cannot write all results to one .parquet file",
                    expected="columns of the same kinds in every batch",
                    received=str(error),
                    fix="Write a .jsonl file",
                ) from error
            writer.write_table(table)

        yield write


def _for_arrow(name: str, column: Any) -> Any:
    from hubkeras.batch.arrow_columns import from_numpy

    return from_numpy(name, column) if isinstance(column, np.ndarray) else column


def values_of(column: Any) -> list[Any]:
    """Returns a column that is no array of numpy as a list."""
    return column.to_pylist() if hasattr(column, "to_pylist") else list(column)


def as_text(value: Any) -> str:
    """Returns what JSON has no form for, such as a date."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def rows_of(results: Results) -> Iterator[dict[str, Any]]:
    """Yields the results of one example after the other, as what JSON takes."""
    columns = [column if isinstance(column, np.ndarray) else values_of(column) for column in results.values()]
    for values in zip(*columns, strict=True):
        yield {name: plain(value) for name, value in zip(results, values, strict=True)}


def plain(value: Any) -> Any:
    """Returns an array or one of its elements as numbers, texts and lists."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [plain(item) for item in value]
    if isinstance(value, (complex, np.complexfloating)):
        return [value.real.item() if hasattr(value.real, "item") else value.real, float(value.imag)]
    if isinstance(value, np.ndarray) and np.iscomplexobj(value):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


_WRITERS = {".npz": _npz, ".jsonl": _jsonl, ".parquet": _parquet}
