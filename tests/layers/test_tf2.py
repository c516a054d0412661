"""SavedModels of TF2 and plain callables as layers: what tensorflow_hub's KerasLayer does, in Keras 3."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from hubkeras.errors import LayerError, OutputError, SignatureError

MODULES = Path(__file__).parent.parent / "golden" / "modules"


class _Root(tf.train.Checkpoint):
    """The interface of reusable SavedModels: `x * w`, plus 100 in training."""

    def __init__(self, losses=True):
        super().__init__()
        self.w, self.count = tf.Variable(2.0, name="w"), tf.Variable(7.0, name="count", trainable=False)
        self.variables, self.trainable_variables = [self.w, self.count], [self.w]
        self.regularization_losses = [self.loss] if losses else []

    @tf.function(input_signature=[])
    def loss(self):
        return 0.5 * self.w

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([], tf.bool)])
    def __call__(self, x, training=False):
        return x * self.w + tf.where(training, 100.0, 0.0)


@pytest.fixture(scope="module")
def reusable(tmp_path_factory):
    path = tmp_path_factory.mktemp("tf2") / "reusable"
    tf.saved_model.save(_Root(), str(path))
    return path


@pytest.fixture(scope="module", params=["directory", "loaded"])
def handle(request, reusable):
    return reusable if request.param == "directory" else tf.saved_model.load(str(reusable))


X = np.ones((2, 3), np.float32)


def test_frozen_by_default(handle):
    """Weights are there, none trainable, no losses; training is False whatever the model does."""
    layer = hubkeras.KerasLayer(handle)
    assert [w.path.split("/")[-1] for w in layer.weights] == ["w", "count"]
    assert layer.trainable_weights == layer.losses == []
    assert np.all(layer(X, training=True) == 2.0)


def test_trainable(handle):
    """The object's own trainable variables and losses count; training is passed on."""
    layer = hubkeras.KerasLayer(handle, trainable=True)
    assert [w.path.split("/")[-1] for w in layer.trainable_weights] == ["w"]
    assert [float(loss) for loss in layer.losses] == [1.0]
    assert np.all(layer(X) == 2.0)
    assert np.all(layer(X, training=False) == 2.0)
    assert np.all(layer(X, training=True) == 102.0)
    chosen = tf.function(lambda x, training: layer(x, training=training))
    assert np.all(chosen(X, tf.constant(True)) == 102.0)
    assert np.all(chosen(X, tf.constant(False)) == 2.0)
    layer.trainable = False
    assert layer.trainable_weights == layer.losses == []
    assert np.all(layer(X, training=True) == 2.0)


def test_an_object_that_is_not_callable_says_so(tmp_path):
    made = tf.Module()
    made.up = tf.function(lambda x: {"y": x + 1.0}, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(made, tmp_path / "m", signatures={"up": made.up})
    loaded = tf.saved_model.load(tmp_path / "m")
    with pytest.raises(LayerError, match=r"not callable.*signature= one of \['up'\]"):
        hubkeras.KerasLayer(loaded)
    layer = hubkeras.KerasLayer(loaded, signature="up", output_key="y")
    assert layer(np.ones(1)).numpy().tolist() == [2.0]
    with pytest.raises(LayerError, match="loaded already"):
        hubkeras.KerasLayer(loaded, signature="up", output_key="y", tags=["serve"])


def test_fit(reusable):
    """One step moves the object's variable, by the gradient of the error and of the loss."""
    layer = hubkeras.KerasLayer(reusable, trainable=True)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, 102.0 * X, verbose=0)
    assert layer.resolved_object.variables[0].numpy() == pytest.approx(2.0 - 0.1 * 0.5)
    assert layer.resolved_object.variables[1].numpy() == 7.0


def test_symbolic_calls(handle):
    x = keras.Input((3,))
    y = hubkeras.KerasLayer(handle)(x)
    assert y.shape == (None, 3)
    assert keras.Model(x, y).predict(X, verbose=0).shape == (2, 3)
    model = keras.Sequential([hubkeras.KerasLayer(handle, input_shape=(3,)), keras.layers.Dense(1)])
    assert model.built
    assert model.predict(X, verbose=0).shape == (2, 1)


