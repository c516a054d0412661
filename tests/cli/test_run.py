"""`hubkeras run`: values, files and images in, tables and files out."""

import csv
import datetime
import json
import os
import pty
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow
import pytest
from building import v1
from building import write as build
from PIL import Image
from pyarrow import parquet

import hubkeras
from hubkeras.cli.class_labels import find_labels
from hubkeras.cli.demo import MODULE
from hubkeras.cli.main import main
from hubkeras.cli.row_files import read_batches
from hubkeras.errors import InputError

ROOT = Path(__file__).parents[2]
RAGGED = ROOT / "tests" / "golden" / "modules" / "ragged_text"
TEXTS = ["a spicy stew", "fog along the coast", "the coach trains"]


@pytest.fixture(scope="module")
def vectors():
    """What the demo's module makes of the texts."""
    return hubkeras.load(MODULE)(TEXTS).numpy()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A module that tells how red, green or blue an image of 8 by 8 is."""

    def variant(tags):
        del tags
        images = v1.placeholder("float32", [None, 8, 8, 3], "images")
        return {"default": ({"images": images}, {"default": v1.nn.softmax(10 * v1.reduce_mean(images, [1, 2]))})}

    return build(tmp_path_factory.mktemp("modules") / "colours", variant)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A green image of another size."""
    path = tmp_path_factory.mktemp("images") / "photo.png"
    Image.new("RGB", (31, 17), (10, 220, 30)).save(path)
    return path


def test_texts_are_printed_readably(capsys):
    """One block per example, with the first numbers."""
    assert main(["run", str(MODULE), "--input", f"text={TEXTS[0]}", "--input", f"text={TEXTS[1]}"]) == 0
    printed = capsys.readouterr().out
    assert "example 1" in printed
    assert "example 2" in printed
    assert "float32 of shape (32,)" in printed


@pytest.mark.parametrize("size", [1, 2, 32])
@pytest.mark.parametrize("kind", ["npz", "jsonl", "csv", "parquet"])
def test_files_in_and_out(kind, size, vectors, tmp_path):
    """Every kind of file, in batches of every size, gives what the module gives."""
    source = tmp_path / f"texts.{kind}"
    if kind == "npz":
        np.savez(source, default=np.array(TEXTS))
    elif kind == "jsonl":
        source.write_text("".join(json.dumps({"default": text}) + "\n" for text in TEXTS))
    elif kind == "csv":
        source.write_text("default\n" + "\n".join(TEXTS))
    else:
        parquet.write_table(pyarrow.table({"default": TEXTS}), source)
    result = tmp_path / "out.npz"
    assert main(["run", str(MODULE), "--inputs", str(source), "--output", str(result), "--batch", str(size)]) == 0
    np.testing.assert_allclose(np.load(result)["default"], vectors, rtol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["out.npz", source.name])


def test_texts_of_a_file_may_begin_with_an_at(tmp_path, capsys):
    """Only what is typed can name a file: examples may come from anywhere."""
    (tmp_path / "texts.jsonl").write_text('"@weather fog and hail"')
    result = tmp_path / "out.npz"
    arguments = ["--inputs", str(tmp_path / "texts.jsonl"), "--output", str(result)]
    assert main(["run", str(MODULE), *arguments]) == 0
    want = hubkeras.load(MODULE)(["@weather fog and hail"])
    np.testing.assert_allclose(np.load(result)["default"], want, rtol=1e-5)
    assert main(["run", str(MODULE), "--input", "text=@weather fog and hail"]) == 1
    assert "Cannot find weather fog and hail" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["npz", "jsonl", "parquet"])
