"""The state of a module as it starts: values of a checkpoint, and what initializers give for variables it lacks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import tensorflow as tf

from hubkeras.errors import FormatError, HubKerasError
from hubkeras.functions.building import build, random_seed
from hubkeras.functions.restoring import restore
from hubkeras.functions.state import State
from hubkeras.functions.variant_state import VariantState
from hubkeras.graphs.random_seeds import draw_from_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import GraphVariant, ModuleDescription, VariableSpec


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
    missing = [name for name in specs if name not in values]
    initializers = _Initializers(description, state, policy)
    for name, value in initializers.compute_together(missing).items():
        state.add(specs[name], value)
    # One by one, since an initializer may read a variable that got its value just before.
    for name in (name for name in missing if name not in state.by_name):
        value = initializers.compute(name)
        if value is not None:
            state.add(specs[name], value)
    return state


class _Initializers:
    """What gives the initial values of a module's variables.

    A random op of a graph without a seed draws from one that TensorFlow's global seed determines. One that the
    publisher gave a seed keeps it.
    """

    def __init__(self, description: ModuleDescription, state: State, policy: OpPolicy) -> None:
        self._description, self._state, self._policy = description, state, policy
        self._known: dict[GraphVariant, VariantState] = {}

    def compute_together(self, names: Iterable[str]) -> dict[str, tf.Tensor]:
        """Returns the initial values of many variables, by one function for each graph variant.

        What cannot be computed in this way, because one value depends on another or something is broken, is left out.
        """
        groups: dict[GraphVariant, dict[str, str]] = {}
        for name in names:
            found = self._description.initial_value(name)
            if found is not None:
                groups.setdefault(found[0], {})[name] = found[1]
        values: dict[str, tf.Tensor] = {}
        for variant, tensors in groups.items():
            try:
                results = self._run(variant, "the initial values", list(tensors.values()))
            except (HubKerasError, tf.errors.OpError):  # found again, and named, one by one
                continue
            values |= dict(zip(tensors, results, strict=True))
        return values

    def compute(self, name: str) -> tf.Tensor | None:
        """Returns the initial value of a variable; None if nothing gives it one.

        Raises:
            FormatError: It cannot be computed.
        """
        found = self._description.initial_value(name)
        if found is None:
            return None
        what = f"the initial value of variable {name!r}"
        try:
            return self._run(found[0], what, [found[1]])[0]
        except tf.errors.OpError as error:
            raise FormatError(
                f"Cannot compute {what} of module {self._description.label}",
                expected="an initializer that runs",
                received=error.message,
                fix="The module is damaged, or was written by a broken exporter",
            ) from error

    def _run(self, variant: GraphVariant, what: str, tensors: list[str]) -> list[tf.Tensor]:
        if variant not in self._known:
            self._known[variant] = VariantState(variant, self._state, self._description.label, self._policy)
        known = self._known[variant]
        graph, draws = draw_from_seed(known.graph.cut(tensors, what=what))
        state = known.handles(graph)
        return list(build(graph, state, [], draws)(*state, *([self._seed] if draws else [])))

    @cached_property
    def _seed(self) -> tf.Tensor:
        with tf.init_scope():
            return random_seed()
