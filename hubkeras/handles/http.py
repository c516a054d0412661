"""GET requests, with the rules for retries, redirects, credentials and failures in one place."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError

from hubkeras import config
from hubkeras.errors import DownloadError
from hubkeras.handles.handle import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
_BUSY = frozenset((408, 429, *range(500, 600)))
_LONGEST_WAIT = 120.0
_SHOWN_BYTES = 120
_RATE_WINDOW = 60.0
"""Seconds of waiting over which the rate of a body is measured."""
# "identity", as some servers would else send a .tar.gz with "Content-Encoding: gzip", which a range cannot resume.
_HEADERS = {"User-Agent": "hubkeras", "Accept": "*/*", "Accept-Encoding": "identity"}


class TransientError(DownloadError):
    """A download stopped in a way that may be mended by going on from there."""


class _Retries(urllib3.Retry):
    """The retries of urllib3, which waits between them as we say, and does not make those that cannot help."""

    def get_backoff_time(self) -> float:
        return backoff(len(self.history))

    def parse_retry_after(self, retry_after: str) -> float:
        # Servers write what they like here, such as a number of 5,000 digits or a date in the year 20000.
        try:
            return super().parse_retry_after(retry_after)
        except (urllib3.exceptions.InvalidHeader, ValueError, TypeError, OverflowError):
            return 0.0

    def increment(self, method: str | None = None, url: str | None = None, *rest: Any, **details: Any) -> _Retries:
        response, error = details.get("response"), details.get("error")
        pause = self.get_retry_after(response) if response else None
        # Sleeping for hours because a server says so would look like a hang; the error tells how long it asks for.
        if (pause or 0.0) > _LONGEST_WAIT or _is_about_certificates(error):
            raise MaxRetryError(details["_pool"], url or "", error)
        following = super().increment(method, url, *rest, **details)
        if response:
            response.close()  # else urllib3 would read the whole body of the refusal before it asks again
        return following


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Hides redirects from requests, which would read their bodies whole even where it is told not to follow."""


