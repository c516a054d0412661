"""Weight files, checkpoints, configs, clones, copies and pickles of models with a layer."""

import contextlib
import copy
import gc
import json
import pickle
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from building import write as build_module

import hubkeras
from hubkeras.errors import LayerError, UnsupportedError
from layers.saving import FLOATS, MODULES, fit, hub_layers, make, predict

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, of its variables
KINDS = ["texts", "parts", "loops", "objects"]


@pytest.fixture(scope="module", params=KINDS)
def models(request, tmp_path_factory):
    """A trained model, another one that starts afresh, inputs, and where the module of the trained one lies."""
    folders = [tmp_path_factory.mktemp(name) for name in ("trained", "afresh")]
    model, inputs = make(request.param, folders[0])
    fit(model, inputs)
    return model, make(request.param, folders[1])[0], inputs, folders[0] / request.param


@pytest.fixture
def pair(models):
    """The models of a kind, as they were before any test had them; no test changes the trained one."""
    model, other, inputs, _ = models
    want = predict(model, inputs)
    values = [value for layer in hub_layers(other) for value in layer._values.values()]
    before = [(variable, tf.identity(variable)) for variable in [*other.weights, *values]]
    assert np.any(want != predict(other, inputs))
    yield model, other, inputs
    for variable, value in before:
        variable.assign(value)
    np.testing.assert_array_equal(predict(model, inputs), want)


def test_weights_h5(pair, tmp_path):
    """`.weights.h5` carries the values to a model of the same kind."""
    model, other, inputs = pair
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(predict(other, inputs), predict(model, inputs))


