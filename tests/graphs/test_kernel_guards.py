"""Ops that would end the process raise an error where their inputs are of another shape or value than they expect."""

import numpy as np
import pytest
import tensorflow as tf
from savedmodel.builder import AttrValue, const, dtype, function, node
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from hubkeras.errors import FormatError
from hubkeras.graphs.kernel_guards import guard_functions, guard_meta_graph

FLOAT = {"T": dtype("float32")}
INDICES = {"Tindices": dtype("int32")}


def meta_graph(*nodes, functions=()):
    graph = graph_pb2.GraphDef(node=nodes)
    graph.library.function.extend(functions)
    return meta_graph_pb2.MetaGraphDef(graph_def=graph)


def hidden(name, value):
    """A tensor whose shape nothing tells before the graph runs."""
    value = const(f"{name}_value", value)
    shape = AttrValue()
    shape.shape.unknown_rank = True
    return [value, node(name, "PlaceholderWithDefault", f"{name}_value", dtype=value.attr["dtype"], shape=shape)]


def run(op, *values, hide=True, **attrs):
    """Runs an op, whose result must come last of four: Grappler leaves smaller graphs alone."""
    inputs = [name for i, _ in enumerate(values) for name in [f"in{i}"]]
    nodes = [n for i, v in enumerate(values) for n in (hidden(f"in{i}", v) if hide else [const(f"in{i}", v)])]
    graph = meta_graph(*nodes, node("op", op, *inputs, **attrs))
    guard_meta_graph(graph, "a graph")

    def body():
        return tf.graph_util.import_graph_def(graph.graph_def, return_elements=["op:0"], name="")

    return tf.compat.v1.wrap_function(body, [])()[0].numpy()


def ones(*shape):
    return np.ones(shape, np.float32)


def ints(*values):
    return np.array(values, np.int32)


CELL = [ones(2, 3), ones(2, 4), ones(2, 4), ones(7, 16), ones(4), ones(4), ones(4), ones(16)]
IMAGES = ones(1, 4, 4, 1)
MISFITS = {
    "scalar for boxes": ("CropAndResize", [IMAGES, np.float32(1), ints(0), ints(2, 2)], FLOAT),
    "three numbers for a box": ("CropAndResize", [IMAGES, ones(1, 3), ints(0), ints(2, 2)], FLOAT),
    "vector for a state": ("LSTMBlockCell", [*CELL[:2], ones(4), *CELL[3:]], FLOAT),
    "scalar per channel": ("FakeQuantWithMinMaxVarsPerChannel", [np.float32(1), ones(2), ones(2)], {}),
    "no points at all": ("RFFT", [ones(2, 4), ints(0)], {}),
    "no columns": ("IRFFT2D", [np.ones((2, 2), np.complex64), ints(2, 0)], {}),
    "vector for images": ("LRNGrad", [IMAGES, IMAGES, ones(2)], FLOAT),
    "vector for a limit": (
        "QuantizeAndDequantizeV3",
        [ones(2), ones(2), np.float32(2), np.int32(8)],
        FLOAT,
    ),
    "vector for rows of numbers": (
        "ScatterNd",
        [np.zeros((2, 2, 1), np.int32), ones(2), ints(3)],
        {**FLOAT, **INDICES},
    ),
    "scalar for rows to change": (
        "TensorScatterUpdate",
        [ones(3), np.zeros((2, 1), np.int32), np.float32(1)],
        {**FLOAT, **INDICES},
    ),
    "scalar for rows": (
        "RaggedGather",
        [np.array([0, 1, 3]), ones(3), np.int32(1)],
        {
            "Tvalues": dtype("float32"),
            "Tindices": dtype("int32"),
            "PARAMS_RAGGED_RANK": AttrValue(i=1),
            "OUTPUT_RAGGED_RANK": AttrValue(i=1),
        },
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_inputs_that_would_end_the_process(case):
    op, values, attrs = MISFITS[case]
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(op, *values, **attrs)


@pytest.mark.parametrize("case", ["scalar per channel", "no points at all"])
def test_misfits_that_are_known_when_the_graph_is_built(case):
    op, values, attrs = MISFITS[case]
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        run(op, *values, hide=False, **attrs)


@pytest.mark.parametrize("hide", [False, True])
def test_inputs_that_fit(hide):
    boxes, sound = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], np.float32), ones(2, 4)
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    cropped = run("CropAndResize", image, boxes, ints(0, 0), ints(2, 2), hide=hide, **FLOAT)
    np.testing.assert_allclose(cropped, tf.image.crop_and_resize(image, boxes, [0, 0], [2, 2]))
    np.testing.assert_allclose(run("RFFT", sound, ints(3), hide=hide), tf.signal.rfft(sound, [3]), atol=1e-6)
    state = run("LSTMBlockCell", *CELL, hide=hide, **FLOAT)
    np.testing.assert_allclose(state, run("LSTMBlockCell", *CELL, hide=not hide, **FLOAT))
    limits = run("FakeQuantWithMinMaxVarsPerChannel", ones(3, 2), -ones(2), ones(2), hide=hide)
    np.testing.assert_allclose(limits, ones(3, 2), atol=0.01)

    scattered = run("ScatterNd", ints(2, 0)[:, None], boxes, ints(3, 4), hide=hide, **FLOAT, **INDICES)
    np.testing.assert_allclose(scattered, tf.scatter_nd([[2], [0]], boxes, [3, 4]))
    nothing = run("ScatterNd", np.zeros((0, 1), np.int32), ones(0, 4), ints(3, 4), hide=hide, **FLOAT, **INDICES)
    np.testing.assert_allclose(nothing, np.zeros((3, 4)))


