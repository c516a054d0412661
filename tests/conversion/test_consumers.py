"""An image module and a text module, converted once, in the hands of those who take them without hubkeras."""

import json
import pickle
import sys
from pathlib import Path

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf
from building import variable, write

import hubkeras
from hubkeras.cli.demo import MODULE
from hubkeras.errors import UnsupportedError

v1 = tf.compat.v1
IMAGES = np.random.default_rng(1).random([4, 8, 8, 3], np.float32)
TEXTS = np.array([b"a spicy stew", b"fog along the coast", b"", b"words that nobody knows"])
GIVEN = {"images": IMAGES, "texts": TEXTS}
SOURCES = {"texts": MODULE}


def classifier(tags):
    """Convolutions with batch normalization, whose moving averages training updates, as image modules have them."""
    images = v1.placeholder(tf.float32, [None, 8, 8, 3], "images")
    is_training, h = "train" in tags, images
    for layer, (channels, stride) in enumerate([(4, 2), (6, 1)]):
        kernel = np.random.default_rng(layer).normal(size=[3, 3, h.shape[-1], channels]).astype(np.float32)
        scale = variable(f"{layer}/gamma", np.linspace(0.5, 1.5, channels, dtype=np.float32))
        offset = variable(f"{layer}/beta", np.zeros(channels, np.float32))
        mean = variable(f"{layer}/moving_mean", np.full(channels, 0.1, np.float32), trainable=False)
        variance = variable(f"{layer}/moving_variance", np.full(channels, 1.5, np.float32), trainable=False)
        h = tf.nn.conv2d(h, variable(f"{layer}/kernel", kernel), [1, stride, stride, 1], "SAME")
        averages = {} if is_training else {"mean": mean, "variance": variance}
        h, batch_mean, batch_variance = v1.nn.fused_batch_norm(h, scale, offset, is_training=is_training, **averages)
        if is_training:
            for average, value in ((mean, batch_mean), (variance, batch_variance)):
                v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, average.assign_sub(0.1 * (average - value)))
        h = tf.nn.relu6(h)
    features = tf.reduce_mean(h, [1, 2])
    return {"default": ({"images": images}, {"default": features}), "maps": ({"images": images}, {"maps": h})}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The folder with the module `classifier`, and both modules as SavedModels, `images` and `texts`."""
    folder = tmp_path_factory.mktemp("converted")
    write(folder / "classifier", classifier, [(), ("train",)])
    SOURCES["images"] = folder / "classifier"
    for name, source in SOURCES.items():
        hubkeras.convert(source, folder / name, "saved_model")
    return folder


@pytest.fixture(scope="module")
def expected(converted):
    """What the modules give, by name and signature."""
    modules = {name: hubkeras.load(SOURCES[name]) for name in GIVEN}
    names = [(name, signature) for name, module in modules.items() for signature in module.get_signature_names()]
    return {
        (name, signature): {k: v.numpy() for k, v in modules[name](GIVEN[name], signature, as_dict=True).items()}
        for name, signature in names
    }


SERVE = """
import pickle, sys
from pathlib import Path
import tensorflow as tf

folder, given = Path(sys.argv[1]), pickle.loads(Path(sys.argv[1], "given").read_bytes())
found = {"v1": {}, "v2": {}}
for name, values in given.items():
    loaded = tf.saved_model.load(str(folder / name))
    for key, function in loaded.signatures.items():
        (argument,) = function.structured_input_signature[1]
        outputs = function(**{argument: tf.constant(values)})
        found["v2"][name, key] = {k: v.numpy() for k, v in outputs.items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        # As TF Serving does: the graph of the tag "serve", its initializer and files, tensors by their names.
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder / name))
        for key, signature in graph.signature_def.items():
            if signature.inputs:
                (info,) = signature.inputs.values()
                outputs = {k: v.name for k, v in signature.outputs.items()}
                found["v1"][name, key] = session.run(outputs, {info.name: values})
assert "hubkeras" not in sys.modules
(folder / "found").write_bytes(pickle.dumps(found))
"""


def test_serving(converted, expected):
    """Signatures by the loader of TF Serving and TensorFlow 1, and by that of TensorFlow 2."""
    (converted / "given").write_bytes(pickle.dumps(GIVEN))
    done = forks.run(SERVE, converted)
    assert done.returncode == 0, done.stderr[-2000:]
    found = pickle.loads((converted / "found").read_bytes())
    wanted = {**expected, **{(name, "serving_default"): expected[name, "default"] for name in GIVEN}}
    for loader in ("v1", "v2"):
        assert found[loader].keys() - {("texts", "train"), ("images", "train")} == wanted.keys()
        for key, outputs in wanted.items():
            assert found[loader][key].keys() == outputs.keys()
            for name, output in outputs.items():
                np.testing.assert_allclose(found[loader][key][name], output, rtol=1e-4, atol=1e-5)


def targets(size):
    """What the outputs of four examples are trained to be."""
    return np.linspace(-1, 1, 4 * size, dtype=np.float32).reshape(4, size)


TRAIN = """
import json, os, pickle, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
from pathlib import Path
import numpy, tensorflow_hub, tf_keras

