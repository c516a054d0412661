import pytest
from tensorflow.core.framework import graph_pb2, types_pb2

from hubkeras.errors import FormatError
from hubkeras.savedmodel.graph_index import (
    attribute,
    constant_strings,
    data_inputs,
    dtype_name,
    index_graph,
    shape_tuple,
)
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.refs import Ref
from savedmodel.builder import const, function, node, placeholder, shape, variable


def names(nodes):
    return sorted(item.name for item in nodes)


@pytest.fixture
def graph():
    nodes = [
        placeholder("x"),
        const("c", 1.0),
        node("split", "Split", "x"),
        node("loop", "NextIteration", "merge:0"),
        node("merge", "Merge", "split:1", "loop"),
        node("y", "Identity", "merge", "^c"),
        *variable("w"),
    ]
    return index_graph(graph_pb2.GraphDef(node=nodes))


def test_lookup_knows_variables(graph):
    assert names(graph.variables) == ["w"]
    assert len(graph.nodes) == 10


def test_reachable_follows_data_control_inputs_and_cycles(graph):
    assert names(prune(graph.nodes, ["y:0"]).nodes) == ["c", "loop", "merge", "split", "x", "y"]


def test_names_are_unique():
    twice = graph_pb2.GraphDef(node=[placeholder("x"), const("x", 1)])
    with pytest.raises(FormatError, match=r"two nodes.*'x' again"):
        index_graph(twice)
    library = graph_pb2.GraphDef()
    library.library.function.extend([function("f"), function("f")])
    with pytest.raises(FormatError, match=r"two functions.*'f' again"):
        index_graph(library)


def test_reachable_passes_over_missing_nodes(graph):
    assert names(prune(graph.nodes, ["nowhere", "c"]).nodes) == ["c"]


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (types_pb2.DT_FLOAT, "float32"),
        (types_pb2.DT_DOUBLE, "float64"),
        (types_pb2.DT_HALF, "float16"),
        (types_pb2.DT_BFLOAT16, "bfloat16"),
        (types_pb2.DT_FLOAT8_E5M2, "float8_e5m2"),
        (types_pb2.DT_INT64, "int64"),
        (types_pb2.DT_BOOL, "bool"),
        (types_pb2.DT_STRING, "string"),
        (types_pb2.DT_COMPLEX64, "complex64"),
        (types_pb2.DT_QINT8, "qint8"),
        (types_pb2.DT_RESOURCE, "resource"),
        (types_pb2.DT_FLOAT_REF, "float32"),
        (types_pb2.DT_INVALID, "invalid"),
    ],
)
def test_dtype_names_are_those_of_tensorflow(number, name):
    assert dtype_name(number) == name


def test_a_dtype_of_the_future():
    with pytest.raises(FormatError, match="Received: 9999"):
        dtype_name(9999)


def test_shapes():
    assert shape_tuple(shape(2, 3).shape) == (2, 3)
    assert shape_tuple(shape().shape) == ()
    unknown = shape(2).shape
    unknown.dim[0].size = -1
    assert shape_tuple(unknown) == (None,)
    unknown.unknown_rank = True
    assert shape_tuple(unknown) is None


def test_attributes_are_read_without_writing_them():
    proto = node("n", "Op")
    assert attribute(proto, "dtype").type == types_pb2.DT_INVALID
    assert len(proto.attr) == 0


def test_constant_strings():
    assert constant_strings(const("c", ["a", "b"])) == ("a", "b")
    assert constant_strings(const("c", 1)) is None
    assert constant_strings(placeholder("p", "string")) is None
    assert constant_strings(None) is None


def test_data_inputs_are_counted_without_control_inputs():
    assert data_inputs(node("n", "Op", "^c", "a", "^d", "b:1")) == [Ref("a", 0), Ref("b", 1)]
