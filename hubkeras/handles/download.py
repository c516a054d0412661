"""One archive over HTTP: streamed, resumed, checked."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Full, Queue
from typing import TYPE_CHECKING

from hubkeras import config
from hubkeras.config import LOGGER
from hubkeras.errors import ArchiveError, CacheError, DownloadError
from hubkeras.handles.archive import extract, looks_like_archive, peek
from hubkeras.handles.handle import FetchedModule, redacted
from hubkeras.handles.http import (
    Body,
    TransientError,
    backoff,
    description,
    first_bytes,
    get,
    open_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import requests

    from hubkeras.handles.progress import Meter

_PIECE = 1 << 17
# Chunks of `_PIECE` bytes: 8 MB, enough for the network not to wait while a file is written, and little memory.
_AHEAD = 64
_PROGRESS = 1 << 20
_POLL = 0.1
_ADVICE = {
    401: "Put the user name and password of this server into ~/.netrc",
    403: "Look in a browser who may read it, or try again later",
    404: "Look for a typing error in the handle",
    410: "Look for where the module has moved",
}
# ASCII digits, and not too many: int() refuses "²", which str.isdigit() takes, and numbers of 5,000 digits.
_LENGTH = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


class ChangedError(DownloadError):
    """The file on the server is another one than when its download began."""


class Download:
    """The bytes of one file, over as many connections as it takes."""

    def __init__(self, url: str, meter: Meter) -> None:
        self._url = url
        self._meter = meter
        self.sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._promised: dict[str, bytes] = {}
        self._validator = ""
        self._accepts_ranges = True
        # One more try alone: an address that is forbidden for good must not be asked over and over.
        self._was_forbidden = False
        self.received = 0
        self.total: int | None = None
        self.state = "no answer"
        """Of the last response, in words."""

    def chunks(self) -> Iterator[bytes]:
        """Gives the bytes from first to last, going on where a connection breaks.

        urllib3 repeats requests that get no answer. A body that breaks off is beyond it: it may have been used already.

        Raises:
            DownloadError: If the server refuses, breaks off too often, or sends other bytes than it promised.
        """
        failures = 0
        with open_session() as session:
            while True:
                before = self.received
                try:
                    with self._open(session) as response:
                        yield from self._read(response)
                    break
                except TransientError as error:
                    # A large file may take many connections: only those without progress count against it.
                    failures = 1 if self.received - before >= _PROGRESS else failures + 1
                    if failures > config.retries():
                        raise DownloadError(
                            f"Cannot download {redacted(self._url)}",
                            received=f"{error.message.rstrip('.')}, after {failures} attempts",
                            fix="Look at the network and its proxies, and try again later",
                        ) from None
                    LOGGER.info("%s: %s", redacted(self._url), error)
                    time.sleep(backoff(failures))
        self._check_digests()

    def _open(self, session: requests.Session) -> requests.Response:
        headers = {}
        if self.received and self._accepts_ranges:
            # If-Range has the server send the whole file where it has changed, not the rest of another one.
            headers = {"Range": f"bytes={self.received}-"} | ({"If-Range": self._validator} if self._validator else {})
        response = get(session, self._url, headers)
        self.state = description(response)
        try:
            self._check_status(response)
        except BaseException:
            response.close()
            raise
        return response

    def _check_status(self, response: requests.Response) -> None:
        """Raises the error that a status stands for."""
        status = response.status_code
        # The server says that the rest which was asked for does not exist, or it cannot give parts: begin at the first
        # byte.
        if status == 416 and self.received:
            self._accepts_ranges = False
            raise TransientError(f"{self.state}, so it cannot be resumed")
        # Storage hosts redirect to addresses that are signed for minutes. To ask again from the start gives a fresh
        # one.
        if status == 403 and response.history and not self._was_forbidden:
            self._was_forbidden = True
            raise TransientError(f"{self.state}, perhaps a signed address that has expired")
        if status not in (200, 206):
            raise DownloadError(
                f"Cannot download {redacted(self._url)}",
                expected="status 200 and an archive",
                received=f"{self.state}, beginning with {first_bytes(response)!r}",
                fix=_ADVICE.get(status, "Look at the address in a browser"),
            )

    def _read(self, response: requests.Response) -> Iterator[bytes]:
        body = Body(response)
        self._start(response, body)
        while piece := body.read(_PIECE):
            self._take(piece)
            yield piece
        if self.total is not None and self.received < self.total:
            raise TransientError(f"{self.received} of {self.total} bytes")

    def _start(self, response: requests.Response, body: Body) -> None:
        """Holds a response against what came before, and reads past what is known already."""
        begin, total = self._extent(response)
        # Until a byte has come there is nothing to hold a response against: each one is a new beginning.
        if not self.received:
            self.total = total
            self._validator = _validator(response)
            self._promised = _promised_digests(response)
            return
        if None not in (total, self.total) and total != self.total:
            raise self._changed()
        self.total = self.total or total
        # Status 200 although a part was asked for: the server does not do ranges, or the file may have changed (If-
        # Range).
        if not begin:
            self._skip_known(body)

    def _extent(self, response: requests.Response) -> tuple[int, int | None]:
        """Returns where in the file a response begins, and how long the file is."""
        if response.status_code == 200:
            length = response.headers.get("Content-Length", "")
            return 0, int(length) if _LENGTH.fullmatch(length) else None
        extent = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if extent is None or int(extent[1]) != self.received:
            self._accepts_ranges = False
            raise TransientError(f"{self.state} without the range that was asked for")
        return self.received, int(extent[2]) if extent[2] != "*" else self.total

    def _skip_known(self, body: Body) -> None:
        """Reads a file from its beginning up to where its download broke, and makes sure that it is the same."""
        # Without a validator nothing else tells whether the bytes before the break and those after it are of one file.
        digest = hashlib.sha256()
        left = self.received
        while left:
            piece = body.read(min(left, _PIECE))
            if not piece:
                raise TransientError(f"{self.received - left} of {self.total} bytes")
            digest.update(piece)
            left -= len(piece)
        if digest.digest() != self.sha256.digest():
            raise self._changed()

    def _changed(self) -> ChangedError:
        return ChangedError(
            f"{redacted(self._url)} changed during its download", received=self.state, fix="Try again later"
        )

    def _take(self, piece: bytes) -> None:
        self.received += len(piece)
        self.sha256.update(piece)
        if "md5" in self._promised:
            self._md5.update(piece)
        self._meter.add(len(piece), self.total)

    def _check_digests(self) -> None:
        found = {"md5": self._md5.digest(), "sha256": self.sha256.digest()}
        for kind, promised in self._promised.items():
            if found[kind] != promised:
                raise DownloadError(
                    f"The download of {redacted(self._url)} is damaged",
                    expected=f"{kind} {promised.hex()}, as the server says",
                    received=f"{self.received} bytes with {kind} {found[kind].hex()}",
                    fix="Try again; if it stays so, the server or a proxy before it is at fault",
                )


@dataclass(frozen=True)
class HttpArchive:
    """An archive on a web server."""

    url: str

    def fetch(self, directory: Path, meter: Meter) -> FetchedModule:
        """Unpacks it while it is downloaded; once more from the start where it changed under way."""
        try:
            return self._fetch(directory / "first", meter)
        except ChangedError:
            # What was unpacked of the old file is mixed with nothing: the new one gets an empty folder.
            return self._fetch(directory / "second", meter)

    def _fetch(self, directory: Path, meter: Meter) -> FetchedModule:
        directory.mkdir()
        meter.restart()
        download = Download(self.url, meter)
        try:
            with read_ahead(download.chunks()) as pieces:
                head, chunks = peek(pieces)
                self._check_page(download, head)
                _check_room(directory, download.total)
                files = extract(chunks, directory)
        except ArchiveError as error:
            raise ArchiveError(
                f"The archive from {redacted(self.url)} cannot be used. {error.message}",
                received=f"{download.received} bytes, {download.state}",
                fix="Try again; if it stays so, ask whoever serves it for a whole and plain archive",
            ) from error
        return FetchedModule(directory, files, download.sha256.hexdigest())

    def _check_page(self, download: Download, head: bytes) -> None:
        """Refuses a page that a server sent in place of an archive."""
        if looks_like_archive(head):
            return
        raise DownloadError(
            f"{redacted(self.url)} does not appear to be a valid module",
            expected="a tar or zip archive",
            received=f"{download.state}, beginning with {head[:120]!r}" if head else f"{download.state}, no bytes",
            fix="Open the address in a browser to see what the server wants",
        )


@contextmanager
def read_ahead(chunks: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Reads chunks in a thread of its own, a few megabytes ahead of who uses them."""
    queue: Queue[bytes | BaseException] = Queue(_AHEAD)
    stopped = threading.Event()

    def put(item: bytes | BaseException) -> None:
        # A plain put() would wait for ever on a full queue once the reader has gone, and keep thread and connection
        # alive.
        while not stopped.is_set():
            with suppress(Full):
                queue.put(item, timeout=_POLL)
                return

    def read() -> None:
        try:
            for chunk in chunks:
                put(chunk)
                if stopped.is_set():
                    return
            # No chunk is empty, so an empty one can mark the end.
            put(b"")
        except BaseException as error:  # handed over to whoever waits for the bytes
            put(error)

    def take() -> Iterator[bytes]:
        while item := queue.get():
            if isinstance(item, BaseException):
                raise item
            yield item

    # A daemon, so that a server which does not answer cannot keep a program from ending.
    thread = threading.Thread(target=read, name="hubkeras-download", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()


def _check_room(directory: Path, size: int | None) -> None:
    free = shutil.disk_usage(directory).free
    # The packed size is the least that unpacking needs; what it really takes, the disk says in time.
    if size is not None and size > free:
        raise CacheError(
            f"The disk of the cache directory {directory.parents[2]} is full",
            expected=f"room for {size / 1e6:.0f} MB and more",
            received=f"{free / 1e6:.0f} MB",
            fix="Make room there, or set TFHUB_CACHE_DIR to another place; what was in the cache is intact",
        )


def _validator(response: requests.Response) -> str:
    """Returns what tells a server by which state of the file to resume."""
    tag = response.headers.get("ETag", "")
    # A weak tag (W/"...") is no promise of equal bytes, and RFC 9110 forbids it in If-Range.
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _promised_digests(response: requests.Response) -> dict[str, bytes]:
    """Returns the digests that a server sends along: md5 of Google's storage, sha256 of RFC 3230 and RFC 9530."""
    found: dict[str, bytes] = {}
    headers = response.headers
    for name, kind in (("x-goog-hash", "md5"), ("Digest", "sha-256"), ("Repr-Digest", "sha-256")):
        for field in headers.get(name, "").split(","):
            key, _, value = field.strip().partition("=")
            if value and key.lower() == kind:
                # A digest that cannot be read counts as none: servers and proxies garble headers, and the archive may
                # still be whole.
                with suppress(ValueError):
                    found[kind.replace("-", "")] = base64.b64decode(value.strip(":"), validate=True)
    return found