folder, jobs = Path(sys.argv[1]), pickle.loads(Path(sys.argv[1], "jobs").read_bytes())
found = {}
for name, (x, y) in jobs.items():
    layer = tensorflow_hub.KerasLayer(str(folder / name), trainable=True)
    model = tf_keras.Sequential([layer])
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    # Batch by batch: a model of Keras 2 takes numpy's texts only as tensors.
    losses = [float(model.train_on_batch(tensorflow_hub.keras_layer.tf.constant(x), y)) for _ in range(3)]
    weights = {w.name.partition(":")[0]: w.numpy().tolist() for w in layer.weights}
    found[name] = {"losses": losses, "weights": weights, "trained": len(layer.trainable_weights)}
assert "hubkeras" not in sys.modules
print(json.dumps(found))
"""


def test_fine_tuning_with_tensorflow_hub(converted):
    """Layers of tensorflow_hub train as layers of hubkeras do: losses, weights and moving averages."""
    jobs = {"images": (IMAGES, targets(6)), "texts": (TEXTS, targets(32))}
    (converted / "jobs").write_bytes(pickle.dumps(jobs))
    done = forks.run(TRAIN, converted)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name, (x, y) in jobs.items():
        layer = hubkeras.KerasLayer(SOURCES[name], trainable=True)
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        losses = [float(model.train_on_batch(tf.constant(x), y)) for _ in range(3)]
        np.testing.assert_allclose(found[name]["losses"], losses, rtol=1e-4)
        assert losses[2] < losses[0]
        assert found[name]["trained"] == len(layer.trainable_weights)
        weights = {weight.value.name.partition(":")[0]: weight.numpy() for weight in layer.weights}
        assert found[name]["weights"].keys() == weights.keys()
        for key, value in weights.items():
            np.testing.assert_allclose(found[name]["weights"][key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", GIVEN)
def test_keras_layer_of_its_own(name, converted, expected):
    """`TFSMLayer` computes it, and gives gradients to what it trains."""
    layer = keras.layers.TFSMLayer(converted / name, call_training_endpoint="train")
    x = tf.constant(GIVEN[name])
    np.testing.assert_allclose(layer(x), expected[name, "default"]["default"], rtol=1e-4, atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) ** 2)
    gradients = tape.gradient(loss, layer.trainable_weights)
    assert gradients
    assert all(gradient is not None for gradient in gradients)


@pytest.mark.filterwarnings("ignore:\\s*Warning. tf.lite.Interpreter is deprecated")
def test_images_by_the_interpreter_of_litert(converted, expected):
    """Every signature for any number of images; and LiteRT's own converter takes the SavedModel."""
    hubkeras.convert(SOURCES["images"], converted / "images.tflite", "litert")
    interpreter = tf.lite.Interpreter(str(converted / "images.tflite"))
    wanted = {key[1]: outputs for key, outputs in expected.items() if key[0] == "images"}
    assert interpreter.get_signature_list().keys() == wanted.keys() == {"default", "maps"}
    content = tf.lite.TFLiteConverter.from_saved_model(str(converted / "images")).convert()
    wanted["serving_default"] = wanted["default"]
    for signature, outputs in wanted.items():
        if signature == "serving_default":
            interpreter = tf.lite.Interpreter(model_content=content)
        found = interpreter.get_signature_runner(signature)(images=IMAGES)
        for name, output in outputs.items():
            np.testing.assert_allclose(found[name], output, rtol=1e-3, atol=1e-4)


def test_images_by_onnx_runtime(converted, expected, monkeypatch):
    """For any number of images; and the command of tf2onnx takes the SavedModel."""
    tf2onnx = pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    hubkeras.convert(SOURCES["images"], converted / "images.onnx", "onnx")
    arguments = ["--saved-model", str(converted / "images"), "--output", str(converted / "theirs.onnx")]
    monkeypatch.setattr(sys, "argv", ["tf2onnx.convert", *arguments])
    tf2onnx.convert.main()
    for file in ("images.onnx", "theirs.onnx"):
        session = onnxruntime.InferenceSession(converted / file)
        assert [i.name for i in session.get_inputs()] == ["images"]
        for count in (4, 1):
            found = session.run(["default"], {"images": IMAGES[:count]})[0]
            np.testing.assert_allclose(found, expected["images", "default"]["default"][:count], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("to", "op"), [("litert", "StringSplit"), ("onnx", "LookupTableSizeV2")])
def test_ops_of_text_are_named(to, op, tmp_path):
    """Neither has them, and nothing is left."""
    if to == "onnx":
        pytest.importorskip("tf2onnx")
    with pytest.raises(UnsupportedError, match=op):
        hubkeras.convert(MODULE, tmp_path / "new", to)
    assert not list(Path(tmp_path).iterdir())
