"""A graph variant made ready to be imported as a whole, under a scope."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.compat.v1.forbidden_nodes import leave_out_forbidden
from hubkeras.compat.v1.function_names import keep_apart
from hubkeras.errors import FormatError, MissingFileError
from hubkeras.graphs.op_registry import op_def
from hubkeras.savedmodel.assets import find_asset
from hubkeras.savedmodel.graph_index import constant_strings
from hubkeras.savedmodel.protos import MetaGraphDef
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection

    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import GraphVariant

_ANY_CPU = re.compile(r"/(device:)?cpu:(0|\*)", re.IGNORECASE)
"""A device that every machine has."""


def prepare(variant: GraphVariant, collections: Collection[str], scope: str, policy: OpPolicy) -> Any:
    """Copies a graph variant for an import into the graph that is being built.

    Paths of assets are filled in, names of shared resources made those of the scope, functions kept apart from others
    of the same names, devices that not every machine has left to the user. Nodes that are not allowed and that nothing
    in the module needs, such as the saver of a SavedModel, are left out.

    Args:
        variant: The graph variant.
        collections: Keys of the collections to keep.
        scope: Full name of the scope that it will stand under.
        policy: What its ops may do.

    Returns:
        A `MetaGraphDef`.
    """
    meta_graph = MetaGraphDef()
    meta_graph.CopyFrom(variant.meta_graph)
    leave_out_forbidden(meta_graph.graph_def, variant, policy, asset_tensors(variant))
    keep_apart(meta_graph.graph_def, tf.compat.v1.get_default_graph())
    for key in set(meta_graph.collection_def) - set(collections):
        del meta_graph.collection_def[key]
    paths = _asset_paths(variant)
    for node in meta_graph.graph_def.node:
        if not _ANY_CPU.fullmatch(node.device):
            node.device = ""
        if "shared_name" in node.attr and node.attr["shared_name"].s:
            node.attr["shared_name"].s = scope.encode() + b"/" + node.attr["shared_name"].s
        if node.name in paths:
            _set_path(node, paths[node.name])
    return meta_graph


def asset_tensors(variant: GraphVariant) -> set[str]:
    """Returns the full names of the constants that hold the path of an asset."""
    return {Ref.parse(asset.tensor).tensor for asset in variant.assets}


def _asset_paths(variant: GraphVariant) -> dict[str, bytes]:
    for asset in variant.assets:
        with contextlib.suppress(MissingFileError):  # which matters to what reads the file
            find_asset(asset)
    return {Ref.parse(asset.tensor).node: os.fsencode(asset.path) for asset in variant.assets}


def _set_path(node: Any, path: bytes) -> None:
    if len(constant_strings(node) or ()) != 1:
        raise FormatError(
            f"Cannot put the path of an asset into node {node.name!r}",
            expected="a constant string scalar",
            received=f"an op of type {node.op!r}",
            fix="The module is damaged, or was written by a broken exporter",
        )
    node.attr["value"].tensor.string_val[:] = [path]


def state_nodes(graph_def: Any) -> list[Any]:
    """Returns the nodes that hold state: those of stateful ops without inputs, such as variables and tables."""
    ops = {op for op in {node.op for node in graph_def.node} if _holds_state(op)}
    return [node for node in graph_def.node if node.op in ops]


def _holds_state(op: str) -> bool:
    definition = op_def(op)
    return definition is not None and definition.is_stateful and not definition.input_arg
