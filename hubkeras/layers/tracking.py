"""What Keras sees of a module: its variables as weights, once; its regularization losses, once for all its layers."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import keras

from hubkeras.config import LOGGER
from hubkeras.layers.keras_internals import OpenLayer
from hubkeras.layers.weights import LayerWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import tensorflow as tf

    from hubkeras.layers.config import LayerSpec

    Losses = Callable[[], Iterable[Callable[[], Any]]]

_losses_by_owner: weakref.WeakValueDictionary[int, RegularizationLosses] = weakref.WeakValueDictionary()
"""By the id of what owns the variables, which the functions of the losses keep alive."""


class RegularizationLosses(OpenLayer):
    """A sublayer without weights that has the losses of a module.

    Keras asks each layer of a model for its losses once, however many layers it is in.
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

    _losses_of_module: _UntrackedSublayer | None = None

    def share_weights(self, variables: Mapping[str, tf.Variable], optimized: frozenset[str]) -> None:
        """Makes variables weights of this layer, of which an optimizer may have some."""
        self._layer_weights = LayerWeights(variables, optimized, self.name)
        # Keras sorts weights into trainable ones and others when it first meets them, and never again.
        with self._layer_weights.all_trainable():
            self._module_weights = list(self._layer_weights.by_name(True).values())
        self._choose_weights(self.trainable)

    def share_losses(self, functions: Losses, owner: Any) -> None:
        """Makes the losses count where this layer is trainable, for all layers with one owner together.

        Args:
            functions: Returns functions without arguments, one for each loss; keeps the owner alive.
            owner: What has the variables; it may change when a module comes.
        """
        if self._losses_of_module is None:
            losses = _losses_by_owner.get(id(owner)) or RegularizationLosses(functions)
        else:
            losses = self._losses_of_module.layer
            # Nothing keeps the owner there was: its id may be another's soon.
            _losses_by_owner.pop(self._losses_of_module.owner, None)
        self._losses_of_module = _UntrackedSublayer(_losses_by_owner.setdefault(id(owner), losses), id(owner))

    @property
    def trainable(self) -> bool:
        """Whether the layer trains: whether calls may run in training mode, and weights are given to an optimizer."""
        return keras.layers.Layer.trainable.fget(self)  # pyright: ignore[reportOptionalCall]

    # Keras' setter marks the weights in its list, and other layers over the module have the same ones: so those that
    # fit are put there first.
    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._choose_weights(value)
        keras.layers.Layer.trainable.fset(self, value)  # pyright: ignore[reportOptionalCall]

    def _choose_weights(self, trainable: bool) -> None:
        chosen = self._layer_weights.by_name(trainable)
        self.replace_trainable_variables([chosen[name] for name in self._layer_weights.trained])

    def frozen_one_by_one(self) -> list[str]:
        """Returns the names of the variables that the user froze with `weight.trainable = False`."""
        weights = self._layer_weights.trained if self.trainable else {}
        return [name for name in sorted(weights) if not weights[name].trainable]

    def freeze_one_by_one(self, names: Iterable[str]) -> None:
        """Freezes the weights of some variables, as the user did in the layer that a config comes from."""
        weights = self._layer_weights.by_name(self.trainable)
        for name in weights.keys() & names:
            weights[name].trainable = False

    @property
    def hidden_sublayer(self) -> keras.layers.Layer | None:
        """The losses, while the layer is trainable."""
        return self._losses_of_module.layer if self._losses_of_module is not None and self.trainable else None


class _UntrackedSublayer:
    """Holds on to a sublayer, which Keras would save if it found it among a layer's attributes, with its owner's id."""

    def __init__(self, layer: RegularizationLosses, owner: int) -> None:
        self.layer, self.owner = layer, owner


def warn_if_nothing_trains(handle: Any, spec: LayerSpec) -> None:
    """Tells the user of a trainable layer without a variable that an optimizer may have."""
    if not spec.optimized and spec.format != "callable":  # Keras trains what a callable of its own holds
        LOGGER.warning(
            "KerasLayer(%r, trainable=True) trains nothing: the module marks no variable trainable that %s reaches",
            handle if isinstance(handle, str) else spec.source,
            f"signature {spec.signature!r}" if spec.signature else "its call",
        )
