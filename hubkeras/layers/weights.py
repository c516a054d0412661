"""The variables of a module as weights of a layer."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from hubkeras.layers.keras_internals import ModuleVariable, hold_variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Keras has no such dtypes, or casts them: these variables stay with TensorFlow, and weight files hold them besides.
_KERAS_CANNOT_HOLD = frozenset({tf.string, tf.bool, tf.complex64, tf.complex128})
_weight_by_variable: weakref.WeakValueDictionary[tuple[int, bool], keras.Variable] = weakref.WeakValueDictionary()
"""Weights that layers of this process have: by the id of the variable that each keeps alive, and for what."""


class LayerWeights:
    """The weights of a layer; each holds a variable of the module itself.

    Layers over one module have the same weights, so a model of several has each once, as its optimizer does. What a
    layer does not train is another weight of the same variable: whether a weight is trainable says nothing of layers
    that are frozen, or that do not reach it.

    Args:
        variables: By name.
        optimized: Names of those that an optimizer may have.
        path: Name of the layer, which the weights' paths start with.
    """

    def __init__(self, variables: Mapping[str, tf.Variable], optimized: frozenset[str], path: str) -> None:
        held = {n: v for n, v in variables.items() if v.dtype not in _KERAS_CANNOT_HOLD}
        # Optimizers name their slots by a weight's path, which starts with the layer's name as that of any weight does.
        with keras.name_scope(path):
            self.frozen = {n: _weight(n, v, False) for n, v in held.items()}
            self.trained = {n: _weight(n, v, True) for n, v in held.items() if n in optimized and v.dtype.is_floating}

    def by_name(self, trainable: bool) -> dict[str, keras.Variable]:
        """Returns the weights of the layer while it is trainable, or frozen."""
        return {**self.frozen, **self.trained} if trainable else self.frozen

    @contextmanager
    def all_trainable(self) -> Iterator[None]:
        """Makes all that the layer trains trainable for a while, also what the user has frozen one by one."""
        before = [weight.trainable for weight in self.trained.values()]
        for weight in self.trained.values():
            weight.trainable = True
        try:
            yield
        finally:
            for weight, trainable in zip(self.trained.values(), before, strict=True):
                weight.trainable = trainable

    def hold(self, name: str, variable: tf.Variable) -> None:
        """Gives the weights of one variable another one to hold."""
        for trained, weights in ((False, self.frozen), (True, self.trained)):
            weight = weights.get(name)
            if weight is not None and weight.value is not variable:
                # Layers that are made of the module later find the weight by the variable that it has now.
                _weight_by_variable.pop((id(weight.value), trained), None)
                _weight_by_variable[id(variable), trained] = weight
                hold_variable(weight, variable)


def _weight(name: str, variable: tf.Variable, trained: bool) -> keras.Variable:
    key = (id(variable), trained)
    weight = _weight_by_variable.get(key)
    if weight is None:
        weight = _weight_by_variable[key] = ModuleVariable(
            variable,  # pyright: ignore[reportArgumentType]
            dtype=variable.dtype.name,
            trainable=trained,
            autocast=False,  # what the graph reads is the variable, whatever dtype Keras would like to see
            name=name.replace("/", "_"),
        )
    return weight
