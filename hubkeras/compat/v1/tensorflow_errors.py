"""Errors about files and values that are TensorFlow's as well, which the original let through as they came."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import ExportExistsError, HubKerasError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def as_in_tensorflow() -> Iterator[None]:
    """Lets a caller catch what the block raises by the class of TensorFlow, too, such as `tf.errors.NotFoundError`.

    Raises:
        HubKerasError: What the block raises, of a class that is also one of TensorFlow's where it fits.
    """
    try:
        yield
    except HubKerasError as error:
        kind = _kind(error)
        if kind is None:
            raise
        raise _both(type(error), kind)(error.message) from error


def _kind(error: HubKerasError) -> type[tf.errors.OpError] | None:
    """Returns the class of TensorFlow for what has gone wrong; None if it has none, or the error has it already."""
    if isinstance(error, tf.errors.OpError):
        return None
    if isinstance(error, ExportExistsError):
        return tf.errors.AlreadyExistsError
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, tf.errors.OpError):
            return type(cause)
        if isinstance(cause, FileNotFoundError):
            return tf.errors.NotFoundError
        cause = cause.__cause__
    return None


@cache
def _both(own: type[HubKerasError], kind: type[tf.errors.OpError]) -> Any:
    def start(self: Any, message: str) -> None:
        kind.__init__(self, None, None, message)  # pyright: ignore[reportCallIssue]
        self.message = message

    # A plain attribute in place of TensorFlow's property, which cannot be set.
    return type(own.__name__, (own, kind), {"__init__": start, "__module__": own.__module__, "message": ""})
