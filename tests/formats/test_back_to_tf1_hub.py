"""TF1 Hub format out of SavedModels and Keras models: here and in the original, it computes and trains as these do."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from building import variable, write
from parity import GOLDEN
from publishing.trajectories import compare, run

import hubkeras
from hubkeras.errors import ConversionError, ExportExistsError, FormatError, UnsupportedError
from hubkeras.publishing.saved_objects import object_table
from hubkeras.publishing.variable_nodes import weight_name

ORIGINAL = os.environ.get("HUBKERAS_ORIGINAL_PYTHON")
STEPS = 2
FLOATS = np.linspace(-1, 1, 12, dtype=np.float32)
X = FLOATS.reshape(4, 3)
v1 = tf.compat.v1
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def tf1_module(tags):
    """A module with a loss, a moving average, a table, two signatures and a variant for training."""
    x = v1.placeholder(tf.float32, [None, 3])
    w, mean = variable("scope/w", FLOATS[:9].reshape(3, 3)), variable("mean", [0.0, 1.0, 2.0], trainable=False)
    v1.add_to_collection(v1.GraphKeys.REGULARIZATION_LOSSES, 0.1 * tf.nn.l2_loss(w))
    h = x - mean
    if "train" in tags:
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, mean.assign(0.9 * mean + 0.1 * tf.reduce_mean(x, 0)))
        h = x * 2
    words = v1.placeholder(tf.string, [None])
    rows = variable("rows", FLOATS.reshape(4, 3))
    initializer = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2], value_dtype=tf.int64)
    table = tf.lookup.StaticHashTable(initializer, 0)
    return {
        "default": ({"x": x}, {"default": tf.tanh(h @ w)}),
        "words": ({"words": words}, {"default": tf.gather(rows, table.lookup(words))}),
    }


def text_object(folder):
    """A reusable SavedModel as TensorFlow Hub has them for text: a vocabulary in a file, and a call."""
    (folder / "vocabulary.txt").write_text("cat\ndog\n")

    class Text(tf.Module):
        def __init__(self):
            super().__init__()
            initializer = tf.lookup.TextFileInitializer(
                str(folder / "vocabulary.txt"), tf.string, 0, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.table = tf.lookup.StaticVocabularyTable(initializer, 1)
            self.counts = tf.lookup.experimental.MutableHashTable(tf.string, tf.float32, 0.5)
            self.counts.insert(["cat"], [2.0])
            self.embeddings = tf.Variable(FLOATS[:6].reshape(3, 2), name="embeddings")

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, sentences):
            words = tf.strings.split(sentences)
            rows = tf.nn.embedding_lookup(self.embeddings, self.table.lookup(words.values))
            rows *= self.counts.lookup(words.values)[:, None]
            return tf.math.segment_sum(rows, words.value_rowids())

    tf.saved_model.save(Text(), str(folder / "text"))
    return hubkeras.load(folder / "text")


def keras_model(folder):
    """A model over a module, with layers that update and draw at random."""
    write(folder / "inner", tf1_module, [(), ("train",)])
    inputs = keras.Input([3], name="x")
    h = hubkeras.KerasLayer(folder / "inner", trainable=True)(inputs)
    h = keras.layers.BatchNormalization(name="norm")(h)
    h = keras.layers.Dropout(0.5, seed=3)(h)
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_regularizer="l2", name="dense")(h))
    model.save(folder / "model.keras")
    return model


def known(trajectory, want):
    """A trajectory without variables that Keras does not count, such as those which no output of a layer needs."""
    return {key: value for key, value in trajectory.items() if "/variable/" not in key or key in want}


def named(variables):
    return {v.name.partition(":")[0]: v for v in variables}


def of_module(module, inputs):
    return run(
        STEPS,
        module(inputs, as_dict=True),
        lambda: module(inputs, as_dict=True),
        lambda: module(inputs, training=True, as_dict=True),
        lambda: [loss() for loss in module.regularization_losses],
        named(module.trainable_variables),
        named(module.variables),
    )


def of_object(loaded, inputs):
    table = object_table(loaded).by_name.items()

    def call(training):
        return loaded(next(iter(inputs.values())), training=training, as_dict=True)

    return run(
        STEPS,
        call(False),
        lambda: call(False),
        lambda: call(True),
        lambda: [loss() for loss in loaded.regularization_losses],
        {name: held.variable for name, held in table if held.trainable},
        {name: held.variable for name, held in table},
    )


def of_model(model, inputs):
    def call(training):
        return {"default": model(next(iter(inputs.values())), training=training)}

    dense = model.get_layer("dense").kernel
    (layer,) = (each for each in model.layers if isinstance(each, hubkeras.KerasLayer))
    return run(
        STEPS,
        call(False),
        lambda: call(False),
        lambda: call(True),
        lambda: [dense.regularizer(dense), *(loss() for loss in layer.resolved_object.regularization_losses)],
        {weight_name(w): w.value for w in model.trainable_weights},
        {weight_name(w): w.value for w in model.weights},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """By name, where each module went, its inputs, and the trajectory of what it was converted from."""
    folder, found = tmp_path_factory.mktemp("back"), {}

    def add(name, source, inputs, trajectory):
        hubkeras.convert(source, folder / name / "module", "tf1_hub")
        found[name] = folder / name, inputs, trajectory

    write(folder / "source", tf1_module, [(), ("train",)])
    hubkeras.convert(folder / "source", folder / "saved", "saved_model")
    x = {"x": tf.constant(X)}
    add("round_trip", folder / "saved", x, of_module(hubkeras.load(folder / "source"), x))
    reusable = hubkeras.load(GOLDEN / "modules" / "tf2_reusable")
    add("reusable", GOLDEN / "modules" / "tf2_reusable", x, of_object(reusable, x))
    loaded, words = text_object(folder), {"sentences": tf.constant(["a cat", "dog dog cat"])}
    add("text", folder / "text", words, of_object(loaded, words))
    model = keras_model(folder)
    add("keras", folder / "model.keras", x, of_model(model, x))
    return found


NAMES = ("round_trip", "reusable", "text", "keras")


@pytest.mark.parametrize("name", NAMES)
def test_computes_and_trains_as_its_source(made, name):
    """Outputs, gradients, losses, updates and trained variables in both variants, by the names of the variables."""
    folder, inputs, want = made[name]
    module = hubkeras.load(folder / "module")
    assert module.get_tags() == [frozenset(), frozenset({"train"})]
    compare(known(of_module(module, inputs), want), want)


@pytest.mark.skipif(
    not ORIGINAL, reason="HUBKERAS_ORIGINAL_PYTHON names no Python with tensorflow-hub 0.15.0 and TensorFlow 2.15"
)
def test_original_trains_what_was_converted(made):
    """A TF1 program finds the same with `hub.Module(path, trainable=True, tags={"train"})` of the original library."""
    for folder, inputs, _ in made.values():
        np.savez(folder / "inputs.npz", **{k: v.numpy() for k, v in inputs.items()})
        (folder / "steps.txt").write_text(str(STEPS))
    parent = next(iter(made.values()))[0].parent / "for_original"
    parent.mkdir()
    for name in made:
        (parent / name).symlink_to(made[name][0])
    script = Path(__file__).parents[1] / "original" / "check_published.py"
    done = subprocess.run([ORIGINAL, script, parent], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not json.loads(done.stdout.split("FAILED ")[1])
    for folder, _, trajectory in made.values():
        want = {key: value for key, value in trajectory.items() if not key.startswith("trained")}
        with np.load(folder / "trajectory.npz") as found:
            compare(known({key.replace("|", "/"): found[key] for key in found.files}, want), want)


def test_names_and_tables_stay(made):
    """The round trip keeps names and signatures; a vocabulary stays a file, a table that grows keeps its contents."""
    module = hubkeras.load(made["round_trip"][0] / "module")
    assert list(module.variable_map) == ["scope/w", "mean", "rows"]
    assert named(module.trainable_variables).keys() == {"scope/w", "rows"}
    assert set(module.get_signature_names()) == {"default", "words", "serving_default"}
    np.testing.assert_array_equal(module(["b", "c"], "words"), FLOATS.reshape(4, 3)[[2, 0]])
    assert [p.name for p in (made["text"][0] / "module" / "assets").iterdir()] == ["vocabulary.txt"]


def test_signatures_alone(tmp_path):
    """An object without a call gives its signatures; an only output is "default" as well."""
    hubkeras.convert(GOLDEN / "modules" / "tf2_signatures", tmp_path / "new", "tf1_hub")
    module, source = hubkeras.load(tmp_path / "new"), hubkeras.load(GOLDEN / "modules" / "tf2_signatures")
    assert set(module.get_signature_names()) == {"mix", "serving_default"}
    values = {"a": tf.constant([1.0, 2.0]), "b": tf.constant(0.5)}
    np.testing.assert_allclose(module(values, "mix"), source(values, signature="mix"))


def test_a_model_that_is_at_hand(tmp_path):
    """A Keras model can be converted to every format, and is left as it was."""
    layers = keras.layers.Dense(2, name="dense"), keras.layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input([3], name="x"), *layers])
    before = [w.numpy() for w in model.weights]
    done = hubkeras.convert(model, tmp_path / "new", "saved_model")
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert "gradients of the model's call with training=True" in done.verified.differences
    loaded = tf.saved_model.load(str(tmp_path / "new"))
    np.testing.assert_allclose(loaded(X), model(X), rtol=1e-5, atol=1e-6)
    assert [v.name for v in loaded.trainable_variables] == [f"{w.path}:0" for w in model.trainable_weights]


def test_what_cannot_be_a_source(tmp_path):
    """Files that hold no graphs or no variables are refused by name, and what is damaged is no model."""
    for name, said in (("a.npz", "holds no graphs"), ("a.onnx", "holds no variables"), ("a.tflite", "no variables")):
        with pytest.raises(UnsupportedError, match=said):
            hubkeras.convert(tmp_path / name, tmp_path / "new", "tf1_hub")
    (tmp_path / "a.keras").write_bytes(b"no archive")
    zipfile.ZipFile(tmp_path / "empty.keras", "w").close()
    with zipfile.ZipFile(tmp_path / "deep.keras", "w") as archive:
        archive.writestr("config.json", "[" * 100_000)
    for name in ("a.keras", "b.keras", "empty.keras", "deep.keras"):
        with pytest.raises(FormatError, match="Cannot read Keras model"):
            hubkeras.convert(tmp_path / name, tmp_path / "new", "tf1_hub")
    with pytest.raises(ConversionError, match="chosen already"):
        hubkeras.convert(tmp_path / "a.keras", tmp_path / "new", "tf1_hub", tags=["train"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.keras", "deep.keras", "empty.keras"]
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    with pytest.raises(ExportExistsError):
        hubkeras.convert(GOLDEN / "modules" / "tf2_reusable", tmp_path / "there", "tf1_hub")
