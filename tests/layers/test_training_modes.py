"""When a layer trains, and what happens then: train variant, update ops, losses, toggling."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN

import hubkeras
from layers.nets import W, X, Y, write_net


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_net(tmp_path_factory.mktemp("net") / "net")


def make(path, trainable=True, **options):
    layer = hubkeras.KerasLayer(path, trainable, **options)
    model = keras.Sequential([keras.Input([4]), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return layer, model


def value(layer, name):
    return layer.resolved_object.variable_map[name].numpy()


def fit(model, epochs=1):
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the first step a second time
    return model.fit(X, Y, batch_size=5, epochs=epochs, verbose=0).history["loss"]


def test_fit_runs_the_train_variant_with_its_update_ops(path):
    """The loss is that of the train variant plus the penalty; moving average and counter move once a step."""
    layer, model = make(path)
    hidden = X @ W
    mse = np.mean((hidden - hidden.mean(0) - Y) ** 2)
    assert fit(model)[0] == pytest.approx(mse + 0.5 * np.sum(W**2), rel=1e-5)
    np.testing.assert_allclose(value(layer, "mean"), 0.5 * hidden.mean(0), rtol=1e-5)
    assert value(layer, "count") == 1
    fit(model, epochs=3)
    assert value(layer, "count") == 4


def test_gradients_reach_the_weights(path):
    layer, model = make(path)
    hidden = X @ W
    error = 2 * (hidden - hidden.mean(0) - Y) / Y.size
    fit(model)
    np.testing.assert_allclose(value(layer, "w"), W - 0.1 * (X.T @ error + W), rtol=1e-5)
    np.testing.assert_allclose(value(layer, "bias"), -0.1 * error.sum(0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("use", ["predict", "evaluate", "call", "call_without_training"])
def test_nothing_is_updated_outside_of_training(path, use):
    layer, model = make(path)
    before = [v.numpy() for v in layer.resolved_object.variables]
    if use == "predict":
        np.testing.assert_allclose(model.predict(X, verbose=0), X @ W, rtol=1e-5, atol=1e-6)
    elif use == "evaluate":
        model.evaluate(X, Y, verbose=0)
    else:
        layer(X, **({} if use == "call_without_training" else {"training": False}))
    for old, new in zip(before, layer.resolved_object.variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_frozen_layer_stays_in_inference_mode(path):
    """In `fit()`, and where `training=True` is asked for: no update, no loss, no weight for the optimizer."""
    layer = hubkeras.KerasLayer(path)
    model = keras.Sequential([keras.Input([4]), layer, keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    np.testing.assert_allclose(layer(X, training=True), X @ W, rtol=1e-5, atol=1e-6)
    assert [value(layer, "count"), *value(layer, "mean")] == [0, 0, 0, 0]
    assert layer.losses == []
    assert layer.trainable_weights == []
    assert len(model.trainable_weights) == 2


def test_training_is_toggled_between_fits(path):
    layer = hubkeras.KerasLayer(path, True)
    model = keras.Sequential([keras.Input([4]), layer, keras.layers.Dense(3)])
    for trainable, count in ((True, 1), (False, 1), (True, 2)):
        layer.trainable = trainable
        model.compile(keras.optimizers.SGD(0.1), "mse")
        before = value(layer, "w")
        fit(model)
        assert value(layer, "count") == count
        assert (not np.array_equal(value(layer, "w"), before)) == trainable
        assert len(layer.losses) == trainable


def test_single_weights_can_be_frozen(path):
    """Weights are found by name; one whose `trainable` is False keeps its value while the others train."""
    layer, model = make(path)
    weights = {w.name: w for w in layer.weights}
    assert set(weights) == {"w", "bias", "mean", "count", "other"}
    weights["w"].trainable = False
    fit(model)
    np.testing.assert_array_equal(value(layer, "w"), W)
    assert np.any(value(layer, "bias"))
    assert value(layer, "count") == 1


def test_only_what_the_signature_reaches_is_trained(path):
    for options, names in (
        ({}, {"w", "bias"}),
        ({"signature": "other"}, {"other"}),
        ({"output_key": "hidden"}, {"w", "bias"}),
        ({"signature_outputs_as_dict": True}, {"w", "bias"}),
    ):
        layer = hubkeras.KerasLayer(path, True, **options)
        assert {w.name for w in layer.trainable_weights} == names
        assert len(layer.weights) == 5


def test_the_penalty_is_added_once_per_step(path):
    """However often the layer is called in a model."""
    layer = hubkeras.KerasLayer(path, True)
    one, other = keras.Input([4]), keras.Input([4])
    model = keras.Model([one, other], keras.layers.add([layer(one), layer(other)]))
    assert float(sum(model.losses)) == pytest.approx(0.5 * np.sum(W**2), rel=1e-5)
    model.compile("sgd", lambda y, p: tf.reduce_sum(p) * 0)
    assert model.fit([X, X], Y, verbose=0).history["loss"][0] == pytest.approx(0.5 * np.sum(W**2), rel=1e-5)
    assert value(layer, "count") == 2, "update ops run with each call"


def test_a_custom_loop(path):
    layer, optimizer = hubkeras.KerasLayer(path, True), keras.optimizers.SGD(0.1)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((layer(X, training=True) - Y) ** 2) + sum(layer.losses)
        optimizer.apply(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights)
        return loss

    optimizer.build(layer.trainable_weights)
    losses = [float(step()) for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert value(layer, "count") == 5


def test_training_as_a_tensor(path):
    """Whether a call trains may be known only when the graph runs."""
    layer = hubkeras.KerasLayer(path, True)
    run = tf.function(lambda training: layer(X, training=training), autograph=False)
    np.testing.assert_allclose(run(tf.constant(False)), X @ W, rtol=1e-5, atol=1e-6)
    assert value(layer, "count") == 0
    np.testing.assert_allclose(run(tf.constant(True)), X @ W - (X @ W).mean(0), rtol=1e-5, atol=1e-6)
    assert value(layer, "count") == 1


def test_gradients_to_the_inputs(path):
    """A weight in front of the layer is trained through it, the layer frozen or not."""
    for trainable in (False, True):
        layer = hubkeras.KerasLayer(path, trainable)
        front = keras.layers.Dense(4, use_bias=False, kernel_initializer="identity")
        model = keras.Sequential([keras.Input([4]), front, layer])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(X, Y, verbose=0)
        assert not np.allclose(front.kernel, np.eye(4))
        assert (value(layer, "count") == 1) == trainable


@pytest.mark.parametrize("as_argument", [False, True])
def test_scalar_training_inputs(path, as_argument):
    """`keep` is fed with the call, or set once and for all."""
    options = {"arguments": {"keep": 0.5}} if as_argument else {}
    layer = hubkeras.KerasLayer(path, True, signature="dropping", **options)
    x = np.ones((1000, 4), np.float32)
    inputs = x if as_argument else {"x": x, "keep": 0.5}
    output = layer(inputs, training=True).numpy()
    assert 0.4 < np.mean(output == 0) < 0.6
    np.testing.assert_allclose(output[output[:, 2] != 0, 2], 2 * W[:, 2].sum(), rtol=1e-5)
    assert not np.any(layer(inputs, training=False).numpy() == 0)
    assert not np.array_equal(output, layer(inputs, training=True)), "dropout drew the same again"


def test_scalar_arguments_in_fit(path):
    layer = hubkeras.KerasLayer(path, True, signature="dropping", arguments={"keep": 0.5})
    model = keras.Sequential([keras.Input([4]), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(value(layer, "w"), W)


def test_several_outputs_train_together(path):
    layer = hubkeras.KerasLayer(path, True, signature_outputs_as_dict=True)
    x = keras.Input([4])
    model = keras.Model(x, layer(x))
    model.compile(keras.optimizers.SGD(0.1), {"default": "mse", "hidden": "mse"})
    loss = model.fit(X, {"default": Y, "hidden": Y}, verbose=0).history["loss"][0]
    hidden = X @ W
    expected = np.mean((hidden - hidden.mean(0) - Y) ** 2) + np.mean((hidden - Y) ** 2) + 0.5 * np.sum(W**2)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert value(layer, "count") == 1


def test_nothing_to_train(caplog):
    """`trainable=True` where the module marks nothing trainable is worth a word; not for a plain function."""
    hubkeras.KerasLayer(GOLDEN / "modules" / "tables_v1")
    hubkeras.KerasLayer(lambda x: x, trainable=True)
    hubkeras.KerasLayer(GOLDEN / "modules" / "batch_renorm", trainable=True)
    assert not caplog.records
    hubkeras.KerasLayer(GOLDEN / "modules" / "tables_v1", trainable=True)
    (record,) = caplog.records
    assert record.name == "hubkeras"
    assert "trains nothing" in record.getMessage()
