"""A web server on loopback that plays the hosts' parts: plain, behind a proxy, and as tfhub.dev or Kaggle over TLS."""

from __future__ import annotations

import contextlib
import http.server
import re
import ssl
import subprocess
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

ALTERNATIVE_NAMES = (
    "DNS:tfhub.dev,DNS:kaggle.com,DNS:www.kaggle.com,DNS:hub.tensorflow.google.cn,DNS:gcs.tensorflow.google.cn,"
    "DNS:storage.googleapis.com,DNS:www.googleapis.com,DNS:modules.example,IP:127.0.0.1"
)


@dataclass
class Reply:
    """What a server says to one request."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    """Whether the server answers to Range."""
    cut: int | None = None
    """Bytes after which it breaks the connection."""
    length: int | None = None
    """The Content-Length it claims; -1 for none."""
    pause: float = 0.0
    """Seconds before each piece of the body."""
    piece: int = 1 << 16
    chunked: bool = False
    """Whether the body comes in chunks, each with its own length."""


@dataclass
class Request:
    """What a server was asked."""

    url: str
    """Without the query; only the path where the server itself was addressed."""
    query: dict[str, list[str]]
    headers: dict[str, str]


class Host:
    """A server; `replies[url]` is a Reply, bytes, a function of the Request, or a list of them to be used up."""

    def __init__(self, certificates: Path | None = None) -> None:
        self.replies: dict[str, Any] = {}
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._used: dict[str, int] = defaultdict(int)
        self._tls = None
        if certificates is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificates / "host.pem", certificates / "host.key")
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that was killed is no error here
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, url: str) -> list[Request]:
        return [request for request in self.requests if request.url == url]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            reply = self.replies.get(request.url, Reply(b"<html>Not here</html>", 404, {"Content-Type": "text/html"}))
            if isinstance(reply, list):
                number = min(self._used[request.url], len(reply) - 1)
                self._used[request.url] += 1
                reply = reply[number]
        if callable(reply):
            reply = reply(request)
        return Reply(reply) if isinstance(reply, bytes) else reply

    def _handler(host) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            origin = ""

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

            def do_CONNECT(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.connection = host._tls.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", 0)
                self.origin = "https://" + self.path.removesuffix(":443")
                self.close_connection = False

            def finish(self) -> None:
                super().finish()
                self.connection.close()

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                url = self.path.partition("?")[0] if parts.netloc else self.origin + parts.path
                send(self, host.answer(Request(url, parse_qs(parts.query), dict(self.headers.items()))))

        return Handler


def send(handler: http.server.BaseHTTPRequestHandler, reply: Reply) -> None:
    body, status, headers = reply.body, reply.status, dict(reply.headers)
    size = len(body)
    asked = re.match(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    begin = 0
    if asked and reply.ranges and status == 200:
        begin, status = int(asked[1]), 206
        headers["Content-Range"] = f"bytes {begin}-{size - 1}/{size}"
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    length = size - begin if reply.length is None else reply.length
    if reply.chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    elif "Content-Length" in headers:
        handler.close_connection = True
    elif length >= 0:
        handler.send_header("Content-Length", str(length))
    else:
        handler.send_header("Connection", "close")
    handler.end_headers()
    pieces = _pieces(body[begin : reply.cut], reply.piece)
    if reply.chunked:
        pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"] * (reply.cut is None)
    with contextlib.suppress(OSError):
        for piece in pieces:
            time.sleep(reply.pause)
            handler.wfile.write(piece)
    if length != size - begin or reply.cut is not None:
        handler.close_connection = True


def _pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def make_certificates(folder: Path) -> Path:
    """Makes an authority and a certificate for the hosts' names, as `ca.pem`, `host.pem`, `host.key`."""
    folder.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    usage = "keyUsage=critical,keyCertSign,cRLSign"
    openssl(
        "req", "-x509", *new_key, "-days", "2", "-subj", "/CN=Test authority", "-addext", usage,
        "-keyout", "ca.key", "-out", "ca.pem",
    )  # fmt: skip
    openssl("req", *new_key, "-subj", "/CN=hosts", "-keyout", "host.key", "-out", "host.csr")
    (folder / "names").write_text(f"subjectAltName={ALTERNATIVE_NAMES}\nauthorityKeyIdentifier=keyid\n")
    openssl(
        "x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "names", "-out", "host.pem",
    )  # fmt: skip
    return folder
