"""One application of a signature: the module's graph once more, over the state that is there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.compat.v1 import colocation
from hubkeras.compat.v1.meta_graphs import asset_tensors, prepare, state_nodes
from hubkeras.compat.v1.scopes import free_name_scope
from hubkeras.errors import UnsupportedError
from hubkeras.functions.importing import import_whole_graph
from hubkeras.functions.tensor_info import flatten_all, parse_infos
from hubkeras.graphs.lost_gradients import find_lost_gradients
from hubkeras.graphs.tensorflow_internals import control_flow_context
from hubkeras.savedmodel.protos import dtypes
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import GraphVariant, ModuleDescription, SignatureSpec

_KEYS = tf.compat.v1.GraphKeys
_COLLECTIONS = (_KEYS.ASSET_FILEPATHS, _KEYS.COND_CONTEXT, _KEYS.WHILE_CONTEXT)
_log = logging.getLogger("hubkeras")


def in_tpu_function(graph: tf.Graph) -> bool:
    """Tells whether a graph is a function's that is replicated on a TPU: all its ops run, over state from outside."""
    context = control_flow_context(graph)
    return graph.building_function and type(context).__name__.endswith("TPUReplicateContext")


def apply(
    description: ModuleDescription,
    variant: GraphVariant,
    signature: SignatureSpec,
    inputs: Mapping[str, Any],
    infos: Mapping[str, ParsedTensorInfo],
    state: Mapping[str, tf.Tensor],
    *,
    name: str,
    trainable: bool,
    policy: OpPolicy,
) -> dict[str, Any]:
    """Adds the ops of a signature to the graph that is being built.

    Args:
        description: The module.
        variant: Its graph variant.
        signature: The signature.
        inputs: Converted inputs by name.
        infos: What the signature says about them.
        state: What stands for state, by the names of tensors in the module.
        name: What the scope of the ops is to be called.
        trainable: Whether update ops are added to their collection.
        policy: What the graph may do.

    Returns:
        All outputs by name.

    Raises:
        FormatError: The graph is malformed.
        UnsafeModuleError: It holds ops that nobody allowed.
        PlacementError: Inputs are tied to devices in ways that contradict each other.
    """
    graph = tf.compat.v1.get_default_graph()
    on_tpu = in_tpu_function(graph)
    if graph.building_function and not on_tpu:
        _log.warning(
            "A module in TF1 Hub format is applied in the function %r. All of its ops run there unless the function "
            "is pruned, as those of tf.compat.v1.wrap_function are.",
            graph.name,
        )
    scope, relative = free_name_scope(name)
    collections = (*_COLLECTIONS, _KEYS.UPDATE_OPS) if trainable else _COLLECTIONS
    meta_graph = prepare(variant, collections, scope, policy)
    feeds = [tensor for info in infos.values() for tensor in info.description.tensors]
    fed = dict(zip(feeds, flatten_all(infos, inputs), strict=True))
    outside = {**state, **fed}
    if on_tpu:
        _leave_out_unneeded(meta_graph, signature)
        left = {node.name for node in meta_graph.graph_def.node}
        captured = {name: graph.capture(tensor) for name, tensor in state.items()}
        outside = {name: t for name, t in {**captured, **fed}.items() if Ref.parse(name).node in left}
    _forget_state(meta_graph.graph_def, state)
    context = control_flow_context(graph)
    if context is not None:  # so that they are seen inside of a loop or a branch
        outside = {key: context.AddValue(value) for key, value in sorted(outside.items())}
    import_whole_graph(
        meta_graph,
        outside,
        relative,
        policy=policy,
        purpose=f"signature {signature.name!r} of module {description.label}",
        assets=asset_tensors(variant),
        lost=find_lost_gradients(meta_graph.graph_def.node) if description.path else (),
    )
    colocation.rewrite(meta_graph.graph_def.node, outside, scope)
    known = {**outside, **fed}
    return {
        name: _pack(info, [_tensor(graph, known, scope, t) for t in info.description.tensors])
        for name, info in parse_infos(signature.outputs).items()
    }


def _tensor(graph: tf.Graph, known: Mapping[str, tf.Tensor], scope: str, name: str) -> tf.Tensor:
    return known[name] if name in known else graph.get_tensor_by_name(f"{scope}/{name}")


def _pack(info: ParsedTensorInfo, tensors: list[tf.Tensor]) -> Any:
    """Puts an output together. A dense one may be a tensor of the caller's, which is not to learn a shape here."""
    return info.pack(tensors) if info.is_composite else tensors[0]


def _leave_out_unneeded(meta_graph: Any, signature: SignatureSpec) -> None:
    """Keeps of a graph what a signature needs, for a function in which everything runs."""
    if meta_graph.collection_def:
        raise UnsupportedError(
            "Applying modules with collections inside TPU functions is not supported",
            expected="a module without update ops, assets and v1 control flow",
            received=f"collections {sorted(meta_graph.collection_def)}",
        )
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    wanted = signature.output_tensors()
    needed = {node.name for node in prune(nodes, wanted).nodes}
    kept = [node for name, node in nodes.items() if name in needed or node.op == "VarHandleOp"]
    del meta_graph.graph_def.node[:]
    meta_graph.graph_def.node.extend(kept)


def _forget_state(graph_def: Any, state: Mapping[str, tf.Tensor]) -> None:
    """Makes placeholders of the nodes whose state is elsewhere, so that it is not there twice in an export."""
    for node in state_nodes(graph_def):
        if f"{node.name}:0" in state:
            node.op = "Placeholder"
            for key in set(node.attr) - {"shape"}:
                del node.attr[key]
            node.attr["dtype"].type = dtypes.DT_RESOURCE
