"""How a TF2 SavedModel gets to TensorFlow: judged, whole, and with errors that have a name."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import hubkeras
from hubkeras.errors import CorruptFileError, FormatError, HubKerasError, MissingFileError, TagsError, UnsafeModuleError
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.modules.tf2_loader import load_tf2
from hubkeras.savedmodel.reader import read_module

GOLDEN = Path(__file__).parents[1] / "golden" / "modules"
WORDS = tf.TensorSpec([None], tf.string)


class Everything(tf.Module):
    """Tables of all kinds, an asset, a gradient of its own, and functions that nobody lists."""

    def __init__(self, vocabulary):
        super().__init__()
        rows = tf.lookup.TextFileIndex
        lines = tf.lookup.TextFileInitializer(str(vocabulary), tf.string, rows.WHOLE_LINE, tf.int64, rows.LINE_NUMBER)
        self.lines = tf.lookup.StaticHashTable(lines, -1)
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([5], tf.int64))
        self.pairs = tf.lookup.StaticHashTable(pairs, -1)
        self.filled = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
        self.filled.insert(tf.constant(["b"]), tf.constant([7], tf.int64))
        self.scale = tf.Variable(2.0)
        self.asset = tf.saved_model.Asset(str(vocabulary))

    @tf.function(input_signature=[WORDS])
    def look_up(self, words):
        rows = [self.lines.lookup(words), self.pairs.lookup(words), self.filled.lookup(words)]
        return {"ids": tf.stack(rows), "text": tf.io.read_file(self.asset.asset_path)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def double(self, x):
        @tf.custom_gradient
        def doubled(x):
            return x * self.scale, lambda dy, variables=(): (dy * 10.0, [None for _ in variables])

        return doubled(x)


@pytest.fixture
def saved(tmp_path):
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("a\nb\n")
    thing = Everything(vocabulary)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(thing, str(tmp_path / "m"), signatures=thing.look_up, options=options)
    vocabulary.unlink()
    return tmp_path / "m"


@pytest.fixture
def golden(tmp_path):
    return shutil.copytree(GOLDEN / "tf2_reusable", tmp_path / "golden")


def edit(path, change):
    """Changes the MetaGraphDef of a SavedModel."""
    file = path / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(proto)
    file.write_bytes(proto.SerializeToString())
    return path


def test_tables_assets_and_gradients(saved):
    module = hubkeras.load(saved)
    outputs = module(["a", "b"], as_dict=True)
    np.testing.assert_array_equal(outputs["ids"], [[0, 1], [5, -1], [-1, 7]])
    assert outputs["text"].numpy() == b"a\nb\n"
    x = tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = module.double(x)
    assert (y.numpy(), tape.gradient(y, x).numpy()) == (6.0, 10.0)


def test_a_keras_model(tmp_path):
    import keras

    layers = [keras.Input((4, 3)), keras.layers.LSTM(2), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.export(str(tmp_path / "m"), verbose=False)
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_allclose(hubkeras.load(tmp_path / "m")(x, signature="serve"), model(x), atol=1e-6)


@pytest.mark.parametrize("word", ["initializer", "look_up", "double", "gradient"])
def test_what_writes_is_refused_wherever_it_stands(saved, word):
    def change(proto):
        found = [f for f in proto.meta_graphs[0].graph_def.library.function if word in f.signature.name]
        library = proto.meta_graphs[0].graph_def.library
        if word == "gradient":
            name = library.registered_gradients[0].gradient_func
            found = [f for f in library.function if f.signature.name == name]
        for function in found:
            text = tf.make_tensor_proto("x")
            node = function.node_def.add(name="text", op="Const")
            node.attr["dtype"].type, _ = text.dtype, node.attr["value"].tensor.CopyFrom(text)
            function.node_def.add(name="write", op="WriteFile", input=["text:output:0", "text:output:0"])
        assert found

    edit(saved, change)
    with pytest.raises(UnsafeModuleError, match=r"WriteFile .node 'write'"):
        hubkeras.load(saved)


def test_allow_ops_and_safe_mode(tmp_path):
    target = tmp_path / "written"

    class Writer(tf.Module):
        @tf.function(input_signature=[])
        def f(self):
            with tf.control_dependencies([tf.io.write_file(str(target), "x")]):
                return tf.constant(1.0)

    tf.saved_model.save(Writer(), str(tmp_path / "m"))
    with pytest.raises(UnsafeModuleError, match="allow_ops=\\['WriteFile'\\]"):
        hubkeras.load(tmp_path / "m")
    assert not target.exists()
    hubkeras.load(tmp_path / "m", allow_ops=["WriteFile"]).f()
    assert target.read_text() == "x"
    target.unlink()
    hubkeras.load(tmp_path / "m", safe_mode=False).f()
    assert target.exists()


def test_two_graphs_are_no_tf2_saved_model(golden):
    def change(proto):
        proto.meta_graphs.add().meta_info_def.tags.append("other")

    edit(golden, change)
    for tags in (None, ["serve"]):
        with pytest.raises(FormatError, match="2 MetaGraphs"):
            hubkeras.load(golden, tags=tags, safe_mode=False)


def test_a_file_in_chunks_beside_it(golden):
    (golden / "saved_model.cpb").write_bytes(b"")
    with pytest.raises(FormatError, match=r"saved_model\.cpb"):
        hubkeras.load(golden)


def test_a_file_that_changes_after_it_was_read(golden):
    description = read_module(golden)
    edit(golden, lambda proto: proto.meta_graphs[0].object_graph_def.nodes[0].children.pop())
    with pytest.raises(FormatError, match="changed while it was read"):
        load_tf2(description, None, None, OpPolicy())
    assert load_tf2(read_module(golden), None, None, OpPolicy()).description.format == "tf2"


def test_a_shape_that_gradients_do_not_have(golden):
    """TensorFlow differentiates what a call under a tape runs, and an attribute may say what its arguments are."""

    def change(proto):
        library = proto.meta_graphs[0].graph_def.library
        for function in (f for f in library.function if f.signature.name.startswith("__inference_signature_wrapper")):
            for attributes in function.arg_attr.values():
                for shape in attributes.attr["_output_shapes"].list.shape:
                    if [dim.size for dim in shape.dim] == [-1, 3]:
                        shape.dim[1].size = 7

    edit(golden, change)
    module, x = hubkeras.load(golden), tf.ones([2, 3])
    with tf.GradientTape() as tape:
        tape.watch(x)
        with pytest.raises(FormatError, match=r"Cannot differentiate TF2 SavedModel .*golden"):
            module(x, signature="serving_default", as_dict=True)


def test_unknown_tags(golden):
    with pytest.raises(TagsError, match="serve"):
        load_tf2(read_module(golden), ["train"], None, OpPolicy())


def objects(proto):
    return proto.meta_graphs[0].object_graph_def


def forget_a_function_spec(proto):
    for node in objects(proto).nodes:
        if node.WhichOneof("kind") == "function":
            node.function.function_spec.Clear()


def forget_kinds(proto):
    objects(proto).nodes[0].ClearField("kind")


def lose_signatures(proto):
    for function in objects(proto).concrete_functions.values():
        function.canonicalized_input_signature.Clear()


def return_nothing(proto):
    for function in objects(proto).concrete_functions.values():
        function.output_signature.Clear()
        function.output_signature.none_value.SetInParent()


def change_variables(proto):
    for node in objects(proto).nodes:
        if node.WhichOneof("kind") == "variable":
            node.variable.dtype = tf.int64.as_datatype_enum


def add_a_slot(proto):
    objects(proto).nodes[0].slot_variables.add(slot_name="m", original_variable_node_id=1, slot_variable_node_id=2)


def ask_losses_for_arguments(proto):
    """A loss captures the variable that it reads; without it, that is an argument."""
    nodes = objects(proto).nodes
    losses = next(c.node_id for c in nodes[0].children if c.local_name == "regularization_losses")
    for loss in nodes[losses].children:
        for name in nodes[loss.node_id].function.concrete_functions:
            objects(proto).concrete_functions[name].ClearField("bound_inputs")


CHANGES = [forget_a_function_spec, forget_kinds, lose_signatures, return_nothing, change_variables, add_a_slot]


@pytest.mark.parametrize("change", [*CHANGES, ask_losses_for_arguments])
def test_what_tensorflow_cannot_make_has_a_name(golden, change):
    edit(golden, change)
    with pytest.raises(HubKerasError) as caught:
        hubkeras.load(golden)
    assert isinstance(caught.value, FormatError)
    assert str(golden) in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_file_that_is_missing_or_damaged(golden):
    data = next((golden / "variables").glob("variables.data*"))
    content = bytearray(data.read_bytes())
    content[0] ^= 0xFF
    data.write_bytes(content)
    with pytest.raises(CorruptFileError, match=str(golden)):
        hubkeras.load(golden)
    data.unlink()
    with pytest.raises(MissingFileError, match=str(golden)):
        hubkeras.load(golden)


def test_debug_info_that_cannot_be_read(golden):
    (golden / "debug").mkdir(exist_ok=True)
    (golden / "debug" / "saved_model_debug_info.pb").write_bytes(b"\xff")
    with pytest.raises(CorruptFileError, match=r"debug_info"):
        hubkeras.load(golden)


@pytest.mark.parametrize("nested", [False, True])
def test_a_shape_that_overflows(tmp_path, nested):
    """Grappler ends the process when the function is first called."""
    module = tf.Module()
    spec = tf.TensorSpec([], tf.float32)

    def compute(x):
        return x + tf.reduce_sum(tf.fill(tf.constant([3, 7], tf.int64), 1.0))

    inner = tf.function(compute)
    module.f = tf.function(lambda x: inner(x) if nested else compute(x), [spec])
    tf.saved_model.save(module, str(tmp_path))
    assert hubkeras.load(tmp_path).f(1.0) == 22

    def overflow(proto):
        nodes = [node for f in proto.meta_graphs[0].graph_def.library.function for node in f.node_def]
        for sizes in (n for n in nodes if n.op == "Const" and n.attr["dtype"].type == tf.int64.as_datatype_enum):
            sizes.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([1 << 62, 3], tf.int64))
        for node in nodes:
            node.attr.pop("_output_shapes", None)

    edit(tmp_path, overflow)
    with pytest.raises(FormatError, match=r"\(4611686018427387904, 3\)"):
        hubkeras.load(tmp_path)


def test_an_op_that_would_end_the_process(tmp_path):
    """Its inputs are checked in the functions that TensorFlow takes, and nowhere in the file."""
    module = tf.Module()
    specs = [tf.TensorSpec(None), tf.TensorSpec(None)]
    module.f = tf.function(lambda x, b: tf.image.crop_and_resize(x, b, [0], [2, 2]) * 2.0, specs)
    tf.saved_model.save(module, str(tmp_path))
    loaded, image = hubkeras.load(tmp_path), tf.ones([1, 4, 4, 1])
    assert loaded.f(image, [[0.0, 0.0, 1.0, 1.0]]).shape == (1, 2, 2, 1)
    for boxes in (1.0, [[0.0, 1.0]]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            loaded.f(image, boxes)
    assert tf.saved_model.load(str(tmp_path)).f(image, [[0.0, 0.0, 1.0, 1.0]]).shape == (1, 2, 2, 1)
