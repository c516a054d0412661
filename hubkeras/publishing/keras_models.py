"""`hubkeras.publish`: a Keras model as a module in TF1 Hub format."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import keras

from hubkeras.errors import SignatureTypeError
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.layers.keras_internals import layers_of, losses_of_call
from hubkeras.layers.tracking import RegularizationLosses
from hubkeras.modules.export import export_module
from hubkeras.modules.images import IMAGE_MODULE_INFO_KEY
from hubkeras.modules.staging import check_new_directory
from hubkeras.publishing.call_losses import split_losses
from hubkeras.publishing.model_signatures import model_signatures
from hubkeras.publishing.traced_modules import VARIANTS, TracedVariant, describe_traces, trace_signature
from hubkeras.publishing.variable_nodes import VariableTable
from hubkeras.savedmodel.protos import ImageModuleInfo

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from hubkeras.publishing.function_traces import Trace
    from hubkeras.publishing.model_signatures import ModelSignature
    from hubkeras.savedmodel.description import ModuleDescription

_LOSS = "\0loss "
"""What the names of losses begin with while they are outputs of a call; no one can name an output so."""
_log = logging.getLogger("hubkeras")


def publish(
    keras_model: keras.Model,
    path: str | os.PathLike[str],
    signatures: Mapping[str, Any] | None = None,
    image_size: tuple[int, int] | None = None,
) -> None:
    """Writes a Keras model as a module in TF1 Hub format.

    The module has a graph variant without tags, the call with `training=False`, and one with the tag "train", the call
    with `training=True`. Variables have the paths that they have in Keras as names, and are trainable as in Keras. What
    a call assigns (moving averages, counters, seeds) becomes update ops, weight regularizers become regularization
    losses, as do losses that a call adds and that depend on variables alone. Tables, and files behind
    `tf.saved_model.Asset`, come along. A TF1 program with `hub.Module`, hubkeras and every other reader of the format
    uses and fine-tunes it.

    Args:
        keras_model: A model that has been built. It may hold `hubkeras.KerasLayer`s and text preprocessing.
        path: A directory that does not exist yet, or is empty.
        signatures: What the module offers, by name: None for the call of the model; another model; a function of
            tensors (and `training`, if it likes) that takes what the model takes; a `tf.function` with an
            `input_signature`; a pair of a function or model and a dict from input names to `tf.TypeSpec`s; or such a
            dict alone, for the call of the model. The signature "default" is the call of a sequential or functional
            model unless it is given; of another model, only where no signatures are given.
        image_size: `(height, width)` in pixels that the images should have; the input of rank 4 is named "images", and
            `get_expected_image_size` returns the size.

    Raises:
        SignatureTypeError: It is no Keras model, or an argument has a wrong type.
        PublishingError: The model has not been built, a function fails, or something in it has no place in a module.
        UnsafeModuleError: It has ops that reach out of the graph, such as `tf.py_function`.
        ExportExistsError: There is something at `path`.
        ExportError: It could not be written; nothing is left behind.

    Example:
        >>> model = keras.Sequential([keras.Input([4]), keras.layers.Dense(2, name="dense")])
        >>> hubkeras.publish(model, "module")  # doctest: +SKIP
        >>> sorted(hubkeras.load("module").variable_map)  # doctest: +SKIP
        ['dense/bias', 'dense/kernel']

    It does not write the optimizer, metrics, the loss, or losses that depend on inputs (`add_loss`, activity
    regularizers): the format has no place for them.
    """
    check_new_directory(path)  # before the tracing, which takes a while
    PublishedModel(keras_model, signatures, image_size).export(path)


class PublishedModel:
    """A Keras model as the description of a module, which can be written again when its variables have other values.

    Args:
        model: The model.
        signatures: As for `publish`.
        image_size: As for `publish`.
    """

    def __init__(
        self, model: keras.Model, signatures: Mapping[str, Any] | None = None, image_size: tuple[int, int] | None = None
    ) -> None:
        if not isinstance(model, keras.Model):
            raise SignatureTypeError(
                "Cannot publish something that is no Keras model",
                expected="a keras.Model",
                received=type(model).__name__,
                fix="Wrap a layer, as in keras.Sequential([keras.Input(shape), layer])",
            )
        size = _checked_size(image_size)
        chosen = model_signatures(model, signatures, size is not None)
        self._description, self._variables = _build(model, chosen, size)
        # As at a load with the default policy, so nobody writes what no reader would take.
        look_at(self._description, OpPolicy())

    def export(self, path: str | os.PathLike[str]) -> None:
        """Writes the module with today's values of the variables."""
        variables = {name: held.variable for name, held in self._variables.by_name.items()}
        export_module(self._description, variables, path)


def _checked_size(image_size: Any) -> tuple[int, int] | None:
    if image_size is None:
        return None
    size = tuple(image_size) if isinstance(image_size, (tuple, list)) else ()
    if len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise SignatureTypeError(
            "Cannot publish a model",
            expected="image_size=(height, width), in pixels",
            received=f"image_size={image_size!r}",
        )
    return size[0], size[1]


def _build(
    model: keras.Model, signatures: Mapping[str, ModelSignature], size: tuple[int, int] | None
) -> tuple[ModuleDescription, VariableTable]:
    attachments = {}
    if size is not None:
        info = attachments[IMAGE_MODULE_INFO_KEY] = ImageModuleInfo()
        info.default_image_size.height, info.default_image_size.width = size
    traced = {tags: _trace(model, signatures, training, attachments) for tags, training in VARIANTS.items()}
    models = [model, *(s.model for s in signatures.values() if s.model is not None)]
    variables = VariableTable(models)
    for variant in traced.values():
        for each in (*variant.signatures.values(), *variant.losses):
            variables.add_captured(each.variables)
    description = describe_traces(traced, variables, f"model {model.name!r}", models)
    return description, variables


def _trace(
    model: keras.Model, signatures: Mapping[str, ModelSignature], training: bool, attachments: Mapping[str, Any]
) -> TracedVariant:
    found: dict[str, Trace] = {}
    losses = [
        trace_signature(
            lambda _: {str(i): loss for i, loss in enumerate(_regularization_losses(model))},
            {},
            f"the regularization losses of model {model.name!r}",
        )
    ]
    for name, signature in signatures.items():
        # Of the model's own call, and of one signature alone where several are that call.
        with_losses = signature.model is model and len(losses) == 1

        def call(
            values: dict[str, Any], signature: ModelSignature = signature, with_losses: bool = with_losses
        ) -> dict[str, Any]:
            outputs = signature.call(values, training)
            added = losses_of_call(model) if with_losses else ()
            return outputs | {f"{_LOSS}{i}": loss for i, loss in enumerate(added)}

        traced = trace_signature(call, signature.inputs, f"signature {name!r} of model {model.name!r}")
        if with_losses:
            traced, of_call, left_out = split_losses(traced, _LOSS)
            losses.append(of_call)
            if training and left_out:
                _warn_of_losses(model, left_out)
        found[name] = traced
    return TracedVariant(found, losses, attachments)


def _regularization_losses(model: keras.Model) -> list[Any]:
    """Returns the losses that depend on variables alone."""
    losses = [w.regularizer(w) for w in model.trainable_weights if w.regularizer is not None]
    for layer in layers_of(model):
        if isinstance(layer, RegularizationLosses):
            losses += layer.own_losses
    return losses


def _warn_of_losses(model: keras.Model, left_out: int) -> None:
    _log.warning(
        "Publishing model %r without %d losses that depend on its inputs (add_loss, activity regularizers): "
        "modules in TF1 Hub format hold losses of variables only",
        model.name,
        left_out,
    )
