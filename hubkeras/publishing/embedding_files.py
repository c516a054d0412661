"""Files of word vectors in text form, read line by line: `token v1 … vN`.

GloVe writes just that. fastText (`.vec`) and word2vec (text output) write a line `<rows> <width>` before it, and a
space at the end of each row. Tokens are UTF-8, and may hold spaces, as some of GloVe's do.
"""

from __future__ import annotations

import gzip
import io
import itertools
import re
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hubkeras.errors import EmbeddingFileError, MissingFileError
from hubkeras.handles.gzip_stream import GZIP_MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BYTES_OF_VALUES = 4 << 20
_MOST_ROWS = 1 << 14
_LONGEST_LINE = 8 << 20
_HEADER = re.compile(rb"\s*(\d{1,18})\s+([1-9]\d{0,17})\s*")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_ARCHIVES = {b"PK\3\4": "zip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, in their order."""

    tokens: list[bytes]
    values: np.ndarray
    """float32 of shape [rows, width]."""
    first_line: int
    """Number of the first row's line, from 1."""


def read_rows(path: Path, advance: Callable[[int], None]) -> Iterator[Rows]:
    """Reads a file of word vectors, plain or packed with gzip, a few megabytes at a time.

    Args:
        path: The file.
        advance: Is reported of every further number of bytes that was read from the disk.

    Yields:
        The rows, all of one width.

    Raises:
        MissingFileError: There is no such file.
        EmbeddingFileError: It is empty or damaged, or holds a row that does not fit; the message has the line's number.

    It does not notice a token that stands there twice.
    """
    with _opened(path, advance) as lines:
        first = next(lines, b"")
        header = _HEADER.fullmatch(first)
        if header:
            yield from _announced_rows(path, lines, int(header[1]), int(header[2]))
            return
        if not first.strip():
            raise EmbeddingFileError(f"{path} holds no word vectors", expected="lines of a token and its numbers")
        width = _width(first)
        if width < 1:
            raise _refused(path, 1, "a token and its numbers, or a header of two whole numbers", _shown(first))
        yield from _blocks(path, enumerate(itertools.chain([first], lines), 1), width, "as in line 1")


def _announced_rows(path: Path, lines: Iterator[bytes], rows: int, width: int) -> Iterator[Rows]:
    """Gives the rows below a header, and counts them."""
    count = 0
    for block in _blocks(path, enumerate(lines, 2), width, "as line 1 says"):
        count += len(block.tokens)
        yield block
    if not rows == count > 0:
        raise EmbeddingFileError(
            f"{path} does not hold what its first line says",
            expected=f"{rows} rows of {width} numbers",
            received=f"{count} rows",
            fix="Fetch the file again if it is cut, or correct its first line",
        )


def _blocks(path: Path, lines: Iterator[tuple[int, bytes]], width: int, why: str) -> Iterator[Rows]:
    """Gives the rows on numbered lines; empty lines may stand only behind the last one."""
    most = max(1, min(_MOST_ROWS, _BYTES_OF_VALUES // (4 * max(width, 1))))
    while chunk := list(itertools.islice(lines, most)):
        filled = [(number, line) for number, line in chunk if line.strip()]
        if len(filled) < len(chunk):
            _check_is_end(path, chunk, lines)
        if not filled:
            return
        yield _block(path, filled, width, why)


def _check_is_end(path: Path, chunk: list[tuple[int, bytes]], rest: Iterator[tuple[int, bytes]]) -> None:
    blank = 0
    for number, line in itertools.chain(chunk, rest):
        if not line.strip():
            blank = blank or number
        elif blank:
            raise _refused(path, blank, "a token and its numbers", "an empty line, with further rows below it")


def _block(path: Path, lines: list[tuple[int, bytes]], width: int, why: str) -> Rows:
    tokens: list[bytes] = []
    values = np.empty((0, 0), np.float32)
    with np.errstate(over="ignore"):  # _check_values sees the infinity
        for number, line in lines:
            row = _row(line, width)
            if row is None:
                raise _refused(path, number, f"a token and {width} numbers, {why}", _complaint(line, width))
            if not tokens:  # not before a row was that wide: a header may announce anything
                values = np.empty((len(lines), width), np.float32)
            values[len(tokens)] = row[1]
            tokens.append(row[0])
    _check_values(path, values, lines)
    _check_tokens(path, tokens, lines)
    return Rows(tokens, values, lines[0][0])


def _row(line: bytes, width: int) -> tuple[bytes, list[float]] | None:
    """Splits a line into its token and its numbers; None if it is no row of this width.

    A token may hold spaces, but not end in a number of its own: such a row is one that is too wide.
    """
    # From the end, since the token may hold spaces. Python reads 1_0 as a number, which no file means by it.
    token, *fields = line.rsplit(None, width)
    if len(fields) != width or (b"_" in line and any(b"_" in field for field in fields)):
        return None
    words = token.split()
    if len(words) > 1 and _NUMBER.fullmatch(words[-1]):
        return None
    try:
        return token.lstrip(), [*map(float, fields)]
    except ValueError:
        return None


def _width(line: bytes) -> int:
    """Counts the numbers at the end of a line, of which the first is the token if nothing else is."""
    fields = line.split()
    # The width is known only from this line, and "1 2 3" has a token, too.
    numbers = itertools.takewhile(_NUMBER.fullmatch, reversed(fields))
    return min(sum(1 for _ in numbers), len(fields) - 1)


def _complaint(line: bytes, width: int) -> str:
    fields = line.split()
    if len(fields) == width + 1:
        wrong = next((field for field in fields[1:] if not _NUMBER.fullmatch(field)), b"")
        return f"{_shown(wrong)}, which is no number"
    return f"{_width(line)} numbers in {_shown(line)}"


def _check_values(path: Path, values: np.ndarray, lines: list[tuple[int, bytes]]) -> None:
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        number, line = lines[int(np.argmin(finite))]
        raise _refused(path, number, "finite numbers of float32", _shown(line))


def _check_tokens(path: Path, tokens: list[bytes], lines: list[tuple[int, bytes]]) -> None:
    for token, (number, _) in zip(tokens, lines, strict=True):
        try:
            token.decode()
        except UnicodeDecodeError as error:
            raise _refused(path, number, "a token in UTF-8", f"{_shown(token)} ({error.reason})") from error
        if b"\r" in token or b"\0" in token:
            raise _refused(path, number, "a token without control characters", _shown(token))


def _shown(text: bytes) -> str:
    """Shows some bytes for an error."""
    text = text.strip()
    shown = repr(text[:60].decode("utf-8", "backslashreplace"))
    return f"{shown} …" if len(text) > 60 else shown


def _refused(path: Path, number: int, expected: str, received: str) -> EmbeddingFileError:
    return EmbeddingFileError(f"{path}, line {number}, is no row of the table", expected=expected, received=received)


@contextmanager
def _opened(path: Path, advance: Callable[[int], None]) -> Iterator[Iterator[bytes]]:
    """Opens a file and gives its lines."""
    try:
        with path.open("rb") as file:
            head = file.peek(8)
            packing = next((name for magic, name in _OTHER_ARCHIVES.items() if head.startswith(magic)), "")
            if packing:
                raise EmbeddingFileError(
                    f"{path} is packed with {packing}",
                    expected="text, plain or packed with gzip",
                    fix="Unpack it first",
                )
            packed = gzip.GzipFile(fileobj=file) if head.startswith(GZIP_MAGIC) else None
            yield _lines(path, io.BufferedReader(packed, 1 << 20) if packed else file, file, advance)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise EmbeddingFileError(f"{path} is damaged or cut", received=str(error), fix="Fetch it again") from error
    except FileNotFoundError as error:
        raise MissingFileError(f"Cannot find the file of word vectors {path}") from error
    except OSError as error:
        raise EmbeddingFileError(f"Cannot read {path}", received=str(error)) from error


def _lines(
    path: Path, file: io.BufferedReader, disk: io.BufferedReader, advance: Callable[[int], None]
) -> Iterator[bytes]:
    reported = number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if len(line) == _LONGEST_LINE:
            raise _refused(path, number, f"a line shorter than {_LONGEST_LINE} bytes", _shown(line))
        # What was read from the disk, not what was unpacked: the file's size is all that is known beforehand.
        if disk.tell() - reported >= _BYTES_OF_VALUES:
            advance(disk.tell() - reported)
            reported = disk.tell()
        yield line
    advance(disk.tell() - reported)
