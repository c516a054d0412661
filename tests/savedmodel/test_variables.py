from pathlib import Path

import pytest
from tensorflow.core.framework import variable_pb2

from hubkeras.errors import CorruptFileError, FormatError, MissingFileError
from hubkeras.savedmodel.checkpoint import Checkpoint, CheckpointEntry
from hubkeras.savedmodel.description import PartitionSpec
from hubkeras.savedmodel.graph_index import index_graph
from hubkeras.savedmodel.variables import read_variables
from savedmodel.builder import const, dtype, meta_graph, node, shape, variable, variable_def

PREFIX = Path("module/variables/variables")


def checkpoint(**tensors):
    entries = {name.replace("__", "/"): CheckpointEntry(*entry) for name, entry in tensors.items()}
    return Checkpoint(PREFIX, entries)


def read(proto, stored, *, follow_saver=False):
    graph = index_graph(proto.graph_def)
    return read_variables(proto, graph, stored, prefix=PREFIX, follow_saver=follow_saver)


def everywhere(name="w", **options):
    return {"variables": [variable_def(name, **options)], "trainable_variables": [variable_def(name, **options)]}


W = checkpoint(w=("float32", (2,)))


@pytest.mark.parametrize("op", ["VarHandleOp", "VariableV2", "Variable", "AutoReloadVariable"])
def test_every_kind_of_variable(op):
    (spec,) = read(meta_graph(variable("w", op=op), collections=everywhere()), W).values()
    assert (spec.name, spec.dtype, spec.shape) == ("w", "float32", (2,))
    assert (spec.trainable, spec.reference, spec.in_checkpoint) == (True, op != "VarHandleOp", True)
    assert (spec.initial_value, spec.collections) == ("w/initial:0", ("variables", "trainable_variables"))
    assert spec.checkpoint_name == "w"


def test_names_in_collections_may_lack_the_output():
    definition = variable_pb2.VariableDef(variable_name="w").SerializeToString()
    proto = meta_graph(variable("w"), collections={"variables": [definition]})
    assert read(proto, W)["w"].collections == ("variables",)


def test_trainable_is_what_the_collection_says():
    proto = meta_graph(variable("w"), collections={"variables": [variable_def("w")]})
    assert not read(proto, W)["w"].trainable


def test_collections_give_the_order_and_other_nodes_follow():
    nodes = [*variable("extra"), *variable("a"), *variable("b")]
    proto = meta_graph(nodes, collections={"variables": [variable_def("b"), variable_def("a")]})
    stored = checkpoint(a=("float32", (2,)), b=("float32", (2,)))
    variables = read(proto, stored)
    assert list(variables) == ["b", "a", "extra"]
    assert variables["extra"].collections == ()
    assert not variables["extra"].in_checkpoint


def test_a_node_without_collections_is_restored_if_the_checkpoint_fits():
    proto = meta_graph(variable("a"), variable("b"))
    variables = read(proto, checkpoint(a=("float32", (2,)), b=("float32", (3,))))
    assert variables["a"].in_checkpoint
    assert not variables["b"].in_checkpoint


def test_partitions():
    first = {"slice_info": ("emb", (5, 3), (0, 0), (2, 3))}
    second = {"slice_info": ("emb", (5, 3), (2, 0), (3, 3))}
    definitions = [variable_def("emb/part_0", **first), variable_def("emb/part_1", **second)]
    proto = meta_graph(
        variable("emb/part_0", (2, 3)), variable("emb/part_1", (3, 3)), collections={"variables": definitions}
    )
    variables = read(proto, checkpoint(emb=("float32", (5, 3))))
    assert variables["emb/part_1"].partition == PartitionSpec("emb", (5, 3), (2, 0), (3, 3))
    assert [spec.checkpoint_name for spec in variables.values()] == ["emb", "emb"]
    assert [spec.shape for spec in variables.values()] == [(2, 3), (3, 3)]
    with pytest.raises(FormatError, match=r"'emb/part_0'.*\(5, 3\).*\(5, 4\)"):
        read(proto, checkpoint(emb=("float32", (5, 4))))


