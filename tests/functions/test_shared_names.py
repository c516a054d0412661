"""State that several nodes share: TensorFlow finds it by its kind, its container and its name."""

import numpy as np
import tensorflow as tf
from building import variable, write

import hubkeras

v1 = tf.compat.v1
raw = tf.raw_ops


def table(keys, values, shared_name, container="", op=raw.HashTableV2):
    """A table of words to numbers, and the op that fills it."""
    made = op(key_dtype=tf.string, value_dtype=tf.int64, shared_name=shared_name, container=container)
    v1.add_to_collection("table_initializer", raw.InitializeTableV2(table_handle=made, keys=keys, values=values))
    return made


def find(handle, words, default=-1):
    return raw.LookupTableFindV2(table_handle=handle, keys=words, default_value=tf.constant(default, tf.int64))


def test_a_table_and_a_variable_of_one_name(tmp_path):
    """They are two things, whichever stands first."""

    def build(tags):
        words = v1.placeholder(tf.string, [None], "words")
        early = table(["a"], tf.constant([3], tf.int64), "late")
        made = variable("name", [1.0, 2.0])
        late = table(["a"], tf.constant([4], tf.int64), "name")
        after = variable("late", 5.0)
        outputs = {"first": find(early, words), "made": made * 1.0, "second": find(late, words), "after": after * 1.0}
        return {"default": ({"words": words}, outputs)}

    module = hubkeras.load(write(tmp_path / "m", build))
    found = module(["a", "b"], as_dict=True)
    np.testing.assert_array_equal(found["first"], [3, -1])
    np.testing.assert_array_equal(found["second"], [4, -1])
    np.testing.assert_array_equal(found["made"], [1.0, 2.0])
    assert found["after"].numpy() == 5.0
    assert sorted(module.state.by_name) == ["late", "name"]


def test_containers_tell_tables_apart(tmp_path):
    def build(tags):
        words = v1.placeholder(tf.string, [None], "words")
        tables = [table(["a"], tf.constant([i], tf.int64), "name", f"box.{i}") for i in range(2)]
        return {"default": ({"words": words}, {str(i): find(t, words) for i, t in enumerate(tables)})}

    found = hubkeras.load(write(tmp_path / "m", build))(["a"], as_dict=True)
    assert {name: int(value[0]) for name, value in found.items()} == {"0": 0, "1": 1}


def test_nodes_of_one_kind_and_name_share(tmp_path):
    """One table through two nodes, one variable through a handle of another name."""

    def build(tags):
        words = v1.placeholder(tf.string, [None], "words")
        table(["a"], tf.constant([3], tf.int64), "name")
        other = raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="name")
        variable("v", [7.0])
        handle = raw.VarHandleOp(dtype=tf.float32, shape=[1], shared_name="v")
        outputs = {"found": find(other, words), "read": raw.ReadVariableOp(resource=handle, dtype=tf.float32)}
        return {"default": ({"words": words}, outputs)}

    module = hubkeras.load(write(tmp_path / "m", build))
    found = module(["a"], as_dict=True)
    assert (int(found["found"][0]), float(found["read"][0])) == (3, 7.0)
    module.variable_map["v"].assign([8.0])
    assert float(module(["a"], as_dict=True)["read"][0]) == 8.0


def test_a_static_table_belongs_to_its_variant(tmp_path):
    """What fills it there may differ; what a graph inserts into a mutable table, all variants see."""

    def build(tags):
        words = v1.placeholder(tf.string, [None], "words")
        value = tf.constant([2 if tags else 1], tf.int64)
        static = find(table(["a"], value, "static"), words)
        mutable = raw.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="mutable")
        if tags:
            insert = raw.LookupTableInsertV2(table_handle=mutable, keys=["b"], values=value)
            v1.add_to_collection("update_ops", insert)
        return {"default": ({"words": words}, {"static": static, "mutable": find(mutable, words)})}

    module = hubkeras.load(write(tmp_path / "m", build, [(), ("train",)]))
    assert [int(module(["a"], training=t, as_dict=True)["static"][0]) for t in (False, True, False)] == [1, 2, 1]
    assert int(module(["b"], as_dict=True)["mutable"][0]) == 2


def test_a_table_with_the_name_of_another_variants_variable(tmp_path):
    def build(tags):
        words = v1.placeholder(tf.string, [None], "words")
        if tags:
            return {"default": ({"words": words}, {"default": tf.cast(variable("name", [1.0, 2.0]), tf.int64)})}
        made = raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="x", name="name")
        one = tf.constant([1], tf.int64)
        v1.add_to_collection("table_initializer", raw.InitializeTableV2(table_handle=made, keys=["a"], values=one))
        return {"default": ({"words": words}, {"default": find(made, words)})}

    module = hubkeras.load(write(tmp_path / "m", build, [(), ("train",)]))
    np.testing.assert_array_equal(module(["a", "b"]), [1, -1])
    np.testing.assert_array_equal(module(["a"], training=True), [1, 2])
