"""TF2 SavedModels as modules in TF1 Hub format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubkeras.modules.defaults import DEFAULT
from hubkeras.modules.object_signatures import object_signatures, object_variables
from hubkeras.publishing.traced_modules import VARIANTS, TracedVariant, describe_traces, trace_signature
from hubkeras.publishing.variable_nodes import VariableTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.modules.object_signatures import ObjectSignature
    from hubkeras.modules.tf2_objects import LoadedObject
    from hubkeras.savedmodel.description import ModuleDescription


class PublishedObject:
    """A TF2 SavedModel as the description of a module, for `hub.Module` of the original library.

    It has a graph variant without tags and one with the tag "train": calls of the object with `training=False` and
    `training=True`, where it takes that argument. Variables have their names and are trainable as the object says; what
    a call assigns becomes an update op.

    Args:
        loaded: What `hubkeras.load` has made of the SavedModel.
    """

    def __init__(self, loaded: LoadedObject) -> None:
        purpose = f"TF2 SavedModel {loaded.description.label}"
        self.signatures = object_signatures(loaded)
        traced = {tags: _trace(loaded, self.signatures, training, purpose) for tags, training in VARIANTS.items()}
        table = object_table(loaded)
        self.description: ModuleDescription = describe_traces(traced, table, purpose, [loaded.loaded])
        self.variables = {name: published.variable for name, published in table.by_name.items()}
        """By the names that they have in the module."""


def _trace(
    loaded: LoadedObject, signatures: Mapping[str, ObjectSignature], training: bool, purpose: str
) -> TracedVariant:
    found = {
        name: trace_signature(
            lambda values, signature=signature: signature.call(values, training),
            signature.inputs,
            f"signature {name!r} of {purpose}",
        )
        for name, signature in signatures.items()
    }
    losses = trace_signature(
        lambda _: {str(i): loss() for i, loss in enumerate(loaded.regularization_losses)},
        {},
        f"the regularization losses of {purpose}",
    )
    # TensorFlow has made the results of such a function wait for what it assigns.
    return TracedVariant(found, [losses], self_updating=[name for name in found if name != DEFAULT])


def object_table(loaded: LoadedObject) -> VariableTable:
    """Returns the variables of an object, as the module names them."""
    table = VariableTable()
    for variable, trained in object_variables(loaded):
        table.add(variable, trained)
    return table
