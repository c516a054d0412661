"""What Keras sees of a module: its variables as weights, once; its regularization losses, once for all its layers."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import keras

from hubkeras.layers.keras_internals import OpenLayer
from hubkeras.layers.weights import LayerWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import tensorflow as tf

    Losses = Callable[[], Iterable[Callable[[], Any]]]

_shared: weakref.WeakValueDictionary[int, RegularizationLosses] = weakref.WeakValueDictionary()
"""By the id of what owns the variables, which the functions of the losses keep alive."""


class RegularizationLosses(OpenLayer):
    """A sublayer without weights that has the losses of a module.

    Keras asks each layer of a model for its losses once, however many layers it is in.

    Args:
        functions: Returns functions without arguments, one for each loss.
    """

    def __init__(self, functions: Losses) -> None:
        super().__init__()
        self._functions = functions

    @property
    def own_losses(self) -> list[Any]:
        """The losses."""
        return [loss() for loss in self._functions()]


class TrackingLayer(OpenLayer):
    """A layer that has its weights and losses in common with the other layers over the same module.

    The losses count in each model with a layer that is trainable. A frozen layer has weights of its own of the same
    variables, so that freezing it, or training it in one model, changes nothing for the others. It does not keep
    gradients out of a frozen layer's calls where the same tape watches the variables for another layer.
    """

    _losses_of_module: _Untracked | None = None

    def share_weights(self, variables: Mapping[str, tf.Variable], optimized: frozenset[str]) -> None:
        """Makes the variables weights of this layer.

        Args:
            variables: By name.
            optimized: Names of those that an optimizer may have.
        """
        self._held = LayerWeights(variables, optimized, self.name)
        # Keras sorts weights into trainable ones and others when it first meets them, and never again.
        with self._held.all_trainable():
            self._module_weights = list(self._held.by_name(True).values())
        self._choose_weights(self.trainable)

    def share_losses(self, functions: Losses, owner: Any) -> None:
        """Makes the losses count where this layer is trainable, for all layers with one owner together.

        Args:
            functions: Returns functions without arguments, one for each loss; keeps the owner alive.
            owner: What has the variables; it may change when a module comes.
        """
        if self._losses_of_module is None:
            losses = _shared.get(id(owner)) or RegularizationLosses(functions)
        else:
            losses = self._losses_of_module.layer
            # Nothing keeps the owner there was: its id may be another's soon.
            _shared.pop(self._losses_of_module.owner, None)
        self._losses_of_module = _Untracked(_shared.setdefault(id(owner), losses), id(owner))

    @property
    def trainable(self) -> bool:
        """Whether the layer trains: whether calls may run in training mode, and weights are given to an optimizer."""
        return keras.layers.Layer.trainable.fget(self)  # pyright: ignore[reportOptionalCall]

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._choose_weights(value)
        keras.layers.Layer.trainable.fset(self, value)  # pyright: ignore[reportOptionalCall]

    def _choose_weights(self, trainable: bool) -> None:
        chosen = self._held.by_name(trainable)
        self.replace_trainable_variables([chosen[name] for name in self._held.trained])

    @property
    def _weight_of(self) -> dict[str, keras.Variable]:
        return self._held.by_name(self.trainable)

    @property
    def hidden_sublayer(self) -> keras.layers.Layer | None:
        """The losses, while the layer is trainable."""
        return self._losses_of_module.layer if self._losses_of_module is not None and self.trainable else None


class _Untracked:
    """Holds on to a sublayer, which Keras would save if it found it among a layer's attributes.

    Args:
        layer: The sublayer.
        owner: The id of what its losses are of.
    """

    def __init__(self, layer: RegularizationLosses, owner: int) -> None:
        self.layer, self.owner = layer, owner
