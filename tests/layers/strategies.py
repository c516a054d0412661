"""What the programs that train under a strategy share: devices, models, data, and a record of what came out."""

from __future__ import annotations

import itertools
import json
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from building import v1, variable

import hubkeras

if TYPE_CHECKING:
    from collections.abc import Callable

MODULES = Path(__file__).parents[1] / "golden" / "modules"
EPSILON, MOMENTUM = 1e-3, 0.9

warnings.simplefilter("ignore")


def numbers(*shape: int, seed: int = 3, low: float = -1.0) -> tf.Tensor:
    """Numbers that are the same in every process."""
    return tf.constant(array(*shape, seed=seed, low=low))


def array(*shape: int, seed: int = 3, low: float = -1.0) -> np.ndarray:
    """The same as an array."""
    return np.random.default_rng(seed).uniform(low, 1, shape).astype(np.float32)


def layer(name: str, **kwargs: Any) -> hubkeras.KerasLayer:
    """A trainable layer of a golden module."""
    return hubkeras.KerasLayer(MODULES / name, **{"trainable": True, **kwargs})


def functional(make: Callable[[], Any], x: Any) -> keras.Model:
    """A model of one layer, with inputs like `x`."""
    inputs = {k: keras.Input(v.shape[1:], dtype=v.dtype.name, name=k) for k, v in x.items()}
    return keras.Model(inputs, make()(inputs))


def sequential(*layers: Any, width: int) -> keras.Model:
    """A Sequential model for rows of numbers."""
    return keras.Sequential([keras.Input((width,)), *layers])


class Subclassed(keras.Model):
    """A layer under a head of its own."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base, self.head = base, keras.layers.Dense(2)

    def call(self, x: Any, training: Any = None) -> Any:
        return self.head(self.base(x, training=training))


def batches(x: Any, y: Any) -> tf.data.Dataset:
    """The data in global batches of 8, the same ones each epoch."""
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)


def compiled(model: keras.Model, **kwargs: Any) -> keras.Model:
    """The model, to be trained by plain gradient descent."""
    model.compile(keras.optimizers.SGD(0.05), "mse", **kwargs)
    if model.built:
        model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the first step a second time
    return model


def feed(strategy: tf.distribute.Strategy, data: tf.data.Dataset) -> Any:
    """The data without end, in a pipeline of its own for each replica of this process.

    An iterator that shares one pipeline among devices takes longer to make than all steps of a test take.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return data.repeat()
    rows = data.unbatch().batch(8 // replicas)
    return strategy.distribute_datasets_from_function(
        lambda context: rows.shard(replicas, context.input_pipeline_id).repeat(),
        tf.distribute.InputOptions(
            experimental_fetch_to_device=False,
            experimental_replication_mode=tf.distribute.InputReplicationMode.PER_REPLICA,
        ),
    )


def as_it_is(strategy: tf.distribute.Strategy, data: tf.data.Dataset) -> Any:
    """The data without end, left to Keras to spread."""
    del strategy
    return data.repeat()


def fit(model: keras.Model, data: tf.data.Dataset, epochs: int, feed: Any = feed) -> list[float]:
    """Trains a model, and returns the loss of each epoch."""
    fed = feed(model.distribute_strategy, data)
    return model.fit(fed, epochs=epochs, steps_per_epoch=len(data), verbose=0).history["loss"]


def predict(model: keras.Model, data: tf.data.Dataset, feed: Any = feed) -> np.ndarray:
    """What a model predicts for the rows of the data."""
    return model.predict(feed(model.distribute_strategy, data), steps=len(data), verbose=0)


def trained(
    strategy: tf.distribute.Strategy,
    make: Callable[[], Any],
    data: Any,
    epochs: int = 4,
    feed: Any = feed,
    **kwargs: Any,
) -> Any:
    """Trains a model made in the strategy's scope.

    Args:
        strategy: The strategy.
        make: Makes the model.
        data: What it is trained on.
        epochs: How often.
        feed: How replicas get the data: `feed` or `as_it_is`.
        **kwargs: For `compile`.

    Returns:
        The model, and a record of its losses, predictions and final variables.
    """
    with strategy.scope():
        keras.utils.set_random_seed(1)
        model = compiled(make(), **kwargs)
    losses = fit(model, data, epochs, feed)
    losses.append(model.evaluate(feed(strategy, data), steps=len(data), verbose=0))
    return model, {
        "losses": losses,
        "variables": {f"{i} {v.name}": np.asarray(v.numpy(), float) for i, v in enumerate(model.weights)},
        "predicted": predict(model, data, feed),
    }


def looped(strategy: tf.distribute.Strategy, make: Callable[[], Any], data: tf.data.Dataset, epochs: int = 4) -> Any:
    """Trains a model by a loop of its own, every step on a global batch of 8.

    Returns:
        The model, and a record of its losses and final variables.
    """
    with strategy.scope():
        keras.utils.set_random_seed(1)
        model = make()
        optimizer = keras.optimizers.SGD(0.05)
        optimizer.build(model.trainable_variables)

    def step(x: Any, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.reduce_mean(tf.square(model(x, training=True) - y), -1)) / 8
            loss += sum(model.losses) / strategy.num_replicas_in_sync
        trained = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))
        return loss

    @tf.function
    def run(x: Any, y: Any) -> tf.Tensor:
        return strategy.reduce("SUM", strategy.run(step, args=(x, y)), axis=None)

    distributed = strategy.experimental_distribute_dataset(data.repeat())  # one iterator: each takes a while to make
    losses = [float(run(*batch)) for batch in itertools.islice(distributed, epochs * len(data))]
    return model, {
        "losses": losses,
        "variables": {f"{i} {v.name}": np.asarray(v.numpy(), float) for i, v in enumerate(model.weights)},
    }


