"""Image sizes: what is attached counts before the shape of the input."""

from pathlib import Path

import pytest
import tensorflow as tf
from building import write

import hubkeras
from hubkeras.errors import InputError, SignatureError

MODULES = Path(__file__).parent.parent / "golden" / "modules"
v1 = tf.compat.v1


def module(path, shape, name="images"):
    def build(tags):
        x = v1.placeholder(tf.float32, shape, "x")
        return {"default": ({name: x}, {"default": x}), "other": ({"pictures": x}, {"default": x})}

    return hubkeras.load(write(path / "m", build))


def test_size_and_channels_of_the_input(tmp_path):
    sized = module(tmp_path, [None, 32, 48, 3])
    assert hubkeras.get_expected_image_size(sized) == [32, 48]
    assert hubkeras.get_num_image_channels(sized) == 3
    assert hubkeras.get_expected_image_size(sized, signature="other", input_name="pictures") == [32, 48]


def test_what_is_attached_counts_first():
    attached = hubkeras.load(MODULES / "batch_norm_tensor")
    assert hubkeras.get_expected_image_size(attached) == [6, 5]
    assert hubkeras.get_expected_image_size(attached, signature="nothing", input_name="nothing") == [6, 5]


@pytest.mark.parametrize(
    ("shape", "name", "kwargs", "words"),
    [
        ([None, None, None, 3], "images", {}, "height Received: [None, None, None, 3] signature="),
        ([None, 32, None, 3], "images", {}, "width [None, 32, None, 3]"),
        ([None, 32, 32], "images", {}, "[batch, height, width, channels] (None, 32, 32)"),
        (None, "images", {}, "<unknown>"),
        ([None, 32, 32, 3], "x", {}, "'images' ['x'] input_name="),
        ([None, 32, 32, 3], "images", {"signature": "other"}, "'images' ['pictures']"),
        ([None, 32, 32, 3], "images", {"signature": "nope"}, "'nope' ['default', 'other']"),
    ],
)
def test_where_nothing_tells(tmp_path, shape, name, kwargs, words):
    with pytest.raises(SignatureError) as caught:
        hubkeras.get_expected_image_size(module(tmp_path, shape, name), **kwargs)
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, InputError)
    for word in words.split(" "):
        assert word in str(caught.value), caught.value


def test_unknown_depth(tmp_path):
    with pytest.raises(SignatureError, match="depth"):
        hubkeras.get_num_image_channels(module(tmp_path, [None, 32, 32, None]))
