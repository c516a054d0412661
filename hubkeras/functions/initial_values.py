"""The state of a module as it starts: values of a checkpoint, and what initializers give for variables it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from hubkeras.errors import FormatError
from hubkeras.functions.restoring import restore
from hubkeras.functions.state import State
from hubkeras.functions.variant_functions import BoundSubgraph, VariantFunctions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import ModuleDescription, VariableSpec


def initial_state(
    description: ModuleDescription,
    specs: Mapping[str, VariableSpec],
    policy: OpPolicy,
    values: Mapping[str, tf.Tensor] | None = None,
) -> State:
    """Makes the variables of a module.

    Args:
        description: The module.
        specs: The variables to make, by name.
        policy: What the graphs may do that give initial values.
        values: Values of the variables, by name; None for those of the module's own checkpoint.

    Returns:
        The state. It lacks a variable that has no initializer either, which is an error only when something reads it.

    Raises:
        FormatError: The checkpoint is damaged, or an initializer fails.
    """
    values = restore(description, specs.values()) if values is None else values
    state = State({name: spec for name, spec in specs.items() if name in values}, values)
    for name in [name for name in specs if name not in values]:  # one after the other: each may depend on those before
        found = description.initial_value(name)
        if found is not None:
            functions = VariantFunctions(found[0], state, description.label, policy)
            state.add(specs[name], _compute(functions, name, found[1]))
    return state


def _compute(functions: VariantFunctions, variable: str, tensor: str) -> tf.Tensor:
    what = f"the initial value of variable {variable!r}"
    try:
        return BoundSubgraph(functions, what, [tensor])(watch=False)[0]
    except tf.errors.OpError as error:
        raise FormatError(
            f"Cannot compute {what} of module {functions.graph.module}",
            expected="an initializer that runs",
            received=error.message,
            fix="The module is damaged, or was written by a broken exporter",
        ) from error
