"""`hubkeras.check_signature`: what a module lacks of a documented signature."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hubkeras.errors import HubKerasError, SignatureError
from hubkeras.modules.images import IMAGE_MODULE_INFO_KEY, get_expected_image_size
from hubkeras.modules.loader import load
from hubkeras.modules.spec import ModuleSpec
from hubkeras.publishing.common_signatures import COMMON_SIGNATURES, IMAGE_CLASSIFICATION, CommonSignature, TensorForm
from hubkeras.savedmodel.protos import ImageModuleInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hubkeras.modules.module import Module

# An empty text and letters beyond ASCII are where preprocessing fails.
_TEXTS = ("", "one", "Several words, and a full stop.", "tête-à-tête 猫")
_IMAGES = 3


def check_signature(module: str | os.PathLike[str] | ModuleSpec | Module, name: str) -> list[str]:
    """Tells what a module lacks of a common signature.

    Names, dtypes, shapes and attached image sizes are compared in every graph variant, and a few small inputs are put
    through the one for inference.

    Args:
        module: A handle, or what `hubkeras.load` or `hubkeras.create_module_spec` returned.
        name: "text_embedding", "image_feature_vector" or "image_classification".

    Returns:
        Findings in words; empty if the module is as https://www.tensorflow.org/hub/common_signatures describes.

    Raises:
        SignatureError: There is no common signature of this name.
        FormatError: There is no module, or a broken one.
        UnsafeModuleError: A handle leads to a module with ops that nobody allowed; load it with `allow_ops=`.

    Example:
        >>> hubkeras.check_signature("path/to/mobilenet", "image_feature_vector")  # doctest: +SKIP
        []

    It cannot tell what no tensor shows: whether pixels are taken as RGB in [0, 1], whether the vectors are any good.
    """
    if name not in COMMON_SIGNATURES:
        raise SignatureError(
            f"Cannot check signature {name!r}", expected=f"one of {list(COMMON_SIGNATURES)}", received=repr(name)
        )
    common = COMMON_SIGNATURES[name]
    loaded: Any = load(module) if isinstance(module, (str, os.PathLike, ModuleSpec)) else module
    if loaded.description.format == "tf2":
        return ["The module is a TF2 SavedModel; common signatures are a matter of TF1 Hub format"]
    findings = [
        f"{finding}{_in_variant(tags, loaded.get_tags())}"
        for tags in loaded.get_tags()
        for finding in _check_variant(loaded, common, tags)
    ]
    return findings or _check_results(loaded, common)


def _in_variant(tags: frozenset[str], all_tags: list[frozenset[str]]) -> str:
    return f" (in the graph variant with tags {sorted(tags)})" if len(all_tags) > 1 else ""


def _check_variant(module: Any, common: CommonSignature, tags: frozenset[str]) -> list[str]:
    """Compares what one graph variant says about itself."""
    names = module.get_signature_names(tags)
    missing = [name for name in dict.fromkeys([common.name, "default"]) if name not in names]
    findings = [f"There is no signature {name!r}; there are {sorted(names)}" for name in missing]
    for name in dict.fromkeys([common.name, "default"]):
        if name in missing:
            continue
        inputs, outputs = module.get_input_info_dict(name, tags), module.get_output_info_dict(name, tags)
        findings += _check_input(name, common, inputs)
        # what the signature "default" of an image module gives is a matter of its main task, which may be another
        findings += _check_output(name, common.output if name == common.name else None, outputs)
    if common.input_name == "images" and not findings:
        findings += _check_image_size(module, common.name, tags)
    return findings


def _check_input(name: str, common: CommonSignature, infos: Mapping[str, Any]) -> list[str]:
    key = common.input_name or next(iter(infos), "")
    if list(infos) != [key]:
        wanted = f"one input, {key!r}" if common.input_name else "one input"
        return [f"Signature {name!r} must have {wanted}; it has {sorted(infos)}"]
    return _unmet(f"Input {key!r} of signature {name!r}", common.input, infos[key])


def _check_output(name: str, form: TensorForm | None, infos: Mapping[str, Any]) -> list[str]:
    if "default" not in infos:
        return [f"Signature {name!r} must have an output 'default'; it has {sorted(infos)}"]
    return _unmet(f"Output 'default' of signature {name!r}", form, infos["default"]) if form else []


def _unmet(subject: str, form: TensorForm, info: Any) -> list[str]:
    return [f"{subject} {phrase}" for phrase in form.unmet(info.dtype, info.get_shape(), not info.is_composite)]


def _check_image_size(module: Any, name: str, tags: Iterable[str]) -> list[str]:
    """Compares the two places where a module says which size of images it expects."""
    shape = module.get_input_info_dict(name, tags)["images"].get_shape().as_list()[1:3]
    attached = module.get_attached_message(IMAGE_MODULE_INFO_KEY, ImageModuleInfo, tags)
    size = [attached.default_image_size.height, attached.default_image_size.width] if attached else [0, 0]
    if min(size) < 0 or (min(size) == 0 < max(size)):
        return [f"The attached image_module_info has the size {size}: height and width must be positive"]
    if min(size) == 0:
        unknown = [axis for axis, length in zip(("height", "width"), shape, strict=True) if length is None]
        return [f"The {' and '.join(unknown)} of its images is neither in the shape nor attached"] if unknown else []
    if any(length not in (None, wanted) for length, wanted in zip(shape, size, strict=True)):
        return [f"The attached image_module_info has the size {size}, the input 'images' {shape}"]
    return []


def _check_results(module: Any, common: CommonSignature) -> list[str]:
    """Puts a few inputs through the signature."""
    inputs = _inputs(module, common)
    try:
        batch = module(inputs, signature=common.name)
        alone = module(inputs[-1:], signature=common.name)
    except (HubKerasError, tf.errors.OpError) as error:
        return [f"A call of signature {common.name!r} with {len(inputs)} and 1 examples fails: {error}"]
    width = module.get_output_info_dict(common.name)["default"].get_shape().as_list()[-1]
    if batch.shape != (len(inputs), width) or alone.shape != (1, width):
        shapes = f"{batch.shape} and {alone.shape}"
        return [f"{len(inputs)} and 1 examples give results of shape {shapes}, not [batch, {width}]"]
    if not np.isfinite(batch).all():
        return [f"The results of signature {common.name!r} are not all finite, for inputs like {inputs[-1]!r}"[:300]]
    findings = []
    # Loosely: batches of other sizes may be computed in another order, and deep networks make more of the difference.
    if not np.allclose(batch[-1], alone[0], rtol=1e-2, atol=1e-3 * np.abs(batch).max()):
        findings.append(f"The results of signature {common.name!r} for one example depend on the others in its batch")
    if common is IMAGE_CLASSIFICATION and width > 1 and _are_probabilities(batch):
        findings.append("The results of signature 'image_classification' add up to 1: they must be logits")
    return findings


def _inputs(module: Any, common: CommonSignature) -> tf.Tensor:
    if common.input.dtype == tf.string:
        return tf.constant(_TEXTS)
    height, width = get_expected_image_size(module, common.name)
    # Always the same images, so that a module is never right in one run and wrong in the next.
    generator = np.random.default_rng(0)
    return tf.constant(generator.uniform(size=(_IMAGES, height, width, 3)), tf.float32)


def _are_probabilities(values: Any) -> bool:
    return bool((np.asarray(values) >= 0).all() and np.allclose(np.sum(values, axis=-1), 1, atol=1e-4))
