"""Layers between config and module: declared without one, and given one later."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import HandleError, LayerError
from hubkeras.functions.state import State
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.graphs.tensorflow_internals import stand_for
from hubkeras.handles.resolver import is_available
from hubkeras.layers.config import read_config
from hubkeras.layers.keras_internals import in_safe_mode, shared_objects
from hubkeras.layers.targets import ModuleTarget, ObjectTarget
from hubkeras.modules.export import write_graphs
from hubkeras.modules.loader import load
from hubkeras.modules.module import Module
from hubkeras.modules.tf2_loader import load_tf2
from hubkeras.modules.tf2_objects import LoadedObject
from hubkeras.savedmodel.reader import read_module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.layers.spec import LayerSpec
    from hubkeras.layers.targets import Target
    from hubkeras.savedmodel.description import ModuleDescription

_live: weakref.WeakValueDictionary[str, Module | LoadedObject] = weakref.WeakValueDictionary()
"""What layers of this process call, by the directory that it was read from."""
_unpacked: weakref.WeakSet[ModuleDescription] = weakref.WeakSet()
"""Modules that came with a Keras file, so that no handle leads to them."""


def make_layer(layer_class: type, config: dict[str, Any]) -> Any:
    """Makes a layer from a config.

    While Keras reads a file, the module comes with it or is loaded when the layer is first called. Elsewhere
    (`clone_model`, `from_config`) there is the handle, or a layer of this process whose module is no longer, or never
    was, where its handle says.

    Args:
        layer_class: `KerasLayer`, or a class derived from it.
        config: Written here or by tensorflow_hub's layer.

    Raises:
        LayerError: The module is neither described in the config nor on this machine.
    """
    arguments, spec = read_config(config)
    safe = in_safe_mode()
    for key in ("allow_ops", "safe_mode") if safe else ():
        arguments.pop(key, None)
    if spec is None:
        _check_at_hand(arguments, safe)
        return layer_class(**arguments)
    live = None if shared_objects() is not None else _live.get(spec.source)
    has_no_handle = live is not None and live.description in _unpacked
    declared = shared_objects() is not None or has_no_handle or not _is_at_hand(arguments["handle"])
    layer = layer_class(**arguments, **({"_declared": spec} if declared else {}))
    layer._trusted = safe is False
    for name in spec.frozen & layer._weight_of.keys():
        layer._weight_of[name].trainable = False
    if declared and live is not None:
        _copy(layer, live)
    return layer


def _check_at_hand(arguments: Mapping[str, Any], safe: bool | None) -> None:
    if safe is not False and not _is_at_hand(arguments["handle"]):
        raise _not_at_hand(arguments.get("name"), arguments["handle"])


def _not_at_hand(layer: str | None, handle: str) -> LayerError:
    return LayerError(
        f"Cannot make layer {layer!r}: its module is not on this machine",
        expected="a local path, or a handle that is in the cache",
        received=f"handle={handle!r}",
        fix=f"Call hubkeras.resolve({handle!r}) first, or load with safe_mode=False",
    )


def _is_at_hand(handle: str) -> bool:
    try:
        return is_available(handle)
    except HandleError:
        return False


def declare(layer: Any, spec: LayerSpec) -> list[tuple[str, tf.Variable, bool]]:
    """Makes the variables that a module will have, without values.

    Layers of one file that were made over one module share them again.
    """
    shared = shared_objects()
    key = f"hubkeras state {spec.state}"
    if shared is not None and key in shared:
        layer._state = shared[key]
    else:
        layer._state = State({v.name: v for v in spec.variables}, {})
    if shared is not None and spec.format != "tf2":
        shared[key] = layer._state
    return [(n, v, n in spec.optimized) for n, v in layer._state.by_name.items()]


def frozen_names(layer: Any) -> list[str]:
    """Returns the names of the variables that the user froze one by one."""
    if not layer.trainable:
        return []
    return [n for n in sorted(layer._spec.optimized & layer._weight_of.keys()) if not layer._weight_of[n].trainable]


def take(layer: Any, target: Target) -> None:
    """Gives a layer what it calls; TensorFlow tracks its variables, tables and assets from now on."""
    layer._target = target
    if isinstance(target, ModuleTarget):
        layer._state = target.module.state
        _live[layer._spec.source] = target.module
    elif isinstance(target, ObjectTarget) and isinstance(target.object, tf.Module):
        layer._object = target.object
        if isinstance(target.object, LoadedObject):
            _live[layer._spec.source] = target.object


def embed_module(description: ModuleDescription, directory: str) -> None:
    """Writes a module, without the values of its variables, to where a Keras file keeps assets.

    Raises:
        LayerError: Its files are gone.
    """
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    try:
        if description.format == "tf2":
            shutil.copytree(description.path, target, dirs_exist_ok=True)
        else:
            write_graphs(description, target)
    except FileNotFoundError as error:
        raise LayerError(
            f"Cannot save module {description.path} with the model",
            expected="its files where they were when it was loaded",
            received=str(error),
            fix="Put them back, or save the layer with embed=False",
        ) from error


def unpack(layer: Any, directory: str) -> None:
    """Takes the module out of a Keras file and gives it to a layer; Keras deletes `directory` afterwards.

    The module is scanned whatever the file says, unless the user loaded the file with `safe_mode=False`.
    """
    own = tempfile.mkdtemp(prefix="hubkeras-")
    try:
        shutil.copytree(directory, own, dirs_exist_ok=True)
        description = read_module(own, with_values=False)
    except BaseException:
        shutil.rmtree(own, ignore_errors=True)
        raise
    _unpacked.add(description)
    weakref.finalize(description, shutil.rmtree, own, ignore_errors=True)
    look_at(description, OpPolicy.of(safe_mode=True, allow_ops=layer._allow_ops if layer._trusted else ()))
    layer._spec = layer._spec.read_from(own)
    _attach(layer, description)


def attach_handle(layer: Any) -> None:
    """Gives a declared layer the module that its handle stands for.

    Variables that nobody has set yet take the values of the module's checkpoint.

    Raises:
        LayerError: The module is not on this machine, or is not the one that the layer was made from.
    """
    if not layer._trusted and not _is_at_hand(layer._handle):
        raise _not_at_hand(layer.name, layer._handle)
    tags = layer._options["tags"] if layer._spec.format == "tf2" else layer._spec.tags
    train_tags = None if layer._spec.format == "tf2" else layer._spec.train_tags
    safe = layer._safe_mode is not False
    loaded = load(
        layer._handle, tags, layer._load_options, train_tags=train_tags, safe_mode=safe, allow_ops=layer._allow_ops
    )
    if not layer._values_are_set and isinstance(loaded, Module):
        _assign(layer, {name: v.read_value() for name, v in loaded.state.by_name.items()})
    _attach(layer, loaded.description)


def _attach(layer: Any, description: ModuleDescription) -> None:
    """Gives a declared layer its module, over the variables that the layer has."""
    spec: LayerSpec = layer._spec
    if spec.format == "tf2":
        _attach_object(layer, description)
        return
    missing = sorted({v.name for v in spec.variables} - set(description.variables))
    if missing:
        raise LayerError(
            f"Cannot use module {description.path} in layer {layer.name!r}: it is not the one that was saved",
            expected=f"a module with variable {missing[0]!r}",
            received=f"{len(description.variables)} variables",
        )
    module = Module(description, layer._state, frozenset(spec.tags), frozenset(spec.train_tags), _policy(layer))
    take(layer, ModuleTarget(module, spec.signature, spec.output_key, spec.output_key is None))


def _policy(layer: Any) -> OpPolicy:
    return OpPolicy.of(safe_mode=layer._safe_mode is not False, allow_ops=layer._allow_ops if layer._trusted else ())


def _attach_object(layer: Any, description: ModuleDescription) -> None:
    """Loads a TF2 object, whose variables take the place of the declared ones."""
    spec: LayerSpec = layer._spec
    loaded = load_tf2(description, None, layer._load_options, _policy(layer))
    as_dict = spec.output_key is None and spec.signature is not None
    target = ObjectTarget(loaded, spec.signature, layer._options["output_key"], as_dict)
    for name, variable, _ in target.variables:
        if layer._values_are_set:
            variable.assign(layer._values[name])
        stand_for(variable, layer._values[name])
        layer._values[name] = variable
        layer._held.hold(name, variable)
    del layer._state
    take(layer, target)


def _copy(layer: Any, live: Module | LoadedObject) -> None:
    """Gives a declared layer the module of another layer, and the values that its variables have now."""
    if isinstance(live, Module):
        values = live.state.by_name
    else:
        values = {name: v for name, v, _ in ObjectTarget(live, None, None, False).variables}
    _assign(layer, {name: v.read_value() for name, v in values.items()})
    layer._values_are_set = True
    _attach(layer, live.description)


def _assign(layer: Any, values: Mapping[str, tf.Tensor]) -> None:
    for name, variable in layer._values.items():
        if name in values:
            variable.assign(values[name])
