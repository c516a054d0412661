"""Apache Beam: a module for the transform RunInference (`pip install 'hubkeras[beam]'`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apache_beam.ml.inference.base import (  # noqa: TID253  # pyright: ignore[reportMissingImports]
    ModelHandler,
    PredictionResult,
)

from hubkeras.batch.columns import as_array

if TYPE_CHECKING:
    from hubkeras.batch.predictor import Predictor


class ModuleHandler(ModelHandler[Any, PredictionResult, Any]):
    """Applies a module to the elements of a collection.

    An element is a row: a dict of values by the names of inputs, or the bare value of an only input. Further entries of
    the dict are left alone. The result is a `PredictionResult` of the element and a dict of its outputs.

    Args:
        predictor: What to apply; its batch size is the largest batch that Beam makes.
        **options: Passed on to Beam's `ModelHandler`, such as `large_model=True`.

    Example:
        >>> import apache_beam as beam  # doctest: +SKIP
        >>> from apache_beam.ml.inference.base import RunInference  # doctest: +SKIP
        >>> handler = ModuleHandler(hubkeras.batch.Predictor("path/to/nnlm"))  # doctest: +SKIP
        >>> pipeline | beam.Create(["fog", "stew"]) | RunInference(handler)  # doctest: +SKIP

    It does not take `inference_args`; `Predictor(arguments=...)` has what is the same for all rows.
    """

    def __init__(self, predictor: Predictor, **options: Any) -> None:
        super().__init__(**{"max_batch_size": predictor.batch_size, **options})
        self._predictor = predictor

    def load_model(self) -> Predictor:
        """Loads the module."""
        self._predictor.row_signature()
        return self._predictor

    def run_inference(
        self, batch: Sequence[Any], model: Predictor, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """Computes a batch of elements."""
        del inference_args
        names = sorted(model.row_signature().inputs)
        if isinstance(batch[0], Mapping):
            columns = {name: as_array([element[name] for element in batch]) for name in names if name in batch[0]}
        else:
            columns = {names[0]: as_array(list(batch))}
        outputs = model(columns)
        return [
            PredictionResult(element, {name: array[row] for name, array in outputs.items()})
            for row, element in enumerate(batch)
        ]

    def get_metrics_namespace(self) -> str:
        """Returns what Beam's metrics of this transform are called."""
        return "HubkerasModule"
