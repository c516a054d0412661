"""`hubkeras.KerasLayer`: a module as a layer of Keras 3."""

from __future__ import annotations

import json
import os
import weakref
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from hubkeras.errors import HubKerasError, LayerError, UnsupportedError
from hubkeras.functions.smart_cond import in_mode
from hubkeras.layers.inputs import check_symbolic, fit_floats, from_python
from hubkeras.layers.keras_internals import shared_objects
from hubkeras.layers.output_shapes import (
    map_shapes,
    parse_output_shape,
    set_shapes,
    shapes_to_config,
    symbolic_outputs,
    unknown_shape,
)
from hubkeras.layers.restoring import (
    attach_handle,
    declare,
    embed_module,
    frozen_names,
    make_layer,
    take,
    unpack,
)
from hubkeras.layers.scope import require_scope
from hubkeras.layers.sharing import SharingLayer
from hubkeras.layers.symbolic_stand_ins import describe, placeholders, symbolic
from hubkeras.layers.targets import ModuleTarget, ObjectTarget, spec_of
from hubkeras.layers.weights import load_values, store_values
from hubkeras.modules.loader import load
from hubkeras.modules.module import Module
from hubkeras.modules.tf2_objects import LoadedObject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hubkeras.layers.spec import LayerSpec
    from hubkeras.layers.targets import Target


