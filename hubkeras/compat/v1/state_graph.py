"""The state of a module in a graph: its variables and tables, and all else that the module's own graph holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.compat.v1.meta_graphs import asset_tensors, prepare, state_nodes
from hubkeras.errors import FormatError
from hubkeras.functions.importing import import_whole_graph
from hubkeras.graphs.lost_gradients import find_lost_gradients

if TYPE_CHECKING:
    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import GraphVariant, ModuleDescription

_KEYS = tf.compat.v1.GraphKeys
_COLLECTIONS = (
    *(_KEYS.GLOBAL_VARIABLES, _KEYS.MODEL_VARIABLES, _KEYS.TABLE_INITIALIZERS, _KEYS.ASSET_FILEPATHS),
    *(_KEYS.COND_CONTEXT, _KEYS.WHILE_CONTEXT),
)
_TRAINABLE_COLLECTIONS = (_KEYS.TRAINABLE_VARIABLES, _KEYS.REGULARIZATION_LOSSES)

VariableMap = dict[str, Any]


class StateGraph:
    """The graph of a module, imported once: what holds state in it serves every application of the module.

    Args:
        description: The module.
        variant: Its graph variant.
        name: A free name scope below the current one.
        trainable: Whether the collections that training needs are filled.
        policy: What the graph may do.

    Raises:
        FormatError: The graph is malformed.
        UnsafeModuleError: It holds ops that nobody allowed.
    """

    def __init__(
        self, description: ModuleDescription, variant: GraphVariant, name: str, trainable: bool, policy: OpPolicy
    ) -> None:
        graph = tf.compat.v1.get_default_graph()
        scope = graph.unique_name(name, mark_as_used=False)
        collections = _COLLECTIONS + (_TRAINABLE_COLLECTIONS if trainable else ())
        meta_graph = prepare(variant, collections, scope, policy)
        import_whole_graph(
            meta_graph,
            {},
            name,
            policy=policy,
            purpose=f"module {description.label}",
            assets=asset_tensors(variant),
            lost=find_lost_gradients(meta_graph.graph_def.node) if description.path else (),
        )
        self.tensors = {
            f"{node.name}:0": _only_output(graph, scope, node) for node in state_nodes(meta_graph.graph_def)
        }
        """What stands for state, by the names in the module."""
        self.variable_map = _variable_map(variant, scope)
        """Variables, or lists of the parts of one, by the names in the module."""
        if self.variable_map and description.checkpoint is not None:
            tf.compat.v1.train.init_from_checkpoint(str(description.checkpoint), self.variable_map)
        self._saver: Any = None
        if self.variable_map:
            version = tf.compat.v1.train.SaverDef.V2
            self._saver = tf.compat.v1.train.Saver(self.variable_map, sharded=True, write_version=version)

    def save_variables(self, prefix: str, session: tf.compat.v1.Session) -> None:
        """Writes a checkpoint with the values that a session has."""
        if self._saver is not None:
            Path(prefix).parent.mkdir()
            self._saver.save(session, prefix, write_meta_graph=False, write_state=False)


def _only_output(graph: tf.Graph, scope: str, node: Any) -> tf.Tensor:
    operation = graph.get_operation_by_name(f"{scope}/{node.name}")
    if len(operation.outputs) != 1:
        raise FormatError(
            f"Cannot use node {node.name!r}: stateful op {node.op} has {len(operation.outputs)} outputs",
            expected="one output of each op that holds state",
            received=f"{len(operation.outputs)}",
        )
    return operation.outputs[0]


def _variable_map(variant: GraphVariant, scope: str) -> VariableMap:
    """Returns the variables below a scope by their names in the module, the parts of a partitioned one as a list."""
    found: VariableMap = {}
    offsets: dict[str, dict[tuple[int, ...], Any]] = {}
    for variable in tf.compat.v1.global_variables(f"{re.escape(scope)}/"):
        name = variable.op.name[len(scope) + 1 :]
        spec = variant.variables.get(name)
        if spec is None or spec.partition is None:
            found[name] = variable
        else:
            whole = name.rpartition("/")[0]
            offsets.setdefault(whole, {})[spec.partition.offset] = variable
            found[whole] = [part for _, part in sorted(offsets[whole].items())]
    return found
