"""Files of results, written batch by batch beside their place and moved there when they are whole."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hubkeras.cli.row_files import require_parquet
from hubkeras.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Results = dict[str, np.ndarray]
Write = "Callable[[Results], None]"


@contextlib.contextmanager
def result_file(path: str) -> Iterator[Callable[[Results], None]]:
    """Opens a file of results.

    Args:
        path: An `.npz`, `.jsonl` or `.parquet`; one that exists is replaced, once the new one is whole.

    Yields:
        A function that writes the results of one batch: arrays by the names of outputs, all of one length.

    Raises:
        ExportError: The name says no known format, or the folder is not there.
        UnsupportedError: A package that writes it is not installed.
    """
    place = Path(path)
    writer = check_result_path(path)
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        with writer(temporary) as write:
            yield write
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def check_result_path(path: str) -> Callable[[Path], contextlib.AbstractContextManager[Callable[[Results], None]]]:
    """Returns what writes a file of results, before anything is computed for it."""
    place = Path(path)
    writer = _WRITERS.get(place.suffix.lower())
    if writer is None:
        raise ExportError(f"Cannot write results to {path}", expected=f"a file named {', '.join(_WRITERS)}")
    if not place.parent.is_dir():
        raise ExportError(f"Cannot write {path}: there is no folder {place.parent}")
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
                for number, (name, array) in enumerate(results.items()):
                    if array.dtype == object:
                        _require_no_lists(name, array)
                        texts.setdefault(name, []).append(array)
                        continue
                    if name not in files:
                        files[name] = stack.enter_context(Path(folder, str(number)).open("w+b"))
                        heads[name] = array.dtype, array.shape[1:]
                    if heads[name] != (array.dtype, array.shape[1:]):
                        raise ExportError(
                            f"Cannot write the output {name!r} as one array",
                            expected=f"shape {heads[name][1]} in every batch",
                            received=f"shape {array.shape[1:]}",
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


def _require_no_lists(name: str, array: np.ndarray) -> None:
    if any(isinstance(value, list) for value in array):
        raise ExportError(
            f"Cannot write the output {name!r} to an .npz file: it is ragged",
            expected="rows of one length",
            fix="Write a .jsonl or .parquet file",
        )


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
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

        yield write


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Callable[[Results], None]]:
    import pyarrow

    parquet = require_parquet()
    with contextlib.ExitStack() as stack:
        writer: Any = None

        def write(results: Results) -> None:
            nonlocal writer
            table = pyarrow.Table.from_pylist(list(rows_of(results))) if isinstance(results, dict) else results
            if writer is None:
                writer = stack.enter_context(parquet.ParquetWriter(path, table.schema))
            writer.write_table(table.cast(writer.schema))

        yield write


def rows_of(results: Results) -> Iterator[dict[str, Any]]:
    """Yields the results of one example after the other, as what JSON takes."""
    for values in zip(*(array for array in results.values()), strict=True):
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
