"""Variables, tables and assets: one of each in a load, however many graphs use it."""

import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from building import variable, write

import hubkeras
from hubkeras.errors import ExportError, MissingFileError

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


def test_a_missing_asset_stops_what_reads_it_and_nothing_else(tmp_path):
    path = shutil.copytree(MODULES / "many_tables", tmp_path / "m")
    for file in (path / "assets").iterdir():
        file.unlink()
    module = hubkeras.load(path)
    works = hubkeras.load(MODULES / "many_tables")
    np.testing.assert_array_equal(module([[1]], signature="numbers"), works([[1]], signature="numbers"))
    for _ in range(2):
        with pytest.raises(MissingFileError, match=str(path / "assets")):
            module(["a"])
    with pytest.raises(ExportError, match=str(path / "assets")):
        module.export(tmp_path / "exported")
    for file in (MODULES / "many_tables" / "assets").iterdir():
        shutil.copy(file, path / "assets")
    np.testing.assert_array_equal(module(["a"]), works(["a"]))
