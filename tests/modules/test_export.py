"""`Module.export`: modules in TF1 Hub format with today's values."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN, names, read, variants
from tensorflow.core.protobuf import saved_model_pb2

import hubkeras
from hubkeras.errors import ExportError, ExportExistsError, UnsupportedError

MODULES = GOLDEN / "modules"
ORIGINAL = os.environ.get("HUBKERAS_ORIGINAL_PYTHON")


def fine_tune(module):
    """Changes every variable that may be trained."""
    for variable in module.trainable_variables:
        if variable.dtype.is_floating:
            variable.assign(variable * tf.cast(1.25, variable.dtype) + tf.cast(0.0625, variable.dtype))


def same(first, second):
    """Asserts that two dicts of outputs are equal; paths of assets may differ in their folders."""
    assert sorted(first) == sorted(second)
    for name in first:
        pairs = zip(*(tf.nest.flatten(x[name], expand_composites=True) for x in (first, second)), strict=True)
        for have, want in pairs:
            have, want = have.numpy(), want.numpy()
            if isinstance(want, bytes) and want.startswith(b"/"):
                have, want = Path(have.decode()).name, Path(want.decode()).name
            np.testing.assert_array_equal(have, want, name)


@pytest.mark.parametrize("name", names("tf1_hub", "saved_model"))
def test_export_computes_the_same(name, tmp_path):
    """A fine-tuned module exports; what is loaded from there has its values and computes the same in all variants."""
    record = read(name)
    for variant in variants():
        if variant.record is record:
            path = tmp_path / variant.entry["key"]
            module = variant.load()
            fine_tune(module)
            module.export(path)
            again = hubkeras.load(path, tags=variant.entry["tags"], train_tags=variant.entry["tags"])
            assert again.description.format == "tf1_hub"
            assert again.get_tags() == module.get_tags()
            for key, variable in module.state.by_name.items():
                np.testing.assert_array_equal(again.state.by_name[key].numpy(), variable.numpy(), key)
            for call, inputs in () if variant.stochastic else variant.calls():
                want = module(inputs, signature=call["signature"], as_dict=True)
                same(again(inputs, signature=call["signature"], as_dict=True), want)


@pytest.mark.parametrize("name", names("tf1_hub"))
def test_graphs_are_written_as_they_were_read(name, tmp_path):
    """Use leaves no trace in the graphs that are exported, nor do files that lie in the module's directory by then."""
    source = tmp_path / "source"
    shutil.copytree(MODULES / name, source)
    module = hubkeras.load(source, tags=read(name).content["tag_sets"][0]["tags"])
    for variant in variants():
        for call, inputs in variant.calls() if variant.record.name == name else ():
            if variant.entry is read(name).content["tag_sets"][0]:
                module(inputs, signature=call["signature"], as_dict=True)
    (source / "saved_model.pb").write_bytes(b"another version")
    module.export(tmp_path / "export")
    want = saved_model_pb2.SavedModel.FromString((MODULES / name / "saved_model.pb").read_bytes())
    got = saved_model_pb2.SavedModel.FromString((tmp_path / "export" / "saved_model.pb").read_bytes())
    assert got.SerializeToString(deterministic=True) == want.SerializeToString(deterministic=True)
    assert (tmp_path / "export" / "tfhub_module.pb").read_bytes() == b"\x08\x03"
    files = sorted(p.name for p in (MODULES / name / "assets").glob("*"))
    assert sorted(p.name for p in (tmp_path / "export" / "assets").glob("*")) == files


@pytest.mark.parametrize("there", ["module", "file", "link", "dangling link"])
def test_never_over_something(there, tmp_path):
    """An export never replaces what is there."""
    path, module = tmp_path / "there", hubkeras.load(MODULES / "quantised")
    if there == "module":
        module.export(path)
    elif there == "file":
        path.write_text("mine")
    else:
        path.symlink_to(MODULES / "dtypes" if there == "link" else tmp_path / "nothing")
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.exists())
    with pytest.raises(ExportExistsError, match="something is there already"):
        module.export(path)
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.exists()) == before


