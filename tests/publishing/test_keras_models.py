"""`hubkeras.publish`: the module computes and trains as the Keras model does, here and in the original."""

import gc
import json
import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from hubkeras.errors import ExportExistsError, PublishingError, SignatureTypeError, UnsafeModuleError
from hubkeras.publishing.keras_models import _regularization_losses
from hubkeras.publishing.variable_nodes import weight_name
from publishing import models
from publishing.trajectories import compare, run

ORIGINAL = os.environ.get("HUBKERAS_ORIGINAL_PYTHON")
CASES = [
    *("image_cnn", "counting", "several", "listed", "text", "recurrent", "attention", "mobile_net"),
    *("renormalized", "frozen_module", "module_with_losses", "module_with_loops", "module_with_tables", "tf2_object"),
    "custom_gradient",
    "module_with_gradients",
    "calls_in_a_loop",
]
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("published")


@pytest.fixture(scope="module")
def published(folder):
    """Returns the case of a name, published, with the trajectory of its model; each is made once."""
    made = {}

    def make(name):
        if name not in made:
            keras.utils.set_random_seed(3)
            case = getattr(models, name)()
            before = case.call(training=False)
            hubkeras.publish(case.model, folder / name / "module", **case.arguments)
            weights = {weight_name(w): w.value for w in case.model.weights}
            trainable = {weight_name(w): w.value for w in case.model.trainable_weights}
            want = run(
                case.steps,
                before,
                lambda: case.call(training=False),
                lambda: case.call(training=True),
                lambda: [*_regularization_losses(case.model), *case.losses_of_call()],
                trainable,
                weights,
            )
            made[name] = case, trainable, weights, want
        return made[name]

    return make


@pytest.mark.parametrize("name", CASES)
def test_trains_as_in_keras(name, published, folder):
    """Outputs, gradients, losses, updates and trained variables of the module are those of the model."""
    case, trainable, weights, want = published(name)
    module = hubkeras.load(folder / name / "module")
    assert module.get_tags() == [frozenset(), frozenset({"train"})]
    assert set(module.get_input_info_dict()) == set(case.inputs)
    assert {v.name.partition(":")[0] for v in module.trainable_variables} == set(trainable)
    variables = module.variable_map
    got = run(
        case.steps,
        module(case.inputs, as_dict=True),
        lambda: module(case.inputs, as_dict=True),
        lambda: module(case.inputs, training=True, as_dict=True),
        lambda: [loss() for loss in module.regularization_losses],
        {n: variables[n] for n in trainable},
        {n: variables[n] for n in weights},
    )
    compare(got, want)


@pytest.mark.skipif(
    not ORIGINAL, reason="HUBKERAS_ORIGINAL_PYTHON names no Python with tensorflow-hub 0.15.0 and TensorFlow 2.15"
)
def test_original_trains_as_keras(published, folder):
    """A TF1 program finds the same with `hub.Module(path, trainable=True, tags={"train"})` of the original library."""
    for name in CASES:
        case = published(name)[0]
        np.savez(folder / name / "inputs.npz", **{k: v.numpy() for k, v in case.inputs.items()})
        (folder / name / "steps.txt").write_text(str(case.steps))
    script = Path(__file__).parents[1] / "original" / "check_published.py"
    done = subprocess.run([ORIGINAL, script, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not json.loads(done.stdout.split("FAILED ")[1])
    for name in CASES:
        _, _, weights, trajectory = published(name)
        want = {key: value for key, value in trajectory.items() if not key.startswith("trained")}
        with np.load(folder / name / "trajectory.npz") as found:
            got = {key.replace("|", "/"): found[key] for key in found.files}
        compare({key: value for key, value in got.items() if _is_known_to_keras(key, weights)}, want)


def _is_known_to_keras(key, weights):
    """Tells whether a key is of something else than a variable that the module has and the model does not count."""
    step, _, name = key.partition("/variable/")
    return not (step.isdigit() and name) or name in weights


def test_images_have_a_size(published, folder):
    """The size is attached, and the input of images is named so."""
    published("image_cnn")
    module = hubkeras.load(folder / "image_cnn" / "module")
    assert hubkeras.get_expected_image_size(module) == [6, 6]
    assert hubkeras.get_num_image_channels(module) == 3
    assert "cnn/norm/moving_mean" in module.variable_map


def test_a_module_trains_in_a_layer(published, folder):
    """A published module is a layer like any other, which starts where the model was when it was published."""
    case, _, _, want = published("image_cnn")
    layer = hubkeras.KerasLayer(folder / "image_cnn" / "module", trainable=True)
    np.testing.assert_allclose(layer(case.inputs["images"]), want["infer/default"], rtol=1e-5, atol=1e-6)
    assert len(layer.trainable_weights) == 6
    assert len(layer.losses) == 3


def small():
    return keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, name="dense")])