@pytest.mark.parametrize(
    "slice_info",
    [("w", (2,), (1,), (2,)), ("w", (2,), (0, 0), (2,)), ("w", (2,), (-1,), (2,)), ("w", (4,), (0,), (3,))],
)
def test_partitions_that_leave_the_whole(slice_info):
    proto = meta_graph(variable("w"), collections=everywhere(slice_info=slice_info))
    with pytest.raises(FormatError, match="'w' is no part of 'w'"):
        read(proto, W)


def test_local_variables_are_never_restored():
    proto = meta_graph(variable("w"), collections={"local_variables": [variable_def("w")]})
    assert not read(proto, W)["w"].in_checkpoint
    assert not read(proto, None)["w"].in_checkpoint


def test_no_checkpoint_is_fine_without_variables_that_need_it():
    assert read(meta_graph(), None) == {}
    assert not read(meta_graph(variable("w")), None)["w"].in_checkpoint


def test_no_checkpoint():
    with pytest.raises(MissingFileError, match=r"variables/variables.index: the variable 'w' has no value"):
        read(meta_graph(variable("w"), collections=everywhere()), None)


def test_missing_in_the_checkpoint():
    proto = meta_graph(variable("w"), collections=everywhere())
    with pytest.raises(FormatError, match=r"no value for the variable 'w'.*float32 of shape \(2,\)"):
        read(proto, checkpoint(v=("float32", (2,))))


@pytest.mark.parametrize("entry", [("float32", (3,)), ("float32", (2, 1)), ("float64", (2,))])
def test_another_shape_or_dtype_in_the_checkpoint(entry):
    proto = meta_graph(variable("w"), collections=everywhere())
    with pytest.raises(FormatError, match="does not fit the variable 'w'") as info:
        read(proto, checkpoint(w=entry))
    assert "float32 of shape (2,)" in str(info.value)
    assert f"{entry[0]} of shape {entry[1]}" in str(info.value)


def test_a_definition_without_a_node_is_nobodys():
    proto = meta_graph(collections=everywhere("gone"))
    assert read(proto, None) == {}


def test_a_shape_that_the_graph_leaves_open_comes_from_the_checkpoint_or_the_initial_value():
    partly = shape(2)
    partly.shape.dim[0].size = -1
    nodes = [
        node("a", "VarHandleOp", dtype=dtype("float32"), shape=partly),
        node("b", "VarHandleOp", dtype=dtype("float32")),
        node("c", "VarHandleOp", dtype=dtype("float32")),
        const("b/initial", [1.0, 2.0, 3.0]),
        node("b/Assign", "AssignVariableOp", "b", "b/initial"),
    ]
    variables = read(meta_graph(nodes), checkpoint(a=("float32", (7,))))
    assert {name: spec.shape for name, spec in variables.items()} == {"a": (7,), "b": (3,)}


def test_initial_values_of_old_files_stand_behind_the_assignment():
    definition = variable_def("w").replace(b"w/initial:0", b"w/missing:0")
    proto = meta_graph(variable("w"), collections={"variables": [definition]})
    assert read(proto, W)["w"].initial_value == "w/initial:0"
    alone = meta_graph([node("w", "VarHandleOp", dtype=dtype("float32"), shape=shape(2))])
    assert read(alone, W)["w"].initial_value == ""


def test_reading_leaves_the_graph_as_it_is():
    proto = meta_graph([node("w", "VarHandleOp"), node("v", "VariableV2", dtype=dtype("float32"))])
    before = proto.SerializeToString(deterministic=True)
    read(proto, W)
    assert proto.SerializeToString(deterministic=True) == before


def test_a_variable_without_a_dtype_is_none():
    assert read(meta_graph([node("w", "VarHandleOp", shape=shape(2))]), None) == {}


