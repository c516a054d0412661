"""Symbolic outputs of something that no signature describes, found by calling it; ragged values stay ragged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable


class _Ragged:
    """A ragged KerasTensor, of which Keras itself would make a dense placeholder."""

    def __init__(self, tensor: keras.KerasTensor) -> None:
        self._tensor = tensor

    def placeholder(self) -> tf.RaggedTensor:
        shape = self._tensor.shape
        rank = self._tensor.ragged_rank or max(len(shape) - 1, 1)
        return tf.compat.v1.ragged.placeholder(tf.as_dtype(self._tensor.dtype), rank, shape[rank + 1 :])


class _Call(keras.Operation):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self._function = function

    def call(self, inputs: Any) -> Any:
        return self._function(inputs)


def trace_outputs(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Calls a function in a graph that never runs.

    Args:
        function: The function.
        inputs: KerasTensors, in any nest.

    Returns:
        What it returns, as KerasTensors.
    """
    returned: list[Any] = []

    def run(values: Any) -> Any:
        values = keras.tree.map_structure(lambda v: v.placeholder() if isinstance(v, _Ragged) else v, values)
        returned.append(function(values))
        return returned[-1]

    def is_ragged(tensor: Any) -> bool:
        return isinstance(tensor, keras.KerasTensor) and bool(tensor.ragged)

    # `compute_output_spec` makes dense placeholders of KerasTensors and leaves all other objects alone: so ragged ones
    # pass it in disguise, and `run` makes their placeholders in the same graph.
    given = keras.tree.map_structure(lambda t: _Ragged(t) if is_ragged(t) else t, inputs)
    dense = _Call(run).compute_output_spec(given)
    return keras.tree.map_structure(_with_raggedness, dense, returned[-1])


def _with_raggedness(symbolic: Any, output: Any) -> Any:
    if not isinstance(output, tf.RaggedTensor):
        return symbolic
    return keras.KerasTensor(symbolic.shape, symbolic.dtype, ragged=True, ragged_rank=output.ragged_rank)