def test_a_list_is_not_written_before_its_beginning():
    def scatter(*indices):
        nodes = [
            node(
                "list", "TensorListReserve", "shape", "size", element_dtype=dtype("float32"), shape_type=dtype("int32")
            )
        ]
        nodes += [const("shape", ints(2)), const("size", np.int32(3)), const("values", ones(1, 2))]
        taken = node(
            "op", "TensorListScatterIntoExistingList", "list", "values", "indices", element_dtype=dtype("float32")
        )
        graph = meta_graph(*nodes, *hidden("indices", ints(*indices)), taken)
        graph.graph_def.node.add(name="length", op="TensorListLength", input=["op"])
        guard_meta_graph(graph, "a graph")

        def body():
            return tf.graph_util.import_graph_def(graph.graph_def, return_elements=["length:0"], name="")

        return tf.compat.v1.wrap_function(body, [])()[0]

    assert scatter(2) == 3
    for index in (-1, 2**31 - 1):
        with pytest.raises(tf.errors.InvalidArgumentError):
            scatter(index)


def test_constants_that_fit_need_no_check():
    graph = meta_graph(*hidden("x", ones(2, 4)), const("n", ints(4)), node("op", "RFFT", "x", "n"))
    count = len(graph.graph_def.node)
    guard_meta_graph(graph, "a graph")
    assert len(graph.graph_def.node) == count


def test_functions():
    body = function(
        "f", node("op", "CropAndResize", "a", "b", "i", "s", **FLOAT), args="abis", returns={"y": "op:crops:0"}
    )
    guard_functions({"f": body}, "a module")
    (op,) = (n for n in body.node_def if n.op == "CropAndResize")
    assert list(op.input) == [
        "op/checked_0/ensure:output:0",
        "op/checked_1/reshape:output:0",
        "op/checked_2/ensure:output:0",
        "op/checked_3/ensure:output:0",
    ]


def test_a_function_in_the_place_of_a_check():
    body = function("f", node("op", "RFFT", "a", "b"), args="ab", returns={"y": "op:output:0"})
    replaced = function("EnsureShape", args="a", returns={"y": "a"})
    with pytest.raises(FormatError, match=r"Received: \['EnsureShape'\]"):
        guard_functions({"f": body, "EnsureShape": replaced}, "a module")


@pytest.mark.parametrize("limit", [0, 2])
def test_loops_and_branches_of_v1_with_their_gradients(limit):
    with tf.Graph().as_default():
        tf.compat.v1.disable_control_flow_v2()
        try:
            x = tf.compat.v1.placeholder(tf.float32, name="x")
            limits, box = tf.constant([1.0, 2.0]), [[0.0, 0, 1, 1]]

            def turn(i, y):
                y = tf.quantization.fake_quant_with_min_max_vars_per_channel(y, -limits, limits)
                y = tf.compat.v1.cond(i > 0, lambda: tf.image.crop_and_resize(y, box, [0], [2, 2]), lambda: y)
                return i + 1, y * 0.5

            _, y = tf.compat.v1.while_loop(lambda i, _: i < limit, turn, [tf.constant(0), x])
            plain = tf.compat.v1.train.export_meta_graph(clear_devices=True)
            name = y.name
        finally:
            tf.compat.v1.enable_control_flow_v2()
    guarded = meta_graph_pb2.MetaGraphDef()
    guarded.CopyFrom(plain)
    guard_meta_graph(guarded, "a graph")
    assert len(guarded.graph_def.node) > len(plain.graph_def.node)

    def results(graph):
        with tf.Graph().as_default() as into, tf.compat.v1.Session() as session:
            tf.compat.v1.disable_control_flow_v2()
            try:
                tf.compat.v1.train.import_meta_graph(graph)
                y, x = into.get_tensor_by_name(name), into.get_tensor_by_name("x:0")
                (gradient,) = tf.compat.v1.gradients(y, x)
            finally:
                tf.compat.v1.enable_control_flow_v2()
            return session.run([y, gradient], {x: np.linspace(-1, 1, 8).reshape(1, 2, 2, 2)})

    for found, expected in zip(results(guarded), results(plain), strict=True):
        np.testing.assert_allclose(found, expected)
