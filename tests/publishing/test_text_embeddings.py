"""`hubkeras.publish_text_embedding`: files of word vectors become modules, Keras models and TF2 SavedModels."""

import gzip
import json
import logging
import os
import re
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from hubkeras.errors import EmbeddingFileError, ExportExistsError, MissingFileError, PublishingError
from hubkeras.handles import progress
from hubkeras.publishing import embedding_tables

ORIGINAL = os.environ.get("HUBKERAS_ORIGINAL_PYTHON")
WORDS = {
    "cat": [1.11, 2.56, 3.45],
    "dog": [1, 2, 3],
    "mouse": [0.5, 0.1, 0.6],
    "New York": [7, 8, 9],
    "été": [-1, 0, 2],
}
SENTENCES = ["cat", "cat cat", "lizard. dog", "«cat»? dog!", "", "...", " the  mouse ", "New York", "été\tdog", "Cat"]
TOKENS = ["cat", "lizard", "New York", "", "dog"]
TABLES = {"whole": {}, "parts": {"num_oov_buckets": 4, "partitions": 3}}


def vectors(sentences):
    """What sentences should be given, computed with numpy."""
    found = []
    for sentence in sentences:
        tokens = re.sub(r"[^\w\s]", "", sentence).split(" ")
        rows = [WORDS.get(token, [0, 0, 0]) for token in tokens if token] or [[0, 0, 0]]
        found.append(np.sum(rows, axis=0) / np.sqrt(len(rows)))
    return np.array(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Everything published from one file, by its format and its table."""
    folder = tmp_path_factory.mktemp("text_embeddings")
    lines = "".join(f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in WORDS.items())
    (folder / "vectors.txt").write_text(lines, encoding="utf8")
    (folder / "vectors.vec.gz").write_bytes(gzip.compress(f"5 3\n{lines}".encode()))
    for name, options in TABLES.items():
        plain = folder / "vectors.txt"
        hubkeras.publish_text_embedding(plain, folder / name, **options)
        hubkeras.publish_text_embedding(folder / "vectors.vec.gz", folder / f"{name}.keras", to="keras", **options)
        hubkeras.publish_text_embedding(str(plain), str(folder / f"{name}_tf2"), to="saved_model", **options)
        hubkeras.publish_text_embedding(plain, folder / f"{name}_tokens", preprocess_text=False, **options)
    return folder


@pytest.mark.parametrize("name", [name + suffix for name in TABLES for suffix in ("", ".keras", "_tf2")])
def test_sentences(name, folder):
    """All formats compute the same, for texts without tokens and without texts, too."""
    load = keras.models.load_model if name.endswith(".keras") else hubkeras.load
    embed = load(folder / name)
    np.testing.assert_allclose(embed(tf.constant(SENTENCES)), vectors(SENTENCES), rtol=1e-6)
    for texts in (["", ""], ["", "cat dog"], ["cat dog", "", "?"]):
        np.testing.assert_allclose(embed(tf.constant(texts)), vectors(texts), rtol=1e-6)
    assert embed(tf.constant([], tf.string)).shape == (0, 3)


@pytest.mark.parametrize("name", TABLES)
def test_modules(name, folder):
    """What the modules say about themselves, and what lies in them."""
    module, tokens = hubkeras.load(folder / name), hubkeras.load(folder / f"{name}_tokens")
    assert hubkeras.check_signature(module, "text_embedding") == []
    assert hubkeras.check_signature(tokens, "text_embedding") == []
    assert list(module.get_input_info_dict()) == ["sentences"]
    assert list(tokens.get_input_info_dict()) == ["tokens"]
    assert module.get_output_info_dict()["default"].get_shape().as_list() == [None, 3]
    np.testing.assert_allclose(tokens(TOKENS), [WORDS.get(t, [0, 0, 0]) for t in TOKENS], rtol=1e-6)
    assert list(module.variable_map) == ["embeddings"]
    parts = module.variable_map["embeddings"]
    sizes = [part.shape[0] for part in parts] if isinstance(parts, list) else parts.shape[0]
    assert sizes == (6 if name == "whole" else [3, 3, 3])
    assert {p.name for p in (folder / name).iterdir()} == {"assets", "saved_model.pb", "tfhub_module.pb", "variables"}
    assert (folder / name / "assets" / "tokens.txt").read_text(encoding="utf8").splitlines() == list(WORDS)


def test_nothing_is_left_beside(folder):
    """Neither temporary files nor modules inside the Keras models' way."""
    names = {f"{name}{suffix}" for name in TABLES for suffix in ("", ".keras", "_tf2", "_tokens")}
    assert {path.name for path in folder.iterdir()} == names | {"vectors.txt", "vectors.vec.gz"}


@pytest.mark.parametrize("name", [f"{name}{suffix}" for name in TABLES for suffix in ("", "_tf2")])
def test_fine_tuning(name, folder):
    """In a Keras model the tokens of a batch move, and unknown ones get vectors of their own."""
    layer = hubkeras.KerasLayer(folder / name, trainable=True)
    model = keras.Sequential([keras.Input((), dtype="string"), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    texts = tf.constant(["cat", "lizard", "snake"])
    before = layer(tf.constant(["cat", "lizard", "dog"])).numpy()
    model.fit(texts, tf.constant([[5.0], [6.0], [7.0]]), epochs=2, verbose=0)
    after = layer(tf.constant(["cat", "lizard", "dog"])).numpy()
    np.testing.assert_array_equal((before != after).any(axis=1), [True, True, False])


def test_keras_model(folder):
    """It is trainable, and one input of strings stands before it."""
    model = keras.models.load_model(folder / "whole.keras")
    assert len(model.trainable_weights) == 1
    assert model.inputs[0].dtype == "string"
    assert model.predict(tf.constant(["cat", "dog"]), verbose=0).shape == (2, 3)


def test_reusable_saved_model(folder):
    """What https://www.tensorflow.org/hub/reusable_saved_models asks for, without hubkeras."""
    loaded = tf.saved_model.load(str(folder / "parts_tf2"))
    assert [tuple(variable.shape) for variable in loaded.trainable_variables] == [(3, 3)] * 3
    assert len(loaded.variables) == 3
    assert list(loaded.regularization_losses) == []
    served = loaded.signatures["serving_default"](sentences=tf.constant(SENTENCES))
    np.testing.assert_allclose(next(iter(served.values())), vectors(SENTENCES), rtol=1e-6)


def test_table_in_pieces(folder, tmp_path, monkeypatch):
    """Values that do not fit into memory at once travel in pieces, to whole variables and to parts."""
    monkeypatch.setattr(embedding_tables, "_BYTES_AT_ONCE", 2 * 3 * 4)
    for name, options in TABLES.items():
        for suffix, to in (("", "tf1_hub"), ("_tf2", "saved_model")):
            path = tmp_path / f"{name}{suffix}"
            hubkeras.publish_text_embedding(folder / "vectors.txt", path, to=to, **options)
            np.testing.assert_allclose(hubkeras.load(path)(SENTENCES), vectors(SENTENCES), rtol=1e-6)
    np.testing.assert_array_equal(
        tf.train.load_checkpoint(str(tmp_path / "whole" / "variables" / "variables")).get_tensor("embeddings"),
        tf.train.load_checkpoint(str(folder / "whole" / "variables" / "variables")).get_tensor("embeddings"),
    )


@pytest.mark.parametrize("to", ["tf1_hub", "keras", "saved_model"])
def test_what_fails_leaves_nothing(to, tmp_path):
    """Neither a module nor the folders on the way to it."""
    (tmp_path / "vectors.txt").write_text("cat 1 2\ndog 1 2\nmouse 3\n")
    with pytest.raises(EmbeddingFileError, match="line 3"):
        hubkeras.publish_text_embedding(tmp_path / "vectors.txt", tmp_path / "a" / "b" / "c.keras", to=to)
    with pytest.raises(MissingFileError, match="there is no such file"):
        hubkeras.publish_text_embedding(tmp_path / "nothing.txt", tmp_path / "a" / "b" / "c.keras", to=to)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.txt"]


@pytest.mark.parametrize("to", ["tf1_hub", "keras", "saved_model"])
def test_never_over_something(to, folder, tmp_path):
    """What is there stays, and the file is not even read."""
    there = tmp_path / "there.keras"
    there.write_text("mine")
    with pytest.raises(ExportExistsError, match="something is there already"):
        hubkeras.publish_text_embedding(folder / "vectors.txt", there, to=to)
    assert there.read_text() == "mine"
    with pytest.raises(ExportExistsError):
        hubkeras.publish_text_embedding(folder / "vectors.txt", folder / "whole")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "tf2"}, 'to="tf1_hub", "keras" or "saved_model"'),
        ({"to": "keras"}, r"ends in \.keras"),
        ({"num_oov_buckets": 0}, "num_oov_buckets= a whole number from 1"),
        ({"partitions": 1.5}, "partitions= a whole number from 1"),
        ({"partitions": 7}, "partitions= at most the number of rows, 6"),
    ],
)
def test_bad_arguments(options, message, folder, tmp_path):
    with pytest.raises(PublishingError, match=message):
        hubkeras.publish_text_embedding(folder / "vectors.txt", tmp_path / "module", **options)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_logged(folder, tmp_path, monkeypatch, caplog):
    """Where no terminal is."""
    monkeypatch.setattr(progress, "_LOG_INTERVAL", 0)
    with caplog.at_level(logging.INFO, "hubkeras"):
        hubkeras.publish_text_embedding(folder / "vectors.txt", tmp_path / "module")
    assert any(re.match(r"Reading vectors\.txt: 0\.0 of 0\.0 MB", text) for text in caplog.messages), caplog.messages


