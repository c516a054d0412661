"""`hubkeras.batch.Predictor`: a module as a function from columns to columns, which can be sent to other processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hubkeras.batch.columns import take_apart
from hubkeras.batch.loaded_modules import ModuleSource, loaded_module
from hubkeras.errors import HandleError, InputError
from hubkeras.handles.parse import parse_handle
from hubkeras.handles.path_handles import LocalHandle
from hubkeras.handles.registry import find_resolver
from hubkeras.handles.resolver import resolve

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hubkeras.batch.row_signature import RowSignature


class Predictor:
    """A module that takes columns of rows and gives columns, one row for each.

    It pickles to a few hundred bytes, as it holds the handle and not the module. That is loaded by the first call in a
    process and kept there, for all predictors that load it alike and for all threads.

    A column feeds the input of its name. Where a signature has one input and there is one column, its name does not
    matter. Columns that are no inputs come back as they are, in front of the outputs, so that rows keep their keys;
    columns that are inputs do not come back.

    Args:
        handle: As for `hubkeras.load`: a path that every worker sees, or what a cache or a server has. A relative path
            starts where the predictor is made.
        signature: Which one to apply; None for the default one.
        outputs: Name or names of those that are wanted; None for all. Only these are computed. One row of each must
            belong to each row of inputs.
        batch_size: How many rows, from 1 on, one call of the module takes at most. A signature for a fixed number of
            rows takes that many.
        tags: The graph variant; None for the default one.
        arguments: Values for inputs that are the same for all rows, such as a scalar.
        safe_mode: As for `hubkeras.load`.
        allow_ops: As for `hubkeras.load`.

    Raises:
        HandleError: The handle has no known form.
        InputError: `batch_size` is no number of rows.

    Example:
        >>> embed = Predictor("path/to/nnlm", outputs="default")  # doctest: +SKIP
        >>> embed({"id": [7, 8], "default": ["a spicy stew", "fog"]})["default"].shape  # doctest: +SKIP
        (2, 128)

    It does not train, takes no sparse inputs, and does not work in a process that was forked from one where TensorFlow
    was running: TensorFlow would wait there forever, so it raises.
    """

    def __init__(
        self,
        handle: str | os.PathLike[str],
        signature: str | None = None,
        outputs: str | Iterable[str] | None = None,
        batch_size: int = 128,
        *,
        tags: Iterable[str] | None = None,
        arguments: Mapping[str, Any] | None = None,
        safe_mode: bool = True,
        allow_ops: Collection[str] = (),
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(
                "Cannot make a Predictor", expected="batch_size= a whole number from 1 on", received=repr(batch_size)
            )
        tag_set = None if tags is None else frozenset(tags)
        self._source = ModuleSource(_for_all_workers(handle), tag_set, safe_mode, frozenset(allow_ops))
        self.signature = signature
        self.outputs = (outputs,) if isinstance(outputs, str) else None if outputs is None else tuple(outputs)
        self.batch_size = batch_size
        self.arguments = dict(arguments or {})

    @property
    def handle(self) -> str:
        """Where workers find the module."""
        return self._source.handle

    def row_signature(self) -> RowSignature:
        """Returns the signature as it takes rows; loads the module, if this process has not done so."""
        from hubkeras.batch.row_signature import (
            RowSignature,  # imports TensorFlow, which whoever unpickles may not need
        )

        return RowSignature(loaded_module(self._source), self.signature, self.outputs, self.arguments)

    def __call__(self, columns: Any) -> Any:
        """Applies the module to rows.

        Args:
            columns: A dict of arrays or lists of one length, a `pyarrow.Table`, a `pyarrow.RecordBatch`, or a
                `pandas.DataFrame`. A tensor of several axes is an array of them, or a list of lists in each row.

        Returns:
            Rows of the same kind and number, in the same order. In a dict an output is an array, of objects where
            its rows have several shapes; texts are bytes. In a table an output of several axes is a list of lists,
            half precision is float32, and texts are strings.

        Raises:
            InputError: A column is missing, holds no value in some row, or does not fit.
            OutputError: An output does not have one row for each row of inputs.
            SignatureError: There is no such signature.
            WorkerError: TensorFlow failed on some rows, or cannot work in this process.
            HubKerasError: The module cannot be loaded here; the error names the machine.
        """
        rows = take_apart(columns)
        return self.row_signature().apply(rows, self.batch_size)

    def __repr__(self) -> str:
        return (
            f"Predictor({self.handle!r}, signature={self.signature!r}, outputs={self.outputs!r},"
            f" batch_size={self.batch_size})"
        )


def _for_all_workers(handle: str | os.PathLike[str]) -> str:
    """Returns a handle that means the same in another process on another machine."""
    if not isinstance(handle, (str, os.PathLike)):
        raise HandleError(
            "Cannot make a Predictor of something that no other process can load",
            expected="a handle: a path or a URL",
            received=type(handle).__name__,
            fix="Write the module with its export(path), and pass the path",
        )
    if isinstance(handle, str) and find_resolver(handle):  # of this process: the others do not know it
        return resolve(handle)
    parsed = parse_handle(handle)
    return str(parsed.path) if isinstance(parsed, LocalHandle) else parsed.text
