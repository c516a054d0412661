"""Reusable SavedModels, read by everything else than hubkeras."""

import json
from pathlib import Path

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf
from building import variable, write
from parity import GOLDEN

import hubkeras

MODULES = GOLDEN / "modules"
FLOATS = np.linspace(-1, 1, 12, dtype=np.float32)
v1 = tf.compat.v1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the module `trained` and its SavedModel `reusable` lie, beside those of golden modules."""
    folder = tmp_path_factory.mktemp("converted")
    write(folder / "trained", build, [(), ("train",)])
    hubkeras.convert(folder / "trained", folder / "reusable", "saved_model")
    hubkeras.convert(MODULES / "nested_loops", folder / "nested_loops", "saved_model")
    return folder


def build(tags):
    """A module with a loop, a loss, a moving average, a table, two signatures and a variant for training."""
    x = v1.placeholder(tf.float32, [None, 3])
    w, mean = variable("w", FLOATS[:9].reshape(3, 3)), variable("mean", [0.0, 1.0, 2.0], trainable=False)
    rows = variable("rows", FLOATS.reshape(4, 3))
    v1.add_to_collection(v1.GraphKeys.REGULARIZATION_LOSSES, 0.1 * tf.nn.l2_loss(w))
    h = x - mean
    if "train" in tags:
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, mean.assign_add(tf.reduce_mean(x, 0)))
        h = x * 2
    loop = v1.while_loop(lambda i, _: i < 3, lambda i, h: (i + 1, tf.tanh(h @ w) + tf.gather(rows, i)), (0, h))[1]
    words = v1.placeholder(tf.string, [None])
    initializer = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2], value_dtype=tf.int64)
    table = tf.lookup.StaticHashTable(initializer, 0)
    return {
        "default": ({"x": x}, {"default": loop, "mean": mean.read_value()}),
        "words": ({"words": words}, {"default": tf.gather(rows, table.lookup(words))}),
    }


def step(call, variables, x):
    """The output of a call, and its gradients."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call(x)
        loss = tf.reduce_sum(y * y)
    return y, tape.gradient(loss, [x, *variables])


@pytest.mark.parametrize("training", [False, True])
def test_what_was_written_is_reusable(folder, training):
    """Outputs, gradients through a v1 loop, updates and losses are the module's, without hubkeras."""
    module = hubkeras.load(folder / "trained")
    loaded = tf.saved_model.load(str(folder / "reusable"))
    names = [v.name for v in module.trainable_variables]
    assert [v.name for v in loaded.trainable_variables] == names == ["w:0", "rows:0"]
    assert {v.name for v in loaded.variables} == {"w:0", "rows:0", "mean:0"}
    x = tf.constant(FLOATS.reshape(4, 3))
    want = step(lambda x: module(x, training=training), module.trainable_variables, x)
    got = step(lambda x: loaded(x, training=training), loaded.trainable_variables, x)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
    for have, golden in zip(got[1], want[1], strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(have), tf.convert_to_tensor(golden), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loaded.variables[2], module.variables[2])
    losses = [[loss().numpy() for loss in m.regularization_losses] for m in (loaded, module)]
    assert losses[0] == losses[1]
    assert set(loaded.signatures) == {"default", "words", "serving_default"}
    words = tf.constant(["b", "c"])
    np.testing.assert_array_equal(loaded.signatures["words"](words)["default"], module(words, "words"))


def test_gradients_of_nested_loops(folder):
    """They are those which hubkeras takes."""
    module = hubkeras.load(MODULES / "nested_loops")
    loaded = tf.saved_model.load(str(folder / "nested_loops"))
    x = tf.constant(np.eye(3, dtype=np.int32))
    gradients = []
    for m in (module, loaded):
        with tf.GradientTape() as tape:
            y = tf.cast(m(x, training=True), tf.float32)
        gradients.append(tape.gradient(y, m.trainable_variables))
    assert any(g is not None for g in gradients[0])
    for want, got in zip(*gradients, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(got), tf.convert_to_tensor(want), rtol=1e-4, atol=1e-6)


def test_keras_layer_of_its_own(folder):
    """`TFSMLayer` takes it without a word, and trains it."""
    layer = keras.layers.TFSMLayer(folder / "reusable", call_training_endpoint="train")
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = {w.name: w.numpy() for w in layer.weights}
    x = FLOATS.reshape(4, 3)
    np.testing.assert_allclose(layer(x), hubkeras.load(folder / "trained")(x), rtol=1e-5)
    history = model.fit(x, np.ones([4, 1]), epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]
    after = {w.name: w.numpy() for w in layer.weights}
    assert all((before[name] != after[name]).any() for name in before), "the moving average is among them"


