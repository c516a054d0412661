"""What Keras wraps around a step: optimizers, accumulation, clipping, precision, compilation, steps in one run."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from building import SimpleCell, v1, variable, write
from parity import read

import hubkeras
from layers.nets import W, X, Y, write_net


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_net(tmp_path_factory.mktemp("net") / "net")


def value(layer, name):
    return layer.resolved_object.variable_map[name].numpy()


def model_of(layer, **options):
    model = keras.Sequential([keras.Input([4]), layer])
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": "mse", **options})
    model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the first step a second time
    return model


class Same(keras.layers.Layer):
    """What the module computes in training, written in Keras."""

    def __init__(self):
        super().__init__()
        self.w = self.add_weight(shape=(4, 3), initializer=lambda shape, dtype: tf.constant(W), name="w")
        self.bias = self.add_weight(shape=(3,), initializer="zeros", name="bias")

    def call(self, x):
        self.add_loss(0.5 * tf.reduce_sum(tf.convert_to_tensor(self.w) ** 2))
        hidden = x @ self.w + self.bias
        return hidden - tf.stop_gradient(tf.reduce_mean(hidden, 0))


OPTIMIZERS = {
    "sgd_momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.1),
    "adam_ema": lambda: keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.2),
    "adafactor": lambda: keras.optimizers.Adafactor(0.1),
    "lamb": lambda: keras.optimizers.Lamb(0.1),
    "clipnorm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.SGD(0.1, clipvalue=0.01),
    "accumulated": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=64.0),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_does_what_it_does_to_a_layer_of_keras(name, path):
    """Five steps of `fit()` end with the same weights; Keras' own, run eagerly, take no time to trace."""
    ours, same = hubkeras.KerasLayer(path, True), Same()
    for layer in (ours, same):
        model = model_of(layer, optimizer=OPTIMIZERS[name](), run_eagerly=layer is same)
        model.fit(tf.data.Dataset.from_tensors((X, Y)).repeat(5), verbose=0, shuffle=False)
    np.testing.assert_allclose(value(ours, "w"), same.w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value(ours, "bias"), same.bias, rtol=1e-4, atol=1e-5)
    assert not np.allclose(same.w, W)


def test_weight_decay_leaves_out_weights_by_name(path):
    """Without a gradient, only decay moves a weight; the one whose name is excluded stays."""
    layer = hubkeras.KerasLayer(path, True)
    layer.resolved_object.variable_map["bias"].assign([1, 2, 3])
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(layer.trainable_weights)
    optimizer.apply([tf.zeros_like(w) for w in layer.trainable_weights], layer.trainable_weights)
    np.testing.assert_array_equal(value(layer, "bias"), [1, 2, 3])
    np.testing.assert_allclose(value(layer, "w"), W * 0.95, rtol=1e-5)


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 3}, {"jit_compile": True}])
def test_ways_to_run_a_step(path, options):
    """Six steps run eagerly, three in one execution or compiled end where plain ones end."""
    ours, plain = hubkeras.KerasLayer(path, True), hubkeras.KerasLayer(path, True)
    data = tf.data.Dataset.from_tensors((X, Y)).repeat(6)
    model_of(ours, **options).fit(data, verbose=0, shuffle=False)
    model_of(plain, jit_compile=False).fit(data, verbose=0, shuffle=False)
    for name in ("w", "bias", "mean", "count"):
        np.testing.assert_allclose(value(ours, name), value(plain, name), rtol=1e-5, atol=1e-6)
    assert value(ours, "count") == 6


@pytest.mark.parametrize(
    ("name", "signature", "compiles"),
    [
        ("quantised", None, True),
        ("tf_functions", None, True),
        ("losses_and_updates", "weights", True),
        ("text_paths", None, False),
        ("many_tables", None, False),
        ("lstm_dropout", None, False),
        ("functional_control_flow", None, False),
        ("image_decoding", None, False),
    ],
)
def test_what_xla_may_compile(name, signature, compiles):
    """Strings, tables, loops: Keras learns that it cannot compile a model with these."""
    options = {"signature": signature, "signature_outputs_as_dict": True}
    layer = hubkeras.KerasLayer(read(name).path, True, tags=_tags(name), **options)
    assert layer.supports_jit == compiles


def _tags(name):
    return ["train"] if name == "lstm_dropout" else None


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_around_the_layer(path, policy):
    """The module computes in its own precision between layers of another; its weights keep their dtypes and train."""
    keras.config.set_dtype_policy(policy)
    try:
        layer = hubkeras.KerasLayer(path, True)
        model = keras.Sequential([keras.Input([4]), keras.layers.Dense(4), layer, keras.layers.Dense(3)])
        model.compile("adam", "mse")
        losses = model.fit(X, Y, batch_size=5, epochs=4, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert losses[-1] < losses[0]
    assert {w.name: w.dtype for w in layer.weights} == {
        "w": "float32",
        "bias": "float32",
        "mean": "float32",
        "count": "int64",
        "other": "float32",
    }
    assert layer(tf.cast(X, policy.removeprefix("mixed_"))).dtype == tf.float32
    assert value(layer, "count") == 4
    assert not np.array_equal(value(layer, "w"), W)


def test_float64_data(path):
    layer = hubkeras.KerasLayer(path, True)
    model = model_of(layer)
    model.fit(X.astype(np.float64), Y.astype(np.float64), verbose=0)
    assert value(layer, "count") == 1
    assert model.predict(X.astype(np.float64), verbose=0).dtype == np.float32


# --- v1 control flow in fit() -----------------------------------------------------------------------------------------


def text_like(tags):
    """Words to ids to rows to a recurrent layer with dropout, as text modules of that time."""
    words = v1.placeholder(tf.string, [None, None], "words")
    ids = tf.strings.to_hash_bucket_fast(words, 50)
    table = variable("table", np.linspace(-1, 1, 200, dtype=np.float32).reshape(50, 4), use_resource=False)
    kernel = variable("kernel", np.linspace(-0.5, 0.5, 28, dtype=np.float32).reshape(7, 4)[:, :3])
    cell = SimpleCell(3, kernel, keep_prob=0.8 if "train" in tags else 1.0)
    _, last = v1.nn.dynamic_rnn(cell, tf.nn.embedding_lookup(table, ids), dtype=tf.float32)
    return {"default": ({"words": words}, {"default": last})}


WORDS = np.array([["a", "b", "c"], ["d", "e", "f"], ["a", "e", "c"]])


@pytest.fixture(scope="module")
def text_path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("text") / "text", text_like, [(), ("train",)])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"steps_per_execution": 2}])
def test_a_recurrent_text_module_learns(text_path, options, optimizer):
    """Keras' own classifier on top, strings at the bottom."""
    layer = hubkeras.KerasLayer(text_path, True)
    model = keras.Sequential([keras.Input([3], dtype="string"), layer, keras.layers.Dense(1)])
    model.compile(
        optimizer=keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.05}}),
        loss="mse",
        **options,
    )
    data = tf.data.Dataset.from_tensors((WORDS, [[1.0], [-1.0], [0.5]])).repeat(30)
    before = {w.name: w.numpy() for w in layer.weights}
    first = model.evaluate(data.take(1), verbose=0)
    model.fit(data, verbose=0, shuffle=False)
    assert model.evaluate(data.take(1), verbose=0) < 0.5 * first
    used = np.unique(np.nonzero(layer.weights[0].numpy() - before[layer.weights[0].name])[0])
    assert 0 < len(used) <= 6, "rows of words that never came were changed"
    assert np.any(layer.weights[1].numpy() != before[layer.weights[1].name])
