"""Which nodes of a graph hold state: variables, tables and other resources that outlive a call."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from hubkeras.graphs.op_registry import op_def
from hubkeras.savedmodel.graph_index import RESOURCE_VARIABLE_OPS, VARIABLE_OPS, attribute
from hubkeras.savedmodel.protos import dtypes

_STATIC_TABLES = frozenset({"HashTable", "HashTableV2"})
_TABLES = _STATIC_TABLES | {
    name + version
    for name in ("MutableHashTable", "MutableHashTableOfTensors", "MutableDenseHashTable")
    for version in ("", "V2")
}


def is_state(node: Any) -> bool:
    """Tells whether a node is a variable, a table or another resource that outlives a call."""
    if node.op in VARIABLE_OPS:
        return True
    return op_def(node.op) is not None and _makes_resource(node.op)


@cache
def _makes_resource(op: str) -> bool:
    definition: Any = op_def(op)
    # A rule and not a list, as resources of many kinds exist: tables, iterators, summary writers, of add-ons too.
    makes_one = definition.is_stateful and not definition.input_arg and len(definition.output_arg) == 1
    return makes_one and (definition.output_arg[0].type == dtypes.DT_RESOURCE or definition.output_arg[0].is_ref)


def gives_reference(op: str) -> bool:
    """Tells whether an op that holds state gives a reference, as the variables of TensorFlow 1 do."""
    definition = op_def(op)
    return definition is not None and definition.output_arg[0].is_ref


def is_static_table(node: Any) -> bool:
    """Tells whether a node is a table that nothing changes once it is filled."""
    return node.op in _STATIC_TABLES


class ResourceKey(NamedTuple):
    """What TensorFlow finds a resource by: a table and a variable of one name are two things."""

    kind: str
    container: str
    name: str


def resource_key(node: Any) -> ResourceKey | None:
    """Returns what the state of a node is found by, None if it is found by no other node."""
    name = attribute(node, "shared_name").s or (node.name.encode() if _goes_by_its_name(node) else b"")
    if not name:
        return None
    # HashTable and HashTableV2 of one name are one table: TensorFlow finds it by its class, not by the op.
    kind = "table" if node.op in _TABLES else node.op
    return ResourceKey(kind, _text(attribute(node, "container").s), _text(name))


def _goes_by_its_name(node: Any) -> bool:
    """Tells whether a node without a `shared_name` shares its state under its own name."""
    return node.op in VARIABLE_OPS - RESOURCE_VARIABLE_OPS or attribute(node, "use_node_name_sharing").b


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