def test_into_an_empty_directory(tmp_path):
    """An empty directory, or one that must be made with its parents, takes an export; anyone may read it."""
    module = hubkeras.load(MODULES / "quantised")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        module.export(path)
        hubkeras.load(path)
        assert path.stat().st_mode & 0o777 == 0o755


def test_failed_export_leaves_nothing(tmp_path):
    """Where an asset is gone the error names it, and neither files nor new directories stay."""
    shutil.copytree(MODULES / "text_paths", tmp_path / "source")
    module = hubkeras.load(tmp_path / "source")
    shutil.rmtree(tmp_path / "source")
    with pytest.raises(ExportError, match=r"vocab\.txt"):
        module.export(tmp_path / "a" / "b" / "export")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="this user may write everywhere")
def test_no_right_to_write(tmp_path):
    """A directory that may not be written is said to be so."""
    tmp_path.chmod(0o500)
    with pytest.raises(ExportError, match="Permission denied"):
        hubkeras.load(MODULES / "quantised").export(tmp_path / "export")


def test_below_a_file(tmp_path):
    """A path below a file is refused, without a trace."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="Cannot export to"):
        hubkeras.load(MODULES / "quantised").export(tmp_path / "file" / "export")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_objects_of_tf2_are_refused(tmp_path):
    """TF1 Hub format holds no objects of TF2; the error says what to do instead."""
    with pytest.raises(UnsupportedError, match=r"tf\.saved_model\.save"):
        hubkeras.load(MODULES / "tf2_reusable").export(tmp_path / "export")


def encode(value):
    """A value as `check_export.py` reads it."""
    kind = {tf.SparseTensor: "sparse", tf.RaggedTensor: "ragged"}.get(type(value), "dense")
    parts = [value]
    if kind == "sparse":
        parts = [value.indices, value.values, value.dense_shape]
    elif kind == "ragged":
        parts = [value.flat_values, *value.nested_row_splits]
    texts = [base64.b64encode(tf.io.serialize_tensor(part).numpy()).decode() for part in parts]
    return {"kind": kind, "parts": [[text, part.dtype.name] for text, part in zip(texts, parts, strict=True)]}


@pytest.mark.skipif(
    not ORIGINAL, reason="HUBKERAS_ORIGINAL_PYTHON names no Python with tensorflow-hub 0.15.0 and TensorFlow 2.15"
)
def test_original_loads_exports(tmp_path):
    """The original implementation loads what was exported after use and fine-tuning, and computes the same.

    Not tried: `saved_model_text`, for it knows parts of variables along their first axis only.
    """
    jobs = []
    for variant in (v for v in variants("tf1_hub", "saved_model") if v.record.name != "saved_model_text"):
        module, path = variant.load(), tmp_path / variant.id
        for call, inputs in variant.calls():
            module(inputs, signature=call["signature"], training=True, as_dict=True)
        fine_tune(module)
        module.export(path)
        for call, inputs in variant.calls():
            module = hubkeras.load(path, tags=variant.entry["tags"])
            outputs = module(inputs, signature=call["signature"], as_dict=True)
            kept = {k: encode(outputs[k]) for k, spec in call["outputs"].items() if "key" in spec}
            kept = {k: v for k, v in kept.items() if not call["outputs"][k].get("asset_path")}
            given = {k: encode(v) for k, v in inputs.items()}
            jobs.append({"path": str(path), "tags": variant.entry["tags"], "signature": call["signature"]})
            jobs[-1] |= {"inputs": given, "outputs": kept}
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).parents[1] / "original" / "check_export.py"
    done = subprocess.run([ORIGINAL, script, tmp_path / "jobs.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.split("RESULT ")[1])
    failed = {f"{Path(j['path']).name} {j['signature']}": r for j, r in zip(jobs, results, strict=True) if r}
    assert not failed
    assert len(results) > 50
