"""Whether a module in the cache is all there.

An entry that hubkeras made holds a marker, `.hubkeras.json`, which lists every file with its size and sha256. It comes
into being with the entry, by one rename. An entry that tensorflow_hub made has none: there, the graph says whether
variables and assets belong to it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from hubkeras.errors import CacheError
from hubkeras.handles.archive import GRAPH_FILES
from hubkeras.handles.archive_members import MARKER, FileDigest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# tensorflow_hub leaves no list of files. A folder that an interrupted copy lost can only be told by ops that read it.
_NEEDS = {"variables": (b"VarHandleOp", b"VariableV2", b"RestoreV2"), "assets": (b"asset_filepaths",)}
_PIECE = 1 << 20
# An archive may bring a "marker" along where tensorflow_hub unpacked it; a real one has some 100 bytes for each file.
_LONGEST_MARKER = 64 << 20


@dataclass(frozen=True)
class Marker:
    """What hubkeras knows of an entry that it made."""

    handle: str
    sha256: str
    """Of all files, see `tree_sha256`."""
    archive_sha256: str = ""
    """Of the bytes that were downloaded."""
    files: Mapping[str, FileDigest] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """Writes the marker into a module's directory."""
        (directory / MARKER).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Marker | None:
        """Reads the marker of an entry; None where there is none that can be read.

        tensorflow_hub unpacks archives into the same cache, so a marker may be anything that an archive can hold.
        """
        try:
            with (directory / MARKER).open("rb") as file:
                text = file.read(_LONGEST_MARKER + 1)
            if len(text) > _LONGEST_MARKER:
                return None
            fields = json.loads(text)
            files = {name: FileDigest(**digest) for name, digest in fields.pop("files").items()}
            marker = cls(**fields, files=files)
            texts = [marker.handle, marker.sha256, marker.archive_sha256, *(digest.sha256 for digest in files.values())]
            # A dataclass checks no types, and JSON gives lists and numbers as gladly as texts.
            is_sound = all(type(text) is str for text in texts) and all(map(_is_sound, files.items()))
            return marker if is_sound else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


def _is_sound(file: tuple[str, FileDigest]) -> bool:
    name, digest = file
    # A NUL or half of a surrogate pair in a name would have the system's calls raise a ValueError.
    return type(digest.size) is int and "\0" not in name and name.encode("utf-8", "replace").decode() == name


def tree_sha256(files: Mapping[str, FileDigest]) -> str:
    r"""Returns the sha256 of a module's files: of the lines `<sha256>  <path>`, ordered by path.

    Outside Python: `find . -type f ! -name .hubkeras.json -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum |
    sha256sum` in the module's directory gives the same.
    """
    # By bytes, as `LC_ALL=C sort` does: Python's own order of texts is that of code points.
    names = sorted(files, key=os.fsencode)
    return hashlib.sha256(b"".join(map(_line, names, (files[name].sha256 for name in names)))).hexdigest()


def _line(name: str, sha256: str) -> bytes:
    # As `sha256sum` writes it: a line break in a name must not make one file pass for two.
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return os.fsencode(f"{'' if escaped == name else chr(92)}{sha256}  {escaped}\n")


def digest_files(directory: Path) -> dict[str, FileDigest]:
    """Reads all files of a directory; returns size and sha256 of each by its path.

    Folders that are links are gone into, since TensorFlow does so too.
    """
    found: dict[str, FileDigest] = {}
    for path in _files_below(directory, ()):
        if path != directory / MARKER:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(directory).as_posix()] = FileDigest(path.stat().st_size, digest)
    return found


def _files_below(directory: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """Yields the files of a folder; `above` are the folders that it lies in, since a link may lead back to one."""
    place = directory.stat()
    inside = (*above, (place.st_dev, place.st_ino))
    if inside[-1] in above:
        raise CacheError(
            f"Cannot read the files of {directory}", expected="a folder", received="a link to a folder that it lies in"
        )
    for path in sorted(directory.iterdir()):
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from _files_below(path, inside)


def what_is_missing(directory: Path) -> str:
    """Tells why an entry of the cache cannot be used; empty if it can.

    Sizes are compared, not contents: it is asked at each use. `hubkeras.verify_cached` compares contents.
    """
    try:
        if not directory.is_dir():
            return "the directory is not there"
        marker = Marker.read(directory)
        return _missing_by_marker(directory, marker) if marker else _missing_by_graph(directory)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def _missing_by_marker(directory: Path, marker: Marker) -> str:
    for name, digest in marker.files.items():
        try:
            size = (directory / name).stat().st_size
        except FileNotFoundError:
            return f"{name} is not there any more"
        if size != digest.size:
            return f"{name} has {size} bytes and had {digest.size}"
    return ""


def _missing_by_graph(directory: Path) -> str:
    graph = next((directory / name for name in GRAPH_FILES if (directory / name).is_file()), None)
    if graph is None or not graph.stat().st_size:
        return "it contains neither saved_model.pb nor saved_model.pbtxt"
    variables = directory / "variables"
    # The folder may be empty or missing for a module without variables, so only one of the two is a sign of damage.
    if (variables / "variables.index").is_file() != any(variables.glob("variables.data-*")):
        return "variables/ holds only one of the index and the data"
    empty = [name for name in _NEEDS if not any((directory / name).glob("*"))]
    needed = [name for name in empty if _mentions(graph, _NEEDS[name])]
    return f"{needed[0]}/ is empty, and the graph reads from it" if needed else ""


def _mentions(path: Path, words: tuple[bytes, ...]) -> bool:
    overlap = max(map(len, words))
    tail = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            # With the end of the piece before, as a word may lie across the border of two.
            if any(word in tail + piece for word in words):
                return True
            tail = piece[-overlap:]
    return False
