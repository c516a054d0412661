"""Tracebacks of what a user did wrong, without the frames of those who found out."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import tensorflow as tf

from hubkeras.errors import HubKerasError

SHORTENED = (HubKerasError, tf.errors.OpError)
"""Errors whose message says it all. Of any other, the frames are what there is to find the cause by."""

_OWN = (f"{Path(__file__).parent.parent}{os.sep}", f"{Path(tf.__file__).parent}{os.sep}")


def hide_inner_frames(error: BaseException, *folders: str) -> None:
    """Takes the frames of hubkeras and TensorFlow out of the traceback of an error that is being raised.

    A bare `raise` right after it adds none for the function that it stands in. Frames of functions of the user's stay,
    and all do once `tf.debugging.disable_traceback_filtering` was called.

    Args:
        error: The error.
        folders: Of other packages whose frames the user need not see.
    """
    if not tf.debugging.is_traceback_filtering_enabled():
        return
    kept: TracebackType | None = None
    # From the innermost out: each new traceback holds the one inside it.
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if not frame.f_code.co_filename.startswith((*_OWN, *folders)):
            kept = TracebackType(kept, frame, frame.f_lasti, line)
    error.__traceback__ = kept


class ShortTracebacks:
    """A context that hides the inner frames of errors that leave it."""

    def __enter__(self) -> None:
        """Does nothing."""

    # contextlib.contextmanager would give the error its traceback back.
    def __exit__(self, kind: Any, error: BaseException | None, frames: Any) -> None:
        """Hides the frames of an error."""
        if error is not None and isinstance(error, SHORTENED):
            hide_inner_frames(error)
