"""What the environment says, read each time it is asked for.

| variable | meaning |
|---|---|
| `TFHUB_CACHE_DIR` | where modules are kept; else `hubkeras` in the user's cache directory (see below) |
| `TFHUB_MODEL_LOAD_FORMAT` | `AUTO`, `COMPRESSED` (the same) or `UNCOMPRESSED` (modules stay in their `gs://` folder) |
| `TFHUB_DOWNLOAD_PROGRESS` | not empty: show the progress of downloads even where no terminal is |
| `TFHUB_DISABLE_CERT_VALIDATION` | `true`: do not check certificates |
| `HUBKERAS_OFFLINE` | `1`: never use the network |
| `HUBKERAS_TIMEOUT` | seconds without an answer or a byte until a request counts as lost (60) |
| `HUBKERAS_MIN_RATE` | bytes per second; a connection that is slower for a minute counts as lost (1024) |
| `HUBKERAS_RETRIES` | attempts after the first one, each (5) |
| `HUBKERAS_RETRY_WAIT` | seconds before the first retry, doubled for each further one (1) |
| `HUBKERAS_LOCK_TIMEOUT` | seconds to wait for another process that downloads the same module (3600) |
| `HUBKERAS_MAX_ARCHIVE_MEMBERS` | files and folders in an archive, those included that only paths name (10000) |
| `HUBKERAS_MAX_ARCHIVE_BYTES` | bytes in all files of an archive (64 GiB) |
| `HUBKERAS_MAX_ARCHIVE_RATIO` | unpacked bytes per packed byte (200; the first 16 MiB are free) |
| `HUBKERAS_MAX_ARCHIVE_PATH` | characters in a path in an archive (512) |

The cache directory may lie on another filesystem, such as `gs://bucket/cache`: modules that are there are used from
there, and new ones are kept in the user's cache directory.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from hubkeras.errors import HandleError, HubKerasError

LOGGER = logging.getLogger("hubkeras")

LOAD_FORMATS = ("AUTO", "COMPRESSED", "UNCOMPRESSED")


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold at most."""

    members: int
    total_bytes: int
    ratio: int
    path_length: int


def cache_directory() -> str:
    """Returns where modules are kept, as tensorflow_hub would, but never in the system's temporary folder.

    `TFHUB_CACHE_DIR` comes first, then the flag `--tfhub_cache_dir` where tensorflow_hub has defined it in this
    process, then the user's cache directory. The text may be a path of another filesystem, such as `gs://bucket/dir`.
    Nothing is created.
    """
    return os.environ.get("TFHUB_CACHE_DIR", "") or _flag("tfhub_cache_dir") or str(_user_cache() / "hubkeras")


def local_cache_directory() -> Path:
    """Returns the cache directory of this machine, which stands in where the chosen one lies on another filesystem."""
    chosen = cache_directory().removeprefix("file://")
    return Path(os.path.abspath(chosen)) if "://" not in chosen else _user_cache() / "hubkeras"  # noqa: PTH100


def remote_cache_directory() -> str:
    """Returns the cache directory where it lies on another filesystem, else an empty text."""
    chosen = cache_directory().removeprefix("file://")
    return chosen.rstrip("/") if "://" in chosen else ""


def load_format() -> str:
    """Returns one of `LOAD_FORMATS`.

    Raises:
        HandleError: For any other value.
    """
    chosen = os.environ.get("TFHUB_MODEL_LOAD_FORMAT", "") or _flag("tfhub_model_load_format") or "AUTO"
    if chosen not in LOAD_FORMATS:
        raise HandleError(
            "TFHUB_MODEL_LOAD_FORMAT has a value that means nothing",
            expected=f"one of {', '.join(LOAD_FORMATS)}",
            received=repr(chosen),
            fix="Unset it or choose one of these",
        )
    return chosen


def is_offline() -> bool:
    """Tells whether the network may not be used."""
    return os.environ.get("HUBKERAS_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def wants_progress() -> bool:
    """Tells whether progress is to be shown even where no terminal is."""
    return bool(os.environ.get("TFHUB_DOWNLOAD_PROGRESS", ""))


def checks_certificates() -> bool:
    """Tells whether servers must show a valid certificate."""
    return os.environ.get("TFHUB_DISABLE_CERT_VALIDATION") != "true"


def timeout() -> float:
    """Returns the seconds after which a silent server counts as lost."""
    return min(_number("HUBKERAS_TIMEOUT", 60.0), 1e6)  # sockets take no number of seconds that is much larger


def min_rate() -> float:
    """Returns the bytes per second below which a connection counts as lost."""
    return _number("HUBKERAS_MIN_RATE", 1024.0)


def retries() -> int:
    """Returns how many attempts follow a failed one."""
    return int(_number("HUBKERAS_RETRIES", 5))


def retry_wait() -> float:
    """Returns the seconds before the first retry."""
    return _number("HUBKERAS_RETRY_WAIT", 1.0)


def lock_timeout() -> float:
    """Returns the seconds to wait for another process that downloads the same module."""
    return _number("HUBKERAS_LOCK_TIMEOUT", 3600.0)


def archive_limits() -> ArchiveLimits:
    """Returns what an archive may hold at most."""
    return ArchiveLimits(
        members=int(_number("HUBKERAS_MAX_ARCHIVE_MEMBERS", 10_000)),
        total_bytes=int(_number("HUBKERAS_MAX_ARCHIVE_BYTES", 64 * 2**30)),
        ratio=int(_number("HUBKERAS_MAX_ARCHIVE_RATIO", 200)),
        path_length=int(_number("HUBKERAS_MAX_ARCHIVE_PATH", 512)),
    )


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else float(default)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise HubKerasError(f"{name} is no number", expected="a number that is not negative", received=repr(text))
    return value


def _flag(name: str) -> str:
    """Reads a flag that tensorflow_hub defined; hubkeras defines none."""
    flags = getattr(sys.modules.get("absl.flags"), "FLAGS", {})
    return (flags[name].value or "") if name in flags else ""


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
