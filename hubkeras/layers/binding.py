"""The life of the module behind a layer: declared by a config, attached when the module is there."""

from __future__ import annotations

import dataclasses
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import HandleError, LayerError
from hubkeras.functions.state import State
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.graphs.tensorflow_internals import take_identity_of
from hubkeras.handles.resolver import is_available
from hubkeras.layers.callables import LayerCallable, ModuleCallable, ObjectCallable, make_callable, spec_of
from hubkeras.layers.config import MAX_DECLARED_BYTES, LayerSpec, too_many_bytes
from hubkeras.layers.embedding import is_unpacked, unpack
from hubkeras.layers.keras_internals import in_safe_mode, shared_objects
from hubkeras.modules.module import Module
from hubkeras.modules.tf2_loader import load_tf2
from hubkeras.modules.tf2_objects import LoadedObject
from hubkeras.modules.variants import choose_variant
from hubkeras.savedmodel.description import MADE_IN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.layers.options import LayerOptions
    from hubkeras.savedmodel.description import ModuleDescription

_live_modules: weakref.WeakValueDictionary[tuple[str, str], Module | LoadedObject] = weakref.WeakValueDictionary()
"""What layers of this process call, by the directory that it was read from and what has its variables: one directory
may have been loaded twice, and a copy must get the values of the layer that it is a copy of."""


@dataclass
class _DeclaredVariables:
    """The variables that the config of a file declares, which layers over one module have together."""

    state: State
    loaded: LoadedObject | None = None
    """What has brought its own variables in their place."""


@dataclass(frozen=True)
class Declaration:
    """How a layer starts whose config is read before its module, or without one."""

    spec: LayerSpec
    awaits_file: bool
    """Whether the module is embedded in the file that the config comes from."""
    may_download: bool
    live: Module | LoadedObject | None
    """A module of this process that the layer is a copy of."""


def declaration_of(arguments: Mapping[str, Any], spec: LayerSpec) -> Declaration | None:
    """Tells how a layer starts that is made from a config.

    While Keras reads a file, the module comes with it or is loaded when the layer is first called. Elsewhere
    (`clone_model`, `from_config`) there is the handle, or a layer of this process whose module is no longer, or never
    was, where its handle says.

    Returns:
        None if the layer is made from its handle at once.
    """
    # Keras has such a dict only while it reads a file: nothing else tells `from_config` where its config comes from.
    from_file = shared_objects() is not None
    live = None if from_file else _live_modules.get((spec.source, spec.state))
    has_no_handle = live is not None and (live.description.path is None or is_unpacked(live.description))
    if not from_file and not has_no_handle and _is_at_hand(arguments["handle"]):
        return None
    return Declaration(spec, from_file and arguments.get("embed", True), in_safe_mode() is False, live)


def require_at_hand(handle: str) -> None:
    """Refuses a handle that would have to be downloaded, or that stands for a module which is gone.

    Raises:
        LayerError: Its module is not on this machine.
    """
    if not _is_at_hand(handle):
        fix = f"Call hubkeras.resolve({handle!r}) first, or load with safe_mode=False"
        if handle.startswith(MADE_IN_MEMORY):
            fix = "Make the layer from its spec again; a file holds such a module where embed is True"
        raise LayerError(
            f"Cannot make a layer from {handle!r}: its module is not on this machine",
            expected="a local path, or a handle that is in the cache",
            received=f"handle={handle!r}",
            fix=fix,
        )


def _is_at_hand(handle: str) -> bool:
    try:
        return is_available(handle)
    except HandleError:
        return False


