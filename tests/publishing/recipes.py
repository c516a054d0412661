"""Publishes with hubkeras what the golden modules were published from by the original implementation."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from parity import GOLDEN

import hubkeras
import hubkeras.compat.v1 as compat
from hubkeras.functions.build_lock import control_flow_v1

if TYPE_CHECKING:
    from pathlib import Path

UNAVAILABLE = {"lstm_dropout", "batch_renorm"}
"""Those that need `tf.compat.v1.layers` or `tf.compat.v1.nn.rnn_cell`, which TensorFlow does not have with Keras 3."""
_TOPICS = ("control", "state", "tables", "text", "signatures")


def publish(folder: Path) -> set[str]:
    """Writes a module for each golden one.

    Args:
        folder: Where each goes, by its name.

    Returns:
        The names.
    """
    written = set()
    for recipe in _read_recipes():
        if recipe.name not in UNAVAILABLE:
            with control_flow_v1():
                spec = hubkeras.create_module_spec(recipe.module_fn, recipe.tags_and_args, recipe.drop_collections)
            spec.export(folder / recipe.name)
            written.add(recipe.name)
    return written


def _read_recipes() -> list[Any]:
    """Imports the recipes; where they write `import tensorflow_hub as hub`, that name stands for hubkeras.compat.v1."""
    others = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "tensorflow_hub"}
    for name in others:
        del sys.modules[name]
    hub: Any = types.ModuleType("tensorflow_hub")
    hub.__dict__.update({name: getattr(compat, name) for name in compat.__all__})
    hub.image_util = types.SimpleNamespace(ImageModuleInfo=hubkeras.ImageModuleInfo)
    sys.modules["tensorflow_hub"] = hub
    sys.path.insert(0, str(GOLDEN))
    try:
        topics = [importlib.import_module(f"making.{topic}") for topic in _TOPICS]
    finally:
        sys.path.remove(str(GOLDEN))
        del sys.modules["tensorflow_hub"]
        sys.modules.update(others)
    return [recipe for topic in topics for recipe in topic.RECIPES]
