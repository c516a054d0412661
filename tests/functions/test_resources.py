"""Tables that cannot be filled."""

import pytest
import tensorflow as tf
from savedmodel.builder import AttrValue, const, dtype, meta_graph, node, placeholder, tensor_info, text, write_module

import hubkeras
from hubkeras.errors import FormatError, UnsafeModuleError

STRING, INT = dtype("string"), dtype("int64")


def table(name, op="HashTableV2"):
    return node(name, op, key_dtype=STRING, value_dtype=INT, shared_name=text(name))


def fill(name, which, keys, values):
    return node(name, "InitializeTableV2", which, keys, values, Tkey=STRING, Tval=INT)


def find(name, which, keys, default="default"):
    return node(name, "LookupTableFindV2", which, keys, default, Tin=STRING, Tout=INT)


def load(path, *nodes, initializers):
    graph = meta_graph(
        [
            placeholder("x", "string"),
            const("default", tf.constant(-1, tf.int64)),
            const("values", tf.constant([1], tf.int64)),
        ],
        nodes,
        find("y", "table", "x"),
        signatures={"default": ({"x": tensor_info("x:0", "string")}, {"default": tensor_info("y:0", "int64")})},
        collections={"table_initializer": initializers},
    )
    return hubkeras.load(write_module(path, graph))


def test_a_table(tmp_path):
    module = load(
        tmp_path, const("keys", ["a"]), table("table"), fill("init", "table", "keys", "values"), initializers=["init"]
    )
    assert module(["a", "b"]).numpy().tolist() == [1, -1]


def test_an_initializer_that_is_its_own_input(tmp_path):
    circle = [fill("init", "init", "keys", "values"), const("keys", ["a"])]
    module = load(tmp_path, *circle, table("table"), initializers=["init"])
    with pytest.raises(FormatError, match="an input of itself"):
        module(["a"])


def test_tables_that_fill_each_other(tmp_path):
    nodes = [table("table"), table("other"), const("keys", ["a"])]
    nodes += [find("one", "other", "keys"), fill("init", "table", "keys", "one")]
    nodes += [find("two", "table", "keys"), fill("fill", "other", "keys", "two")]
    module = load(tmp_path, *nodes, initializers=["init", "fill"])
    with pytest.raises(FormatError, match="needs the table itself"):
        module(["a"])


def test_a_table_whose_filling_failed_does_not_stay(tmp_path):
    """Else the next call would find it empty, and answer."""
    two = const("two", tf.constant([1, 2], tf.int64))
    nodes = [table("table"), const("keys", ["a", "a"]), two, fill("init", "table", "keys", "two")]
    module = load(tmp_path, *nodes, initializers=["init"])
    for _ in range(2):
        with pytest.raises(FormatError, match="different value for same key"):
            module(["a"])
    assert module.state.tables == {}


def test_what_makes_a_table_is_judged(tmp_path):
    iterator = node("table", "OneShotIterator", dataset_factory=AttrValue(), shared_name=text("t"))
    with pytest.raises((UnsafeModuleError, FormatError)):
        load(tmp_path, iterator, initializers=[])(["a"])
