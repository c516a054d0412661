"""Conditions that are known in Python or only when a graph runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable


def smart_cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """Calls one of two functions; only a symbolic tensor builds both, and chooses when the graph runs.

    Args:
        pred: A Python or numpy value, None for False, or a scalar tensor.
        true_fn: Called where it is true.
        false_fn: Called where it is not; returns the same structure.
    """
    if pred is None or isinstance(pred, bool):  # as nearly always; asking whether it is a tensor takes a while
        return true_fn() if pred else false_fn()
    # A constant tensor inside a function still has a value here, and only one branch need be built.
    known = tf.get_static_value(pred) if tf.is_tensor(pred) else pred
    if known is None:
        return tf.cond(tf.cast(pred, tf.bool), true_fn, false_fn)
    return true_fn() if known else false_fn()
