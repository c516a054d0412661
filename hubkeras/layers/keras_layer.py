"""`hubkeras.KerasLayer`: a module as a layer of Keras 3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from hubkeras.errors import HubKerasError, UnsupportedError
from hubkeras.functions.smart_cond import smart_cond
from hubkeras.functions.tracebacks import SHORTENED, ShortTracebacks, hide_inner_frames
from hubkeras.layers.binding import Declaration, ModuleBinding, declaration_of, require_at_hand
from hubkeras.layers.config import json_values, read_config, read_damaged
from hubkeras.layers.described_outputs import describe, placeholders, symbolic
from hubkeras.layers.distribution import require_scope
from hubkeras.layers.dtype_policy import choose_policy
from hubkeras.layers.embedding import embed as embed_module
from hubkeras.layers.inputs import check_symbolic, fit_floats, from_python, only_input
from hubkeras.layers.keras_internals import in_safe_mode, shared_objects
from hubkeras.layers.missing_module import MissingModule
from hubkeras.layers.options import LayerOptions
from hubkeras.layers.output_shapes import (
    full_shapes,
    map_shapes,
    parse_input_shape,
    parse_output_shape,
    set_shapes,
    shapes_to_config,
    symbolic_outputs,
    unknown_outputs,
)
from hubkeras.layers.traced_outputs import trace_outputs
from hubkeras.layers.tracking import TrackingLayer, warn_if_nothing_trains
from hubkeras.layers.weight_files import load_values, store_values
from hubkeras.modules.module import Module
from hubkeras.modules.object_calls import CALL
from hubkeras.modules.tf2_objects import LoadedObject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hubkeras.layers.callables import LayerCallable

_KERAS = f"{Path(keras.__file__).parent}{os.sep}"


@keras.saving.register_keras_serializable(package="hubkeras")
class KerasLayer(TrackingLayer):
    """A module in TF1 Hub format, a SavedModel or any callable, as a Keras layer.

    A frozen layer (the default) runs in inference mode, even inside `fit()`. A trainable layer follows `training`:
    where it is True, the graph variant for training runs with its update ops (moving averages and the like). The
    module's regularization losses count while the layer is trainable. Only variables that the module marks trainable
    and that the signature reaches are given to an optimizer; all are saved.

    A model with this layer saves to one `.keras` file that holds the module too.

    Args:
        handle: Anything that `hubkeras.resolve` takes; or a `ModuleSpec`, a loaded module, or any callable.
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
        # Of `from_config`, which is the only one to pass it: a config that has such a key is rid of it first.
        declaration: Declaration | None = kwargs.pop("_declaration", None)
        first_shape, dtype = parse_input_shape(kwargs.pop("input_shape", None)), kwargs.pop("dtype", None)
        options = LayerOptions.of(
            tags,
            train_tags,
            allow_ops,
            signature=signature,
            signature_outputs_as_dict=signature_outputs_as_dict,
            output_key=output_key,
            load_options=load_options,
            safe_mode=safe_mode,
        )
        with ShortTracebacks():
            if declaration is None:
                binding = ModuleBinding.of_handle(handle, options, options.load(handle, tags, train_tags))
            else:
                binding = ModuleBinding.declared(handle, options, declaration)
        dtype = choose_policy(dtype, first_shape is not None, binding.input_options, arguments or {})
        # Keras' own autocast breaks half and string inputs; `call` casts what may be cast.
        super().__init__(trainable=trainable, dtype=dtype, autocast=False, **kwargs)
        self.take_inputs_as_they_are()
        self.embed = embed
        self._seeds = keras.random.SeedGenerator() if binding.spec.is_random else None
        self._binding, self._handle, self._arguments = binding, handle, dict(arguments or {})
        self._output_shapes = None if output_shape is None else parse_output_shape(output_shape)
        if first_shape is not None:
            self._declare_first(first_shape)
        if isinstance(handle, keras.layers.Layer):
            handle.trainable = trainable  # it was no sublayer yet when this layer's own was set
        self.share_weights(binding.variables, binding.spec.optimized)
        # By hand and without a `build`, after which Keras locks the layer's state: a module may be attached later.
        self.built = True
        if trainable and declaration is None:
            warn_if_nothing_trains(handle, binding.spec)
        self._follow_binding()

    def _follow_binding(self) -> None:
        """Has TensorFlow track what stands behind the layer now: variables, tables and assets."""
        # TensorFlow saves what attributes refer to, under their names: these are in checkpoints and exports. Also what
        # no optimizer may have must be among them, or an export is written without it.
        binding = self._binding
        self._values = binding.variables
        if binding.state is not None:
            self._state = binding.state
        elif hasattr(self, "_state"):
            del self._state  # the variables of a TF2 object have taken its place
        if binding.is_attached and isinstance(binding.loaded, tf.Module) and not isinstance(binding.loaded, Module):
            self._object = binding.loaded
        for name, variable in binding.variables.items():
            self._layer_weights.hold(name, variable)
        self.share_losses(lambda: binding.callable.regularization_losses, binding.owner)

    def _declare_first(self, shape: tuple[int | None, ...]) -> None:
        """Lets a Sequential that this layer is first in make its input, of the layer's compute dtype."""
        # Keras has two ways. A Sequential asks a first layer for `input_shape` as soon as there is a second one, and
        # gives the input the layer's dtype; for `declare_input` it makes the input at once, of the default float.
        self.input_shape = (None, *shape)
        if self.compute_dtype == keras.config.floatx():
            self.declare_input(shape)  # also where this layer stays alone

    # --- calling ---------------------------------------------------------------------------------------------------

    @tf.autograph.experimental.do_not_convert
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; Python and numpy values become tensors of the signature's dtypes first."""
        # Before Keras sees them: it refuses a list of strings, and gives numbers a dtype of its own choice.
        try:
            if args:
                given = from_python(
                    args[0], self._binding.input_options, self._arguments.keys(), self._binding.spec.signature or CALL
                )
                args = (given, *args[1:])
            return super().__call__(*args, **kwargs)
        except SHORTENED as error:
            if keras.config.is_traceback_filtering_enabled():
                hide_inner_frames(error, _KERAS)
            raise

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
        function = self._require_callable()
        inputs = fit_floats(inputs, self._dtype_of)

        def run(is_training: bool) -> Any:
            if is_training:
                require_scope(self.name, self._values.values())
            draw_seed = None if self._seeds is None else self._draw_seed
            return function(inputs, self._arguments, is_training, trainable=self.trainable, draw_seed=draw_seed)

        # `training` may be a tensor, which says only when the graph runs which of the two it is.
        train = training if self.trainable and training is not None else False
        outputs = smart_cond(train, lambda: run(True), lambda: run(False))
        outputs = outputs if self._output_shapes is None else set_shapes(outputs, self._output_shapes, inputs)
        if self._binding.spec.outputs is None:
            # A file has to say what they look like: when Keras reads it, the module comes after the symbolic call.
            self._binding.note_outputs(describe(outputs))
        return outputs

    def _draw_seed(self) -> tf.Tensor:
        """Returns the seed of one call; not the generator's own, since the graph counts on from it, as that does."""
        assert self._seeds is not None
        return tf.random.stateless_uniform([2], self._seeds.next(), maxval=tf.int32.max, dtype=tf.int32)

    def _waits_for_module(self) -> bool:
        """Tells whether Keras builds a model of what a file says, whose module comes next."""
        spec = self._binding.spec
        knows = spec.outputs is not None or spec.returned is not None
        return not self._binding.is_attached and knows and shared_objects() is not None

    def _dtype_of(self, name: str | None) -> tf.DType | None:
        options = self._binding.input_options
        if len(options) != 1:  # nothing is known: the float that Keras' own layers would compute with
            return tf.as_dtype(self.variable_dtype)
        (infos,) = options
        name = only_input(infos, self._arguments) if name is None else name
        return infos[name].dtype if name is not None and name in infos else None

    def compute_output_spec(self, inputs: Any = None, training: Any = None) -> Any:
        """Returns symbolic outputs, as the signature describes them.

        Raises:
            InputError: The inputs do not fit the signature.
            LayerError: The rank of an output is not known, and `output_shape` does not tell it.
        """
        signature = self._binding.spec.signature
        arguments = {} if signature is None else self._arguments  # those of a TF2 object are not among its inputs
        check_symbolic(inputs, self._binding.input_options, arguments, signature or CALL)
        return self._symbolic_outputs(inputs, training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the output, or a dict of shapes."""

        def make(path: tuple[Any, ...], shape: Any) -> keras.KerasTensor:
            dtype = self._dtype_of(path[0] if path else None)
            return keras.KerasTensor(shape, dtype.name if dtype else self.compute_dtype)

        inputs = map_shapes(make, input_shape)
        if self._output_shapes is not None and self._binding.spec.output_infos is None:
            return full_shapes(self._output_shapes, inputs)  # a call would need the dtypes, too
        return keras.tree.map_structure(lambda x: x.shape, self._symbolic_outputs(inputs, None))

    def _symbolic_outputs(self, inputs: Any, training: Any) -> Any:
        infos = self._binding.spec.output_infos
        if infos is not None:
            return symbolic_outputs(infos, self._binding.spec.output_key, self._output_shapes, inputs, self.name)
        if self._waits_for_module():
            return symbolic(self._binding.spec.returned)
        try:
            return trace_outputs(lambda values: self.call(values, training=training), inputs)
        except (TypeError, ValueError) as error:
            raise unknown_outputs(self.name, inputs, error) from error

    def _require_callable(self) -> LayerCallable:
        """Returns what the layer calls; this may load the module of a layer that was made from a config."""
        attached = self._binding.is_attached
        function = self._binding.callable
        if not attached:
            self._follow_binding()
        return function

    @property
    def resolved_object(self) -> Any:
        """The module, object or callable that the handle stands for."""
        return self._require_callable().loaded

    @property
    def supports_jit(self) -> bool:
        """Whether XLA can compile the layer."""
        binding = self._binding
        return self._jit_allowed and (binding.callable.compiles if binding.is_attached else binding.spec.compiles)

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        self._jit_allowed = value

    # --- saving ----------------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, and what the module's graphs and variables look like.

        Raises:
            UnsupportedError: The handle is a callable, which no config can hold.
        """
        self._binding.require_embedded()
        config, handle = super().get_config(), self._binding.handle
        if isinstance(handle, (str, os.PathLike)):
            config["handle"] = os.fspath(handle)
        elif isinstance(self.resolved_object, (Module, LoadedObject)):
            config["handle"] = self.resolved_object.description.label
        else:
            raise UnsupportedError(
                f"Cannot write a config of layer {self.name!r}",
                expected="a handle that is a string, a path or a loaded module",
                received=type(handle).__name__,
            )
        config |= self._binding.options.to_config()
        if self._arguments:
            config["arguments"] = json_values(self._arguments)
        if self._output_shapes is not None:
            config["output_shape"] = shapes_to_config(self._output_shapes)
        if hasattr(self, "input_shape"):
            config["input_shape"] = list(self.input_shape[1:])
        config["embed"] = self.embed
        config["spec"] = self._binding.spec.to_config(self.frozen_one_by_one(), self._compiles())
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
            LayerError: The config is damaged, or the module is neither described in it nor at hand.
        """
        arguments, spec = read_config(config)
        for key in ("allow_ops", "safe_mode") if in_safe_mode() else ():
            arguments.pop(key, None)  # what a file says of this counts only where the user trusts it
        if spec is None and in_safe_mode() is not False:
            require_at_hand(arguments["handle"])
        declaration = None if spec is None else declaration_of(arguments, spec)
        extra: dict[str, Any] = {} if declaration is None else {"_declaration": declaration}
        # The constructor may fail with anything where a damaged config gives it values that no caller would write.
        layer = read_damaged("arguments", lambda: cls(**arguments, **extra))
        if spec is not None:
            layer.freeze_one_by_one(spec.frozen)
        return layer

    def save_own_variables(self, store: Any) -> None:
        """Writes all variables of the module."""
        store_values(self._binding.variables, store)

    def load_own_variables(self, store: Any) -> None:
        """Reads all variables of the module."""
        # Keras calls this before `load_assets`: the module then must not bring values that replace these.
        load_values(self._binding.variables, store, self.name)
        self._binding.values_are_set = True

    def save_assets(self, dir_path: str) -> None:
        """Writes the module's graphs and assets."""
        if self.embed and self._binding.spec.format != "callable":
            embed_module(self.resolved_object.description, dir_path)

    def load_assets(self, dir_path: str | None) -> None:
        """Reads the module's graphs and assets."""
        if self.embed:
            # `dir_path` is removed when the file is read; what is attached has been copied out of it.
            self._binding.attach_embedded(dir_path)
            self._follow_binding()

    # Keras walks over all attributes of a layer that it loads, properties too, and loads those that are layers.
    @property
    def missing_module(self) -> MissingModule | None:
        """Stands among the sublayers that Keras loads after this one, if the module has not come by then."""
        return MissingModule(self._binding) if self._binding.lacks_module else None


keras.saving.get_custom_objects()["KerasLayer"] = KerasLayer  # as files call the layer that tensorflow_hub wrote


def _check_backend() -> None:
    if keras.backend.backend() != "tensorflow":
        raise UnsupportedError(
            "Cannot make a hubkeras.KerasLayer",
            expected="the TensorFlow backend of Keras",
            received=f"the {keras.backend.backend()} backend",
            fix="Set KERAS_BACKEND=tensorflow before keras is imported",
        )
