"""What a TF2 object offers under names: its signatures, its call, and the variables that they use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.modules.defaults import DEFAULT
from hubkeras.modules.object_calls import call_functions
from hubkeras.modules.output_names import name_outputs
from hubkeras.modules.tf2_objects import all_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hubkeras.modules.tf2_objects import LoadedObject

_TRAINING = "training"


@dataclass(frozen=True, eq=False)
class ObjectSignature:
    """What a module offers of a TF2 object."""

    inputs: Mapping[str, tf.TypeSpec]
    """Specifications by name."""
    call: Callable[[Mapping[str, Any], bool], dict[str, Any]]
    """Takes the inputs by name and whether it is the variant for training, and returns the outputs by name."""
    takes_dict: bool | None = None
    """Whether the first argument of the object's call takes all inputs in a dict, or the only one alone; None where
    there are others."""


def object_signatures(loaded: LoadedObject) -> dict[str, ObjectSignature]:
    """Returns the signatures of the module that a TF2 SavedModel becomes.

    Returns:
        Its own, with an only output also under the name "default"; and "default", the call of the object where its
        functions say what it takes, besides the outputs that only the signature of that name has.
    """
    found = {name: _own_signature(loaded, name) for name in loaded.get_signature_names()}
    call = call_signature(loaded)
    if call is not None:
        found[DEFAULT] = _joined(call, found.get(DEFAULT))
    return found


def _own_signature(loaded: LoadedObject, name: str) -> ObjectSignature:
    function: Any = loaded.loaded.signatures[name]
    specs = function.structured_input_signature[1]
    return ObjectSignature(specs, lambda values, _: name_outputs(function(**values)))


def _joined(call: ObjectSignature, own: ObjectSignature | None) -> ObjectSignature:
    """Returns a call with the further outputs of the signature for the same inputs, which knows no training."""
    if own is None or dict(own.inputs) != dict(call.inputs):
        return call

    def join(values: Mapping[str, Any], training: bool) -> dict[str, Any]:
        outputs = call.call(values, training)
        return outputs if training else {**own.call(values, training), **outputs}

    return ObjectSignature(call.inputs, join)


@dataclass(frozen=True, eq=False)
class _CallForm:
    """The arguments that one function of an object was saved with: specifications, and Python values between them."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    parameters: tuple[str, ...]

    @property
    def training(self) -> Any:
        """What it was saved with for `training`; None if that is a tensor, or no argument."""
        value = {**dict(zip(self.parameters, self.args, strict=False)), **self.kwargs}.get(_TRAINING)
        return value if isinstance(value, bool) else None

    @property
    def leaves(self) -> list[Any]:
        return [leaf for leaf in tf.nest.flatten((self.args, dict(self.kwargs))) if isinstance(leaf, tf.TypeSpec)]

    @property
    def inputs(self) -> dict[str, tf.TypeSpec] | None:
        """Specifications by name; None where something has no name, or two have the same."""
        arguments = {**dict(zip(self.parameters, self.args, strict=False)), **self.kwargs}
        named: dict[str, tf.TypeSpec] = {}
        for parameter, value in arguments.items():
            if isinstance(value, tf.TypeSpec):
                # What was saved from a signature has its name there; a parameter may be called anything.
                parts = {getattr(value, "name", None) or parameter: value}
            elif isinstance(value, dict):
                parts = {str(key): leaf for key, leaf in value.items() if isinstance(leaf, tf.TypeSpec)}
            else:
                parts = {}
            if named.keys() & parts.keys():
                return None
            named |= parts
        return named if len(named) == len(self.leaves) else None

    @property
    def takes_dict(self) -> bool | None:
        """Whether the first argument takes all inputs in a dict, or the only one alone; None where there are others."""
        first = self.args[0] if self.args else None
        if isinstance(first, tf.TypeSpec) and len(self.leaves) == 1:
            return False
        return True if isinstance(first, dict) and len(first) == len(self.leaves) else None

    def call(self, function: Any, values: Mapping[str, Any], training: bool) -> Any:
        """Calls a function with values in the places of the specifications."""
        names = {id(spec): name for name, spec in (self.inputs or {}).items()}

        def fill(leaf: Any) -> Any:
            return values[names[id(leaf)]] if isinstance(leaf, tf.TypeSpec) else leaf

        args = list(tf.nest.map_structure(fill, self.args))
        kwargs = tf.nest.map_structure(fill, dict(self.kwargs))
        if self.training is not None and _TRAINING in kwargs:
            kwargs[_TRAINING] = training
        elif self.training is not None:
            args[self.parameters.index(_TRAINING)] = training
        return function(*args, **kwargs)


def call_signature(loaded: LoadedObject) -> ObjectSignature | None:
    """Returns the call of the object itself, None where it is not known what that takes."""
    forms = [_form_of(function) for function in call_functions(loaded.loaded)]
    # Functions with fewer tensors leave hyperparameters, such as a rate of dropout, at their defaults.
    forms = sorted((f for f in forms if f.inputs), key=lambda form: (len(form.leaves), bool(form.training)))
    if not forms:
        return None
    form, function = forms[0], loaded.loaded
    modes = {f.training for f in forms if f.inputs == form.inputs}

    def call(values: Mapping[str, Any], training: bool) -> dict[str, Any]:
        # Some are saved for one mode alone.
        return name_outputs(form.call(function, values, training if training in modes else bool(form.training)))

    return ObjectSignature(form.inputs or {}, call, form.takes_dict)


def _form_of(function: Any) -> _CallForm:
    args, kwargs = function.structured_input_signature
    return _CallForm(args, kwargs, tuple(function.function_type.parameters))


def object_variables(loaded: LoadedObject) -> list[tuple[tf.Variable, bool]]:
    """Returns the variables that the functions of an object use or it lists, each with whether it is trained."""
    functions = [
        *(loaded.loaded.signatures[name] for name in loaded.get_signature_names()),
        *call_functions(loaded.loaded),
        *(f for loss in loaded.regularization_losses for f in getattr(loss, "concrete_functions", [loss])),
    ]
    used = [variable for function in functions for variable in function.variables]
    kept = {id(v.handle) for v in (*used, *loaded.variables, *loaded.trainable_variables)}
    # A SavedModel of a model says which ones are trained; of another object every variable says it for itself.
    says = hasattr(loaded.loaded, "trainable_variables")
    trained = {id(v.handle) for v in loaded.trainable_variables}
    found = {id(v.handle): v for v in (*loaded.variables, *all_variables(loaded.loaded), *used) if id(v.handle) in kept}
    return [(v, id(v.handle) in trained if says else bool(v.trainable)) for v in found.values()]
