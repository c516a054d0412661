"""Reusable TF2 SavedModels: what everything else than hubkeras reads.

The objects have the interface that TensorFlow Hub's documentation calls a reusable SavedModel
(https://www.tensorflow.org/hub/reusable_saved_models), and the endpoints that `keras.layers.TFSMLayer` looks for.
"""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.conversion.verification import Check
from hubkeras.errors import UnsupportedError
from hubkeras.functions.tensor_info import flatten_all, pack_all
from hubkeras.modules.defaults import default_signature
from hubkeras.modules.loader import load
from hubkeras.modules.module import Module
from hubkeras.modules.object_calls import infos_of
from hubkeras.modules.object_signatures import call_signature, object_variables
from hubkeras.modules.signatures import is_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from hubkeras.functions.bound_subgraph import BoundSubgraph
    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.modules.object_signatures import ObjectSignature
    from hubkeras.modules.tf2_objects import LoadedObject

_log = logging.getLogger("hubkeras")
IS_DIRECTORY = True
_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
"""A name that TensorFlow takes for a scope of a graph, which it makes for each variable that it saves."""
SERVING = "serving_default"
"""The signature that is asked for where nobody names one."""


def write(module: Module | LoadedObject, directory: Path) -> None:
    """Writes a module as a reusable TF2 SavedModel.

    It has a call with `training`, if there is a default signature; `variables`, `trainable_variables` and
    `regularization_losses`; all signatures and "serving_default"; tables and assets. `serve` and `train` are the call
    without and with training, for `keras.layers.TFSMLayer`.

    Args:
        module: The module.
        directory: An empty directory.

    Raises:
        UnsupportedError: A variable has a name that TensorFlow saves none by.
    """
    _check_names(module)
    root = reusable_object(module) if isinstance(module, Module) else module
    tf.saved_model.save(root, str(directory), signatures=saved_signatures(module))


def write_signatures(module: Module | LoadedObject, directory: Path) -> None:
    """Writes the signatures of a module alone as a TF2 SavedModel, for converters.

    Args:
        module: The module.
        directory: An empty directory.

    Raises:
        UnsupportedError: A variable has a name that TensorFlow saves none by.
    """
    _check_names(module)
    signatures = saved_signatures(module)
    root: Any = tf.train.Checkpoint()
    # Not the root itself: LiteRT's converter takes an object with `serve` for an export of Keras, and only that.
    root.held = module.state if isinstance(module, Module) else module
    tf.saved_model.save(root, str(directory), signatures=signatures)


def _check_names(module: Module | LoadedObject) -> None:
    names = _named(module.variables) if isinstance(module, Module) else named_variables(module)[0]
    wrong = [name for name in names if not _SCOPE.fullmatch(name)]
    if wrong:
        raise UnsupportedError(
            f"Cannot write module {module.description.label} as a TF2 SavedModel",
            expected="variables whose names begin with a letter, a digit or a dot, and go on with these and _\\/>-",
            received=", ".join(map(repr, wrong[:3])),
            fix="Formats that take any name are keras, weights and tf1_hub",
        )


def checks(module: Module | LoadedObject, directory: Path) -> Iterator[Check]:
    """Yields what the SavedModel must compute as the module does: signatures, losses, and calls in both modes.

    Args:
        module: The module, which may be changed.
        directory: What `write` has written.
    """
    again = load(directory, safe_mode=False)  # of nothing but what was judged when the module was loaded
    for name in module.get_signature_names():
        yield signature_check(module, name, partial(_call_signature, module, again, name))
    yield from loss_checks(module, again)
    yield from _module_checks(module, again) if isinstance(module, Module) else _object_checks(module, again)


def _module_checks(module: Module, again: Any) -> Iterator[Check]:
    name = default_signature(module.get_signature_names())
    state = _named(module.variables), _named(again.variables)
    trained = _named(module.trainable_variables), _named(again.trainable_variables)
    for training in (False, True):
        if name is not None and name in module.variant(training).graph.variant.signatures:
            as_dict = "default" not in module.variant(training).signature(name).outputs
            call = partial(module, signature=name, training=training, as_dict=as_dict)
            yield Check(
                f"the call with training={training}",
                module.get_input_info_dict(name),
                lambda values, call=call: call(values or None),
                lambda values, training=training: again.loaded(*_bare(values), training=training),
                trained=trained,
                state=state,
                updates=training,
            )


