"""Archives, each taken for hostile: bytes in, a directory of regular files out."""

from __future__ import annotations

import re
import tempfile
from itertools import chain
from typing import TYPE_CHECKING

from hubkeras import config
from hubkeras.errors import ArchiveError
from hubkeras.handles.archive_members import ExtractionDirectory, FileDigest
from hubkeras.handles.gzip_stream import GZIP_MAGIC, gunzip
from hubkeras.handles.tar_reader import read_tar
from hubkeras.handles.zip_reader import read_zip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
"""How the names of archives end that are handles."""

GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")

_REFUSED = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}
_ZIP = (b"PK\3\4", b"PK\5\6")
_MAC_LITTER = {"__MACOSX", ".DS_Store"}
_TAR_MAGIC = slice(257, 262)
_HTML = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)


def extract(chunks: Iterator[bytes], directory: Path) -> dict[str, FileDigest]:
    """Unpacks an archive into a directory, reading it once from front to back.

    A tar archive (plain, or packed with gzip) is written while it is read. A zip archive has its
    directory at its end, so it is kept beside `directory` until it is complete.

    Args:
        chunks: The archive's bytes. They are read to their end.
        directory: An empty directory.

    Returns:
        Size and sha256 of each file, by its path in the directory.

    Raises:
        ArchiveError: If the bytes are no archive, are cut or damaged, or hold anything but regular files and
            directories within the limits of the environment. What was written until then stays in `directory`.

    It does not look at what a module needs, and keeps neither modes nor owners nor times.
    """
    # An empty chunk means the end to what reads further down, and a server may send one in between.
    head, chunks = peek(chunk for chunk in chunks if chunk)
    limits = config.archive_limits()
    target = ExtractionDirectory(directory, limits)
    if head.startswith(_ZIP):
        # In the cache, not in /tmp: that may be a small disk in memory, and room was checked for the cache alone.
        with tempfile.TemporaryFile(dir=directory.parent) as file:
            for chunk in chunks:
                file.write(chunk)
            for member in read_zip(file, limits):
                target.add(member)
    else:
        _check_is_tar(head)
        unpacked = gunzip(chunks, limits.ratio) if head.startswith(GZIP_MAGIC) else chunks
        for member in read_tar(unpacked):
            target.add(member)
    if not target.files:
        raise ArchiveError("The archive is empty", expected="a module", received="no file")
    return target.files


def module_root(directory: Path, files: dict[str, FileDigest]) -> tuple[Path, dict[str, FileDigest]]:
    """Returns where the module lies in an unpacked archive, and its files: at the top or in the one folder there.

    Raises:
        ArchiveError: If no SavedModel lies at either place.
    """
    if not files.keys().isdisjoint(GRAPH_FILES):
        return directory, files
    # The Finder of macOS packs these beside the folder that its user chose.
    tops = {name.split("/", 1)[0] for name in files} - _MAC_LITTER
    top = min(tops, default="")
    if len(tops) == 1 and not files.keys().isdisjoint(f"{top}/{name}" for name in GRAPH_FILES):
        inside = {name.removeprefix(f"{top}/"): digest for name, digest in files.items() if name.startswith(f"{top}/")}
        return directory / top, inside
    listing = ", ".join(sorted(files)[:8])
    raise ArchiveError(
        "The archive holds no module",
        expected=f"{' or '.join(GRAPH_FILES)} at its top, or in its only folder",
        received=f"{len(files)} files: {listing}",
        fix="Other formats of a model (TFLite, TF.js) cannot be used here; take its SavedModel",
    )


def peek(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Returns the first bytes, which tell the format, and an iterator over everything."""
    taken: list[bytes] = []
    while sum(map(len, taken)) < _TAR_MAGIC.stop and (chunk := next(chunks, b"")):
        taken.append(chunk)
    head = b"".join(taken)
    return head[: _TAR_MAGIC.stop], chain([head] if head else [], chunks)


def looks_like_archive(head: bytes) -> bool:
    """Tells from its first bytes (257 or more) whether something may be an archive of a known format."""
    # The refused formats count too: to be told that bzip2 is not taken helps more than "not a valid module".
    return head.startswith((GZIP_MAGIC, *_ZIP, *_REFUSED)) or head[_TAR_MAGIC] == b"ustar" or _is_old_tar(head)


def _check_is_tar(head: bytes) -> None:
    packing = next((name for magic, name in _REFUSED.items() if head.startswith(magic)), "")
    if looks_like_archive(head) and not packing:
        return
    raise ArchiveError(
        f"The archive is packed with {packing}" if packing else "This is no archive",
        expected="a tar archive (plain or packed with gzip) or a zip archive",
        # Never the bytes themselves: the handle may come from a Keras file, and lead to whatever its author likes.
        received=("a page in HTML" if _HTML.match(head) else "bytes of another kind") if head else "nothing",
        fix="Pack the module's directory anew: tar -czf module.tar.gz -C directory ." if packing else "",
    )


def _is_old_tar(head: bytes) -> bool:
    """Recognises the header of tar archives older than the magic: an octal checksum, and nothing in its place."""
    checksum = head[148:156].strip(b" \0")
    return len(head) >= _TAR_MAGIC.stop and checksum.isdigit() and not head[_TAR_MAGIC].strip(b"\0")
