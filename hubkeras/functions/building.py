"""Subgraphs as TensorFlow functions of state and inputs.

Each function takes the handles of the state first, then the inputs, all of them flat tensors, and returns a list. State
is an argument and not a capture so that one function serves every replica, copy and restored layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.functions.importing import import_graph
from hubkeras.graphs.gc_pause import paused_collection
from hubkeras.graphs.random_seeds import SEED
from hubkeras.graphs.subgraph import INPUT, STATE
from hubkeras.graphs.tensorflow_internals import copy_handle_data, wrap_function

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hubkeras.graphs.subgraph import Subgraph

Tensors = list[tf.Tensor]


SEED_SPEC: Any = tf.TensorSpec([2], tf.int32)


def random_seed() -> tf.Tensor:
    """Returns a seed for one call, which `tf.random.set_seed` governs."""
    return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)


def build(
    graph: Subgraph, state: Sequence[tf.Tensor], inputs: Sequence[tf.TensorSpec], draws: bool = False
) -> Callable[..., Tensors]:
    """Builds the function of a subgraph that TensorFlow differentiates by itself.

    Args:
        graph: The subgraph.
        state: Handles of the kind that the function will get.
        inputs: Specifications of the inputs.
        draws: Whether the subgraph draws from a seed, two integers.

    Returns:
        A function of state, the seed if there is one, and inputs.
    """

    def body(*arguments: tf.Tensor) -> Tensors:
        handles, values = split_arguments(arguments, state)
        seed = {SEED: values.pop(0)} if draws else {}
        return import_graph(graph, reserved_names(handles, values) | seed)

    return wrap(body, state, [SEED_SPEC, *inputs] if draws else inputs)


def reserved_names(state: Sequence[tf.Tensor], inputs: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns state and inputs by the names that they have in a subgraph."""
    named = {f"{STATE}/{i}:0": t for i, t in enumerate(state)}
    return named | {f"{INPUT}/{i}:0": t for i, t in enumerate(inputs)}


def wrap(body: Callable[..., Any], state: Sequence[tf.Tensor], inputs: Sequence[tf.TensorSpec]) -> Callable[..., Any]:
    """Makes a function, without automatic control dependencies, whose first arguments are handles like `state`.

    Its outputs are its control outputs too: whoever waits for the call (an optimizer about to assign a variable that
    the call reads) waits for all that the outputs need, also where the call is inlined.
    """

    def ordered(*arguments: tf.Tensor) -> Any:
        outputs = body(*arguments)
        graph: Any = tf.compat.v1.get_default_graph()
        # Not placeholders: an output that is an input as it came has nothing to wait for.
        graph.control_outputs.extend({t.op.name: t.op for t in outputs if t.op.type != "Placeholder"}.values())
        return outputs

    # Outside of whatever function is being traced: what is built lasts, and later calls come from other functions.
    with tf.init_scope(), paused_collection():
        specs = [tf.TensorSpec(t.shape, t.dtype, name=f"hubkeras_handle_{i}") for i, t in enumerate(state)]
        specs += [tf.TensorSpec(s.shape, s.dtype, name=f"hubkeras_argument_{i}") for i, s in enumerate(inputs)]
        return wrap_function(ordered, specs)


def split_arguments(arguments: Sequence[tf.Tensor], state: Sequence[tf.Tensor]) -> tuple[Tensors, Tensors]:
    """Splits a function's arguments into state, which learns what it holds, and inputs."""
    handles = list(arguments[: len(state)])
    for source, handle in zip(state, handles, strict=True):
        # Placeholders lose what a handle points to, and without it shapes and dtypes of reads are unknown.
        if source.dtype == tf.resource:
            copy_handle_data(source, handle)
    return handles, list(arguments[len(state) :])