def test_signatures(tmp_path):
    """Models, functions, tf.functions with an input signature, and specs become signatures beside the default one."""
    model = small()
    features = keras.Model(model.inputs, model.layers[0].output * 2.0)

    def mixed(a, b, training):
        return a + b if training else a - b

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([])])
    def scaled(x, factor):
        return {"scaled": model(x) * factor, "x": x}

    signatures = {
        "features": features,
        "scaled": scaled,
        "function": lambda x: model(x) + 1.0,
        "training": (
            lambda a, b, training: a + b if training else a - b,
            {"a": tf.TensorSpec([2]), "b": tf.TensorSpec([2])},
        ),
        "fixed": {"rows": tf.TensorSpec([1, 3])},
        "nothing": (lambda: tf.constant("text"), {}),
    }
    hubkeras.publish(model, tmp_path / "module", signatures)
    module = hubkeras.load(tmp_path / "module")
    assert module.get_signature_names() == sorted([*signatures, "default"])
    x = tf.constant([[1.0, 2.0, 3.0]])
    want = model(x)
    close = np.testing.assert_allclose
    close(module(x), want, rtol=1e-6)
    close(module(x, signature="features"), 2 * want, rtol=1e-6)
    close(module(x, signature="function"), want + 1, rtol=1e-6)
    both = module({"x": x, "factor": 3.0}, signature="scaled", as_dict=True)
    close(both["scaled"], 3 * want, rtol=1e-6)
    close(both["x"], x)
    pair = {"a": tf.constant([1.0, 2.0]), "b": tf.constant([5.0, 6.0])}
    close(module(pair, signature="training"), [-4, -4])
    close(module(pair, signature="training", training=True), [6, 8])
    assert module.get_input_info_dict("fixed")["rows"].get_shape().as_list() == [1, 3]
    assert module(signature="nothing").numpy() == b"text"


def test_signatures_share_what_they_compute(tmp_path):
    """A model and its features have one input and one set of update ops; models of their own have two."""
    inputs = keras.Input((3,), name="x")
    features = keras.layers.BatchNormalization()(keras.layers.Dense(4)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(features)))
    other = keras.Sequential([keras.Input((3,), name="x"), keras.layers.BatchNormalization()])
    signatures = {"features": keras.Model(inputs, features), "other": other}
    hubkeras.publish(model, tmp_path / "module", signatures)
    module = hubkeras.load(tmp_path / "module")
    variant = module.description.variants[1]
    placeholders = {name: spec.inputs["x"].tensors for name, spec in variant.signatures.items()}
    assert placeholders["default"] == placeholders["features"] != placeholders["other"]
    assert len(variant.update_ops) == 2 + 1 + 2
    x = tf.constant(np.random.default_rng(2).standard_normal((6, 3)), tf.float32)
    np.testing.assert_allclose(
        module(x, signature="features", training=True), signatures["features"](x, training=True), rtol=1e-4, atol=1e-5
    )
    for weight in [*signatures["features"].weights, *other.weights]:
        np.testing.assert_allclose(module.variable_map[weight.path], weight.value, rtol=1e-4, atol=1e-5)


def test_sparse_and_ragged_inputs(tmp_path):
    """Sparse and ragged inputs and outputs keep their kind."""
    spec = {"r": tf.RaggedTensorSpec([None, None], tf.float32), "s": tf.SparseTensorSpec([None, 3], tf.float32)}

    def function(r, s):
        return {"sums": tf.reduce_sum(r, 1), "s": s, "r": r * 2.0}

    hubkeras.publish(small(), tmp_path / "module", {"mixed": (function, spec)})
    module = hubkeras.load(tmp_path / "module")
    r, s = tf.ragged.constant([[1.0, 2.0], [], [3.0]]), tf.sparse.from_dense([[0.0, 1.0, 0.0]])
    outputs = module({"r": r, "s": s}, signature="mixed", as_dict=True)
    np.testing.assert_array_equal(outputs["sums"], [3, 0, 3])
    assert outputs["r"].to_list() == [[2.0, 4.0], [], [6.0]]
    np.testing.assert_array_equal(tf.sparse.to_dense(outputs["s"]), [[0, 1, 0]])


