"""Modules put together from traced functions: what is published of Keras models and of TF2 objects alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hubkeras.errors import HubKerasError, PublishingError, SignatureTypeError
from hubkeras.publishing.asset_collection import AssetFiles
from hubkeras.publishing.captured_state import CapturedState
from hubkeras.publishing.function_traces import trace
from hubkeras.publishing.graph_variants import GraphVariantBuilder
from hubkeras.savedmodel.protos import SavedModel, dtypes
from hubkeras.savedmodel.reader import describe_saved_model

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from hubkeras.publishing.function_traces import Trace
    from hubkeras.publishing.variable_nodes import VariableTable
    from hubkeras.savedmodel.description import ModuleDescription, Tags

VARIANTS = {frozenset(): False, frozenset({"train"}): True}
"""Whether each variant of such a module is for training, by its tags."""


@dataclass(frozen=True)
class TracedVariant:
    """The functions of one graph variant."""

    signatures: Mapping[str, Trace]
    losses: Sequence[Trace]
    """The regularization losses, the outputs of these."""
    attachments: Mapping[str, Any] = field(default_factory=dict)
    """Messages by their keys."""
    self_updating: Collection[str] = ()
    """Names of signatures that assign whenever their outputs are computed, and so need no update ops."""


def describe_traces(
    variants: Mapping[Tags, TracedVariant], variables: VariableTable, purpose: str, roots: Iterable[Any]
) -> ModuleDescription:
    """Describes a module of traced functions.

    Args:
        variants: The traces by the tags of the variants.
        variables: All variables of the functions.
        purpose: For messages, what is being published.
        roots: Trackable objects, such as models, that the functions belong to.
    """
    saved_model, files, state = SavedModel(saved_model_schema_version=1), AssetFiles(), CapturedState(purpose, roots)
    for tags, variant in variants.items():
        builder = GraphVariantBuilder(tags, variables, state, purpose)
        for each in variant.losses:
            builder.add_regularization_losses(each)
        for name, each in variant.signatures.items():
            builder.add_signature(name, each, has_updates=name not in variant.self_updating)
        for key, message in variant.attachments.items():
            builder.attach(key, message)
        meta_graph = saved_model.meta_graphs.add()
        meta_graph.CopyFrom(builder.finish())
        files.collect(meta_graph)
    return describe_saved_model(saved_model, files.by_name)


def trace_signature(function: Any, inputs: Mapping[str, Any], what: str) -> Trace:
    """Traces the function of a signature, or one without inputs that computes losses.

    Args:
        function: Takes a dict with a tensor for each input, and returns a dict of tensors.
        inputs: Specifications by name.
        what: For messages, what it is.

    Raises:
        PublishingError: The function fails.
        SignatureTypeError: Nobody could feed an input or fetch an output.
    """
    try:
        found = trace(function, inputs, what)
    except HubKerasError:
        raise
    except Exception as error:
        raise PublishingError(
            f"Cannot publish {what}: its function failed",
            expected=f"a function of {', '.join(f'{n}: {s}' for n, s in inputs.items()) or 'nothing'}",
            received=f"{type(error).__name__}: {error}",
            fix="Pass signatures= with the specifications of the inputs if these are wrong",
        ) from error
    for role, infos in (("input", found.inputs), ("output", found.outputs)):
        for name, info in infos.items():
            if info.dtype in (dtypes.DT_RESOURCE, dtypes.DT_VARIANT):
                raise SignatureTypeError(
                    f"Cannot publish {what}",
                    expected="tensors of numbers, booleans and strings",
                    received=f"{role} {name!r} of dtype {dtypes.DataType.Name(info.dtype)}",
                )
    return found
