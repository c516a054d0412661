"""A few steps of training, the same for a Keras model, its module in hubkeras, and its module in the original.

A trajectory is a dict of arrays: outputs for inference, then outputs, gradients, losses and variables of each step of
gradient descent on the mean squares of all floating outputs with the regularization losses. Inputs and trajectories
travel to the original as .npz files, which `tests/original/check_published.py` reads.
"""

import numpy as np
import tensorflow as tf

RATE = 0.05


def squares(outputs):
    """The loss."""
    floating = [o for o in outputs.values() if o.dtype.is_floating]
    return tf.add_n([tf.reduce_mean(tf.square(tf.cast(o, tf.float32))) for o in floating])


def run(steps, before, infer, train, losses, trainable, variables):
    """Trains and records.

    Args:
        steps: How many.
        before: Outputs by name for inference, before the training.
        infer: Returns them, after it.
        train: Returns them in training, and updates what training updates.
        losses: Returns the regularization losses.
        trainable: The trainable variables by name.
        variables: All variables by name.
    """
    found = {f"infer/{k}": o for k, o in before.items()}
    for step in range(steps):
        with tf.GradientTape() as tape:
            outputs, regularization = train(), losses()
            loss = tf.add_n([squares(outputs), *regularization])
        gradients = dict(zip(trainable, tape.gradient(loss, list(trainable.values())), strict=True))
        found |= {f"{step}/output/{k}": o for k, o in outputs.items()}
        found |= {f"{step}/gradient/{k}": tf.convert_to_tensor(g) for k, g in gradients.items() if g is not None}
        found[f"{step}/regularization"] = tf.reduce_sum([tf.cast(x, tf.float64) for x in regularization])
        for name, gradient in gradients.items():
            if gradient is not None:
                trainable[name].assign_sub(RATE * tf.convert_to_tensor(gradient))
        found |= {f"{step}/variable/{k}": v.read_value() for k, v in variables.items()}
    found |= {f"trained/{k}": o for k, o in infer().items()}
    return {name: arrays(value) for name, value in found.items()}


def arrays(value):
    """A tensor as an array; a ragged or sparse one as a dense one."""
    if isinstance(value, tf.RaggedTensor):
        value = value.to_tensor()
    if isinstance(value, tf.SparseTensor):
        value = tf.sparse.to_dense(value)
    value = value.numpy()
    return value.astype("S") if value.dtype == object else np.asarray(value)


def compare(got, want):
    """Asserts that two trajectories are one, up to rounding, which goes by the largest number of its kind."""
    assert sorted(got) == sorted(want)
    scales = {}
    for name, value in want.items():
        if value.dtype.kind in "fV":
            scales[_kind(name)] = max(scales.get(_kind(name), 1.0), np.abs(value).max(initial=0.0))
    for name, value in want.items():
        if value.dtype.kind in "fV":
            np.testing.assert_allclose(got[name], value, 1e-4, 1e-5 * scales[_kind(name)], err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], value, err_msg=name)


def _kind(name):
    """Such as "0/gradient": what went through the same sums."""
    return "/".join(name.split("/")[:2])
