import pytest

from hubkeras.savedmodel.pruning import prune
from savedmodel.builder import const, node, placeholder


@pytest.fixture
def nodes():
    items = [
        placeholder("x"),
        const("c", 1.0),
        node("split", "Split", "x"),
        node("loop", "NextIteration", "merge:0"),
        node("merge", "Merge", "split:1", "loop"),
        node("y", "Identity", "merge", "^c"),
    ]
    return {item.name: item for item in items}


def names(nodes, *fetches, feeds=()):
    return sorted(item.name for item in prune(nodes, fetches, feeds).nodes)


def test_it_stops_at_fed_tensors_but_not_at_their_siblings(nodes):
    assert names(nodes, "y", feeds=["split:1"]) == ["c", "loop", "merge", "y"]
    assert names(nodes, "merge", feeds=["split:0"]) == ["loop", "merge", "split", "x"]
    assert names(nodes, "x:0", feeds=["x:0"]) == []


def test_a_control_input_needs_its_op_even_where_a_tensor_of_it_is_fed(nodes):
    assert names(nodes, "y", feeds=["merge:0", "c:0"]) == ["c", "y"]


def test_one_tensor_has_several_names(nodes):
    nodes["merge"].input[0] = "split:01"
    assert names(nodes, "merge", feeds=["split:1"]) == ["loop", "merge"]