def test_several_inputs_and_outputs(kind, two_inputs, tmp_path):
    """Numbers, a scalar for all batches, and a text output."""
    rows = [{"x": [i, i + 0.5], "y": i} for i in range(5)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = tmp_path / f"out.{kind}"
    arguments = ["--inputs", str(tmp_path / "in.jsonl"), "--input", "scale=2", "--output", str(result), "--batch", "2"]
    assert main(["run", str(two_inputs), *arguments]) == 0
    if kind == "npz":
        found = dict(np.load(result))
        totals, texts = found["default"], [text.decode() for text in found["text"]]
    elif kind == "jsonl":
        lines = [json.loads(line) for line in result.read_text().splitlines()]
        totals, texts = [line["default"] for line in lines], [line["text"] for line in lines]
    else:
        table = parquet.read_table(result).to_pydict()
        totals, texts = table["default"], table["text"]
    np.testing.assert_allclose(totals, [[4 * i, 4 * i + 1] for i in range(5)])
    assert texts == list("01234")


@pytest.mark.parametrize("source", ["jsonl", "csv", "parquet", "npz"])
@pytest.mark.parametrize("kind", ["npz", "jsonl", "parquet"])
def test_other_columns_stand_in_the_result(source, kind, two_inputs, tmp_path):
    """Whatever kind of file they come from and go to; a column feeds an input of another name."""
    file, result = tmp_path / f"in.{source}", tmp_path / f"out.{kind}"
    columns = {"id": [7, 8, 9], "vector": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "y": [1, 2, 3], "name": list("äbc")}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if source == "npz":
        np.savez(file, **{name: np.array(column) for name, column in columns.items()})
    elif source == "parquet":
        parquet.write_table(pyarrow.table(columns), file)
    elif source == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        with file.open("w", encoding="utf-8-sig", newline="") as text:  # as spreadsheets write it
            writer = csv.DictWriter(text, list(columns))
            writer.writeheader()
            writer.writerows(rows)
    arguments = ["--inputs", str(file), "--column", "x=vector", "--input", "scale=2", "--batch", "2"]
    assert main(["run", str(two_inputs), *arguments, "--output", str(result)]) == 0
    if kind == "npz":
        with np.load(result) as arrays:
            found = {name: [_decoded(value) for value in arrays[name].tolist()] for name in arrays.files}
    elif kind == "jsonl":
        lines = [json.loads(line) for line in result.read_text().splitlines()]
        found = {name: [line[name] for line in lines] for name in lines[0]}
    else:
        found = parquet.read_table(result).to_pydict()
    assert {name: found[name] for name in ("id", "name", "text")} == {
        "id": list("789") if source == "csv" else [7, 8, 9],
        "name": list("äbc"),
        "text": list("123"),
    }
    np.testing.assert_allclose(found["default"], [[2, 4], [8, 10], [14, 16]])
    assert set(found) == {"id", "name", "text", "default"}


def _decoded(value):
    return value.decode() if isinstance(value, bytes) else value


def test_columns_of_a_table_keep_their_kinds(two_inputs, tmp_path, capsys):
    """Also where a value is missing; JSON has dates as text, and an array cannot hold both."""
    when = [datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)] * 2
    note = pyarrow.array([None, "fine"])
    table = pyarrow.table({"x": [[1.0, 2.0]] * 2, "y": [1, 2], "id": pyarrow.array([1, 2], "int8"), "note": note})
    parquet.write_table(table.append_column("when", [when]), tmp_path / "in.parquet")
    command = ["run", str(two_inputs), "--inputs", str(tmp_path / "in.parquet"), "--input", "scale=1", "--batch", "1"]
    assert main([*command, "--output", str(tmp_path / "out.parquet")]) == 0
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found["id"].type == pyarrow.int8()
    assert found["note"].to_pylist() == [None, "fine"]
    assert found["when"].to_pylist() == when
    assert main([*command, "--output", str(tmp_path / "out.jsonl")]) == 0
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["when"] == "2026-01-02 00:00:00+00:00"
    assert main([*command, "--output", str(tmp_path / "out.npz")]) == 1
    assert "Cannot write 'note' to an .npz file" in capsys.readouterr().err
    assert main(command) == 0
    assert "  note: null\n" in capsys.readouterr().out


def test_results_side_by_side_have_one_length(tmp_path, capsys):
    """What is no row of an example has no place in a file; printed, it stands once."""

    def variant(tags):
        del tags
        x = v1.placeholder("float32", [None], "x")
        return {"default": ({"x": x}, {"twice": 2 * x, "sum": v1.reduce_sum(x)})}

    module = build(tmp_path / "module", variant)
    command = ["run", str(module), "--input", "x=1", "--input", "x=2"]
    assert main(command) == 0
    assert capsys.readouterr().out == "example 1\n  sum: 3.0\n  twice: 2.0\nexample 2\n  twice: 4.0\n"
    for kind in ("npz", "jsonl", "parquet"):
        assert main([*command, "--output", str(tmp_path / f"out.{kind}")]) == 1
        assert "numbers of rows: {'sum': 1, 'twice': 2}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["module"]


