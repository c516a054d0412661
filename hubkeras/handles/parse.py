"""Telling the forms of handles apart."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hubkeras.errors import HandleError
from hubkeras.handles.handle import FORMS, redacted
from hubkeras.handles.kaggle_handle import KaggleHandle
from hubkeras.handles.path_handles import FilesystemHandle, LocalHandle
from hubkeras.handles.tfhub_handle import TfHubHandle
from hubkeras.handles.tfhub_to_kaggle import nearest
from hubkeras.handles.web_handle import WebHandle

if TYPE_CHECKING:
    from hubkeras.handles.handle import Handle

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_WITHOUT_MODELS = re.compile(r"^(?:www\.)?(?:tfhub\.dev|kaggle\.com)$")


def parse_handle(handle: str | os.PathLike[str]) -> Handle:
    """Reads a handle of any form.

    Raises:
        HandleError: If it has none of the forms.

    It asks the disk only whether a text that could be a short Kaggle handle is a path.
    """
    text = os.fsdecode(handle) if isinstance(handle, str | os.PathLike) else ""
    if not text or "\0" in text:
        raise HandleError("A handle stands for no module", expected=FORMS, received=repr(handle))
    scheme = _SCHEME.match(text)
    if scheme is None:
        path = LocalHandle.parse(text)
        # A folder of that name on disk comes first, as in tensorflow_hub, where such a text could only be a path.
        return path if isinstance(handle, os.PathLike) or path.exists() else KaggleHandle.match(text) or path
    # Also of an object: a path of another filesystem is no `pathlib.Path`, which would make one slash of two.
    if scheme[1].lower() == "file":
        return LocalHandle.parse(text)
    if scheme[1].lower() not in ("http", "https"):
        return FilesystemHandle(text)
    # Before the general form, which these addresses have too.
    return KaggleHandle.match(text) or TfHubHandle.match(text) or _web_handle(text)


def _web_handle(text: str) -> WebHandle:
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        host = ""
    if host and not _WITHOUT_MODELS.match(host):
        return WebHandle(text)
    near = nearest(redacted(text)) if host else ""
    raise HandleError(
        # Not `redacted`, which needs an address that can be split; this one may be refused because it cannot.
        f"{text.partition('?')[0].rpartition('@')[2]!r} is no handle",
        expected=FORMS,
        fix=f"Did you mean {near}?" if near else "",
    )
