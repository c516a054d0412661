"""TF2 SavedModels behind the interface of a module."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError, InputError, UnsupportedError
from hubkeras.functions.importing import gradient_errors
from hubkeras.functions.tracebacks import SHORTENED, hide_inner_frames
from hubkeras.graphs.tensorflow_internals import SavedAsObject, children_of, serve_by_default
from hubkeras.modules.defaults import choose_output, choose_signature, default_signature
from hubkeras.modules.inputs import normalize
from hubkeras.modules.object_calls import call_object, infos_of
from hubkeras.modules.signatures import Signatures

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.savedmodel.description import ModuleDescription, Tags


class LoadedObject(SavedAsObject):
    """A TF2 SavedModel with the interface of a module.

    A call without a signature calls the object itself where it is callable. What this class does not have is looked
    up in the object, so `loaded.encode(x)` works as it does on what `tf.saved_model.load` returns.

    It has no graph variants and cannot be written in TF1 Hub format.

    Args:
        loaded: What `tf.saved_model.load` returned.
        description: What the directory says about itself.
        load_again: Loads it once more, for copies; can be pickled.
    """

    def __init__(self, loaded: Any, description: ModuleDescription, load_again: Callable[[], LoadedObject]) -> None:
        super().__init__(name="loaded_object")
        self.loaded, self._description, self._load_again = loaded, description, load_again

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles where the SavedModel lies, which must be there still, and the values of its variables."""
        return _with_values, (self._load_again, [variable.numpy() for variable in all_variables(self.loaded)])

    def __getattr__(self, name: str) -> Any:
        # While a copy is being made the attributes are not there yet, and looking for `loaded` would end up here again.
        if name in {"loaded", "_description", "_load_again"} or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.loaded, name)

    @tf.autograph.experimental.do_not_convert
    def __call__(
        self,
        *args: Any,
        signature: str | None = None,
        training: bool | None = None,
        as_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Calls the object, or one of its signatures.

        Args:
            *args: Passed on; a signature takes a bare value or a dict.
            signature: Name of a signature; None for the object itself, or the default signature if it has no call.
            training: Passed on if the object takes it.
            as_dict: Whether to return all outputs in a dict; a single one that the object returns is "default".
            **kwargs: Passed on.

        Returns:
            What the object returns; of a signature the output "default" or the only one, or a dict of all.
        """
        try:
            # A call under a tape already differentiates what it calls.
            with gradient_errors(f"TF2 SavedModel {self._description.path}"):
                return self._call(args, kwargs, signature, training, as_dict)
        except SHORTENED as error:
            hide_inner_frames(error)
            raise

    def _call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], signature: str | None, training: bool | None, as_dict: bool
    ) -> Any:
        if signature is None and self.is_callable:
            if training is not None and self.takes_training:
                kwargs["training"] = training
            outputs = call_object(self.loaded, f"TF2 SavedModel {self._description.path}", args, kwargs)
            return {"default": outputs} if as_dict and not isinstance(outputs, dict) else outputs
        name = self.signature_name(signature)
        infos = self.get_input_info_dict(name)
        values = normalize(_only_inputs(name, *args, **kwargs), infos, name)
        outputs = self.signatures[name](**values)
        if as_dict:
            return outputs
        owner = f"signature {name!r} of {self._description.path}"
        return outputs[choose_output(None, outputs, owner, fix="Pass as_dict=True to get all outputs")]

    def saved_children(self, children: dict[str, Any]) -> dict[str, Any]:
        """Returns what a SavedModel has: all of the object's own, as if that were saved, and its default signature."""
        # What reads the file shall find the object's attributes where they were, not one level down in `loaded`.
        saved = {**children, **children_of(self.loaded)}
        del saved["loaded"]
        names = self.get_signature_names()
        if (name := default_signature(names)) is not None:
            serve_by_default(saved, self.signatures[name])
        return saved

    def __repr__(self) -> str:
        return f"<hubkeras object of TF2 {self._description.path}>"

    @property
    def description(self) -> ModuleDescription:
        """What the directory says about itself."""
        return self._description

    @property
    def is_callable(self) -> bool:
        """Whether the object itself can be called."""
        return callable(self.loaded)

    @property
    def takes_training(self) -> bool:
        """Whether calling the object takes an argument `training`."""
        return self.is_callable and takes_training(self.loaded)

    @property
    def signatures(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """The signatures, as `tf.saved_model.load` gives them."""
        return Signatures(self, lambda name: self.loaded.signatures[name])

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """What the object calls its variables, in its order."""
        return self._listed("variables")

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """What the object calls its trainable variables."""
        return self._listed("trainable_variables")

    def _listed(self, name: str) -> tuple[tf.Variable, ...]:
        """Returns the variables that the object has under a name, which its file may give to anything."""
        found = getattr(self.loaded, name, ())
        if isinstance(found, (list, tuple)) and all(isinstance(variable, tf.Variable) for variable in found):
            return tuple(found)
        raise FormatError(
            f"Cannot read the {name} of TF2 SavedModel {self._description.path}",
            expected="a list of variables",
            received=f"{type(found).__name__} {found!r:.100}",
            fix="The module is damaged, or means something else by the name",
        )

    @property
    def variable_map(self) -> dict[str, tf.Variable]:
        """The variables by name."""
        return {v.name.split(":")[0]: v for v in self.variables}

    @property
    def regularization_losses(self) -> list[Callable[[], tf.Tensor]]:
        """What the object calls its regularization losses: functions without arguments."""
        return list(getattr(self.loaded, "regularization_losses", ()))

    def signature_name(self, signature: str | None) -> str:
        """Returns the signature's name; None becomes the default signature's.

        Raises:
            SignatureError: There is no such signature, or none that could be the default.
        """
        return choose_signature(signature, self.get_signature_names(), f"TF2 SavedModel {self._description.path}")

    def get_tags(self) -> list[Tags]:
        """Returns the tag set of every graph."""
        return list(self._description.tag_sets)

    def get_signature_names(self, tags: Iterable[str] | None = None) -> list[str]:
        """Returns the names of the signatures."""
        del tags  # of the interface of a module; TensorFlow has loaded a single graph
        return list(getattr(self.loaded, "signatures", ()))

    def get_input_info_dict(
        self, signature: str | None = None, tags: Iterable[str] | None = None
    ) -> dict[str, ParsedTensorInfo]:
        """Returns what a signature says about its inputs, by name."""
        del tags
        return infos_of(self.signatures[self.signature_name(signature)].structured_input_signature[1])  # pyright: ignore[reportFunctionMemberAccess]

    def get_output_info_dict(
        self, signature: str | None = None, tags: Iterable[str] | None = None
    ) -> dict[str, ParsedTensorInfo]:
        """Returns what a signature says about its outputs, by name."""
        del tags
        return infos_of(self.signatures[self.signature_name(signature)].structured_outputs)  # pyright: ignore[reportFunctionMemberAccess]

    def get_attached_message(
        self, key: str, message_type: type[Any], tags: Iterable[str] | None = None, required: bool = False
    ) -> None:
        """Returns None: a TF2 SavedModel carries no attached messages."""
        del message_type, tags
        if required:
            raise UnsupportedError(
                f"No message is attached under {key!r}: {self._description.path} is a TF2 SavedModel"
            )

    def export(self, path: str | os.PathLike[str]) -> None:
        """Refuses: TF1 Hub format holds graphs; `hubkeras.convert` makes them of the object's functions.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            f"Cannot write TF2 SavedModel {self._description.path} in TF1 Hub format to {path}",
            fix="Use hubkeras.convert(module, path, to='tf1_hub'), or tf.saved_model.save(module.loaded, path)",
        )


def _only_inputs(signature: str, *args: Any, **kwargs: Any) -> Any:
    """Returns the inputs of a signature, given as a module in TF1 Hub format takes them."""
    if len(args) + len(kwargs) > 1 or kwargs.keys() - {"inputs"}:
        raise InputError(
            f"Cannot call signature {signature!r}",
            expected="one value, or a dict by the names of its inputs, alone or as inputs=",
            received=f"{len(args)} positional arguments and keywords {sorted(kwargs)}",
        )
    return kwargs["inputs"] if kwargs else args[0] if args else None


def all_variables(loaded: Any) -> list[tf.Variable]:
    """Returns every variable that a restored object holds, in an order that another load of it gives as well."""
    return [found for found in tf.train.TrackableView(loaded).descendants() if isinstance(found, tf.Variable)]


def _with_values(load_again: Callable[[], LoadedObject], values: list[Any]) -> LoadedObject:
    copied = load_again()
    # By position: names of a TF2 object need not be unique, but walking the same object graph gives the same order.
    for variable, value in zip(all_variables(copied.loaded), values, strict=True):
        variable.assign(value)
    return copied


def takes_training(function: Any) -> bool:
    """Tells whether a callable takes an argument `training`."""
    # The `__call__` of a plain function is a wrapper that shows *args alone.
    is_plain = inspect.isfunction(function) or inspect.ismethod(function)
    call = function if is_plain else getattr(function, "__call__", function)  # noqa: B004
    # A restored function takes (*args, **kwargs) by its own signature; what was saved says which.
    specification = getattr(call, "function_spec", None)
    if specification is not None:
        spec = specification.fullargspec
        return "training" in spec.args or "training" in spec.kwonlyargs
    try:
        return "training" in inspect.signature(call).parameters
    except (TypeError, ValueError):
        return False
