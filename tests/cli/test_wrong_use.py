"""Every verb: wrong use leaves with status 2, what is refused gives status 1 and one paragraph, or a traceback."""

import json

import pytest

from hubkeras.cli.demo import MODULE
from hubkeras.cli.main import VERBS, main

WRONG_USE = {
    "cache": ["bogus"],
    "cache list": ["--bogus"],
    "cache pin": [],
    "cache remove": [],
    "check-signature": [MODULE, "bogus"],
    "convert": [MODULE, "new", "--to", "pmml"],
    "convert without --to": [MODULE, "new"],
    "demo": ["--epochs", "-1"],
    "migrate": [],
    "pack": [MODULE, "new.zip"],
    "publish-embedding": ["words.txt", "new", "--partitions", "0"],
    "publish-embedding without buckets": ["words.txt", "new", "--oov-buckets", "0"],
    "resolve": [],
    "run": [MODULE],
    "run with no batch": [MODULE, "--input", "text=fog", "--batch", "0"],
    "run with labels": [MODULE, "--input", "text=fog", "--labels", "words.txt", "--output", "new.npz"],
    "run with a column": [MODULE, "--input", "text=fog", "--column", "default=text"],
    "run with half a column": [MODULE, "--inputs", "rows.jsonl", "--column", "default"],
    "scan": [],
    "show": [MODULE, "--json", "--html", "new.html"],
}
"""By verb, and what is wrong; `demo` takes nothing else that could be."""

REFUSED = {
    "cache pin": ["https://example.org/m/1", "--sha256", "xyz"],
    "cache remove": ["nothing"],
    "cache verify": ["nothing"],
    "check-signature": ["nothing", "text_embedding"],
    "convert": [MODULE, "words.txt", "--to", "saved_model"],
    "convert without a module": ["nothing", "new", "--to", "saved_model"],
    "convert without weights": [MODULE, "new", "--to", "tf1_hub", "--weights", "nothing.npz"],
    "convert with broken weights": [MODULE, "new", "--to", "tf1_hub", "--weights", "broken.npz"],
    "convert to no weights": [MODULE, "new.txt", "--to", "weights"],
    "convert below a file": [MODULE, "words.txt/new", "--to", "saved_model"],
    "migrate": ["nothing"],
    "pack": [MODULE, "there.tar.gz"],
    "publish-embedding": ["nothing.txt", "new"],
    "publish-embedding of no numbers": ["words.txt", "new"],
    "publish-embedding of nothing": ["empty.txt", "new"],
    "resolve": ["nothing"],
    "run": [MODULE, "--inputs", "nothing.jsonl"],
    "run without a module": ["nothing", "--input", "text=fog"],
    "run without examples": [MODULE, "--inputs", "empty.jsonl", "--output", "new.npz"],
    "run by no signature": [MODULE, "--signature", "bogus", "--input", "text=fog"],
    "run by no variant": [MODULE, "--tags", "bogus", "--input", "text=fog"],
    "run without labels": [MODULE, "--input", "text=fog", "--labels", "nothing.txt"],
    "run with empty labels": [MODULE, "--input", "text=fog", "--labels", "empty.txt"],
    "run with other labels": [MODULE, "--input", "text=fog", "--labels", "words.txt"],
    "scan": ["words.txt"],
    "show": [".", "--json"],
    "show to no file": [MODULE, "--html", "folder"],
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The folder where the command runs, and what lies there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    for name, text in {"words.txt": "red\ngreen\n", "empty.txt": "", "empty.jsonl": "", "there.tar.gz": "mine"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "broken.npz").write_text("no archive")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "fog"}))
    (tmp_path / "folder").mkdir()
    return tmp_path


def _command(case, arguments):
    words = case.split()
    return [*words[: 2 if words[0] == "cache" else 1], *map(str, arguments)]


def _there(folder):
    return sorted(path for path in folder.rglob("*") if "cache" not in path.parts)


def test_every_verb_is_tried():
    """A new one has a line in both tables."""
    assert {case.split()[0] for case in WRONG_USE} == set(VERBS)
    assert {case.split()[0] for case in REFUSED} == set(VERBS) - {"demo"}


@pytest.mark.parametrize("case", WRONG_USE)
def test_wrong_use_leaves_with_status_2(case, files, capsys):
    """And says how it is used; nothing is written."""
    before = _there(files)
    with pytest.raises(SystemExit) as left:
        main(_command(case, WRONG_USE[case]))
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"Usage: hubkeras {case.split()[0]}")
    assert "Error: " in said
    assert _there(files) == before


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_gives_one_paragraph(case, files, capsys):
    """On standard error, after the name of the command; nothing is written. `--debug` shows where it was refused."""
    before = _there(files)
    command = _command(case, REFUSED[case])
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.err.startswith("hubkeras: ")
    assert said.err.count("\n") == 1
    assert "Error:" not in said.err, "an error that nobody thought of"
    assert _there(files) == before
    assert main([*command, "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    assert _there(files) == before
