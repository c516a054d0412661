"""Text layers in front of others: what they are called with follows from what they call."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN

import hubkeras
from hubkeras.errors import InputError, LayerError

TEXTS = np.array(["a good film", "bad", "the cat sat", "x"], object)


class Lengths(tf.Module):
    """Gives the lengths of texts, however it is trained."""

    @tf.function
    def __call__(self, x, training=False):
        return tf.cast(tf.strings.length(x), tf.float32)[:, None] * (2.0 if training else 1.0)


@pytest.fixture(scope="module")
def handles(tmp_path_factory):
    lengths = Lengths()
    for training in (False, True):
        lengths.__call__.get_concrete_function(tf.TensorSpec([None], tf.string), training=training)
    folder = tmp_path_factory.mktemp("lengths")
    tf.saved_model.save(lengths, folder)
    return {"tf1": GOLDEN / "modules" / "text_paths", "tf2": folder}


@pytest.mark.parametrize("name", ["tf1", "tf2"])
def test_without_a_word_about_dtypes(handles, name):
    """`build`, a call and `fit` know that the module takes texts."""

    def make():
        return keras.Sequential([hubkeras.KerasLayer(handles[name]), keras.layers.Dense(1)])

    built = make()
    built.build((None,))
    assert built.inputs[0].dtype == "string"
    for texts in (TEXTS, tf.constant(TEXTS.tolist())):
        assert make()(texts).shape == (4, 1)
        model = make()
        model.compile("sgd", "mse")
        model.fit(texts, np.ones((4, 1), np.float32), verbose=0)
        assert model.predict(texts, verbose=0).shape == (4, 1)
        copy = keras.Sequential.from_config(model.get_config())
        assert copy.inputs[0].dtype == "string"


def test_integers():
    """So it is for any dtype that is not a float, whose input a Sequential would make of floats."""
    layer = hubkeras.KerasLayer(GOLDEN / "modules" / "nested_loops")
    assert keras.Sequential([layer, keras.layers.Flatten()])(np.eye(3, dtype=np.int32)).shape[0] == 3
    assert hubkeras.KerasLayer(GOLDEN / "modules" / "batch_renorm", dtype="mixed_float16").compute_dtype == "float16"


@pytest.mark.parametrize("name", ["tf1", "tf2"])
def test_wrong_symbolic_inputs(handles, name):
    """Of another dtype, or with an axis too many: as for a tensor."""
    layer = hubkeras.KerasLayer(handles[name])
    with pytest.raises(InputError, match=r"dtype='string'"):
        layer(keras.Input(()))
    with pytest.raises(InputError, match="squeeze"):
        layer(keras.Input((1,), dtype="string"))
    with pytest.raises(InputError, match="squeeze"):
        layer(tf.constant([["a"]]))


def test_where_nothing_tells():
    """A plain function takes what it takes: the message says to name the dtype."""

    def lengths(x):
        return tf.cast(tf.strings.length(x), tf.float32)[:, None]

    with pytest.raises(LayerError, match=r"dtype=tf\.string"):
        keras.Sequential([hubkeras.KerasLayer(lengths), keras.layers.Dense(1)])(TEXTS)
    model = keras.Sequential([hubkeras.KerasLayer(lengths, dtype=tf.string), keras.layers.Dense(1)])
    assert model(TEXTS).shape == (4, 1)
