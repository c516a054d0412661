"""`.keras` files that were damaged or made to deceive: refused by name, and no module takes the place of theirs."""

import copy
import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from building import variable
from building import write as build_module
from savedmodel.builder import asset_file_def, const, meta_graph, node, tensor_info, write_module

import hubkeras
from hubkeras.errors import FormatError, LayerError
from hubkeras.layers.config import MAX_DECLARED_BYTES
from hubkeras.layers.embedding import unpack
from hubkeras.layers.weight_files import load_values
from layers.saving import MODULES

MADE = []


@keras.saving.register_keras_serializable("hubkeras_tests")
class Remembered(hubkeras.KerasLayer):
    """A layer that can be reached though its model cannot be loaded."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        MADE.append(self)


def build(features):
    """A variable, and a regularization loss."""
    x = tf.compat.v1.placeholder(tf.float32, [None, 2], "x")
    w = variable("w", 3.0)
    tf.compat.v1.add_to_collection("regularization_losses", tf.identity(2 * w, "loss"))
    return {"default": ({"default": x}, {"default": w * x})}


def writing(features):
    """The same, and writes a file."""
    x = tf.compat.v1.placeholder(tf.float32, [None, 2], "x")
    w = variable("w", 3.0)
    with tf.control_dependencies([tf.io.write_file("/tmp/hubkeras-never", "x")]):
        return {"default": ({"default": x}, {"default": tf.identity(w * x)})}


@pytest.fixture
def saved(tmp_path):
    """The parts of a file by name; its module lies where the handle says, too."""
    build_module(tmp_path / "module", build)
    model = keras.Sequential([Remembered(tmp_path / "module", input_shape=[2], name="hub", trainable=True)])
    model.save(tmp_path / "model.keras")
    MADE.clear()
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path, parts):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def graph_of(parts):
    (name,) = (name for name in parts if name.endswith("saved_model.pb"))
    return name


def without_assets(parts, tmp_path):
    return {name: data for name, data in parts.items() if "assets" not in name}


def with_other_assets_only(parts, tmp_path):
    return without_assets(parts, tmp_path) | {"assets/something": b"else", "assets/more": b""}


def with_a_truncated_graph(parts, tmp_path):
    return parts | {graph_of(parts): parts[graph_of(parts)][:-30]}


def with_a_graph_that_writes(parts, tmp_path):
    build_module(tmp_path / "writing", writing)
    return parts | {graph_of(parts): (tmp_path / "writing" / "saved_model.pb").read_bytes()}


def with_an_object(parts, tmp_path):
    module = tf.Module()
    module.w = tf.Variable(3.0, name="w")
    tf.saved_model.save(module, str(tmp_path / "object"))
    made = {name: data for name, data in parts.items() if not name.startswith("assets")}
    for path in (tmp_path / "object").rglob("*"):
        if path.is_file():
            place = graph_of(parts).replace("saved_model.pb", str(path.relative_to(tmp_path / "object")))
            made[place] = path.read_bytes()
    return made


@pytest.mark.parametrize(
    "damage",
    [without_assets, with_other_assets_only, with_a_truncated_graph, with_a_graph_that_writes, with_an_object],
)
def test_the_module_of_the_handle_never_takes_its_place(saved, tmp_path, damage):
    """`load_model` raises, and so does every later use of the layer, though the handle's module is at hand."""
    path = pack(tmp_path / "damaged.keras", damage(saved, tmp_path))
    with pytest.raises(ValueError, match=r"module in its file was refused|holds no module"):
        keras.models.load_model(path)
    (layer,) = MADE
    uses = [
        lambda: layer(tf.ones([1, 2])),
        lambda: layer.resolved_object,
        lambda: layer.losses,
        lambda: layer.get_config(),
        lambda: layer.load_assets(None),
    ]
    for use in uses + uses:
        with pytest.raises(LayerError, match=r"module in its file was refused|its file holds no module"):
            use()


