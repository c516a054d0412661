"""Spark: a module applied to a data frame, or as a function in expressions (`pip install 'hubkeras[spark]'`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hubkeras.errors import OutputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hubkeras.batch.predictor import Predictor
    from hubkeras.functions.tensor_info import ParsedTensorInfo

_SIGNED = {"uint8": "int16", "uint16": "int32", "uint32": "int64"}
"""Spark has no unsigned integers; these hold the same values."""
_TYPES = {
    "bool": "BooleanType",
    "int8": "ByteType",
    "int16": "ShortType",
    "int32": "IntegerType",
    "int64": "LongType",
    "float": "FloatType",
    "double": "DoubleType",
    "string": "StringType",
}
"""Of Spark, by the names of Arrow's."""


def with_outputs(frame: Any, predictor: Predictor) -> Any:
    """Applies a module to every row of a data frame, by `DataFrame.mapInArrow`.

    Each Python worker loads the module once. Spark computes the rows of a worker that dies again, as often as
    `spark.task.maxFailures` says (on one machine that is never, unless the master is such as `local[2,4]`).

    Args:
        frame: A `pyspark.sql.DataFrame`, whose columns are named like the inputs.
        predictor: What to apply. This process loads the module, too, as Spark must know the columns beforehand.

    Returns:
        A `pyspark.sql.DataFrame` of the columns that are no inputs, and the outputs.

    Raises:
        OutputError: The signature does not say what an output looks like.
        UnsupportedError: Spark is not installed, or has no values of an output's kind.

    Example:
        >>> embed = hubkeras.batch.Predictor("path/to/nnlm")  # doctest: +SKIP
        >>> with_outputs(spark.read.parquet("texts"), embed).write.parquet("vectors")  # doctest: +SKIP

    It does not serve outputs of unknown rank. For these, `frame.mapInArrow(lambda batches: map(predictor, batches),
    schema)` takes a schema of your own; `mapInPandas` works with a predictor as well.
    """
    _require_spark()
    from pyspark.sql.types import StructField, StructType  # pyright: ignore[reportMissingImports]

    used = set(predictor.row_signature().columns_for(frame.columns).values())
    types = _output_types(predictor)
    kept = [field for field in frame.schema.fields if field.name not in used]
    outputs = [StructField(name, _spark_type(kind)) for name, kind in types.items()]
    return frame.mapInArrow(_mapper(predictor, types), StructType([*kept, *outputs]))


def predict_udf(predictor: Predictor) -> Any:
    """Returns a module as a function for expressions of columns, by `pyspark.ml.functions.predict_batch_udf`.

    Args:
        predictor: What to apply.

    Returns:
        A function of as many columns as the signature has inputs, in the alphabetical order of their names. It gives
        the output, or a struct where there are several.

    Raises:
        OutputError: The signature does not say what an output looks like.
        UnsupportedError: Spark is not installed, or cannot hand over such inputs or outputs.

    Example:
        >>> embed = predict_udf(hubkeras.batch.Predictor("path/to/nnlm", outputs="default"))  # doctest: +SKIP
        >>> frame.withColumn("vector", embed("text"))  # doctest: +SKIP

    It does not take inputs whose rows have several shapes, which Spark cannot hand over; `with_outputs` does.
    """
    _require_spark()
    from pyspark.ml.functions import predict_batch_udf  # pyright: ignore[reportMissingImports]
    from pyspark.sql.types import StructField, StructType  # pyright: ignore[reportMissingImports]

    signature, types = predictor.row_signature(), _output_types(predictor)
    fields = [StructField(name, _spark_type(kind)) for name, kind in types.items()]
    return predict_batch_udf(
        _function_maker(predictor, sorted(signature.inputs)),
        return_type=fields[0].dataType if len(fields) == 1 else StructType(fields),
        batch_size=predictor.batch_size,
        input_tensor_shapes=_tensor_shapes(signature.inputs),
    )


def _mapper(predictor: Predictor, types: dict[str, Any]) -> Callable[[Iterable[Any]], Iterator[Any]]:
    def compute(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            rows = predictor(batch)
            for name, kind in types.items():
                place = rows.schema.get_field_index(name)
                rows = rows.set_column(place, name, rows.column(place).cast(kind))
            yield rows

    return compute


def _function_maker(predictor: Predictor, names: list[str]) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        def compute(*columns: Any) -> Any:
            outputs = predictor(dict(zip(names, columns, strict=True)))
            found = {name: _as_text(array) for name, array in outputs.items()}
            return found if len(found) > 1 else next(iter(found.values()))

        return compute

    return make


def _as_text(array: np.ndarray) -> np.ndarray:
    return np.char.decode(array.astype(np.bytes_), "utf-8").astype(object) if array.dtype == object else array


def _tensor_shapes(inputs: Mapping[str, ParsedTensorInfo]) -> dict[int, Any] | None:
    """Returns the shapes of the rows that are tensors, by the positions of their inputs."""
    shapes: dict[int, Any] = {}
    for position, name in enumerate(sorted(inputs)):
        shape = inputs[name].get_shape()
        if inputs[name].is_composite or not shape.rank or not shape[1:].is_fully_defined():
            raise UnsupportedError(
                f"Cannot make a function for Spark: its columns do not tell the shape of input {name!r}",
                expected="rows of one known shape",
                received=f"shape {shape}",
                fix="Use with_outputs",
            )
        if shape.rank > 1:
            shapes[position] = shape[1:].as_list()
    return shapes or None


def _output_types(predictor: Predictor) -> dict[str, Any]:
    """Returns the type of Arrow of each output."""
    from hubkeras.batch.arrow_columns import value_type

    types = {}
    for name, kind in predictor.row_signature().kinds.items():
        if kind is None:
            raise OutputError(
                f"Cannot make a column for Spark: the signature does not tell the rank of output {name!r}",
                fix="Choose outputs= without it, or use DataFrame.mapInArrow with a schema of your own",
            )
        dtype, axes = kind
        types[name] = value_type(np.dtype(_SIGNED.get(dtype.name, dtype)), axes)
    return types


def _spark_type(kind: Any) -> Any:
    from pyspark.sql import types  # pyright: ignore[reportMissingImports]

    if hasattr(kind, "value_type"):
        return types.ArrayType(_spark_type(kind.value_type))
    if str(kind) not in _TYPES:
        raise UnsupportedError("Spark has no such values", expected=f"one of {sorted(_TYPES)}", received=str(kind))
    return getattr(types, _TYPES[str(kind)])()


def _require_spark() -> None:
    try:
        import pyspark.sql  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UnsupportedError(
            f"Cannot use Spark: {error}",
            expected="an installed package pyspark",
            fix="Run: pip install 'hubkeras[spark]'",
        ) from error
