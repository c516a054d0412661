"""Outputs of a layer whose module has not come yet: of the right dtypes and shapes, for Keras to build a model with."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def describe(outputs: Any) -> Any:
    """Returns what JSON can hold of the dtypes and shapes of outputs, None if they are no tensors of known rank."""
    if isinstance(outputs, dict):
        named = {k: describe(v) for k, v in outputs.items()}
        return {"dict": named} if named and all(named.values()) else None
    if isinstance(outputs, (list, tuple)):
        listed = [describe(v) for v in outputs]
        return {"list": listed} if listed and all(listed) else None
    if not isinstance(outputs, tf.Tensor) or outputs.shape.rank is None:
        return None
    # The first axis is the batch, whose size in this call says nothing about the next one.
    return {"dtype": outputs.dtype.name, "shape": [None, *outputs.shape[1:]] if outputs.shape.rank else []}


def symbolic(description: Any) -> Any:
    """Makes KerasTensors of what `describe` returned."""
    if "dict" in description:
        return {k: symbolic(v) for k, v in description["dict"].items()}
    if "list" in description:
        return [symbolic(v) for v in description["list"]]
    return keras.KerasTensor(tuple(description["shape"]), description["dtype"])


def placeholders(outputs: Any) -> Any:
    """Makes tensors of KerasTensors, in a graph that is traced for its shapes and never runs."""
    return keras.tree.map_structure(lambda t: tf.raw_ops.Placeholder(dtype=t.dtype, shape=t.shape), outputs)
