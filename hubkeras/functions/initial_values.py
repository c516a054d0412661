"""The state of a module as it starts: values of a checkpoint, and what initializers give for variables it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubkeras.functions.restoring import restore
from hubkeras.functions.state import State
from hubkeras.functions.variant_functions import BoundSubgraph, VariantFunctions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import ModuleDescription, VariableSpec


def initial_state(description: ModuleDescription, specs: Mapping[str, VariableSpec], policy: OpPolicy) -> State:
    """Makes the variables of a module.

    Args:
        description: The module.
        specs: The variables to make, by name.
        policy: What the graphs may do that give initial values.

    Returns:
        The state. It lacks a variable that has no initializer either, which is an error only when something reads it.
    """
    values = restore(description, specs.values())
    state = State({name: spec for name, spec in specs.items() if name in values}, values)
    for name in [name for name in specs if name not in values]:  # one after the other: each may depend on those before
        found = description.initial_value(name)
        if found is not None:
            variant, tensor = found
            functions = VariantFunctions(variant, state, str(description.path), policy)
            value = BoundSubgraph(functions, f"the initial value of variable {name!r}", [tensor])(watch=False)[0]
            state.add(specs[name], value)
    return state