def test_damaged_collection():
    with pytest.raises(CorruptFileError, match="collection variables"):
        read(meta_graph(collections={"variables": [b"\x0a\xff"]}), W)


class TestSaver:
    """A TF1 SavedModel restores what its own saver restores."""

    @pytest.fixture
    def proto(self):
        restore = [
            const("save/names", ["average"]),
            const("save/slices", [""]),
            node("save/RestoreV2", "RestoreV2", "save/file", "save/names", "save/slices"),
            node("save/Assign", "AssignVariableOp", "w", "save/RestoreV2"),
        ]
        definitions = {"variables": [variable_def("w"), variable_def("other")]}
        proto = meta_graph(variable("w"), variable("other"), restore, collections=definitions)
        proto.saver_def.restore_op_name = "save/Assign"
        return proto

    def test_its_keys_are_used(self, proto):
        variables = read(proto, checkpoint(average=("float32", (2,))), follow_saver=True)
        assert variables["w"].checkpoint_name == "average"
        assert variables["w"].in_checkpoint

    def test_what_it_leaves_alone_starts_from_its_initial_value(self, proto):
        other = read(proto, checkpoint(average=("float32", (2,))), follow_saver=True)["other"]
        assert (other.in_checkpoint, other.initial_value) == (False, "other/initial:0")

    def test_what_it_restores_must_be_there(self, proto):
        with pytest.raises(FormatError, match=r"no value for the variable 'w'.*'average'"):
            read(proto, checkpoint(w=("float32", (2,))), follow_saver=True)

    def test_hub_format_has_none(self, proto):
        stored = checkpoint(w=("float32", (2,)), other=("float32", (2,)))
        assert read(proto, stored)["w"].checkpoint_name == "w"


class TestInitialValue:
    """One rule tells where an initial value comes from; nobody above guesses."""

    def initial_value(self, *nodes, definition=None):
        variable = node("w", "VarHandleOp", dtype=dtype("float32"), shape=shape(2))
        collections = {"local_variables": [definition.SerializeToString()]} if definition else {}
        proto = meta_graph([variable, const("value", [1.0, 2.0]), *nodes], collections=collections)
        return read(proto, None)["w"].initial_value

    def named(self, **names):
        return variable_pb2.VariableDef(variable_name="w:0", **names)

    def test_what_the_definition_names_comes_first(self):
        assign = node("w/Assign", "AssignVariableOp", "w", "other")
        assert self.initial_value(assign, definition=self.named(initial_value_name="value")) == "value:0"

    def test_an_assignment_by_its_name(self):
        assign = node("init", "AssignVariableOp", "w:0", "value:0")
        assert self.initial_value(assign, definition=self.named(initializer_name="init")) == "value:0"
        assert self.initial_value(assign) == ""

    def test_control_inputs_have_no_position(self):
        assign = node("w/Assign", "AssignVariableOp", "^other", "w", "^value", "value")
        assert self.initial_value(assign) == "value:0"
        hidden = node("w/Assign", "AssignVariableOp", "^w", "other", "value")
        assert self.initial_value(hidden) == ""

    @pytest.mark.parametrize(
        "assign",
        [
            node("w/Assign", "AssignVariableOp", "another", "value"),
            node("w/Assign", "AssignVariableOp", "w:1", "value"),
            node("w/Assign", "AssignVariableOp", "w", "gone"),
            node("w/Assign", "AssignVariableOp", "w"),
            node("w/Assign", "AssignAddVariableOp", "w", "value"),
        ],
        ids=str,
    )
    def test_what_does_not_assign_the_variable_does_not_count(self, assign):
        assert self.initial_value(assign) == ""

    def test_a_name_that_is_no_tensor_of_the_graph(self):
        for name in ("gone:0", "^value"):
            assert self.initial_value(definition=self.named(initial_value_name=name)) == ""
