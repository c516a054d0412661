"""Values of variables that no checkpoint has: what their initializers give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.functions.variant_functions import BoundSubgraph, VariantFunctions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tensorflow as tf

    from hubkeras.savedmodel.description import VariableSpec


def initial_values(module: Any, specs: Sequence[VariableSpec]) -> Iterator[tuple[str, tf.Tensor]]:
    """Computes the initial values of variables, one after the other, so that one may depend on those before it.

    Args:
        module: The module, with the variables that a checkpoint has.
        specs: The other variables.

    Yields:
        Name and value; none for a variable that has no initializer, which is an error only when something reads it.
    """
    for spec in specs:
        found = module.description.initial_value(spec.name)
        if found is not None:
            variant, tensor = found
            functions = VariantFunctions(variant, module.state, str(module.description.path), module.policy)
            bound = BoundSubgraph(functions, f"the initial value of variable {spec.name!r}", [tensor])
            yield spec.name, bound(watch=False)[0]
