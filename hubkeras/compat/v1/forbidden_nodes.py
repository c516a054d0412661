"""Nodes that are not allowed and that a module does not need, taken out of a graph that is imported as a whole.

Such are the saver of a SavedModel, and what read the checkpoint of a module that was used to make another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.graphs.control_flow import ContextTree, with_pivots
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.gate import find_forbidden_nodes
from hubkeras.graphs.op_registry import op_def
from hubkeras.graphs.subgraph import consumers_of
from hubkeras.savedmodel.collection_defs import byte_values, node_names
from hubkeras.savedmodel.protos import AttrValue, NodeDef, VariableDef, dtypes, parse
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import GraphVariant

_NODE_COLLECTIONS = ("table_initializer", "update_ops", "regularization_losses", "asset_filepaths")
_VARIABLE_COLLECTIONS = ("variables", "trainable_variables", "model_variables")


def leave_out_forbidden(graph_def: Any, variant: GraphVariant, policy: OpPolicy, assets: Collection[str]) -> None:
    """Removes what is not allowed from a graph as far as nothing in the module needs it; the gate refuses the rest.

    Where the initializer of a variable needs such a node, and the variable has its value from the checkpoint, a
    placeholder stands in for the node: TensorFlow wants the initializer to be there, and nobody runs it.

    Args:
        graph_def: The `GraphDef`, changed in place.
        variant: The graph variant that it is a copy of.
        policy: What the user lets it do.
        assets: Full names of the tensors that hold the path of an asset.
    """
    library = FunctionLibrary.of(graph_def.library)
    forbidden = find_forbidden_nodes(graph_def.node, library, policy, assets)
    if not forbidden:
        return
    unneeded = forbidden - _needed(variant, with_initializers=False)
    initializing = unneeded & _needed(variant, with_initializers=True)
    replaced = {name for name in initializing if _placeholder_for(variant.nodes[name]) is not None}
    removed = unneeded - replaced
    pending, users = list(removed), consumers_of(graph_def.node)
    while pending:
        more = users.get(pending.pop(), {}).keys() - removed
        removed |= more
        pending += more
    kept = [_placeholder_for(n) if n.name in replaced else n for n in graph_def.node if n.name not in removed]
    functions = library.only(library.reachable(kept)).to_proto()
    del graph_def.node[:]
    graph_def.node.extend(kept)
    graph_def.library.CopyFrom(functions)


def _placeholder_for(node: Any) -> Any | None:
    """Returns a placeholder in place of a node with one output, None for another node."""
    outputs = getattr(op_def(node.op), "output_arg", ())
    if len(outputs) != 1:
        return None
    lists = outputs[0].type_list_attr
    kinds = list(node.attr[lists].list.type) if lists else [_output_dtype(node, outputs[0])]
    if len(kinds) != 1 or kinds[0] == dtypes.DT_INVALID or outputs[0].number_attr:
        return None
    return NodeDef(name=node.name, op="Placeholder", attr={"dtype": AttrValue(type=kinds[0])})


def _output_dtype(node: Any, output: Any) -> Any:
    return node.attr[output.type_attr].type if output.type_attr else output.type


def _needed(variant: GraphVariant, with_initializers: bool) -> set[str]:
    """Returns the names of the nodes that signatures, collections and variables need.

    Args:
        variant: The graph variant.
        with_initializers: Whether variables need initializers whose values are not used.
    """
    roots = [
        t for s in variant.signatures.values() for i in (*s.inputs.values(), *s.outputs.values()) for t in i.tensors
    ]
    for collection in _NODE_COLLECTIONS:
        roots += [f"^{Ref.parse(name).node}" for name in node_names(variant.meta_graph, collection)]
    for collection in _VARIABLE_COLLECTIONS:
        for item in byte_values(variant.meta_graph, collection):
            proto = parse(VariableDef, item, f"the collection {collection}")
            roots += _ops([proto.variable_name, proto.snapshot_name])
            spec = variant.variables.get(Ref.parse(proto.variable_name).node)
            if with_initializers or spec is None or not spec.in_checkpoint:
                roots += _ops([proto.initializer_name, proto.initial_value_name])
    nodes = {node.name: node for node in prune(variant.nodes, roots).nodes}
    return set(with_pivots(nodes, variant.nodes, ContextTree.of(variant.meta_graph), ()))


def _ops(names: Iterable[str]) -> Iterator[str]:
    return (f"^{Ref.parse(name).node}" for name in names if name)
