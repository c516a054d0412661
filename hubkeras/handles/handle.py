"""What every kind of handle knows about itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from pathlib import Path

    from hubkeras.handles.archive_members import FileDigest
    from hubkeras.handles.progress import Meter


@dataclass(frozen=True)
class FetchedModule:
    """A module that a source gave."""

    directory: Path
    files: dict[str, FileDigest] | None = None
    """None where the source keeps the module in a place of its own, to be used there."""
    archive_sha256: str = ""


class Source(Protocol):
    """A place that a module can be had from."""

    def fetch(self, directory: Path, meter: Meter) -> FetchedModule:
        """Brings the module, into the empty folder `directory` unless it keeps it in a place of its own."""
        ...


@dataclass(frozen=True)
class Handle:
    """A text that stands for a module. Subclasses are the forms that exist; `parse_handle` tells them apart."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> tuple[str, ...]:
        """All texts known to mean this module; the first one names its entry in the cache."""
        return (self.text,)

    @property
    def pin_names(self) -> tuple[str, ...]:
        """Texts under which a pin of this module may stand. They must not depend on what the module holds today."""
        return self.names

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where it can be had from, to be tried in this order."""
        return ()

    @property
    def advice(self) -> str:
        """What to try where no source gave it."""
        return ""

    @property
    def needs_network(self) -> bool:
        """Whether its sources lie on other machines."""
        return True

    @property
    def goes_through_cache(self) -> bool:
        """Whether the cache serves it once it was fetched."""
        return True

    def exists(self) -> bool:
        """Tells whether a handle that needs no network leads anywhere."""
        return False

    def directory_in_place(self) -> str | None:
        """Returns the directory of a module that is used where it lies, None for one that goes through the cache."""
        return None


FORMS = (
    "the path of a directory or of an archive (.tar.gz, .tgz, .tar, .zip), file:///path, "
    "https://host/model/1 or https://host/model.tar.gz, https://tfhub.dev/<publisher>/<model>/<version>, "
    "https://www.kaggle.com/models/<owner>/<model>/<framework>/<variation>/<version>, "
    "<owner>/<model>/<framework>/<variation>[/<version>] with framework tensorFlow1 or tensorFlow2, "
    "gs://bucket/directory"
)
"""The forms that handles have, for messages."""


def redacted(text: str) -> str:
    """Returns a handle or URL as messages may show it: without user name, password, query and fragment.

    Example:
        >>> redacted("https://me:secret@example.org/model/1?X-Goog-Signature=abc")
        'https://example.org/model/1'
    """
    if "://" not in text:
        return text
    try:
        scheme, host, path, _, _ = urlsplit(text)
    except ValueError:  # such as a bracket that is not closed
        return re.split("[?#]", text)[0].rpartition("@")[2]
    return urlunsplit((scheme, host.rpartition("@")[2], path, "", ""))
