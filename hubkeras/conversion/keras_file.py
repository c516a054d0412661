"""`.keras` files: one model over a signature, with the module inside."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import keras

from hubkeras.conversion.saved_model import loss_checks, named_variables, signature_check
from hubkeras.conversion.verification import Check
from hubkeras.errors import ConversionError, UnsupportedError
from hubkeras.layers.keras_layer import KerasLayer
from hubkeras.modules.module import Module
from hubkeras.modules.object_calls import infos_of
from hubkeras.modules.object_signatures import call_signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import tensorflow as tf

    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.modules.tf2_objects import LoadedObject

IS_DIRECTORY = False
_SUFFIX = ".keras"
_DEFAULT = "default"


def write(module: Module | LoadedObject, path: Path, *, signature: str | None, trainable: bool) -> None:
    """Writes a functional model over a signature, which `keras.saving.load_model` reads once hubkeras is imported.

    Its inputs have the names of the signature's. It returns the output "default" or the only one, else all in a dict;
    of a TF2 object, what its call returns.

    Args:
        module: The module.
        path: The file.
        signature: Name of the signature; None for the default one, or the call of a TF2 object.
        trainable: Whether the layer over the module is trainable.

    Raises:
        ConversionError: The path ends otherwise.
        UnsupportedError: Keras has no model with such inputs.
    """
    if path.suffix != _SUFFIX:
        raise ConversionError(
            f"Cannot write a Keras model to {path.name!r}", expected=f"a name that ends with {_SUFFIX!r}"
        )
    _model(module, signature, trainable).save(path)


def _model(module: Module | LoadedObject, signature: str | None, trainable: bool) -> keras.Model:
    called = _Called(module, signature)
    if trainable and called.signature is not None and not isinstance(module, Module):
        raise UnsupportedError(
            f"Cannot write signature {called.signature!r} of {module.description.label} as a Keras model that trains",
            expected="trainable=False, or a TF2 object that can be called itself",
            received="trainable=True",
        )
    inputs = {name: _input(module, name, info) for name, info in called.inputs.items()}
    if not inputs:
        raise UnsupportedError(
            f"Cannot write module {module.description.label} as a Keras model",
            expected="a signature with inputs",
            received=f"signature {called.signature!r}, which has none",
            fix="Pass signature=",
        )
    layer = KerasLayer(module, trainable, signature=called.signature, signature_outputs_as_dict=called.as_dict or None)
    given = inputs if called.takes_dict else next(iter(inputs.values()))
    return keras.Model(given, layer(given))


class _Called:
    """What a model over a module calls.

    Args:
        module: The module.
        signature: Name of the signature; None for the default one, or the call of a TF2 object.
    """

    def __init__(self, module: Module | LoadedObject, signature: str | None) -> None:
        call = call_signature(module) if not isinstance(module, Module) and signature is None else None
        if call is not None and call.takes_dict is not None:
            self.signature, self.inputs = None, infos_of(call.inputs)
            self.takes_dict, self.as_dict = call.takes_dict, False
            return
        self.signature = module.signature_name(signature)
        self.inputs = module.get_input_info_dict(self.signature)
        self.takes_dict = len(self.inputs) > 1
        outputs = module.get_output_info_dict(self.signature)
        self.as_dict = not isinstance(module, Module) or (_DEFAULT not in outputs and len(outputs) > 1)

    def apply(self, module: Module | LoadedObject, training: bool, values: Mapping[str, Any]) -> Any:
        """Returns what the model returns, computed by the module itself."""
        if self.signature is None:
            return module(self.given(values), training=training)
        outputs = module(values, signature=self.signature, training=training, as_dict=True)
        return outputs if self.as_dict else outputs.get(_DEFAULT, next(iter(outputs.values())))

    def given(self, values: Mapping[str, Any]) -> Any:
        """Returns inputs as a model takes them."""
        return dict(values) if self.takes_dict else next(iter(values.values()))


def _input(module: Module | LoadedObject, name: str, info: ParsedTensorInfo) -> Any:
    shape, is_ragged = info.get_shape(), info.is_composite and not info.is_sparse
    try:
        return keras.Input(
            batch_shape=tuple(shape.as_list()),
            dtype=info.dtype.name,
            sparse=info.is_sparse or None,
            ragged=is_ragged or None,
            # The keys of a dict are the signature's names; what Keras calls a tensor can have no slashes.
            name=re.sub(r"[^A-Za-z0-9_.-]", "_", name),
        )
    except (ValueError, TypeError) as error:  # of an unknown rank, or a dtype that Keras lacks
        raise UnsupportedError(
            f"Cannot write module {module.description.label} as a Keras model: no Keras model has its input {name!r}",
            expected="inputs of a known rank and a dtype of Keras",
            received=f"{info.dtype.name} of shape {shape}",
        ) from error


def checks(module: Module | LoadedObject, path: Path, *, signature: str | None, trainable: bool) -> Iterator[Check]:
    """Yields the model's call, in training too if it trains, and all signatures of the module that is in the file.

    Args:
        module: The module, which may be changed.
        path: What `write` has written.
        signature: As for `write`.
        trainable: As for `write`.
    """
    model: Any = keras.saving.load_model(path, compile=False)
    called = _Called(module, signature)
    (layer,) = (each for each in model.layers if isinstance(each, KerasLayer))
    again = layer.resolved_object
    known, found = _variables(module), _variables(again)
    trained = [name for name, variable in known.items() if variable.trainable]
    for training in (False, True) if trainable else (False,):
        yield Check(
            f"the model's call with training={training}",
            called.inputs,
            partial(called.apply, module, training),
            lambda values, training=training: model(called.given(values), training=training),
            trained=({n: known[n] for n in trained}, {n: found[n] for n in trained}) if trainable else None,
            state=(known, found),
            updates=training,
        )
    for name in module.get_signature_names():
        yield signature_check(module, name, partial(_apply, again, name))
    yield from loss_checks(module, again)


def _variables(module: Module | LoadedObject) -> dict[str, tf.Variable]:
    if isinstance(module, Module):
        return dict(module.state.by_name)
    return named_variables(module)[0]


def _apply(module: Module | LoadedObject, name: str, values: Mapping[str, Any]) -> Any:
    return module(values or None, signature=name, as_dict=True)