class ModuleBinding:
    """What stands behind a layer: variables from the start, and a callable over them as soon as it is attached.

    A declared layer is attached by the file that it comes from or, where its module is not embedded, by its handle
    when it is first used. A module that a file should hold and does not, or that was refused, is never replaced by
    that of the handle: whoever wrote the file chose the handle too.

    Args:
        handle: The layer's handle.
        options: The layer's options.
        spec: What is known of the module.
        variables: Its variables by name.
    """

    def __init__(
        self, handle: Any, options: LayerOptions, spec: LayerSpec, variables: Mapping[str, tf.Variable]
    ) -> None:
        self.handle, self.options, self.spec, self.variables = handle, options, spec, dict(variables)
        self.values_are_set = False
        """Whether the variables have values of their own, which those of a checkpoint must not replace."""
        self.state: State | None = None
        self._callable: LayerCallable | None = None
        self._declared: _DeclaredVariables | None = None
        self._awaits_file = self._may_download = False
        self._failure: Exception | None = None

    @classmethod
    def of_handle(cls, handle: Any, options: LayerOptions, loaded: Any) -> ModuleBinding:
        """Makes a binding that is attached from the start.

        Args:
            handle: The layer's handle.
            options: The layer's options.
            loaded: What the handle stands for.
        """
        function = make_callable(loaded, options.signature, options.output_key, bool(options.signature_outputs_as_dict))
        binding = cls(handle, options, spec_of(function), {name: v for name, v, _ in function.variables})
        binding._set_callable(function)
        return binding

    @classmethod
    def declared(cls, handle: Any, options: LayerOptions, declaration: Declaration) -> ModuleBinding:
        """Makes a binding with variables and no module yet, or with a copy of a live one."""
        declared = _declare(declaration.spec)
        binding = cls(handle, options, declaration.spec, declared.state.by_name)
        binding._declared, binding.state = declared, declared.state
        binding._awaits_file, binding._may_download = declaration.awaits_file, declaration.may_download
        if declaration.live is not None:
            binding._copy(declaration.live)
        return binding

    # --- what the layer asks for -----------------------------------------------------------------------------------

    @property
    def is_attached(self) -> bool:
        """Whether the module is there."""
        return self._callable is not None

    @property
    def callable(self) -> LayerCallable:
        """What the layer calls; a layer without an embedded module loads it when this is first needed.

        Raises:
            LayerError: The module did not come with its file, was refused, or is not at hand.
        """
        if self._callable is None:
            self.require_embedded()
            # The first call may be while Keras traces a model, whose graph must not hold the module's variables.
            with tf.init_scope():
                self._attach_handle()
        assert self._callable is not None
        return self._callable

    @property
    def input_options(self) -> Sequence[Mapping[str, ParsedTensorInfo]]:
        """What is known of the inputs: as the signature says, or as each function of a TF2 object does."""
        infos = self.spec.input_infos
        if infos is not None:
            return [infos]
        return [] if self._callable is None else [option.infos for option in self._callable.object_inputs]

    @property
    def loaded(self) -> Any:
        """The module, object or callable that the handle stands for."""
        return self.callable.loaded

    @property
    def owner(self) -> Any:
        """What has the variables; layers with one owner share weights and losses."""
        return self.state if self.state is not None else self.loaded

    def require_embedded(self) -> None:
        """Refuses a layer whose module should have come with its file and has not.

        Raises:
            LayerError: It is missing, or it was refused.
        """
        if self._failure is not None:
            raise LayerError(
                f"Cannot use the layer over {self.handle!r}: the module in its file was refused",
                expected="the module that was saved with the layer",
                received=str(self._failure),
            ) from self._failure
        if self.lacks_module:
            raise LayerError(
                f"Cannot use the layer over {self.handle!r}: its file holds no module, or has not been read yet",
                expected="the module that was saved with the layer",
                received="nothing",
                fix="Save the model again, with embed=False if the module is to be loaded from its handle",
            )

    @property
    def lacks_module(self) -> bool:
        """Whether a module that a file should hold is not there, or was refused."""
        return self._failure is not None or (self._callable is None and self._awaits_file)

    def note_outputs(self, returned: Any) -> None:
        """Remembers what outputs look like that no signature describes."""
        self.spec = dataclasses.replace(self.spec, returned=returned)

    # --- attaching -------------------------------------------------------------------------------------------------

    def attach_embedded(self, directory: str | None) -> None:
        """Attaches the module out of a Keras file.

        A module is refused for good. Keras collects what `load_assets` raises, comes to some layers a second time, and
        forgets the error if all goes well then.

        Args:
            directory: Where the file's assets of the layer lie for now; None if it has none.

        Raises:
            HubKerasError: The module is missing, damaged or refused.
        """
        if directory is None or self._failure is not None:
            self.require_embedded()
        if self._callable is not None or directory is None:
            return
        try:
            description = unpack(directory)
            policy = self._policy()
            look_at(description, policy)  # as `load` does: a module that comes in a file is trusted no more
            self._attach(description, policy)
        except Exception as error:
            self._failure = error
            raise

    def _attach_handle(self) -> None:
        """Attaches the module that the handle stands for, with its own values where no others have been set."""
        if not self._may_download:
            require_at_hand(self.handle)
        is_tf2 = self.spec.format == "tf2"
        # Of a TF1 module the variant that was saved, also where the options left the choice to its tags of that time.
        tags = self.options.tags if is_tf2 else self.spec.tags
        loaded = self.options.load(self.handle, tags, None if is_tf2 else self.spec.train_tags)
        if not self.values_are_set and isinstance(loaded, Module):
            self._assign(loaded.state.by_name)
        self._attach(loaded.description, self._policy(), loaded)

    def _copy(self, live: Module | LoadedObject) -> None:
        """Attaches a copy of a module of this process, with the values that its variables have now."""
        is_module = isinstance(live, Module)
        self._assign(live.state.by_name if is_module else ObjectCallable(live, None, None, False).by_name)
        self._attach(live.description, live.policy if is_module else self._policy())

    def _policy(self) -> OpPolicy:
        return OpPolicy.of(safe_mode=self.options.safe_mode is not False, allow_ops=self.options.allow_ops)

    def _assign(self, values: Mapping[str, tf.Variable]) -> None:
        # Assigned, not replaced: the declared ones are weights of Keras by now, and perhaps an optimizer's.
        for name in self.variables.keys() & values.keys():
            self.variables[name].assign(values[name].read_value())
        self.values_are_set = True

    def _attach(self, description: ModuleDescription, policy: OpPolicy, loaded: Any = None) -> None:
        """Attaches a module to the declared variables; its format is what the reader found, whatever the config says.

        Raises:
            LayerError: It is not the module that the config describes.
        """
        if (description.format == "tf2") != (self.spec.format == "tf2"):
            raise _other_module(description, f"format {self.spec.format!r}", repr(description.format))
        if description.format == "tf2":
            function = self._attach_object(description, policy, loaded)
        else:
            function = self._attach_module(description, policy)
        # Keras has built a model from what the config says, so the module has to agree, also where it would do well.
        _check_infos(description, "inputs", self.spec.input_infos, function.inputs)
        _check_infos(description, "outputs", self.spec.output_infos, function.outputs)
        self.spec = self.spec.attached(spec_of(function))
        self._set_callable(function)

    def _attach_module(self, description: ModuleDescription, policy: OpPolicy) -> LayerCallable:
        spec, known = self.spec, description.variables
        found = {name: (known[name].dtype, known[name].shape) for name in known}
        self._check_variables(description, found)
        assert self.state is not None
        tags, train_tags = (choose_variant(description, t).tags for t in (spec.tags, spec.train_tags))
        module = Module(description, self.state, tags, train_tags, policy)
        return ModuleCallable(module, spec.signature, spec.output_key, spec.output_key is None)

    def _attach_object(
        self, description: ModuleDescription, policy: OpPolicy, loaded: LoadedObject | None
    ) -> LayerCallable:
        """Loads a TF2 object, whose variables take the place of the declared ones."""
        spec, declared = self.spec, self._declared
        assert declared is not None
        if declared.loaded is not None:  # by another layer of the file over the same object
            loaded = declared.loaded
        elif loaded is None:
            loaded = load_tf2(description, None, self.options.load_options, policy)
        as_dict = spec.output_key is None and spec.signature is not None
        function = ObjectCallable(loaded, spec.signature, spec.output_key, as_dict)
        found = function.by_name
        self._check_variables(description, {n: (v.dtype.name, tuple(v.shape)) for n, v in found.items()})  # pyright: ignore[reportArgumentType]
        if extra := found.keys() - self.variables.keys():
            raise _other_module(description, f"no more variables than {sorted(self.variables)}", repr(sorted(extra)))
        for name, variable in self.variables.items():
            if self.values_are_set:
                found[name].assign(variable)
            take_identity_of(variable, found[name])  # an optimizer may have been built for the declared one
        self.variables = {name: found[name] for name in self.variables}
        # A TF2 object makes its variables itself, so these are never the declared ones; the latter go with their state.
        declared.loaded, self._declared, self.state = loaded, None, None
        return function

    def _check_variables(self, description: ModuleDescription, found: Mapping[str, tuple[str, Any]]) -> None:
        for name, variable in self.variables.items():
            dtype, shape = found.get(name, ("", None))
            if shape is None:
                raise _other_module(description, f"a module with variable {name!r}", f"{len(found)} variables")
            if dtype != variable.dtype.name or shape != tuple(variable.shape):  # pyright: ignore[reportArgumentType]
                expected = f"variable {name!r} of dtype {variable.dtype.name} and shape {variable.shape}"
                raise _other_module(description, expected, f"dtype {dtype} and shape {shape}")

    def _set_callable(self, function: LayerCallable) -> None:
        self._callable, self._awaits_file = function, False
        if isinstance(function, ModuleCallable):
            self.state = function.module.state
        if isinstance(function.loaded, (Module, LoadedObject)):
            _live_modules[self.spec.source, self.spec.state] = function.loaded


