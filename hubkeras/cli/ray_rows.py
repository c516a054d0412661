"""`hubkeras run --engine ray`: the rows of a file, computed by the actors of Ray, in the order of the file."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow  # noqa: TID253  (Ray Data is built on it)
import ray  # noqa: TID253
import tensorflow as tf
from ray.data import DataContext, Datasource, ReadTask, read_datasource  # noqa: TID253
from ray.data.block import BlockMetadata  # noqa: TID253

from hubkeras.batch import Predictor, arrow_columns
from hubkeras.batch.ray_data import error_of_worker, map_batches
from hubkeras.cli.input_values import InputValues
from hubkeras.cli.row_files import read_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BLOCK_BYTES = 2 << 20
"""How much of a file an actor gets at once. A block is what Ray spreads, repeats and keeps in order."""


def ray_batches(predictor: Predictor, path: str) -> Iterator[pyarrow.Table]:
    """Computes the rows of a file.

    Uses the cluster that `RAY_ADDRESS` names, or that this process has joined; else the CPUs of this machine.

    Args:
        predictor: What to apply; the order of rows is kept.
        path: Of the file. This machine reads it, so no other one has to see it.

    Yields:
        Tables of the columns that are no inputs, and the outputs.

    Raises:
        HubKerasError: A worker could not compute its rows.
    """
    with _joined_cluster(), _settings():
        rows = read_datasource(_RowFile(path, predictor.batch_size))
        computed = map_batches(rows, predictor)
        try:
            yield from computed.iter_batches(batch_size=None, batch_format="pyarrow")
        except ray.exceptions.RayError as error:
            raise error_of_worker(error) or error from None


@contextlib.contextmanager
def _joined_cluster() -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers, over the network
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    """Keeps the order of rows, and Ray's bars and log lines off the terminal."""
    context, logger = DataContext.get_current().copy(), logging.getLogger("ray.data")
    context.execution_options.preserve_order = True
    context.target_max_block_size = _BLOCK_BYTES
    context.enable_progress_bars = context.print_on_execution_start = False
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with DataContext.current(context):
            yield
    finally:
        logger.setLevel(level)


class _RowFile(Datasource):
    """A file of examples, as `hubkeras run` reads it everywhere."""

    def __init__(self, path: str, size: int) -> None:
        super().__init__()
        self._path, self._size = os.path.abspath(path), size  # noqa: PTH100  (resolve() would follow links)

    @property
    def supports_distributed_reads(self) -> bool:
        return False

    def estimate_inmemory_data_size(self) -> int:
        return os.stat(self._path).st_size  # noqa: PTH116

    def get_read_tasks(self, parallelism: int, *limits: Any, **more: Any) -> list[ReadTask]:
        del parallelism, limits, more
        path, size = self._path, self._size
        metadata = BlockMetadata(
            num_rows=None, size_bytes=self.estimate_inmemory_data_size(), input_files=(path,), exec_stats=None
        )
        return [ReadTask(lambda: map(pyarrow.table, read_batches(path, size)), metadata)]


class FilePredictor(Predictor):
    """Takes rows of a file, which may say in text what an input takes as numbers or images.

    Args:
        *arguments: As for `Predictor`.
        feeds: By the names of inputs, columns that are called otherwise.
        **options: As for `Predictor`.
    """

    def __init__(self, *arguments: Any, feeds: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._feeds = dict(feeds)

    def __call__(self, columns: pyarrow.Table) -> pyarrow.Table:
        """Applies the module to a table."""
        table, signature = columns, self.row_signature()
        values = InputValues(signature.module, signature.name)
        for name, column in values.columns_for(table.column_names, self.arguments, self._feeds).items():
            place = table.schema.get_field_index(column)
            piece = table.column(place)
            if signature.inputs[name].dtype != tf.string and _is_text(table.schema.types[place]):
                array = np.asarray(values.tensor(name, piece.to_pylist(), typed=False))
                piece = arrow_columns.from_numpy(name, array)
            table = table.set_column(place, name, piece)
        return super().__call__(table)


def _is_text(kind: pyarrow.DataType) -> bool:
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
