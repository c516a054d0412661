"""Signatures as `tf.saved_model.load` gives them."""

import copy
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from building import write
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

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


CONCRETE = "inputs outputs graph captured_inputs function_def output_dtypes output_shapes name"


@pytest.mark.parametrize("name", CONCRETE.split(" "))
def test_a_signature_has_what_a_concrete_function_has(name):
    assert getattr(signatures("batch_norm_tensor")["default"], name) is not None


def test_a_signature_is_a_concrete_function_to_whoever_asks():
    found = hubkeras.load(MODULES / "functional_control_flow")
    signature = found.signatures["default"]
    assert signature is found.signatures["default"]
    assert isinstance(signature, tf.types.experimental.ConcreteFunction)
    assert [t.op.name for t in signature.inputs[:2]] == ["steps", "x"]
    assert [t.dtype for t in signature.inputs[:2]] == [tf.int32, tf.float32]
    assert len(signature.inputs) - len(signature.captured_inputs) == 2
    assert len(signature.outputs) == 2
    assert "steps" in signature.pretty_printed_signature()
    assert isinstance(signature.graph, tf.Graph)
    with pytest.raises(AttributeError, match="no_such_thing"):
        signature.no_such_thing  # noqa: B018


def test_the_trainable_variables_of_a_signature():
    module = hubkeras.load(MODULES / "batch_norm_tensor")
    signature = module.signatures["default"]
    assert 0 < len(signature.trainable_variables) < len(signature.variables)
    assert {id(v) for v in signature.trainable_variables} <= {id(v) for v in module.trainable_variables}


def test_one_line_keeps_the_module():
    assert hubkeras.load(MODULES / "batch_norm_tensor").signatures["default"].outputs[0].dtype == tf.float32
    f = hubkeras.load(MODULES / "many_tables").signatures["default"]
    assert f.graph.get_operations()


@pytest.mark.filterwarnings("ignore:(?s).*tf.lite.Interpreter is deprecated:UserWarning")
def test_lite_converts_a_signature():
    module = hubkeras.load(MODULES / "batch_norm_tensor")
    x = np.random.default_rng(0).normal(size=(1, 6, 5, 3)).astype("f")
    expected = module(x, signature="image_feature_vector")
    module.signatures["image_feature_vector"].inputs[0].set_shape([1, 6, 5, 3])
    signature = module.signatures["image_feature_vector"]
    for trackable in (None, module):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], trackable)
        interpreter = tf.lite.Interpreter(model_content=converter.convert())
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        results = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
        assert any(r.shape == expected.shape and np.allclose(r, expected, atol=1e-5) for r in results)


def test_a_signature_can_be_frozen():
    signature = signatures("batch_norm_tensor")["image_feature_vector"]
    frozen = convert_variables_to_constants_v2(signature)
    assert not frozen.captured_inputs
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype("f")
    np.testing.assert_allclose(frozen(tf.constant(x))[0], next(iter(signature(x).values())), atol=1e-6)


def test_a_signature_is_saved_alone_and_as_an_attribute(tmp_path):
    module = hubkeras.load(MODULES / "batch_norm_tensor")
    holder = tf.Module()
    holder.f, holder.module = module.signatures["image_feature_vector"], module
    tf.saved_model.save(holder, tmp_path / "m", signatures=holder.f)
    loaded = tf.saved_model.load(tmp_path / "m")
    x = np.ones((2, 6, 5, 3), "f")
    expected = holder.f(x)
    for function in (loaded.signatures["serving_default"], loaded.f):
        for name, value in function(images=tf.constant(x)).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-6)


@pytest.mark.parametrize("names", [("self",), ("class", "a$b", "a/b"), ("1", "images:0")])
def test_any_names_of_inputs_can_be_traced(tmp_path, names):
    def build(tags):
        inputs = {n: tf.compat.v1.placeholder(tf.float32, [], f"x{i}") for i, n in enumerate(names)}
        return {"default": (inputs, {"default": tf.add_n(list(inputs.values()))})}

    signature = hubkeras.load(write(tmp_path / "m", build)).signatures["default"]
    assert len(signature.inputs) == len(names)
    assert signature(**dict.fromkeys(names, 2.0))["default"].numpy() == 2.0 * len(names)


def test_copies_are_signatures_of_a_module_of_their_own():
    signature = signatures("batch_norm_tensor")["default"]
    assert signature.graph is not None
    copied = copy.copy(signature)
    assert copied.variables[0] is signature.variables[0]
    assert type(copied) is type(signature)


def test_an_unknown_name_lists_the_names_for_objects_of_tf2_too(tmp_path):
    made = tf.Module()
    made.f = tf.function(lambda x: {"y": x + 1.0}, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(made, tmp_path / "m", signatures={"up": made.f})
    module = hubkeras.load(tmp_path / "m")
    with pytest.raises(SignatureError, match=r"'nope'.*\['up'\]"):
        module.signatures["nope"]
    assert dict(module.signatures) == {"up": module.signatures["up"]}
    assert module.signatures["up"](x=tf.ones(1))["y"].numpy().tolist() == [2.0]
    tf.saved_model.save(module, tmp_path / "again", signatures=module.signatures)
    assert sorted(tf.saved_model.load(tmp_path / "again").signatures) == ["up"]
