"""Functions of signatures: built on first use, once, of what is asked for; dropped with their module."""

import gc
import shutil
import statistics
import threading
from pathlib import Path

import forks
import numpy as np
import pytest
import tensorflow as tf
from building import variable, write
from parity import read
from savedmodel.builder import const, dtype, meta_graph, node, placeholder, write_module
from tensorflow.core.protobuf import saved_model_pb2

import hubkeras
from hubkeras.errors import FormatError

MODULES = Path(__file__).parent.parent / "golden" / "modules"


def _sum_module(path):
    def build(tags):
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], "x")
        return {"default": ({"x": x}, {"default": x + variable("w", np.float32([1, 2]))})}

    return write(path, build)


def test_nothing_is_built_before_the_first_call(tmp_path):
    """A load builds no function; a call builds that of its signature and keeps it."""
    module = hubkeras.load(_sum_module(tmp_path / "m"))
    assert not module._by_tags
    module(np.zeros((1, 2), np.float32))
    variant = module.variant()
    function = variant.function("default", ("default",))
    module(np.zeros((3, 2), np.float32))
    assert list(variant._signatures.values()) == [function]


def test_only_the_outputs_asked_for_are_computed():
    """The graph of one output holds no node of another; a broken one does not matter until it is asked for."""
    module = hubkeras.load(MODULES / "ref_control_flow")
    one, every = (module.variant().function("default", outputs).bound.graph for outputs in (("seen",), None))
    assert len(one.graph_def.node) < len(every.graph_def.node)


def test_a_broken_output_matters_only_when_it_is_asked_for(tmp_path):
    """An output that needs a node which does not exist, or an op that nobody knows, leaves the others alone."""
    graph = meta_graph(
        placeholder("x"),
        node("y", "Identity", "x", T=dtype("float32")),
        node("lost", "Identity", "nowhere", T=dtype("float32")),
        node("odd", "NobodyKnows", "x"),
        signatures={"default": ({"x": "x:0"}, {"default": "y:0", "lost": "lost:0", "odd": "odd:0"})},
    )
    module = hubkeras.load(write_module(tmp_path / "m", graph))
    assert module([1.0]).numpy() == [1.0]
    assert module.apply([2.0], "default", ["default"])["default"].numpy() == [2.0]
    with pytest.raises(ValueError, match="nowhere"):
        module.apply([1.0], "default", ["lost"])
    with pytest.raises(NotImplementedError, match="NobodyKnows"):
        module.apply([1.0], "default", ["odd"])


def test_a_tensor_of_another_function_is_no_fault_of_the_module(tmp_path):
    module, leaked = hubkeras.load(_sum_module(tmp_path / "m")), []
    tf.function(lambda x: leaked.append(x * 2.0), autograph=False)(tf.ones([1, 2]))
    with tf.GradientTape(), pytest.raises(TypeError, match="out of scope"):
        module(leaked[0])


def test_a_loop_whose_body_cannot_be_imported(tmp_path):
    """TensorFlow takes the function as it is, and reads it only where it differentiates the loop."""
    path = shutil.copytree(MODULES / "functional_control_flow", tmp_path / "m")
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for function in proto.meta_graphs[0].graph_def.library.function:
        for node_ in function.node_def:
            if node_.op in {"Tanh", "AddV2", "Add"}:
                node_.attr["T"].type = tf.int32.as_datatype_enum
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    module = hubkeras.load(path)
    x = tf.Variable(tf.ones([1, 4]))
    with tf.GradientTape(), pytest.raises(FormatError, match="Cannot differentiate signature 'default'"):
        module({"x": x, "steps": 2}, as_dict=True)


