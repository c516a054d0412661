"""What a layer calls: a module's signature, a TF2 object, or any callable, all behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from hubkeras.errors import InputError, LayerError, OutputError, SignatureError
from hubkeras.functions.tensor_info import parse_infos
from hubkeras.layers.config import LayerSpec
from hubkeras.modules.defaults import choose_output
from hubkeras.modules.inputs import by_name, normalize
from hubkeras.modules.module import Module
from hubkeras.modules.object_calls import ObjectInputs, call_object, infos_of, inputs_of
from hubkeras.modules.tf2_objects import LoadedObject, takes_training
from hubkeras.savedmodel.description import VariableSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hubkeras.functions.bound_subgraph import DrawSeed
    from hubkeras.functions.tensor_info import ParsedTensorInfo


class ModuleCallable:
    """A signature of a module, as a layer calls it.

    Args:
        module: The module.
        signature: Name of the signature; None for the default one.
        output_key: The output to return; None for "default", or the only one.
        as_dict: Whether to return all outputs in a dict.
    """

    object_inputs: Sequence[ObjectInputs] = ()
    """What the functions of a TF2 object take, which has no signature to say so."""

    def __init__(self, module: Module, signature: str | None, output_key: str | None, as_dict: bool) -> None:
        self.module = self.loaded = module
        self.signature = module.signature_name(signature)
        spec = module.variant().signature(self.signature)
        self.inputs, self.outputs = parse_infos(spec.inputs), parse_infos(spec.outputs)
        self.output_key = None if as_dict else _choose_output(output_key, self.outputs, self.signature)
        if self.output_key is not None:
            self.outputs = {self.output_key: self.outputs[self.output_key]}
        # What is not asked for is never computed, and weights that only it reaches are not trained.
        self._wanted = None if self.output_key is None else (self.output_key,)

    def __call__(
        self, inputs: Any, arguments: Mapping[str, Any], training: bool, trainable: bool, draw_seed: DrawSeed | None
    ) -> Any:
        """Computes the outputs."""
        # The module itself takes no arguments besides its inputs, so the layer's must be among these first.
        inputs = by_name(inputs, self.inputs, self.signature, arguments)
        outputs = self.module.apply(
            inputs, self.signature, self._wanted, training, watch=trainable, draw_seed=draw_seed
        )
        return outputs if self.output_key is None else outputs[self.output_key]

    @property
    def variables(self) -> list[tuple[str, tf.Variable, bool]]:
        """Name, variable, and whether an optimizer may have it, of all variables."""
        # Of the graph for training: only what its outputs reach has a gradient, and Keras complains about the others.
        reached = self.module.variant(training=True).reached(self.signature, self._wanted)
        known = self.module.state.by_name
        # First those that tensorflow_hub's layer had, in its order, as its weight files number them; then local ones.
        order = [*self.module.variable_names, *known]
        return [(n, known[n], known[n].trainable and n in reached) for n in dict.fromkeys(order)]

    @property
    def regularization_losses(self) -> Sequence[Callable[[], tf.Tensor]]:
        """Functions without arguments."""
        return self.module.regularization_losses

    @property
    def compiles(self) -> bool:
        """Whether XLA can compile it."""
        kinds = {
            self.module.variant(training).function(self.signature, self._wanted).bound for training in (False, True)
        }
        return all(bound.compiles for bound in kinds)

    @property
    def is_random(self) -> bool:
        """Whether it draws from seeds that calls bring."""
        return any(self.module.variant(training).is_random(self.signature, self._wanted) for training in (False, True))


class ObjectCallable:
    """A TF2 SavedModel, one of its signatures, or any callable, as a layer calls it.

    Args:
        function: What is called.
        signature: Name of the signature of a TF2 SavedModel; None to call the object itself.
        output_key: The output to return of a dict.
        as_dict: Whether a signature's outputs are returned as a dict.
    """

    inputs: Mapping[str, ParsedTensorInfo] | None = None
    outputs: Mapping[str, ParsedTensorInfo] | None = None
    is_random = False

    def __init__(self, function: Any, signature: str | None, output_key: str | None, as_dict: bool) -> None:
        self.loaded, self.signature, self.output_key = function, signature, output_key
        if signature is not None and (output_key is not None) == as_dict:
            raise LayerError(
                f"Cannot use signature {signature!r} of a TF2 SavedModel as a layer",
                expected="either output_key= or signature_outputs_as_dict=True",
                received=f"output_key={output_key!r}, signature_outputs_as_dict={as_dict}",
            )
        if signature is None and as_dict:
            raise LayerError(
                "Cannot return the outputs of a signature as a dict",
                expected="signature_outputs_as_dict=True only with signature=, or with a module in TF1 Hub format",
                received="signature=None",
            )
        self._function = self._callable()
        is_object = signature is None and isinstance(function, LoadedObject)
        self.object_inputs: Sequence[ObjectInputs] = inputs_of(self._function) if is_object else ()
        _check_losses(function)
        if signature is not None:
            self.inputs = infos_of(self._function.structured_input_signature[1])
            outputs = infos_of(self._function.structured_outputs)
            if output_key is not None:
                _choose_output(output_key, outputs, signature)
            self.outputs = outputs if output_key is None else {output_key: outputs[output_key]}

    def _callable(self) -> Any:
        function = self.loaded
        if self.signature is not None:
            signatures = getattr(function, "signatures", {})
            if self.signature not in signatures:
                raise SignatureError(
                    f"Cannot use signature {self.signature!r} as a layer: the object has no such one",
                    expected=f"one of {sorted(signatures)}" if signatures else "an object with signatures",
                    received=repr(self.signature),
                )
            return signatures[self.signature]
        # Without its own `__call__`, which would fall back to a signature where the object has no call.
        if isinstance(function, LoadedObject):
            if not function.is_callable:
                raise LayerError(
                    f"Cannot use TF2 SavedModel {function.description.label} as a layer: the object is not callable",
                    expected=f"signature= one of {sorted(function.signatures)}",
                    received="signature=None",
                )
            return function.loaded
        return function

    def __call__(
        self, inputs: Any, arguments: Mapping[str, Any], training: bool, trainable: bool, draw_seed: DrawSeed | None
    ) -> Any:
        """Computes the outputs."""
        if self.signature is not None and trainable:
            raise LayerError(
                f"Cannot train signature {self.signature!r} of a TF2 SavedModel",
                expected="trainable=False, or an object that is callable itself",
                received="trainable=True",
                fix="Leave signature= out where the SavedModel is callable",
            )
        if self.signature is not None and self.inputs is not None:
            return self._select(self._function(**normalize(inputs, self.inputs, self.signature, arguments)))
        training_argument = {"training": training} if takes_training(self._function) else {}
        try:
            return self._select(self._call(inputs, {**arguments, **training_argument}))
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            if not tf.is_tensor(inputs) or inputs.shape.rank != 0:
                raise  # the callable's own error; that of a scalar tells nobody what to do
            raise InputError(
                "Cannot call the object with a single value",
                expected="a batch of values",
                received=f"{inputs.dtype.name} of shape ()",
                fix="Put it into a list, as in layer([x])",
            ) from error

    def _call(self, inputs: Any, keywords: Mapping[str, Any]) -> Any:
        if isinstance(self.loaded, LoadedObject):
            return call_object(self._function, f"TF2 SavedModel {self.loaded.description.path}", (inputs,), keywords)
        return self._function(inputs, **keywords)

    def _select(self, outputs: Any) -> Any:
        if self.output_key is None:
            return outputs
        if not isinstance(outputs, dict):
            raise OutputError(
                f"Cannot take output {self.output_key!r}",
                expected="a callable that returns a dict",
                received=type(outputs).__name__,
                fix="Leave output_key= out",
            )
        _choose_output(self.output_key, outputs, self.signature)
        return outputs[self.output_key]

    @property
    def variables(self) -> list[tuple[str, tf.Variable, bool]]:
        """Name, variable, and whether an optimizer may have it, of all variables."""
        if isinstance(self.loaded, keras.layers.Layer):
            return []  # Keras tracks it as a layer inside this one
        trainable = list(getattr(self.loaded, "trainable_variables", ()))
        ids = {id(v) for v in trainable}  # `in` would compare values: variables overload `==`
        others = [v for v in getattr(self.loaded, "variables", ()) if id(v) not in ids]
        pairs = [*((v, True) for v in trainable), *((v, False) for v in others)]
        names = _unique([v.name.split(":")[0] for v, _ in pairs])
        return [(name, v, flag) for name, (v, flag) in zip(names, pairs, strict=True)]

    @property
    def by_name(self) -> dict[str, tf.Variable]:
        """The variables by name."""
        return {name: variable for name, variable, _ in self.variables}

    @property
    def regularization_losses(self) -> Sequence[Callable[[], tf.Tensor]]:
        """Functions without arguments."""
        return list(getattr(self.loaded, "regularization_losses", ()))

    @property
    def compiles(self) -> bool:
        """Whether XLA can compile it."""
        # Nobody has looked into the functions of a TF2 object, and a model that XLA cannot compile fails in `fit`.
        return not isinstance(self.loaded, LoadedObject)


def _check_losses(function: Any) -> None:
    losses = list(getattr(function, "regularization_losses", ()))
    if not all(map(callable, losses)):
        raise LayerError(
            "Cannot use the regularization losses of the object",
            expected="an iterable of callables, each of which returns a scalar",
            received=f"{losses!r:.80}",
        )


def _choose_output(key: str | None, outputs: Mapping[str, Any], signature: str | None) -> str:
    owner = f"signature {signature!r}" if signature else "what the callable returns"
    return choose_output(key, outputs, owner, fix="Pass output_key=, or signature_outputs_as_dict=True to get all")


def _unique(names: list[str]) -> list[str]:
    """Tells variables of one name apart by their positions; a TF2 object may have several."""
    return [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]


LayerCallable = ModuleCallable | ObjectCallable
"""What a layer calls, behind one interface."""


def make_callable(loaded: Any, signature: str | None, output_key: str | None, as_dict: bool) -> LayerCallable:
    """Returns what a layer calls of a module, object or callable.

    Raises:
        LayerError: The arguments contradict each other or what is loaded.
    """
    if not isinstance(loaded, Module):
        return ObjectCallable(loaded, signature, output_key, as_dict)
    if output_key is not None and as_dict:
        raise LayerError(
            f"Cannot use signature {signature or 'default'!r} as a layer",
            expected="either output_key= or signature_outputs_as_dict=True",
            received=f"output_key={output_key!r}, signature_outputs_as_dict=True",
        )
    return ModuleCallable(loaded, signature, output_key, as_dict)


def spec_of(function: LayerCallable) -> LayerSpec:
    """Describes what a layer calls, for its config."""
    variables = function.variables
    loaded = function.loaded
    if isinstance(loaded, Module):
        where = (loaded.description.format, loaded.description.label)
        tags, owner = (tuple(sorted(loaded.tags)), tuple(sorted(loaded.train_tags))), loaded.state
    else:
        is_object = isinstance(loaded, LoadedObject)
        where = ("tf2", loaded.description.label) if is_object else ("callable", "")
        tags, owner = ((), ()), loaded
    return LayerSpec(
        *where,
        *tags,
        signature=function.signature,
        output_key=function.output_key,
        inputs=None if function.inputs is None else {n: i.description for n, i in function.inputs.items()},
        outputs=None if function.outputs is None else {n: i.description for n, i in function.outputs.items()},
        variables=tuple(
            VariableSpec(n, v.dtype.name, tuple(v.shape), bool(v.trainable), reference=False)  # pyright: ignore[reportArgumentType]
            for n, v, _ in variables
        ),
        optimized=frozenset(name for name, variable, flag in variables if flag and variable.dtype.is_floating),
        is_random=function.is_random,
        state=str(id(owner)),
    )
