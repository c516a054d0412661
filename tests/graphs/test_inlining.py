"""Calls of library functions: gradients through them, and the gradients that they bring along."""

import numpy as np
import pytest
import tensorflow as tf
from building import v1, variable, write
from tensorflow.python.framework import function

import hubkeras
from hubkeras.errors import UnsupportedError

X = np.ones((1, 3), np.float32)
W = np.float32([1, 2, 3])


def seven(x, gradient):
    return gradient * 7 + 0 * x


def module_of(path, use, grad_func=None, body=lambda x: x * x):
    """Applies `use` to the input, the weight and a Defun."""

    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")
        gradient = function.Defun(tf.float32, tf.float32)(grad_func) if grad_func else None
        square = function.Defun(tf.float32, func_name="square", grad_func=gradient)(body)
        return {"default": ({"x": x}, {"default": use(x, variable("w", W), square)})}

    return hubkeras.load(write(path, build))


def gradient_of(module):
    w = module.variables[0]
    with tf.GradientTape() as tape:
        y = module(X)
    return tape.gradient(y, w)


def test_a_gradient_goes_through_a_call(tmp_path):
    module = module_of(tmp_path / "m", lambda x, w, square: square(square(x * w)))
    np.testing.assert_allclose(gradient_of(module), 4 * W**3)


@pytest.mark.parametrize("in_function", [False, True])
def test_a_functions_own_gradient_is_used(tmp_path, in_function):
    """Two calls in a row: 7 * 7, not the derivative of the fourth power."""
    module = module_of(tmp_path / "m", lambda x, w, square: square(square(x * w)), seven)
    run = tf.function(gradient_of, autograph=False) if in_function else gradient_of
    np.testing.assert_allclose(run(module), [49, 49, 49])
    np.testing.assert_allclose(module(X)[0], W**4)


def test_its_own_gradient_in_a_loop(tmp_path):
    def use(x, w, square):
        return v1.while_loop(
            lambda i, _: i < 2, lambda i, h: (i + 1, tf.ensure_shape(square(h), [None, 3])), [0, x * w]
        )[1]

    np.testing.assert_allclose(gradient_of(module_of(tmp_path / "m", use, seven)), [49, 49, 49])


def test_two_modules_with_functions_of_one_name(tmp_path):
    """Each keeps its own body and its own gradient."""
    use = lambda x, w, square: square(x * w)  # noqa: E731
    one = module_of(tmp_path / "one", use, seven)
    other = module_of(tmp_path / "other", use, lambda x, gradient: gradient * 5 + 0 * x, lambda x: x + 1)
    np.testing.assert_allclose(gradient_of(one), [7, 7, 7])
    np.testing.assert_allclose(gradient_of(other), [5, 5, 5])
    np.testing.assert_allclose(other(X)[0], W + 1)


def test_chance_beside_a_functions_own_gradient(tmp_path):
    """What is drawn outside of the function is the same in the gradient: y = f(xw) * r, dy/dw = 7 * r."""
    module = module_of(tmp_path / "m", lambda x, w, square: square(x * w) * tf.random.uniform([3]), seven)
    w = module.variables[0]
    with tf.GradientTape() as tape:
        y = module(X)
    np.testing.assert_allclose(tape.gradient(y, w), 7 * y[0] / W**2, rtol=1e-5)


def test_chance_in_a_function_with_a_gradient(tmp_path):
    """The function would draw anew for the gradient of what follows it; so it is refused."""
    module = module_of(
        tmp_path / "m", lambda x, w, square: square(x * w) ** 2, seven, lambda x: x * tf.random.uniform([3])
    )
    assert not np.array_equal(module(X), module(X))
    with tf.GradientTape(), pytest.raises(UnsupportedError, match="RandomUniform"):
        module(X)


def test_second_derivatives_of_a_plain_call(tmp_path):
    module = module_of(tmp_path / "m", lambda x, w, square: square(x * w))
    with tf.GradientTape() as outer:
        gradient = gradient_of(module)
    np.testing.assert_allclose(outer.gradient(gradient, module.variables[0]), [2, 2, 2])
