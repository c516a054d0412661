"""Trains and calls layers under a MirroredStrategy of two logical CPUs. Prints what came out as JSON.

A program of its own, for logical devices must be made before TensorFlow starts. Argument: an empty folder.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from building import write  # noqa: E402
from strategies import (  # noqa: E402
    EPSILON,
    MODULES,
    MOMENTUM,
    Subclassed,
    as_it_is,
    batch_norm,
    batches,
    compiled,
    fit,
    functional,
    layer,
    looped,
    numbers,
    parts,
    predict,
    recurrence,
    report,
    sequential,
    trained,
)

import hubkeras  # noqa: E402

FOLDER = Path(sys.argv[1])
ONE = tf.distribute.get_strategy()
OTHER_DEVICE = tf.distribute.OneDeviceStrategy("CPU:1")
MIRRORED = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
WITHOUT_COLLECTIVES = tf.distribute.MirroredStrategy(
    ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
)
RANGES = {"tags": (), "train_tags": ("train",)}
"""Of "quantised": training moves ranges, each replica by its own rows."""
STILL = {"tags": (), "train_tags": ()}
"""Training changes nothing that is not trained."""

PLAIN = batches(numbers(16, 4), numbers(16, 3))
LOSSES = batches(numbers(16, 3), numbers(16, 8))
ROWS = {"x": numbers(16, 6, 3), "lengths": tf.constant([6, 2, 3, 4, 5, 1, 6, 6] * 2)}
RECURRENT = batches(ROWS, numbers(16, 5))
REFERENCES = {"x": numbers(16, 4, low=0.1), "ids": tf.constant([0, 1, 2, 3, 4, 5, 5, 0] * 2)}
SCATTERED = batches(REFERENCES, numbers(16, 3))


def under(strategy: tf.distribute.Strategy, make: Any, data: Any) -> dict[str, Any]:
    return {"one": trained(ONE, make, data)[1], "many": trained(strategy, make, data)[1]}


def quantised() -> keras.Model:
    return sequential(layer("quantised", **STILL), width=4)


@functools.cache
def quantised_alone() -> dict[str, Any]:
    """What came out on one device, for all cases that should do the same."""
    return trained(ONE, quantised, PLAIN)[1]


def trainable() -> Any:
    return {"one": quantised_alone(), "many": trained(MIRRORED, quantised, PLAIN, feed=as_it_is)[1]}


def frozen() -> Any:
    def make() -> keras.Model:
        return sequential(layer("quantised", trainable=False), keras.layers.Dense(3), width=4)

    return under(MIRRORED, make, PLAIN)


def subclassed() -> Any:
    return under(MIRRORED, lambda: Subclassed(layer("quantised", **STILL)), batches(numbers(16, 4), numbers(16, 2)))


def regularized() -> Any:
    return under(MIRRORED, lambda: sequential(layer("losses_and_updates"), width=3), LOSSES)


def v1_control_flow() -> Any:
    path = write(FOLDER / "recurrence", recurrence)
    return under(MIRRORED, lambda: functional(lambda: hubkeras.KerasLayer(path, trainable=True), ROWS), RECURRENT)


def v1_control_flow_with_updates() -> Any:
    """A mean is moved by each replica's own rows, so that evaluation differs from one device's."""

    def make() -> keras.Model:
        return functional(lambda: layer("lstm_dropout", tags=(), train_tags=("train", "nodrop")), ROWS)

    found = under(MIRRORED, make, RECURRENT)
    for record in found.values():
        record["losses"].pop()
    return found


def reference_variables() -> Any:
    return under(WITHOUT_COLLECTIVES, lambda: functional(lambda: layer("ref_control_flow"), REFERENCES), SCATTERED)


def one_device() -> Any:
    return under(OTHER_DEVICE, lambda: sequential(layer("quantised", **RANGES), width=4), PLAIN)


def eagerly() -> Any:
    return {"one": quantised_alone(), "many": trained(MIRRORED, quantised, PLAIN, run_eagerly=True)[1]}


# --- moving averages -----------------------------------------------------------------------------------------------


def normalized(make: Any, data: Any, strategy: tf.distribute.Strategy = MIRRORED) -> dict[str, Any]:
    model, record = trained(strategy, lambda: sequential(make(), width=4), data)
    by_name = {v.name: v for v in model.weights}
    values = {name: parts(v) if strategy is MIRRORED else [v.numpy()] for name, v in by_name.items()}
    return record | {"parts": values, "read": {name: v.numpy() for name, v in by_name.items()}}


def moving_averages() -> Any:
    """Rows that differ from one half of the batch to the other, so that the replicas see different moments."""
    path = write(FOLDER / "batch_norm", batch_norm, [(), ("train",)])
    x = numbers(16, 4) + tf.reshape(tf.cast(tf.range(16) % 8 >= 4, tf.float32), [16, 1])
    data, twice = batches(x, numbers(16, 4)), batches(tf.tile(numbers(4, 4), [4, 1]), numbers(16, 4))

    def ours() -> Any:
        return hubkeras.KerasLayer(path, trainable=True)

    def of_keras() -> Any:
        return keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON)

    return {
        "ours": normalized(ours, data),
        "keras": normalized(of_keras, data),
        "one, same rows on both": normalized(ours, twice, ONE),
        "many, same rows on both": normalized(ours, twice),
    }


# --- custom loops, eager calls --------------------------------------------------------------------------------------


def custom_loop() -> Any:
    """Sentences, with tables and strings."""
    words = batches(tf.constant([b"the cat sat", b"a dog", b"cat", b"dog a"] * 2), tf.ones((8, 4)))

    def make() -> Any:
        return layer("text_paths")

    return {"one": looped(ONE, make, words)[1], "many": looped(MIRRORED, make, words)[1]}


def outside_of_replicas() -> Any:
    x = numbers(8, 4)
    plain = layer("quantised", **RANGES)
    with MIRRORED.scope():
        mirrored = layer("quantised", **RANGES)
        module = hubkeras.load(MODULES / "quantised", **RANGES)
        inside = mirrored(x)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(module(x))
    gradient = tape.gradient(loss, module.trainable_variables[0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(plain(x))
    calls = [plain(x), inside, mirrored(x), module(x)]
    return {
        "calls": calls,
        "training": [plain(x, training=True), mirrored(x, training=True)],
        "gradients": [tape.gradient(loss, plain.trainable_variables[0]), gradient],
        "ranges": [[v.numpy() for v in one.weights] for one in (plain, mirrored)],
    }


def training_is_a_tensor() -> Any:
    with MIRRORED.scope():
        base = layer("quantised", **RANGES)
    names = [v.name for v in base.weights]
    low = base.weights[names.index("act_quant_min")]

    @tf.function
    def run(x: Any, training: tf.Tensor) -> Any:
        return MIRRORED.run(lambda x: base(x, training=training), args=(x,))

    x = MIRRORED.experimental_distribute_values_from_function(
        lambda c: numbers(4, 4) * (c.replica_id_in_sync_group + 2)
    )
    seen = [parts(low)]
    for training in (False, True):
        run(x, tf.constant(training))
        seen.append(parts(low))
    return seen


# --- made outside of the scope ---------------------------------------------------------------------------------------


def trainable_from_outside() -> Any:
    base = layer("quantised")
    with MIRRORED.scope():
        model = compiled(sequential(base, width=4))
    return model.fit(PLAIN, verbose=0).history


def module_from_outside() -> Any:
    module = hubkeras.load(MODULES / "quantised", **STILL)
    with MIRRORED.scope():
        model = compiled(sequential(hubkeras.KerasLayer(module, trainable=True), width=4))
    return model.fit(PLAIN, verbose=0).history


def frozen_from_outside() -> Any:
    base = layer("quantised", trainable=False)
    return under(MIRRORED, lambda: sequential(base, keras.layers.Dense(3), width=4), PLAIN)


def module_from_inside() -> Any:
    def make() -> keras.Model:
        return sequential(hubkeras.KerasLayer(hubkeras.load(MODULES / "quantised", **STILL), trainable=True), width=4)

    return {"one": quantised_alone(), "many": trained(MIRRORED, make, PLAIN)[1]}


# --- saving -----------------------------------------------------------------------------------------------------------


def saved() -> Any:
    """Every way out of a scope and back: what comes back predicts the same and trains on the same."""
    x = numbers(8, 4)
    found: dict[str, Any] = {"predicted": {}, "trained on": {}}
    with MIRRORED.scope():
        model = compiled(sequential(layer("quantised", **STILL, embed=True), width=4))
        linked = compiled(sequential(layer("quantised", **STILL, embed=False), width=4))
    for name, one in (("embedded", model), ("linked", linked)):
        fit(one, PLAIN, epochs=4)
        one.save(FOLDER / f"{name}.keras")
    loaded = {"plain": keras.models.load_model(FOLDER / "embedded.keras")}
    with MIRRORED.scope():
        loaded["embedded"] = keras.models.load_model(FOLDER / "embedded.keras")
        loaded["linked"] = keras.models.load_model(FOLDER / "linked.keras")
        fresh = compiled(keras.models.clone_model(model))
    model.save_weights(FOLDER / "model.weights.h5")
    fresh.load_weights(FOLDER / "model.weights.h5")
    loaded["weights"] = fresh
    model.export(FOLDER / "exported", verbose=False)
    exported = tf.saved_model.load(FOLDER / "exported")
    found["predicted"]["export"] = exported.serve(x)
    module = model.layers[0].resolved_object
    module.export(FOLDER / "module")
    found["predicted"]["module"] = hubkeras.load(FOLDER / "module", tags=())(x)
    tf.saved_model.save(module, FOLDER / "saved_model")
    prefix = tf.train.Checkpoint(module=module).save(FOLDER / "checkpoint")
    restored = hubkeras.load(MODULES / "quantised", **STILL)
    tf.train.Checkpoint(module=restored).restore(prefix).assert_existing_objects_matched()
    found["predicted"]["checkpoint"] = restored(x)
    for name, one in (("model", model), *loaded.items()):
        found["predicted"][name] = predict(one, batches(x, x))
        found["trained on"][name] = fit(one, PLAIN, epochs=2)
    return found


# --- what Keras itself does not do ------------------------------------------------------------------------------------


def strings_in_fit_of_keras() -> Any:
    """No module in it."""
    with MIRRORED.scope():
        words = [keras.layers.StringLookup(vocabulary=["cat"]), keras.layers.Embedding(3, 2)]
        model = compiled(keras.Sequential([keras.Input((), dtype="string"), *words]))
    return model.fit(batches(tf.constant(["cat", "dog"] * 4), tf.ones((8, 2))), verbose=0).history


CASES = [
    trainable,
    frozen,
    subclassed,
    regularized,
    v1_control_flow,
    v1_control_flow_with_updates,
    reference_variables,
    one_device,
    eagerly,
    moving_averages,
    custom_loop,
    outside_of_replicas,
    training_is_a_tensor,
    trainable_from_outside,
    module_from_outside,
    frozen_from_outside,
    module_from_inside,
    saved,
    strings_in_fit_of_keras,
]

if __name__ == "__main__":
    report({case.__name__: case for case in CASES})
