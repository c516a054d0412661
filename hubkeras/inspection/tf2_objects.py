"""What the objects of a TF2 SavedModel say about themselves, without being made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.inspection.summary import VariableSummary
from hubkeras.savedmodel.graph_index import dtype_name, shape_tuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_CALL = "__call__"
_LOSSES = "regularization_losses"


def read_variables(meta_graph: Any) -> Iterator[VariableSummary]:
    """Yields the variables, under the names that they gave themselves, else under their place among the objects."""
    places = _places(meta_graph.object_graph_def.nodes)
    for number, node in enumerate(meta_graph.object_graph_def.nodes):
        if node.WhichOneof("kind") != "variable" or number not in places:
            continue
        shape = shape_tuple(node.variable.shape)
        known = tuple(size or 0 for size in shape or ())
        name = node.variable.name or places[number]
        yield VariableSummary(name, dtype_name(node.variable.dtype), known, node.variable.trainable)


def regularization_losses(meta_graph: Any) -> tuple[str, ...]:
    """Returns the names of the functions that the object lists as its regularization losses."""
    nodes = meta_graph.object_graph_def.nodes
    children = _children(nodes, 0)
    listed = _children(nodes, children[_LOSSES]) if _LOSSES in children else {}
    return tuple(f"{_LOSSES}/{name}" for name in listed if name.isdecimal())


def call_signature(meta_graph: Any) -> tuple[Any, Any] | None:
    """Returns what the object's own call takes and gives, None if it cannot be called.

    Returns:
        Two `StructuredValue`s of one of its concrete functions: positional and keyword arguments, and what it returns.
    """
    graph = meta_graph.object_graph_def
    number = _children(graph.nodes, 0).get(_CALL)
    if number is None or graph.nodes[number].WhichOneof("kind") != "function":
        return None
    for name in graph.nodes[number].function.concrete_functions:
        if name in graph.concrete_functions:
            function = graph.concrete_functions[name]
            return function.canonicalized_input_signature, function.output_signature
    return None


def _children(nodes: Any, number: int) -> dict[str, int]:
    children = nodes[number].children if number < len(nodes) else ()
    return {child.local_name: child.node_id for child in children if 0 <= child.node_id < len(nodes)}


def _places(nodes: Any) -> dict[int, str]:
    """Returns the path from the first object to each one that it leads to, the shortest one."""
    places = {0: ""}
    pending = [0]
    for number in pending:
        for name, child in _children(nodes, number).items():
            if child not in places:
                places[child] = f"{places[number]}/{name}".lstrip("/")
                pending.append(child)
    return places
