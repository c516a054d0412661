"""`hubkeras.publish`: a Keras model as a module in TF1 Hub format."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING, Any

import keras

from hubkeras.errors import HubKerasError, PublishingError, SignatureTypeError
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.layers.keras_internals import layers_of
from hubkeras.layers.tracking import RegularizationLosses
from hubkeras.modules.export import export_module
from hubkeras.modules.images import IMAGE_MODULE_INFO_KEY
from hubkeras.modules.staging import check_new_directory
from hubkeras.publishing.asset_collection import AssetFiles
from hubkeras.publishing.captured_state import CapturedState
from hubkeras.publishing.function_traces import trace
from hubkeras.publishing.graph_variants import GraphVariantBuilder
from hubkeras.publishing.model_signatures import model_signatures
from hubkeras.publishing.variable_nodes import VariableTable
from hubkeras.savedmodel.protos import ImageModuleInfo, SavedModel, dtypes
from hubkeras.savedmodel.reader import describe_saved_model

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from hubkeras.publishing.function_traces import Trace
    from hubkeras.publishing.model_signatures import ModelSignature

_VARIANTS = {frozenset(): False, frozenset({"train"}): True}
"""Whether each variant is for training, by its tags."""
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
    losses. Tables, and files behind `tf.saved_model.Asset`, come along. A TF1 program with `hub.Module`, hubkeras and
    every other reader of the format uses and fine-tunes it.

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
        saved_model, files, self._variables = _build(model, chosen, size)
        self._description = describe_saved_model(saved_model, files.by_name)
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
) -> tuple[Any, AssetFiles, VariableTable]:
    purpose = f"model {model.name!r}"
    traces = {tags: _trace(model, signatures, training) for tags, training in _VARIANTS.items()}
    variables = VariableTable([model, *(s.model for s in signatures.values() if s.model is not None)])
    for found, losses in traces.values():
        for each in (*found.values(), losses):
            variables.add_captured(each.variables)
    seeds = _seed_names(variables)
    saved_model, files, state = SavedModel(saved_model_schema_version=1), AssetFiles(), CapturedState(purpose)
    for tags, (found, losses) in traces.items():
        builder = GraphVariantBuilder(tags, variables, state, purpose)
        builder.add_regularization_losses(losses)
        for name, each in found.items():
            builder.add_signature(name, each, seeds)
        if size is not None:
            info = ImageModuleInfo()
            info.default_image_size.height, info.default_image_size.width = size
            builder.attach(IMAGE_MODULE_INFO_KEY, info)
        meta_graph = saved_model.meta_graphs.add()
        meta_graph.CopyFrom(builder.finish())
        files.collect(meta_graph)
    return saved_model, files, variables


def _trace(
    model: keras.Model, signatures: Mapping[str, ModelSignature], training: bool
) -> tuple[dict[str, Trace], Trace]:
    """Traces the signatures of one variant, and the regularization losses."""
    found: dict[str, Trace] = {}
    for name, signature in signatures.items():
        what = f"signature {name!r} of model {model.name!r}"

        def call(values: dict[str, Any], signature: ModelSignature = signature) -> dict[str, Any]:
            outputs = signature.call(values, training)
            # Once, for the model's own call; while it is traced `model.losses` holds those that the call has added.
            if training and signature.model is model:
                _warn_of_losses(model)
            return outputs

        found[name] = _traced(call, signature.inputs, what)
        _check_dtypes(found[name], what)
    losses = _traced(
        lambda _: {str(i): loss for i, loss in enumerate(_regularization_losses(model))},
        {},
        f"the regularization losses of model {model.name!r}",
    )
    return found, losses


def _traced(function: Any, inputs: Mapping[str, Any], what: str) -> Trace:
    try:
        return trace(function, inputs, what)
    except HubKerasError:
        raise
    except Exception as error:
        raise PublishingError(
            f"Cannot publish {what}: its function failed",
            expected=f"a function of {', '.join(f'{n}: {s}' for n, s in inputs.items()) or 'nothing'}",
            received=f"{type(error).__name__}: {error}",
            fix="Pass signatures= with the specifications of the inputs if these are wrong",
        ) from error


def _check_dtypes(traced: Trace, what: str) -> None:
    """Refuses inputs and outputs that nobody can feed or fetch.

    Raises:
        SignatureTypeError: There is one.
    """
    for role, infos in (("input", traced.inputs), ("output", traced.outputs)):
        for name, info in infos.items():
            if info.dtype in (dtypes.DT_RESOURCE, dtypes.DT_VARIANT):
                raise SignatureTypeError(
                    f"Cannot publish {what}",
                    expected="tensors of numbers, booleans and strings",
                    received=f"{role} {name!r} of dtype {dtypes.DataType.Name(info.dtype)}",
                )


def _regularization_losses(model: keras.Model) -> list[Any]:
    """Returns the losses that depend on variables alone."""
    losses = [w.regularizer(w) for w in model.trainable_weights if w.regularizer is not None]
    for layer in layers_of(model):
        if isinstance(layer, RegularizationLosses):
            losses += layer.own_losses
    return losses


def _warn_of_losses(model: keras.Model) -> None:
    """Says that losses are left out that the model's call has just added."""
    left = len(model.losses) - len(_regularization_losses(model))
    if left > 0:
        _log.warning(
            "Publishing model %r without %d losses that depend on its inputs (add_loss, activity regularizers): "
            "modules in TF1 Hub format hold losses of variables only",
            model.name,
            left,
        )


def _seed_names(variables: VariableTable) -> set[str]:
    """Returns the names of the variables from which Keras seeds what is random."""
    # A layer may hold its generators anywhere, and a function besides the model's layers: Keras has no list of all.
    generators = [item for item in gc.get_objects() if isinstance(item, keras.random.SeedGenerator)]
    found = [variables.find(generator.state.value.handle) for generator in generators]
    return {variable.name for variable in found if variable is not None}
