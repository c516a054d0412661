"""Garbage collection put off while many objects are made that live on."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def paused_collection() -> Iterator[None]:
    """Pauses the cyclic garbage collector.

    Building a graph makes some ten thousand objects that all stay; with TensorFlow's own million around, the full
    collections which that sets off take as long as the building itself.

    Example:
        >>> with paused_collection():
        ...     objects = [[] for _ in range(10_000)]

    It does not run a collection at the end, and a collector that is off already stays off.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
