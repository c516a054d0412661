"""What TensorFlow knows about op types, asked for when somebody wants to know.

Much of what is said about a graph needs no definition of an op. So TensorFlow is imported by the first question, and
not by whoever might have one.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def op_def(op: str) -> Any | None:
    """Returns the OpDef of a registered op type, or None."""
    return _look_up()(op)


def attribute_or_default(node: Any, name: str) -> Any | None:
    """Returns an attribute of a node: if it is missing, what TensorFlow will take in its place."""
    if name in node.attr:
        return node.attr[name]
    definition = op_def(node.op)
    attrs = definition.attr if definition is not None else ()
    return next((attr.default_value for attr in attrs if attr.name == name), None)


@cache
def _look_up() -> Callable[[str], Any | None]:
    from hubkeras.graphs.tensorflow_internals import op_def_lookup

    return op_def_lookup()