@pytest.mark.parametrize(
    ("op", "package"),
    [
        ("SentencepieceTokenizeOp", "tensorflow_text"),
        ("WordpieceTokenizeWithOffsets", "tensorflow_text"),
        ("FastWordpieceTokenizeWithOffsets", "tensorflow_text"),
        ("SentencepieceEncodeSparse", "tf_sentencepiece"),
        ("SentencepieceIdToPiece", "tf_sentencepiece"),
        ("NormalizeUTF8WithOffsetsMap", "tensorflow_text"),
        ("WhitespaceTokenizeWithOffsetsV2", "tensorflow_text"),
        ("TFText>NgramsStringJoin", "tensorflow_text"),
        ("DecodeProtoSparseV2", "struct2tensor"),
        ("IO>AudioResample", "tensorflow_io"),
        ("Addons>Gelu", "tensorflow_addons"),
        ("SimpleMLInferenceOpWithHandle", "tensorflow_decision_forests"),
        ("Scann>ScannSearch", "scann"),
    ],
)
def test_an_unknown_op_names_the_package_that_brings_it(tmp_path, op, package):
    """The message names the op, the module and what to import; the op may stand in a library function."""
    path = write_module(tmp_path / "texts", meta_graph(placeholder("x"), node("y", op, "x"), signatures=SIGNATURE))
    with pytest.raises(NotImplementedError) as caught:
        hubkeras.load(path)([1.0])
    assert all(word in str(caught.value) for word in (op, str(path), f"import {package}", "signature 'default'"))


SIGNATURE = {"default": ({"x": "x:0"}, {"default": "y:0"})}


def test_an_op_of_no_known_package_says_how_to_register_one(tmp_path):
    path = write_module(tmp_path / "m", meta_graph(placeholder("x"), node("y", "MyOwn", "x"), signatures=SIGNATURE))
    with pytest.raises(NotImplementedError, match=r"tf\.load_op_library"):
        hubkeras.load(path)([1.0])


@pytest.mark.parametrize(
    "name", ["many_tables", "ref_control_flow", "functional_control_flow", "library_functions", "losses_and_updates"]
)
def test_threads_that_call_first_at_once(name):
    """Threads that call a module for the first time at the same moment get what one alone gets, from one build."""
    record = read(name)
    module = hubkeras.load(record.path)
    entry = record.content["tag_sets"][0]
    call = next(c for c in entry["calls"] if c["signature"] == "default" and "raises" not in c)
    inputs = {k: record.tensor(spec) for k, spec in call["inputs"].items()}
    barrier, found = threading.Barrier(6), []

    def work():
        barrier.wait()
        found.append(module(inputs, as_dict=True))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6
    for outputs in found:
        for k, spec in call["outputs"].items():
            record.check(outputs[k], spec, what=k)
    assert len(module.variant()._signatures) == 1


def test_a_pipeline_with_parallel_calls():
    """A module with tables and control flow runs in `tf.data.Dataset.map`, in parallel, in order."""
    module = hubkeras.load(MODULES / "text_paths")
    words = [f"w{i} cat" for i in range(64)]
    one = module(words, as_dict=True)
    batches = tf.data.Dataset.from_tensor_slices(words).batch(4)
    mapped = batches.map(lambda x: module(x, as_dict=True)["hash"], num_parallel_calls=4).unbatch()
    assert list(mapped.as_numpy_iterator()) == one["hash"].numpy().tolist()


def test_a_module_that_is_first_called_while_a_pipeline_is_traced():
    """What a traced function builds belongs to the module, not to the function."""
    module = hubkeras.load(MODULES / "many_tables")
    images = tf.data.Dataset.from_tensor_slices([["a", "b"]]).map(module, num_parallel_calls=tf.data.AUTOTUNE)
    inside = next(iter(images))
    np.testing.assert_array_equal(inside, module(["a", "b"]))
    np.testing.assert_array_equal(inside, tf.function(module)(tf.constant(["a", "b"])))


def test_two_loads_never_share_state(tmp_path):
    """Variables and tables of two loads of one module are apart; signatures and variants of one load share them."""
    path = _sum_module(tmp_path / "m")
    one, other = hubkeras.load(path), hubkeras.load(path)
    one.variables[0].assign([5.0, 5.0])
    assert one([[0.0, 0.0]]).numpy().tolist() == [[5.0, 5.0]]
    assert other([[0.0, 0.0]]).numpy().tolist() == [[1.0, 2.0]]
    one, other = (hubkeras.load(MODULES / "mutable_table") for _ in range(2))
    record = read("mutable_table")
    entry = record.content["tag_sets"][0]
    insert = next(c for c in entry["calls"] if c["signature"] != "default")
    look = next(c for c in entry["calls"] if c["signature"] == "default")
    fed = {k: record.tensor(s) for k, s in insert["inputs"].items()}
    asked = {k: record.tensor(s) for k, s in look["inputs"].items()}
    before = other(asked, as_dict=True)
    one(fed, signature=insert["signature"], as_dict=True)
    after = other(asked, as_dict=True)
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_a_function_outlives_the_call_that_traced_it():
    """Bodies of functional control flow stay as long as any function that holds them, gradient included."""
    record = read("functional_control_flow")
    module = hubkeras.load(record.path)
    inner = tf.function(lambda x: module({"x": x, "steps": 2}, as_dict=True)["default"])
    outer = tf.function(lambda x: 2.0 * inner(x))
    x = tf.ones((2, 4))
    with tf.GradientTape() as tape:
        tape.watch(x)
        first = outer(x)
    module.variant()._signatures.clear()
    gc.collect()
    gradient = tape.gradient(first, x)
    assert gradient is not None
    np.testing.assert_array_equal(outer(x), first)


