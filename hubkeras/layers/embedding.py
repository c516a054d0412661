"""Modules inside `.keras` files: the graphs and assets; the values of the variables are among the file's weights."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from hubkeras.errors import LayerError
from hubkeras.handles.filesystem_path import as_path, copy_tree
from hubkeras.modules.export import write_graphs
from hubkeras.savedmodel.reader import read_module

if TYPE_CHECKING:
    from hubkeras.savedmodel.description import ModuleDescription

_unpacked: weakref.WeakSet[ModuleDescription] = weakref.WeakSet()
"""Modules that came with a Keras file, so that no handle leads to them."""


def embed(description: ModuleDescription, directory: str) -> None:
    """Writes a module, without the values of its variables, to where a Keras file keeps assets.

    Raises:
        LayerError: Its files are gone.
    """
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    try:
        if description.format == "tf2":
            # TensorFlow loads objects from their own files only, checkpoint included.
            copy_tree(as_path(description.label), target)
        else:
            write_graphs(description, target)
    except FileNotFoundError as error:
        raise LayerError(
            f"Cannot save module {description.label} with the model",
            expected="its files where they were when it was loaded",
            received=str(error),
            fix="Put them back, or save the layer with embed=False",
        ) from error


def unpack(directory: str) -> ModuleDescription:
    """Takes a module out of where Keras has unpacked a file, and deletes everything once the file is read.

    Returns:
        What the directory says about itself; the module's own copy of it goes with the description.
    """
    # Keras removes its folder when the file is read; assets are needed as long as the module lives.
    own = tempfile.mkdtemp(prefix="hubkeras-")
    try:
        found = list(Path(directory).rglob("*"))
        if not all(path.is_file() or path.is_dir() for path in found):
            raise LayerError("Cannot read a module from a Keras model", expected="files", received="pipes or devices")
        if any(path.is_symlink() for path in found):
            # Keras reads folders, too. The copy has files where there were links, so that these are checked here.
            read_module(directory, with_values=False)
        shutil.copytree(directory, own, dirs_exist_ok=True)
        # Their values are among the weights of the file; TF1 modules are embedded without a checkpoint.
        description = read_module(own, with_values=False)
    except BaseException:
        shutil.rmtree(own, ignore_errors=True)
        raise
    _unpacked.add(description)
    weakref.finalize(description, shutil.rmtree, own, ignore_errors=True)
    return description


def is_unpacked(description: ModuleDescription) -> bool:
    """Tells whether a module came with a Keras file."""
    return description in _unpacked