def _object_checks(module: LoadedObject, again: Any) -> Iterator[Check]:
    call, saved = call_signature(module), call_signature(again)
    if call is None or saved is None:
        return
    (known, trained), (found, _) = named_variables(module), named_variables(again)
    for training in (False, True):
        yield Check(
            f"the call with training={training}",
            infos_of(call.inputs),
            partial(_call_object, call, training),
            partial(_call_object, saved, training),
            trained=({n: known[n] for n in trained}, {n: found[n] for n in trained}),
            state=(known, found),
            updates=training,
        )


def named_variables(loaded: LoadedObject) -> tuple[dict[str, tf.Variable], list[str]]:
    """Returns the variables of a TF2 object, and the names of those that are trained.

    The names are such that another load of the object gives them as well.
    """
    named: dict[str, tf.Variable] = {}
    trained: list[str] = []
    for variable, is_trained in object_variables(loaded):
        name = variable.name.partition(":")[0]
        while name in named:
            name += "_"
        named[name] = variable
        trained += [name] if is_trained else []
    return named, trained


def _call_object(call: ObjectSignature, training: bool, values: Mapping[str, Any]) -> Any:
    return call.call(values, training)


def _named(variables: Iterable[tf.Variable]) -> dict[str, tf.Variable]:
    return {variable.name.partition(":")[0]: variable for variable in variables}


def loss_checks(module: Module | LoadedObject, again: Module | LoadedObject) -> Iterator[Check]:
    """Yields the regularization losses of both sides."""
    for i, (loss, saved) in enumerate(zip(module.regularization_losses, again.regularization_losses, strict=True)):
        yield Check(f"regularization loss {i}", {}, lambda _, loss=loss: loss(), lambda _, saved=saved: saved())


def signature_check(module: Module | LoadedObject, name: str, converted: Callable[[Mapping[str, Any]], Any]) -> Check:
    """Returns the check of one signature.

    Args:
        module: The module.
        name: Of the signature.
        converted: Computes all outputs by name, given the inputs by name.
    """
    infos = module.get_input_info_dict(name)
    return Check(
        f"signature {name!r}", infos, lambda values: module(values or None, signature=name, as_dict=True), converted
    )


def _bare(values: Mapping[str, Any]) -> list[Any]:
    return [values if len(values) > 1 else next(iter(values.values()))] if values else []


def _call_signature(module: Module | LoadedObject, again: Any, name: str, values: Mapping[str, Any]) -> Any:
    function = again.loaded.signatures[name]
    if not isinstance(module, Module):
        return function(**values)
    inputs, outputs = module.get_input_info_dict(name), module.get_output_info_dict(name)
    got = function(**to_components(inputs, values, are_arguments=True))
    return pack_all(outputs, [got[n] for n in component_names(outputs)])


def saved_signatures(module: Module | LoadedObject) -> dict[str, Any]:
    """Returns the signatures that a SavedModel of a module has."""
    signatures = dict(module.signatures)
    for name in signatures:
        if not isinstance(module, Module):
            break
        inputs, outputs = module.get_input_info_dict(name), module.get_output_info_dict(name)
        if component_names(inputs, are_arguments=True) != [*inputs] or component_names(outputs) != [*outputs]:
            signatures[name] = _of_components(module, name)
    default = default_signature(signatures)
    if default is not None:
        signatures.setdefault(SERVING, signatures[default])
    return signatures


def component_names(infos: Mapping[str, ParsedTensorInfo], are_arguments: bool = False) -> list[str]:
    """Returns what the tensors are called that carry inputs or outputs in the signatures of a TF2 SavedModel.

    These hold dense tensors only, and name inputs as arguments of a Python function.

    Args:
        infos: The inputs or outputs by name.
        are_arguments: Whether they are inputs.
    """
    names: list[str] = []
    for name, info in infos.items():
        parts = [name]
        if info.is_sparse:
            parts = [f"{name}_{part}" for part in ("indices", "values", "dense_shape")]
        elif info.is_composite:
            count = len(info.component_specs) - 1
            parts = [f"{name}_flat_values", *(f"{name}_row_splits_{i}" for i in range(count))]
        for part in parts:
            made = _argument(part) if are_arguments else part
            while made in names:
                made += "_"
            names.append(made)
    return names