LOADS = """
import gc, sys
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context
import hubkeras

def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

def use(path, differentiate):
    module = hubkeras.load(path)
    x = tf.ones((2, 8))
    with tf.GradientTape() as tape:
        outputs = module({"x": x, "words": tf.constant(["a", "c"])}, as_dict=True)
        loss = sum(tf.reduce_sum(outputs[k]) for k in ("looped", "chosen", "called", "default"))
    if differentiate:
        gradients = tape.gradient(loss, module.trainable_variables)
        assert all(g is not None for g in gradients), gradients
    assert outputs["ids"].numpy().tolist() == [0, 2]
    module.signatures["default"](x=x, words=tf.constant(["b", "b"]))

measured, functions = [], []
for i in range(55):
    use(sys.argv[1], differentiate=i % 5 == 0)
    if i == 3:
        gc.collect()
        gc.freeze()  # what the imports have made is not looked through again, which takes as long as a load
    if i >= 4:
        measured.append(resident())
        functions.append(len(context.context().list_function_names()))
print(*measured)
print(*functions)
"""


def _big_module(path):
    """25 MB of weights, a table, v1 and functional control flow, and a library function."""
    v1 = tf.compat.v1

    @tf.function(autograph=False)
    def square(x):
        return x * x

    def build(tags):
        x, words = v1.placeholder(tf.float32, [None, 8], "x"), v1.placeholder(tf.string, [None], "words")
        big, small = variable("big", np.zeros((6_400_000 // 8, 8), np.float32)), variable("small", np.eye(8, dtype="f"))
        looped = v1.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(y @ small)), [0, x])[1]
        before = tf.compat.v1.control_flow_v2_enabled()
        tf.compat.v1.enable_control_flow_v2()
        chosen = tf.cond(tf.reduce_sum(x) > 0, lambda: x @ small, lambda: x)
        if not before:
            tf.compat.v1.disable_control_flow_v2()
        called = square(x @ small)
        near = tf.gather(big, tf.zeros([2], tf.int32))
        table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["a", "b", "c"], tf.range(3, dtype=tf.int64)), -1
        )
        v1.add_to_collection("table_initializer", table._init_op)
        outputs = {"looped": looped, "chosen": chosen, "called": called, "default": near, "ids": table.lookup(words)}
        return {"default": ({"x": x, "words": words}, outputs)}

    return write(path, build)


def test_a_load_leaves_nothing_behind(tmp_path):
    """Memory stays level while a module of 25 MB is loaded, called, differentiated and dropped 50 times."""
    path = _big_module(tmp_path / "big")
    assert sum(f.stat().st_size for f in path.rglob("*")) > 25_000_000
    run = forks.run(LOADS, path)
    assert run.returncode == 0, run.stderr[-3000:]
    measured, functions = ([float(word) for word in line.split()] for line in run.stdout.splitlines())
    assert len(measured) == 51
    assert len(set(functions)) == 1, "functions stay registered with the process"
    # A load or two may not have been given back to the system yet, which may have taken pages for a while; what stays
    # for good raises the low values too.
    early, late = (statistics.quantiles(part, n=4)[0] for part in (measured[:20], measured[-20:]))
    assert late < early + 5, f"{measured[0]:.0f} MB grew to {measured[-1]:.0f} MB: {measured}"


def test_a_constant_output(tmp_path):
    """A signature may give what needs no input at all."""
    graph = meta_graph(const("c", np.float32([1, 2])), signatures={"default": ({}, {"default": "c:0"})})
    assert hubkeras.load(write_module(tmp_path / "m", graph))().numpy().tolist() == [1.0, 2.0]
