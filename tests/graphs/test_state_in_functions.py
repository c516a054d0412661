"""Tables that one function makes and another one fills, as an Estimator with a layer of TensorFlow 2 exports them."""

import numpy as np
import tensorflow as tf
from building import write

import hubkeras

v1 = tf.compat.v1
raw = tf.raw_ops


def function(body):
    return tf.function(body, autograph=False)


@function
def create():
    return raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="inner")


@function
def create_through_another():
    return create()


@function
def fill(handle, value):
    raw.InitializeTableV2(table_handle=handle, keys=["a"], values=value)
    return tf.constant(1)


def call_of(tensor):
    """Returns the op of a call, which may be behind an Identity."""
    return tensor.op if tensor.op.type.endswith("PartitionedCall") else tensor.op.inputs[0].op


def build(tags):
    words = v1.placeholder(tf.string, [None], "words")
    handle = create_through_another()
    v1.add_to_collection("table_initializer", call_of(fill(handle, tf.constant([3], tf.int64))))
    found = raw.LookupTableFindV2(table_handle=handle, keys=words, default_value=tf.constant(-1, tf.int64))
    return {"default": ({"words": words}, {"default": found}), "plain": ({"words": words}, {"default": words + "!"})}


def test_a_table_is_made_and_filled_once(tmp_path):
    module = hubkeras.load(write(tmp_path / "m", build))
    np.testing.assert_array_equal(module(["a", "b"]), [3, -1])
    np.testing.assert_array_equal(module(["b", "a"]), [-1, 3])
    np.testing.assert_array_equal(module(["a"], signature="plain"), [b"a!"])
    assert len(module.state.tables) == 1


def test_it_is_exported(tmp_path):
    hubkeras.load(write(tmp_path / "m", build)).export(tmp_path / "again")
    np.testing.assert_array_equal(hubkeras.load(tmp_path / "again")(["a", "b"]), [3, -1])