def test_weights_of_a_loaded_file(pair, tmp_path):
    """Weights go both ways between a model made of a handle and one out of a file."""
    model, other, inputs = pair
    other.save(tmp_path / "other.keras")
    loaded = keras.models.load_model(tmp_path / "other.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(predict(loaded, inputs), predict(model, inputs))
    loaded.save_weights(tmp_path / "loaded.weights.h5")
    other.load_weights(tmp_path / "loaded.weights.h5")
    np.testing.assert_array_equal(predict(other, inputs), predict(model, inputs))


def test_checkpoint(pair, tmp_path):
    """`tf.train.Checkpoint` holds every variable once, and gives it back to a model of either origin."""
    model, other, inputs = pair
    other.save(tmp_path / "other.keras")
    loaded = keras.models.load_model(tmp_path / "other.keras")
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    for target in (other, loaded):
        tf.train.Checkpoint(model=target).restore(path).assert_existing_objects_matched().expect_partial()
        np.testing.assert_array_equal(predict(target, inputs), predict(model, inputs))


def test_checkpoint_of_a_module(tmp_path):
    """A module is an object that checkpoints see, strings and booleans too."""
    module, other = (hubkeras.load(MODULES / "dtypes") for _ in range(2))
    module.state.by_name["v_string"].assign([b"x", b"\xff", b""])
    path = tf.train.Checkpoint(module=module).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(module=other).restore(path).assert_consumed()
    np.testing.assert_array_equal(other.state.by_name["v_string"].numpy(), [b"x", b"\xff", b""])


class Stop(keras.callbacks.Callback):
    """Ends training as a broken machine would."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_backup_and_restore(tmp_path):
    """Training that was interrupted goes on where it was, to the same end as without a break."""
    targets = np.ones((4, 1), np.float32)
    ends = []
    for broken in (False, True):
        (tmp_path / str(broken)).mkdir()
        model, x = make("floats", tmp_path / str(broken))
        model.compile(keras.optimizers.Adam(0.05), keras.losses.MeanSquaredError())
        model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the first step a second time
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / f"backup{broken}"))
        if broken:
            with pytest.raises(KeyboardInterrupt):
                model.fit(x, targets, epochs=4, shuffle=False, verbose=0, callbacks=[backup, Stop()])
            shutil.rmtree(tmp_path / "True" / "floats")
            (tmp_path / "again").mkdir()
            model, _ = make("floats", tmp_path / "again")
            model.compile(keras.optimizers.Adam(0.05), keras.losses.MeanSquaredError())
        history = model.fit(x, targets, epochs=4, shuffle=False, verbose=0, callbacks=[backup])
        ends.append(predict(model, x))
        assert len(history.history["loss"]) == (2 if broken else 4)
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-5)


def test_weights_of_another_module(tmp_path):
    """Weights that belong to another module are refused, with the variable that does not fit."""
    first, _ = make("floats", tmp_path)
    second = keras.Sequential([hubkeras.KerasLayer(MODULES / "quantised", input_shape=[4]), keras.layers.Dense(1)])
    first.save_weights(tmp_path / "first.weights.h5")
    message = r"Cannot load variable 'w' of layer .* Expected: shape \(4, 3\)\. Received: shape \(4, 5\)"
    with pytest.raises(ValueError, match=message):
        second.load_weights(tmp_path / "first.weights.h5")


def test_h5(pair, tmp_path):
    """A model in the `.h5` format holds the handle; the values, frozen or trained, are the file's."""
    model, _, inputs = pair
    model.save(tmp_path / "model.h5")
    model.compile(model.optimizer, model.loss)  # Keras has taken the optimizer out of what the model knows of it
    loaded = keras.models.load_model(tmp_path / "model.h5", compile=False)
    np.testing.assert_array_equal(predict(loaded, inputs), predict(model, inputs))


def test_config_of_a_model(pair):
    """A model made from a config starts from the module's own values, and takes any weights given to it."""
    model, other, inputs = pair
    made = type(model).from_config(model.get_config())
    for layer, fresh in zip(hub_layers(made), hub_layers(other), strict=True):
        for name, variable in fresh._values.items():
            np.testing.assert_array_equal(layer._values[name].numpy(), variable.numpy(), name)
    made.set_weights(model.get_weights())
    np.testing.assert_array_equal(predict(made, inputs), predict(model, inputs))


def test_config_is_json(pair):
    """A layer's config survives JSON and holds what the layer was made of."""
    (layer,) = hub_layers(pair[0])
    config = json.loads(json.dumps(layer.get_config()))
    again = hubkeras.KerasLayer.from_config(config)
    assert again.get_config() | {"spec": None} == config | {"spec": None}
    assert [w.name for w in again.trainable_weights] == [w.name for w in layer.trainable_weights]


def test_clone(pair):
    """`clone_model` starts from the module that the handle stands for; what is trained is no part of it."""
    model, other, inputs = pair
    clone = keras.models.clone_model(model)
    clone.set_weights(other.get_weights())
    np.testing.assert_array_equal(predict(clone, inputs), predict(other, inputs))
    assert not {id(w) for w in clone.weights} & {id(w) for w in model.weights}


def test_clone_of_a_loaded_file(pair, models, tmp_path):
    """A clone of a layer that came out of a file has its module and values, and outlives it."""
    model, _, inputs = pair
    model.save(tmp_path / "model.keras")
    with hidden(models[-1]):
        loaded = keras.models.load_model(tmp_path / "model.keras")
        clone = keras.models.clone_model(loaded)
        clone.layers[-1].set_weights(loaded.layers[-1].get_weights())
        want = predict(model, inputs)
        del loaded
        gc.collect()
        np.testing.assert_array_equal(predict(clone, inputs), want)
        clone.save(tmp_path / "clone.keras")
        np.testing.assert_array_equal(predict(keras.models.load_model(tmp_path / "clone.keras"), inputs), want)


@contextlib.contextmanager
def hidden(path):
    """The module of a trained model is not where it was."""
    elsewhere = path.rename(path.with_suffix(".hidden"))
    try:
        yield
    finally:
        elsewhere.rename(path)


def test_clone_after_the_directory_is_gone(tmp_path):
    """A layer whose module was removed from disk clones from memory."""
    model, inputs = make("parts", tmp_path)
    shutil.rmtree(tmp_path / "parts")
    clone = keras.models.clone_model(model)
    np.testing.assert_array_equal(clone.layers[0](inputs), model.layers[0](inputs))


def test_clones_of_two_loads_whose_directory_is_gone(tmp_path):
    """Each gets the values of its own layer."""
    shutil.copytree(MODULES / "losses_and_updates", tmp_path / "parts")
    layers = [hubkeras.KerasLayer(tmp_path / "parts") for _ in range(2)]
    for number, layer in enumerate(layers):
        layer.set_weights([np.full_like(weight, number) for weight in layer.get_weights()])
    shutil.rmtree(tmp_path / "parts")
    for layer in layers:
        clone = hubkeras.KerasLayer.from_config(layer.get_config())
        for weight, copied in zip(layer.get_weights(), clone.get_weights(), strict=True):
            np.testing.assert_array_equal(copied, weight)


def test_copies(pair):
    """`copy.deepcopy` and pickles of models and layers are on their own, and compute the same."""
    model, _, inputs = pair
    want = predict(model, inputs)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(predict(made, inputs), want)
        assert not {id(w) for w in made.weights} & {id(w) for w in model.weights}
        fit(made, inputs)
    np.testing.assert_array_equal(predict(model, inputs), want)


def test_copy_of_a_layer():
    """A layer alone is copied too."""
    layer = hubkeras.KerasLayer(MODULES / "quantised", trainable=True)
    layer.trainable_weights[0].assign_add(tf.ones_like(layer.trainable_weights[0].value))
    for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(made(FLOATS), layer(FLOATS))


def test_callables_have_no_config(tmp_path):
    """A layer over a callable says that no config can hold it."""
    with pytest.raises(UnsupportedError, match="a handle that is a string, a path or a loaded module"):
        hubkeras.KerasLayer(lambda x: 2 * x).get_config()


@pytest.mark.parametrize("handle", ["http://localhost:1/module.tar.gz", "https://tfhub.dev/nobody/nothing/1"])
def test_nothing_is_downloaded(handle, tmp_path, monkeypatch):
    """A config whose handle is not in the cache asks no network: neither when it is read nor when it is called."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    config = hubkeras.KerasLayer(MODULES / "quantised").get_config() | {"handle": handle}
    config["spec"]["source"] = "elsewhere"
    layer = hubkeras.KerasLayer.from_config(config)
    assert layer.count_params() > 0
    with pytest.raises(LayerError, match=r"its module is not on this machine.*hubkeras\.resolve"):
        layer(FLOATS)
    del config["spec"]
    with pytest.raises(LayerError, match=r"its module is not on this machine.*hubkeras\.resolve"):
        hubkeras.KerasLayer.from_config(config)


def counting(features):
    """Variables of several kinds that nothing trains."""
    x = tf.compat.v1.placeholder(tf.float32, [None, 2])
    flag = tf.compat.v1.get_variable("flag", initializer=True, trainable=False)
    return {"default": ({"default": x}, {"default": tf.where(flag, x, -x)})}


def test_module_of_untrained_variables_only(tmp_path):
    """A layer without a weight that Keras can hold saves and loads its variables all the same."""
    build_module(tmp_path / "module", counting)
    layer = hubkeras.KerasLayer(tmp_path / "module", input_shape=[2])
    layer.resolved_object.state.by_name["flag"].assign(False)
    keras.Sequential([layer]).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(tf.ones([1, 2])), [[-1, -1]])