def test_doubles_become_the_floats_of_the_layer(handle):
    assert hubkeras.KerasLayer(handle)(np.ones((2, 3))).dtype == tf.float32


def test_a_signature():
    """A signature gives one output or all; its inputs go by name, or bare."""
    path = MODULES / "tf2_signatures"
    one = hubkeras.KerasLayer(path, signature="serving_default", output_key="vectors")
    every = hubkeras.KerasLayer(path, signature="serving_default", signature_outputs_as_dict=True)
    np.testing.assert_array_equal(one(["a", "b"]), every({"words": ["a", "b"]})["vectors"])
    mix = hubkeras.KerasLayer(path, signature="mix", output_key="mixed", arguments={"b": 2.0})
    assert mix([1, 2]).shape == (2,)
    words = keras.Input((), dtype="string")
    symbolic = every(words)
    assert {k: (v.shape, v.dtype) for k, v in symbolic.items()} == {
        "ids": ((None,), "int64"),
        "vectors": ((None, 2), "float32"),
    }
    model = keras.Sequential(
        [hubkeras.KerasLayer(path, signature="serving_default", output_key="vectors", input_shape=[])]
    )
    assert model.predict(tf.constant(["a"]), verbose=0).shape == (1, 2)


def test_a_callable_of_any_kind():
    """A function, a method, a loaded function, a Keras layer: with `training` where it takes it."""
    assert np.all(hubkeras.KerasLayer(tf.function(lambda x: x + 1))(X) == 2)
    assert np.all(
        hubkeras.KerasLayer(lambda x, training=None: x + float(bool(training)), trainable=True)(X, training=True) == 2
    )
    outputs = hubkeras.KerasLayer(lambda x: {"a": x, "b": [x, 2 * x]})
    assert keras.tree.map_structure(lambda t: t.shape, outputs(keras.Input((3,)))) == {
        "a": (None, 3),
        "b": [(None, 3), (None, 3)],
    }
    assert np.all(hubkeras.KerasLayer(lambda x: {"a": x, "b": 3 * x}, output_key="b")(X) == 3)
    assert hubkeras.KerasLayer(tf.strings.length)(["a list", "of"]).numpy().tolist() == [6, 2]
    lost = hubkeras.KerasLayer(lambda x: tf.numpy_function(lambda a: a, [x], tf.float32))
    with pytest.raises(LayerError, match="output_shape="):
        lost(keras.Input((3,)))
    told = hubkeras.KerasLayer(lambda x: tf.numpy_function(lambda a: a, [x], tf.float32), output_shape=[3])
    assert told(keras.Input((3,))).shape == (None, 3)


class _BadLosses:
    regularization_losses = (1.0,)

    def __call__(self, x):
        return x


REFUSED = [
    (lambda: _signatures(), LayerError, "not callable signature= ['mix', 'serving_default']"),
    (lambda: _signatures(signature="nope", output_key="a"), SignatureError, "'nope' ['mix', 'serving_default']"),
    (lambda: _signatures(signature="mix"), LayerError, "'mix' either output_key= signature_outputs_as_dict=True"),
    (lambda: _signatures(signature="mix", output_key="mixed", signature_outputs_as_dict=True), LayerError, "either"),
    (lambda: _signatures(signature="mix", output_key="nope"), OutputError, "'mix' 'nope' ['mixed']"),
    (lambda: _signatures(signature_outputs_as_dict=True), LayerError, "signature_outputs_as_dict signature=None"),
    (
        lambda: _signatures(signature="serving_default", output_key="ids", trainable=True)(["a"]),
        LayerError,
        "trainable",
    ),
    (lambda: hubkeras.KerasLayer(_BadLosses()), LayerError, "regularization losses callables 1.0"),
]


def _signatures(**kwargs):
    return hubkeras.KerasLayer(MODULES / "tf2_signatures", **kwargs)


@pytest.mark.parametrize(("call", "kind", "words"), REFUSED, ids=range(len(REFUSED)))
def test_bad_use_is_refused_by_name(call, kind, words):
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    for word in words.split(" "):
        assert word in str(caught.value), caught.value
