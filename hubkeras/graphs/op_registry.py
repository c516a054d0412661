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


@cache
def _look_up() -> Callable[[str], Any | None]:
    from hubkeras.graphs import tensorflow_internals

    return tensorflow_internals.op_def
