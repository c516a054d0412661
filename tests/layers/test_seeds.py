"""Seeds govern what is random inside a module: the same ones, the same losses."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from building import v1, variable, write

import hubkeras

X = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4)
Y = np.ones((8, 4), np.float32)


def _noise(x, seed=None):
    """Ones and zeros."""
    return tf.cast(v1.random_uniform(tf.shape(x), seed=seed) < 0.5, tf.float32)


@tf.function
def _looped(x):
    """In the body of a function of its own, and in one of a loop."""
    for _ in tf.range(2):
        x = x * (1 + tf.random.stateless_normal([], [1, 2]) * 0) * (1 + v1.random_normal(tf.shape(x)))
    return x


def _loop(x, seed=None):
    return v1.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * (1 + _noise(y, seed))), [0, x])[1]


KINDS = {
    "uniform": lambda x: x * _noise(x),
    "normal": lambda x: x * v1.random_normal(tf.shape(x)) + v1.truncated_normal(tf.shape(x)),
    "loop": _loop,
    "functional loop": _looped,
    "shuffle": lambda x: v1.random_shuffle(x) * x,
    "multinomial": lambda x: x * tf.cast(v1.multinomial(tf.math.log(tf.ones([8, 2])), 4), tf.float32),
    "gamma": lambda x: x * v1.random_gamma(tf.shape(x), 1.0),
    "poisson": lambda x: x * v1.random_poisson(1.0, tf.shape(x)),
    "parameterized": lambda x: (
        x * tf.raw_ops.ParameterizedTruncatedNormal(shape=[8, 4], means=0.0, stdevs=1.0, minvals=-2.0, maxvals=2.0)
    ),
    "own seed": lambda x: x * _noise(x, seed=5),
    "own seed in a loop": lambda x: _loop(x, seed=5),
}

TRAINED = ["uniform", "loop", "functional loop", "own seed"]


@pytest.fixture(scope="module")
def handles(tmp_path_factory):
    """A module of each kind, random where it trains and, with a signature of its own, elsewhere too."""
    folder = tmp_path_factory.mktemp("seeds")

    def build(kind, tags):
        x = v1.placeholder(tf.float32, [8, 4], "x")
        weighted = x @ variable("w", np.eye(4, dtype=np.float32))
        drawn = kind(weighted)
        return {
            "default": ({"x": x}, {"default": drawn if "train" in tags else weighted}),
            "drawn": ({"x": x}, {"default": drawn}),
        }

    return {
        name: write(folder / name.replace(" ", "_"), lambda tags, kind=kind: build(kind, tags), [(), ("train",)])
        for name, kind in KINDS.items()
    }


def losses(handle, seed, make=None):
    """What `fit` tells of a new model."""
    keras.utils.set_random_seed(seed)
    make = make or (lambda: keras.Sequential([hubkeras.KerasLayer(handle, trainable=True)]))
    model = make()
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model.fit(X, Y, batch_size=8, epochs=2, verbose=0, shuffle=False).history["loss"], model


@pytest.mark.parametrize("kind", TRAINED)
def test_fit(handles, kind):
    """The same seed, the same losses, another for each step; another seed, other losses."""
    (first, _), (second, _), (third, _) = (losses(handles[kind], seed) for seed in (1, 1, 2))
    assert first == second
    assert len(set(first)) == 2
    assert (first == third) == ("own seed" in kind)


@pytest.mark.parametrize("kind", KINDS)
def test_load(handles, kind):
    """`tf.random.set_seed` governs a loaded module, eagerly and in a function."""

    def draw(seed, wrap):
        tf.random.set_seed(seed)
        module = hubkeras.load(handles[kind])
        function = wrap(lambda x: module(x, signature="drawn"))
        return np.stack([function(tf.constant(X)) for _ in range(2)])

    for wrap in (lambda f: f, tf.function) if kind == "uniform" else (lambda f: f,):
        first, second, third = (draw(seed, wrap) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, second)
        assert (first[0] != first[1]).any()
        assert (first != third).any() == ("own seed" not in kind)


@pytest.mark.parametrize("kind", ["uniform", "loop", "own seed in a loop", "functional loop"])
def test_gradients_see_what_the_call_drew(handles, kind):
    """A gradient through a loop runs it once more."""
    layer = hubkeras.KerasLayer(handles[kind], signature="drawn", trainable=True)
    x = tf.constant(X)
    for _ in range(2):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        # The output is linear in the input, by factors that were drawn.
        np.testing.assert_allclose(tape.gradient(y, x) * X, y, rtol=1e-5, atol=1e-6)


def test_saved_models(handles, tmp_path):
    """A model out of a `.keras` file draws from the seed that is set when it is read."""
    losses(handles["uniform"], 1)[1].save(tmp_path / "m.keras")
    first, second, third = (
        losses(None, seed, lambda: keras.models.load_model(tmp_path / "m.keras"))[0] for seed in (1, 1, 2)
    )
    assert first == second != third


@contextlib.contextmanager
def determinism():
    """TensorFlow has a switch that only goes one way; the test's own way back."""
    from tensorflow.python.framework import config

    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        config.disable_op_determinism()


@pytest.mark.parametrize("kind", ["uniform", "shuffle"])
def test_op_determinism(handles, kind):
    """Ops that draw without a seed are refused there; ours have one."""
    with determinism():
        first, second = (losses(handles[kind], 3)[0] for _ in range(2))
    assert first == second


def test_only_random_modules_have_a_seed(handles):
    """A layer over another module has no variables but the module's."""
    assert len(hubkeras.KerasLayer(handles["own seed"]).variables) == 1
    assert len(hubkeras.KerasLayer(handles["uniform"]).variables) == 2
    assert len(hubkeras.KerasLayer(handles["uniform"]).weights) == 1


def test_replicas(handles):
    """A layer in the scope of a strategy: each replica draws, and the same seed gives the same."""
    devices = tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])

    def run():
        keras.utils.set_random_seed(1)
        with strategy.scope():
            layer = hubkeras.KerasLayer(handles["uniform"], trainable=True)
        call = tf.function(lambda: strategy.run(lambda: layer(tf.constant(X), training=True)))
        return [np.stack([t.numpy() for t in strategy.experimental_local_results(call())]) for _ in range(2)]

    (first, then), again = run(), run()
    np.testing.assert_array_equal([first, then], again)
    assert (first != then).any()
