"""Gradients that only a plain graph gives: through v1 control flow, and of functions with a gradient of their own.

Inside a function TensorFlow cannot differentiate `Enter`, `Exit`, `Switch` and `Merge`. In a plain graph that knows the
control flow contexts it can. So the function of such a subgraph calls one that just runs it, and where a gradient is
asked for it calls another one, built then: the subgraph and its gradient, imported from a plain graph.

That backward function runs the subgraph again, and what it runs must be what ran before:

1. Random ops draw from a seed which comes with each call and both functions get (`random_seeds`); what other ops of
   that kind gave is a residual, and so are rows gathered from variables (`residuals`).
2. Any other variable is, in the backward function, a variable of that function alone, which starts from the value that
   the forward call started from. So assignments happen again, but to nothing that lasts, and what is assigned between
   a call and its gradient does not count.
3. Everything else is an argument.

Second derivatives are not available. What ties the two functions together is lost in a SavedModel, whose functions
`saved_gradients` ties in a way that travels.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from hubkeras.errors import UnsupportedError
from hubkeras.functions.build_lock import control_flow_v1
from hubkeras.functions.building import SEED_SPEC, Tensors, reserved_names, split_arguments, wrap
from hubkeras.functions.importing import gradient_errors, import_graph, import_with_contexts
from hubkeras.graphs.gradient_graphs import cut_gradient
from hubkeras.graphs.random_seeds import SEED, SEED_NODE
from hubkeras.graphs.residuals import RESIDUAL, find_residuals
from hubkeras.graphs.subgraph import INPUT, STATE, used_tensors
from hubkeras.graphs.tensorflow_internals import handle_spec, set_gradient
from hubkeras.graphs.variable_values import VALUE, read_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hubkeras.graphs.subgraph import Subgraph

_ANONYMOUS_NAME = "cd2c89b7-88b7-44c8-ad83-06c2a9158347"
"""As `shared_name`, makes a VarHandleOp create a variable of its own each time it runs
(`ResourceHandle::ANONYMOUS_NAME`, tensorflow/core/framework/resource_handle.h)."""
_NO_SECOND_DERIVATIVES = (
    "There are no second derivatives through v1 control flow, nor through functions with a gradient of their own"
)
_GRADIENT = "hubkeras_gradient"


def build_replayed(
    graph: Subgraph,
    differentiable: Subgraph,
    state: Sequence[tf.Tensor],
    inputs: Sequence[tf.TensorSpec],
    draws: bool,
) -> Callable[..., Tensors]:
    """Builds the function of a subgraph whose gradient replays it in a plain graph.

    Args:
        graph: What a call runs.
        differentiable: The same with calls of functions that have a gradient of their own.
        state: Handles of the kind that the function will get.
        inputs: Specifications of the inputs.
        draws: Whether what a call runs draws from a seed, two integers.

    Returns:
        A function of state, the seed if there is one, and inputs.
    """
    backward = Backward(graph, differentiable, state, inputs)
    count = len(graph.fetches)

    def body(*arguments: tf.Tensor) -> Tensors:
        handles, values = split_arguments(arguments, state)
        # The forward function always takes one; what draws nothing does not look at it.
        seed = values.pop(0) if draws else tf.zeros([2], tf.int32)
        results, residuals = backward.run_forward(handles, seed, values)
        residuals = [tf.stop_gradient(t) for t in residuals]
        # One op over all that a gradient may need: its gradient function finds them among the op's inputs.
        tied = tf.identity_n([*results, *handles, *residuals, seed, *values])
        set_gradient(tied[0].op, lambda op, *gradients: backward(op, gradients))
        return tied[:count]

    return wrap(body, state, [SEED_SPEC, *inputs] if draws else inputs)


class _Built(NamedTuple):
    """A backward function."""

    function: Callable[..., Tensors]
    """Takes state, values of variables, the other residuals, the seed, the inputs, the gradients of the outputs."""
    state: list[int]
    """Positions of the state that it takes: no variables whose value it gets; a function that holds on to a handle
    as an intermediate result asks for a dense gradient of it."""
    layout: list[Any]
    """Of the gradient of each state and input: None, 1 (a tensor) or 3 (slices)."""


class Backward:
    """A subgraph's forward function, and its backward functions, each built when it is first called.

    Args:
        forward: What a call runs, with random ops that draw from a seed.
        differentiable: The same with calls of functions that have a gradient of their own.
        state: Handles of the kind that the function will get.
        inputs: Specifications of the inputs.
        is_saved: Whether a SavedModel is to hold the backward functions.
    """

    def __init__(
        self,
        forward: Subgraph,
        differentiable: Subgraph,
        state: Sequence[tf.Tensor],
        inputs: Sequence[tf.TensorSpec],
        is_saved: bool = False,
    ) -> None:
        self._is_saved = is_saved
        self.state, self.inputs = list(state), list(inputs)
        self.variables = {i: spec for i, t in enumerate(state) if (spec := handle_spec(t)) is not None}
        self.residuals = find_residuals(forward, differentiable, self.variables)
        # Snapshots are whole values of variables at the time of the call; an optimizer may have changed them before the
        # gradient.
        self.graph, self.snapshots = self.residuals.graph, self.residuals.whole
        self._functions: dict[tuple[int, ...], _Built] = {}
        with_residuals = dataclasses.replace(forward, fetches=(*forward.fetches, *self.residuals.tensors))

        def run(*arguments: tf.Tensor) -> Tensors:
            handles, (seed, *values) = split_arguments(arguments, state)
            return import_graph(with_residuals, {**reserved_names(handles, values), SEED: seed})

        self._forward: Any = wrap(run, state, [SEED_SPEC, *inputs])
        self.residual_specs = [tf.TensorSpec(t.shape, t.dtype) for t in self._forward.outputs[len(forward.fetches) :]]

    def run_forward(self, handles: Tensors, seed: tf.Tensor, values: Tensors) -> tuple[Tensors, Tensors]:
        """Runs the subgraph, and returns what it gives and what a gradient needs besides the seed and the inputs."""
        before = [
            tf.raw_ops.ReadVariableOp(resource=handles[i], dtype=self.variables[i].dtype) for i in self.residuals.whole
        ]
        with tf.control_dependencies(before):
            results = list(self._forward(*handles, seed, *values))
        count = len(self.graph.fetches)
        return results[:count], before + results[count:]

    def __call__(self, op: tf.Operation, output_gradients: Sequence[tf.Tensor | None]) -> list[Any]:
        """Returns the gradients of the IdentityN that ties a call together, one for each of its inputs."""
        outputs = len(self.graph.fetches)
        handles, arguments = _split(op.inputs[outputs:], len(self.state))
        wanted = {
            i: tf.convert_to_tensor(g)
            for i, g in enumerate(output_gradients[:outputs])
            # There may be zeros for outputs of integers too, through which nothing can be differentiated.
            if g is not None and is_differentiable(op.outputs[i].dtype)
        }
        if not wanted:
            return [None] * len(op.inputs)
        states, rest = self.run_backward(handles, arguments, wanted, _without_gradient)
        return [None] * outputs + states + [None] * (len(self.snapshots) + len(self.residual_specs) + 1) + rest

    def run_backward(
        self,
        handles: Tensors,
        arguments: Tensors,
        wanted: Mapping[int, tf.Tensor],
        finish: Callable[[Tensors, Tensors], Tensors],
    ) -> tuple[list[Any], list[Any]]:
        """Takes gradients.

        Args:
            handles: The state.
            arguments: The residuals of the forward function, the seed, the inputs.
            wanted: Gradients of the results, by position.
            finish: Applied to the gradients' tensors, and to what they were made of.

        Returns:
            The gradients of the state and those of the inputs, None where there is none.
        """
        given = tuple(wanted)
        if given not in self._functions:
            self._functions[given] = self._build(given, [wanted[i].dtype for i in given])
        built = self._functions[given]
        arguments = [*arguments, *wanted.values()]
        results = built.function(*(handles[i] for i in built.state), *arguments)
        flat = iter(finish(results, arguments))
        gradients = [_take(kind, flat) for kind in built.layout]
        return gradients[: len(self.state)], gradients[len(self.state) :]

    def _build(self, given: tuple[int, ...], dtypes: list[tf.DType]) -> _Built:
        gradient, layout = self._differentiate(given)
        taken: frozenset[int] = frozenset()
        if self._is_saved:
            numbers = {i: self.variables[i].dtype.as_datatype_enum for i in self.snapshots}
            gradient, taken = read_values(gradient, numbers)
        used = used_tensors(gradient.nodes.values())
        passed = [i for i in range(len(self.state)) if f"{STATE}/{i}:0" in used and i not in self.snapshots]
        handles_passed = [self.state[i] for i in passed]

        def body(*arguments: tf.Tensor) -> Tensors:
            handles, rest = split_arguments(arguments, handles_passed)
            before, rest = _split(rest, len(self.snapshots))
            residuals, rest = _split(rest, len(self.residual_specs))
            (seed, *values), wanted = _split(rest, 1 + len(self.inputs))
            names = {f"{STATE}/{i}:0": t for i, t in zip(passed, handles, strict=True)}
            for i, value in zip(self.snapshots, before, strict=True):
                if i in taken:
                    names[f"{VALUE}/{i}:0"] = value
                else:
                    names[f"{STATE}/{i}:0"] = _own_variable(value, self._is_saved)
            names |= {f"{RESIDUAL}/{i}:0": t for i, t in enumerate(residuals)}
            names |= {f"{_GRADIENT}/{i}:0": t for i, t in zip(given, wanted, strict=True)}
            return import_graph(gradient, {**reserved_names([], values), SEED: seed, **names})

        specs = [*(self.variables[i] for i in self.snapshots), *self.residual_specs]
        specs += [SEED_SPEC, *self.inputs]
        specs += [tf.TensorSpec(None, dtype) for dtype in dtypes]  # pyright: ignore[reportArgumentType]
        return _Built(wrap(body, handles_passed, specs), passed, layout)

    def _differentiate(self, given: tuple[int, ...]) -> tuple[Subgraph, list[Any]]:
        """Takes the gradients in a plain graph.

        Returns:
            The gradients as a subgraph of the same state and inputs, and for each state and input None, 1 (a tensor) or
            3 (slices).
        """
        with control_flow_v1(), tf.Graph().as_default() as graph:
            sources = self._make_sources()
            tensors = import_with_contexts(self.graph, sources)
            ys = [tensors[self.graph.fetches[i]] for i in given]
            weights = [
                tf.compat.v1.placeholder(y.dtype.base_dtype, y.shape, f"{_GRADIENT}/{i}")
                for i, y in zip(given, ys, strict=True)
            ]
            names = [f"{STATE}/{i}:0" for i in range(len(self.state))]
            names += [f"{INPUT}/{i}:0" for i in range(len(self.inputs))]
            xs = [sources[n] for n in names]
            floating = [i for i in range(len(names)) if self._is_source(i)]
            # What contexts say about each other is first looked at where gradients go through them.
            with gradient_errors(self.graph.purpose):
                found = tf.compat.v1.gradients(ys, [xs[i] for i in floating], weights)
                self._check_ends(ys, [xs[i] for i in floating], sources)
            gradients = dict(zip(floating, found, strict=True))
            fetches, layout = _flatten([gradients.get(i) for i in range(len(xs))])
            names = [tf.identity(t).name for t in fetches]
        return cut_gradient(self.graph, graph.as_graph_def(), names), layout

    def _check_ends(self, ys: Tensors, xs: Tensors, sources: dict[str, tf.Tensor]) -> None:
        """Refuses a gradient that would have to go through an op whose results are residuals.

        Raises:
            UnsupportedError: There is one.
        """
        graph = tf.compat.v1.get_default_graph()
        ends = [sources[e] if e in sources else graph.get_tensor_by_name(e) for e in self.residuals.ends]
        ends = [e for e in ends if is_differentiable(e.dtype)]
        # First whether any gradient reaches a residual at all: nearly always none does, and the rest is not looked at.
        starts = [t for n, t in sources.items() if n.startswith(RESIDUAL) and t.dtype.is_floating]
        if not ends or not starts or all(g is None for g in tf.compat.v1.gradients(ys, starts)):
            return
        for end in ends:
            if any(g is not None for g in tf.compat.v1.gradients(end, xs)):
                raise UnsupportedError(
                    "Cannot differentiate through an op that draws at random, in a graph with v1 control flow",
                    expected="a random op whose parameters do not depend on variables or inputs",
                    received=f"one that takes {end.name!r}",
                )

    def _make_sources(self) -> dict[str, tf.Tensor]:
        sources = {SEED: tf.compat.v1.placeholder(tf.int32, [2], SEED_NODE)}
        for i, spec in enumerate(self.residual_specs):
            sources[f"{RESIDUAL}/{i}:0"] = tf.compat.v1.placeholder(spec.dtype, spec.shape, f"{RESIDUAL}/{i}")
        for i, handle in enumerate(self.state):
            name, variable = f"{STATE}/{i}", self.variables.get(i)
            # Variables are real in the plain graph, so that TensorFlow finds the gradient of a read as that of its
            # handle.
            if variable is None:
                sources[f"{name}:0"] = tf.compat.v1.placeholder(handle.dtype, handle.shape, name)
            else:
                sources[f"{name}:0"] = tf.raw_ops.VarHandleOp(dtype=variable.dtype, shape=variable.shape, name=name)
        for i, spec in enumerate(self.inputs):
            sources[f"{INPUT}/{i}:0"] = tf.compat.v1.placeholder(spec.dtype, spec.shape, f"{INPUT}/{i}")
        return sources

    def _is_source(self, position: int) -> bool:
        """Tells whether the state or input at a position can have a gradient."""
        inputs = dict(enumerate(self.inputs, start=len(self.state)))
        spec = self.variables.get(position) or inputs.get(position)
        return spec is not None and is_differentiable(spec.dtype)


def is_differentiable(dtype: tf.DType) -> bool:
    """Tells whether gradients go through tensors of a dtype."""
    return dtype.is_floating or dtype.is_complex


def _own_variable(value: tf.Tensor, is_saved: bool) -> tf.Tensor:
    """Makes a variable that lives as long as the function runs, and returns its handle.

    TensorFlow gives every variable in a SavedModel's functions a name when it loads them. So there it lasts, and it
    must not share its name with another one.
    """
    name = f"hubkeras_{uuid.uuid4()}" if is_saved else _ANONYMOUS_NAME
    handle = tf.raw_ops.VarHandleOp(dtype=value.dtype, shape=value.shape, shared_name=name)
    with tf.control_dependencies([tf.raw_ops.AssignVariableOp(resource=handle, value=value)]):
        return tf.identity(handle)


def _split(tensors: Sequence[tf.Tensor], count: int) -> tuple[Tensors, Tensors]:
    return list(tensors[:count]), list(tensors[count:])


def _flatten(gradients: Sequence[Any]) -> tuple[Tensors, list[Any]]:
    flat: Tensors = []
    layout: list[Any] = []
    for gradient in gradients:
        if gradient is None:
            layout.append(None)
        elif isinstance(gradient, tf.IndexedSlices):
            # Slices stay slices through the function: a dense gradient of an embedding can be larger than all the
            # memory.
            flat += [gradient.values, gradient.indices, gradient.dense_shape]
            layout.append(3)
        else:
            flat.append(gradient)
            layout.append(1)
    return flat, layout


def _take(kind: int | None, flat: Any) -> Any:
    if kind is None:
        return None
    return next(flat) if kind == 1 else tf.IndexedSlices(next(flat), next(flat), next(flat))


def _without_gradient(tensors: Tensors, arguments: Tensors) -> Tensors:
    """Ties gradients to what they were made of: building a gradient of theirs works, computing it fails."""

    def fail(op: tf.Operation, *gradients: tf.Tensor) -> list[Any]:
        del gradients
        # An error at once would come too early: TensorFlow builds gradients of gradients that nobody ever computes.
        with tf.control_dependencies([tf.raw_ops.Assert(condition=False, data=[_NO_SECOND_DERIVATIVES])]):
            zeros = [tf.zeros_like(t) if t.dtype.is_floating else None for t in op.inputs[len(tensors) :]]
        return [None] * len(tensors) + zeros

    if not tensors:
        return tensors
    tied = tf.identity_n([*map(tf.stop_gradient, tensors), *arguments])
    set_gradient(tied[0].op, fail)
    return tied[: len(tensors)]
