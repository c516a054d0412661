"""A signature as it takes rows: which columns feed it, how many rows a call takes, and what becomes of its outputs."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hubkeras.batch.row_values import empty_array, input_value, join, output_array, repeat_last, row_kind
from hubkeras.errors import HubKerasError, InputError, OutputError, UnsupportedError, WorkerError
from hubkeras.modules.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hubkeras.batch.columns import Outputs, Rows
    from hubkeras.functions.tensor_info import ParsedTensorInfo


class RowSignature:
    """A signature that is applied to rows.

    Args:
        module: What `hubkeras.load` returned.
        signature: Name of the signature; None for the default one.
        outputs: Names of those wanted; None for all.
        arguments: Inputs that are the same for all rows.

    Raises:
        SignatureError: There is no such signature.
        OutputError: There is no such output.
        InputError: There is no such input as an argument, or none is left for rows.
        UnsupportedError: An input takes no rows.
    """

    def __init__(
        self, module: Any, signature: str | None, outputs: Sequence[str] | None, arguments: Mapping[str, Any]
    ) -> None:
        self.module, self._arguments = module, arguments
        self.name: str = module.signature_name(signature)
        infos: Mapping[str, ParsedTensorInfo] = module.get_input_info_dict(self.name)
        given: Mapping[str, ParsedTensorInfo] = module.get_output_info_dict(self.name)
        self._where = f"signature {self.name!r} of {module.description.label}"
        _check_names(outputs or (), given, "such output", self._where, OutputError)
        _check_names(arguments, infos, "input for an argument", self._where, InputError)
        self.outputs = {name: given[name] for name in (given if outputs is None else outputs)}
        self.inputs = {name: info for name, info in infos.items() if name not in arguments}
        if not self.inputs:
            raise InputError(f"Cannot apply {self._where} to rows", expected="an input for them", received="none")
        for name, info in self.inputs.items():
            self._check_takes_rows(name, info)

    def _check_takes_rows(self, name: str, info: ParsedTensorInfo) -> None:
        if info.is_composite and not isinstance(info.type_spec, tf.RaggedTensorSpec):
            raise UnsupportedError(
                f"Cannot apply {self._where} to rows: input {name!r} is a {info.type_spec.value_type.__name__}",
                expected="inputs that are dense or ragged",
                fix="Call the module that hubkeras.load returns",
            )
        if info.get_shape().rank == 0:
            raise UnsupportedError(
                f"Cannot apply {self._where} to rows: input {name!r} is a scalar",
                expected="a value that is the same for all rows",
                fix=f"Pass arguments={{{name!r}: ...}}",
            )

    def columns_for(self, names: Sequence[str]) -> dict[str, str]:
        """Returns the column of each input.

        Args:
            names: Of the columns that there are.

        Raises:
            InputError: One is missing.
        """
        if len(self.inputs) == 1 and len(names) == 1:
            return {next(iter(self.inputs)): names[0]}
        missing = sorted(self.inputs.keys() - set(names))
        if missing:
            raise InputError(
                f"Cannot apply {self._where}: no columns are named {missing}",
                expected=f"columns {sorted(self.inputs)}, each named like its input",
                received=f"columns {list(names)}",
                fix="Rename columns",
            )
        return {name: name for name in self.inputs}

    def apply(self, rows: Rows, batch_size: int) -> Any:
        """Returns rows of the same kind with outputs in place of inputs.

        Args:
            rows: What was given.
            batch_size: How many rows a call takes, unless the signature says it.
        """
        columns = self.columns_for(list(rows.columns))
        used = set(columns.values())
        kept = [name for name in rows.columns if name not in used]
        both = sorted(self.outputs.keys() & set(kept))
        if both:
            raise InputError(
                f"Cannot put the outputs of {self._where} beside the columns: both have {both}",
                expected="columns with names of their own",
                fix="Rename the columns, or choose outputs=",
            )
        size = self._fixed_rows() or batch_size
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self.outputs}
        for start in range(0, rows.count, size):
            stop = min(start + size, rows.count)
            values = {name: self._values(rows, name, column, start, stop) for name, column in columns.items()}
            for name, array in self._call(values, start, stop, self._fixed_rows()).items():
                parts[name].append(array)
        outputs = {name: join(arrays) if arrays else empty_array(self.outputs[name]) for name, arrays in parts.items()}
        return rows.combine(kept, outputs, self.kinds)

    @property
    def kinds(self) -> dict[str, tuple[np.dtype, int] | None]:
        """Of each output the dtype of numpy and the number of axes beside that of the rows; None if not known."""
        return {name: row_kind(info) for name, info in self.outputs.items()}

    def _fixed_rows(self) -> int | None:
        """Returns how many rows a call takes, where the signature says it."""
        shapes = [info.get_shape() for info in self.inputs.values()]
        return next((shape[0] for shape in shapes if shape.rank and shape[0] is not None), None)

    def _values(self, rows: Rows, name: str, column: str, start: int, stop: int) -> Any:
        """Returns some rows of a column as the input takes them."""
        info, piece = self.inputs[name], rows.columns[column][start:stop]
        row = rows.first_null(piece)
        array = rows.to_numpy(piece) if row is None else np.empty(0)
        if row is None and array.dtype.kind == "f" and not (info.dtype.is_floating or info.dtype.is_complex):
            # pandas, and Ray where it makes arrays of Arrow, write NaN for "nothing" in a column of integers.
            missing = np.isnan(array).reshape(len(array), -1).any(1)
            row = int(missing.argmax()) if missing.any() else None
        if row is not None:
            self._refuse_null(rows, column, start + row)
        try:
            return input_value(array, info)
        except ValueError as error:
            raise InputError(
                f"Cannot make one batch of rows {start} to {stop - 1} of column {column!r}",
                expected=f"{info.dtype.name} of shape {info.get_shape()}",
                received=str(error),
            ) from error

    def _refuse_null(self, rows: Rows, column: str, row: int) -> None:
        others = [name for name in rows.columns if name != column][:3]
        values = {name: rows.to_numpy(rows.columns[name][row : row + 1]).tolist()[0] for name in others}
        beside = ", ".join(f"{name}={value!r:.40}" for name, value in values.items())
        raise InputError(
            f"Column {column!r} holds no value in row {row} of {rows.count}",
            expected="a value in every row",
            received=f"none beside {beside}" if beside else "none",
            fix="Drop such rows, or fill them",
        )

    def _call(self, values: dict[str, Any], start: int, stop: int, fixed: int | None) -> Outputs:
        count = stop - start
        if fixed is not None and count < fixed:  # the last rows: fill up with one of them
            values = {name: repeat_last(value, fixed - count) for name, value in values.items()}
        inputs = {**values, **self._arguments}
        try:
            if isinstance(self.module, Module):
                found = self.module.apply(inputs, self.name, tuple(self.outputs), watch=False)
            else:
                found = self.module(inputs, signature=self.name, as_dict=True)
            arrays = {name: output_array(found[name]) for name in self.outputs}
        except tf.errors.OpError as error:
            raise WorkerError(
                f"Cannot apply {self._where} to rows {start} to {stop - 1}"
                f" in process {os.getpid()} on {socket.gethostname()}",
                received=f"{type(error).__name__}: {error.message}",
            ) from error
        return {name: self._check_rows(name, array, fixed or count)[:count] for name, array in arrays.items()}

    def _check_rows(self, name: str, array: np.ndarray, count: int) -> np.ndarray:
        if array.ndim and len(array) == count:
            return array
        raise OutputError(
            f"Output {name!r} of {self._where} does not have one row for each row of inputs",
            expected=f"shape ({count}, ...)",
            received=f"shape {array.shape}",
            fix="Choose outputs= without it",
        )


def _check_names(
    names: Iterable[str], known: Mapping[str, Any], what: str, where: str, error: type[HubKerasError]
) -> None:
    wrong = sorted(set(names) - known.keys())
    if wrong:
        raise error(f"There is no {what} in {where}", expected=f"some of {sorted(known)}", received=str(wrong))
