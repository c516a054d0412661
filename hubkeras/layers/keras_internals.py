"""The names of Keras that it does not export, all in one place.

Each has been where it is since Keras 3.0. A release that moves one breaks this file and nothing else, and says which
one it is: names are looked up when they are needed, and none is set on an object that does not have it.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

import keras

from hubkeras.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tensorflow as tf

_IN_SAFE_MODE = "keras.src.saving.serialization_lib.in_safe_mode"
_GLOBAL_ATTRIBUTE = "keras.src.backend.common.global_state.get_global_attribute"
_MONITOR_CALLBACK = "keras.src.callbacks.monitor_callback.MonitorCallback"
_SHARED_OBJECTS = "shared_objects/id_to_obj_map"
_LAYER_NAMES = (
    "_allow_non_tensor_positional_args",
    "_build_shapes_dict",
    "_convert_input_args",
    "_flatten_layers",
    "_get_own_losses",
    "_input_shape_arg",
    "_layers",
    "_trainable_variables",
)
PRIVATE_NAMES = (
    _IN_SAFE_MODE,
    _GLOBAL_ATTRIBUTE,
    _MONITOR_CALLBACK,
    *(f"keras.layers.Layer.{name}" for name in _LAYER_NAMES),
    "keras.Variable._value",
    "keras.Variable._export_to_saved_model_graph",
    "keras.KerasTensor._keras_history",
)
"""All of them; attributes stand behind the class whose instances have them."""


def require_private_name(name: str) -> Any:
    """Returns what one of `PRIVATE_NAMES` stands for, of a new instance where it is an attribute of a class.

    Raises:
        UnsupportedError: This version of Keras has it no longer.
    """
    place, _, attribute = name.rpartition(".")
    make = {
        "keras.layers.Layer": lambda: keras.layers.Layer(input_shape=(1,)),  # only then it has _input_shape_arg
        "keras.Variable": lambda: keras.Variable(0.0),
        "keras.KerasTensor": lambda: keras.Input((1,)),
    }.get(place, lambda: importlib.import_module(place))
    try:
        with warnings.catch_warnings(action="ignore"):  # Keras advises against input_shape
            return getattr(make(), attribute)
    except (ImportError, AttributeError) as error:
        raise _moved(name) from error


def _moved(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"Cannot use Keras {keras.__version__}: it has no {name}",
        expected="a version of Keras that this version of hubkeras knows",
        fix="Update hubkeras, or install an earlier version of Keras",
    )


def monitor_callback_class() -> Any:
    """Returns the base of Keras' callbacks that compare a quantity of the logs with its best value."""
    return require_private_name(_MONITOR_CALLBACK)


def in_safe_mode() -> bool | None:
    """Returns the `safe_mode` of the file that is being read; None outside of any."""
    return require_private_name(_IN_SAFE_MODE)()


def shared_objects() -> dict[str, Any] | None:
    """Returns what the objects of one `.keras` file share while its config is being read; None elsewhere."""
    return require_private_name(_GLOBAL_ATTRIBUTE)(_SHARED_OBJECTS)


def is_computed(tensor: keras.KerasTensor) -> bool:
    """Tells whether an op made a symbolic tensor, and not `keras.Input`."""
    history = getattr(tensor, "_keras_history", None)
    return history is not None and not isinstance(history.operation, keras.layers.InputLayer)


def built_shapes(layer: keras.layers.Layer) -> dict[str, Any]:
    """Returns the shapes that a layer was built with, by the names of the arguments of its call with "_shape" added.

    The only argument is "input_shape". It is empty for a layer that has not been built, or without shapes.
    """
    if not hasattr(layer, "_build_shapes_dict"):
        raise _moved("keras.layers.Layer._build_shapes_dict")
    return dict(layer._build_shapes_dict or {})


def layers_of(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a layer with all that are in it."""
    if not hasattr(layer, "_flatten_layers"):
        raise _moved("keras.layers.Layer._flatten_layers")
    return list(layer._flatten_layers())


def losses_of_call(layer: keras.layers.Layer) -> list[tf.Tensor]:
    """Returns the losses that the latest call has added, in the layer and all that are in it."""
    base: Any = keras.layers.Layer
    return [loss for each in layers_of(layer) for loss in base._get_own_losses(each)]


def hold_variable(weight: keras.Variable, variable: tf.Variable) -> None:
    """Gives a weight another variable to hold."""
    if not hasattr(weight, "_value"):
        raise _moved("keras.Variable._value")
    weight._value = variable


class ModuleVariable(keras.Variable):
    """A weight whose variable an export restores for every reader.

    For a variable of Keras TensorFlow exports two, one that the functions read and a copy of it that the checkpoint is
    restored to. `tf.saved_model.load` puts the value into both, all other readers only into the copy.
    """

    def _export_to_saved_model_graph(
        self, object_map: Any, tensor_map: Any, options: Any, **kwargs: Any
    ) -> list[tf.Tensor]:
        held: Any = self.value
        resources = held._export_to_saved_model_graph(object_map, tensor_map, options, **kwargs)
        object_map[self] = object_map[held]
        return resources


class OpenLayer(keras.layers.Layer):
    """A layer that lets the classes derived from it change what Keras keeps to itself."""

    @property
    def hidden_sublayer(self) -> keras.layers.Layer | None:
        """A sublayer that takes part in what Keras asks of a model's layers, and is never saved."""
        return None

    @property
    def own_losses(self) -> list[Any]:
        """Losses that the layer has besides those that calls add."""
        return []

    def take_inputs_as_they_are(self) -> None:
        """Lets inputs through that are no tensors, and inputs of any dtype."""
        self._change("_allow_non_tensor_positional_args", True)
        self._change("_convert_input_args", False)

    def declare_input(self, shape: tuple[int | None, ...]) -> None:
        """Lets a Sequential that this layer is first in make its input, in the way of Keras' own layers."""
        self._input_shape_arg = shape

    def replace_trainable_variables(self, weights: Sequence[keras.Variable]) -> None:
        """Replaces the weights that an optimizer may have."""
        if not hasattr(self, "_trainable_variables"):
            raise _moved("keras.layers.Layer._trainable_variables")
        self._trainable_variables[:] = weights

    def _change(self, name: str, value: Any) -> None:
        if not hasattr(self, name):
            raise _moved(f"keras.layers.Layer.{name}")
        setattr(self, name, value)

    def _get_own_losses(self) -> list[Any]:
        return [*super()._get_own_losses(), *self.own_losses]

    # Keras asks the layers in this list for their losses and weights, and saves those it finds in lists. The hidden
    # one is added as the list is read, so that it comes and goes with `trainable` and no list of Keras holds it.
    @property
    def _layers(self) -> list[keras.layers.Layer]:
        hidden = self.hidden_sublayer
        return self._sublayers if hidden is None else [*self._sublayers, hidden]

    @_layers.setter
    def _layers(self, layers: list[keras.layers.Layer]) -> None:
        self._sublayers = layers
