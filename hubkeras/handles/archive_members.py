"""What an archive's members may be called, and how they are written to disk."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hubkeras.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hubkeras.config import ArchiveLimits

MARKER = ".hubkeras.json"
"""The file in which the cache notes what it fetched (see `completeness`)."""

_DRIVE = re.compile(r"^[A-Za-z]:")
# Windows opens its device for such a name in any folder and with any suffix. Refused everywhere, so that an archive is
# good or bad on all systems alike.
_WINDOWS_DEVICE = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$", re.IGNORECASE)
_LONGEST_COMPONENT = 255


@dataclass(frozen=True)
class Member:
    """One entry of an archive: a directory, or a file with its content still to be read."""

    name: str
    is_directory: bool
    size: int = 0
    content: Iterable[bytes | memoryview] = ()


@dataclass(frozen=True)
class FileDigest:
    """Size and sha256 of one file."""

    size: int
    sha256: str


@dataclass
class ExtractionDirectory:
    r"""A directory into which members are written, and nowhere else.

    It keeps no modes, owners or times, and follows no links: everything in the directory was made by itself.
    """

    root: Path
    limits: ArchiveLimits
    files: dict[str, FileDigest] = field(default_factory=dict)
    _taken: dict[str, tuple[str, bool, int]] = field(default_factory=dict)
    _members: int = 0
    _bytes: int = 0

    def add(self, member: Member) -> None:
        """Writes one member.

        Raises:
            ArchiveError: If its name, size or place is not allowed.
        """
        self._members += 1
        self._check_count()
        parts = safe_parts(member.name, self.limits.path_length)
        if not parts:
            if member.is_directory:
                return
            raise member_refused(member.name, "a file with an empty name")
        if MARKER in map(_folded, parts):
            return  # a marker that an archive brings along would vouch for the archive itself
        self._claim(member, parts)
        path = self.root.joinpath(*parts)
        if member.is_directory:
            path.mkdir(parents=True, exist_ok=True)
            return
        if member.size < 0:
            raise member_refused(member.name, "a negative size")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.files["/".join(parts)] = self._write(path, member)

    def _check_count(self) -> None:
        # A member "a/b/c/d" makes three folders that the archive never lists: 3 KB of names are enough for 50,000 of
        # them. So the places on disk are counted as well as the members.
        if max(self._members, len(self._taken)) > self.limits.members:
            raise limit_exceeded("members", self.limits.members, "HUBKERAS_MAX_ARCHIVE_MEMBERS")

    def _claim(self, member: Member, parts: tuple[str, ...]) -> None:
        """Refuses two members in one place, also where the disk does not tell upper from lower case."""
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            is_directory = member.is_directory or depth < len(parts)
            # Folders are claimed again by each member in them, so one may be met again, spelled the same; a file never.
            known = self._taken.setdefault(_folded(name), (name, is_directory, self._members))
            if known[2] != self._members and not (known[:2] == (name, True) and is_directory):
                raise member_refused(member.name, f"a second member in the place of {known[0]!r}")
        self._check_count()

    def _write(self, path: Path, member: Member) -> FileDigest:
        digest = hashlib.sha256()
        size = 0
        # "x" is a second defence: a file that is there already, or a link, fails here even if a check above has a hole.
        with path.open("xb") as file:
            for chunk in member.content:
                # Counted before it is written: the size in a header is what the archive claims, and may be a lie.
                size += len(chunk)
                self._bytes += len(chunk)
                if self._bytes > self.limits.total_bytes:
                    raise limit_exceeded("bytes", self.limits.total_bytes, "HUBKERAS_MAX_ARCHIVE_BYTES")
                file.write(chunk)
                digest.update(chunk)
        if size != member.size:
            raise ArchiveError(f"{member.name!r} is cut", expected=f"{member.size} bytes", received=f"{size} bytes")
        return FileDigest(size, digest.hexdigest())


def safe_parts(name: str, longest: int) -> tuple[str, ...]:
    """Splits a member's name into the components of a path below the target.

    Returns:
        The components; empty for the target itself (`./`).

    Raises:
        ArchiveError: If the name could mean a place outside the target, on any operating system.
    """
    if len(name) > longest:
        raise member_refused(name[:60] + "...", f"a path longer than {longest} characters (HUBKERAS_MAX_ARCHIVE_PATH)")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise member_refused(name, "a NUL or another control character in its name")
    # Readers decode with "surrogateescape", so bytes that are not UTF-8 arrive as lone surrogates.
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise member_refused(name, "a name that is not UTF-8")
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        raise member_refused(name, "an absolute path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    for part in parts:
        _check_component(name, part)
    return parts


def _check_component(name: str, part: str) -> None:
    if part == "..":
        raise member_refused(name, "a path that leads out of the archive")
    if "\\" in part or _DRIVE.match(part):
        raise member_refused(name, "a back-slash or a drive letter in its name")
    if _WINDOWS_DEVICE.match(part) or part.endswith((" ", ".")):
        raise member_refused(name, "a name that Windows reserves")
    if len(part.encode()) > _LONGEST_COMPONENT:
        raise member_refused(name, f"a component longer than {_LONGEST_COMPONENT} bytes")


def member_refused(name: str, what: str) -> ArchiveError:
    """Makes the error for a member that is not written."""
    return ArchiveError(
        f"The archive holds {name!r}, which is refused",
        expected="regular files and directories with relative, distinct names",
        received=what,
        fix="Nothing of it is kept. Pack the module's directory anew: tar -czf module.tar.gz -C directory .",
    )


def limit_exceeded(what: str, limit: int, variable: str) -> ArchiveError:
    """Makes the error for an archive that goes beyond a limit."""
    return ArchiveError(
        f"The archive holds too many {what}",
        expected=f"at most {limit}",
        fix=f"If you trust where it comes from, raise {variable}",
    )


def _folded(name: str) -> str:
    # Twice: folding can take a composed letter apart again, and macOS takes both spellings for one file.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
