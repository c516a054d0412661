"""Modules as feature columns with TensorFlow 2: layers of Keras 3, and of what has layers over `tf.feature_column`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.feature_column import feature_column_v2

import hubkeras
import hubkeras.compat.v1 as hub


class Embedding(tf.Module):
    """Embeds a text by its length, returned bare or in a dict."""

    def __init__(self, in_dict):
        self.weights = tf.Variable([[1.0, 2.0, 3.0]])
        self.in_dict = in_dict

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        embedded = tf.cast(tf.strings.length(texts), tf.float32)[:, tf.newaxis] * self.weights
        return {"outputs": embedded} if self.in_dict else embedded


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    for in_dict in (False, True):
        tf.saved_model.save(Embedding(in_dict), str(folder / str(in_dict)))
    return {in_dict: folder / str(in_dict) for in_dict in (False, True)}


@pytest.mark.parametrize(("in_dict", "key"), [(False, None), (True, "outputs")])
def test_a_column_is_a_layer_of_keras(paths, in_dict, key):
    column = hub.text_embedding_column_v2("text", paths[in_dict], output_key=key, trainable=True)
    inputs = {"text": keras.Input([], dtype="string", name="text")}
    model = keras.Model(inputs, hubkeras.KerasLayer(column, trainable=True)(inputs))
    np.testing.assert_array_equal(model({"text": tf.constant(["ab", "c"])}), [[2, 4, 6], [1, 2, 3]])
    assert model.output_shape == (None, 3)
    assert column.variable_shape == [3]


def test_a_module_in_tf1_hub_format_is_trained_through_a_column(tmp_path):
    def module_fn():
        x = tf.compat.v1.placeholder(tf.string, [None])
        w = tf.compat.v1.get_variable("w", [1, 3], initializer=tf.compat.v1.ones_initializer())
        length = tf.cast(tf.strings.length(x), tf.float32)[:, tf.newaxis]
        hub.add_signature(inputs=x, outputs={"default": length * w, "length": length})

    hubkeras.create_module_spec(module_fn).export(tmp_path / "module")
    column = hub.text_embedding_column_v2("text", tmp_path / "module", trainable=True)
    inputs = {"text": keras.Input([], dtype="string", name="text")}
    model = keras.Model(inputs, hubkeras.KerasLayer(column, trainable=True)(inputs))
    model.compile("sgd", "mse")
    model.fit({"text": tf.constant(["ab", "c"])}, np.zeros([2, 3]), verbose=0)
    assert len(model.trainable_weights) == 1
    assert np.all(model.trainable_weights[0].numpy() < 1)
    sparse = hub.sparse_text_embedding_column_v2("text", tmp_path / "module", "sum", "", output_key="length")
    tokens = tf.SparseTensor([[0, 0], [0, 1]], ["ab", "c"], [2, 2])
    np.testing.assert_array_equal(sparse({"text": tokens}), [[3], [0]])
    assert sparse.variable_shape == [1]


def test_images_have_a_column_too(tmp_path):
    def module_fn():
        x = tf.compat.v1.placeholder(tf.float32, [None, 1, 2, 3])
        hub.add_signature(inputs={"images": x}, outputs=tf.reduce_sum(x, [1, 2]))

    hubkeras.create_module_spec(module_fn).export(tmp_path / "module")
    column = hub.image_embedding_column_v2("photo", tmp_path / "module")
    assert column.parse_example_spec == {"photo": tf.io.FixedLenFeature([1, 2, 3], tf.float32)}
    np.testing.assert_array_equal(hubkeras.KerasLayer(column)({"photo": tf.ones([1, 1, 2, 3])}), [[2, 2, 2]])
    assert column.variable_shape == [3]


def test_the_columns_of_tensorflow_1_are_layers_too(tmp_path):
    def texts():
        x = tf.compat.v1.placeholder(tf.string, [None])
        w = tf.compat.v1.get_variable("w", [1, 2], initializer=tf.compat.v1.ones_initializer())
        hub.add_signature(inputs=x, outputs=tf.cast(tf.strings.length(x), tf.float32)[:, tf.newaxis] * w)

    def images():
        x = tf.compat.v1.placeholder(tf.float32, [None, 1, 2, 3])
        hub.add_signature(inputs={"images": x}, outputs=tf.reduce_sum(x, [1, 2]))

    spec = hub.create_module_spec(texts)
    text = hub.text_embedding_column("text", spec, trainable=True)
    tokens = hub.sparse_text_embedding_column("tokens", spec, "sum", "")
    photo = hub.image_embedding_column("photo", hub.create_module_spec(images))
    features = {
        "text": tf.constant(["ab", "c"]),
        "tokens": tf.SparseTensor([[0, 0], [0, 1]], ["ab", "c"], [2, 2]),
        "photo": tf.ones([2, 1, 2, 3]),
    }
    layers = [hubkeras.KerasLayer(column, trainable=column is text) for column in (text, tokens, photo)]
    got = [layer(features).numpy().tolist() for layer in layers]
    assert got == [[[2, 2], [1, 1]], [[3, 3], [0, 0]], [[2, 2, 2]] * 2]
    assert [len(layer.trainable_weights) for layer in layers] == [1, 0, 0]


@pytest.mark.parametrize("trainable", [True, False])
def test_layers_over_columns_have_their_weights(trainable, tmp_path):
    """As `tf_keras.layers.DenseFeatures` finds them: among the modules that it tracks."""

    def module_fn():
        x = tf.compat.v1.placeholder(tf.string, [None])
        w = tf.compat.v1.get_variable("w", [1, 3], initializer=tf.compat.v1.ones_initializer())
        hub.add_signature(inputs=x, outputs=tf.cast(tf.strings.length(x), tf.float32)[:, tf.newaxis] * w)

    hubkeras.create_module_spec(module_fn).export(tmp_path / "module")
    column = hub.text_embedding_column_v2("text", tmp_path / "module", trainable=trainable)
    layer = tf.Module()
    manager = feature_column_v2._StateManagerImpl(layer, trainable=True)
    column.create_state(manager)
    (state,) = layer._resources[column.name].values()
    assert isinstance(state, tf.Module)
    assert (len(state.trainable_variables), len(state.non_trainable_variables)) == (trainable, not trainable)
    cache = feature_column_v2.FeatureTransformationCache({"text": [["ab"]]})
    with tf.GradientTape() as tape:
        output = column.get_dense_tensor(cache, manager)
    np.testing.assert_array_equal(tape.gradient(output, state.variables[0]), [[2, 2, 2]])


def test_columns_keep_to_the_protocol_of_tensorflow(paths):
    column = hub.text_embedding_column_v2("text", paths[False])
    assert column.parents == ["text"]
    assert feature_column_v2.is_feature_column_v2([column])
    assert tf.feature_column.make_parse_example_spec([column]) == {"text": tf.io.FixedLenFeature([1], tf.string)}
    assert type(column).from_config(column.get_config()).name == column.name
    manager = feature_column_v2._StateManagerImpl(None, trainable=True)
    column.create_state(manager)
    cache = feature_column_v2.FeatureTransformationCache({"text": [["ab"], ["c"]]})
    np.testing.assert_array_equal(column.get_dense_tensor(cache, manager), [[2, 4, 6], [1, 2, 3]])


def test_an_output_that_is_not_there_is_told(paths):
    with pytest.raises(ValueError, match=r"output_key='other'.*outputs"):
        hub.text_embedding_column_v2("text", paths[True], output_key="other")({"text": tf.constant(["ab"])})
    with pytest.raises(ValueError, match="no single result"):
        hub.text_embedding_column_v2("text", paths[True])({"text": tf.constant(["ab"])})
