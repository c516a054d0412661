import pytest

from hubkeras.savedmodel.graph_index import index_graph
from hubkeras.savedmodel.saver import read_saver_keys
from savedmodel.builder import const, meta_graph, node, variable


def keys(*nodes, restore_op="save/restore_all"):
    proto = meta_graph(*nodes)
    proto.saver_def.restore_op_name = restore_op
    return read_saver_keys(proto, index_graph(proto.graph_def))


RESTORE = [
    *variable("w"),
    *variable("v", op="VariableV2"),
    const("save/names", ["w/ExponentialMovingAverage", "v"]),
    const("save/slices", ["", ""]),
    const("save/file", "model"),
    node("save/RestoreV2", "RestoreV2", "save/file", "save/names", "save/slices"),
    node("save/Identity", "Identity", "save/RestoreV2"),
    node("save/Assign", "AssignVariableOp", "w", "save/Identity"),
    node("save/Assign_1", "Assign", "v", "save/RestoreV2:1"),
    node("save/restore_shard", "NoOp", "^save/Assign", "^save/Assign_1"),
    node("save/restore_all", "NoOp", "^save/restore_shard"),
]


def test_keys_of_what_the_saver_assigns():
    assert keys(RESTORE) == {"w": "w/ExponentialMovingAverage", "v": "v"}


def test_a_saver_need_not_restore_everything():
    assert keys(RESTORE, restore_op="save/Assign_1") == {"v": "v"}


@pytest.mark.parametrize("restore_op", ["", "nowhere", "w"])
def test_no_saver(restore_op):
    assert keys(RESTORE, restore_op=restore_op) is None


@pytest.mark.parametrize(
    "broken",
    [
        node("a", "Assign", "v", "save/RestoreV2:9"),
        node("a", "Assign", "v", "save/RestoreV2:x"),
        node("a", "Assign", "v", "nowhere"),
        node("a", "Assign", "v"),
        node("a", "Assign", "v", "a"),
        node("a", "Assign", "v", "save/file"),
    ],
)
def test_broken_restore_graphs_tell_nothing(broken):
    assert keys(RESTORE, broken, restore_op="a") is None


def test_values_in_a_circle():
    circle = [node("one", "Identity", "two"), node("two", "Identity", "one"), node("a", "Assign", "v", "one")]
    assert keys(RESTORE, circle, restore_op="a") is None


def test_values_that_restore_nothing_known():
    restore = node("r", "RestoreV2", "save/file", "w", "save/slices")
    assert keys(RESTORE, restore, node("a", "Assign", "v", "r"), restore_op="a") is None
    assert keys(RESTORE, node("r", "RestoreV2"), node("a", "Assign", "v", "r"), restore_op="a") is None
