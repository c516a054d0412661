"""Fragments as TensorFlow functions of state and inputs.

Each function takes the handles of the state first, then the inputs, all of them flat tensors, and returns a list. State
is an argument and not a capture so that one function serves every replica, copy and restored layer.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.graphs.gc_pause import paused_collection
from hubkeras.graphs.lost_gradients import refuse_lost_gradients
from hubkeras.graphs.state_arguments import INPUT, STATE
from hubkeras.graphs.tensorflow_internals import copy_handle_data, wrap_function
from hubkeras.savedmodel.graph import tensor_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hubkeras.graphs.cutting import Fragment

Tensors = list[tf.Tensor]


def import_fragment(
    fragment: Fragment,
    state: Sequence[tf.Tensor],
    inputs: Sequence[tf.Tensor],
    others: Mapping[str, tf.Tensor] = MappingProxyType({}),
) -> Tensors:
    """Puts a fragment into the graph that is being built.

    Args:
        fragment: The fragment.
        state: What its state is.
        inputs: What it is fed.
        others: Further tensors that it takes from outside, by their reserved names.

    Returns:
        The fetched tensors, given out once the fragment's targets have run; a constant where there are only targets.
    """
    arguments = {f"{STATE}/{i}:0": t for i, t in enumerate(state)} | {f"{INPUT}/{i}:0": t for i, t in enumerate(inputs)}
    arguments |= others
    used = {tensor_name(ref) for node in fragment.graph_def.node for ref in node.input}
    imported = [f for f in fragment.fetches if f not in arguments]
    results = tf.graph_util.import_graph_def(
        fragment.graph_def,
        input_map={name: t for name, t in arguments.items() if name in used},
        return_elements=[*imported, *fragment.targets],
        name="",
    )
    refuse_lost_gradients(fragment.graph_def)
    arguments |= zip(imported, results, strict=False)
    fetched = [arguments[f] for f in fragment.fetches]
    targets = results[len(imported) :]
    if targets:
        with tf.control_dependencies(targets):
            fetched = [tf.identity(t) for t in fetched or [tf.constant(True)]]
    return fetched


def build(fragment: Fragment, state: Sequence[tf.Tensor], inputs: Sequence[tf.TensorSpec]) -> Callable[..., Tensors]:
    """Builds the function of a fragment that TensorFlow differentiates by itself.

    Args:
        fragment: The fragment.
        state: Handles of the kind that the function will get.
        inputs: Specifications of the inputs.

    Returns:
        A function of state and inputs.
    """

    def body(*arguments: tf.Tensor) -> Tensors:
        handles, values = adopt(arguments, state)
        return import_fragment(fragment, handles, values)

    return wrap(body, state, inputs)


def wrap(body: Callable[..., Any], state: Sequence[tf.Tensor], inputs: Sequence[tf.TensorSpec]) -> Callable[..., Any]:
    """Makes a function, without automatic control dependencies, whose first arguments are handles like `state`.

    Its outputs are its control outputs too: whoever waits for the call (an optimizer about to assign a variable that
    the call reads) waits for all that the outputs need, also where the call is inlined.
    """

    def ordered(*arguments: tf.Tensor) -> Any:
        outputs = body(*arguments)
        graph: Any = tf.compat.v1.get_default_graph()
        graph.control_outputs.extend({t.op.name: t.op for t in outputs if t.op.type != "Placeholder"}.values())
        return outputs

    with tf.init_scope(), paused_collection():
        specs = [tf.TensorSpec(t.shape, t.dtype, name=f"hubkeras_handle_{i}") for i, t in enumerate(state)]
        specs += [tf.TensorSpec(s.shape, s.dtype, name=f"hubkeras_argument_{i}") for i, s in enumerate(inputs)]
        return wrap_function(ordered, specs)


def adopt(arguments: Sequence[tf.Tensor], state: Sequence[tf.Tensor]) -> tuple[Tensors, Tensors]:
    """Splits a function's arguments into state, which learns what it holds, and inputs."""
    handles = list(arguments[: len(state)])
    for source, handle in zip(state, handles, strict=True):
        if source.dtype == tf.resource:
            copy_handle_data(source, handle)
    return handles, list(arguments[len(state) :])