def test_tensorflow_hub(folder):
    """tensorflow_hub's own layer for Keras 2 fine-tunes it, step by step as hubkeras does."""
    script = Path(__file__).parent / "fine_tune_with_tensorflow_hub.py"
    x = FLOATS.reshape(4, 3)
    done = forks.run(script, folder / "reusable", json.dumps(x.tolist()))
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    layer = hubkeras.KerasLayer(folder / "trained", trainable=True)
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    losses = model.fit(x, np.ones([4, 3]), epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(found["losses"], losses, rtol=1e-4)
    np.testing.assert_allclose(found["outputs"], model.predict(x, verbose=0), rtol=1e-3, atol=1e-5)
    assert found["trained"] == 2


def test_the_values_of_today_and_the_module_as_it_was(tmp_path):
    """A loaded module is written with its variables as they are, and verification does not change them."""
    module = hubkeras.load(MODULES / "batch_renorm")
    for v in module.trainable_variables:
        v.assign_add(tf.ones_like(v))
    before = [v.numpy() for v in module.variables]
    done = hubkeras.convert(module, tmp_path / "new", "saved_model")
    for v, value in zip(module.variables, before, strict=True):
        np.testing.assert_array_equal(v, value)
    assert done.greatest_difference < 1e-6
    assert set(done.verified.differences) >= {"signature 'default'", "the call with training=True"}
    x = FLOATS.reshape(3, 4)
    np.testing.assert_allclose(tf.saved_model.load(str(tmp_path / "new"))(x), module(x), rtol=1e-5)


@pytest.mark.parametrize("name", ["text_paths", "odd_names", "sparse_training", "odd_places", "tf2_signatures"])
def test_odd_signatures(tmp_path, name):
    """Inputs and outputs that a TF2 SavedModel cannot name or hold are there as what it can."""
    done = hubkeras.convert(MODULES / name, tmp_path / "new", "saved_model")
    assert done.verified.untried == done.verified.random == ()
    assert "greatest difference 0" in str(done)


def test_what_is_refused(tmp_path):
    """Nothing is overwritten; formats and arguments are checked before anything is loaded."""
    with pytest.raises(hubkeras.errors.ConversionError, match="Received: 'pmml'"):
        hubkeras.convert("nowhere", tmp_path / "new", "pmml")
    module = hubkeras.load(MODULES / "chance")
    with pytest.raises(hubkeras.errors.ConversionError, match="chosen already"):
        hubkeras.convert(module, tmp_path / "new", "saved_model", tags=["train"])
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    with pytest.raises(hubkeras.errors.ExportExistsError):
        hubkeras.convert(module, tmp_path / "there", "saved_model")
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def branches(tags):
    """Branches of TensorFlow 1 in each other, over reference variables; one of them draws, and assigns."""
    x, keep = v1.placeholder(tf.float32, [None, 3], "x"), v1.placeholder(tf.float32, [], "keep")
    is_training = v1.placeholder(tf.bool, [], "is_training")
    w = variable("w", FLOATS[:9].reshape(3, 3), use_resource=False)
    b = variable("b", [1.0, 2.0, 3.0], use_resource=False)
    count = variable("count", 0.0, trainable=False, use_resource=False)
    h = x @ w

    def train():
        with tf.control_dependencies([v1.assign_add(count, 1.0)]):
            return v1.nn.dropout(h, rate=1 - keep) * b

    def infer():
        return v1.cond(tf.reduce_mean(h) > 0, lambda: h * b, lambda: b - tf.tanh(h))

    inputs = {"x": x, "keep": keep, "is_training": is_training}
    return {"default": (inputs, {"default": v1.cond(is_training, train, infer)})}


def test_gradients_of_branches_over_reference_variables(tmp_path):
    """In each branch those which hubkeras takes, and what it assigns is assigned once."""
    write(tmp_path / "branches", branches)
    done = hubkeras.convert(tmp_path / "branches", tmp_path / "new", "saved_model")
    assert not done.verified.without_gradients
    module, loaded = hubkeras.load(tmp_path / "branches"), tf.saved_model.load(str(tmp_path / "new"))
    found = []
    for is_training, sign in ((False, 1), (False, -1), (True, 1)):
        x = sign * tf.constant(FLOATS.reshape(4, 3) ** 2)
        rest = {"keep": tf.constant(1.0), "is_training": tf.constant(is_training)}
        want = step(lambda x, rest=rest: module({"x": x, **rest}), module.trainable_variables, x)
        got = step(lambda x, rest=rest: loaded({"x": x, **rest}), loaded.trainable_variables, x)
        np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
        for have, golden in zip(got[1], want[1], strict=True):
            np.testing.assert_allclose(have, golden, rtol=1e-4, atol=1e-6)
        assert all(np.abs(gradient).max() > 0 for gradient in got[1][1:])
        found.append(got[0].numpy())
        assert [float(v) for v in (*module.variables, *loaded.variables) if not v.shape.rank] == [is_training] * 2
    assert not np.allclose(found[0], found[1])