def test_files_come_along(tmp_path):
    """A vocabulary in a file becomes an asset; tables of other kinds keep what they hold."""
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("one\ntwo\n")
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(vocabulary),
            *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
            *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
        ),
        2,
    )
    counts = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    counts.insert(["one"], [7])

    def function(words):
        return {"ids": table.lookup(words), "counts": counts.lookup(words)}

    model = keras.Sequential([keras.Input((), dtype="string"), keras.layers.StringLookup(vocabulary=str(vocabulary))])
    hubkeras.publish(model, tmp_path / "module", {"ids": (function, {"words": tf.TensorSpec([None], tf.string)})})
    vocabulary.unlink()
    assert (tmp_path / "module" / "assets" / "words.txt").read_text() == "one\ntwo\n"
    assert str(tmp_path).encode() not in (tmp_path / "module" / "saved_model.pb").read_bytes()
    (tmp_path / "module").rename(tmp_path / "moved")
    module = hubkeras.load(tmp_path / "moved")
    words = tf.constant(["two", "one"])
    outputs = module(words, signature="ids", as_dict=True)
    assert outputs["ids"].numpy().tolist() == [1, 0]
    assert outputs["counts"].numpy().tolist() == [-1, 7]
    assert module(words).numpy().tolist() == [2, 1]


def test_what_the_collector_does_not_see(tmp_path):
    """Files and generators are found by what leads to them: after gc.freeze() no search in memory finds them."""
    vocabulary, content = tmp_path / "words.txt", tmp_path / "content.txt"
    vocabulary.write_text("one\ntwo\n")
    content.write_text("text")

    class Reading(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.content = tf.saved_model.Asset(str(content))

        def call(self, inputs):
            return tf.strings.join([inputs, tf.io.read_file(self.content.asset_path)])

    x = keras.Input((), dtype="string", name="x")
    read = keras.layers.StringLookup(vocabulary=str(vocabulary))(x), Reading()(x)
    dropped = keras.layers.Dropout(0.5)(keras.ops.cast(read[0], "float32"))
    model = keras.Model(x, {"ids": read[0], "text": read[1], "dropped": dropped})
    gc.freeze()
    try:
        hubkeras.publish(model, tmp_path / "module")
    finally:
        gc.unfreeze()
    module = hubkeras.load(tmp_path / "module")
    assert sorted(p.name for p in (tmp_path / "module" / "assets").iterdir()) == ["content.txt", "words.txt"]
    outputs = module(tf.constant(["two"]), as_dict=True)
    assert (outputs["ids"].numpy().tolist(), outputs["text"].numpy().tolist()) == ([2], [b"twotext"])
    # What draws waits for the update of its seed.
    (update,) = module.description.variants[1].update_ops
    assert any(f"^{update}" in node.input for node in module.description.variants[1].nodes.values())


def test_tables_from_datasets_are_written_out(tmp_path):
    """No dataset is left in the module: what the tables hold stands there."""
    words = tf.data.Dataset.from_tensor_slices((["one", "two"], tf.constant([5, 1], tf.int64)))
    initializer = tf.data.experimental.DatasetInitializer(words)
    static, spread = tf.lookup.StaticHashTable(initializer, -1), tf.lookup.StaticVocabularyTable(initializer, 2)

    def function(words):
        return {"static": static.lookup(words), "spread": spread.lookup(words)}

    spec = {"words": tf.TensorSpec([None], tf.string)}
    hubkeras.publish(small(), tmp_path / "module", {"ids": (function, spec)})
    given = tf.constant(["two", "one", "three"])
    got = hubkeras.load(tmp_path / "module")(given, signature="ids", as_dict=True)
    want = function(given)
    for name in ("static", "spread"):
        np.testing.assert_array_equal(got[name], want[name])


class Adding(keras.layers.Layer):
    """Adds a loss of a variable, one of the input, and one of a count of calls."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, inputs):
        self.count.assign_add(1.0)
        self.add_loss(0.5 * tf.reduce_sum(self.scale**2))
        self.add_loss(tf.reduce_sum(self.scale * inputs))
        self.add_loss(self.count + 0.0)
        return inputs * self.scale


def test_losses_of_variables_that_a_call_adds(tmp_path, caplog):
    """They are regularization losses, of each variant once, also where several signatures are the model's call."""
    model = keras.Sequential([keras.Input((3,), name="x"), Adding(), keras.layers.Dense(2, kernel_regularizer="l1")])
    hubkeras.publish(model, tmp_path / "module", {"again": None})
    assert "without 2 losses" in caplog.text
    module = hubkeras.load(tmp_path / "module")
    assert all(len(variant.regularization_losses) == 2 for variant in module.description.variants)
    module.variable_map[model.layers[0].scale.path].assign([1.0, 2.0, 3.0])
    assert [loss().numpy() for loss in module.regularization_losses][1] == 7


def test_losses_of_inputs_are_left_out(tmp_path, caplog):
    """A warning says so; the losses of variables are there."""
    dense = keras.layers.Dense(2, activity_regularizer="l2", kernel_regularizer="l1")
    hubkeras.publish(keras.Sequential([keras.Input((3,)), dense]), tmp_path / "module")
    assert "without 1 losses that depend on its inputs" in caplog.text
    assert len(hubkeras.load(tmp_path / "module").regularization_losses) == 1


def test_unnamed_images(tmp_path):
    """The only input of an image model is "images" where nobody has named it; its static shape is the size."""
    model = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.GlobalAveragePooling2D()])
    hubkeras.publish(model, tmp_path / "module")
    assert hubkeras.get_expected_image_size(hubkeras.load(tmp_path / "module")) == [8, 6]


