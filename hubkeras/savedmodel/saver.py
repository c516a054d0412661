"""Follows the restore graph of a SavedModel: under which key of the checkpoint a variable's value lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.savedmodel.graph_index import ASSIGN_OPS, constant_strings, data_inputs
from hubkeras.savedmodel.pruning import prune

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.savedmodel.graph_index import Graph
    from hubkeras.savedmodel.refs import Ref


def read_saver_keys(meta_graph: Any, graph: Graph) -> Mapping[str, str] | None:
    """Reads what the saver of a MetaGraph restores.

    Nothing is restored by it: only the names that its `RestoreV2` nodes list are looked up.

    Args:
        meta_graph: The `MetaGraphDef`.
        graph: Its nodes.

    Returns:
        Keys of the checkpoint by name of the variable's op; None if the MetaGraph has no saver, or one that restores
        nothing in a known way.
    """
    restore_op = meta_graph.saver_def.restore_op_name
    keys = {}
    for node in prune(graph.nodes, [f"^{restore_op}"] if restore_op else []).nodes:
        inputs = data_inputs(node)
        # A saver restores by assignments: the second input leads to the RestoreV2 that reads the value.
        if node.op in ASSIGN_OPS and len(inputs) > 1:
            key = _restored_key(graph, inputs[1])
            if key is not None:
                keys[inputs[0].node] = key
    return keys or None


def _restored_key(graph: Graph, value: Ref) -> str | None:
    """Returns the name that `RestoreV2` reads for a value, looking through the casts and reshapes of a saver."""
    visited = set()
    node = graph.nodes.get(value.node)
    # `visited`, as a malformed graph may lead in a circle.
    while node is not None and node.op != "RestoreV2" and node.name not in visited:
        visited.add(node.name)
        inputs = data_inputs(node)
        if not inputs:
            return None
        value = inputs[0]
        node = graph.nodes.get(value.node)
    if node is None or node.op != "RestoreV2":
        return None
    inputs = data_inputs(node)
    names = constant_strings(graph.nodes.get(inputs[1].node)) if len(inputs) > 1 else None
    position = value.index or 0
    return names[position] if names and position < len(names) else None
