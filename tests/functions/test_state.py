"""Variables, tables and assets: one of each in a load, however many graphs use it."""

import gc
import weakref
from pathlib import Path

import tensorflow as tf
from building import variable, write

import hubkeras

MODULES = Path(__file__).parent.parent / "golden" / "modules"
v1 = tf.compat.v1


def test_tables_are_made_on_first_use_and_once():
    module = hubkeras.load(MODULES / "many_tables")
    assert module.state.tables == {}
    module(["a"])
    made = dict(module.state.tables)
    module(["b"], as_dict=True)
    module([[1]], signature="numbers")
    assert made
    assert all(module.state.tables[name] is table for name, table in made.items())


def test_variants_share_one_state(tmp_path):
    """What training assigns, inference sees."""

    def build(tags):
        x = v1.placeholder(tf.float32, [None], "x")
        count = variable("count", 0.0, trainable=False)
        if "train" in tags:
            v1.add_to_collection("update_ops", v1.assign_add(count, tf.reduce_sum(x)))
        return {"default": ({"x": x}, {"default": x + count}), "count": ({}, {"default": count.read_value()})}

    module = hubkeras.load(write(tmp_path / "m", build, [(), ("train",)]))
    module([3.0], training=True)
    assert module([0.0]).numpy() == [3.0]
    assert module(signature="count").numpy() == 3.0
    assert len(module.variables) == 1


def test_state_goes_with_its_module():
    module = hubkeras.load(MODULES / "many_tables")
    module(["a"])
    kept = [weakref.ref(thing) for thing in (*module.variables, *module.state.tables.values(), module.state)]
    del module
    gc.collect()
    assert [ref() for ref in kept] == [None] * len(kept)