@pytest.mark.skipif(
    not ORIGINAL, reason="HUBKERAS_ORIGINAL_PYTHON names no Python with tensorflow-hub 0.15.0 and TensorFlow 2.15"
)
def test_original(folder, tmp_path):
    """The original implementation computes the same, and trains the modules as hubkeras does."""
    (tmp_path / "texts.json").write_text(json.dumps(SENTENCES))
    script = Path(__file__).parents[1] / "original" / "tune_text_embeddings.py"
    paths = [str(folder / name) for name in (*TABLES, *(f"{name}_tokens" for name in TABLES))]
    command = [ORIGINAL, script, tmp_path / "texts.json", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.split("RESULT ")[1])
    for path in paths:
        module = hubkeras.load(path)
        with tf.GradientTape() as tape:
            before = module(SENTENCES)
            loss = tf.reduce_mean(tf.square(before))
        optimizer = keras.optimizers.SGD(1.0)
        weights = [keras.Variable(v) for v in module.trainable_variables]
        optimizer.apply(tape.gradient(loss, module.trainable_variables), weights)
        np.testing.assert_allclose(found[path]["before"], before, rtol=1e-6)
        np.testing.assert_allclose(found[path]["after"], module(SENTENCES), rtol=1e-6)
        whole = path.endswith(("whole", "whole_tokens"))
        assert found[path]["shapes"] == {"embeddings": [6, 3] if whole else [[3, 3]] * 3}
