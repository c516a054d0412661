"""`KerasLayer` over a spec: fresh values, training, saving, copies."""

import copy
import gc

import keras
import numpy as np
import pytest

import hubkeras
from hubkeras.errors import LayerError
from publishing.module_fns import CASES, make_spec

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, of its variables
X = CASES["trained"].calls["default"]["default"]


@pytest.fixture
def model(tmp_path):
    """A model with a trainable layer over a spec, after one step."""
    keras.utils.set_random_seed(3)
    spec = make_spec(hubkeras, "trained", tmp_path / "files")
    layer = hubkeras.KerasLayer(spec, trainable=True, input_shape=[3])
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, np.ones([2, 1]), verbose=0)
    return model


def test_training(model):
    """The variant for training runs with its update ops and losses; `export` writes what came out."""
    layer = model.layers[0]
    assert len(layer.losses) == 2
    assert len(layer.trainable_weights) == 3
    assert np.any(layer.resolved_object.variable_map["net/mean"])


def test_seed(tmp_path):
    spec, found = make_spec(hubkeras, "trained", tmp_path / "files"), []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        found.append(hubkeras.KerasLayer(spec)(X).numpy())
    np.testing.assert_array_equal(*found)
    assert np.any(hubkeras.KerasLayer(spec)(X) != found[0])


def test_saving_and_copies(model, tmp_path):
    """A `.keras` file holds the module; clones and copies stand on their own."""
    want = model.predict(X, verbose=0)
    model.save(tmp_path / "m.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (keras.models.load_model(tmp_path / "m.keras"), clone, copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict(X, verbose=0), want)
        assert not {id(w) for w in other.weights} & {id(w) for w in model.weights}
    model.layers[0].resolved_object.export(tmp_path / "module")
    np.testing.assert_array_equal(hubkeras.load(tmp_path / "module")(X), model.layers[0](X))


def test_a_config_outlives_its_module(tmp_path):
    """A config alone cannot bring the module back, and says so."""
    config = hubkeras.KerasLayer(make_spec(hubkeras, "trained", tmp_path / "files"), embed=False).get_config()
    gc.collect()
    layer = hubkeras.KerasLayer.from_config(config)
    with pytest.raises(LayerError, match="from its spec again"):
        layer(X)


def test_tags(tmp_path):
    """Tags choose the variant as with a handle."""
    spec = make_spec(hubkeras, "trained", tmp_path / "files")
    np.testing.assert_allclose(hubkeras.KerasLayer(spec, tags=["train"])(X).numpy().mean(0), np.zeros(4), atol=1e-6)
