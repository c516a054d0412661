"""Modules as feature columns of TensorFlow 1."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.feature_column import feature_column_v2

import hubkeras
import hubkeras.compat.v1 as hub
from compat.graphs import v1

WORDS = {"": [0.0] * 4, "hello world": [1.0, 2.0, 3.0, 4.0], "pair-programming": [5.0] * 4}
FEATURES = {"a": ["hello world", "pair-programming"], "b": ["hello world", "unknown"]}
EMBEDDED = [[1, 2, 3, 4, 1, 2, 3, 4], [5, 5, 5, 5, 0, 0, 0, 0]]


def text_module():
    values = tf.lookup.KeyValueTensorInitializer(list(WORDS), tf.range(3, dtype=tf.int64))
    table = tf.lookup.StaticHashTable(values, 0)
    weights = v1.get_variable("weights", initializer=tf.constant(list(WORDS.values())))
    text = v1.placeholder(tf.string, [None])
    v1.add_to_collection(v1.GraphKeys.TABLE_INITIALIZERS, table._init_op)
    hub.add_signature(inputs=text, outputs=tf.gather(weights, table.lookup(text)))


def image_module():
    images = v1.placeholder(tf.float32, [None, 1, 2, 3])
    weight = v1.get_variable("weight", [1], initializer=v1.ones_initializer())
    hub.add_signature(inputs={"images": images}, outputs=tf.reduce_sum(images, [1, 2]) * weight)


@pytest.fixture(scope="module")
def texts():
    return hub.create_module_spec(text_module)


@pytest.fixture(scope="module")
def images():
    return hub.create_module_spec(image_module)


def run(fetches):
    with v1.train.MonitoredSession() as sess:
        return sess.run(fetches)


def test_texts_are_embedded_and_variables_named_after_the_feature(texts):
    columns = [hub.text_embedding_column(key, texts) for key in FEATURES]
    with tf.Graph().as_default():
        output = v1.feature_column.input_layer(FEATURES, columns)
        names = [v.op.name for v in v1.global_variables()]
        np.testing.assert_array_equal(run(output), EMBEDDED)
        assert v1.trainable_variables() == []
    assert names == [f"input_layer/{key}_hub_module_embedding/module/weights" for key in FEATURES]


@pytest.mark.filterwarnings("ignore:.*add_variable:UserWarning")  # TensorFlow's own
def test_a_linear_model_takes_the_columns(texts):
    with tf.Graph().as_default():
        output = v1.feature_column.linear_model(FEATURES, [hub.text_embedding_column(key, texts) for key in FEATURES])
        np.testing.assert_array_equal(run(output), [[0], [0]])


def test_a_trainable_column_learns(texts):
    target = [[1, 1, 1, 1], [4, 3, 2, 1]]
    with tf.Graph().as_default():
        column = hub.text_embedding_column("a", texts, trainable=True)
        output = v1.feature_column.input_layer(FEATURES, [column])
        step = v1.train.GradientDescentOptimizer(0.97).minimize(tf.reduce_mean((output - target) ** 2))
        with v1.train.MonitoredSession() as sess:
            for _ in range(20):
                sess.run(step)
            np.testing.assert_allclose(sess.run(output), target, atol=0.5)


def test_columns_keep_to_the_protocol(texts, images):
    text, image = hub.text_embedding_column("a", texts), hub.image_embedding_column("i", images)
    sparse = hub.sparse_text_embedding_column("s", texts, "mean", None)
    assert feature_column_v2.is_feature_column_v2([text, image, sparse])
    assert [c.parents for c in (text, image, sparse)] == [["a"], ["i"], ["s"]]
    assert [c.variable_shape for c in (text, image, sparse)] == [[4], [3], [4]]
    assert v1.feature_column.make_parse_example_spec([text, image, sparse]) == {
        "a": v1.FixedLenFeature([1], tf.string),
        "i": v1.FixedLenFeature([1, 2, 3], tf.float32),
        "s": v1.VarLenFeature(tf.string),
    }
    assert text == hub.text_embedding_column("a", texts)
    assert len({text, image, sparse}) == 3
    assert hub.image_embedding_column("i", images, image_size=[4, 5]).image_size == (4, 5)
    with pytest.raises(NotImplementedError, match="handle"):
        text.get_config()


def test_a_column_with_a_handle_has_a_config(texts, tmp_path):
    hubkeras.ModuleSpec(texts.description).export(tmp_path / "module")
    column = hub.text_embedding_column("a", str(tmp_path / "module"), trainable=True)
    assert type(column).from_config(column.get_config()) == column


def test_tokens_are_combined(texts):
    tokens = tf.SparseTensor([[0, 0], [0, 1], [1, 0]], ["hello world", "pair-programming", "hello world"], [3, 2])
    column = hub.sparse_text_embedding_column("a", texts, "mean", "")
    with tf.Graph().as_default():
        fed = tf.SparseTensor(tokens.indices.numpy(), tokens.values.numpy(), tokens.dense_shape.numpy())
        output = run(v1.feature_column.input_layer({"a": fed}, [column]))
    np.testing.assert_array_equal(output, [[3, 3.5, 4, 4.5], [1, 2, 3, 4], [0, 0, 0, 0]])


def test_images_are_embedded(images):
    pixels = np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3)
    with tf.Graph().as_default():
        output = v1.feature_column.input_layer({"i": pixels}, [hub.image_embedding_column("i", images)])
        np.testing.assert_array_equal(run(output), pixels.sum((1, 2)))


def test_state_is_shared_by_the_applications_of_a_layer(texts):
    """As `tf_keras.layers.DenseFeatures` uses columns."""
    column = hub.text_embedding_column("a", texts, trainable=True)
    with tf.Graph().as_default():
        manager = feature_column_v2._StateManagerImpl(None, trainable=True)
        column.create_state(manager)
        for _ in range(2):
            cache = feature_column_v2.FeatureTransformationCache(FEATURES)
            output = column.get_dense_tensor(cache, manager)
        assert len(v1.trainable_variables()) == 1
        np.testing.assert_array_equal(run(output), [[1, 2, 3, 4], [5, 5, 5, 5]])


def test_modules_fit_without_v2_behaviour(texts, images):
    """Where an element of a shape is an object, known or not."""
    v1.disable_v2_tensorshape()
    try:
        assert hub.text_embedding_column("a", texts).variable_shape.as_list() == [4]
        assert hub.image_embedding_column("i", images).variable_shape.as_list() == [3]
    finally:
        v1.enable_v2_tensorshape()


def test_modules_that_do_not_fit_are_refused(texts, images):
    with pytest.raises(ValueError, match="only one input"):
        hub.text_embedding_column("a", images)
    with pytest.raises(ValueError, match="'images'"):
        hub.image_embedding_column("a", texts)
    with pytest.raises(ValueError, match="combiner must be 'mean', 'sqrtn' or 'sum'"):
        hub.sparse_text_embedding_column("a", texts, "max", None)
