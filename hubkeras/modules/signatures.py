"""Signatures as `tf.saved_model.load` gives them: callables of keyword tensors that return a dict."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import InputError
from hubkeras.functions.build_lock import built_once
from hubkeras.functions.tracebacks import SHORTENED, hide_inner_frames
from hubkeras.graphs.tensorflow_internals import concrete_function_class

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hubkeras.modules.module import Module
    from hubkeras.modules.tf2_objects import LoadedObject


class SignatureCallable:
    """One signature of a module.

    Calls take the module's own way. For all else it stands for a `ConcreteFunction`, which is traced when something
    is first asked of it (`inputs`, `graph`, `captured_inputs` ...): converters and freezing take it as one.

    Args:
        module: The module.
        name: Name of the signature.

    Example:
        >>> import hubkeras
        >>> module = hubkeras.load("path/to/module")  # doctest: +SKIP
        >>> module.signatures["default"](tf.constant(["a sentence"]))["default"]  # doctest: +SKIP
    """

    def __init__(self, module: Module, name: str) -> None:
        self._module, self._name = module, name

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What `isinstance` goes by: TensorFlow's tools take nothing but a ConcreteFunction."""
        return concrete_function_class()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python asks of every object, for copies and the like
            raise AttributeError(name)
        return getattr(self.concrete_function, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return SignatureCallable, (self._module, self._name)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Computes all outputs; a signature with one input takes it by position too."""
        try:
            if len(args) > 1 or (args and kwargs):
                raise self._wrong_arguments(len(args), kwargs)
            return self._module.apply(args[0] if args else kwargs or None, self._name)
        except SHORTENED as error:
            hide_inner_frames(error)
            raise

    def _wrong_arguments(self, positional: int, keywords: Collection[str]) -> InputError:
        return InputError(
            f"Cannot call signature {self._name!r}",
            expected=f"keywords {sorted(self.structured_input_signature[1])}, or one value for an only input",
            received=f"{positional} positional arguments and keywords {sorted(keywords)}",
        )

    @built_once
    def concrete_function(self) -> Any:
        """The `ConcreteFunction` that the signature stands for."""
        specs = self.structured_input_signature[1]
        names = {n if is_parameter(n) else f"hubkeras_input_{i}": n for i, n in enumerate(specs)}

        # Without gradients: what a replayed gradient needs is known neither to converters nor to freezing.
        def call(**values: Any) -> dict[str, Any]:
            return self._module.variant().function(self._name)(
                {names[parameter]: value for parameter, value in values.items()}, gradients=False
            )

        function: Any = tf.function(call, autograph=False)
        with tf.init_scope():
            return function.get_concrete_function(**{p: specs[n] for p, n in names.items()})

    @property
    def structured_input_signature(self) -> tuple[tuple[()], dict[str, tf.TypeSpec]]:
        """Positional and keyword arguments, as a ConcreteFunction has them."""
        infos = self._module.get_input_info_dict(self._name)
        return ((), {name: info.type_spec for name, info in infos.items()})

    @property
    def structured_outputs(self) -> dict[str, tf.TypeSpec]:
        """Specifications of the outputs by name."""
        return {name: info.type_spec for name, info in self._module.get_output_info_dict(self._name).items()}

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """The variables that the signature reaches."""
        known = self._module.state.by_name
        return tuple(known[name] for name in self._module.variant().function(self._name).bound.variables)

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """Those of them that the module marks trainable."""
        return tuple(v for v in self.variables if v.trainable)

    def __repr__(self) -> str:
        return f"<hubkeras signature {self._name!r} of {self._module.description.label}>"


def is_parameter(name: str) -> bool:
    """Tells whether TensorFlow's functions take a name as it is."""
    return name.isidentifier() and name[0].isalpha() and name != "self" and not keyword.iskeyword(name)


class Signatures(Mapping[str, Any]):
    """The signatures of a module's variant for inference, or of a TF2 object.

    Args:
        owner: What has them.
        find: Makes or finds one of them, which is kept.
    """

    def __init__(self, owner: Module | LoadedObject, find: Callable[[str], Any]) -> None:
        self._owner, self._find = owner, find
        self._found: dict[str, Any] = {}

    # By way of the owner: `find` may be a lambda, and what it has made belongs to this process.
    def __reduce__(self) -> tuple[Any, ...]:
        return attrgetter("signatures"), (self._owner,)

    def __getitem__(self, name: str) -> Any:
        if name in self._found:
            return self._found[name]
        chosen = self._owner.signature_name(name)  # for its error, which lists the names that there are
        if chosen not in self._found:
            self._found.setdefault(chosen, self._find(chosen))  # another thread may have been first
        return self._found[chosen]

    def __iter__(self) -> Iterator[str]:
        return iter(self._owner.get_signature_names())

    def __len__(self) -> int:
        return len(self._owner.get_signature_names())

    def __repr__(self) -> str:
        return f"<hubkeras signatures {sorted(self)}>"