def _declare(spec: LayerSpec) -> _DeclaredVariables:
    """Makes the variables that a module will have, without values; layers of one file share them again.

    Raises:
        LayerError: They take too much, or layers that should share them disagree.
    """
    # What Keras shares among the objects of one file lives as long as the reading does, and no longer. Its own keys are
    # numbers.
    shared = shared_objects()
    if shared is None:
        return _DeclaredVariables(State({v.name: v for v in spec.variables}, {}))
    key, total = f"hubkeras state {spec.state}", "hubkeras declared bytes"
    if key in shared:
        state = shared[key].state
        if [(v.name, v.dtype, v.shape) for v in spec.variables] != [
            (n, v.dtype.name, tuple(v.shape)) for n, v in state.by_name.items()
        ]:
            raise LayerError(
                "Cannot make layers that share their variables",
                expected=f"the same variables in all configs with the state {spec.state!r}",
                received="other ones",
            )
        return shared[key]
    shared[total] = shared.get(total, 0) + spec.declared_bytes
    if shared[total] > MAX_DECLARED_BYTES:
        raise too_many_bytes(shared[total])
    shared[key] = _DeclaredVariables(State({v.name: v for v in spec.variables}, {}))
    return shared[key]


def _check_infos(
    description: ModuleDescription,
    what: str,
    declared: Mapping[str, ParsedTensorInfo] | None,
    found: Mapping[str, ParsedTensorInfo] | None,
) -> None:
    """Refuses a signature that is not the one which Keras has built a model for."""
    told = [None if i is None else {n: (v.dtype, v.description.kind) for n, v in i.items()} for i in (declared, found)]
    if declared is not None and told[0] != told[1]:
        raise _other_module(description, f"{what} {told[0]}", f"{what} {told[1]}")


def _other_module(description: ModuleDescription, expected: str, received: str) -> LayerError:
    return LayerError(
        f"Cannot use module {description.label} in a layer: it is not the one that was saved",
        expected=expected,
        received=received,
    )
