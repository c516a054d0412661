"""Handles of Kaggle: short ones, and its addresses in both forms."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hubkeras import config
from hubkeras.errors import DownloadError
from hubkeras.handles import tfhub_to_kaggle
from hubkeras.handles.completeness import what_is_missing
from hubkeras.handles.download import HttpArchive
from hubkeras.handles.handle import FetchedModule, Handle, Source
from hubkeras.handles.http import description
from hubkeras.handles.web_handle import get_text, uncompressed_folder, with_format_query

if TYPE_CHECKING:
    from hubkeras.handles.progress import Meter

SITE = "https://www.kaggle.com"
API = f"{SITE}/api/v1/models"
FRAMEWORKS = {"tensorflow1": "tensorFlow1", "tensorflow2": "tensorFlow2"}
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_PARTS = rf"(?P<owner>{_NAME})/(?P<model>{_NAME})/{{}}(?P<framework>tensorflow[12])/{{}}(?P<variation>{_NAME})"
_SHORT = re.compile("^" + _PARTS.format("", "") + r"(?:/(?P<version>\d+))?$", re.IGNORECASE)
_ADDRESS = r"^https?://(?:www\.)?kaggle\.com/models/"
_URLS = (
    re.compile(_ADDRESS + _PARTS.format("", "") + r"(?:/(?P<version>\d+))?/?(?:[?#].*)?$", re.IGNORECASE),
    re.compile(
        _ADDRESS + _PARTS.format("frameworks/", "variations/") + r"(?:/versions/(?P<version>\d+))?/?(?:[?#].*)?$",
        re.IGNORECASE,
    ),
)
_CREDENTIALS = ("KAGGLE_API_TOKEN", "KAGGLE_KEY")
_INSIDE = ("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_USER_SECRETS_TOKEN", "COLAB_RELEASE_TAG")


@dataclass(frozen=True)
class KaggleModel:
    """One variation of a model on Kaggle, in one version, or in whichever is the latest."""

    owner: str
    model: str
    framework: str
    variation: str
    version: str

    @classmethod
    def match(cls, text: str) -> KaggleModel | None:
        """Reads a short handle or an address; None if it is something else."""
        for form in (_SHORT, *_URLS):
            if found := form.match(text):
                parts = found.groupdict("")
                return cls(**parts | {"framework": FRAMEWORKS[parts["framework"].lower()]})
        return None

    @property
    def short(self) -> str:
        """The handle that Kaggle shows."""
        return "/".join(filter(None, (self.owner, self.model, self.framework, self.variation, self.version)))

    @property
    def url(self) -> str:
        """The address, in its short form."""
        return f"{SITE}/models/{self.short}"

    @property
    def names(self) -> tuple[str, ...]:
        """All addresses of this model that tensorflow_hub users write, the short form first."""
        version = f"/versions/{self.version}" if self.version else ""
        framework = self.framework
        shorts = [self.short.replace(framework, spelled) for spelled in (framework, "TensorFlow" + framework[-1])]
        longs = [
            f"{self.owner}/{self.model}/frameworks/{spelled}/variations/{self.variation}{version}"
            for spelled in (framework, "TensorFlow" + framework[-1])
        ]
        hosts = (SITE, SITE.replace("www.", ""))
        # tfhub.dev redirects with this query, so addresses copied out of a browser's address line have it.
        queries = ("", "?tfhub-redirect=true")
        return tuple(f"{host}/models/{path}{query}" for path in shorts + longs for host in hosts for query in queries)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Kagglehub where it can be used, then Kaggle's download address, then its answer to the hosting protocol."""
        plain = (KaggleArchive(self), HttpArchive(with_format_query(self.url, "compressed")))
        return (KagglehubFolder(self), *plain) if has_kagglehub() else plain


