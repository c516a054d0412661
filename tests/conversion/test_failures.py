"""What fails in the middle of a conversion leaves nothing at its target, and what is there stays."""

import resource
import time

import forks
import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN
from savedmodel.builder import const, dtype, meta_graph, node, placeholder, shape, tensor_info, write_module
from tensorflow.core.framework import variable_pb2

import hubkeras
from hubkeras.cli.main import main
from hubkeras.errors import UnsupportedError

MODULE = GOLDEN / "modules" / "losses_and_updates"
TARGETS = {
    "saved_model": "new",
    "keras": "new.keras",
    "litert": "new.tflite",
    "onnx": "new.onnx",
    "weights": "new.npz",
    "tf1_hub": "new",
}
CONVERT = """
import sys
from hubkeras.cli.main import main
sys.exit(main(["convert", *sys.argv[1:]]))
"""


def test_a_killed_process_leaves_nothing_at_the_target(tmp_path):
    """Killed while it writes; and the next one is not in its way."""
    command = [MODULE, tmp_path / "new", "--to", "saved_model"]
    process = forks.start(CONVERT, *command)
    try:
        deadline = time.time() + 240
        while time.time() < deadline and process.is_alive() and not list(tmp_path.rglob("variables")):
            time.sleep(0.002)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -9, "it was done before it could be killed"
    assert list(tmp_path.rglob("variables")), "it had begun to write"
    assert not (tmp_path / "new").exists()
    assert main(["convert", *map(str, command)]) == 0
    assert tf.saved_model.load(str(tmp_path / "new")).signatures


@pytest.mark.parametrize("to", TARGETS)
def test_what_is_there_stays(to, tmp_path, capsys):
    """A file as a folder with files."""
    target = tmp_path / TARGETS[to]
    for there in (target, target / "file"):
        if there != target:
            target.unlink()
            target.mkdir()
        there.write_text("mine")
        assert main(["convert", str(MODULE), str(target), "--to", to]) == 1
        assert "something is there already" in capsys.readouterr().err
        assert there.read_text() == "mine"
        assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize(("to", "name"), [*TARGETS.items(), ("weights", "new.safetensors")])
def test_a_full_disk(to, name, tmp_path, capsys):
    """A file that cannot grow is as one on a full disk: one paragraph, and nothing is left."""
    if to == "onnx":
        pytest.importorskip("tf2onnx")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    module = GOLDEN / "modules" / "batch_renorm" if to in ("litert", "onnx") else MODULE
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, limits[1]))
    try:
        status = main(["convert", str(module), str(tmp_path / name), "--to", to])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err
    assert status == 1
    assert error.startswith(f"hubkeras: Cannot export module {module} to {tmp_path / name}. Received: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["saved_model", "weights"])
def test_a_place_where_nothing_can_be_written(to, tmp_path, capsys):
    """One paragraph that names the place."""
    for parent in ("/proc", str(tmp_path / "file")):
        (tmp_path / "file").write_text("")
        assert main(["convert", str(MODULE), f"{parent}/{TARGETS[to]}", "--to", to]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"hubkeras: Cannot export to {parent}/{TARGETS[to]}. Received: ")
        assert error.count("\n") == 1


def named(path, name):
    """Writes a module whose variable has a name that no node of TensorFlow's may have."""
    proto = variable_pb2.VariableDef(
        variable_name=f"{name}:0", initializer_name="assign", initial_value_name="initial:0"
    )
    graph = meta_graph(
        placeholder("x"),
        node(name, "VarHandleOp", dtype=dtype("float32"), shape=shape(2)),
        const("initial", np.zeros(2, np.float32)),
        node("assign", "AssignVariableOp", name, "initial", dtype=dtype("float32")),
        node("read", "ReadVariableOp", name, dtype=dtype("float32")),
        node("y", "AddV2", "x", "read", T=dtype("float32")),
        collections={key: [proto.SerializeToString()] for key in ("variables", "trainable_variables")},
        signatures={"default": ({"x": tensor_info("x:0", sizes=[None, 2])}, {"default": "y:0"})},
    )
    return write_module(path, graph, values={name: np.float32([1, 2])})


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "a b", "ä"])
def test_names_that_tensorflow_saves_no_variable_by(name, tmp_path, capsys):
    """They are named, and do not reach the terminal as commands; formats that have such names take them."""
    module = named(tmp_path / "module", name)
    for to in ("saved_model", "litert"):
        with pytest.raises(UnsupportedError) as raised:
            hubkeras.convert(module, tmp_path / "new", to)
        assert repr(name) in str(raised.value)
    hubkeras.convert(module, tmp_path / "new.npz", "weights")
    with np.load(tmp_path / "new.npz") as arrays:
        assert arrays.files == [name]
    assert main(["show", str(module)]) == main(["scan", str(module)]) == 0
    assert main(["convert", str(module), str(tmp_path / "new"), "--to", "saved_model"]) == 1
    said = "".join(capsys.readouterr())
    assert "\x1b" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["module", "new.npz"]
