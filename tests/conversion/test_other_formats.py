"""LiteRT, ONNX, files of weights, and TF1 Hub format again: by those who read them."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from building import variable, write
from parity import GOLDEN

import hubkeras
from hubkeras.cli.main import main
from hubkeras.conversion.verification import Check, verify
from hubkeras.conversion.weight_values import values_of
from hubkeras.errors import ConversionError, UnsupportedError

MODULES = GOLDEN / "modules"
v1 = tf.compat.v1
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.filterwarnings("ignore:\\s*Warning. tf.lite.Interpreter is deprecated")
def test_litert(tmp_path):
    """The interpreter computes the same; ops that it lacks are named, and nothing is left."""
    done = hubkeras.convert(MODULES / "batch_renorm", tmp_path / "model.tflite", "litert")
    assert done.greatest_difference < 1e-5
    runner = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner("default")
    want = hubkeras.load(MODULES / "batch_renorm")(X)
    np.testing.assert_allclose(runner(default=X)["default"], want, rtol=1e-4, atol=1e-5)
    with pytest.raises(UnsupportedError, match="TensorArrayV3"):
        hubkeras.convert(MODULES / "nested_loops", tmp_path / "loops.tflite", "litert")
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]


def loops(tags):
    """A module with a loop and a branch of TensorFlow 1, over a reference variable."""
    x = v1.placeholder(tf.float32, [None, 3])
    w = variable("w", [1.0, 0.5, 2.0], use_resource=False)
    h = v1.while_loop(lambda i, _: i < 3, lambda i, h: (i + 1, tf.tanh(h * w)), (0, x))[1]
    return {"default": ({"x": x}, {"default": v1.cond(tf.reduce_sum(h) > 0, lambda: h * w, lambda: h - w)})}


def test_control_flow_of_tensorflow_1(tmp_path):
    """LiteRT and ONNX have loops and branches, too, and values of reference variables."""
    pytest.importorskip("tf2onnx")
    write(tmp_path / "module", loops)
    for to, suffix in (("litert", ".tflite"), ("onnx", ".onnx")):
        done = hubkeras.convert(tmp_path / "module", tmp_path / f"model{suffix}", to)
        assert done.greatest_difference < 1e-5
        assert list(done.verified.differences) == ["signature 'default'"]


def test_a_true_disagreement(tmp_path):
    """What another runtime computes differently is named and deleted: LiteRT takes the number where one is NaN."""

    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3])
        return {"default": ({"x": x}, {"default": tf.maximum((x - x) / (x - x), variable("w", [1.0, 2.0, 3.0]))})}

    write(tmp_path / "module", build)
    with pytest.raises(ConversionError, match=r"signature 'default' of .*model\.tflite .* NaN or infinity"):
        hubkeras.convert(tmp_path / "module", tmp_path / "model.tflite", "litert")
    assert [p.name for p in tmp_path.iterdir()] == ["module"]


def test_onnx(tmp_path):
    """ONNX Runtime computes the same."""
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    done = hubkeras.convert(MODULES / "batch_renorm", tmp_path / "model.onnx", "onnx")
    assert done.greatest_difference < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    want = hubkeras.load(MODULES / "batch_renorm")(X)
    np.testing.assert_allclose(session.run(["default_output"], {"default": X})[0], want, rtol=1e-4, atol=1e-5)


def test_ops_that_onnx_lacks(tmp_path, caplog):
    """They are named with tf2onnx's reason, and its tracebacks stay out of the log."""
    pytest.importorskip("tf2onnx")

    def build(tags):
        x = v1.placeholder(tf.float32, [None, 8])
        return {"default": ({"x": x}, {"default": tf.math.real(v1.signal.rfft(x))})}

    write(tmp_path / "module", build)
    with pytest.raises(UnsupportedError, match=r"Received: ops RFFT, Real \(.+\)"):
        hubkeras.convert(tmp_path / "module", tmp_path / "model.onnx", "onnx")
    assert not caplog.records
    assert [p.name for p in tmp_path.iterdir()] == ["module"]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_weights_and_back(tmp_path, suffix):
    """Variables stand under their names, partitioned ones as a whole; the file gives the module its values back."""
    module = hubkeras.load(MODULES / "losses_and_updates")
    for v in module.variables:
        v.assign_add(tf.ones_like(v))
    file = tmp_path / f"weights{suffix}"
    hubkeras.convert(module, file, "weights")
    if suffix == ".npz":
        with np.load(file) as arrays:
            assert set(arrays.files) == set(module.variable_map)
    hubkeras.convert(MODULES / "losses_and_updates", tmp_path / "back", "tf1_hub", weights=file)
    again = hubkeras.load(tmp_path / "back")
    assert again.get_tags() == module.get_tags()
    for got, want in zip(again.variables, module.variables, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_module_that_disagrees_with_itself():
    """As one does that reads a counter while an update op counts: seldom, so it is tried more than once."""
    calls = itertools.count()

    def seldom(_):
        return tf.constant(int(next(calls) == 20))

    assert verify([Check("it", {}, seldom, lambda _: tf.constant(1))], "new").random == ("it",)
    with pytest.raises(ConversionError, match="differ by up to 1"):
        verify([Check("it", {}, lambda _: tf.constant(0), lambda _: tf.constant(1))], "new")


def test_weights_that_do_not_fit(tmp_path):
    """They are refused by name; so are names that tell no format, and formats that hold no such values."""
    np.savez(tmp_path / "other.npz", other=X)
    with pytest.raises(ConversionError, match=r"not known: \['other'\]"):
        hubkeras.convert(MODULES / "batch_renorm", tmp_path / "new", "tf1_hub", weights=tmp_path / "other.npz")
    values = values_of(hubkeras.load(MODULES / "batch_renorm"))
    np.savez(tmp_path / "other.npz", **{name: np.full(v.shape, "text") for name, v in values.items()})
    with pytest.raises(ConversionError, match=r"does not hold them.*values of dtype float32.*dtype <U4"):
        hubkeras.convert(MODULES / "batch_renorm", tmp_path / "new", "tf1_hub", weights=tmp_path / "other.npz")
    with pytest.raises(ConversionError, match="safetensors"):
        hubkeras.convert(MODULES / "batch_renorm", tmp_path / "new.bin", "weights")
    assert [p.name for p in tmp_path.iterdir()] == ["other.npz"]


def test_the_verb(tmp_path, capsys):
    """It prints the greatest difference, and refuses in one paragraph."""
    module = str(MODULES / "batch_renorm")
    assert main(["convert", module, str(tmp_path / "new"), "--to", "tf1_hub"]) == 0
    assert "greatest difference 0" in capsys.readouterr().out
    assert main(["convert", module, str(tmp_path / "new"), "--to", "tf1_hub"]) == 1
    assert "something is there already" in capsys.readouterr().err


def test_variables_of_any_name(tmp_path):
    """A variable may be called what numpy calls its own arguments."""

    def build(tags):
        x = v1.placeholder(tf.float32, [None])
        return {"default": ({"x": x}, {"default": x * variable("file", 2.0) * variable("allow_pickle", 3.0)})}

    write(tmp_path / "module", build)
    hubkeras.convert(tmp_path / "module", tmp_path / "weights.npz", "weights")
    with np.load(tmp_path / "weights.npz") as arrays:
        assert {name: float(arrays[name]) for name in arrays.files} == {"file": 2.0, "allow_pickle": 3.0}


def test_weights_of_tf2_saved_models(tmp_path):
    """They have such files, too, and take them; those of another module are refused by name."""
    source = MODULES / "tf2_reusable"
    module = hubkeras.load(source)
    for v in (module.loaded.w, module.loaded.gamma, module.loaded.mean):  # which the object does not list
        v.assign_add(0.5 * tf.ones_like(v))
    hubkeras.convert(module, tmp_path / "weights.npz", "weights")
    with np.load(tmp_path / "weights.npz") as arrays:
        assert set(arrays.files) == {"w", "gamma", "mean"}
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    assert np.abs(module(x) - hubkeras.load(source)(x)).max() > 0.1
    for to, load in (("saved_model", lambda path: tf.saved_model.load(str(path))), ("tf1_hub", hubkeras.load)):
        hubkeras.convert(source, tmp_path / to, to, weights=tmp_path / "weights.npz")
        np.testing.assert_allclose(load(tmp_path / to)(tf.constant(x)), module(x), rtol=1e-5)
    with pytest.raises(ConversionError, match="not known: "):
        hubkeras.convert(MODULES / "batch_renorm", tmp_path / "new", "saved_model", weights=tmp_path / "weights.npz")
    (tmp_path / "broken.npz").write_text("no archive")
    (tmp_path / "broken.safetensors").write_text("no such file")
    for name in ("broken.npz", "broken.safetensors"):
        with pytest.raises(ConversionError, match=f"Cannot read weights from .*{name}"):
            hubkeras.convert(source, tmp_path / "new", "saved_model", weights=tmp_path / name)
