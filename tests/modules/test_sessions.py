"""Modules in a `tf.Graph` with a Session, as code in migration has them."""

import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN

import hubkeras
from hubkeras.errors import UnsupportedError

v1 = tf.compat.v1
MODULES = GOLDEN / "modules"
FLOATS = np.linspace(-1, 1, 12, dtype=np.float32)
TEXTS = np.array(["the cat", ""], object)
INPUTS = {
    "batch_renorm": FLOATS.reshape(3, 4),
    "losses_and_updates": FLOATS.reshape(4, 3),
    "text_paths": TEXTS,
    "many_tables": TEXTS,
    "tables_v1": TEXTS,
    "tf2_reusable": FLOATS.reshape(4, 3),
}


@pytest.mark.parametrize("name", INPUTS)
def test_values(name):
    """The usual initializers, and then the numbers of eager mode."""
    want = hubkeras.load(MODULES / name)(tf.constant(INPUTS[name])).numpy()
    with tf.Graph().as_default(), v1.Session() as session:
        module = hubkeras.load(MODULES / name)
        x = v1.placeholder(tf.as_dtype(tf.string if INPUTS[name].dtype == object else tf.float32), INPUTS[name].shape)
        y = module(x)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        np.testing.assert_array_equal(session.run(y, {x: INPUTS[name]}), want)


def test_collections():
    """Variables under their own names, trainable ones and tables."""
    with tf.Graph().as_default():
        module = hubkeras.load(MODULES / "batch_renorm")
        names = {v.op.name for v in v1.global_variables()}
        assert {"w", "bn/gamma", "bn/moving_mean"} <= names
        assert set(module.trainable_variables) == set(v1.trainable_variables())
        assert len(v1.trainable_variables()) < len(names)
        hubkeras.load(MODULES / "many_tables")(v1.placeholder(tf.string, [None]))
        assert len(v1.get_collection(v1.GraphKeys.TABLE_INITIALIZERS)) == 2


def test_training():
    """An optimizer of TensorFlow 1 trains the module."""
    with tf.Graph().as_default(), v1.Session() as session:
        module = hubkeras.load(MODULES / "batch_renorm")
        loss = tf.reduce_sum(module(tf.constant(INPUTS["batch_renorm"])) ** 2)
        step = v1.train.GradientDescentOptimizer(0.01).minimize(loss)
        session.run(v1.global_variables_initializer())
        before, _, after = session.run(loss), session.run(step), session.run(loss)
        assert after < before


def test_a_module_of_elsewhere():
    """What was loaded in eager mode works there, what was loaded in a graph in that graph."""
    eager = hubkeras.load(MODULES / "batch_renorm")
    with tf.Graph().as_default():
        with pytest.raises(UnsupportedError, match=r"in a graph|here"):
            eager(v1.placeholder(tf.float32, [None, 4]))
        other = hubkeras.load(MODULES / "batch_renorm")
    with pytest.raises(UnsupportedError, match="or outside"):
        other(tf.zeros([1, 4]))