def test_what_tensorflow_refuses_is_named(tmp_path, capsys):
    """With the examples concerned."""

    def variant(tags):
        del tags
        y = v1.placeholder("int32", [None], "y")
        return {"default": ({"y": y}, {"default": v1.gather(v1.constant([1.0, 2.0]), y)})}

    (tmp_path / "rows.jsonl").write_text("0\n7\n")
    module = build(tmp_path / "module", variant)
    assert main(["run", str(module), "--inputs", str(tmp_path / "rows.jsonl"), "--batch", "1"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "to examples 2 to 2 of" in error


IMAGES = {
    "cmyk.jpg": ("CMYK", (200, 0, 200, 0), {}),
    "alpha.png": ("RGBA", (10, 220, 30, 128), {}),
    "palette.gif": ("P", None, {}),
    "still.webp": ("RGB", (10, 220, 30), {"lossless": True}),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_every_kind(name, classifier, tmp_path, capsys):
    """Whatever channels and files they have; the first picture of one that moves."""
    mode, colour, options = IMAGES[name]
    if mode == "P":
        image = Image.new("RGB", (9, 9), (10, 220, 30)).convert("P")
        options = {"save_all": True, "append_images": [Image.new("RGB", (9, 9), (220, 0, 0)).convert("P")]}
    else:
        image = Image.new(mode, (9, 9), colour)
    image.save(tmp_path / name, **options)
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    labels = ["--labels", str(tmp_path / "labels.txt")]
    assert main(["run", str(classifier), "--input", f"images=@{tmp_path / name}", *labels]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[1] == "green"


def test_sixteen_bits_become_eight(tmp_path, capsys):
    """As `decode_image` takes them: the upper half."""

    def variant(tags):
        del tags
        images = v1.placeholder("uint8", [None, 8, 8, 1], "images")
        return {"default": ({"images": images}, {"default": v1.reduce_mean(v1.cast(images, "float32"), [1, 2, 3])})}

    module = build(tmp_path / "module", variant)
    Image.fromarray(np.full((9, 9), 30_000, np.uint16)).save(tmp_path / "gray.png")
    assert main(["run", str(module), "--input", f"images=@{tmp_path / 'gray.png'}"]) == 0
    assert "default: 117.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "Input is empty."), (b"text", "Unknown image file format"), (None, "Cannot find")]
)
def test_what_is_no_image_is_refused(content, said, classifier, tmp_path, capsys):
    """In words of images, not of TensorFlow's graphs."""
    if content is not None:
        (tmp_path / "photo.jpg").write_bytes(content)
    assert main(["run", str(classifier), "--input", f"images=@{tmp_path / 'photo.jpg'}"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "{{" not in error
    assert "[Op" not in error


def test_images_are_resized_and_named(classifier, photo, tmp_path, capsys):
    """A photo of any size becomes what the signature expects, and the best label comes first."""
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    command = ["run", str(classifier), "--input", f"images=@{photo}", "--labels", str(tmp_path / "labels.txt")]
    assert main(command) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[2][1] == "green"
    assert float(lines[2][0]) > 0.9


def test_a_link_is_no_file_of_labels(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    module = tmp_path / "module"
    (module / "assets").mkdir(parents=True)
    (module / "assets" / "labels.txt").symlink_to(tmp_path / "secret.txt")
    loaded = SimpleNamespace(description=SimpleNamespace(path=module))
    assert find_labels(loaded, None) == []


def test_a_module_can_bring_its_labels(classifier, photo, tmp_path, capsys):
    """A file with "label" in its name will do."""
    import shutil

    module = shutil.copytree(classifier, tmp_path / "m")
    (module / "assets").mkdir()
    (module / "assets" / "labels.txt").write_text("rot\ngrün\nblau\n", encoding="utf-8")
    assert main(["run", str(module), "--input", f"images=@{photo}"]) == 0
    assert "grün" in capsys.readouterr().out.splitlines()[2]


BAD = {
    "no such input": (["--input", "z=1"], "['scale', 'x', 'y']"),
    "no name": (["--input", "z"], "NAME=VALUE"),
    "no json": (["--input", "x=one", "--input", "y=1", "--input", "scale=1"], "as JSON, or @file"),
    "no file": (["--input", "x=@nothing.npy", "--input", "y=1", "--input", "scale=1"], "nothing.npy"),
    "missing input": (["--input", "x=[1, 2]"], "inputs missing"),
    "unequal": (["--input", "x=[1,2]", "--input", "x=[1,2]", "--input", "y=1"], "as many values"),
    "wrong shape": (["--input", "x=[1, 2, 3]", "--input", "y=1", "--input", "scale=1"], "x"),
    "file of another kind": (["--inputs", "m.txt"], ".parquet"),
    "broken file": (["--inputs", "broken.jsonl"], "line 2"),
    "broken npz": (["--inputs", "broken.npz"], "npz"),
    "cut npz": (["--inputs", "cut.npz"], "cut.npz"),
    "no examples in jsonl": (["--inputs", "empty.jsonl"], "Expected: examples. Received: none"),
    "no examples in csv": (["--inputs", "head.csv"], "Expected: examples. Received: none"),
    "other keys": (["--inputs", "keys.jsonl"], "Cannot read line 2 of keys.jsonl"),
    "a null": (["--inputs", "null.jsonl"], "Column 'y' of null.jsonl holds no value in example 2"),
    "no JSON text": (["--inputs", "bytes.jsonl"], "Cannot read line 1 of bytes.jsonl. Expected: JSON in UTF-8"),
    "no csv text": (["--inputs", "bytes.csv"], "Expected: text in UTF-8"),
    "short csv": (["--inputs", "short.csv"], "Cannot read line 3 of short.csv. Expected: 3 values"),
    "long csv": (["--inputs", "long.csv"], "Cannot read line 3 of long.csv. Expected: 3 values"),
    "open quote": (["--inputs", "quote.csv"], "of quote.csv"),
    "twice in csv": (["--inputs", "twice.csv"], "columns of different names"),
    "no number": (["--inputs", "word.csv"], "Examples 2 to 2 of word.csv: Cannot read input 'y'"),
    "another shape": (["--inputs", "shape.jsonl"], "Examples 2 to 2 of shape.jsonl: Cannot convert input 'x'"),
    "column for nothing": (["--inputs", "keys.jsonl", "--column", "z=x"], "There is no input 'z'"),
    "no such column": (["--inputs", "id.jsonl", "--column", "y=z"], "No columns feed the inputs ['scale', 'x', 'y']"),
    "column twice": (["--inputs", "word.csv", "--column", "y=x"], "which values the inputs ['y'] take"),
    "input twice": (["--inputs", "word.csv", "--input", "y=1"], "which values the inputs ['y'] take"),
    "nothing for rows": (
        ["--inputs", "id.jsonl", "--input", "x=[1,2]", "--input", "y=1", "--input", "scale=1"],
        "No columns feed an input",
    ),
    "half a number": (["--input", "x=[1,2]", "--input", "y=1.5", "--input", "scale=1"], "Cannot convert input 'y'"),
    "no array": (["--input", "x=@bytes.npy", "--input", "y=1", "--input", "scale=1"], "Cannot read bytes.npy"),
    "output is a folder": (["--input", "x=1", "--output", "folder.npz"], "it is a folder"),
    "no such signature": (["--signature", "other", "--input", "x=1"], "'default'"),
    "output of another kind": (["--input", "x=1", "--output", "out.txt"], ".npz"),
    "output nowhere": (["--input", "x=1", "--output", "no/out.npz"], "no folder"),
}


BAD_FILES = {
    "m.txt": "x",
    "broken.npz": "x",
    "empty.jsonl": "\n",
    "head.csv": "x,y,scale\n",
    "keys.jsonl": '{"x": [1, 2], "y": 1, "scale": 1}\n{"y": 1}\n',
    "id.jsonl": '{"id": 1}\n',
    "null.jsonl": '{"x": [1, 2], "y": 1, "scale": 1}\n{"x": [1, 2], "y": null, "scale": 1}\n',
    "bytes.jsonl": "\xe9t\xe9",
    "bytes.csv": "x,y,scale\n\xe9,1,1\n",
    "bytes.npy": "\xe9",
    "short.csv": 'x,y,scale\n"[1,2]",1,1\n"[1,2]"\n',
    "long.csv": 'x,y,scale\n"[1,2]",1,1\n"[1,2]",1,1,1\n',
    "quote.csv": 'x,y,scale\n"[1,2\n',
    "twice.csv": "x,x\n1,2\n",
    "word.csv": 'x,y,scale\n"[1,2]",1,1\n"[1,2]",one,1\n',
    "shape.jsonl": '{"x": [1, 2], "y": 1, "scale": 1}\n{"x": [1, 2, 3], "y": 1, "scale": 1}\n',
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_leaves_nothing(case, two_inputs, tmp_path, monkeypatch, capsys):
    """One paragraph that says what was expected, and nothing half-written."""
    monkeypatch.chdir(tmp_path)
    rows = '{"x": [1, 2], "y": 1, "scale": 1}\n{"x": oh\n'
    for name, text in (*BAD_FILES.items(), ("broken.jsonl", rows)):
        Path(name).write_bytes(text.encode("latin-1"))
    np.savez("whole.npz", x=np.ones([3, 2]))
    Path("cut.npz").write_bytes(Path("whole.npz").read_bytes()[:100])
    Path("folder.npz").mkdir()
    before = sorted(Path().iterdir())
    arguments, fragment = BAD[case]
    output = [] if "--output" in arguments else ["--output", "out.npz"]
    assert main(["run", str(two_inputs), *arguments, *output, "--batch", "1"]) == 1
    error = capsys.readouterr().err
    assert fragment in error
    assert error.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_an_output_that_exists_is_kept_where_something_fails(two_inputs, tmp_path):
    """It is replaced only by a whole one."""
    result, source = tmp_path / "out.jsonl", tmp_path / "in.jsonl"
    result.write_text("old")
    source.write_text('{"x": [1, 2], "y": 1, "scale": 1}\n{"x": [1, 2, 3], "y": 1, "scale": 1}\n')
    command = ["run", str(two_inputs), "--inputs", str(source), "--output", str(result), "--batch", "1"]
    assert main(command) == 1
    assert result.read_text() == "old"


def test_no_input_is_wrong_use():
    """Status 2."""
    with pytest.raises(SystemExit) as left:
        main(["run", str(MODULE)])
    assert left.value.code == 2


def test_tensorflow_is_silent():
    """Nothing but results on standard output, nothing at all on standard error."""
    command = [sys.executable, "-m", "hubkeras.cli.main", "run", str(MODULE), "--input", "text=fog"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("TF_")} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "example 1"
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("signature", "given", "printed"),
    [
        ("ragged", ["default=[1, 2, 3]", "default=[4]"], "scaled: [-0.19"),
        ("deep", ["ids=[[1], [2, 3]]"], "back: [[1], [2, 3]]"),
    ],
)
def test_ragged_values_are_lists(signature, given, printed, capsys):
    arguments = [argument for text in given for argument in ("--input", text)]
    assert main(["run", str(RAGGED), "--signature", signature, *arguments]) == 0
    assert printed in capsys.readouterr().out


def test_ragged_values_go_to_files_that_hold_lists(tmp_path, capsys):
    """An array cannot; nothing is written then, numbers or texts."""
    given = ["--signature", "ragged", "--input", "default=[1, 2]", "--input", "default=[4]", "--output"]
    assert main(["run", str(RAGGED), *given, str(tmp_path / "out.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [len(row["scaled"]) for row in rows] == [2, 1]
    for arguments in (given, ["--input", "default=a b", "--output"]):
        assert main(["run", str(RAGGED), *arguments, str(tmp_path / "out.npz")]) == 1
        assert "to an .npz file: it is ragged" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("value", ['{"a": 1}', "[[1, 2]]", '["text"]'])
def test_what_is_no_list_of_numbers_is_refused_by_name(value, capsys):
    assert main(["run", str(RAGGED), "--signature", "ragged", "--input", f"default={value}"]) == 1
    error = capsys.readouterr().err
    assert re.match(r"hubkeras: Cannot (read|convert) input 'default'.* Expected: .*float32.* Received: ", error), error


def test_a_terminal_is_shown_how_far_it_is(tmp_path, monkeypatch, capsys):
    """And nothing is left of that on the screen; results go to standard output alone."""
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in TEXTS))
    screen, terminal = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(["run", str(MODULE), "--inputs", str(tmp_path / "rows.jsonl"), "--batch", "1"]) == 0
        shown = os.read(screen, 1 << 16).decode()
    os.close(screen)
    assert " batches" in shown
    assert shown.rstrip().endswith("\x1b[2K"), "the line is erased in the end"
    assert capsys.readouterr().out.count("example ") == 3


def test_files_that_say_more_than_they_hold(tmp_path):
    """Errors of memory and of the stack have a name, too."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    (tmp_path / "a.jsonl").write_text("[" * 100_000)
    for file in ("a.npz", "a.jsonl"):
        with pytest.raises(InputError, match="Cannot read"):
            list(read_batches(str(tmp_path / file), 1))
