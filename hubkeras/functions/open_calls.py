"""Calls that somebody takes apart: whoever publishes what calls a module writes the module's nodes into a graph.

What hubkeras adds so that TensorFlow differentiates v1 control flow within functions is in the way there, while a plain
graph needs to know the contexts that functions do not have.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubkeras.graphs.subgraph import FunctionContexts

# Of the thread and its context, not of the process: another thread may call the same module for its results meanwhile.
_open: ContextVar[dict[str, FunctionContexts] | None] = ContextVar("hubkeras_open_calls", default=None)


@contextmanager
def open_calls() -> Iterator[dict[str, FunctionContexts]]:
    """Makes modules that are called meanwhile call functions without replayed gradients.

    Yields:
        The contexts of these functions by their names, which grows with each call.
    """
    token = _open.set({})
    try:
        found = _open.get()
        assert found is not None
        yield found
    finally:
        _open.reset(token)


def opened_calls() -> dict[str, FunctionContexts] | None:
    """Returns what the calls of functions are to be written to, None where nobody takes them apart."""
    return _open.get()
