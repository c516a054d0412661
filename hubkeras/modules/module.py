"""A loaded module: what `hubkeras.load` returns."""

from __future__ import annotations

import copy
from collections import UserDict
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import InputError
from hubkeras.functions.build_lock import BUILDING
from hubkeras.functions.restoring import parts_of
from hubkeras.functions.smart_cond import smart_cond
from hubkeras.functions.tracebacks import SHORTENED, hide_inner_frames
from hubkeras.functions.variant_functions import VariantFunctions
from hubkeras.functions.variant_state import VariantState
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.tensorflow_internals import SavedAsObject, serve_by_default
from hubkeras.modules.defaults import choose_output, default_signature
from hubkeras.modules.export import export_module
from hubkeras.modules.inputs import normalize
from hubkeras.modules.interface import DescribedModule
from hubkeras.modules.signatures import SignatureCallable, Signatures
from hubkeras.modules.variants import choose_variant
from hubkeras.savedmodel.reader import recipe

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from hubkeras.functions.state import State
    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import ModuleDescription, Tags


class Module(DescribedModule, SavedAsObject):
    """A module in TF1 Hub format (or a TF1 SavedModel): graph variants over one set of variables.

    Made by `hubkeras.load`. It is trackable, so `tf.train.Checkpoint` and `tf.saved_model.save` see its state. Calls
    work eagerly, in a `tf.function` and in `tf.data.Dataset.map`; gradients flow to the variables that the module
    marks trainable, and to the inputs.

    It does not run update ops unless called with `training=True`, does not collect regularization losses by itself
    (call `regularization_losses`), and its v1 control flow has no second derivatives.

    Args:
        description: The module as it was read or made.
        state: Its variables, tables and assets.
        tags: The graph variant for inference.
        train_tags: The graph variant for training.
        policy: What its graphs may do.

    Example:
        >>> import hubkeras
        >>> embed = hubkeras.load("path/to/nnlm")  # doctest: +SKIP
        >>> embed(["a list", "of sentences"])  # doctest: +SKIP
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Module:
        """Refuses what `hub.Module` took: a handle."""
        # Here and not in `__init__`, where Python would first complain about the number of arguments.
        if kwargs or len(args) != 5:
            raise _not_by_handle(*args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self, description: ModuleDescription, state: State, tags: Tags, train_tags: Tags, policy: OpPolicy
    ) -> None:
        super().__init__(name="module")
        self._description, self._state, self._policy = description, state, policy
        self._by_tags: UserDict[Tags, VariantFunctions] = UserDict()  # a dict would be taken for state
        self._tags, self._train_tags = tags, train_tags
        self._signatures = Signatures(self, partial(SignatureCallable, self))

    @tf.autograph.experimental.do_not_convert
    def __call__(
        self, inputs: Any = None, signature: str | None = None, training: Any = False, as_dict: bool = False
    ) -> Any:
        """Applies a signature to inputs.

        Args:
            inputs: A bare value if the signature has exactly one input, whatever its name; else a dict with exactly
                the signature's keys; nothing for a signature without inputs. Python and numpy values take the
                signature's dtype; a tensor must have it.
            signature: Its name; None for the default one.
            training: Whether to use the variant for training and run its update ops; a tensor chooses when it is run.
            as_dict: Whether to return all outputs.

        Returns:
            The output named "default", or with `as_dict` a dict of all outputs.

        Raises:
            SignatureError: There is no such signature.
            InputError: The inputs do not fit.
            OutputError: There is no output named "default", and `as_dict` is False.
        """

        def call(is_training: bool) -> Any:
            return self._call(inputs, signature, is_training, as_dict)

        try:
            return smart_cond(training, lambda: call(True), lambda: call(False))
        except SHORTENED as error:
            hide_inner_frames(error)
            raise

    def _call(self, inputs: Any, signature: str | None, training: bool, as_dict: bool) -> Any:
        variant = self.variant(training)
        name = self.signature_name(signature, variant.tags)
        if as_dict:
            return self.apply(inputs, name, training=training)
        outputs = variant.signature(name).outputs
        owner = f"signature {name!r} of module {self._description.label}"
        output = choose_output(None, outputs, owner, fix="Pass as_dict=True to get all outputs", or_only=False)
        return self.apply(inputs, name, (output,), training)[output]

    def apply(
        self,
        inputs: Any,
        signature: str,
        outputs: Sequence[str] | None = None,
        training: bool = False,
        watch: bool = True,
        draw_seed: Callable[[], tf.Tensor] | None = None,
    ) -> dict[str, Any]:
        """Applies a signature and returns the outputs asked for; only these are computed.

        Args:
            inputs: As in a call of the module.
            signature: Its name.
            outputs: Names of outputs, None for all.
            training: Whether to use the variant for training and run its update ops.
            watch: Whether gradient tapes watch the trainable variables.
            draw_seed: Gives two integers to draw from at random; None for such that `tf.random.set_seed` governs.

        Returns:
            The outputs by name.
        """
        variant = self.variant(training)
        values = normalize(inputs, variant.inputs(signature), signature)
        return variant.function(signature, outputs, update=training)(values, watch, draw_seed=draw_seed)

    def __repr__(self) -> str:
        return f"<hubkeras module {self._description.label} tags={sorted(self._tags)}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        """Returns a module with variables of its own; attributes that were added to it are not copied."""
        copied = copy.deepcopy(self._state, memo)
        return Module(self._description, copied, self._tags, self._train_tags, self._policy)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the values of the variables, and where the module lies: whoever reads it must find it there.

        Of one that was made in memory it pickles the graphs.
        """
        return _read_again, (*recipe(self._description), self._state, self._tags, self._train_tags, self._policy)

    def saved_children(self, children: dict[str, Any]) -> dict[str, Any]:
        """Returns what a SavedModel has: the state, and the default signature as its call and what it serves."""
        name = default_signature(self.get_signature_names())
        if name is None:
            return children
        serve_by_default(children, self._signatures[name].concrete_function)
        # The `__call__` of this class is plain Python, which TensorFlow does not save.
        return {"__call__": self._saved_call(name), **children}

    def _saved_call(self, name: str) -> Any:
        inputs, outputs = self.get_input_info_dict(name), self.get_output_info_dict(name)
        # As a call of the module takes them: a bare value for an only input, else a dict.
        specs: Any = {n: info.type_spec for n, info in inputs.items()}
        given = [specs if len(specs) > 1 else next(iter(specs.values()))] if specs else []
        function = self.variant().function(name, ["default"] if "default" in outputs else None)

        def call(*values: Any) -> Any:
            # Not by way of this class's call, whose gradients through v1 control flow belong to this process.
            results = function.call_to_save(normalize(values[0] if values else None, inputs, name))
            return results.get("default", results)

        return tf.function(call, input_signature=given, autograph=False)

    # --- what is in it ---------------------------------------------------------------------------------------------

    @property
    def tags(self) -> Tags:
        """The tags of the graph variant for inference."""
        return self._tags

    @property
    def train_tags(self) -> Tags:
        """The tags of the graph variant for training."""
        return self._train_tags

    @property
    def state(self) -> State:
        """Every variable, table and asset, of all variants."""
        return self._state

    @property
    def policy(self) -> OpPolicy:
        """What the module's graphs may do."""
        return self._policy

    def variant(self, training: bool = False) -> VariantFunctions:
        """Returns the functions of the graph variant for inference or training."""
        tags = self._train_tags if training else self._tags
        if tags not in self._by_tags:
            variant = choose_variant(self._description, tags)
            with BUILDING:
                if tags not in self._by_tags:  # another thread may have been first
                    state = VariantState(variant, self._state, self._description.label, self._policy)
                    self._by_tags[tags] = VariantFunctions(state)
        return self._by_tags[tags]

    @property
    def signatures(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """The signatures for inference, as functions that take keyword tensors and return a dict."""
        return self._signatures

    @property
    def variable_names(self) -> list[str]:
        """Names of the variables of the variants for inference and training."""
        found = dict.fromkeys(self._variant(self._tags).variables)
        found |= dict.fromkeys(self._variant(self._train_tags).variables)
        specs = self._description.variables
        # Local variables are state of this module, but `hub.Module` never listed them.
        return [
            name for name in found if name in self._state.by_name and set(specs[name].collections) - {"local_variables"}
        ]

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """The variables, one per name, shared by all graph variants and signatures."""
        return tuple(self._state.by_name[name] for name in self.variable_names)

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that the variant for training marks trainable."""
        return tuple(v for v in self.variables if v.trainable)

    @property
    def non_trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The other variables."""
        return tuple(v for v in self.variables if not v.trainable)

    @property
    def variable_map(self) -> dict[str, Any]:
        """The variables by name; one that is partitioned is the list of its parts."""
        specs = self._description.variables
        wholes = parts_of(specs[name] for name in self.variable_names)
        known = self._state.by_name
        return {
            whole: [known[p] for p in parts] if specs[parts[0]].partition else known[parts[0]]
            for whole, parts in wholes.items()
        }

    @property
    def regularization_losses(self) -> list[Callable[[], tf.Tensor]]:
        """Functions without arguments that compute the losses of the collection REGULARIZATION_LOSSES."""
        return [lambda loss=loss: loss()[0] for loss in self.variant(training=True).regularization_losses]

    def export(self, path: str | os.PathLike[str]) -> None:
        """Writes the module in TF1 Hub format: all graph variants with today's values of the variables, and assets.

        Args:
            path: A directory that does not exist yet, or is empty.

        Raises:
            ExportExistsError: There is something at `path`.
            ExportError: It could not be written; nothing is left behind.
        """
        export_module(self._description, self._state.by_name, path)


def _read_again(
    describe: Callable[..., ModuleDescription],
    source: tuple[Any, ...],
    state: State,
    tags: Tags,
    train_tags: Tags,
    policy: OpPolicy,
) -> Module:
    description = describe(*source)
    look_at(description, policy)
    return Module(description, state, tags, train_tags, policy)


def _not_by_handle(handle: Any = None, *others: Any, **kwargs: Any) -> InputError:
    given = [repr(handle), *map(repr, others), *(f"{name}={value!r}" for name, value in kwargs.items())]
    return InputError(
        "Cannot make a Module of a handle: hub.Module was the interface of TensorFlow 1",
        expected="hub.load(handle), hub.KerasLayer(handle, trainable=...) in a Keras model, or hub.Module of"
        " `import hubkeras.compat.v1 as hub` for code that builds a tf.Graph",
        received=f"Module({', '.join(given):.200})",
        fix=f"Write hub.load({handle!r})" if handle is not None else "",
    )
