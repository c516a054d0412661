"""What `hubkeras.describe` says: as the original implementation's records have it, and without TensorFlow."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from parity import Variant, variants
from savedmodel.builder import const, meta_graph, node, placeholder, write_module

import hubkeras
from hubkeras.cli.demo import MODULE
from hubkeras.errors import MissingFileError

ROOT = Path(__file__).parents[2]
TF1 = pytest.mark.parametrize("variant", variants("tf1_hub", "saved_model"), ids=lambda v: v.id)


@TF1
def test_signatures_variables_and_losses_are_those_of_the_record(variant: Variant):
    """Names, dtypes, shapes, kinds, which variables are trained, how many losses there are."""
    summary = hubkeras.describe(variant.record.path)
    shown = next(v for v in summary.variants if v.tags == tuple(sorted(variant.entry["tags"])))
    assert [signature.name for signature in shown.signatures] == variant.entry["signature_names"]
    for signature in shown.signatures:
        golden = variant.entry["signatures"][signature.name]
        for side in ("inputs", "outputs"):
            found = {
                t.name: (t.dtype, None if t.shape is None else list(t.shape), t.kind) for t in getattr(signature, side)
            }
            wanted = {k: (i["dtype"], i["shape"], i["kind"]) for k, i in golden[side].items()}
            assert {k: (d, s) for k, (d, s, _) in found.items()} == {k: (d, s) for k, (d, s, _) in wanted.items()}
            assert all((kind == "dense") == (wanted[k][2] == "dense") for k, (_, _, kind) in found.items())
    state = variant.entry["state"]["trainable"]
    names = {variable.name for variable in summary.variables}
    assert set(state["variable_map"]) <= names
    module = variant.load()
    trained = {v.name.split(":")[0].rsplit("/part_", 1)[0] for v in module.trainable_variables}
    assert set(shown.trainable_variables) == trained
    assert len(shown.regularization_losses) == len(module.regularization_losses)
    assert summary.parameters >= sum(int(np.prod(v.shape)) for v in module.variables)
    assert summary.gate.allowed


def test_a_description_is_frozen_and_becomes_json():
    """All of it, with nothing of TensorFlow in it."""
    summary = hubkeras.describe(MODULE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.handle = "other"
    content = json.loads(json.dumps(summary.as_dict()))
    assert content["parameters"] == 308 * 32
    assert content["variables"] == [
        {
            "name": "embeddings",
            "dtype": "float32",
            "shape": [308, 32],
            "trainable": True,
            "parts": 2,
            "reference": False,
            "elements": 9856,
            "size": 39424,
        }
    ]
    assert content["written_by"] == "2.15.1"
    assert [asset["filename"] for asset in content["assets"]] == ["vocabulary.txt"]
    assert content["variants"][0]["tables"][0]["filled_from"] == "vocabulary.txt"
    assert content["variants"][0]["ops"]["LookupTableFindV2"] == 1


def test_tf2_objects():
    """A TF2 SavedModel: variables, losses and signatures out of its objects."""
    summary = hubkeras.describe(ROOT / "tests" / "golden" / "modules" / "tf2_reusable")
    loaded = hubkeras.load(summary.path)
    assert summary.format == "tf2"
    objects = [v for v in tf.train.TrackableView(loaded.loaded).descendants() if isinstance(v, tf.Variable)]
    found = sorted((v.name, v.dtype, v.shape, v.trainable) for v in summary.variables)
    assert found == sorted((v.name.split(":")[0], v.dtype.name, tuple(v.shape), v.trainable) for v in objects)
    assert len(summary.default_variant.regularization_losses) == len(loaded.regularization_losses)
    assert [s.name for s in summary.default_variant.signatures] == loaded.get_signature_names()


def test_needs_no_tensorflow():
    """Every golden module is described in one process without TensorFlow's runtime."""
    code = (
        "import sys, hubkeras, pathlib\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir(): hubkeras.describe(path).as_dict()\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    modules = ROOT / "tests" / "golden" / "modules"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(modules)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def write(path, *nodes):
    """A module whose default signature needs the node z."""
    signature = ({"x": "x:0"}, {"default": "z:0"})
    write_module(path, meta_graph([placeholder("x")], list(nodes), signatures={"default": signature}))
    return path


def test_the_gate_names_what_it_refuses(tmp_path):
    """Also ops that this process does not know: nobody has looked at them."""
    path = write(
        tmp_path / "m",
        const("path", "/tmp/x"),
        const("text", "x"),
        node("write", "WriteFile", "path", "text"),
        node("z", "Addons>Made", "x", "^write"),
    )
    gate = hubkeras.describe(path).gate
    assert not gate.allowed
    assert {found.op for found in gate.refused} == {"WriteFile", "Addons>Made"}
    assert any("tensorflow_addons" in found.reason for found in gate.refused)


def test_licence_missing_assets_and_attachments(tmp_path):
    """What is there, what is not, and what an attached message says."""
    path = shutil.copytree(MODULE, tmp_path / "m")
    (path / "assets" / "vocabulary.txt").unlink()
    (path / "LICENSE").write_text("free")
    summary = hubkeras.describe(path)
    assert summary.license_file == "LICENSE"
    assert summary.assets[0].size is None


def test_what_is_no_module_is_refused_as_by_load(tmp_path):
    """Nothing is described that is not there."""
    with pytest.raises(MissingFileError, match="saved_model"):
        hubkeras.describe(tmp_path)


def test_flops_of_a_product(tmp_path):
    """The product of [1, 3] and [3, 4] takes 2 * 3 * 4 operations."""
    from building import v1
    from building import write as build

    def variant(tags):
        del tags
        x = v1.placeholder("float32", [None, 3], "x")
        w = v1.get_variable("w", [3, 4])
        return {"default": ({"x": x}, {"default": v1.matmul(x, w)})}

    path = build(tmp_path / "m", variant)
    assert hubkeras.describe(path).variants[0].signatures[0].flops is None
    assert hubkeras.describe(path, flops=True).variants[0].signatures[0].flops == 24
