"""Handles of tfhub.dev, and of its mirror in China."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubkeras.handles import tfhub_to_kaggle
from hubkeras.handles.download import HttpArchive
from hubkeras.handles.kaggle_handle import KaggleModel
from hubkeras.handles.tfhub_to_kaggle import TFHUB
from hubkeras.handles.web_handle import WebHandle, with_format_query

if TYPE_CHECKING:
    from hubkeras.handles.handle import Source

_MIRROR_ARCHIVE = "https://gcs.tensorflow.google.cn/tfhub-modules/{}.tar.gz"
_ADDRESS = re.compile(
    r"^https?://(?P<host>(?:www\.)?tfhub\.dev|hub\.tensorflow\.google\.cn)/(?P<path>[^?#]+?)/*(?:[?#].*)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class TfHubHandle(WebHandle):
    """A module by its address on tfhub.dev, such as `https://tfhub.dev/google/nnlm-en-dim128/1`."""

    path: str
    """Publisher, name and version."""
    on_mirror: bool

    @classmethod
    def match(cls, text: str) -> TfHubHandle | None:
        """Reads an address; None if it is another one."""
        found = _ADDRESS.match(text)
        return cls(text, found["path"], "google.cn" in found["host"].lower()) if found else None

    @property
    def url(self) -> str:
        """The address on tfhub.dev, in its usual spelling."""
        return TFHUB + self.path

    @property
    def kaggle(self) -> KaggleModel | None:
        """The same module on Kaggle, None if it is not known."""
        short = tfhub_to_kaggle.kaggle_of(self.path)
        return KaggleModel.match(short) if short else None

    @property
    def names(self) -> tuple[str, ...]:
        """All addresses of this module, tfhub.dev's first."""
        others = self.kaggle.names if self.kaggle else ()
        # The user's own spelling last: it is the name under which tensorflow_hub would look, and the first one names
        # the entry.
        return (*tfhub_to_kaggle.tfhub_names(self.path), *others, self.text)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The host that was named, then Kaggle where the module's handle there is known."""
        host = _MIRROR_ARCHIVE.format(self.path) if self.on_mirror else with_format_query(self.url, "compressed")
        return (HttpArchive(host), *(self.kaggle.sources if self.kaggle else ()))

    @property
    def advice(self) -> str:
        """The handle to try on Kaggle, where tfhub.dev's modules went."""
        if self.kaggle:
            return f"On Kaggle this module is {self.kaggle.short!r}: use that as the handle, or try again later"
        near = tfhub_to_kaggle.nearest(TFHUB + self.path)
        return (
            "tfhub.dev has moved to Kaggle, under other names and version numbers: look for the module on "
            "https://www.kaggle.com/models and use its handle <owner>/<model>/<framework>/<variation>/<version>"
            + (f". The nearest one known is {near}" + _on_kaggle(near) if near else "")
        )


def _on_kaggle(near: str) -> str:
    short = tfhub_to_kaggle.kaggle_of(near.removeprefix(TFHUB))
    return f", on Kaggle {short}" if short else ""
