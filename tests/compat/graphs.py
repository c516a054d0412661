"""Graphs and sessions of TensorFlow 1 for the tests, and values that sessions return as eager tensors."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Iterator

v1 = tf.compat.v1


@contextlib.contextmanager
def session() -> Iterator[v1.Session]:
    """A session of the default graph, its variables and tables initialized."""
    with v1.Session() as open_session:
        open_session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        yield open_session


@contextlib.contextmanager
def control_flow_v1() -> Iterator[None]:
    """Loops and branches as TensorFlow 1 builds them."""
    v1.disable_control_flow_v2()
    try:
        yield
    finally:
        v1.enable_control_flow_v2()


def eager(value: Any) -> Any:
    """What a session returned, as tensors; in a dict, each of them."""
    if isinstance(value, dict):
        return {key: eager(item) for key, item in value.items()}
    if isinstance(value, v1.SparseTensorValue):
        return tf.SparseTensor.from_value(value)
    if isinstance(value, v1.ragged.RaggedTensorValue):
        return tf.RaggedTensor.from_nested_row_splits(value.flat_values, value.nested_row_splits)
    return tf.constant(value)


def linear(hub: Any) -> None:
    """A module function: one variable with a regularizer, one that counts, two signatures."""
    x = v1.placeholder(tf.float32, [None, 2], name="x")
    w = v1.get_variable("w", [2, 3], initializer=v1.ones_initializer(), regularizer=lambda t: tf.reduce_sum(t * t))
    calls = v1.get_variable("calls", [], tf.int32, v1.zeros_initializer(), trainable=False)
    v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, calls.assign_add(1))
    hub.add_signature(inputs=x, outputs=tf.matmul(x, w))
    hub.add_signature("sum", inputs={"x": x, "y": v1.placeholder(tf.float32, [])}, outputs={"total": tf.reduce_sum(x)})
