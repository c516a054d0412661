"""Signatures as `tf.saved_model.load` gives them: callables of keyword tensors that return a dict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import InputError

if TYPE_CHECKING:
    from hubkeras.modules.module import Module


class SignatureCallable:
    """One signature of a module.

    Args:
        module: The module.
        name: Name of the signature.

    Example:
        >>> import hubkeras
        >>> module = hubkeras.load("path/to/module")  # doctest: +SKIP
        >>> module.signatures["default"](tf.constant(["a sentence"]))["default"]  # doctest: +SKIP
    """

    def __init__(self, module: Module, name: str) -> None:
        self._module, self.name = module, name

    @tf.autograph.experimental.do_not_convert
    def __call__(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Computes all outputs; a signature with one input takes it by position too."""
        if len(args) > 1 or (args and kwargs):
            raise InputError(
                f"Cannot call signature {self.name!r}",
                expected=f"keywords {sorted(self.structured_input_signature[1])}, or one value for an only input",
                received=f"{len(args)} positional arguments and keywords {sorted(kwargs)}",
            )
        return self._module.apply(args[0] if args else kwargs or None, self.name)

    @property
    def structured_input_signature(self) -> tuple[tuple[()], dict[str, tf.TypeSpec]]:
        """Positional and keyword arguments, as a ConcreteFunction has them."""
        infos = self._module.get_input_info_dict(self.name)
        return ((), {name: info.type_spec for name, info in infos.items()})

    @property
    def structured_outputs(self) -> dict[str, tf.TypeSpec]:
        """Specifications of the outputs by name."""
        return {name: info.type_spec for name, info in self._module.get_output_info_dict(self.name).items()}

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """The variables that the signature reaches."""
        known = self._module.state.by_name
        return tuple(known[name] for name in self._module.variant().function(self.name).bound.variables)

    def __repr__(self) -> str:
        return f"<hubkeras signature {self.name!r} of {self._module.description.path}>"


class Signatures(Mapping[str, SignatureCallable]):
    """The signatures of a module's variant for inference.

    Args:
        module: The module.
    """

    def __init__(self, module: Module) -> None:
        self._module = module

    def __getitem__(self, name: str) -> SignatureCallable:
        return SignatureCallable(self._module, self._module.signature_name(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._module.get_signature_names())

    def __len__(self) -> int:
        return len(self._module.get_signature_names())

    def __repr__(self) -> str:
        return f"<hubkeras signatures {sorted(self)}>"
