"""Assets of a graph that is being published: paths taken out of it, names in the module put in their place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubkeras.errors import AssetError, PublishingError
from hubkeras.savedmodel.collection_defs import ASSET_FILEPATHS, SAVED_MODEL_ASSETS, node_names
from hubkeras.savedmodel.graph_index import constant_strings
from hubkeras.savedmodel.protos import AssetFileDef
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACEHOLDER = b"SAVEDMODEL-ASSET"
"""What stands in place of a path; readers put in where the file lies then."""


class AssetFiles:
    """The files that the graph variants of one module read, under names that tell them apart."""

    def __init__(self) -> None:
        self.by_name: dict[str, Path] = {}
        """Absolute paths by the name in the module's folder `assets`."""
        self._names: dict[str, str] = {}

    def collect(self, meta_graph: Any) -> None:
        """Replaces the paths in a graph by references to files in the module's folder `assets`.

        Args:
            meta_graph: The `MetaGraphDef`, changed in place.

        Raises:
            AssetError: What the collection ASSET_FILEPATHS names is no constant.
            PublishingError: It is none with a path on this machine.
        """
        nodes = {node.name: node for node in meta_graph.graph_def.node}
        # Sorted, so that the same module has the same bytes; a collection may name a tensor twice.
        for tensor in sorted(dict.fromkeys(node_names(meta_graph, ASSET_FILEPATHS))):
            path = _path(tensor, nodes)
            asset = AssetFileDef(filename=self._name(path))
            asset.tensor_info.name = tensor
            meta_graph.collection_def[SAVED_MODEL_ASSETS].any_list.value.add().Pack(asset)
            nodes[Ref.parse(tensor).node].attr["value"].tensor.string_val[0] = _PLACEHOLDER

    def _name(self, path: str) -> str:
        """Returns the name of a file in the module: its own, with a number where another file has that."""
        if path not in self._names:
            base, number = Path(path).name, 0
            name = base
            while name in self.by_name:
                name, number = f"{base}{number}", number + 1
            self._names[path] = name
            self.by_name[name] = Path(path).absolute()
        return self._names[path]


def _path(tensor: str, nodes: Mapping[str, Any]) -> str:
    ref = Ref.parse(tensor)
    texts = constant_strings(nodes.get(ref.node)) or ()
    # The path is taken out of the graph, so it has to stand in it: one that is computed cannot be replaced.
    if len(texts) != 1 or not tensor.endswith(":0"):
        node = nodes.get(ref.node)
        raise AssetError(
            f"Cannot publish a module: {tensor!r} in the collection ASSET_FILEPATHS holds no path",
            expected="a constant string scalar, as tf.constant(path) gives it",
            received=f"an op of type {node.op!r}" if node is not None else "no op of this graph",
        )
    path = texts[0]
    if not path or "://" in path or path.endswith(os.sep):
        raise PublishingError(
            f"Cannot publish a module with the asset {path!r}",
            expected="the path of a file on this machine",
            received=repr(path),
            fix="Copy the file here first",
        )
    return path
