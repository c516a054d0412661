"""Handles that are addresses of web servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from hubkeras import config
from hubkeras.errors import DownloadError, OfflineError
from hubkeras.handles.archive import SUFFIXES
from hubkeras.handles.download import HttpArchive
from hubkeras.handles.handle import Handle, Source, redacted
from hubkeras.handles.http import description, first_bytes, get, open_session
from hubkeras.handles.path_handles import FilesystemHandle

if TYPE_CHECKING:
    import requests

_QUERY = "tf-hub-format"
_LONGEST_TEXT = 1 << 20


@dataclass(frozen=True)
class WebHandle(Handle):
    """A server that speaks the hosting protocol of TF Hub, or an archive on any server."""

    @property
    def url(self) -> str:
        """The address, its scheme and host in lower case."""
        parts = urlsplit(self.text)
        user, at, host = parts.netloc.rpartition("@")
        # Host names have no case, paths and passwords do.
        return urlunsplit(parts._replace(scheme=parts.scheme.lower(), netloc=user + at + host.lower(), fragment=""))

    @property
    def archive_url(self) -> str:
        """The address of the archive: an archive's own, else the module's with the query of the protocol."""
        return self.url if self.is_archive else with_format_query(self.url, "compressed")

    @property
    def sources(self) -> tuple[Source, ...]:
        """The server itself."""
        return (HttpArchive(self.archive_url),)

    @property
    def is_archive(self) -> bool:
        """Whether the address is that of an archive on any server."""
        return urlsplit(self.url).path.lower().endswith(SUFFIXES)

    @property
    def goes_through_cache(self) -> bool:
        """Tells whether TFHUB_MODEL_LOAD_FORMAT lets it go through the cache."""
        return self.is_archive or config.load_format() != "UNCOMPRESSED"

    def directory_in_place(self) -> str | None:
        """Returns the module's folder on `gs://` where TFHUB_MODEL_LOAD_FORMAT asks for that, else None."""
        return None if self.goes_through_cache else uncompressed_folder(self.url)


def with_format_query(url: str, form: str) -> str:
    """Adds the query by which servers tell what is wanted of a module."""
    parts = urlsplit(url)
    fields = [field for field in parts.query.split("&") if field and not field.startswith(_QUERY + "=")]
    return urlunsplit(parts._replace(query="&".join([*fields, f"{_QUERY}={form}"])))


def uncompressed_folder(url: str) -> str:
    """Asks a server for the `gs://` folder in which a module lies unpacked.

    Raises:
        OfflineError: If the network may not be used.
        DownloadError: If the server does not answer as the protocol says: status 303, and the path as the body.
    """
    if config.is_offline():
        raise OfflineError(
            f"{redacted(url)} is read from its server, and HUBKERAS_OFFLINE is set",
            fix="Unset HUBKERAS_OFFLINE, or TFHUB_MODEL_LOAD_FORMAT to use the cache",
        )
    response, folder = get_text(with_format_query(url, "uncompressed"))
    # 303 is no redirect of this protocol: the body names the folder, in a scheme that no HTTP client could follow.
    if response.status_code != 303 or not folder.startswith("gs://"):
        raise DownloadError(
            f"{redacted(url)} does not say where the module lies unpacked",
            expected="status 303 and a gs:// path as the body",
            received=f"{description(response)}, beginning with {folder[:120]!r}",
            fix="Unset TFHUB_MODEL_LOAD_FORMAT to download an archive",
        )
    return FilesystemHandle(folder).directory_in_place() or folder


def get_text(url: str) -> tuple[requests.Response, str]:
    """Asks a server for a short text; returns its response and the first MB of that text.

    Raises:
        DownloadError: If there is no answer.
    """
    with open_session() as session, get(session, url) as response:
        return response, first_bytes(response, _LONGEST_TEXT).decode("utf-8", "replace").strip()
