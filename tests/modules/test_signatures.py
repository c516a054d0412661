"""Signatures as `tf.saved_model.load` gives them."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from building import write

import hubkeras
from hubkeras.errors import InputError, SignatureError

MODULES = Path(__file__).parent.parent / "golden" / "modules"


def signatures(name):
    return hubkeras.load(MODULES / name).signatures


def test_a_mapping_of_names():
    found = signatures("odd_shapes")
    assert sorted(found) == sorted(hubkeras.load(MODULES / "odd_shapes").get_signature_names())
    assert len(found) == len(list(found.items()))
    assert "default" in found
    assert "nope" not in found
    assert "odd_shapes" in repr(found["default"])
    assert "zero_width" in repr(found)
    with pytest.raises(SignatureError, match="'nope'"):
        found["nope"]


def test_keywords_or_an_only_value():
    only = signatures("odd_shapes")["only_named"]
    for outputs in (only(x=[1, 2, 3]), only([1, 2, 3]), only(tf.constant([1.0, 2.0, 3.0])), only({"x": [1, 2, 3]})):
        assert set(outputs) == {"y"}
        assert outputs["y"].shape == (3,)
    assert set(signatures("odd_shapes")["no_inputs"]()) == {"default", "w"}
    steps = signatures("functional_control_flow")["default"]
    assert set(steps(x=np.ones((1, 4)), steps=2)) == {"default", "chosen"}


def test_specifications():
    steps = signatures("functional_control_flow")["default"]
    positional, keywords = steps.structured_input_signature
    assert positional == ()
    assert keywords == {
        "x": tf.TensorSpec([None, 4], tf.float32, "x"),
        "steps": tf.TensorSpec([], tf.int32, "steps"),
    }
    assert set(steps.structured_outputs) == {"default", "chosen"}
    assert isinstance(signatures("sparse_training")["matmul"].structured_outputs["scaled"], tf.SparseTensorSpec)
    assert isinstance(signatures("ragged_text")["ragged"].structured_outputs["scaled"], tf.RaggedTensorSpec)


def test_the_variables_that_a_signature_reaches():
    found = signatures("losses_and_updates")
    reached = {name: {v.name for v in found[name].variables} for name in found}
    assert reached["z"] != reached["weights"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s(np.ones((1, 4)), 2), "2 positional ['steps', 'x']"),
        (lambda s: s(np.ones((1, 4)), steps=2), "1 positional keywords ['steps']"),
        (lambda s: s(x=np.ones((1, 4))), "missing: ['steps']"),
        (lambda s: s(x=np.ones((1, 4)), steps=2, other=1), "known: ['other']"),
        (lambda s: s(), "multiple nothing"),
    ],
)
def test_wrong_arguments(call, words):
    with pytest.raises(InputError) as caught:
        call(signatures("functional_control_flow")["default"])
    for word in ["'default'", *words.split(" ")]:
        assert word in str(caught.value), caught.value


def test_an_input_may_have_any_name(tmp_path):
    def build(tags):
        x = tf.compat.v1.placeholder(tf.float32, [], "x")
        return {"default": ({"self": x}, {"default": x + 1.0})}

    module = hubkeras.load(write(tmp_path / "m", build))
    assert module.signatures["default"](self=1.0)["default"].numpy() == 2.0
