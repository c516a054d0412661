"""Files that are moved: which there are, how they are read, and how they are written back."""

from __future__ import annotations

import io
import os
import re
import tempfile
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import libcst as cst

from hubkeras.errors import MigrationError
from hubkeras.migration.findings import Finding, Migrated
from hubkeras.migration.notebooks import migrate_notebook
from hubkeras.migration.python_code import migrate_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_REQUIREMENT_FILES = re.compile(r"(.*requirements.*\.(txt|in)|pyproject\.toml|setup\.cfg|environment\.ya?ml|Pipfile)$")
_REQUIREMENT = re.compile(r"(?<![\w/.-])tensorflow[-_]hub(?![\w/-])")
_SKIPPED = {"__pycache__", "node_modules", "site-packages"}


@dataclass(frozen=True)
class FileReport:
    """What was found in one file."""

    path: Path
    findings: tuple[Finding, ...] = ()
    changed: bool = False
    """Whether there is something to rewrite, or was."""
    problem: str = ""
    """Why the file could not be read, empty if it could."""


def migrate_files(paths: Iterable[str | os.PathLike[str]], *, write: bool = False) -> Iterator[FileReport]:
    """Looks through Python files, notebooks and lists of requirements for uses of tensorflow_hub.

    Args:
        paths: Files, and directories, which are searched with all that they hold except hidden directories and virtual
            environments. Of links to directories only those given are followed, and of links to files those that stay
            in a directory.
        write: Whether what can be rewritten safely is rewritten. A file is replaced as a whole or not at all.

    Yields:
        A report for each file in which there is something, and for each that could not be read.

    Raises:
        MigrationError: A path is not there, before anything is read.

    Example:
        >>> for report in migrate_files(["train.py", "notebooks"]):  # doctest: +SKIP
        ...     print(report.path, *report.findings)
    """
    given = [Path(path) for path in paths]
    for path in given:
        if not path.exists():
            raise MigrationError(
                "Cannot migrate what is not there", expected="files and directories", received=f"{os.fspath(path)!r}"
            )
    for file in dict.fromkeys(inner for path in given for inner in _files(path)):
        report = _migrate(file, write)
        if report.findings or report.problem:
            yield report


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for directory, inner, names in os.walk(path):
        here = Path(directory)
        inner[:] = sorted(
            name
            for name in inner
            if not name.startswith(".") and name not in _SKIPPED and not (here / name / "pyvenv.cfg").exists()
        )
        yield from (here / name for name in sorted(names) if _is_known(name) and _belongs_to(path, here / name))


def _belongs_to(directory: Path, file: Path) -> bool:
    """Tells whether a file lies in a directory: neither a link that leads out of it, nor a pipe or a device."""
    return file.is_file() and file.resolve().is_relative_to(directory.resolve())


def _is_known(name: str) -> bool:
    return name.endswith((".py", ".ipynb")) or bool(_REQUIREMENT_FILES.match(name))


def _migrate(path: Path, write: bool) -> FileReport:
    try:
        data = path.read_bytes()
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0] if path.suffix == ".py" else "utf-8"
        text = data.decode(encoding)
        migrated = _migrated(path, text)
        changed = migrated.text != text
        if changed and write:
            _replace(path, migrated.text.encode(encoding))
    except cst.ParserSyntaxError as error:
        return FileReport(path, problem=f"it is no Python: line {error.raw_line}: {error.message}")
    except SyntaxError as error:
        return FileReport(path, problem=f"it is no Python: line {error.lineno or 1}: {error.msg}")
    # LookupError: of an encoding that is none of text; ValueError: of UnicodeDecodeError, too.
    except (OSError, LookupError, ValueError, RecursionError) as error:
        return FileReport(path, problem=f"{type(error).__name__}: {error}")
    return FileReport(path, migrated.findings, changed)


def _migrated(path: Path, text: str) -> Migrated:
    if path.suffix == ".ipynb":
        return migrate_notebook(text)
    if path.suffix == ".py" or not _REQUIREMENT_FILES.match(path.name):
        return migrate_code(text)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if _REQUIREMENT.search(line)]
    advice = "require hubkeras there, and tf_keras no longer"
    return Migrated(text, tuple(Finding(number, line.strip(), "by hand", advice) for number, line in lines))


def _replace(path: Path, data: bytes) -> None:
    """Writes a file beside a file, and lets it take its place and its permissions; a link stays a link."""
    target = path.resolve()
    descriptor, staging = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(staging, target.stat().st_mode & 0o7777)  # noqa: PTH101
        os.replace(staging, target)  # noqa: PTH105
    except BaseException:
        Path(staging).unlink(missing_ok=True)
        raise
