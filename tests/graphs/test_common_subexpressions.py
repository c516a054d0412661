"""Equal nodes are made one, and nothing else is."""

from __future__ import annotations

from tensorflow.core.framework import graph_pb2, types_pb2
from tensorflow.python.framework import tensor_util

from hubkeras.graphs.common_subexpressions import merge_common_subexpressions
from hubkeras.graphs.subgraph import Subgraph, by_name


def graph(*nodes):
    """Builds NodeDefs from (name, op, inputs, value)."""
    made = graph_pb2.GraphDef()
    for name, op, inputs, value in nodes:
        node = made.node.add(name=name, op=op, input=inputs)
        if value is not None:
            node.attr["dtype"].type = types_pb2.DT_FLOAT
            node.attr["value"].tensor.CopyFrom(tensor_util.make_tensor_proto(value, types_pb2.DT_FLOAT))
    return list(made.node)


def merged(nodes, kept=()):
    graph = merge_common_subexpressions(Subgraph(by_name(nodes), fetches=tuple(kept)))
    return {n.name: list(n.input) for n in graph.nodes.values()}


def test_equal_constants_and_what_is_made_of_them():
    nodes = graph(
        ("a", "Const", [], 1.0),
        ("b", "Const", [], 1.0),
        ("c", "Const", [], 2.0),
        ("x", "Add", ["a", "c"], None),
        ("y", "Add", ["b:0", "c"], None),
        ("z", "Mul", ["x", "y"], None),
    )
    assert merged(nodes) == {"a": [], "c": [], "x": ["a", "c"], "z": ["x", "x"]}


def test_what_is_wanted_stays_under_its_name():
    nodes = graph(("a", "Const", [], 1.0), ("b", "Const", [], 1.0), ("z", "Neg", ["b"], None))
    assert merged(nodes, ["b"]) == {"a": [], "b": [], "z": ["b"]}


def test_state_and_chance_stay_apart():
    nodes = graph(
        ("s", "Const", [], [2.0]),
        ("r1", "RandomUniform", ["s"], None),
        ("r2", "RandomUniform", ["s"], None),
        ("q1", "ReadVariableOp", ["v"], None),
        ("q2", "ReadVariableOp", ["v"], None),
        ("p1", "Placeholder", [], None),
        ("p2", "Placeholder", [], None),
    )
    assert len(merged(nodes)) == 7


def test_a_node_that_waits_for_another_stays():
    nodes = graph(("p", "NoOp", [], None), ("a", "Const", ["^p"], 1.0), ("b", "Const", [], 1.0))
    assert set(merged(nodes)) == {"p", "a", "b"}


def test_control_edges_follow():
    nodes = graph(("a", "Const", [], 1.0), ("b", "Const", [], 1.0), ("z", "NoOp", ["^b"], None))
    assert merged(nodes)["z"] == ["^a"]


def test_later_inputs_are_followed_too():
    """A loop's merge takes a node that comes after it."""
    nodes = graph(("m", "Merge", ["a", "n"], None), ("a", "Const", [], 1.0), ("n", "Const", [], 1.0))
    assert merged(nodes)["m"] == ["a", "a"]
