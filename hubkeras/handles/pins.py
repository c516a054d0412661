"""Pins: the sha256 that a module must have, whoever serves it.

A pin is a file beside the module's entry in the cache of this machine. Its first line is the sha256 that was pinned. A
second line is there where that is the sha256 of an archive: then it is the one of the files in that archive, noted when
it was unpacked, because unpacked files do not tell which archive they came from.

The files are read each time a pinned module is used. The marker of an entry is never trusted: whoever can put another
module into the cache can put any marker beside it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hubkeras import config
from hubkeras.errors import CacheError
from hubkeras.handles.cache_entries import CacheEntry, disk_errors
from hubkeras.handles.completeness import digest_files, tree_sha256
from hubkeras.handles.locking import temporary_directory
from hubkeras.handles.path_handles import digest_remote_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.handles.archive_members import FileDigest
    from hubkeras.handles.handle import Handle

SHA256 = re.compile(r"^[0-9a-f]{64}$")
_LONGEST_PIN = 1000


def read_pin(handle: Handle) -> tuple[CacheEntry, list[str]] | None:
    """Returns the entry under which a module is pinned, with the sha256 that it may have; None if it is not pinned.

    Raises:
        CacheError: If there is a pin that cannot be read. It must never count as none.
    """
    root = config.local_cache_directory()
    # Under any of its names, or one spelling of an address would evade the pin set under another.
    for entry in dict.fromkeys(CacheEntry.of(root, name) for name in handle.pin_names):
        try:
            with entry.pin.open("rb") as file:
                lines = file.read(_LONGEST_PIN).decode("ascii", "replace").split()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise CacheError(f"Cannot read the pin {entry.pin}", received=error.strerror or str(error)) from error
        if not lines or not all(map(SHA256.match, lines)):
            raise CacheError(
                f"The pin {entry.pin} is damaged",
                expected="a sha256 of 64 hexadecimal digits",
                received=repr(lines)[:100],
                fix="Pin the module anew with hubkeras.pin, or accept any with hubkeras.unpin",
            )
        return entry, lines
    return None


def write_pin(entry: CacheEntry, *sha256: str) -> None:
    """Writes a pin, by a rename: who reads it at the same time sees the old one or the new one, never a part."""
    with temporary_directory(entry) as staging, disk_errors(entry.root):
        draft = staging / "pin"
        draft.write_text("".join(f"{value}\n" for value in sha256), encoding="ascii")
        draft.replace(entry.pin)


def check_pin(
    handle: Handle, place: str | Path, files: Mapping[str, FileDigest] | None = None, archive_sha256: str = ""
) -> None:
    """Refuses a module that is not the one it was pinned to.

    What was unpacked just now has its files and the sha256 of its archive known; anything else is read.

    Raises:
        CacheError: If neither its files nor its archive have the pinned sha256.
    """
    pin = read_pin(handle)
    if pin is None:
        return
    entry, accepted = pin
    found = sha256_of_files(place) if files is None else tree_sha256(files)
    # The archive had the pinned sum: its files may be used from now on, when the archive itself is gone.
    if archive_sha256 == accepted[0]:
        write_pin(entry, archive_sha256, found)
    elif found not in accepted:
        raise CacheError(
            f"The module {place} is not the one that was pinned",
            expected=f"sha256 {accepted[-1]}",
            received=f"sha256 {found} of its files" + (f", {archive_sha256} of its archive" if archive_sha256 else ""),
            fix="Find out who changed it. Where the pin is that of an archive, hubkeras.remove_cached lets the next "
            "use fetch that archive; hubkeras.unpin accepts the module as it is",
        )


def sha256_of_files(place: str | Path) -> str:
    """Reads a module's files; returns what `tree_sha256` makes of them."""
    text = str(place)
    return tree_sha256(digest_remote_files(text) if "://" in text else digest_files(Path(text)))
