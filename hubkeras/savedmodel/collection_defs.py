"""Reads the collections of a MetaGraph that name nodes or carry messages."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hubkeras.savedmodel.protos import ModuleAttachment, parse
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.refs import Ref
from hubkeras.savedmodel.signatures import INIT_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hubkeras.savedmodel.graph_index import Graph

TABLE_INITIALIZERS = "table_initializer"
_UPDATE_OPS = "update_ops"
_REGULARIZATION_LOSSES = "regularization_losses"
ATTACHMENTS = "hub_module_attachments"
ASSET_FILEPATHS = "asset_filepaths"
"""Names the string constants that hold the path of an asset."""
SAVED_MODEL_ASSETS = "saved_model_assets"
"""Says which of them holds the path of which file."""
_INIT_OPS = ("saved_model_main_op", "legacy_init_op")
HUB_COLLECTIONS = frozenset(
    {
        *("variables", "trainable_variables", "model_variables", TABLE_INITIALIZERS, _UPDATE_OPS),
        *(_REGULARIZATION_LOSSES, "cond_context", "while_context", ATTACHMENTS, ASSET_FILEPATHS, SAVED_MODEL_ASSETS),
    }
)
"""The collections that a module in TF1 Hub format may have."""
_GROUPS = ("NoOp", "IdentityN")
"""Ops that only wait for others; the second one stands for the call of a function that was written out."""
_TABLE_INITIALIZER_PREFIXES = ("InitializeTable", "LookupTableImport")


def is_table_initializer(op: str) -> bool:
    """Tells whether an op type fills a table, as "InitializeTableV2" does."""
    return op.startswith(_TABLE_INITIALIZER_PREFIXES)


def read_update_ops(meta_graph: Any) -> tuple[str, ...]:
    """Returns the names of the ops in the collection UPDATE_OPS, each once."""
    return tuple(dict.fromkeys(Ref.parse(name).node for name in node_names(meta_graph, _UPDATE_OPS)))


def read_regularization_losses(meta_graph: Any) -> tuple[str, ...]:
    """Returns the names of the tensors in the collection REGULARIZATION_LOSSES; one that stands twice counts twice."""
    return tuple(Ref.parse(name).tensor for name in node_names(meta_graph, _REGULARIZATION_LOSSES))


def read_table_initializers(meta_graph: Any, graph: Graph, *, with_init_op: bool) -> tuple[str, ...]:
    """Finds the ops that fill tables, among those that are to run when the graph is loaded.

    What else stands there is left out: it never runs. The look before a load judges it nevertheless.

    Args:
        meta_graph: The `MetaGraphDef`.
        graph: Its nodes.
        with_init_op: Whether to look behind the initializer op of a SavedModel, as a TF1 SavedModel asks for.

    Returns:
        Names of ops, each once.
    """
    found = dict.fromkeys(_grouped_initializers(graph, node_names(meta_graph, TABLE_INITIALIZERS)))
    if with_init_op:
        for node in prune(graph.nodes, [f"^{op}" for op in init_ops(meta_graph)]).nodes:
            if is_table_initializer(node.op):
                found[node.name] = None
    return tuple(found)


def init_ops(meta_graph: Any) -> tuple[str, ...]:
    """Returns the names of the ops that a SavedModel asks to be run when it is loaded; TF1 Hub format has none."""
    names = [Ref.parse(name).node for collection in _INIT_OPS for name in node_names(meta_graph, collection)]
    # Newer builders of SavedModels write the op here, older ones into a collection.
    if INIT_SIGNATURE in meta_graph.signature_def:
        names += [Ref.parse(info.name).node for info in meta_graph.signature_def[INIT_SIGNATURE].outputs.values()]
    return tuple(names)


def read_attachments(meta_graph: Any) -> Mapping[str, bytes]:
    """Returns the serialised messages attached to a graph variant by key; the last one of a key counts.

    Raises:
        CorruptFileError: An entry is no `ModuleAttachment`.
    """
    attachments = {}
    for item in byte_values(meta_graph, ATTACHMENTS):
        attachment = parse(ModuleAttachment, item, f"the collection {ATTACHMENTS}")
        attachments[attachment.key] = attachment.value
    return MappingProxyType(attachments)


def node_names(meta_graph: Any, collection: str) -> list[str]:
    """Returns the names that a collection lists, also where they were written as bytes; none without the collection."""
    if collection not in meta_graph.collection_def:
        return []
    proto = meta_graph.collection_def[collection]
    # Names that a program put there as texts come as bytes; a collection has one kind of list.
    return list(proto.node_list.value) or [item.decode("utf-8", "replace") for item in proto.bytes_list.value]


def byte_values(meta_graph: Any, collection: str) -> list[bytes]:
    """Returns the serialised messages that a collection lists; none without the collection."""
    if collection not in meta_graph.collection_def:
        return []
    return list(meta_graph.collection_def[collection].bytes_list.value)


def _grouped_initializers(graph: Graph, names: list[str]) -> Iterator[str]:
    """Yields the table initializers among ops, and those that groups of them depend on."""
    pending = [Ref.parse(name).node for name in reversed(names)]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        node = graph.nodes.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if is_table_initializer(node.op):
            yield name
        # Only groups are looked behind: whatever else an initializer hangs on would be run as well.
        elif node.op in _GROUPS:
            pending.extend(Ref.parse(reference).node for reference in reversed(node.input))
