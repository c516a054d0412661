import pytest
from tensorflow.core.protobuf import meta_graph_pb2

from hubkeras.errors import CorruptFileError
from hubkeras.savedmodel.collection_defs import (
    byte_values,
    init_ops,
    node_names,
    read_attachments,
    read_regularization_losses,
    read_table_initializers,
    read_update_ops,
)
from hubkeras.savedmodel.graph_index import index_graph
from savedmodel.builder import attachment, const, meta_graph, node

TABLES = [
    node("table", "HashTableV2"),
    const("keys", ["a"]),
    const("file", "vocab.txt"),
    node("import", "LookupTableImportV2", "table", "keys", "keys"),
    node("text", "InitializeTableFromTextFileV2", "table", "file"),
    node("pairs", "InitializeTable", "table", "keys", "keys"),
    node("write", "WriteFile", "file", "file"),
    node("after", "Identity", "keys", "^import"),
    node("inner", "NoOp", "^import", "^write"),
    node("group", "NoOp", "^inner", "^text", "^group"),
]


def initializers(collections, *, with_init_op=False):
    proto = meta_graph(TABLES, collections=collections)
    return read_table_initializers(proto, index_graph(proto.graph_def), with_init_op=with_init_op)


def test_update_ops_are_ops_each_once():
    proto = meta_graph(collections={"update_ops": ["a/Assign", "b/Read:0", "^c", "a/Assign:0"]})
    assert read_update_ops(proto) == ("a/Assign", "b/Read", "c")


def test_losses_are_tensors_and_count_as_often_as_they_stand_there():
    proto = meta_graph(collections={"regularization_losses": ["l2:0", "l1", "l2:0", "many:3"]})
    assert read_regularization_losses(proto) == ("l2:0", "l1:0", "l2:0", "many:3")


def test_names_written_as_bytes():
    assert read_update_ops(meta_graph(collections={"update_ops": [b"a", b"b:0"]})) == ("a", "b")


def test_absent_collections_are_empty_and_stay_absent():
    proto = meta_graph()
    assert (node_names(proto, "update_ops"), byte_values(proto, "variables")) == ([], [])
    assert (read_update_ops(proto), read_regularization_losses(proto), dict(read_attachments(proto))) == ((), (), {})
    assert not proto.collection_def


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["import", "text", "pairs"], ("import", "text", "pairs")),
        (["group"], ("import", "text")),
        (["pairs", "group", "import"], ("pairs", "import", "text")),
        (["write"], ()),
        (["after"], ()),
        (["nowhere"], ()),
    ],
)
def test_table_initializers_are_those_that_fill_tables(names, expected):
    assert initializers({"table_initializer": names}) == expected


@pytest.mark.parametrize("key", ["saved_model_main_op", "legacy_init_op"])
def test_init_op_counts_only_for_a_saved_model(key):
    assert initializers({key: ["group"]}) == ()
    assert sorted(initializers({key: ["group"]}, with_init_op=True)) == ["import", "text"]


def test_init_op_of_a_signature():
    proto = meta_graph(TABLES, signatures={"__saved_model_init_op": ({}, {"__saved_model_init_op": "group"})})
    assert init_ops(proto) == ("group",)
    graph = index_graph(proto.graph_def)
    assert sorted(read_table_initializers(proto, graph, with_init_op=True)) == ["import", "text"]


def test_the_last_attachment_of_a_key_wins():
    items = [attachment("a", b"1"), attachment("b", b""), attachment("a", b"2")]
    proto = meta_graph(collections={"hub_module_attachments": items})
    assert read_attachments(proto) == {"a": b"2", "b": b""}


def test_damaged_attachments():
    proto = meta_graph(collections={"hub_module_attachments": [b"\x0a\xff"]})
    with pytest.raises(CorruptFileError, match="hub_module_attachments"):
        read_attachments(proto)


def test_other_kinds_of_collections_do_not_disturb():
    proto = meta_graph_pb2.MetaGraphDef()
    proto.collection_def["update_ops"].int64_list.value.append(3)
    assert read_update_ops(proto) == ()