@dataclass(frozen=True)
class KaggleHandle(Handle):
    """A model on Kaggle, by its short handle or by its address."""

    kaggle: KaggleModel

    @classmethod
    def match(cls, text: str) -> KaggleHandle | None:
        """Reads a handle; None if it is something else."""
        model = KaggleModel.match(text)
        return cls(text, model) if model else None

    @property
    def names(self) -> tuple[str, ...]:
        """All addresses of this model; the one on tfhub.dev first, where it is known."""
        path = tfhub_to_kaggle.tfhub_of(self.kaggle.short)
        names = (tfhub_to_kaggle.tfhub_names(path) if path else ()) + self.kaggle.names
        return (*names, self.text) if "://" in self.text else names

    @property
    def sources(self) -> tuple[Source, ...]:
        """Kaggle."""
        return self.kaggle.sources

    @property
    def advice(self) -> str:
        """What may stand between a user and a model."""
        near = tfhub_to_kaggle.nearest(self.kaggle.short)
        return (
            f"Open {self.kaggle.url} in a browser: where it asks for a consent or a login, give it, install "
            "hubkeras[kaggle] and store your API token"
            + (f". The nearest handle known is {near}" if near and near != self.kaggle.short else "")
        )

    @property
    def goes_through_cache(self) -> bool:
        """Tells whether TFHUB_MODEL_LOAD_FORMAT, which is about addresses, lets it go through the cache."""
        return "://" not in self.text or config.load_format() != "UNCOMPRESSED"

    def directory_in_place(self) -> str | None:
        """Returns the folder on `gs://` where TFHUB_MODEL_LOAD_FORMAT asks for that of an address, else None."""
        return None if self.goes_through_cache else uncompressed_folder(self.kaggle.url)


@dataclass(frozen=True)
class KaggleArchive:
    """A model from Kaggle's plain download address, which needs no credentials for public models."""

    kaggle: KaggleModel

    def fetch(self, directory: Path, meter: Meter) -> FetchedModule:
        """Unpacks it while it is downloaded, after asking for the latest version where none is named."""
        model = self.kaggle
        # Kaggle's download address needs a version; its answer about the model tells the latest one.
        if not model.version:
            model = replace(model, version=_latest(f"{API}/{model.short}/get"))
        return HttpArchive(f"{API}/{model.short}/download").fetch(directory, meter)


def _latest(url: str) -> str:
    response, text = get_text(url)
    try:
        # Through int, as what a server sends becomes part of an address.
        return str(int(json.loads(text)["versionNumber"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DownloadError(
            f"{url} does not say which version is the latest",
            expected="status 200 and a versionNumber",
            received=f"{description(response)}, beginning with {text[:120]!r}",
            fix="Name a version in the handle",
        ) from error


@dataclass(frozen=True)
class KagglehubFolder:
    """A model from kagglehub, which knows the user's credentials and keeps the model in a cache of its own."""

    kaggle: KaggleModel

    def fetch(self, directory: Path, meter: Meter) -> FetchedModule:
        """Has kagglehub download or mount it."""
        kagglehub = importlib.import_module("kagglehub")
        try:
            folder = Path(kagglehub.model_download(self.kaggle.short))
        # kagglehub raises what its many back ends raise. Any failure of it leaves the plain addresses to be tried.
        except Exception as error:
            raise DownloadError(f"kagglehub cannot fetch {self.kaggle.short}", received=type(error).__name__) from error
        missing = what_is_missing(folder)
        if missing:
            raise DownloadError(f"What kagglehub has for {self.kaggle.short} is no module: {folder}", received=missing)
        return FetchedModule(folder)


def has_kagglehub() -> bool:
    """Tells whether kagglehub is installed and has credentials, or runs where it needs none."""
    if importlib.util.find_spec("kagglehub") is None:
        return False
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")
    by_file = any((folder / name).is_file() for name in ("kaggle.json", "access_token"))
    return by_file or any(os.environ.get(name) for name in (*_CREDENTIALS, *_INSIDE))
