"""Subgraphs with the state of a module, as functions: built when they are first called, with gradients or without."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import tensorflow as tf

from hubkeras.errors import UnsupportedError
from hubkeras.functions.build_lock import built_once
from hubkeras.functions.building import build, random_seed
from hubkeras.functions.importing import gradient_errors
from hubkeras.functions.open_calls import opened_calls
from hubkeras.functions.replayed_gradients import build_replayed
from hubkeras.functions.saved_gradients import run_with_saved_gradients
from hubkeras.functions.state import is_distributed, replica
from hubkeras.graphs import tensorflow_internals
from hubkeras.graphs.random_seeds import draw_from_seed, is_random, seed_attributes
from hubkeras.graphs.subgraph import FunctionContexts
from hubkeras.graphs.tensorflow_internals import call_flat, note_access, note_frozen_access, xla_compiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hubkeras.functions.variant_state import VariantState
    from hubkeras.graphs.subgraph import Subgraph

    DrawSeed = Callable[[], tf.Tensor]

_LOOPS = frozenset({"While", "StatelessWhile"})


class BoundSubgraph:
    """A subgraph with the state of a module.

    Args:
        variant: The graph that it is cut from, and its state.
        what: For messages, what it is.
        fetches: Names of the tensors it gives.
        feeds: Full names of the tensors it is fed.
        specs: Specifications of these.
        targets: Names of ops that run as well.
    """

    def __init__(
        self,
        variant: VariantState,
        what: str,
        fetches: Sequence[str],
        feeds: Sequence[str] = (),
        specs: Sequence[tf.TensorSpec] = (),
        targets: Sequence[str] = (),
    ) -> None:
        self._variant, self._specs = variant, list(specs)
        graph = variant.graph
        self.graph = graph.cut(fetches, feeds, targets, what)
        self._seeded, self._draws = _seeded(self.graph)
        self._differentiable = self._seeded
        if self.graph.has_own_gradients:
            self._differentiable = _seeded(graph.cut(fetches, feeds, targets, what, calls_own_gradients=True))[0]
        # Both functions are called with the same handles, so they must take the same state in the same order.
        if self._differentiable.state != self.graph.state:
            raise UnsupportedError(f"Cannot build {what}: a function with a gradient of its own holds variables")

    @built_once
    def _with_gradients(self) -> Callable[..., list[tf.Tensor]]:
        """The function whose gradients can be taken, and which draws from a seed if it draws at all."""
        state = self._variant.handles(self.graph)
        if self.graph.needs_replay:
            return build_replayed(self._seeded, self._differentiable, state, self._specs, self._draws)
        return build(self._seeded, state, self._specs, self._draws)

    @built_once
    def _plain(self) -> Callable[..., list[tf.Tensor]]:
        """The function without what gradients and seeds need: it takes time, and freezing and converters refuse it."""
        if not self.graph.needs_replay and not self._draws:
            return self._with_gradients
        graph = seed_attributes(self.graph, _next_seed)
        return build(graph, self._variant.handles(graph), self._specs)

    @built_once
    def _to_take_apart(self) -> Callable[..., list[tf.Tensor]]:
        """The function for whoever takes the call apart: what it is made of has gradients in a plain graph."""
        if not self.graph.needs_replay:
            return self._with_gradients
        return build(self._differentiable, self._variant.handles(self.graph), self._specs, self._draws)

    @cached_property
    def _is_random(self) -> bool:
        """Whether calls that nobody differentiates need the same function too: random ops get their seeds in it."""
        return self._draws or any(map(is_random, self.graph.ops))

    @cached_property
    def _variables(self) -> dict[int, tf.Variable]:
        return self._variant.variables(self.graph)

    @cached_property
    def _handles(self) -> list[tf.Tensor | str]:
        """The state as it is passed to the function; names where each call has to find out."""
        fixed = {i: v.handle for i, v in self._variables.items() if not is_distributed(v)}
        return [fixed.get(i, name) for i, name in enumerate(self.graph.state)]

    def __call__(
        self,
        inputs: Sequence[tf.Tensor] = (),
        watch: bool = True,
        gradients: bool = True,
        draw_seed: DrawSeed | None = None,
    ) -> list[tf.Tensor]:
        """Runs the subgraph.

        Args:
            inputs: Values of the fed tensors.
            watch: Whether gradient tapes watch the trainable variables. Functions that are being traced learn of all
                variables in any case, so that an export finds them.
            gradients: Whether the subgraph must be one whose gradients can be taken, if anybody might, and which draws
                from a seed.
            draw_seed: Gives the two integers to draw from at random; None for such that `tf.random.set_seed` governs.

        Returns:
            The fetched tensors.
        """
        may_be_differentiated = tensorflow_internals.may_be_differentiated()
        if may_be_differentiated:
            # Here and not by the function itself: it is called with handles, which know nothing of tapes or of
            # `trainable`.
            for variable in self._variables.values():
                note = note_access if watch or not variable.trainable else note_frozen_access
                note(replica(variable))
        opened = opened_calls()
        if opened is not None:
            function = self._to_take_apart
            before_inputs = len(self.graph.state) + self._draws
            opened[function.name.decode()] = FunctionContexts(self._differentiable.contexts, before_inputs)
        elif gradients and (may_be_differentiated or self._is_random):
            function = self._with_gradients
        else:
            function = self._plain
        if (gradients or opened is not None) and self._draws:
            inputs = [draw_seed() if draw_seed is not None else random_seed(), *inputs]
        find = self._variant.handle
        handles = [find(state) if isinstance(state, str) else state for state in self._handles]
        try:
            if not may_be_differentiated:
                return call_flat(function, [*handles, *inputs])
            # Where a tape watches, this takes gradients, for which TensorFlow imports the bodies of loops once more.
            with gradient_errors(self.graph.purpose):
                return call_flat(function, [*handles, *inputs])
        except (RuntimeError, TypeError) as error:
            if _is_elsewhere(handles):
                raise _not_here(self.graph) from error
            raise

    def call_to_save(self, inputs: Sequence[tf.Tensor] = ()) -> list[tf.Tensor]:
        """Runs the subgraph in a function that is traced for a SavedModel, which its gradients are to travel with."""
        if not self.graph.needs_replay:
            return self(inputs)
        for variable in self._variables.values():
            note_access(variable)
        seed = random_seed() if self._draws else tf.zeros([2], tf.int32)
        state = self._variant.handles(self.graph)
        return run_with_saved_gradients(self._seeded, self._differentiable, state, seed, list(inputs))

    @property
    def variables(self) -> list[str]:
        """Names of the variables that it reaches."""
        return [self.graph.state[i] for i in self._variant.variables(self.graph)]

    @property
    def compiles(self) -> bool:
        """Whether XLA can compile it and its gradient, which that of a loop of unknown length is not."""
        if self.graph.needs_replay or len(self.variables) < len(self.graph.state) or _LOOPS & self.graph.ops:
            return False
        texts = any(s.dtype == tf.string for s in self._specs)
        return not texts and all(xla_compiles(op) for op in self.graph.ops)


def _is_elsewhere(handles: Sequence[tf.Tensor]) -> bool:
    """Tells whether state belongs to another graph than calls do now, or to none while they do to one."""
    with tf.init_scope():
        # `init_scope` leaves functions that are being traced, but not the plain graph of a session.
        here = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    resources = [handle for handle in handles if handle.dtype == tf.resource]
    return any((handle.graph if tf.is_symbolic_tensor(handle) else None) is not here for handle in resources)


def _not_here(graph: Subgraph) -> UnsupportedError:
    return UnsupportedError(
        f"Cannot run {graph.purpose} here: its variables and tables belong to another graph, or to eager mode",
        expected="a module that was loaded where it is called: in the same tf.Graph, or outside of any",
        fix="Call hubkeras.load again inside `with graph.as_default():`, or outside",
    )


def _seeded(graph: Subgraph) -> tuple[Subgraph, bool]:
    seeded, draws = draw_from_seed(graph)
    return seed_attributes(seeded, _next_seed), draws


def _next_seed() -> tuple[int | None, int | None]:
    with tf.init_scope():
        return tf.compat.v1.random.get_seed(None)