def _argument(name: str) -> str:
    made = name if is_parameter(name) else re.sub(r"\W", "_", name, flags=re.ASCII)
    return made if is_parameter(made) else f"input_{made}"


def to_components(
    infos: Mapping[str, ParsedTensorInfo], values: Mapping[str, Any], are_arguments: bool = False
) -> dict[str, tf.Tensor]:
    """Returns the dense tensors that carry some values, by their names."""
    return dict(zip(component_names(infos, are_arguments), flatten_all(infos, values), strict=True))


def _of_components(module: Module, name: str) -> Any:
    inputs, outputs = module.get_input_info_dict(name), module.get_output_info_dict(name)
    names = component_names(inputs, are_arguments=True)

    def call(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        values = pack_all(inputs, [tensors[n] for n in names])
        return to_components(outputs, module.variant().function(name)(values, gradients=False))

    parts = [spec for info in inputs.values() for spec in info.component_specs]
    specs = {n: tf.TensorSpec(s.shape, s.dtype, n) for n, s in zip(names, parts, strict=True)}
    function: Any = tf.function(call, autograph=False)
    return function.get_concrete_function(**specs)


def reusable_object(module: Module) -> Any:
    """Returns the root object of a reusable SavedModel, over the variables of a module."""
    root: Any = tf.train.Checkpoint()
    root.variables, root.trainable_variables = list(module.variables), list(module.trainable_variables)
    root.regularization_losses = [_loss(loss) for loss in module.variant(training=True).regularization_losses]
    name = default_signature(module.get_signature_names())
    if name is not None:
        _add_calls(root, module, name)
    # Last: the functions have made the tables and assets that they use.
    root.state = module.state
    return root


def _loss(loss: BoundSubgraph) -> Any:
    function: Any = tf.function(lambda: loss.call_to_save()[0], input_signature=[], autograph=False)
    function.get_concrete_function()
    return function


def _add_calls(root: Any, module: Module, name: str) -> None:
    inputs = module.get_input_info_dict(name)
    specs: Any = {n: info.type_spec for n, info in inputs.items()}
    given = [specs if len(specs) > 1 else next(iter(specs.values()))] if specs else []

    def apply(values: tuple[Any, ...], training: bool) -> Any:
        named = dict(zip(inputs, values, strict=True)) if len(inputs) < 2 else values[0]
        outputs = module.variant(training).signature(name).outputs
        function = module.variant(training).function(name, ["default"] if "default" in outputs else None, training)
        results = function.call_to_save(named)
        return results.get("default", results) if len(function.outputs) == 1 else results

    root.__call__ = _call(apply, bool(inputs))
    root.__call__.get_concrete_function(*given, training=False)
    root.serve = _endpoint(root.__call__, given, training=False)
    if name in module.variant(training=True).graph.variant.signatures:
        root.__call__.get_concrete_function(*given, training=True)
        root.train = _endpoint(root.__call__, given, training=True)
    else:
        _log.warning(
            "The call of the SavedModel will refuse training=True: module %s has no signature %r in the graph variant"
            " with tags %s",
            module.description.label,
            name,
            sorted(module.train_tags),
        )


def _call(apply: Any, takes_inputs: bool) -> Any:
    """Returns the function of a call; whoever loads it looks for an argument of the name `training`."""

    def call(inputs: Any, training: bool = False) -> Any:
        return apply((inputs,), training)

    def call_without_inputs(training: bool = False) -> Any:
        return apply((), training)

    return tf.function(call if takes_inputs else call_without_inputs, autograph=False)


def _endpoint(call: Any, given: list[Any], training: bool) -> Any:
    function: Any = tf.function(
        lambda *values: call(*values, training=training), input_signature=given, autograph=False
    )
    function.get_concrete_function()
    return function
