"""How far a download or another long read is: for a callback, for a terminal, or for the log."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubkeras import config
from hubkeras.config import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOG_INTERVAL = 15.0
_LINE_INTERVAL = 2.0
_CALL_INTERVAL = 0.1


@dataclass(frozen=True)
class Progress:
    """How far a download is, or the reading of a file."""

    handle: str
    """What is read."""
    received: int
    """Bytes so far."""
    total: int | None
    """Bytes altogether, None where the server does not say."""
    seconds: float
    """Since the download began."""

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.received / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """What is left at this rate; None where it is not known."""
        return (self.total - self.received) / self.rate if self.total and self.rate else None

    def __str__(self) -> str:
        share = f" of {self.total / 1e6:.1f}" if self.total else ""
        left = f", {self.seconds_left:.0f} s left" if self.seconds_left is not None else ""
        return f"{self.handle}: {self.received / 1e6:.1f}{share} MB, {self.rate / 1e6:.1f} MB/s{left}"


class Meter:
    """Counts bytes and tells a listener, not more often than it wants to know."""

    def __init__(self, handle: str, listener: Callable[[Progress], None], interval: float = _CALL_INTERVAL) -> None:
        self._handle = handle
        self._listener = listener
        self._interval = interval
        self._start = self._last = time.monotonic()
        self._received = 0
        self._total: int | None = None

    def add(self, size: int, total: int | None) -> None:
        """Counts some more bytes of a total."""
        self._received += size
        self._total = total
        if time.monotonic() - self._last >= self._interval:
            self.tell()

    # The clock goes on: the user waits since the first attempt.
    def restart(self) -> None:
        """Begins again at no bytes."""
        self._received = 0

    def tell(self) -> None:
        """Tells the listener now."""
        self._last = time.monotonic()
        self._listener(Progress(self._handle, self._received, self._total, self._last - self._start))


@contextmanager
def progress_meter(
    handle: str, listener: Callable[[Progress], None] | None, doing: str = "Downloading"
) -> Iterator[Meter]:
    """Gives a meter for one download, or for what else `doing` says, which ends by telling its last state.

    Without a listener, a terminal gets a bar, `TFHUB_DOWNLOAD_PROGRESS` gets lines, and the log one every 15 seconds.
    """
    with ExitStack() as stack:
        if listener is not None:
            meter = Meter(handle, listener)
        elif sys.stderr is not None and sys.stderr.isatty():
            meter = stack.enter_context(_bar(handle))
        elif config.wants_progress():
            meter = Meter(handle, _print_line, _LINE_INTERVAL)
        else:
            meter = Meter(handle, lambda progress: LOGGER.info("%s %s", doing, progress), _LOG_INTERVAL)
        yield meter
        meter.tell()


def _print_line(progress: Progress) -> None:
    sys.stderr.write(f"{progress}\n")
    sys.stderr.flush()


@contextmanager
def _bar(handle: str) -> Iterator[Meter]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Bar(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(handle, total=None)
        yield Meter(handle, lambda now: bar.update(task, completed=now.received, total=now.total))
