"""Trains under a MultiWorkerMirroredStrategy, as one of its workers. Prints what came out as JSON.

Arguments: an empty folder that all workers share. TF_CONFIG says who the worker is.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

ONE = tf.distribute.get_strategy()
STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()  # must come before anything else runs

from building import write  # noqa: E402
from strategies import (  # noqa: E402
    EPSILON,
    MOMENTUM,
    batch_norm,
    batches,
    compiled,
    functional,
    layer,
    looped,
    numbers,
    recurrence,
    report,
    sequential,
)

import hubkeras  # noqa: E402

FOLDER = Path(sys.argv[1])
INDEX = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
ROWS = {"x": numbers(16, 6, 3), "lengths": tf.constant([6, 2, 3, 4, 5, 1, 6, 6] * 2)}
WORDS = batches(tf.constant([b"the cat sat", b"a dog", b"cat", b"dog a"] * 2), tf.ones((8, 4)))


def both(make: Any, data: tf.data.Dataset) -> tuple[keras.Model, dict[str, Any]]:
    """Trains together with the other worker, each on its rows of every batch; the chief alone, too."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    model, many = looped(STRATEGY, make, data.with_options(options))
    return model, {"many": many} | ({"one": looped(ONE, make, data)[1]} if INDEX == 0 else {})


def regularized() -> Any:
    """Saved by the chief alone."""
    data = batches(numbers(16, 3), numbers(16, 8))
    model, found = both(lambda: sequential(layer("losses_and_updates"), width=3), data)
    if INDEX == 0:
        model.save(FOLDER / "model.keras")
        found["predicted"] = model(numbers(4, 3)).numpy()
    return found


def v1_control_flow() -> Any:
    path = write(FOLDER / f"recurrence_{INDEX}", recurrence)

    def make() -> keras.Model:
        return functional(lambda: hubkeras.KerasLayer(path, trainable=True), ROWS)

    return both(make, batches(ROWS, numbers(16, 5)))[1]


def strings_and_tables() -> Any:
    return both(lambda: layer("text_paths"), WORDS)[1]


def moving_averages() -> Any:
    path = write(FOLDER / f"batch_norm_{INDEX}", batch_norm, [(), ("train",)])
    data = batches(numbers(16, 4), numbers(16, 4))

    def of_keras() -> keras.Model:
        return sequential(keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON), width=4)

    found = {}
    for name, make in (
        ("ours", lambda: sequential(hubkeras.KerasLayer(path, trainable=True), width=4)),
        ("keras", of_keras),
    ):
        model, record = looped(STRATEGY, make, data)
        found[name] = {"losses": record["losses"], "read": {v.name: v.numpy() for v in model.weights}}
    return found


def fit_of_keras() -> Any:
    """No module in it."""
    with STRATEGY.scope():
        model = compiled(sequential(keras.layers.Dense(3), width=4))
    return model.fit(batches(numbers(16, 4), numbers(16, 3)), verbose=0).history


if __name__ == "__main__":
    cases = (regularized, v1_control_flow, strings_and_tables, moving_averages, fit_of_keras)
    report({case.__name__: case for case in cases})
