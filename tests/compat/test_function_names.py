"""Two modules in one graph whose functions have one name."""

import numpy as np
import pytest
import tensorflow as tf
from savedmodel.builder import const, dtype, func, function, meta_graph, node, placeholder, write_module

import hubkeras.compat.v1 as hub
from compat.graphs import session, v1


def scaling_module(path, factor):
    """Writes a module that multiplies by a number, by a function that calls another one."""
    f32 = dtype("float32")
    scale = const("factor", np.float32(factor)), node("y", "Mul", "x", "factor:output:0", T=f32)
    inner = function("inner", *scale, args=["x"], returns={"out": "y:z:0"}, of="float32")
    calls = node("call", "inner", "x")
    outer = function("outer", calls, args=["x"], returns={"out": "call:out:0"}, of="float32")
    lists = {"Tin": type(f32)(list={"type": [1]}), "Tout": type(f32)(list={"type": [1]})}
    nodes = [placeholder("x"), node("y", "PartitionedCall", "x", f=func("outer"), **lists)]
    signatures = {"default": ({"x": "x:0"}, {"default": "y:0"})}
    return write_module(path, meta_graph(nodes, signatures=signatures, functions=[inner, outer]))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("functions")
    return [scaling_module(folder / "doubling", 2), scaling_module(folder / "tripling", 3)]


def test_each_module_calls_its_own(paths):
    with tf.Graph().as_default() as graph:
        doubling, tripling = (hub.Module(path) for path in paths)
        outputs = [tripling([1.0]), doubling([1.0]), tripling([10.0]), doubling([10.0])]
        with session() as sess:
            assert [value.item() for value in sess.run(outputs)] == [3.0, 2.0, 30.0, 20.0]
    names = sorted(function.signature.name for function in graph.as_graph_def().library.function)
    assert len(names) == 4
    assert {"inner", "outer"} < set(names)


def test_functions_of_functions_do_not_meet_in_the_process(paths):
    for path, result in zip([*paths, *paths], [2.0, 3.0, 2.0, 3.0], strict=True):
        apply = v1.wrap_function(lambda x, path=path: hub.Module(path)(x), [tf.TensorSpec([None], tf.float32)])
        np.testing.assert_array_equal(apply(tf.ones([1])), [result])
