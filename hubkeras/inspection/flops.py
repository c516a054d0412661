"""How many floating point operations a call takes, as TensorFlow's profiler counts them in the graph that runs."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import HubKerasError
from hubkeras.functions.building import build
from hubkeras.modules.images import get_expected_image_size
from hubkeras.modules.loader import load

if TYPE_CHECKING:
    from hubkeras.inspection.summary import ModuleSummary, SignatureSummary, VariantSummary
    from hubkeras.modules.module import Module


def with_flops(summary: ModuleSummary) -> ModuleSummary:
    """Counts the operations of each signature of a module in TF1 Hub format or a TF1 SavedModel.

    Args:
        summary: The module, which the gate lets pass.

    Returns:
        The same with `flops` of one example where all shapes follow from the batch size and, of images, from the size
        that the module expects; None for other signatures, and for those of a TF2 SavedModel.

    The profiler knows the counts of the common ops (products, convolutions, pooling, biases, reductions) and takes
    others for free. A loop counts as one turn.
    """
    if summary.format == "tf2":
        return summary
    variants = tuple(_count_variant(summary, variant) for variant in summary.variants)
    return dataclasses.replace(summary, variants=variants)


def _count_variant(summary: ModuleSummary, variant: VariantSummary) -> VariantSummary:
    module = load(summary.path, tags=variant.tags)
    signatures = tuple(dataclasses.replace(s, flops=_count(module, s)) for s in variant.signatures)
    return dataclasses.replace(variant, signatures=signatures)


def _count(module: Module, signature: SignatureSummary) -> int | None:
    try:
        function = module.variant().function(signature.name)
        specs = [spec for info in function.inputs.values() for spec in info.component_specs]
        fixed = [tf.TensorSpec(_fixed(module, signature.name, spec.shape), spec.dtype) for spec in specs]
        graph = function.bound.graph
        built: Any = build(graph, module.variant().state.handles(graph), fixed)
    except HubKerasError:  # such as a signature whose graph is damaged: it cannot be called either
        return None
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    profile = tf.compat.v1.profiler.profile(built.graph, options=options.build())
    return int(profile.total_float_ops) or None


def _fixed(module: Module, signature: str, shape: tf.TensorShape) -> tf.TensorShape:
    """Returns the shape of one example, as far as it can be told."""
    if shape.rank is None:
        return shape
    sizes = shape.as_list()
    if sizes and sizes[0] is None:
        sizes[0] = 1
    if len(sizes) == 4 and None in sizes[1:3]:
        with contextlib.suppress(HubKerasError):  # a module that tells no size has no count either
            sizes[1:3] = get_expected_image_size(module, signature)
    return tf.TensorShape(sizes)
