"""Gradients that travel with a SavedModel, of what only a plain graph differentiates (`replayed_gradients`).

A SavedModel holds a traced function for every gradient that `tf.custom_gradient` registers. TensorFlow traces it from
outside of the function whose gradient it is, with the outputs' gradients as its only arguments. So it names all else
that it needs: intermediate results of that function, and the state itself.

1. State cannot be an intermediate result; the gradient holds on to the handles that exist outside of all functions.
2. Where a gradient is not asked for, a loaded function gets zeros, of size 1 along axes of unknown size.
3. What is tied is the value of each variable, not its handle: a loaded function has no gradient of a resource. So the
   gradient of a table of embeddings is dense.
4. The backward function takes the values of variables that it only reads. The others, which control flow assigns or
   functions get, are variables of that function alone; TensorFlow gives these a name when it loads them. So they last,
   and two threads must not take such gradients through one loaded function at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.functions.replayed_gradients import Backward, is_differentiable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hubkeras.functions.building import Tensors
    from hubkeras.graphs.subgraph import Subgraph


def run_with_saved_gradients(
    forward: Subgraph, differentiable: Subgraph, state: Sequence[tf.Tensor], seed: tf.Tensor, inputs: Tensors
) -> Tensors:
    """Runs a subgraph, in a function that is being traced for a SavedModel, so that its gradients travel with it.

    Args:
        forward: What a call runs.
        differentiable: The same with calls of functions that have a gradient of their own.
        state: Its handles, which exist outside of the function.
        seed: Two integers that it draws from.
        inputs: Its inputs.
    """
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in inputs]
    backward = Backward(forward, differentiable, state, specs, is_saved=True)
    results, residuals = backward.run_forward(list(state), seed, inputs)
    trained = [i for i, spec in backward.variables.items() if is_differentiable(spec.dtype)]
    values = [tf.raw_ops.ReadVariableOp(resource=state[i], dtype=backward.variables[i].dtype) for i in trained]
    given = [i for i, t in enumerate(inputs) if is_differentiable(t.dtype)]
    tied = [i for i, t in enumerate(results) if is_differentiable(t.dtype)]
    if not tied:
        return results

    @tf.custom_gradient
    def tie(*tensors: tf.Tensor) -> Any:
        outputs = tensors[: len(tied)]

        def gradient(*weights: tf.Tensor) -> list[Any]:
            # Adding gives a zero of size 1 the result's shape.
            wanted = {
                i: tf.convert_to_tensor(weight) + tf.zeros_like(results[i])
                for i, weight in zip(tied, weights, strict=True)
            }
            states, rest = backward.run_backward(
                list(state), [*residuals, seed, *inputs], wanted, lambda gradients, _: gradients
            )
            found = [states[i] for i in trained] + [rest[i] for i in given]
            return [None] * len(tied) + [None if g is None else tf.convert_to_tensor(g) for g in found]

        return outputs, gradient

    joined = tie(*(tf.stop_gradient(results[i]) for i in tied), *values, *(inputs[i] for i in given))
    for i, tensor in zip(tied, joined, strict=True):
        results[i] = tensor
    return results
