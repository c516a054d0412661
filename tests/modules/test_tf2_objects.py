"""SavedModels of TF2 behind the interface of a module."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from hubkeras.errors import InputError, OutputError, SignatureError, TagsError, UnsupportedError
from hubkeras.savedmodel.protos import ImageModuleInfo

MODULES = Path(__file__).parent.parent / "golden" / "modules"


def load(name, **kwargs):
    return hubkeras.load(MODULES / name, **kwargs)


def test_a_callable_object_is_called_itself():
    module = load("tf2_reusable")
    x = tf.ones((2, 3))
    assert module.is_callable
    assert module.takes_training
    np.testing.assert_array_equal(module(x), module.loaded(x))
    np.testing.assert_array_equal(module(x, training=True), module.loaded(x, training=True))
    assert [loss().shape.as_list() for loss in module.regularization_losses] == [[]]


def test_its_signatures_are_called_by_name():
    """Python values are converted; the only output, or the one named default, comes back bare."""
    module = load("tf2_reusable")
    every = module([[1, 2, 3]], signature="serving_default", as_dict=True)
    np.testing.assert_array_equal(module([[1, 2, 3]], signature="serving_default"), every["output_0"])
    words = load("tf2_signatures")
    assert not words.is_callable
    assert set(words(["a", "b"], as_dict=True)) == {"ids", "vectors"}
    mixed = words({"a": [1, 2], "b": 3}, signature="mix")
    np.testing.assert_array_equal(
        mixed, words.signatures["mix"](a=tf.constant([1.0, 2.0]), b=tf.constant(3.0))["mixed"]
    )


def test_what_it_says():
    module = load("tf2_signatures")
    assert sorted(module.get_signature_names()) == ["mix", "serving_default"]
    info = module.get_input_info_dict("mix")["a"]
    assert (info.dtype, info.get_shape().as_list()) == (tf.float32, [None])
    assert module.get_output_info_dict()["ids"].dtype == tf.int64
    assert module.get_tags() == [frozenset({"serve"})]
    assert module.get_attached_message("k", ImageModuleInfo) is None


def test_variables_are_what_the_object_calls_so(tmp_path):
    """In the object's order; other attributes of the object are at hand."""
    root = tf.train.Checkpoint()
    root.scale, root.steps = tf.Variable(3.0, name="scale"), tf.Variable(1, name="steps", trainable=False)
    root.variables, root.trainable_variables = [root.scale, root.steps], [root.scale]
    spec = tf.TensorSpec([None], tf.float32)
    root.double = tf.function(lambda x: 2 * x * root.scale, input_signature=[spec])
    tf.saved_model.save(root, str(tmp_path / "m"))
    module = hubkeras.load(tmp_path / "m")
    assert [v.name for v in module.variables] == ["scale:0", "steps:0"]
    assert [v.name for v in module.trainable_variables] == ["scale:0"]
    assert set(module.variable_map) == {"scale", "steps"}
    assert module.double([1.0]).numpy() == [6.0]
    with pytest.raises(AttributeError, match="nothing"):
        module.nothing()


def test_in_functions_and_pipelines():
    module = load("tf2_signatures")
    words = tf.constant(["a", "b"])
    traced = tf.function(lambda x: module(x, as_dict=True)["vectors"])(words)
    mapped = tf.data.Dataset.from_tensors(words).map(lambda x: module(x, as_dict=True)["vectors"])
    np.testing.assert_array_equal(traced, next(iter(mapped)))


@pytest.mark.parametrize("tags", ["serve", ["serve"], ("serve",), {"serve"}, frozenset({"serve"})])
def test_tags(tags):
    assert load("tf2_signatures", tags=tags).get_signature_names()


REFUSED = [
    (lambda m: m(["a"]), OutputError, "'serving_default' 'default' ['ids', 'vectors'] as_dict"),
    (lambda m: m(["a"], signature="nope"), SignatureError, "'nope' ['mix', 'serving_default']"),
    (lambda m: m([1.0], signature="mix"), InputError, "'mix' multiple ['a', 'b'] list"),
    (lambda m: m({"a": [1.0]}, signature="mix"), InputError, "missing: ['b']"),
    (lambda m: m({"a": tf.constant([1]), "b": 2}, signature="mix"), InputError, "'a' float32 int32 tf.cast"),
    (lambda m: m(), InputError, "'serving_default' an input ['words']"),
    (lambda m: m.export("somewhere"), UnsupportedError, "TF1 Hub somewhere tf.saved_model.save"),
    (lambda m: m.get_attached_message("k", ImageModuleInfo, required=True), UnsupportedError, "'k' TF2"),
    (lambda m: load("tf2_signatures", tags={"train"}), TagsError, "['train'] [['serve']]"),
]


@pytest.mark.parametrize(("call", "kind", "words"), REFUSED, ids=range(len(REFUSED)))
def test_bad_use_is_refused_by_name(call, kind, words):
    with pytest.raises(kind) as caught:
        call(load("tf2_signatures"))
    for word in words.split(" "):
        assert word in str(caught.value), caught.value


def test_a_signature_is_called_as_in_tf1_hub_format():
    module = hubkeras.load(MODULES / "tf2_signatures")
    name = "serving_default"
    (key,) = module.get_input_info_dict(name)
    given = np.array(["a"]) if module.get_input_info_dict(name)[key].dtype == tf.string else np.ones((1, 3))
    expected = module(given, signature=name, as_dict=True)
    for outputs in (
        module(inputs=given, signature=name, as_dict=True),
        module(inputs={key: given}, signature=name, as_dict=True),
        module({key: given}, signature=name, as_dict=True),
    ):
        for output, value in outputs.items():
            np.testing.assert_array_equal(value, expected[output])
    for args, kwargs, words in (
        ((given,), {"nope": 1}, "nope"),
        ((given, 1), {}, "2 positional"),
        ((given,), {"inputs": given}, "inputs"),
        ((), {key: given}, key),
    ):
        with pytest.raises(InputError, match=words):
            module(*args, signature=name, **kwargs)
