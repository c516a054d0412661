"""Exports compute the same for every reader: TF2, TF1 as in TF Serving, the command line, LiteRT."""

import gc
import pickle
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import hubkeras
from layers.saving import DATA, FLOATS, MODULES, TEXTS, fit, in_a_process

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, of its variables
ANY = ["load", "session", "command"]
LITE = [*ANY, "litert"]
IMAGES = np.linspace(0, 1, 2 * 6 * 5 * 3, dtype=np.float32).reshape(2, 6, 5, 3)
STRINGS = {"input_shape": [], "dtype": tf.string}
EXPORTED = {
    "floats": (MODULES / "batch_renorm", {"input_shape": [4]}, FLOATS, LITE),
    "parts": (MODULES / "losses_and_updates", {"input_shape": [3]}, FLOATS[:, :3], LITE),
    "images": (
        MODULES / "batch_norm_tensor",
        {"input_shape": [6, 5, 3], "signature": "image_feature_vector"},
        IMAGES,
        LITE,
    ),
    "texts": (MODULES / "text_paths", STRINGS, TEXTS, ANY),
    "tables": (MODULES / "many_tables", STRINGS, TEXTS, ANY),
    "loops": (MODULES / "nested_loops", {"input_shape": [3], "dtype": tf.int32}, np.eye(4, 3, dtype=np.int32), ANY),
    "objects": (DATA / "reusable", {"input_shape": [3]}, FLOATS[:, :3], LITE),
    "vectors": (
        MODULES / "tf2_signatures",
        {**STRINGS, "signature": "serving_default", "output_key": "vectors"},
        TEXTS,
        ANY,
    ),
}
TRAINED = ["floats", "texts", "loops", "objects"]
CASES = [
    *(f"{name} frozen" for name in EXPORTED),
    *(f"{name} trained" for name in TRAINED),
    *(f"{name} frozen again" for name in TRAINED),
]


def model_of(folder, options):
    """The layer and a dense one."""
    layer = hubkeras.KerasLayer(folder, **options)
    model = keras.Sequential([layer, keras.layers.Flatten(), keras.layers.Dense(1)])
    return layer, model


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """What the models compute here, and for each reader in a process of its own."""
    folder = tmp_path_factory.mktemp("serving")
    jobs, here = {}, {}

    def export(key, model, x, names):
        given = tf.constant(x.tolist()) if x.dtype == object else tf.constant(x)
        model.export(folder / key, verbose=False)
        saved = saved_model_pb2.SavedModel.FromString((folder / key / "saved_model.pb").read_bytes())
        (name,) = saved.meta_graphs[0].signature_def["serving_default"].inputs
        jobs[key] = (str(folder / key), {name: given.numpy()}, names)
        here[key] = model(given).numpy()

    for name, (module, options, x, names) in EXPORTED.items():
        shutil.copytree(module, folder / name)
        layer, model = model_of(folder / name, options)
        export(f"{name} frozen", model, x, names)
        if name in TRAINED:
            layer.trainable = True
            fit(model, x)
            export(f"{name} trained", model, x, names)
            layer.trainable = False
            model.compile(loss="mse")
            export(f"{name} frozen again", model, x, names)
        shutil.rmtree(folder / name)
    (folder / "jobs").write_bytes(pickle.dumps(jobs))
    return here, in_a_process("serve_exports.py", folder)


@pytest.mark.parametrize("case", CASES)
def test_every_reader(served, case):
    """`model.export`: the same numbers for all."""
    here, there = served
    for way in EXPORTED[case.split()[0]][3]:
        found = there[f"{case} {way}"]
        assert not isinstance(found, str), f"{case}, {way}: {found}"
        np.testing.assert_allclose(found, here[case], rtol=1e-4, atol=1e-5, err_msg=f"{case}, {way}")


def frozen_function():
    """A frozen layer as a function, and what it is called with."""
    layer = hubkeras.KerasLayer(MODULES / "batch_renorm")
    function = tf.function(layer, input_signature=[tf.TensorSpec([None, 4])])
    return layer, function, tf.constant(FLOATS)


def test_a_function_names_frozen_variables():
    """A function knows the variables of a frozen layer in it, and none of them as one to train."""
    layer, function, _ = frozen_function()
    concrete = function.get_concrete_function()
    handles = {id(v.handle) for v in concrete.variables}
    assert handles == {id(t) for t in concrete.captured_inputs if t.dtype == tf.resource}
    assert handles <= {id(v.handle) for v in layer.resolved_object.variables}
    assert concrete.trainable_variables == ()


def test_no_tape_watches_frozen_variables():
    """Neither where the layer is called, nor where a function is that calls it."""
    layer, function, x = frozen_function()
    for call in (layer, function):
        with tf.GradientTape() as tape:
            call(x)
        assert tape.watched_variables() == ()


def test_an_endpoint_alone(tmp_path):
    """An archive that is given a function only, and no layer, finds the variables, too."""
    layer, function, x = frozen_function()
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", function, input_signature=[tf.TensorSpec([None, 4])])
    archive.write_out(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(loaded.serve(x), layer(x))


def test_an_export_outlives_the_module(tmp_path):
    """What is loaded from an export while the module is there does not look into the module's tables."""
    layer = hubkeras.KerasLayer(MODULES / "text_paths", **STRINGS)
    model, given = keras.Sequential([layer]), tf.constant(TEXTS.tolist())
    want = model(given).numpy()
    model.export(tmp_path / "saved", verbose=False)
    first, second = (tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"] for _ in range(2))
    np.testing.assert_array_equal(first(given)["output_0"], want)
    layer.resolved_object.state.tables.clear()
    layer.resolved_object.state.paths.clear()
    del model, layer, first
    gc.collect()
    np.testing.assert_array_equal(second(given)["output_0"], want)
