"""Modules on filesystems that only TensorFlow knows: `ram://` here, `gs://` and the like elsewhere."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN

import hubkeras
from hubkeras.errors import ExportError, ExportExistsError, FormatError, HandleError, MissingFileError

MODULES = GOLDEN / "modules"
TEXTS = np.array(["the cat", "", "a mat"], object)
gfile = tf.io.gfile


def put(name, path):
    """Copies a golden module to `path`, and returns that."""
    for file in (MODULES / name).rglob("*"):
        if file.is_file():
            target = f"{path}/{file.relative_to(MODULES / name).as_posix()}"
            gfile.makedirs(target.rpartition("/")[0])
            gfile.copy(str(file), target)
    return path


def same(first, second):
    for have, want in zip(*(tf.nest.flatten(x, expand_composites=True) for x in (first, second)), strict=True):
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("name", ["stacked", "tables_v1", "saved_model_main_op"])
def test_load_and_export(name):
    """A module loads from there, and one that is written there has its variables, tables and assets."""
    want = hubkeras.load(MODULES / name)(TEXTS, as_dict=True)
    module = hubkeras.load(put(name, f"ram://load/{name}") + "/")
    same(module(TEXTS, as_dict=True), want)
    module.export(f"ram://export/{name}")
    again = hubkeras.load(f"ram://export/{name}")
    assert again.description.format == "tf1_hub"
    same(again(TEXTS, as_dict=True), want)
    with pytest.raises(ExportExistsError, match="ram://export"):
        module.export(f"ram://export/{name}")


def test_objects_of_tf2():
    path = put("tf2_signatures", "ram://tf2/module")
    want = hubkeras.load(MODULES / "tf2_signatures")(TEXTS, signature="serving_default", as_dict=True)
    same(hubkeras.load(path)(TEXTS, signature="serving_default", as_dict=True), want)


@pytest.mark.parametrize("name", ["stacked", "tf2_signatures"])
def test_a_keras_file(name, tmp_path):
    """A layer from there is saved with its module, to a file on this machine or there."""
    path = put(name, f"ram://keras/{name}")
    options = {"signature": "serving_default", "signature_outputs_as_dict": True} if name.startswith("tf2") else {}
    layer = hubkeras.KerasLayer(path, dtype=tf.string, input_shape=[], **options)
    model = keras.Sequential([keras.Input([], dtype=tf.string), layer])
    for target in (tmp_path / "model.keras", f"ram://keras/{name}.keras"):
        model.save(target)
        same(keras.models.load_model(target)(tf.constant(TEXTS)), model(tf.constant(TEXTS)))


def test_a_saved_model():
    """`tf.saved_model.save` writes a loaded module there."""
    module = hubkeras.load(put("tables_v1", "ram://saved/module"))
    tf.saved_model.save(module, "ram://saved/again")
    have = tf.saved_model.load("ram://saved/again").signatures["serving_default"](tf.constant(TEXTS))
    same(have, module(TEXTS, as_dict=True))


def test_what_is_missing_or_damaged_has_a_name():
    with pytest.raises(MissingFileError, match="ram://nothing"):
        hubkeras.load("ram://nothing/here")
    gfile.makedirs("ram://empty/module")
    with pytest.raises(MissingFileError, match=r"saved_model\.pb"):
        hubkeras.load("ram://empty/module")
    with pytest.raises(HandleError, match="no filesystem"):
        hubkeras.load("nosuch://bucket/module")
    path = put("tables_v1", "ram://damaged/module")
    gfile.remove(f"{path}/saved_model.pb")
    with gfile.GFile(f"{path}/saved_model.pb", "wb") as file:
        file.write(b"damaged")
    with pytest.raises(FormatError, match=r"ram://damaged/module/saved_model\.pb"):
        hubkeras.load(path)


def test_a_failed_export_leaves_nothing(tmp_path):
    """A file that is gone, or a filesystem that nobody knows."""
    path = put("many_tables", "ram://failed/module")
    module = hubkeras.load(path)
    gfile.rmtree(f"{path}/assets")
    with pytest.raises(ExportError, match="ram://failed/export"):
        module.export("ram://failed/export")
    assert not gfile.exists("ram://failed/export/saved_model.pb")
    with pytest.raises(HandleError, match="no filesystem"):
        module.export("nosuch://bucket/module")
