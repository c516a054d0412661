"""Modules and archives, good and hostile, made when they are needed."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

FILES = {
    "saved_model.pb": b"\x08\x01graph with VarHandleOp",
    "tfhub_module.pb": b"\x08\x03",
    "assets/words.txt": b"a\nb\n",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": bytes(range(256)) * 40,
}


def make_tar(files: dict[str, bytes] = FILES, packing: str = "gz", *, folders: bool = True, prefix: str = "") -> bytes:
    entries = []
    for name, content in files.items():
        entries.append(file_entry(prefix + name, content))
    if folders:
        names = {parent.as_posix() for name in files for parent in Path(prefix + name).parents} - {"."}
        entries = [(folder_entry(name), b"") for name in sorted(names)] + entries
    return tar_of(entries, packing)


def tar_of(entries: list[tuple[tarfile.TarInfo, bytes]], packing: str = "gz") -> bytes:
    """Packs the same entries into the same bytes: the header of gzip, which tarfile dates, names no time."""
    buffer = io.BytesIO()
    mode = "w:" if packing == "gz" else f"w:{packing}"
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.GNU_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return gzip.compress(buffer.getvalue(), mtime=0) if packing == "gz" else buffer.getvalue()


def file_entry(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def folder_entry(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def link_entry(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info, b""


def make_zip(files: dict[str, bytes] = FILES, prefix: str = "", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return buffer.getvalue()


def make_module(directory: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def contents(directory: str | Path) -> dict[str, bytes]:
    """All files of a directory but the cache's marker."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(Path(directory).rglob("*"))
        if path.is_file() and path.name != ".hubkeras.json"
    }
