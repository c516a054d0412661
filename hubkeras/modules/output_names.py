"""Names for what functions return, and for the leaves of what they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from hubkeras.modules.defaults import DEFAULT


def name_outputs(outputs: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """Returns outputs by name.

    Args:
        outputs: What a model or function returned: a tensor; or tensors in a dict, list or tuple.
        names: Names for several outputs that have none.

    Returns:
        A single one is "default". So is the only one of a dict, besides its own name.
    """
    if isinstance(outputs, Mapping):
        named = dict(zip(flat_names("", outputs), tf.nest.flatten(outputs), strict=True))
    elif isinstance(outputs, (list, tuple)):
        flat = tf.nest.flatten(outputs)
        named = dict(zip(names if len(names) == len(flat) else flat_names("output", outputs), flat, strict=True))
    else:
        return {DEFAULT: outputs}
    if len(named) == 1:
        named.setdefault(DEFAULT, next(iter(named.values())))
    return named


def flat_names(name: str, structure: Any) -> list[str]:
    """Returns a name for each leaf of a structure: its key in a dict, its number in a list, else the given name."""
    if isinstance(structure, Mapping):
        return [n for key in sorted(structure) for n in flat_names(str(key), structure[key])]
    if isinstance(structure, (list, tuple)):
        return [n for i, value in enumerate(structure) for n in flat_names(f"{name}_{i}", value)]
    return [name]
