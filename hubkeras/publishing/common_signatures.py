"""The signatures that modules for one task have in common, and functions that declare them.

What they are named, take and give is documented at https://www.tensorflow.org/hub/common_signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import SignatureTypeError
from hubkeras.publishing.signatures import add_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

Sizes = tuple[int | str | None, ...]
"""What each dimension is: a number, None for "unknown", or "known" or "any" in words."""


@dataclass(frozen=True)
class TensorForm:
    """What an input or output of a common signature is like."""

    dtype: tf.DType
    sizes: Sizes
    meaning: str
    """The dimensions in words, such as "[batch, height, width, 3]"."""

    def unmet(self, dtype: tf.DType, shape: tf.TensorShape, is_dense: bool) -> list[str]:
        """Tells what a tensor lacks, in phrases that go on after its name; empty if it is as it should be."""
        found = [] if dtype == self.dtype else [f"is {dtype.name}, not {self.dtype.name}"]
        if not is_dense:
            return [*found, "is no dense tensor"]
        if shape.rank != len(self.sizes):
            return [*found, f"has shape {shape}, not {self.meaning}"]
        for axis, (size, wanted) in enumerate(zip(shape.as_list(), self.sizes, strict=True)):
            if wanted is None and size is not None:
                found.append(f"takes or gives only batches of {size}: dimension {axis} of {shape} must be unknown")
            elif wanted == "known" and size is None:
                found.append(f"has shape {shape}, not {self.meaning}: the size of dimension {axis} must be known")
            elif isinstance(wanted, int) and size != wanted:
                found.append(f"has shape {shape}, not {self.meaning}: dimension {axis} must be {wanted}")
        return found


@dataclass(frozen=True)
class CommonSignature:
    """One documented signature."""

    task: str
    """What `check_signature` calls it."""
    name: str
    """What it is called in a module."""
    input_name: str | None
    """None where any name will do."""
    input: TensorForm
    output: TensorForm
    """Of the output named "default"; others may stand beside it."""


_IMAGES = TensorForm(tf.float32, (None, "any", "any", 3), "[batch, height, width, 3]")
_TEXTS = TensorForm(tf.string, (None,), "[batch]")


def _vectors(what: str) -> TensorForm:
    return TensorForm(tf.float32, (None, "known"), f"[batch, {what}]")


TEXT_EMBEDDING = CommonSignature("text_embedding", "default", None, _TEXTS, _vectors("dimension"))
IMAGE_FEATURE_VECTOR = CommonSignature(
    "image_feature_vector", "image_feature_vector", "images", _IMAGES, _vectors("features")
)
IMAGE_CLASSIFICATION = CommonSignature(
    "image_classification", "image_classification", "images", _IMAGES, _vectors("classes")
)

COMMON_SIGNATURES = {
    signature.task: signature for signature in (TEXT_EMBEDDING, IMAGE_FEATURE_VECTOR, IMAGE_CLASSIFICATION)
}
"""By what `check_signature` calls them."""


def add_text_embedding_signature(text: Any, embedding: Any, *, input_name: str = "text") -> None:
    """Declares that the module whose graph is being built is a text embedding.

    That is its signature "default": a batch of strings to a batch of vectors. Call it in the function that
    `hubkeras.create_module_spec` is given.

    Args:
        text: The placeholder of the texts, string of shape [None].
        embedding: Their vectors, float32 of shape [None, dimension].
        input_name: What the input is called.

    Raises:
        SignatureTypeError: One of them has another dtype or shape.

    Example:
        >>> def module_fn():
        ...     text = tf.compat.v1.placeholder(tf.string, [None])
        ...     length = tf.cast(tf.strings.length(text), tf.float32)
        ...     hubkeras.add_text_embedding_signature(text, length[:, tf.newaxis])

    It does not look at values: a text of any length, an empty one too, should have a vector.
    """
    _add(TEXT_EMBEDDING, ["default"], {input_name: text}, {"default": embedding})


def add_image_feature_vector_signature(
    images: Any, features: Any, more_outputs: Mapping[str, Any] | None = None, *, primary: bool = True
) -> None:
    """Declares that the module whose graph is being built gives feature vectors of images.

    That is the signature "image_feature_vector" with the input "images". Call it in the function that
    `hubkeras.create_module_spec` is given.

    Args:
        images: The placeholder of the images, float32 of shape [None, height, width, 3], RGB in the range [0, 1]. Where
            height or width is None, call `hubkeras.attach_image_module_info`, too.
        features: Their vectors, float32 of shape [None, features], without dropout on them.
        more_outputs: Other tensors by name, such as the activations of inner layers; best under the name of the
            architecture, as in "InceptionV3/Mixed_5c".
        primary: Whether this is the module's main task, so that the signature "default" is the same. Of two primary
            ones the later counts.

    Raises:
        SignatureTypeError: One of them has another dtype or shape.

    Example:
        >>> def module_fn():
        ...     images = tf.compat.v1.placeholder(tf.float32, [None, 32, 32, 3])
        ...     hubkeras.add_image_feature_vector_signature(images, tf.reduce_mean(images, [1, 2]))

    It does not look at values: scaling pixels from [0, 1] to what the network wants is the module's own matter.
    """
    _add_image_signature(IMAGE_FEATURE_VECTOR, images, features, more_outputs, primary)


def add_image_classification_signature(
    images: Any, logits: Any, more_outputs: Mapping[str, Any] | None = None, *, primary: bool = True
) -> None:
    """Declares that the module whose graph is being built classifies images.

    That is the signature "image_classification" with the input "images". Call it in the function that
    `hubkeras.create_module_spec` is given.

    Args:
        images: The placeholder of the images, float32 of shape [None, height, width, 3], RGB in the range [0, 1]. Where
            height or width is None, call `hubkeras.attach_image_module_info`, too.
        logits: Their scores before softmax or sigmoid, float32 of shape [None, classes].
        more_outputs: Other tensors by name, such as the activations of inner layers; best under the name of the
            architecture, as in "InceptionV3/Mixed_5c".
        primary: Whether this is the module's main task, so that the signature "default" is the same. Of two primary
            ones the later counts.

    Raises:
        SignatureTypeError: One of them has another dtype or shape.

    Example:
        >>> def module_fn():
        ...     images = tf.compat.v1.placeholder(tf.float32, [None, 32, 32, 3])
        ...     w = tf.compat.v1.get_variable("w", [3, 10])
        ...     features = tf.reduce_mean(images, [1, 2])
        ...     hubkeras.add_image_feature_vector_signature(images, features, primary=False)
        ...     hubkeras.add_image_classification_signature(images, tf.matmul(features, w))

    It does not say what the classes are: a module's documentation does.
    """
    _add_image_signature(IMAGE_CLASSIFICATION, images, logits, more_outputs, primary)


def _add_image_signature(
    common: CommonSignature, images: Any, output: Any, more_outputs: Mapping[str, Any] | None, primary: bool
) -> None:
    names = [common.name, "default"] if primary else [common.name]
    _add(common, names, {"images": images}, {**(more_outputs or {}), "default": output})


def _add(common: CommonSignature, names: list[str], inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    for role, values, key, form in (
        ("input", inputs, next(iter(inputs)), common.input),
        ("output", outputs, "default", common.output),
    ):
        value = values[key]
        if isinstance(value, tf.Tensor):
            found = form.unmet(value.dtype, value.shape, is_dense=True)
        else:
            found = [f"is of type {type(value).__name__}"]
        if found:
            raise SignatureTypeError(
                f"The {role} {key!r} {found[0]}",
                expected=f"for {common.task}: a dense {form.dtype.name} tensor of shape {form.meaning}",
                received=repr(value),
            )
    for name in names:
        add_signature(name, inputs, outputs)
