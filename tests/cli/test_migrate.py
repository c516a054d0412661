"""`hubkeras migrate`; what it finds and rewrites stands in tests/migration."""

from hubkeras.cli.main import main


def test_tells_and_writes(tmp_path, capsys):
    """First it only tells; with --write it rewrites; then nothing is left to do."""
    path = tmp_path / "train.py"
    path.write_text("import tensorflow_hub as hub\nhub.KerasLayer(u)\nm.fit_generator(g)\n")
    assert main(["migrate", str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == str(path)
    assert told[1].startswith("  line 1: import tensorflow_hub as hub (rewritten)")
    assert told[-1] == "1 files to rewrite (with --write), 1 places to see to by hand"
    assert path.read_text().startswith("import tensorflow_hub")
    assert main(["migrate", "--write", str(tmp_path)]) == 0
    assert path.read_text() == "import hubkeras as hub\nhub.KerasLayer(u)\nm.fit_generator(g)\n"
    capsys.readouterr()
    assert main(["migrate", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "0 files to rewrite (with --write), 0 places to see to by hand\n"


def test_what_cannot_be_read_or_is_not_there(tmp_path, capsys):
    """The others are read; the exit status says that something was left."""
    (tmp_path / "a.py").write_text("import tensorflow_hub as hub\nthis is no Python\n")
    (tmp_path / "b.py").write_text("import tensorflow_hub as hub\n")
    assert main(["migrate", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "a.py: left alone, it is no Python: line 2" in shown.err
    assert "b.py" in shown.out
    assert main(["migrate", str(tmp_path / "gone")]) == 1
    assert "Cannot migrate what is not there" in capsys.readouterr().err