def test_the_file_as_it_was(saved, tmp_path):
    """What the damaged ones are made of loads, without the module that the handle stands for."""
    shutil.rmtree(tmp_path / "module")
    loaded = keras.models.load_model(pack(tmp_path / "whole.keras", saved))
    np.testing.assert_array_equal(loaded(tf.ones([1, 2])), [[3, 3]])
    assert [float(loss) for loss in loaded.losses] == [6.0]


CONFIG = hubkeras.KerasLayer(MODULES / "quantised", trainable=True, input_shape=[4]).get_config()
NO_VALUE = object()
DAMAGES = [
    ("handle", NO_VALUE),
    ("handle", 5),
    ("handle", None),
    ("embed", "yes"),
    ("name", 7),
    ("tags", 3),
    ("tags", "train"),
    ("allow_ops", [1]),
    ("arguments", [1]),
    ("input_shape", 3),
    ("input_shape", ["a"]),
    ("output_shape", "x"),
    ("trainable", "yes"),
    ("dtype", {"class_name": "__lambda__", "config": {"value": ["4wEA"]}}),
    ("unknown", 5),
    ("spec", 5),
    ("spec", []),
    *((f"spec.{key}", 5.5) for key in CONFIG["spec"]),
    *((f"spec.{key}", NO_VALUE) for key in CONFIG["spec"] if key != "is_random"),  # files written before have none
    ("spec.format", "callable"),
    ("spec.variables", [["w"]]),
    ("spec.variables", [["w", "float32", [-1], True]]),
    ("spec.variables", [["w", "float32", [None], True]]),
    ("spec.variables", [["w", "resource", [1], True]]),
    ("spec.variables", [["w", "nothing", [1], True]]),
    ("spec.variables", [["w", "float32", [1], True]] * 2),
    ("spec.variables", [["w", "float32", [1 << 62, 1 << 62], True]]),
    ("spec.variables", [["w", "string", [MAX_DECLARED_BYTES // 8], True]]),
    ("spec.variables", [[f"w{i}", "float32", [1 << 28], True] for i in range(10)]),
    ("spec.inputs", {"x": {}}),
    ("spec.output_key", "no such output"),
    ("spec.returned", {"list": 5}),
    ("spec.returned", {"dtype": "float32", "shape": "?"}),
]


@pytest.mark.parametrize(("key", "value"), DAMAGES, ids=range(len(DAMAGES)))
def test_damaged_configs(key, value):
    """Whatever is wrong with a config, the error says which part of it it is."""
    config = place = copy.deepcopy(CONFIG) | {"handle": "/no/such/module"}
    config["spec"]["source"] = "/no/such/module"
    *path, last = key.split(".")
    for step in path:
        place = place[step]
    if value is NO_VALUE:
        del place[last]
    else:
        place[last] = value
    with pytest.raises(LayerError, match=r"config|output_shape"):
        hubkeras.KerasLayer.from_config(config)


@pytest.mark.parametrize("config", [None, 3, "x"])
def test_what_is_no_config(config):
    with pytest.raises(LayerError, match="keys of a KerasLayer's config"):
        hubkeras.KerasLayer.from_config(config)


@pytest.mark.parametrize(
    ("dtype", "store"),
    [
        ("float32", {"v": np.array([b"a", b"b"])}),
        ("string", {"v#bytes": np.zeros(3, np.uint8), "v#lengths": np.array([-1, 4])}),
        ("string", {"v#bytes": np.zeros(3, np.uint8), "v#lengths": np.array([1, 1, 1])}),
        ("string", {"v#bytes": np.zeros(3, np.uint8), "v#lengths": np.array([1.0, 2.0])}),
        ("string", {"v#bytes": np.zeros(3, np.uint8), "v#lengths": np.array(3)}),
    ],
)
def test_damaged_weights(dtype, store):
    value = tf.Variable(tf.zeros([2]) if dtype == "float32" else ["", ""])
    with pytest.raises(LayerError, match="Cannot load variable 'v'"):
        load_values({"v": value}, store, "layer")


def test_a_folder_with_a_link_in_the_place_of_an_asset(tmp_path):
    """Keras reads a folder, too; what it links to is another's file."""
    (tmp_path / "secret.txt").write_text("secret")
    nodes = [const("path", ""), node("read", "ReadFile", "path")]
    graph = meta_graph(*nodes, signatures={"default": ({}, {"default": tensor_info("read:0", "string")})})
    graph.asset_file_def.append(asset_file_def("path:0", "a.txt"))
    module = write_module(tmp_path / "module", graph)
    (module / "assets").mkdir()
    (module / "assets" / "a.txt").write_text("mine")
    description = unpack(str(module))
    assert hubkeras.load(description.path)().numpy() == b"mine"
    (module / "assets" / "a.txt").unlink()
    (module / "assets" / "a.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(FormatError, match=r"points out of the folder"):
        unpack(str(module))


def test_the_config_as_it_was():
    """What the damaged ones are made of is read."""
    assert hubkeras.KerasLayer.from_config(copy.deepcopy(CONFIG)).count_params() > 0


def test_variables_of_all_layers_are_counted_together(saved, tmp_path):
    """Many layers cannot declare what one cannot."""
    config = json.loads(saved["config.json"])
    (layer,) = (x for x in config["config"]["layers"] if x["class_name"] == "Remembered")
    layer["config"]["spec"]["variables"] = [["w", "float32", [1 << 29], True]]
    config["config"]["layers"].append(copy.deepcopy(layer))
    layer["config"]["spec"]["variables"][0][2] = [1 << 20]
    second = config["config"]["layers"][-1]["config"]
    second |= {"name": "second", "spec": second["spec"] | {"state": "other"}}
    second["spec"]["variables"] = [["w", "float32", [(1 << 31) - (1 << 19)], True]]
    path = pack(tmp_path / "large.keras", saved | {"config.json": json.dumps(config)})
    with pytest.raises(LayerError, match=r"declares.*no more than 8589934592 bytes"):
        keras.models.load_model(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"variables": [["w", "float32", [2], True]]}, r"shape \(2,\)"),
        ({"variables": [["w", "int32", [], True]], "optimized": []}, "int32"),
        ({"variables": [["other", "float32", [], True]], "optimized": []}, "variable 'other'"),
        ({"format": "tf2"}, "format 'tf2'.*'tf1_hub'"),
        ({"train_tags": ["nope"]}, "nope"),
        ({"signature": "nope"}, "nope"),
    ],
)
def test_configs_of_other_modules(saved, tmp_path, change, words):
    """A config that does not describe the embedded module is refused: what the reader found counts."""
    config = json.loads(saved["config.json"])
    (layer,) = (x for x in config["config"]["layers"] if x["class_name"] == "Remembered")
    layer["config"]["spec"] |= change
    path = pack(tmp_path / "other.keras", saved | {"config.json": json.dumps(config)})
    with pytest.raises((LayerError, ValueError)):
        keras.models.load_model(path)
    with pytest.raises(LayerError, match=rf"module in its file was refused.*{words}"):
        MADE[0](tf.ones([1, 2]))


@pytest.mark.parametrize("kind", ["module", "object"])
def test_layers_share_losses_and_weights_again(tmp_path, kind):
    """Layers over one module are so after `load_model`, and one made of the module afterwards joins them."""
    if kind == "module":
        module = hubkeras.load(build_module(tmp_path / "module", build))
    else:
        module = hubkeras.load(MODULES.parents[1] / "layers" / "data" / "reusable")
    size = 2 if kind == "module" else 3
    x = keras.Input([size])
    layers = [hubkeras.KerasLayer(module, trainable=True, name=name) for name in ("a", "b")]
    model = keras.Model(x, [layer(x) for layer in layers])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    first, second = (loaded.get_layer(name) for name in ("a", "b"))
    third = hubkeras.KerasLayer(first.resolved_object, trainable=True)
    assert len(loaded.losses) == len(model.losses) == 1
    assert [float(loss) for loss in loaded.losses] == [float(loss) for loss in model.losses]
    assert len(loaded.weights) == len(model.weights)
    assert {id(w) for w in first.trainable_weights} == {id(w) for w in second.trainable_weights}
    assert {id(w) for w in third.trainable_weights} == {id(w) for w in first.trainable_weights}
    together = keras.Model(x, [first(x), third(x)])
    assert len(together.losses) == 1