class TwoArguments(keras.Model):
    def call(self, left, right):
        return left * right


def test_several_arguments(tmp_path):
    """Keras does not remember what a call with two arguments took: specs tell."""
    model, x = TwoArguments(), tf.ones([2, 4])
    model(x, x)
    with pytest.raises(PublishingError, match="is not known what its call takes"):
        hubkeras.publish(model, tmp_path / "module")
    spec = tf.TensorSpec([None, 4])
    hubkeras.publish(model, tmp_path / "module", {"default": {"left": spec, "right": spec}})
    np.testing.assert_array_equal(hubkeras.load(tmp_path / "module")({"left": x, "right": 3 * x}), 3 * x)


class Unbuilt(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (lambda: keras.layers.Dense(2), {}, SignatureTypeError, "Wrap a layer"),
        (Unbuilt, {}, PublishingError, "Call it once on a batch"),
        (lambda: keras.Sequential([keras.layers.Dense(2)]), {}, PublishingError, "is not known what"),
        (small, {"image_size": (8, 8)}, PublishingError, "one input of images"),
        (small, {"image_size": 8}, SignatureTypeError, "image_size=\\(height, width\\)"),
        (small, {"signatures": {"": None}}, PublishingError, "malformed name"),
        (small, {"signatures": ["default"]}, SignatureTypeError, "a dict from names to signatures"),
        (small, {"signatures": {"default": 3}}, SignatureTypeError, "signature 'default'"),
        (small, {"signatures": {"x": lambda x: x @ tf.ones([4, 4])}}, PublishingError, "its function failed"),
        (small, {"signatures": {"x": lambda x: [object()]}}, SignatureTypeError, "is no tensor"),
        (small, {"signatures": {"x": lambda x: tf.py_function(abs, [x], tf.float32)}}, UnsafeModuleError, "PyFunc"),
    ],
)
def test_bad_input_is_refused(make, arguments, error, message, tmp_path):
    """The error says what to write, and nothing is written."""
    with pytest.raises(error, match=message):
        hubkeras.publish(make(), tmp_path / "a" / "module", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_never_over_something(tmp_path):
    """What is there stays, and is noticed before the model is traced."""
    hubkeras.publish(small(), tmp_path / "module")
    with pytest.raises(ExportExistsError, match="something is there already"):
        hubkeras.publish(small(), tmp_path / "module")
