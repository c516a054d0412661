"""Ray Data: a module applied to a dataset by a pool of actors (`pip install 'hubkeras[ray]'`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.errors import HubKerasError, UnsupportedError

if TYPE_CHECKING:
    from hubkeras.batch.predictor import Predictor


def map_batches(
    dataset: Any, predictor: Predictor, *, concurrency: int | tuple[int, int] | None = None, **options: Any
) -> Any:
    """Applies a module to every row of a dataset of Ray.

    Each actor loads the module once. Ray starts an actor that dies again and gives its rows to another one.

    Args:
        dataset: A `ray.data.Dataset`, whose columns are named like the inputs; others come back as they are.
        predictor: What to apply.
        concurrency: How many actors; or the least and the most, between which Ray chooses. None for one for each CPU of
            the cluster but one, which is left to read the data.
        **options: Passed on to `Dataset.map_batches`, such as `num_gpus=1`, `num_cpus=4` or `runtime_env=...`.

    Returns:
        A `ray.data.Dataset`, computed when it is asked for.

    Raises:
        UnsupportedError: Ray is not installed.

    Example:
        >>> embed = hubkeras.batch.Predictor("path/to/nnlm")  # doctest: +SKIP
        >>> texts = ray.data.read_parquet("texts.parquet")  # doctest: +SKIP
        >>> map_batches(texts, embed).write_parquet("vectors")  # doctest: +SKIP

    It does not keep the order of rows, unless `DataContext.execution_options.preserve_order` is set.
    """
    ray = require_ray()
    from ray.data import ActorPoolStrategy

    if concurrency is None:
        if not ray.is_initialized():
            ray.init()
        concurrency = max(1, int(ray.cluster_resources().get("CPU", 1)) - 1)
    least, most = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    computed = dataset.map_batches(
        _Actor,
        fn_constructor_args=(predictor,),
        compute=ActorPoolStrategy(min_size=least, max_size=most),
        batch_size=predictor.batch_size,
        batch_format="pyarrow",  # which tells a value that is missing from one that is not a number
        **options,
    )
    # Else Ray raises an error of its own, which has ours as text alone.
    computed.context.raise_original_map_exception = True
    return computed


class _Actor:
    """What Ray makes one of in each process of the pool."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def __call__(self, table: Any) -> Any:
        return self._predictor(table)


def require_ray() -> Any:
    """Returns Ray with its library for data.

    Raises:
        UnsupportedError: It is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UnsupportedError(
            f"Cannot use Ray Data: {error}",
            expected="an installed package ray with its extra data",
            fix="Run: pip install 'hubkeras[ray]'",
        ) from error
    return ray


def error_of_worker(error: BaseException) -> HubKerasError | None:
    """Returns the error of hubkeras that Ray brought from a worker, None if it is another one.

    Ray raises an error of a class of its own that derives from ours, with the worker's traceback as its text.
    """
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, HubKerasError) else None
