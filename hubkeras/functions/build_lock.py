"""One thread at a time builds graphs: what is built is kept, and control flow v1 is a switch of the process."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILDING = threading.RLock()
"""Held by the thread that builds."""


class built_once(cached_property[Any]):
    """A property that one thread builds when it is first asked for, while others wait for what that one builds."""

    # `cached_property` lets all of them in from Python 3.12 on; what it has kept by then it finds itself.
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        with BUILDING:
            return super().__get__(instance, owner)


@contextmanager
def control_flow_v1() -> Iterator[None]:
    """Turns control flow v2 off, for all threads, while gradients of v1 control flow are built."""
    # The switch is global, so nobody else may build a graph while it is off.
    with BUILDING:
        was_enabled = tf.compat.v1.control_flow_v2_enabled()
        tf.compat.v1.disable_control_flow_v2()
        try:
            yield
        finally:
            if was_enabled:
                tf.compat.v1.enable_control_flow_v2()
