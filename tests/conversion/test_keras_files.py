"""`.keras` files with a module inside."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN

import hubkeras
from hubkeras.cli.main import main
from hubkeras.errors import ConversionError, SignatureError, UnsupportedError

MODULES = GOLDEN / "modules"
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_model_that_trains(tmp_path):
    """It needs no other file, has the signature's input, and trains as a layer over the module does."""
    shutil.copytree(MODULES / "losses_and_updates", tmp_path / "module")
    module = hubkeras.load(MODULES / "losses_and_updates")
    done = hubkeras.convert(tmp_path / "module", tmp_path / "model.keras", "keras", trainable=True)
    assert {
        "gradients of the model's call with training=True",
        "signature 'weights'",
    } <= done.verified.differences.keys()
    shutil.rmtree(tmp_path / "module")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert [tensor.name for tensor in model.inputs] == ["default"]
    layer = hubkeras.KerasLayer(module, trainable=True)
    models = [model, keras.Sequential([layer])]
    for each in models:
        each.compile(keras.optimizers.SGD(0.1), "mse")
        each.fit(X, np.ones([4, *model.output.shape[1:]]), epochs=2, batch_size=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.predict(X, verbose=0), models[1].predict(X, verbose=0), rtol=1e-5)
    for have, want in zip(model.weights, layer.weights, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5)


def test_several_inputs_and_outputs(tmp_path):
    """Inputs and outputs are dicts by the names of the signature that was asked for."""
    path = tmp_path / "model.keras"
    hubkeras.convert(MODULES / "tf2_signatures", path, "keras", signature="mix")
    model = keras.saving.load_model(path)
    values = {"a": tf.constant([1.0, 2.0]), "b": tf.constant(0.5)}
    want = hubkeras.load(MODULES / "tf2_signatures")(values, signature="mix", as_dict=True)
    assert set(model(values)) == {"mixed"}
    np.testing.assert_allclose(model(values)["mixed"], want["mixed"])
    with pytest.raises(UnsupportedError, match="trains"):
        hubkeras.convert(MODULES / "tf2_signatures", tmp_path / "new.keras", "keras", signature="mix", trainable=True)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


def test_an_object_with_a_call(tmp_path):
    """A TF2 object is called itself."""
    done = hubkeras.convert(MODULES / "tf2_reusable", tmp_path / "model.keras", "keras", trainable=True)
    assert "variables after the model's call with training=True" in done.verified.differences
    model = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(model(X), hubkeras.load(MODULES / "tf2_reusable")(X), rtol=1e-6)


def test_what_keras_has_no_model_for(tmp_path):
    """It is named; nothing is left."""
    module = hubkeras.load(MODULES / "odd_shapes")
    for signature, error, said in (
        ("unknown_rank", UnsupportedError, "no Keras model has its input"),
        ("no_inputs", UnsupportedError, "which has none"),
        ("nowhere", SignatureError, "nowhere"),
    ):
        with pytest.raises(error, match=said):
            hubkeras.convert(module, tmp_path / "new.keras", "keras", signature=signature)
    with pytest.raises(ConversionError, match="ends with"):
        hubkeras.convert(module, tmp_path / "new", "keras")
    with pytest.raises(ConversionError, match="with trainable"):
        hubkeras.convert(module, tmp_path / "new", "saved_model", trainable=True)
    assert not list(tmp_path.iterdir())


def test_the_verb(tmp_path, capsys):
    """It takes the signature and whether the model trains."""
    module, path = str(MODULES / "batch_renorm"), str(tmp_path / "m.keras")
    assert main(["convert", module, path, "--to", "keras", "--signature", "default", "--trainable"]) == 0
    assert "gradients of the model's call" in capsys.readouterr().out
    assert main(["convert", module, str(tmp_path / "n"), "--to", "litert", "--signature", "default"]) == 1
    assert "signature= only for" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["convert", module, str(tmp_path / "n"), "--to", "pmml"])
