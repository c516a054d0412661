"""TF1 Hub format again, with today's values of the variables."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from hubkeras.conversion.saved_model import signature_check
from hubkeras.modules.export import write_module
from hubkeras.modules.loader import load
from hubkeras.modules.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hubkeras.conversion.verification import Check
    from hubkeras.modules.tf2_objects import LoadedObject

IS_DIRECTORY = True


def write(module: Module | LoadedObject, directory: Path) -> None:
    """Writes a module with all its graph variants.

    Raises:
        UnsupportedError: It is a TF2 SavedModel.
    """
    if isinstance(module, Module):
        write_module(module.description, module.state.by_name, directory)
    else:
        module.export(directory)  # refuses, by name


def checks(module: Module, directory: Path) -> Iterator[Check]:
    """Yields the signatures of the variant for inference."""
    again = load(directory, module.tags, train_tags=module.train_tags, safe_mode=False)
    for name in module.get_signature_names():
        yield signature_check(module, name, partial(_call, again, name))


def _call(again: Any, name: str, values: Mapping[str, Any]) -> Any:
    return again(values or None, signature=name, as_dict=True)
