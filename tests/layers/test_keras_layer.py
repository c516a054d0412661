"""The layer for inference: symbolic calls, inputs of every kind, modes, bad use."""

import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from parity import read

import hubkeras
from hubkeras.errors import HubKerasError, InputError, LayerError, OutputError, SignatureError, TagsError

MODULES = Path(__file__).parent.parent / "golden" / "modules"


def layer(name, **kwargs):
    return hubkeras.KerasLayer(MODULES / name, **kwargs)


def test_a_frozen_layer_gives_nothing_to_an_optimizer():
    """All weights are there, none is trainable; setting `trainable` later changes both."""
    frozen = layer("losses_and_updates")
    model = keras.Sequential([keras.Input((3,)), frozen])
    assert frozen.weights
    assert frozen.trainable_weights == model.trainable_weights == []
    assert frozen.losses == []
    frozen.trainable = True
    assert model.trainable_weights
    assert frozen.losses
    frozen.trainable = False
    assert model.trainable_weights == []
    assert frozen.losses == []


def test_a_frozen_layer_takes_no_notice_of_training():
    frozen = layer("losses_and_updates")
    x = np.ones((2, 3), np.float32)
    before = [w.numpy() for w in frozen.weights]
    np.testing.assert_array_equal(frozen(x, training=True), frozen(x, training=False))
    model = keras.Sequential([keras.Input((3,)), frozen, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((2, 1)), verbose=0)
    for weight, old in zip(frozen.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("make", [tf.constant, np.asarray, bool])
def test_training_may_be_a_tensor(make):
    """A trainable layer moves its averages where `training` is true, in eager code and in a function."""
    trainable = layer("quantised", trainable=True)
    step = tf.function(lambda x, training: trainable(x, training=training))
    infos = trainable._binding.spec.input_infos
    x = tf.ones([s or 2 for s in next(iter(infos.values())).get_shape()])
    for call in (step, trainable.__call__):
        before = [w.numpy() for w in trainable.non_trainable_weights]
        call(x, training=make(False))
        assert all(np.array_equal(w, old) for w, old in zip(trainable.non_trainable_weights, before, strict=True))
        call(3 * x, training=make(True))
        assert any(not np.array_equal(w, old) for w, old in zip(trainable.non_trainable_weights, before, strict=True))
        x = 2 * x


def test_sparse_and_ragged_inputs_of_a_functional_model():
    sparse = keras.Input((6,), sparse=True)
    outputs = layer("sparse_training", signature="matmul", signature_outputs_as_dict=True)(sparse)
    assert outputs["scaled"].sparse
    assert outputs["default"].shape == (None, 3)
    model = keras.Model(sparse, outputs["default"])
    assert model.predict(tf.sparse.from_dense(np.eye(6, dtype="f")), verbose=0).shape == (6, 3)
    ragged = keras.Input((None,), ragged=True)
    outputs = layer("ragged_text", signature="ragged", signature_outputs_as_dict=True)(ragged)
    assert outputs["scaled"].ragged
    model = keras.Model(ragged, outputs["default"])
    assert model.predict(tf.ragged.constant([[1.0, 2.0], [3.0]]), verbose=0).shape == (2,)


def test_fixed_batches_and_unbatched_tensors():
    """`batch_shape=` tells what has a batch of its own, or none."""
    x = keras.Input(batch_shape=(2, 3))
    y = layer("odd_shapes", signature="fixed_batch")(x)
    assert y.shape == (2,)
    assert keras.Model(x, y).predict(np.ones((4, 3)), batch_size=2, verbose=0).shape == (4,)
    vector = keras.Input(batch_shape=(3,))
    y = layer("odd_shapes", signature="vector")(vector)
    assert y.shape == (3,)
    assert keras.Model(vector, y)(np.ones(3)).shape == (3,)
    assert layer("odd_shapes", signature="scalar")(2).shape == (3,)
    assert layer("odd_shapes", signature="zero_width")(np.zeros((2, 0))).shape == (2,)


def test_a_signature_without_inputs():
    every = layer("odd_shapes", signature="no_inputs", signature_outputs_as_dict=True)
    assert set(every()) == set(every({})) == {"default", "w"}
    assert layer("odd_places", signature="info", output_key="do_lower_case")().dtype == tf.bool


def test_unknown_rank_asks_for_output_shape():
    x = keras.Input((3,))
    with pytest.raises(LayerError, match=r"(?s)unknown rank.*output_shape="):
        layer("odd_shapes", signature="unknown_rank")(x)
    told = layer("odd_shapes", signature="unknown_rank", output_shape=(3,))
    y = told(x)
    assert y.shape == (None, 3)
    assert keras.Model(x, y)(np.ones((2, 3))).shape == (2, 3)
    assert told.compute_output_shape((5, 3)) == (5, 3)
    assert layer("odd_shapes", signature="unknown_rank")(np.ones((2, 3))).shape == (2, 3)


def test_the_given_output_shape_is_the_one_that_is_computed(tmp_path):
    """Where nothing else is known, not even the dtype of the inputs."""
    upper = tf.Module()
    upper.__call__ = tf.function(tf.strings.upper, input_signature=[tf.TensorSpec([None], tf.string, "x")])
    tf.saved_model.save(upper, tmp_path / "m")
    assert hubkeras.KerasLayer(tmp_path / "m", output_shape=[20]).compute_output_shape((None,)) == (None, 20)
    single = hubkeras.KerasLayer(tmp_path / "m", output_shape=[])
    assert single.compute_output_shape((None,)) == (None,)
    assert single(tf.constant(["a"])).numpy().tolist() == [b"A"]
    several = hubkeras.KerasLayer(tmp_path / "m", output_shape={"a": [2], "b": [None, 3]})
    assert several.compute_output_shape((7,)) == {"a": (7, 2), "b": (7, None, 3)}
    with pytest.raises(InputError, match=r"Write \['one string'\]"):
        hubkeras.KerasLayer(tmp_path / "m")("one string")


@pytest.mark.parametrize(("value", "words"), [(50, r"input_shape=\[50\]"), ("ab", "'ab'"), ([[1], [2]], "without the")])
def test_an_input_shape_that_is_none_says_what_to_write(value, words):
    with pytest.raises(LayerError, match=words):
        layer("losses_and_updates", input_shape=value)


def test_a_single_text_says_what_to_write():
    with pytest.raises(InputError, match=r"Write \['one string'\]"):
        layer("text_paths")("one string")
    with pytest.raises(InputError, match=r"Write \['one string'\]"):
        hubkeras.load(MODULES / "text_paths")("one string")


def test_symbolic_texts_with_an_axis_too_many_get_the_hint_that_eager_ones_get():
    texts = layer("text_paths")
    with pytest.raises(InputError, match=r"last axis off with tf\.squeeze\(x, -1\)"):
        texts(tf.constant([["a"], ["b"]]))
    inputs = keras.Input((1,), dtype="string")
    with pytest.raises(InputError, match=r"last axis off with keras\.ops\.squeeze\(x, -1\)"):
        texts(inputs)
    model = keras.Model(inputs, texts(keras.ops.squeeze(inputs, -1)))
    np.testing.assert_array_equal(model(tf.constant([["a"], ["b"]])), texts(["a", "b"]))


def test_weights_stay_frozen_when_what_they_are_shown_to_fails():
    held = layer("losses_and_updates", trainable=True)._layer_weights
    weight = next(iter(held.trained.values()))
    weight.trainable = False
    seen = []

    def fail():
        with held.all_trainable():
            seen.append(weight.trainable)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [True]
    assert not weight.trainable


def test_output_shapes_of_several_outputs():
    told = layer(
        "odd_shapes",
        signature="unknown_rank",
        signature_outputs_as_dict=True,
        output_shape={"default": (3,), "rank": ()},
    )
    with pytest.raises(LayerError, match="'rank'"):
        told(keras.Input((3,)))  # the output `rank` has no batch axis
    shapes = layer("losses_and_updates", signature_outputs_as_dict=True).compute_output_shape((None, 3))
    assert shapes == {"default": (None, 8)}


@pytest.mark.parametrize("dtype", ["float64", "float16", "float32"])
def test_floats_take_the_float_of_the_signature(dtype):
    """Mixed precision and numpy's doubles: every float becomes the signature's; outputs are as it says."""
    sums = layer("losses_and_updates")
    x = keras.Input((3,), dtype=dtype)
    assert sums(tf.ones((2, 3), dtype)).dtype == tf.float32
    assert sums(np.ones((2, 3), dtype)).dtype == tf.float32
    assert keras.Model(x, sums(x))(np.ones((2, 3), dtype)).dtype == tf.float32


def test_ints_and_lists_become_what_the_signature_takes():
    sums = layer("losses_and_updates")
    expected = sums(np.ones((1, 3), np.float32))
    for same in ([[1, 1, 1]], np.ones((1, 3), int), ((1.0, 1.0, 1.0),), np.ones((1, 3), bool)):
        np.testing.assert_array_equal(sums(same), expected)
    mixed = layer("functional_control_flow")({"x": [[1, 1, 1, 1]], "steps": 2})
    np.testing.assert_array_equal(mixed, layer("functional_control_flow", arguments={"steps": 2})([[1, 1, 1, 1]]))


def test_under_a_mixed_policy():
    """A policy of half floats around the layer changes nothing inside it."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(3, dtype="mixed_float16"),
            layer("losses_and_updates", dtype="mixed_float16"),
            keras.layers.Dense(1, dtype="mixed_float16"),
        ]
    )
    assert model.predict(np.ones((2, 3)), verbose=0).shape == (2, 1)


@pytest.mark.parametrize(
    ("name", "compiles"),
    [("losses_and_updates", True), ("batch_renorm", True), ("nested_loops", False), ("text_paths", False)],
)
def test_jit_compile_auto(name, compiles):
    """Keras learns whether XLA can compile the module; what it cannot runs all the same."""
    sums = layer(name)
    assert sums.supports_jit is compiles
    sums.supports_jit = False
    assert sums.supports_jit is False


def test_a_compiled_model():
    """Where the layer says that XLA can compile it, it does, and gives the same."""
    sums = layer("losses_and_updates")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("f")
    compiled = tf.function(sums, jit_compile=True)
    np.testing.assert_allclose(compiled(x), sums(x), rtol=1e-5)
    model = keras.Sequential([keras.Input((3,)), sums])
    model.compile("sgd", "mse", jit_compile="auto")
    np.testing.assert_allclose(model.predict(x, verbose=0), sums(x), rtol=1e-5)


def test_clone_model():
    """A clone has a module of its own, with the values of the file."""
    model = keras.Sequential([keras.Input((3,)), layer("losses_and_updates"), keras.layers.Dense(2)])
    clone = keras.models.clone_model(model)
    x = np.ones((2, 3))
    np.testing.assert_array_equal(clone.layers[0](x), model.layers[0](x))
    clone.layers[0].weights[0].assign(clone.layers[0].weights[0] + 1)
    assert np.any(clone.layers[0](x) != model.layers[0](x))


def test_in_a_pipeline_and_in_threads():
    """The layer runs in `tf.data.Dataset.map`, and in threads at once."""
    text = layer("text_paths")
    words = [["a", "b"], ["c", "a"]]
    mapped = tf.data.Dataset.from_tensor_slices(words).map(text, num_parallel_calls=4)
    found = []
    threads = [threading.Thread(target=lambda: found.append(text(words[0]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for outputs in found:
        np.testing.assert_array_equal(outputs, next(iter(mapped)))
    assert len(found) == 4


def test_nested_in_a_subclassed_model():
    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = layer("sparse_training", signature="tokens")
            self.head = keras.layers.Dense(1)

        def call(self, inputs):
            return self.head(self.inner(inputs))

    model = Outer()
    tokens = tf.sparse.from_dense([["a", "b"], ["c", ""]])
    assert model(tokens).shape == (2, 1)
    assert len(model.weights) == len(model.inner.weights) + 2


def test_as_all_outputs():
    record = read("odd_places")
    every = layer("odd_places", signature_outputs_as_dict=True)
    call = next(c for c in record.content["tag_sets"][0]["calls"] if c["signature"] == "default")
    outputs = every({k: record.tensor(s) for k, s in call["inputs"].items()})
    for k, spec in call["outputs"].items():
        record.check(outputs[k], spec, what=k)


X = np.ones((2, 3), np.float32)


def _symbolic(**kwargs):
    return lambda name, **options: layer(name, **options)(keras.Input(**kwargs))


REFUSED = [
    (lambda: layer("odd_places", signature="nope"), SignatureError, "'nope' 'from_split' 'with_bias'"),
    (lambda: layer("odd_places", output_key="nope"), OutputError, "'default' 'nope' ['default', 'right', 'same']"),
    (lambda: layer("odd_shapes", signature="only_named", output_key="default"), OutputError, "'only_named' ['y']"),
    (lambda: layer("lstm_dropout", tags={"x"}), TagsError, "['x'] ['train'] ['nodrop', 'train']"),
    (lambda: layer("lstm_dropout", tags="train"), TagsError, "'train' tags=['train']"),
    (lambda: layer("lstm_dropout", train_tags={"x"}), TagsError, "['x'] ['train']"),
    (lambda: layer("odd_places", output_key="right", signature_outputs_as_dict=True), LayerError, "either output_key"),
    (lambda: hubkeras.KerasLayer(lambda x: x, tags={"a"}), LayerError, "tags=None loaded already tags={'a'}"),
    (lambda: hubkeras.KerasLayer(hubkeras.load(MODULES / "dtypes"), train_tags={"a"}), LayerError, "train_tags={'a'}"),
    (lambda: hubkeras.KerasLayer(lambda x: x, signature="a", output_key="b"), SignatureError, "'a' with signatures"),
    (lambda: hubkeras.KerasLayer(lambda x: x, signature_outputs_as_dict=True), LayerError, "signature= None"),
    (lambda: hubkeras.KerasLayer(lambda x: {"a": x}, output_key="b")(X), OutputError, "'b' ['a']"),
    (lambda: hubkeras.KerasLayer(lambda x: x, output_key="b")(X), OutputError, "'b' dict EagerTensor output_key="),
    (lambda: layer("losses_and_updates", output_shape="8"), LayerError, "output_shape '8' (128,)"),
    (lambda: layer("losses_and_updates", output_shape=[7])(X), LayerError, "output_shape (2, 7) (2, 8)"),
    (lambda: layer("losses_and_updates", output_shape=[7])(keras.Input((3,))), LayerError, "(None, 7) (None, 8)"),
    (lambda: layer("losses_and_updates", output_shape={"a": (8,)})(keras.Input((3,))), LayerError, "one shape"),
    (lambda: layer("losses_and_updates", foo=1), ValueError, "foo"),
    (lambda: layer("losses_and_updates", trainable="yes"), ValueError, "boolean yes"),
    (lambda: layer("losses_and_updates")(X[:, :2]), InputError, "'default' (None, 3) (2, 2)"),
    (lambda: layer("losses_and_updates")(["text"]), InputError, "'default' float32 list"),
    (lambda: layer("losses_and_updates")(tf.ones((2, 3), tf.int32)), InputError, "'default' float32 int32 tf.cast"),
    (lambda: layer("functional_control_flow")(X), InputError, "multiple inputs ['steps', 'x']"),
    (lambda: layer("functional_control_flow")({"x": X}), InputError, "'x' (None, 4) (2, 3)"),
    (lambda: layer("functional_control_flow", arguments={"stepz": 1})(X), InputError, "not known: ['stepz']"),
    (
        lambda: layer("functional_control_flow")({"x": np.ones((1, 4)), "step": 1}),
        InputError,
        "missing: ['steps'] not known: ['step']",
    ),
    (
        lambda: layer("functional_control_flow")({"x": np.ones((1, 4)), "steps": tf.constant(2, tf.int64)}),
        InputError,
        "'steps' int32 int64",
    ),
    (lambda: layer("text_paths")("a"), InputError, "'default' (None,) () tf.newaxis"),
    (lambda: layer("text_paths")([["a"]]), InputError, "'default' (None,) (1, 1) tf.squeeze"),
    (lambda: layer("losses_and_updates")(keras.Input((4,))), InputError, "'default' (None, 3) (None, 4) keras.Input"),
    (lambda: layer("losses_and_updates")(keras.Input((3,), dtype="int32")), InputError, "float32 int32 dtype="),
    (lambda: layer("losses_and_updates")(keras.Input((3,), sparse=True)), InputError, "a dense a sparse"),
    (lambda: layer("text_paths")(keras.Input((1,), dtype="string")), InputError, "(None,) (None, 1)"),
    (lambda: layer("sparse_training", signature="matmul")(keras.Input((6,))), InputError, "a sparse a dense"),
    (lambda: layer("ragged_text", signature="ragged")(keras.Input((6,))), InputError, "a ragged a dense"),
    (
        lambda: layer("functional_control_flow")({"x": keras.Input((4,)), "stepz": keras.Input(())}),
        InputError,
        "missing: ['steps'] not known: ['stepz']",
    ),
    (
        lambda: layer("functional_control_flow")([keras.Input((4,)), keras.Input(())]),
        InputError,
        "multiple inputs ['steps', 'x'] list",
    ),
    (lambda: hubkeras.KerasLayer(5), HubKerasError, "handle 5"),
]


@pytest.mark.parametrize(("call", "kind", "words"), REFUSED, ids=range(len(REFUSED)))
def test_bad_use_is_refused_by_name(call, kind, words):
    """The message names what failed, what was expected with the allowed values, and what was received."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    for word in words.split(" "):
        assert word in message, message


def test_a_layer_of_keras_is_a_layer_inside():
    """Its weights are its own, and are trained or frozen with the layer around it."""
    inner = keras.layers.Dense(3, kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((2,)), hubkeras.KerasLayer(inner, trainable=True)])
    model.compile("sgd", "mse")
    before = inner.kernel.numpy().copy()
    model.fit(np.ones((8, 2)), np.zeros((8, 3)), verbose=0)
    assert not np.array_equal(before, inner.kernel.numpy())
    assert len(model.weights) == 2
    assert len(model.losses) == 1

    frozen = hubkeras.KerasLayer(keras.layers.Dense(3))
    frozen(np.ones((1, 2), np.float32))
    assert (len(frozen.weights), len(frozen.trainable_weights)) == (2, 0)


def test_an_input_that_keras_computes():
    """Keras calls the product of an input and a number sparse, which it is not."""
    inputs = keras.Input((3,))
    outputs = layer("losses_and_updates")(2 * inputs)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(keras.Model(inputs, outputs)(x), layer("losses_and_updates")(2 * x), rtol=1e-6)
