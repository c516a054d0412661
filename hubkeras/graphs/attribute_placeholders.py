"""Attribute placeholders: what a function's body leaves to whoever calls the function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.graphs.function_library import direct_functions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping


def values_for(function: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a function's attributes in a call: those given, its signature's defaults, its own."""
    defaults = {attr.name: attr.default_value for attr in function.signature.attr if attr.HasField("default_value")}
    # Later ones win: the call's value, then the signature's default.
    return {**function.attr, **defaults, **given}


def fill_placeholders(attributes: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    """Fills in placeholders, also in what is handed to functions; what has no value stays, for the gate to refuse."""
    for key, value in attributes.items():
        if value.WhichOneof("value") == "placeholder":
            if value.placeholder in values:
                attributes[key].CopyFrom(values[value.placeholder])
        else:
            for function in direct_functions(value):
                fill_placeholders(function.attr, values)


def has_placeholder(values: Iterable[Any]) -> bool:
    """Tells whether any of some attributes, or of those handed to functions, is still to be filled in."""
    for value in values:
        kind = value.WhichOneof("value")
        if kind == "placeholder":
            return True
        if kind in {"func", "list"} and any(has_placeholder(f.attr.values()) for f in direct_functions(value)):
            return True
    return False
