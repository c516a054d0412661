"""What of a traceback a user gets to see."""

import traceback
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN

import hubkeras
from hubkeras.errors import HubKerasError

MODULES = GOLDEN / "modules"
PACKAGE = str(Path(hubkeras.__file__).parent)
X = np.zeros([1, 2, 3], np.float32)


def shown(call):
    """The files of the frames below this one."""
    with pytest.raises((HubKerasError, tf.errors.OpError)) as caught:
        call()
    return [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)][2:]


CALLS = {
    "layer": lambda: hubkeras.KerasLayer(MODULES / "batch_renorm")(tf.constant(X)),
    "layer, numpy": lambda: hubkeras.KerasLayer(MODULES / "batch_renorm")(X),
    "layer, symbolic": lambda: hubkeras.KerasLayer(MODULES / "batch_renorm")(keras.Input((2, 3))),
    "model": lambda: keras.Sequential([hubkeras.KerasLayer(MODULES / "batch_renorm"), keras.layers.Dense(1)])(X),
    "module": lambda: hubkeras.load(MODULES / "batch_renorm")(tf.constant(X)),
    "signature": lambda: hubkeras.load(MODULES / "batch_renorm").signatures["default"](X),
    "object": lambda: hubkeras.load(MODULES / "tf2_reusable")(X),
    "handle": lambda: hubkeras.load("/nowhere"),
    "layer's handle": lambda: hubkeras.KerasLayer("/nowhere"),
    "layer's signature": lambda: hubkeras.KerasLayer(MODULES / "batch_renorm", signature="nope"),
}


@pytest.mark.parametrize("name", CALLS)
def test_only_the_users_line_is_shown(name):
    """No frame of this package, and a few of those that wrap the call."""
    frames = shown(CALLS[name])
    assert not any(f.startswith(PACKAGE) for f in frames)
    assert len(frames) <= 3


def test_everything_is_shown_on_demand():
    """To whoever wants to see it."""
    tf.debugging.disable_traceback_filtering()
    try:
        assert any(f.startswith(PACKAGE) for f in shown(CALLS["module"]))
    finally:
        tf.debugging.enable_traceback_filtering()
    keras.config.disable_traceback_filtering()
    try:
        assert any(f.startswith(PACKAGE) for f in shown(CALLS["layer"]))
    finally:
        keras.config.enable_traceback_filtering()


def test_the_users_own_frames_stay():
    """A function that a layer calls is the user's."""

    def fails(x):
        return hubkeras.load(MODULES / "batch_renorm")(tf.zeros([1, 2, 3]))

    assert __file__ in shown(lambda: hubkeras.KerasLayer(fails)(tf.constant(X)))
