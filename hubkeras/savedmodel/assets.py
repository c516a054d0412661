"""Finds the files that a graph reads, and holds them to the module's `assets` folder."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hubkeras.errors import DownloadError, FormatError, MissingFileError
from hubkeras.savedmodel.collection_defs import SAVED_MODEL_ASSETS
from hubkeras.savedmodel.description import ASSETS_DIRECTORY, AssetSpec
from hubkeras.savedmodel.protos import AssetFileDef, parse
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hubkeras.handles.filesystem_path import AnyPath


def read_assets(
    meta_graph: Any, module: AnyPath | None, sources: Mapping[str, AnyPath] = MappingProxyType({})
) -> tuple[AssetSpec, ...]:
    """Reads the assets of a MetaGraph and checks that each name leads to below `assets`.

    A file that is not there is of no concern before something asks for it, nor is one that the graph does not name.

    Args:
        meta_graph: The `MetaGraphDef`.
        module: The module's directory, absolute; None if no directory holds it yet.
        sources: Where the files of such a module lie, by their names.

    Returns:
        One entry per tensor that is to hold a path.

    Raises:
        FormatError: A file name is absolute or leaves `assets`, also by a link; or one tensor is to hold two paths.
        CorruptFileError: The collection cannot be parsed.
    """
    assets: dict[str, AssetSpec] = {}
    for asset in _asset_file_defs(meta_graph, module):
        tensor = Ref.parse(asset.tensor_info.name).tensor
        known = assets.get(tensor)
        if known is None:
            assets[tensor] = AssetSpec(tensor, asset.filename, module, sources.get(asset.filename))
            _is_there(assets[tensor])  # for its error: the name matters to all, whether it is there to who reads it
        # TF1 files list every asset in two places. Where these differ, TensorFlow and others go by different ones.
        elif known.filename != asset.filename:
            raise FormatError(
                f"Two assets of {module} belong to one tensor",
                expected="one file for each tensor",
                received=f"{known.filename!r} and {asset.filename!r} for {tensor!r}",
            )
    return tuple(assets.values())


def _asset_file_defs(meta_graph: Any, module: AnyPath | None) -> Iterator[Any]:
    # TF2 wrote this field, TF1 the collection, and many versions both.
    yield from meta_graph.asset_file_def
    if SAVED_MODEL_ASSETS not in meta_graph.collection_def:
        return
    for item in meta_graph.collection_def[SAVED_MODEL_ASSETS].any_list.value:
        yield parse(AssetFileDef, item.value, f"the collection {SAVED_MODEL_ASSETS} of {module}")


def find_asset(asset: AssetSpec) -> AnyPath:
    """Returns the path of an asset that something is about to read.

    Raises:
        FormatError: It leaves `assets`, by a link that was not there when the module was read.
        MissingFileError: It is not there.
    """
    if not _is_there(asset):
        raise MissingFileError(
            f"Cannot find {asset.path}, an asset of the module {asset.module or 'that was made in memory'}",
            fix="Fetch the module again" if asset.module else "Put the file back, or make the module anew",
        )
    return asset.path


def _is_there(asset: AssetSpec) -> bool:
    """Tells whether a file is there, or refuses a name that leads out of `assets`."""
    if asset.module is None:
        return asset.source is not None and asset.source.is_file()
    # The module's own folder may be a link, as the cache makes them; `assets` in it may not lead elsewhere.
    root = asset.module.resolve() / ASSETS_DIRECTORY
    try:
        stays = _is_relative(asset.filename) and asset.path.resolve().is_relative_to(root)
        exists = stays and asset.path.is_file()
    except DownloadError:  # of another filesystem, which does not answer
        raise
    except (OSError, RuntimeError) as error:  # a name that is too long, or links in a circle
        raise _asset_error(asset) from error
    if not stays:
        raise _asset_error(asset)
    return exists


def _asset_error(asset: AssetSpec) -> FormatError:
    return FormatError(
        f"The asset {asset.filename!r} of {asset.module} points out of the folder {ASSETS_DIRECTORY!r}",
        expected=f"a path relative to {ASSETS_DIRECTORY} in {asset.module} that stays in it",
        received=repr(asset.filename),
        fix="Do not use this module unless you know who made it",
    )


def _is_relative(filename: str) -> bool:
    # By the rules of both systems: a module that is harmless on one must not be an attack on the other.
    posix, windows = PurePosixPath(filename), PureWindowsPath(filename)
    anchored = bool(posix.anchor or windows.anchor)
    return bool(filename) and "\0" not in filename and not anchored and ".." not in (*posix.parts, *windows.parts)
