"""Values of variables that no checkpoint has: what their initializers give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError
from hubkeras.functions.variant_functions import BoundSubgraph, VariantFunctions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
            what = f"the initial value of variable {spec.name!r}"
            try:
                value = BoundSubgraph(functions, what, [tensor])(watch=False)[0]
            except tf.errors.OpError as error:
                raise FormatError(
                    f"Cannot compute {what} of module {module.description.path}",
                    expected="an initializer that runs",
                    received=error.message,
                    fix="The module is damaged, or was written by a broken exporter",
                ) from error
            yield spec.name, value
