"""Common signatures: declared by functions, and checked."""

from pathlib import Path

import pytest
import tensorflow as tf
from building import write

import hubkeras
from hubkeras.errors import PublishingError, SignatureError, SignatureTypeError

v1 = tf.compat.v1
DEMO = Path(hubkeras.__file__).parent / "data" / "topics_embedding"


def images(height=4, width=6, channels=3, batch=None, dtype=tf.float32):
    return v1.placeholder(dtype, [batch, height, width, channels])


def pooled(x):
    return tf.reduce_mean(x, [1, 2])


def scores(x):
    return tf.matmul(pooled(x), v1.get_variable("w", [3, 5]))


def info(height, width):
    message = hubkeras.ImageModuleInfo()
    message.default_image_size.height, message.default_image_size.width = height, width
    hubkeras.attach_image_module_info(message)


def classifier(training=False):
    x = images()
    features = pooled(x) + (1.0 if training else 0.0)
    logits = tf.matmul(features, v1.get_variable("w", [3, 5]))
    hubkeras.add_image_feature_vector_signature(x, features, {"Net/pixels": x}, primary=False)
    hubkeras.add_image_classification_signature(x, logits)


def any_size():
    x = images(None, None)
    hubkeras.add_image_feature_vector_signature(x, pooled(x))
    info(5, 7)


def text():
    x = v1.placeholder(tf.string, [None])
    hubkeras.add_text_embedding_signature(x, tf.cast(tf.strings.length(x), tf.float32)[:, tf.newaxis])


@pytest.mark.parametrize(
    ("module_fn", "variants", "names"),
    [
        (classifier, [(set(), {}), ({"train"}, {"training": True})], ("image_classification", "image_feature_vector")),
        (any_size, None, ("image_feature_vector",)),
        (text, None, ("text_embedding",)),
    ],
)
def test_what_is_declared_conforms(module_fn, variants, names, tmp_path):
    """The builders' signatures have nothing to find; specs, loaded modules and handles can be asked."""
    spec = hubkeras.create_module_spec(module_fn, variants)
    for name in names:
        assert hubkeras.check_signature(spec, name) == []
        assert name == "text_embedding" or name in spec.get_signature_names()
    spec.export(tmp_path / "module")
    assert hubkeras.check_signature(str(tmp_path / "module"), names[0]) == []
    assert hubkeras.check_signature(hubkeras.load(tmp_path / "module"), names[0]) == []


def test_classifier():
    """The signature "default" is that of the main task; other outputs stand beside."""
    spec = hubkeras.create_module_spec(classifier)
    assert spec.get_output_info_dict()["default"].get_shape().as_list() == [None, 5]
    assert sorted(spec.get_output_info_dict("image_feature_vector")) == ["Net/pixels", "default"]
    assert hubkeras.check_signature(DEMO, "text_embedding") == []


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: hubkeras.add_image_feature_vector_signature(images(batch=2), images()), "only batches of 2"),
        (lambda: hubkeras.add_image_feature_vector_signature(images(dtype=tf.uint8), images()), "uint8, not float32"),
        (lambda: hubkeras.add_image_feature_vector_signature(images(channels=1), images()), "dimension 3 must be 3"),
        (lambda: hubkeras.add_image_classification_signature(images(), images()), r"'default' has shape.*\[batch, cl"),
        (lambda: hubkeras.add_text_embedding_signature("text", images()), "'text' is of type str"),
        (
            lambda: hubkeras.add_text_embedding_signature(
                v1.placeholder(tf.string, [None]), v1.placeholder(tf.float32, [None, None])
            ),
            "the size of dimension 1 must be known",
        ),
    ],
)
def test_declarations_that_do_not_conform(declare, message):
    """A wrong dtype or shape is refused where it is declared."""
    with pytest.raises(SignatureTypeError, match=message) as caught:
        hubkeras.create_module_spec(declare)
    assert isinstance(caught.value, PublishingError)


def feature_vector(x, features=None, name="image_feature_vector", **more):
    """Declares signatures without looking at them."""
    features = pooled(x) if features is None else features
    for key in (name, "default"):
        hubkeras.add_signature(key, {"images": x, **more}, {"default": features})


def without_default():
    x = images()
    hubkeras.add_signature("image_feature_vector", {"images": x}, pooled(x))


def odd_default():
    x = images()
    hubkeras.add_signature("image_feature_vector", {"images": x}, pooled(x))
    hubkeras.add_signature("default", {"images": x}, {"features": pooled(x)})


