"""The demo: what it prints, and that its classifier learns from the module."""

import forks
import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from hubkeras.cli import demo
from hubkeras.cli.main import main


@pytest.fixture(scope="module")
def printed():
    """What the command prints, in a process of its own."""
    done = forks.run(
        "import runpy, sys\nsys.argv = ['hubkeras', 'demo']\n"
        "runpy.run_module('hubkeras.cli.main', run_name='__main__', alter_sys=True)"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "graph variants (tags): []",
        "signature 'default'",
        "in  default: string (None,)",
        "out default: float32 (None, 32)",
        "variable embeddings: float32 (154, 32) + (154, 32)",
        "asset vocabulary.txt:",
    ],
)
def test_shows_what_is_in_the_module(printed, text):
    """The summary names graph variants, signatures, the partitioned variable and the asset."""
    assert text in printed


def test_accuracy_rises(printed):
    """The untrained head guesses; the trained one knows nine of ten sentences that it never saw."""
    lines = [line for line in printed.splitlines() if ": 0." in line or ": 1." in line]
    before, after = (float(line.rsplit(":", 1)[1]) for line in lines)
    assert before < 0.45
    assert after > 0.9


def test_neighbours_share_a_topic():
    """Each probe is nearest to the other probe of its topic."""
    vectors = hubkeras.load(demo.MODULE)(list(demo.PROBES)).numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = (unit @ unit.T - 2 * np.eye(len(unit))).argmax(axis=1)
    assert nearest.tolist() == [1, 0, 3, 2, 5, 4]


def test_labelled_sentences_are_balanced_and_apart():
    """Three topics in equal numbers; no sentence stands in both halves."""
    topics, training, test = demo.read_sentences()
    assert topics == ["cooking", "sport", "weather"]
    assert np.bincount([*training.labels, *test.labels]).tolist() == [140, 140, 140]
    assert not set(training.sentences) & set(test.sentences)


def test_module_is_small():
    """What is shipped with the package stays below 300 kB."""
    assert sum(file.stat().st_size for file in demo.DATA.rglob("*") if file.is_file()) < 300_000


def test_unknown_words_share_the_bucket():
    """A sentence of unknown words has the zero vector, an empty one too."""
    vectors = hubkeras.load(demo.MODULE)(tf.constant(["xylophone quark", ""]))
    np.testing.assert_array_equal(vectors[0], np.zeros(32))


@pytest.mark.parametrize("argv", [[], ["unknown"], ["demo", "--epochs", "many"]])
def test_wrong_arguments_leave_with_usage(argv, capsys):
    """The command says how it goes, and exits with 2."""
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    assert "Usage: hubkeras" in capsys.readouterr().err


def test_refusals_are_one_line(capsys, monkeypatch, tmp_path):
    """What hubkeras refuses is printed without a traceback, with status 1."""
    monkeypatch.setattr(demo, "MODULE", tmp_path / "nothing")
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("hubkeras: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
