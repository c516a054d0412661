"""Word vectors on the way from a text file to a checkpoint: kept on the disk, a few megabytes of them in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from hubkeras.errors import EmbeddingFileError
from hubkeras.functions.restoring import slice_text
from hubkeras.publishing.embedding_files import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from hubkeras.savedmodel.description import VariableSpec

_BYTES_AT_ONCE = 32 << 20


@dataclass(frozen=True)
class Table:
    """A vocabulary and its vectors, in two files."""

    vocabulary: Path
    """One token a line, the line's number from 0 is the row's."""
    values: Path
    """float32 in the order of the machine, row after row."""
    rows: int
    """With those of the buckets for unknown tokens, which come last and are zeros."""
    width: int

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """Reads a range of rows, in pieces of bounded size.

        Args:
            start: The first row.
            stop: The row behind the last one.

        Yields:
            The number of the first row of each piece, and its values of shape [rows, width].
        """
        most = max(1, _BYTES_AT_ONCE // (4 * self.width))
        with self.values.open("rb") as file:
            file.seek(4 * self.width * start)
            for first in range(start, stop, most):
                count = min(most, stop - first) * self.width
                yield first, np.fromfile(file, np.float32, count).reshape(-1, self.width)


def read_table(file: Path, directory: Path, num_oov_buckets: int, advance: Callable[[int], None]) -> Table:
    """Reads a file of word vectors into a table on the disk.

    Args:
        file: The file, in a form that `embedding_files` knows.
        directory: Where the files of the table come to lie.
        num_oov_buckets: How many rows of zeros to add for tokens that are not in the vocabulary.
        advance: Is told of every further number of bytes that was read.

    Returns:
        The table.

    Raises:
        MissingFileError: There is no such file.
        EmbeddingFileError: It cannot be read, or a token stands there twice.
    """
    vocabulary, values = directory / "tokens.txt", directory / "values"
    hashes: list[np.ndarray] = []
    first_line = width = 0
    with vocabulary.open("wb") as tokens, values.open("wb") as numbers:
        for block in read_rows(file, advance):
            first_line, width = first_line or block.first_line, block.values.shape[1]
            tokens.writelines(token + b"\n" for token in block.tokens)
            block.values.tofile(numbers)
            # Eight bytes a token. Hashes of bytes differ from process to process, but are compared in this one only.
            hashes.append(np.fromiter(map(hash, block.tokens), np.int64, len(block.tokens)))
        # Longer than what was written: the rows of the buckets are zeros that take no time to write.
        numbers.truncate(numbers.tell() + 4 * width * num_oov_buckets)
    _check_distinct(file, vocabulary, np.concatenate(hashes), first_line)
    return Table(vocabulary, values, sum(map(len, hashes)) + num_oov_buckets, width)


def _check_distinct(file: Path, vocabulary: Path, hashes: np.ndarray, first_line: int) -> None:
    """Refuses a token that stands there twice.

    Hashes are compared first: the tokens of a big file, as Python objects, take more memory than its vectors.
    """
    hashes.sort()
    suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not suspects:
        return
    seen: dict[bytes, int] = {}
    with vocabulary.open("rb") as lines:
        for number, line in enumerate(lines, first_line):
            token = line[:-1]
            # Different tokens may have one hash; and `setdefault` gives the line where a token stood first.
            if hash(token) in suspects and seen.setdefault(token, number) != number:
                raise EmbeddingFileError(
                    f"{file}, line {number}, repeats a token",
                    expected="each token once",
                    received=f"{token.decode()!r}, which stands on line {seen[token]}, too",
                    fix="Remove one of the lines",
                )


def save_table(table: Table, parts: Collection[VariableSpec], prefix: Path) -> None:
    """Writes the checkpoint of a module whose only variable is a table.

    Args:
        table: The values.
        parts: The variable, or its parts, along the first axis.
        prefix: Of the checkpoint's files, in a directory of its own.
    """
    # SaveV2 wants all values at once; of slices in files of their own, merged later, only one is in memory.
    shards = []
    for part in parts:
        start = part.partition.offset[0] if part.partition else 0
        for first, values in table.pieces(start, start + part.shape[0]):
            piece = _slice_of(part, first, len(values), table)
            shards.append(str(prefix.with_name(f"piece{len(shards)}")))
            tf.raw_ops.SaveV2(
                prefix=shards[-1],
                tensor_names=[part.checkpoint_name],
                shape_and_slices=[piece],
                tensors=[tf.constant(values)],
            )
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=shards, destination_prefix=str(prefix), delete_old_dirs=False, allow_missing_files=False
    )


def _slice_of(part: VariableSpec, first: int, count: int, table: Table) -> str:
    """Returns how a checkpoint names some rows; empty for a variable as a whole."""
    if count == part.shape[0]:
        return slice_text(part)
    return f"{table.rows} {table.width} {first},{count}:-"


def table_variables(table: Table, sizes: Iterable[int], name: str) -> list[tf.Variable]:
    """Makes variables of a table, without a second copy of it in memory.

    Args:
        table: The values.
        sizes: How many rows each variable has.
        name: Of each variable.

    Returns:
        The variables, in the order of the rows.
    """
    variables, start = [], 0
    for size in sizes:
        variables.append(tf.Variable(tf.zeros([size, table.width]), name=name))
        for first, values in table.pieces(start, start + size):
            # variable[a:b].assign would read the variable first, and so have it copied as a whole
            tf.raw_ops.ResourceStridedSliceAssign(
                ref=variables[-1].handle,
                begin=[first - start],
                end=[first - start + len(values)],
                strides=[1],
                value=values,
            )
        start += size
    return variables
