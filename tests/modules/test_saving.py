"""What `tf.saved_model.save` makes of a loaded module."""

import pickle
import shutil
from pathlib import Path

import forks
import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN
from savedmodel.builder import dtype, meta_graph, node, placeholder, tensor_info, write_module

import hubkeras

MODULES = GOLDEN / "modules"
FLOATS = np.linspace(-1, 1, 12, dtype=np.float32)
TEXTS = np.array([b"the cat", b"sat on", b""], object)
SAVED = {
    "batch_renorm": {"": {"x": FLOATS.reshape(3, 4)}, "default": {"default": FLOATS.reshape(3, 4)}},
    "text_paths": {"": {"x": TEXTS}, "default": {"default": TEXTS}, "checked": {"default": TEXTS}},
    "nested_loops": {"default": {"default": np.eye(3, dtype=np.int32)}},
    "tf2_reusable": {"": {"x": FLOATS.reshape(4, 3)}, "serving_default": {"x": FLOATS.reshape(4, 3)}},
    "tf2_signatures": {
        "serving_default": {"words": TEXTS},
        "mix": {"a": FLOATS, "b": np.float32(2)},
    },
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """What modules compute here and, saved, in a process of their own."""
    folder = tmp_path_factory.mktemp("saved")
    jobs, here = {}, {}
    for name, calls in SAVED.items():
        shutil.copytree(MODULES / name, folder / name)
        module = hubkeras.load(folder / name)
        for given in ("plain", "signatures"):
            path = str(folder / f"{name}.{given}")
            tf.saved_model.save(module, path, signatures=module.signatures if given == "signatures" else None)
            default = module.signature_name(None)
            told = {n: v for n, v in calls.items() if given == "signatures" or n in ("", default)}
            names = {n: "serving_default" if given == "plain" and n else n for n in told}
            jobs[f"{name} {given}"] = (path, {names[n]: v for n, v in told.items()})
            here[f"{name} {given}"] = {names[n]: result(module, n, v) for n, v in told.items()}
        shutil.rmtree(folder / name)
    (folder / "jobs").write_bytes(pickle.dumps(jobs))
    done = forks.run(Path(__file__).with_name("saved_again.py"), folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return here, pickle.loads((folder / "results").read_bytes())


def result(module, name, values):
    """The names of a signature's outputs, and all that it or a call returns."""
    given = {k: tf.constant(v) for k, v in values.items()}
    outputs = module.signatures[name](**given) if name else module(*given.values())
    return sorted(outputs) if name else None, [t.numpy() for t in tf.nest.flatten(outputs, expand_composites=True)]


@pytest.mark.parametrize("given", ["plain", "signatures"])
@pytest.mark.parametrize("name", SAVED)
def test_calls_and_signatures(saved, name, given):
    """A module that is saved as it is, and with its signatures, is what it was: for TF1 and TF2."""
    here, there = (results[f"{name} {given}"] for results in saved)
    assert there.keys() == here.keys()
    for key in here:
        assert there[key][0] == here[key][0]
        for found, want in zip(there[key][1], here[key][1], strict=True):
            if np.asarray(want).dtype.kind == "f":
                np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(found, want)


def test_gradients_through_loops(tmp_path):
    """They travel with the call."""
    module = hubkeras.load(MODULES / "nested_loops")
    tf.saved_model.save(module, tmp_path / "saved")
    loaded, x = tf.saved_model.load(tmp_path / "saved"), tf.constant(np.eye(3, dtype=np.int32))
    gradients = []
    for call in (module, loaded):
        found = [v for v in tf.train.TrackableView(call).descendants() if isinstance(v, tf.Variable)]
        variables = sorted(found, key=lambda v: v.name)
        with tf.GradientTape() as tape:
            y = tf.cast(call(x), tf.float32)
        zero = tf.UnconnectedGradients.ZERO
        gradients.append([tf.convert_to_tensor(g) for g in tape.gradient(y, variables, unconnected_gradients=zero)])
    assert any(np.any(g) for g in gradients[0])
    for want, got in zip(*gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "variable"), [("batch_renorm", "w"), ("tf2_reusable", "w")])
def test_variables(tmp_path, name, variable):
    """The values that the variables have when it is saved; those that train still do."""
    module, x = hubkeras.load(MODULES / name), tf.constant(FLOATS)
    with tf.GradientTape() as tape:
        module(tf.reshape(x, [-1, 4 if name == "batch_renorm" else 3]))
    trained = {v.name: v for v in tape.watched_variables()}
    trained[f"{variable}:0"].assign_add(tf.ones_like(trained[f"{variable}:0"]))
    tf.saved_model.save(module, tmp_path / "saved")
    again, x = hubkeras.load(tmp_path / "saved"), tf.reshape(x, [-1, trained[f"{variable}:0"].shape[0]])
    with tf.GradientTape() as tape:
        outputs = again(x)
    np.testing.assert_allclose(outputs, module(x), rtol=1e-6)
    assert {v.name for v in tape.watched_variables()} == trained.keys()


def test_a_module_without_a_default_signature(tmp_path):
    """The state is saved, and the signatures that are asked for."""
    signature = ({"x": tensor_info("x:0", "string")}, {"default": tensor_info("y:0", "string")})
    graph = meta_graph(
        [placeholder("x", "string"), node("y", "Identity", "x", T=dtype("string"))],
        signatures={"one": signature, "two": signature},
    )
    module = hubkeras.load(write_module(tmp_path / "module", graph))
    for signatures in (None, module.signatures):
        tf.saved_model.save(module, tmp_path / "saved", signatures=signatures)
        loaded = tf.saved_model.load(str(tmp_path / "saved"))
        assert list(loaded.signatures) == list(signatures or ())
        assert not callable(loaded)
