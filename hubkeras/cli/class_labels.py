"""Names of the classes that a module tells apart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubkeras.errors import InputError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BACKGROUND = "background"


def find_labels(module: Any, file: str | None) -> list[str]:
    """Reads the names of classes.

    Args:
        module: The module, which may have them as a file with "label" in its name.
        file: A file that names them, None for the module's own.

    Returns:
        One name per class, empty if nothing names them.

    Raises:
        MissingFileError: There is no such file.
        InputError: It holds none.
    """
    if file is not None:
        path = Path(file)
        if not path.is_file():
            raise MissingFileError(f"Cannot find {path}, the file of labels")
        labels = _read(path)
        if not labels:
            raise InputError(f"Cannot name classes by {path}", expected="a name on each line", received="an empty file")
        return labels
    return next((_read(path) for path in _own_files(module.description.path)), [])


def _own_files(directory: Any) -> Iterator[Path]:
    for root, _, names in os.walk(directory) if isinstance(directory, Path) else ():
        for name in sorted(names):
            path = Path(root, name)
            # A link may lead to a file of this machine that is not the module's to show.
            is_own = path.is_file() and path.resolve().is_relative_to(Path(directory).resolve())
            if "label" in name.lower() and name.endswith(".txt") and is_own:
                yield path


def _read(path: Path) -> list[str]:
    return path.read_text("utf-8", "replace").splitlines()


def labels_for(labels: list[str], classes: int) -> list[str] | None:
    """Returns the labels of so many classes, None if they do not fit.

    Models of ImageNet have 1001 classes, the first one for what is none of the 1000 that lists name.
    """
    if len(labels) == classes:
        return labels
    return [_BACKGROUND, *labels] if len(labels) + 1 == classes else None
