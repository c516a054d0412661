"""Models that are saved, and what the processes that load them tell of them."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import forks
import keras
import numpy as np
import tensorflow as tf
from parity import GOLDEN

import hubkeras

MODULES = GOLDEN / "modules"
DATA = Path(__file__).parent / "data"
TEXTS = np.array(["the cat", "sat on", "", "a mat the cat"], object)
FLOATS = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)


@keras.saving.register_keras_serializable("hubkeras_tests")
class Subclassed(keras.Model):
    """A model that is a class of its own."""

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.dense = keras.layers.Dense(1)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.dense(self.layer(inputs, training=training))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Subclassed:
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


def sequential(layer: Any) -> keras.Model:
    """The layer and a dense one."""
    return keras.Sequential([layer, keras.layers.Dense(1)])


def of_texts(folder: Path) -> tuple[keras.Model, Any]:
    """A module with a table that a file fills."""
    return sequential(hubkeras.KerasLayer(folder, input_shape=[], dtype=tf.string, trainable=True)), TEXTS


def of_floats(folder: Path) -> tuple[keras.Model, Any]:
    """A module with a graph of its own for training, which moves averages."""
    return sequential(hubkeras.KerasLayer(folder, input_shape=[4], trainable=True)), FLOATS


def of_parts(folder: Path) -> tuple[keras.Model, Any]:
    """A module with partitioned variables, regularization losses and update ops."""
    return sequential(hubkeras.KerasLayer(folder, input_shape=[3], trainable=True)), FLOATS[:, :3]


def of_loops(folder: Path) -> tuple[keras.Model, Any]:
    """A dict of inputs through v1 loops; the graph for training chosen by its tags."""
    inputs = {"x": keras.Input([None, 3], name="x"), "lengths": keras.Input([], dtype="int32", name="lengths")}
    layer = hubkeras.KerasLayer(folder, train_tags={"train", "nodrop"}, output_key="cell", trainable=True)
    x = np.linspace(-1, 1, 48, dtype=np.float32).reshape(4, 4, 3)
    return keras.Model(inputs, keras.layers.Dense(1)(layer(inputs))), {
        "x": x,
        "lengths": np.array([1, 2, 3, 4], np.int32),
    }


def of_a_class(folder: Path) -> tuple[keras.Model, Any]:
    """A model that is a class of its own."""
    model = Subclassed(hubkeras.KerasLayer(folder, trainable=True))
    model(tf.constant(FLOATS))
    return model, FLOATS


def of_one_module_twice(folder: Path) -> tuple[keras.Model, Any]:
    """Two layers over one module."""
    module, x = hubkeras.load(folder), keras.Input([4])
    first, second = (hubkeras.KerasLayer(module, trainable=True) for _ in range(2))
    return keras.Model(x, keras.layers.Dense(1)(first(x) + second(keras.layers.Rescaling(2.0)(x)))), FLOATS


def of_models(folder: Path) -> tuple[keras.Model, Any]:
    """A model in a model."""
    inner, _ = of_floats(folder)
    return keras.Sequential([keras.Input([4]), inner, keras.layers.Dense(1)]), FLOATS


def of_some_weights(folder: Path) -> tuple[keras.Model, Any]:
    """A layer of whose weights one is frozen."""
    model, x = of_parts(folder)
    model.layers[0].trainable_weights[1].trainable = False
    return model, x


def of_a_frozen_layer(folder: Path) -> tuple[keras.Model, Any]:
    """A frozen layer."""
    return sequential(hubkeras.KerasLayer(folder, input_shape=[4])), FLOATS


def of_objects(folder: Path) -> tuple[keras.Model, Any]:
    """A callable SavedModel of TF2."""
    return sequential(hubkeras.KerasLayer(folder, input_shape=[3], trainable=True)), FLOATS[:, :3]


def of_a_loaded_file(folder: Path) -> tuple[keras.Model, Any]:
    """A model that came out of a file and is saved again."""
    model, x = of_texts(folder)
    path = folder.with_suffix(".first.keras")
    model.save(path)
    shutil.rmtree(folder)
    return keras.models.load_model(path), x


MODELS = {
    "texts": (of_texts, MODULES / "text_paths"),
    "floats": (of_floats, MODULES / "batch_renorm"),
    "parts": (of_parts, MODULES / "losses_and_updates"),
    "loops": (of_loops, MODULES / "lstm_dropout"),
    "class": (of_a_class, MODULES / "batch_renorm"),
    "twice": (of_one_module_twice, MODULES / "quantised"),
    "models": (of_models, MODULES / "quantised"),
    "some_weights": (of_some_weights, MODULES / "losses_and_updates"),
    "frozen": (of_a_frozen_layer, MODULES / "batch_renorm"),
    "objects": (of_objects, DATA / "reusable"),
    "again": (of_a_loaded_file, MODULES / "text_paths"),
}


def make(name: str, folder: Path) -> tuple[keras.Model, Any]:
    """A model over a copy of its module in `folder`, and inputs."""
    build, module = MODELS[name]
    shutil.copytree(module, folder / name)
    keras.utils.set_random_seed(5)
    return build(folder / name)


def fit(model: keras.Model, inputs: Any) -> list[float]:
    """Trains for three epochs and returns the losses."""
    if not model.compiled:
        model.compile(keras.optimizers.Adam(0.05), keras.losses.MeanSquaredError())
        model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the first step a second time
    targets = np.array([[1.0], [-1.0], [0.5], [2.0]], np.float32)
    if isinstance(inputs, np.ndarray) and inputs.dtype == object:
        inputs = tf.constant(inputs.tolist())
    return model.fit(inputs, targets, batch_size=2, epochs=3, shuffle=False, verbose=0).history["loss"]


def predict(model: keras.Model, inputs: Any) -> np.ndarray:
    """The outputs for inference."""
    inputs = tf.constant(inputs.tolist()) if isinstance(inputs, np.ndarray) and inputs.dtype == object else inputs
    return np.asarray(model(inputs))


def hub_layers(model: Any) -> list[hubkeras.KerasLayer]:
    """The layers of this library, of inner models too."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, hubkeras.KerasLayer)]


def tell(model: keras.Model, inputs: Any) -> dict[str, Any]:
    """What must be the same in another process; the model is trained on meanwhile."""
    layers = hub_layers(model)
    modules = [layer.resolved_object for layer in layers]
    return {
        "outputs": predict(model, inputs),
        "trainable": [[weight.name for weight in layer.trainable_weights] for layer in layers],
        "count": [len(model.weights), len(model.trainable_weights)],
        "tags": [[getattr(m, "tags", None), getattr(m, "train_tags", None)] for m in modules],
        "iterations": int(model.optimizer.iterations),
        "losses": fit(model, inputs),
        "trained": predict(model, inputs),
        "values": [{k: v.numpy() for k, v in layer._values.items()} for layer in layers],
    }


SCRIPT = """
import runpy, sys, warnings
from pathlib import Path
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
sys.path[:0] = [str(Path(sys.argv[1]).parents[1])]
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def in_a_process(script: str, folder: Path) -> dict[str, Any]:
    """Runs a script of this folder, which reads `jobs` and writes `results`, in a process of its own."""
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = forks.run(SCRIPT, Path(__file__).with_name(script), folder, environment=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return pickle.loads((folder / "results").read_bytes())
