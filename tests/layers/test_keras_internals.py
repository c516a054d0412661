"""The private names of Keras are where this version of hubkeras expects them, and it says so where one is not."""

import re
from pathlib import Path

import keras
import pytest

import hubkeras.layers
from hubkeras.errors import UnsupportedError
from hubkeras.layers.keras_internals import PRIVATE_NAMES, OpenLayer, require_private_name, shared_objects


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_each_name_is_there(name):
    require_private_name(name)


@pytest.mark.parametrize(
    "name", ["keras.src.saving.gone", "keras.src.gone.name", "keras.layers.Layer._gone", "keras.Variable._gone"]
)
def test_a_name_that_moved_is_told(name):
    with pytest.raises(UnsupportedError, match=re.escape(f"it has no {name}")):
        require_private_name(name)


def test_no_name_is_made_up():
    """What a layer does not have is not set: Keras would take no notice of it."""
    layer = OpenLayer()
    del layer._convert_input_args
    with pytest.raises(UnsupportedError, match=r"it has no keras\.layers\.Layer\._convert_input_args"):
        layer.take_inputs_as_they_are()


def test_objects_are_shared_while_a_config_is_read():
    from keras.src.saving.serialization_lib import ObjectSharingScope

    assert shared_objects() is None
    with ObjectSharingScope():
        assert shared_objects() == {}


def test_no_other_file_knows_one():
    """Elsewhere in the layers no private name of Keras stands, and none of this package hides one of `Layer`."""
    for path in Path(hubkeras.layers.__file__).parent.glob("*.py"):
        text = path.read_text()
        if path.name != "keras_internals.py":
            assert "keras.src" not in text, path
            for name in PRIVATE_NAMES:
                assert not re.search(rf"\b{name.rpartition('.')[2]}\b", text.replace("keras_internals", "")) or (
                    name.endswith("in_safe_mode")
                ), (path, name)
    layer = hubkeras.KerasLayer(lambda x: x)
    ours = {name for c in type(layer).__mro__ if c.__module__.startswith("hubkeras.") for name in vars(c)}
    hidden = {name for name in ours & set(dir(keras.layers.Layer())) if name.startswith("_") and name[:2] != "__"}
    assert hidden == {"_get_own_losses", "_layers"}
