"""Inference or training, as a Python value or a tensor tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable


def in_mode(training: Any, run: Callable[[bool], Any]) -> Any:
    """Returns `run(True)` or `run(False)`; a symbolic tensor chooses when the graph runs.

    Args:
        training: A Python or numpy value, or a scalar tensor.
        run: Computes the outputs, of the same structure in both modes.
    """
    known = tf.get_static_value(training) if tf.is_tensor(training) else training
    if known is None and training is not None:
        return tf.cond(tf.cast(training, tf.bool), lambda: run(True), lambda: run(False))
    return run(bool(known))
