"""Resolvers of your own, for stores that hubkeras does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hubkeras.errors import HandleError

_Resolver = TypeVar("_Resolver", bound=Callable[[str], str])
_RESOLVERS: dict[str, Callable[[str], str]] = {}


def register_resolver(prefix: str) -> Callable[[_Resolver], _Resolver]:
    """Registers a function that turns handles with a prefix into directories.

    Args:
        prefix: What the handles begin with, such as `"hf://"`. The longest prefix that fits is used, before any form
            that hubkeras knows itself.

    Returns:
        A decorator for a function that takes a handle and returns the path of a directory.

    Raises:
        HandleError: If the prefix is empty or registered already.

    Example:
        >>> @register_resolver("models:")
        ... def resolve_models(handle: str) -> str:
        ...     return "/srv/models/" + handle.removeprefix("models:")

    What the function returns is used as it is: nothing is cached or checked.
    """

    def register(resolver: _Resolver) -> _Resolver:
        if not prefix or prefix in _RESOLVERS:
            raise HandleError(
                f"Cannot register a resolver for {prefix!r}",
                expected=f"a prefix that is not empty and not among {sorted(_RESOLVERS)}",
                fix="Call hubkeras.unregister_resolver first to replace one",
            )
        _RESOLVERS[prefix] = resolver
        return resolver

    return register


def unregister_resolver(prefix: str) -> None:
    """Forgets the resolver of a prefix.

    Raises:
        HandleError: If there is none.
    """
    if prefix not in _RESOLVERS:
        raise HandleError(f"No resolver is registered for {prefix!r}", expected=f"one of {sorted(_RESOLVERS)}")
    del _RESOLVERS[prefix]


def find_resolver(handle: str) -> Callable[[str], str] | None:
    """Returns the registered function for a handle, None if there is none."""
    fitting = [prefix for prefix in _RESOLVERS if handle.startswith(prefix)]
    # The longest, so that "hf://mine/" can be registered beside "hf://" in any order.
    return _RESOLVERS[max(fitting, key=len)] if fitting else None
