"""Calls of TF2 objects that do not fit: checked and refused as those of a TF1 module."""

import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from hubkeras.errors import InputError

IDS = np.ones((2, 3), np.int64)
NAMES = ("input_word_ids", "input_mask", "input_type_ids")


class Images(tf.Module):
    """The mean of images."""

    @tf.function
    def __call__(self, x, training=False):
        return tf.reduce_mean(x, [1, 2])

    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None])])
    def add(self, a, b):
        return a + b


class Encoder(tf.Module):
    """Takes what BERT takes."""

    @tf.function
    def __call__(self, inputs, training=False):
        return {"pooled_output": tf.cast(inputs["input_word_ids"], tf.float32)}


class Sum(tf.Module):
    """Takes two tensors."""

    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None])])
    def __call__(self, a, b):
        return a + b


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    images, encoder = Images(), Encoder()
    for training in (False, True):
        images.__call__.get_concrete_function(tf.TensorSpec([None, None, None, 3]), training=training)
        specs = {name: tf.TensorSpec([None, None], tf.int32) for name in NAMES}
        encoder.__call__.get_concrete_function(specs, training=training)
    found = {}
    for name, thing in (("images", images), ("encoder", encoder), ("sum", Sum())):
        tf.saved_model.save(thing, folder / name)
        found[name] = folder / name
    return found


TENSOR = tf.zeros([1, 2, 2, 3])
TF1_KEYS = dict.fromkeys(("input_ids", "input_mask", "segment_ids"), tf.ones([2, 3], tf.int32))
WRONG = [
    ("images", tf.cast(TENSOR, tf.uint8), r"'x'.*float32 and shape \(None, None, None, 3\).*uint8.*tf\.cast"),
    ("images", TENSOR[0], r"'x'.*Received: shape \(2, 2, 3\).*x\[tf\.newaxis\]"),
    ("images", {"images": TENSOR}, r"missing: \['x'\], not known: \['images'\]"),
    (
        "encoder",
        TF1_KEYS,
        r"missing: \['input_type_ids', 'input_word_ids'\], not known: \['input_ids'",
    ),
    ("encoder", dict.fromkeys(NAMES, tf.ones([2, 3], tf.int64)), r"'input_word_ids'|'input_mask'|'input_type_ids'"),
    ("encoder", [tf.ones([2, 3], tf.int32)] * 3, r"multiple inputs.*\{'input_mask': \.\.\."),
    ("sum", tf.zeros([3]), r"Cannot call TF2 SavedModel.*\(float32 of shape \(None,\), float32 of shape \(None,\)\)"),
]


@pytest.mark.parametrize(("name", "inputs", "message"), WRONG)
def test_wrong_inputs(objects, name, inputs, message):
    """The message is that of a signature, for the module and for a layer, and no more than that."""
    for call in (hubkeras.load(objects[name]), hubkeras.KerasLayer(objects[name])):
        with pytest.raises(InputError, match=message) as caught:
            call(inputs)
        assert "Option" not in str(caught.value)


def test_numpy_and_python_values(objects):
    """They take the dtype of the object's function, where that is no loss."""
    for call in (hubkeras.load(objects["images"]), hubkeras.KerasLayer(objects["images"])):
        for image in (TENSOR.numpy().astype(np.float64), TENSOR.numpy().astype(np.uint8)):
            assert call(image).dtype == tf.float32
    for call in (hubkeras.load(objects["encoder"]), hubkeras.KerasLayer(objects["encoder"])):
        assert call(dict.fromkeys(NAMES, IDS))["pooled_output"].shape == (2, 3)
        with pytest.raises(InputError, match="loss"):
            call(dict.fromkeys(NAMES, IDS + 0.5))


def test_unknown_arguments(objects):
    """What the call may look like."""
    with pytest.raises(InputError, match=r"expected|Expected: arguments \(float32 of shape.*speed=3"):
        hubkeras.load(objects["images"])(TENSOR, speed=3)


def test_all_outputs(objects):
    """`as_dict` gives a dict of what the object returns, too."""
    assert list(hubkeras.load(objects["images"])(TENSOR, as_dict=True)) == ["default"]
    inputs = dict.fromkeys(NAMES, tf.ones([2, 3], tf.int32))
    assert list(hubkeras.load(objects["encoder"])(inputs, as_dict=True)) == ["pooled_output"]


def test_what_the_object_raises_is_its_own(objects):
    """An error from within passes as it is."""
    with pytest.raises(tf.errors.OpError):
        hubkeras.load(objects["sum"])(tf.zeros([3]), tf.zeros([2]))
