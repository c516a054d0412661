"""Values of variables from a checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from building import variable, write

import hubkeras
from hubkeras.errors import FormatError
from hubkeras.functions.restoring import parts_of, slice_text
from hubkeras.savedmodel.description import PartitionSpec, VariableSpec

MODULES = Path(__file__).parent.parent / "golden" / "modules"
v1 = tf.compat.v1


def _part(name, start, rows, of):
    partition = PartitionSpec("whole", (of, 2), (start, 0), (rows, 2))
    return VariableSpec(name, "float32", (rows, 2), trainable=True, reference=False, partition=partition)


def test_parts_are_put_in_the_order_of_their_offsets():
    parts = [_part("b", 2, 3, 5), _part("a", 0, 2, 5)]
    assert parts_of(parts) == {"whole": ["a", "b"]}
    assert [slice_text(p) for p in parts] == ["5 2 2,3:-", "5 2 0,2:-"]


def test_a_damaged_checkpoint_names_the_module(tmp_path):
    def build(tags):
        return {"default": ({}, {"default": variable("w", np.ones(100, "f")).read_value()})}

    path = write(tmp_path / "m", build)
    data = next((path / "variables").glob("variables.data*"))
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(FormatError) as caught:
        hubkeras.load(path)
    assert str(path) in str(caught.value)


def test_a_path_that_is_a_pattern_is_told_from_damage(tmp_path):
    def build(tags):
        return {"default": ({}, {"default": variable("w", np.ones(3, "f")).read_value()})}

    with pytest.raises(FormatError, match="Move the module"):
        hubkeras.load(write(tmp_path / "m[1]", build))
