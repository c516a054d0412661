"""Worker processes of engines: found below this one, and killed in the middle of their work."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOADED = 300 << 20
"""Bytes that a process has in memory once it has TensorFlow in it."""


class Killer(threading.Thread):
    """Kills one worker, a second after it has TensorFlow in it.

    Args:
        name: What its command line contains.
    """

    def __init__(self, name: str) -> None:
        super().__init__(daemon=True)
        self._name = name
        self.killed = 0
        """Its process, once it is killed."""
        self.start()

    def run(self) -> None:
        """Looks for it until there is one."""
        while not _find_worker(self._name):
            time.sleep(0.2)
        time.sleep(1)
        self.killed = kill_worker(self._name)


def kill_worker(name: str) -> int:
    """Kills a worker that has TensorFlow in it, and returns its process; 0 if there is none."""
    worker = _find_worker(name)
    if worker:
        os.kill(worker, signal.SIGKILL)
    return worker


def _find_worker(name: str) -> int:
    for process in _descendants(os.getpid()):
        try:
            command = Path(f"/proc/{process}/cmdline").read_text()
            pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        except OSError:  # it has ended
            continue
        if name in command and pages * os.sysconf("SC_PAGE_SIZE") > _LOADED:
            return process
    return 0


def _descendants(process: int) -> Iterator[int]:
    try:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                yield child
                yield from _descendants(child)
    except OSError:  # it has ended
        return
