"""Specs of modules: made by a function, read from a module, loaded, exported."""

import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from hubkeras.errors import PublishingError
from publishing import module_fns

v1 = tf.compat.v1


def build(module_fn, **kwargs):
    return hubkeras.create_module_spec(module_fn, **kwargs)


def test_spec_tells_its_signatures(tmp_path):
    spec = module_fns.spec(hubkeras, "linear", tmp_path)
    assert spec.get_tags() == [frozenset()]
    assert sorted(spec.get_signature_names()) == ["bias", "default", "double"]
    assert spec.get_input_info_dict()["default"].get_shape().as_list() == [None, 3]
    assert sorted(spec.get_output_info_dict()) == ["default", "logits"]


def test_load_and_export(tmp_path):
    spec = module_fns.spec(hubkeras, "linear", tmp_path)
    module = hubkeras.load(spec)
    module.export(tmp_path / "module")
    spec.export(tmp_path / "spec")
    x = tf.constant([[1.0, 2.0, -3.0]])
    for path in ("module", "spec"):
        np.testing.assert_array_equal(hubkeras.load(tmp_path / path)(x), module(x))


def test_repeated_tags():
    with pytest.raises(PublishingError, match=r"Tags .* used repeatedly"):
        build(lambda: None, tags_and_args=[({"a", "b"}, {}), (["b", "a"], {})])


def test_no_signature():
    with pytest.raises(PublishingError, match="No signatures present"):
        build(lambda: None)