def open_session() -> requests.Session:
    """Makes a session that asks again where there is no answer or the server is busy."""
    retries = config.retries()
    adapter = HTTPAdapter(
        max_retries=_Retries(
            # A server that cannot be reached at all seldom comes back within seconds.
            total=retries, connect=min(retries, 1), status_forcelist=_BUSY, raise_on_status=False
        )
    )  # fmt: skip
    session = _Session()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def backoff(failures: int) -> float:
    """Returns the seconds to wait after so many failures in a row, spread so that clients do not come back at once."""
    seconds = config.retry_wait() * 2.0 ** min(failures - 1, 30)
    return min(seconds, _LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311


def get(session: requests.Session, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    """Sends a GET request and follows its redirects, except from https to http.

    A user name and password in the URL go to its own host alone. Proxies, `.netrc` and certificate authorities come
    from the environment, as `requests` reads it.

    Returns:
        The last response, its body still to be read; its `history` holds those that redirected to it.

    Raises:
        DownloadError: If there is none, or the server stays busy.
    """
    url, credentials = _without_credentials(url)
    # Scheme and host with its port: credentials meant for https must not go over http to the same host.
    origin = urlsplit(url)[:2]
    history: list[requests.Response] = []
    while len(history) < _MOST_REDIRECTS:
        auth = credentials if urlsplit(url)[:2] == origin else None
        response = _send(session, url, {**_HEADERS, **(headers or {})}, auth)
        response.history = history
        target = response.headers.get("Location") if response.status_code in _REDIRECTS else None
        if target is None:
            _check_not_busy(response)
            return response
        response.close()
        history.append(response)
        url = _redirected(url, target)
    raise DownloadError(
        f"{redacted(history[0].url)} redirects more than {_MOST_REDIRECTS} times",
        received=redacted(url),
        fix="Look at the address in a browser",
    )


def description(response: requests.Response) -> str:
    """Returns what messages tell of a response: its status and type, and which addresses led to it."""
    kind = response.headers.get("Content-Type", "none")
    reason = f" {response.reason}" if response.reason else ""
    way = f" (by way of {', '.join(redacted(hop.url) for hop in response.history)})" if response.history else ""
    return f"status {response.status_code}{reason}, content type {kind} from {redacted(response.url)}{way}"


def first_bytes(response: requests.Response, size: int = _SHOWN_BYTES) -> bytes:
    """Reads the beginning of a response's body."""
    body, found = Body(response), b""
    while len(found) < size and (piece := body.read(size - len(found), decode=True)):
        found += piece
    return found


class Body:
    """The body of a response, given up where it comes too slowly.

    A server that sends a byte now and then is never silent for long enough to count as lost.

    Args:
        response: The response, its body still to be read.
    """

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._waited, self._count = 0.0, 0

    def read(self, most: int, decode: bool = False) -> bytes:
        """Reads what has come, at least a byte, nothing at the end.

        Args:
            most: Bytes to read at most.
            decode: Whether to undo the body's content encoding.

        Raises:
            TransientError: The connection broke, or is slower than HUBKERAS_MIN_RATE.
        """
        begin = time.monotonic()
        try:
            # read() would wait until it has as much as it was asked for, however long that takes.
            piece = self._response.raw.read1(most, decode_content=decode)
        except (urllib3.exceptions.HTTPError, requests.RequestException, OSError) as error:
            raise TransientError(f"The connection broke ({type(error).__name__})") from error
        self._waited += time.monotonic() - begin  # the time that unpacking takes is not the server's
        self._count += len(piece)
        if piece and self._waited >= _RATE_WINDOW:
            rate = self._count / self._waited
            if rate < config.min_rate():
                raise TransientError(
                    f"The connection gave {rate:.3g} bytes per second, and HUBKERAS_MIN_RATE is {config.min_rate():g}"
                )
            self._waited, self._count = 0.0, 0
        return piece


def _check_not_busy(response: requests.Response) -> None:
    if response.status_code not in _BUSY:
        return
    retries = response.raw.retries
    pause = retries.get_retry_after(response.raw)
    response.close()
    raise DownloadError(
        f"Cannot download {redacted(response.url)}",
        received=f"{description(response)}, after {len(retries.history) + 1} attempts",
        fix="Try again later" + (f": the server asks for {pause:.0f} seconds" if pause else ""),
    )


def _send(
    session: requests.Session, url: str, headers: Mapping[str, str], auth: tuple[str, str] | None
) -> requests.Response:
    seconds = config.timeout()
    try:
        return session.get(
            url,
            headers=dict(headers),
            auth=auth,
            stream=True,
            allow_redirects=False,
            # Connecting and silence while reading. A host that does not take a connection within 15 s will not do so in
            # 60 either.
            timeout=(min(seconds, 15.0), seconds),
            verify=config.checks_certificates(),
        )
    except requests.RequestException as error:
        if _is_about_certificates(error):
            raise DownloadError(
                f"Cannot trust {redacted(url)}",
                received="a certificate that no known authority signed",
                fix="Where a proxy or a server of your own signs, name its authority's file in REQUESTS_CA_BUNDLE",
            ) from None
        raise DownloadError(
            f"Cannot download {redacted(url)}",
            received=f"no answer ({_reason(error)})",
            fix="Look at the address, the network and its proxies, and try again later",
        ) from None
    # requests lets some of these through as they are, such as about a host that cannot be written as a name.
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise DownloadError(f"Cannot ask {redacted(url)}", received=type(error).__name__) from None


def _is_about_certificates(error: Exception | None) -> bool:
    # Only a certificate that is not trusted is final. Other TLS errors are connections that broke, which a retry may
    # mend.
    is_tls = isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError)
    return is_tls and "CERTIFICATE" in str(error).upper()


def _reason(error: Exception) -> str:
    """Returns the innermost words about a failed connection, which do not repeat the URL and its secrets."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    cause = getattr(reason, "__cause__", None) or getattr(reason, "__context__", None)
    return f"{type(reason or error).__name__}: {cause}" if cause else type(reason or error).__name__


def _redirected(url: str, target: str) -> str:
    try:
        following, _ = _without_credentials(urljoin(url, target))
        scheme = urlsplit(following).scheme
    except ValueError as error:
        raise DownloadError(f"{redacted(url)} redirects to what is no address", received=type(error).__name__) from None
    # What an https address promises about who sends the bytes must not be lost on the way.
    if scheme not in ("http", "https") or (scheme == "http" and urlsplit(url).scheme == "https"):
        raise DownloadError(
            f"{redacted(url)} redirects to {redacted(following)}, which is refused",
            expected="an address as safe as the one asked",
            received=f"a redirect from https to {scheme}",
            fix="If you trust it, use that address as the handle",
        )
    return following


def _without_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    return urlunsplit(parts._replace(netloc=host)), (unquote(name), unquote(password)) if at else None
