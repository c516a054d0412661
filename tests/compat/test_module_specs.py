"""Specs of `hubkeras.compat.v1`: where the original refused, they do."""

import pytest
import tensorflow as tf
from publishing.module_fns import make_spec

import hubkeras.compat.v1 as hub
from hubkeras.errors import CheckpointError


def test_export_needs_a_checkpoint(tmp_path):
    """As in the original; with one the variables have its values."""
    spec = make_spec(hub, "linear", tmp_path)
    assert isinstance(spec, hub.ModuleSpec)
    with pytest.raises(CheckpointError, match="Missing mandatory `checkpoint_path` parameter"):
        spec.export(tmp_path / "m")
    with pytest.raises(tf.errors.NotFoundError, match="Cannot read the checkpoint"):
        spec.export(tmp_path / "m", checkpoint_path=tmp_path / "none")
    tensors = [tf.ones([3, 2]), tf.ones([2])]
    prefix = str(tmp_path / "ckpt")
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=["w", "b"], shape_and_slices=["", ""], tensors=tensors)
    spec.export(tmp_path / "m", checkpoint_path=prefix)
    again = hub.load_module_spec(tmp_path / "m")
    assert isinstance(again, hub.ModuleSpec)
    assert hub.load(again)(tf.ones([1, 3]), as_dict=True)["logits"].numpy().tolist() == [[4, 4]]