@keras.saving.register_keras_serializable(package="hubkeras")
class KerasLayer(SharingLayer):
    """A module in TF1 Hub format, a SavedModel or any callable, as a Keras layer.

    A frozen layer (the default) runs in inference mode, even inside `fit()`. A trainable layer follows `training`:
    where it is True, the graph variant for training runs with its update ops (moving averages and the like). The
    module's regularization losses count while the layer is trainable. Only variables that the module marks trainable
    and that the signature reaches are given to an optimizer; all are saved.

    A model with this layer saves to one `.keras` file that holds the module too.

    Args:
        handle: Anything that `hubkeras.resolve` takes; or a loaded module; or any callable.
        trainable: Whether the layer is trainable; `layer.trainable` can be set later.
        arguments: Values for further inputs of the signature, or keyword arguments of the callable.
        tags: The graph variant for inference; None for the default one.
        train_tags: The graph variant for training; None for `tags` with "train" added, if there is one.
        signature: Name of the signature; None for the default one, or for calling a TF2 object itself.
        signature_outputs_as_dict: Whether to return all outputs of the signature as a dict.
        output_key: The output of the signature to return; None for "default".
        output_shape: A nest of shapes of the outputs without the batch axis, where the module does not tell them.
        load_options: A `tf.saved_model.LoadOptions` for a TF2 SavedModel.
        safe_mode: Whether a module with ops that reach out of the graph is refused; None means True.
        allow_ops: Names of such ops that are allowed all the same.
        embed: Whether a saved model holds the module; if not, it holds the handle.
        **kwargs: Passed to `keras.layers.Layer`: `name`, `dtype`; `input_shape` for the first layer of a Sequential.

    Raises:
        LayerError: Arguments contradict each other or the module.

    Example:
        >>> model = keras.Sequential([
        ...     KerasLayer("path/to/nnlm", input_shape=[], dtype=tf.string, trainable=True),
        ...     keras.layers.Dense(1),
        ... ])  # doctest: +SKIP

    It runs on the TensorFlow backend only, and gives no second derivatives through v1 control flow.
    """

    def __init__(
        self,
        handle: Any,
        trainable: bool = False,
        arguments: Mapping[str, Any] | None = None,
        *,
        tags: Iterable[str] | None = None,
        train_tags: Iterable[str] | None = None,
        signature: str | None = None,
        signature_outputs_as_dict: bool | None = None,
        output_key: str | None = None,
        output_shape: Any = None,
        load_options: tf.saved_model.LoadOptions | None = None,
        safe_mode: bool | None = None,
        allow_ops: Collection[str] = (),
        embed: bool = True,
        **kwargs: Any,
    ) -> None:
        _check_backend()
        declared: LayerSpec | None = kwargs.pop("_declared", None)
        first_shape, dtype = kwargs.pop("input_shape", None), kwargs.pop("dtype", None)
        self._target: Target | None = None
        if declared is None:
            loaded = _load(handle, tags, train_tags, load_options, safe_mode, allow_ops)
            self._target = _target(loaded, signature, output_key, bool(signature_outputs_as_dict))
            declared = spec_of(self._target)
        self._spec = declared
        super().__init__(trainable=trainable, dtype=self._policy(dtype, first_shape), autocast=False, **kwargs)
        self._allow_non_tensor_positional_args = True
        self._convert_input_args = False
        self.embed = embed
        self._handle = handle
        self._arguments = dict(arguments or {})
        self._options = {
            "tags": _tag_list(tags),
            "train_tags": _tag_list(train_tags),
            "signature": signature,
            "signature_outputs_as_dict": signature_outputs_as_dict,
            "output_key": output_key,
        }
        self._allow_ops, self._load_options, self._safe_mode = sorted(allow_ops), load_options, safe_mode
        self._trusted = self._values_are_set = False
        self._output_shapes = parse_output_shape(output_shape) if output_shape else None
        if first_shape is not None:
            self._declare_first(tuple(first_shape))
        if isinstance(handle, keras.layers.Layer):
            handle.trainable = trainable
        self._own_weights(self._target.variables if self._target else declare(self, declared))
        if self._target is not None:
            take(self, self._target)
        if (known := self._target) is not None:
            self.share_losses(lambda: known.regularization_losses, self.resolved_object)
        elif declared.format != "callable":
            itself = weakref.proxy(self)
            self.share_losses(lambda: itself.target.regularization_losses)

    def _own_weights(self, variables: list[tuple[str, tf.Variable, bool]]) -> None:
        self._values = {name: variable for name, variable, _ in variables}
        self.share_weights(variables)
        self.built = True

    def _policy(self, dtype: Any, first_shape: Any) -> Any:
        """Returns the dtype policy; first in a Sequential, Keras makes an input of its compute dtype."""
        infos = self._spec.input_infos
        if first_shape is not None and infos is not None and len(infos) == 1:
            return next(iter(infos.values())).dtype.name
        if isinstance(dtype, tf.DType):
            return dtype.name
        return dtype

    def _declare_first(self, shape: tuple[int | None, ...]) -> None:
        """Lets a Sequential that this layer is first in make its input, of the layer's compute dtype."""
        self.input_shape = (None, *shape)
        if self.compute_dtype == keras.config.floatx():
            self._input_shape_arg = shape  # the way of Keras' own layers: also where this one stays alone

    # --- calling ---------------------------------------------------------------------------------------------------

    @tf.autograph.experimental.do_not_convert
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; Python and numpy values become tensors of the signature's dtypes first."""
        if args:
            given = from_python(args[0], self._spec.input_infos, self._arguments.keys(), self._spec.signature or "")
            args = (given, *args[1:])
        return super().__call__(*args, **kwargs)

    def call(self, inputs: Any = None, training: Any = None) -> Any:
        """Computes the outputs.

        Args:
            inputs: A bare value, or a dict by the names of the signature's inputs.
            training: Whether the model is being trained; a frozen layer takes no notice of it.

        Returns:
            The output, or a dict of all outputs.
        """
        if self._waits_for_module() and not tf.executing_eagerly():
            return placeholders(self._symbolic_outputs(inputs, training))
        target = self.target
        inputs = fit_floats(inputs, self._dtype_of)

        def run(mode: bool) -> Any:
            if mode:
                require_scope(self.name, self._values.values())
            return target(inputs, self._arguments, training=mode, trainable=self.trainable)

        outputs = in_mode(training if self.trainable and training is not None else False, run)
        outputs = outputs if self._output_shapes is None else set_shapes(outputs, self._output_shapes, inputs)
        if self._spec.outputs is None:
            self._spec = self._spec.called(describe(outputs))
        return outputs

    def _waits_for_module(self) -> bool:
        """Tells whether Keras builds a model of what a file says, whose module comes next."""
        knows = self._spec.outputs is not None or self._spec.returned is not None
        return self._target is None and knows and shared_objects() is not None

    def _dtype_of(self, name: str | None) -> tf.DType | None:
        infos = self._spec.input_infos
        if infos is None:
            return tf.as_dtype(self.variable_dtype)
        if name is None:
            rest = [n for n in infos if n not in self._arguments]
            name = rest[0] if len(rest) == 1 else None
        return infos[name].dtype if name in infos else None

    def compute_output_spec(self, inputs: Any = None, training: Any = None) -> Any:
        """Returns symbolic outputs, as the signature describes them.

        Raises:
            InputError: The inputs do not fit the signature.
            LayerError: The rank of an output is not known, and `output_shape` does not tell it.
        """
        if self._spec.input_infos is not None:
            check_symbolic(inputs, self._spec.input_infos, self._arguments, self._spec.signature or "")
        return self._symbolic_outputs(inputs, training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the output, or a dict of shapes."""

        def make(path: tuple[Any, ...], shape: Any) -> keras.KerasTensor:
            dtype = self._dtype_of(path[0] if path else None)
            return keras.KerasTensor(shape, dtype.name if dtype else self.compute_dtype)

        outputs = self._symbolic_outputs(map_shapes(make, input_shape), None)
        return keras.tree.map_structure(lambda x: x.shape, outputs)

    def _symbolic_outputs(self, inputs: Any, training: Any) -> Any:
        infos, key = self._spec.output_infos, self._spec.output_key
        if infos is not None:
            return symbolic_outputs(infos, key, self._output_shapes, inputs, self.name)
        if self._waits_for_module():
            return symbolic(self._spec.returned)
        try:
            return keras.Operation.compute_output_spec(self, inputs, training=training)
        except ValueError as error:
            raise unknown_shape(self.name, str(error)) from error

    @property
    def target(self) -> Target:
        """What the layer calls; a layer read from a config loads its module when this is first needed."""
        if self._target is None:
            with tf.init_scope():
                attach_handle(self)
        assert self._target is not None
        return self._target

    @property
    def resolved_object(self) -> Any:
        """The module, object or callable that the handle stands for."""
        target = self.target
        return target.module if isinstance(target, ModuleTarget) else target.object  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def supports_jit(self) -> bool:
        """Whether XLA can compile the layer."""
        return self._jit_allowed and (self._spec.compiles if self._target is None else self._target.compiles)

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        self._jit_allowed = value

    # --- saving ----------------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, and what the module's graphs and variables look like.

        Raises:
            UnsupportedError: The handle is a callable, which no config can hold.
        """
        config = super().get_config()
        if isinstance(self._handle, (str, os.PathLike)):
            config["handle"] = os.fspath(self._handle)
        elif isinstance(self.resolved_object, (Module, LoadedObject)):
            config["handle"] = str(self.resolved_object.description.path)
        else:
            raise UnsupportedError(
                f"Cannot write a config of layer {self.name!r}",
                expected="a handle that is a string, a path or a loaded module",
                received=type(self._handle).__name__,
            )
        config |= {k: v for k, v in self._options.items() if v is not None}
        if self._arguments:
            config["arguments"] = _json_values(self._arguments)
        if self._output_shapes is not None:
            config["output_shape"] = shapes_to_config(self._output_shapes)
        if self._allow_ops:
            config["allow_ops"] = self._allow_ops
        if hasattr(self, "input_shape"):
            config["input_shape"] = list(self.input_shape[1:])
        config["embed"] = self.embed
        config["spec"] = self._spec.to_config(frozen_names(self), self._compiles())
        return config

    def _compiles(self) -> bool:
        try:
            return self.supports_jit
        except HubKerasError:  # an op that only the graph for training needs may be missing here
            return False

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> KerasLayer:
        """Makes a layer from its config; a config written by tensorflow_hub's layer does as well.

        Nothing is downloaded. Where the module is at hand it is loaded; else the layer is declared from what the
        config says, and Keras brings the module with the rest of the file, or the first call loads it.

        Raises:
            LayerError: The module is neither described in the config nor at hand.
        """
        return make_layer(cls, config)

    def save_own_variables(self, store: Any) -> None:
        """Writes all variables of the module."""
        store_values(self._values, store)

    def load_own_variables(self, store: Any) -> None:
        """Reads all variables of the module."""
        load_values(self._values, store, self.name)
        self._values_are_set = True

    def save_assets(self, dir_path: str) -> None:
        """Writes the module's graphs and assets."""
        if self.embed and self._spec.format != "callable":
            embed_module(self.resolved_object.description, dir_path)

    def load_assets(self, dir_path: str) -> None:
        """Reads the module's graphs and assets."""
        if self.embed and self._target is None:
            unpack(self, dir_path)


keras.saving.get_custom_objects()["KerasLayer"] = KerasLayer  # as files call the layer that tensorflow_hub wrote


def _check_backend() -> None:
    if keras.backend.backend() != "tensorflow":
        raise UnsupportedError(
            "Cannot make a hubkeras.KerasLayer",
            expected="the TensorFlow backend of Keras",
            received=f"the {keras.backend.backend()} backend",
            fix="Set KERAS_BACKEND=tensorflow before keras is imported",
        )


def _load(
    handle: Any,
    tags: Iterable[str] | None,
    train_tags: Iterable[str] | None,
    load_options: tf.saved_model.LoadOptions | None,
    safe_mode: bool | None,
    allow_ops: Collection[str],
) -> Any:
    if not callable(handle) or isinstance(handle, (str, os.PathLike)):
        safe = safe_mode is not False
        return load(handle, tags, load_options, train_tags=train_tags, safe_mode=safe, allow_ops=allow_ops)
    given = {"tags": tags, "train_tags": train_tags, "load_options": load_options}
    if any(value is not None for value in given.values()):
        raise LayerError(
            "Cannot choose a graph variant or load options of something that is loaded already",
            expected=f"{', '.join(f'{k}=None' for k in given)} where the handle is a module or a callable",
            received=", ".join(f"{k}={v!r}" for k, v in given.items() if v is not None),
        )
    return handle


def _tag_list(tags: Iterable[str] | None) -> list[str] | None:
    if tags is None:
        return None
    return [tags] if isinstance(tags, str) else sorted(tags)


def _target(loaded: Any, signature: str | None, output_key: str | None, as_dict: bool) -> Target:
    if not isinstance(loaded, Module):
        return ObjectTarget(loaded, signature, output_key, as_dict)
    if output_key is not None and as_dict:
        raise LayerError(
            f"Cannot use signature {signature or 'default'!r} as a layer",
            expected="either output_key= or signature_outputs_as_dict=True",
            received=f"output_key={output_key!r}, signature_outputs_as_dict=True",
        )
    return ModuleTarget(loaded, signature, output_key, as_dict)


def _json_values(arguments: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in arguments.items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise LayerError(
                f"Cannot write argument {name!r} of the layer to a config",
                expected="values that JSON can hold",
                received=type(value).__name__,
            ) from error
    return dict(arguments)
