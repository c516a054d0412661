"""What a call costs above what runs, counted in function calls, which do not depend on how busy the machine is.

`benchmarks/calls.py` measures the time.
"""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from building import v1, variable, write

import hubkeras

X = tf.ones([2, 3])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")
        y = x @ variable("w", np.eye(3, dtype=np.float32)) + variable("b", np.zeros(3, np.float32))
        looped = v1.while_loop(lambda i, _: i < 2, lambda i, h: (i + 1, tf.tanh(h)), [0, y])[1]
        return {"default": ({"x": x}, {"default": y}), "looped": ({"x": x}, {"default": looped})}

    return write(tmp_path_factory.mktemp("costs") / "module", build)


@pytest.fixture(scope="module")
def module(path):
    return hubkeras.load(path)


@pytest.fixture(scope="module")
def theirs(path):
    """What `hub.load` of tensorflow_hub returns for a module in TF1 Hub format."""
    return tf.saved_model.load(path, tags=[])


def count(function):
    """Returns how many functions of Python and C one call sets off, once all that is kept has been built."""
    for _ in range(2):
        function()
    found = 0

    def profile(frame, event, argument):
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


def test_a_signature(module, theirs):
    assert count(lambda: module.signatures["default"](X)) < 1.1 * count(lambda: theirs.signatures["default"](X))


def test_a_module(module, theirs):
    assert count(lambda: module(X)) < 1.3 * count(lambda: theirs.signatures["default"](X))


@pytest.mark.parametrize("trainable", [False, True])
def test_a_layer(module, trainable):
    layer, dense = hubkeras.KerasLayer(module, trainable=trainable), keras.layers.Dense(3)
    assert count(lambda: layer(X)) < 1.1 * count(lambda: dense(X))


def test_no_gradient_is_prepared_that_nobody_may_ask_for(path):
    """Where a tape watches, or a graph is being built, somebody may."""
    module = hubkeras.load(path)
    call = module.signatures["looped"]
    bound = module.variant().function("looped").bound
    for x in (X, X + 1):
        np.testing.assert_allclose(call(x)["default"], np.tanh(np.tanh(x)), rtol=1e-6)
    assert "_function" not in vars(bound)
    with tf.GradientTape() as tape:
        y = call(X)["default"]
        with tape.stop_recording():
            call(X)
    gradient = tape.gradient(y, module.variable_map["b"])
    np.testing.assert_allclose(gradient, 2 * (1 - np.tanh(1) ** 2) * (1 - np.tanh(np.tanh(1)) ** 2), rtol=1e-5)
    compiled = tf.function(lambda x: call(x)["default"], autograph=False)
    with tf.GradientTape() as tape:
        y = compiled(X)
    np.testing.assert_array_equal(tape.gradient(y, module.variable_map["b"]), gradient)
    with tf.autodiff.ForwardAccumulator(X, tf.ones_like(X)) as accumulator:
        y = module(X)
    np.testing.assert_array_equal(accumulator.jvp(y), tf.ones_like(X))