def parts(variable: Any) -> list[np.ndarray]:
    """The value of a variable on every replica."""
    return [part.numpy() for part in getattr(variable, "value", variable).values]


def batch_norm(tags: frozenset[str]) -> Any:
    """Builds batch normalization as modules have it: update ops in the variant for training."""
    x = v1.placeholder(tf.float32, [None, 4], "x")
    mean = variable("moving_mean", np.zeros(4, np.float32), trainable=False)
    variance = variable("moving_variance", np.ones(4, np.float32), trainable=False)
    gamma, beta = variable("gamma", np.ones(4, np.float32)), variable("beta", np.zeros(4, np.float32))
    used = (mean, variance)
    if "train" in tags:
        used = tf.nn.moments(x, 0)
        for moving, now in zip((mean, variance), used, strict=True):
            v1.add_to_collection("update_ops", moving.assign_sub((moving - now) * (1 - MOMENTUM)).op)
    return {"default": ({"x": x}, {"default": tf.nn.batch_normalization(x, *used, beta, gamma, EPSILON)})}


def recurrence(tags: frozenset[str]) -> Any:
    """Builds a recurrent network out of v1 control flow."""
    del tags
    x, lengths = v1.placeholder(tf.float32, [None, 6, 3], "x"), v1.placeholder(tf.int32, [None], "lengths")
    w, u = variable("w", array(3, 5)), variable("u", array(5, 5))

    def step(i: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        now = tf.tanh(x[:, i] @ w + state @ u)
        return i + 1, tf.where(i < lengths[:, None], now, state)

    start = tf.zeros([tf.shape(x)[0], 5])
    _, state = v1.while_loop(lambda i, state: i < 6, step, (tf.constant(0), start))
    return {"default": ({"x": x, "lengths": lengths}, {"default": state})}


def report(cases: dict[str, Callable[[], Any]]) -> None:
    """Runs every case, and prints what it returns or how it fails, by name, on the last line."""
    found = {}
    for name, case in cases.items():
        try:
            found[name] = case()
        except Exception as error:  # what failed is the result
            traceback.print_exc()
            found[name] = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write("\n" + json.dumps(found, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()