def two_sizes():
    feature_vector(images(None, 6))
    info(4, 7)


def half_a_size():
    feature_vector(images(None, None))
    info(4, 0)


def probabilities():
    x = images()
    hubkeras.add_image_classification_signature(x, tf.nn.softmax(scores(x)))


def of_the_batch():
    x = images()
    feature_vector(x, pooled(x) / tf.reduce_sum(x))


def without_numbers():
    x = images()
    feature_vector(x, pooled(x) / tf.zeros([3]))


def pairs_only():
    x = images()
    feature_vector(x, pooled(x) + v1.placeholder_with_default(tf.zeros([2, 3]), [None, 3]))


def sparse_text():
    x = v1.sparse_placeholder(tf.string, [None])
    y = tf.cast(tf.strings.length(x.values), tf.float32)[:, tf.newaxis]
    hubkeras.add_signature(inputs={"text": x}, outputs=y)


@pytest.mark.parametrize(
    ("module_fn", "name", "finding"),
    [
        (lambda: feature_vector(images(), name="features"), "image_feature_vector", "no signature 'image_feature_vect"),
        (without_default, "image_feature_vector", "no signature 'default'"),
        (odd_default, "image_feature_vector", "must have an output 'default'; it has ['features']"),
        (lambda: feature_vector(images(), keep=images()), "image_feature_vector", "must have one input, 'images'; it"),
        (lambda: feature_vector(images(dtype=tf.float64)), "image_feature_vector", "is float64, not float32"),
        (lambda: feature_vector(images(batch=8)), "image_feature_vector", "only batches of 8"),
        (lambda: feature_vector(images(channels=None)), "image_feature_vector", "dimension 3 must be 3"),
        (lambda: feature_vector(x := images(), x), "image_feature_vector", "not [batch, features]"),
        (lambda: feature_vector(images(None, 6)), "image_feature_vector", "The height of its images is neither in"),
        (two_sizes, "image_feature_vector", "has the size [4, 7], the input 'images' [None, 6]"),
        (half_a_size, "image_feature_vector", "has the size [4, 0]: height and width must be positive"),
        (probabilities, "image_classification", "add up to 1: they must be logits"),
        (of_the_batch, "image_feature_vector", "depend on the others in its batch"),
        (without_numbers, "image_feature_vector", "are not all finite"),
        (pairs_only, "image_feature_vector", "with 3 and 1 examples fails"),
        (classifier, "text_embedding", "Input 'images' of signature 'default' is float32, not string"),
        (sparse_text, "text_embedding", "is no dense tensor"),
    ],
)
def test_findings(module_fn, name, finding):
    """Each says what is not met."""
    found = hubkeras.check_signature(hubkeras.create_module_spec(module_fn), name)
    assert any(finding in text for text in found), found


def test_graph_variants():
    """A variant is named where there are several; each has to have the signature."""

    def module_fn(training):
        x = images(batch=3 if training else None)
        feature_vector(x, name="other" if training else "image_feature_vector")

    spec = hubkeras.create_module_spec(module_fn, [(set(), {"training": False}), ({"train"}, {"training": True})])
    found = hubkeras.check_signature(spec, "image_feature_vector")
    assert len(found) == 2
    assert all(text.endswith("(in the graph variant with tags ['train'])") for text in found)


def test_results_of_another_shape(tmp_path):
    """A signature that promises another width than it gives."""

    def build(tags):
        x = v1.placeholder(tf.string, [None])
        y = v1.placeholder_with_default(tf.cast(tf.strings.length(x), tf.float32)[:, tf.newaxis], [None, None])
        y.set_shape([None, 2])
        return {"default": ({"text": x}, {"default": y})}

    found = hubkeras.check_signature(write(tmp_path / "module", build), "text_embedding")
    assert found == ["4 and 1 examples give results of shape (4, 1) and (1, 1), not [batch, 2]"]


def test_other_names_and_formats(tmp_path):
    """A name that is not common is refused; a TF2 SavedModel has no signatures of TF1 Hub format."""
    with pytest.raises(SignatureError, match=r"one of.*'text_embedding'"):
        hubkeras.check_signature(DEMO, "text")
    tf.saved_model.save(tf.Module(), str(tmp_path / "tf2"))
    assert "TF2 SavedModel" in hubkeras.check_signature(tmp_path / "tf2", "text_embedding")[0]
