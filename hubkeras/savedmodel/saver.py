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
    """Returns which keys of the checkpoint the saver of a MetaGraph restores, by name of the variable's op.

    Nothing is restored by it: only the names that its `RestoreV2` nodes list are looked up. None stands for no saver,
    or one that restores nothing in a known way.
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
    # `visited`, as a malformed graph may lead in a circle.
    while value.node in graph.nodes and value.node not in visited:
        visited.add(value.node)
        node = graph.nodes[value.node]
        inputs = data_inputs(node)
        if node.op == "RestoreV2":
            names = constant_strings(graph.nodes.get(inputs[1].node)) if len(inputs) > 1 else None
            position = value.index or 0
            return names[position] if names and position < len(names) else None
        if not inputs:
            return None
        value = inputs[0]
    return None
