"""Calls of library functions: gradients through them, and the gradients that they bring along."""

import numpy as np
import pytest
import tensorflow as tf
from building import v1, variable, write
from savedmodel.builder import AttrValue, const, dtype, func, meta_graph, node, shape, variable_def, write_module
from savedmodel.builder import function as builder_function
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import function

import hubkeras
from hubkeras.errors import FormatError, UnsupportedError
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.inlining import inline_calls
from hubkeras.graphs.subgraph import Subgraph, by_name

FLOAT = dtype("float32")

X = np.ones((1, 3), np.float32)
W = np.float32([1, 2, 3])


def seven(x, gradient):
    return gradient * 7 + 0 * x


def module_of(path, use, grad_func=None, body=lambda x: x * x):
    """Applies `use` to the input, the weight and a Defun."""

    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")
        gradient = function.Defun(tf.float32, tf.float32)(grad_func) if grad_func else None
        square = function.Defun(tf.float32, func_name="square", grad_func=gradient)(body)
        return {"default": ({"x": x}, {"default": use(x, variable("w", W), square)})}

    return hubkeras.load(write(path, build))


def gradient_of(module):
    w = module.variables[0]
    with tf.GradientTape() as tape:
        y = module(X)
    return tape.gradient(y, w)


def test_a_gradient_goes_through_a_call(tmp_path):
    module = module_of(tmp_path / "m", lambda x, w, square: square(square(x * w)))
    np.testing.assert_allclose(gradient_of(module), 4 * W**3)


@pytest.mark.parametrize("in_function", [False, True])
def test_a_functions_own_gradient_is_used(tmp_path, in_function):
    """Two calls in a row: 7 * 7, not the derivative of the fourth power."""
    module = module_of(tmp_path / "m", lambda x, w, square: square(square(x * w)), seven)
    run = tf.function(gradient_of, autograph=False) if in_function else gradient_of
    np.testing.assert_allclose(run(module), [49, 49, 49])
    np.testing.assert_allclose(module(X)[0], W**4)


def test_its_own_gradient_in_a_loop(tmp_path):
    def use(x, w, square):
        return v1.while_loop(
            lambda i, _: i < 2, lambda i, h: (i + 1, tf.ensure_shape(square(h), [None, 3])), [0, x * w]
        )[1]

    np.testing.assert_allclose(gradient_of(module_of(tmp_path / "m", use, seven)), [49, 49, 49])


def test_two_modules_with_functions_of_one_name(tmp_path):
    """Each keeps its own body and its own gradient."""
    use = lambda x, w, square: square(x * w)  # noqa: E731
    one = module_of(tmp_path / "one", use, seven)
    other = module_of(tmp_path / "other", use, lambda x, gradient: gradient * 5 + 0 * x, lambda x: x + 1)
    np.testing.assert_allclose(gradient_of(one), [7, 7, 7])
    np.testing.assert_allclose(gradient_of(other), [5, 5, 5])
    np.testing.assert_allclose(other(X)[0], W + 1)


def test_chance_beside_a_functions_own_gradient(tmp_path):
    """What is drawn outside of the function is the same in the gradient: y = f(xw) * r, dy/dw = 7 * r."""
    module = module_of(tmp_path / "m", lambda x, w, square: square(x * w) * tf.random.uniform([3]), seven)
    w = module.variables[0]
    with tf.GradientTape() as tape:
        y = module(X)
    np.testing.assert_allclose(tape.gradient(y, w), 7 * y[0] / W**2, rtol=1e-5)


def test_chance_in_a_function_with_a_gradient(tmp_path):
    """The function would draw anew for the gradient of what follows it; so it is refused."""
    module = module_of(
        tmp_path / "m", lambda x, w, square: square(x * w) ** 2, seven, lambda x: x * tf.random.uniform([3])
    )
    assert not np.array_equal(module(X), module(X))
    with tf.GradientTape(), pytest.raises(UnsupportedError, match="RandomUniform"):
        module(X)


def test_second_derivatives_of_a_plain_call(tmp_path):
    module = module_of(tmp_path / "m", lambda x, w, square: square(x * w))
    with tf.GradientTape() as outer:
        gradient = gradient_of(module)
    np.testing.assert_allclose(outer.gradient(gradient, module.variables[0]), [2, 2, 2])


def reader(of_data):
    """A function that reads the variable whose handle it gets, and adds what else it gets."""
    read = node("read", "ReadVariableOp", "handle", dtype=FLOAT)
    total = node("sum", "AddV2", "read:value:0", "other" if of_data else "read:value:0", T=FLOAT)
    args = ["handle", "other"] if of_data else ["handle"]
    made = builder_function("reader", read, total, args=args, returns={"y": "sum:z:0"}, of="float32")
    made.signature.input_arg[0].type = types_pb2.DT_RESOURCE
    return made


@pytest.mark.parametrize("op", ["StatefulPartitionedCall", "reader"])
@pytest.mark.parametrize("of_data", [False, True])
def test_a_call_waits_for_what_the_graph_ordered_before_it(tmp_path, op, of_data):
    """A function that reads a variable after an assignment, ordered by a control edge or by data: 1 + 10, twice."""
    assign = node("assign", "AssignAddVariableOp", "w", "ten", dtype=FLOAT)
    after = node("after", "ReadVariableOp", "w", "^assign", dtype=FLOAT)
    inputs = ["w", "after"] if of_data else ["w", "^assign"]
    types = [types_pb2.DT_RESOURCE, types_pb2.DT_FLOAT][: 1 + of_data]
    attributes = {
        "f": func("reader"),
        "Tin": AttrValue(list=AttrValue.ListValue(type=types)),
        "Tout": AttrValue(list=AttrValue.ListValue(type=[types_pb2.DT_FLOAT])),
    }
    call = node("call", op, *inputs, **({} if op == "reader" else attributes))
    nodes = [node("w", "VarHandleOp", dtype=FLOAT, shape=shape(2)), const("ten", np.float32([10, 10])), assign, after]
    graph = meta_graph(
        *nodes,
        call,
        node("y", "Identity", "call", T=FLOAT),
        signatures={"default": ({}, {"default": "y:0"})},
        functions=[reader(of_data)],
        collections={"variables": [variable_def("w")]},
    )
    module = hubkeras.load(write_module(tmp_path / "m", graph, values={"w": np.float32([1, 1])}))
    for times in (1, 2, 3):
        assert module().numpy().tolist() == [2 * (1 + 10 * times)] * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.signature.input_arg.add(name="more", type=1), "for the 2 that it takes"),
        (lambda f: f.ret.clear(), "no result 'y'"),
        (lambda f: f.ret.__setitem__("y", "gone:z:0"), "which nothing in it gives"),
        (lambda f: f.ret.__setitem__("y", "sum:z:7"), "which nothing in it gives"),
    ],
)
def test_functions_that_do_not_fit_their_calls(change, words):
    double = builder_function("double", node("sum", "AddV2", "x", "x"), args=["x"], returns={"y": "sum:z:0"})
    change(double)
    graph = Subgraph(by_name([const("a", "x"), node("call", "double", "a")]), FunctionLibrary({"double": double}))
    with pytest.raises(FormatError, match=words):
        inline_calls(graph)
