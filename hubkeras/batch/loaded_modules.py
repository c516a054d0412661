"""Modules of this process: each is loaded once, whoever asks for it, and kept for what asks next.

An engine unpickles what it runs again and again, so the modules cannot hang on what is unpickled.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from hubkeras.errors import CacheError, DownloadError, HandleError, HubKerasError, MissingFileError, WorkerError
from hubkeras.handles.handle import redacted

_MOST_MODULES = 8
"""How many stay: a worker may live for months and see many modules."""


@dataclass(frozen=True)
class ModuleSource:
    """All that a module is loaded with; two that are equal are one module."""

    handle: str
    tags: frozenset[str] | None = None
    safe_mode: bool = True
    allow_ops: frozenset[str] = frozenset()


@dataclass
class _Process:
    """What belongs to one process."""

    lock: threading.Lock
    modules: OrderedDict[ModuleSource, Any]
    is_fork: bool = False
    """Whether TensorFlow was running in the process that this one was forked from."""


_PROCESS = _Process(threading.Lock(), OrderedDict())


def loaded_module(source: ModuleSource) -> Any:
    """Returns a module, loaded if this process has not done so yet.

    Args:
        source: What it is loaded with.

    Raises:
        WorkerError: This process was forked from one in which TensorFlow was running.
        HubKerasError: It cannot be loaded; of the class that `hubkeras.load` raises, and says on which machine.
    """
    if _PROCESS.is_fork:
        raise WorkerError(
            f"Cannot apply a module in process {os.getpid()}: it was forked from one where TensorFlow was running",
            expected="a process of its own, as TensorFlow's threads are not in the fork and it would wait for them",
            fix='Start it with multiprocessing.get_context("spawn"), or fork before the first use of TensorFlow',
        )
    with _PROCESS.lock:
        modules = _PROCESS.modules
        if source not in modules:
            modules[source] = _load(source)
            if len(modules) > _MOST_MODULES:
                modules.popitem(last=False)
        modules.move_to_end(source)
        return modules[source]


def _load(source: ModuleSource) -> Any:
    from hubkeras.modules.loader import load

    tags = None if source.tags is None else sorted(source.tags)
    try:
        return load(source.handle, tags, safe_mode=source.safe_mode, allow_ops=source.allow_ops)
    except HubKerasError as error:
        is_absent = isinstance(error, (DownloadError, CacheError, MissingFileError, HandleError))
        raise type(error)(
            f"Cannot load {redacted(source.handle)} in process {os.getpid()} on {socket.gethostname()}",
            received=error.message,
            fix="Put the module into a cache directory that every worker sees (set TFHUB_CACHE_DIR there), or pass a"
            " path that every worker sees"
            if is_absent
            else "",
        ) from error


def _after_fork() -> None:
    """Starts anew in a forked process: the lock may have been held, and TensorFlow's modules do not work here."""
    global _PROCESS
    _PROCESS = _Process(threading.Lock(), OrderedDict(), _PROCESS.is_fork or _tensorflow_runs())


def _tensorflow_runs() -> bool:
    internals = sys.modules.get("hubkeras.graphs.tensorflow_internals")
    return internals is not None and internals.is_runtime_started()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
