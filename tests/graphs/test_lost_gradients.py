"""Gradients that a module names and does not hold."""

import numpy as np
import pytest
import tensorflow as tf
from building import v1, variable, write

import hubkeras
from hubkeras.errors import UnsupportedError

X = np.ones((1, 3), np.float32)
NAME = "HubKerasTestsGradient"


@tf.RegisterGradient(NAME)
def _tenfold(op, gradient):
    return 10 * gradient


def with_custom_gradient(in_loop=False):
    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")

        @tf.custom_gradient
        def swish(t):
            return t * tf.sigmoid(t), lambda gradient: gradient

        y = swish(x * variable("w", np.float32([1, 2, 3])))
        if in_loop:
            y = v1.while_loop(lambda i, _: i < 2, lambda i, h: (i + 1, h * 1.0), [0, y])[1]
        return {"default": ({"x": x}, {"default": y})}

    return build


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_python_function_is_refused(in_loop, tmp_path):
    """Though this process may have another function under the same number; calls without gradients work."""
    module = hubkeras.load(write(tmp_path / "swish", with_custom_gradient(in_loop)))
    np.testing.assert_allclose(module(X)[0, 0], 1 / (1 + np.exp(-1)), rtol=1e-6)
    with tf.GradientTape(), pytest.raises(UnsupportedError, match="Python function"):
        module(X)


def test_such_a_module_can_be_saved(tmp_path):
    module = hubkeras.load(write(tmp_path / "swish", with_custom_gradient()))
    host = tf.Module()
    host.module = module
    host.call = tf.function(lambda x: module(x), input_signature=[tf.TensorSpec([None, 3], name="x")], autograph=False)
    tf.saved_model.save(host, str(tmp_path / "saved"), signatures=host.call)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(loaded.call(X), module(X))


def test_a_registered_name_is_used(tmp_path):
    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")
        w = variable("w", np.float32([1, 2, 3]))
        with v1.get_default_graph().gradient_override_map({"Relu": NAME}):
            return {"default": ({"x": x}, {"default": tf.nn.relu(x * w)})}

    module = hubkeras.load(write(tmp_path / "overridden", build))
    with tf.GradientTape() as tape:
        y = module(X)
    np.testing.assert_array_equal(tape.gradient(y, module.variables[0]), [10, 10, 10])
