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
    collections that these set off take as long as the building itself. A collector that is off already stays off.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
