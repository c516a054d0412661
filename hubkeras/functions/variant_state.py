"""What stands behind the state nodes of one graph variant: variables, tables and paths of assets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from hubkeras.errors import FormatError
from hubkeras.functions.building import build
from hubkeras.functions.resources import Table, run_with_tables
from hubkeras.functions.state import replica
from hubkeras.graphs.cutting import VariantGraph
from hubkeras.graphs.state_nodes import is_static_table, resource_key
from hubkeras.savedmodel.graph_index import VARIABLE_OPS
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from hubkeras.functions.state import State
    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.graphs.subgraph import Subgraph
    from hubkeras.savedmodel.description import GraphVariant


class VariantState:
    """The graph of one variant, over the state of its module; tables are made and filled when they are first used.

    Args:
        variant: The variant.
        state: The module's state.
        module: What the module is called in messages.
        policy: What its graphs may do.
    """

    def __init__(self, variant: GraphVariant, state: State, module: str, policy: OpPolicy) -> None:
        self.graph, self.state, self.policy = VariantGraph(variant, module, policy), state, policy

    def variables(self, graph: Subgraph) -> dict[int, tf.Variable]:
        """Returns the variables among a subgraph's state, by position."""
        found = ((i, self._variable(name)) for i, name in enumerate(graph.state))
        return {i: variable for i, variable in found if variable is not None}

    def _variable(self, name: str) -> tf.Variable | None:
        # A table may have the name of a variable of another variant.
        return self.state.by_name.get(name) if self.graph.nodes[name].op in VARIABLE_OPS else None

    def handles(self, graph: Subgraph) -> list[tf.Tensor]:
        """Returns a subgraph's state as it is passed to its function: handles, and paths of assets."""
        return [self.handle(name) for name in graph.state]

    def handle(self, name: str) -> tf.Tensor:
        """Returns the state behind a node of a subgraph: a handle, or the path of an asset."""
        variable = self._variable(name)
        if variable is not None:
            return replica(variable).handle
        if name in self.graph.assets:
            return self.state.path(self.graph.assets[name])
        node = self.graph.nodes[name]
        if node.op in VARIABLE_OPS:
            raise FormatError(
                f"Cannot use module {self.graph.module}: variable {name!r} has no value",
                expected="a value in the checkpoint, or an initializer",
                received="neither",
                fix="The module is damaged, or was written by a broken exporter",
            )
        purpose = f"table {name!r} of module {self.graph.module}"
        # Another variant may fill a table of this name with other words; what a graph itself writes, all of them see.
        parts = [*(resource_key(node) or [name]), *(sorted(self.graph.variant.tags) if is_static_table(node) else ())]
        return self.state.table(
            "|".join(parts), name, lambda: Table(node, purpose, self.policy, lambda handle: self._fill(name, handle))
        )

    def _fill(self, table: str, handle: tf.Tensor) -> list[tf.saved_model.Asset]:
        """Runs the initializers of a table, and returns the assets that they read."""
        # Not by name: an initializer names its table through any number of Identities and calls that were written out.
        targets = [op for op in self.graph.table_initializers if self._initialized_by(op) == table]
        if not targets:
            return []
        graph = self.graph.cut([], targets=targets, what=f"the initializer of table {table!r}")
        assets = {n: self.state.asset(self.graph.assets[n]) for n in graph.state if n in self.graph.assets}
        known = {table: handle} | {name: asset.asset_path for name, asset in assets.items()}
        state = [known[name] if name in known else self.handle(name) for name in graph.state]
        filled = build(graph, state, [])(*state)
        if not tf.executing_eagerly():
            run_with_tables(*(tensor.op for tensor in filled))
        return list(assets.values())

    def _initialized_by(self, op: str) -> str:
        """Returns the state node that a table initializer fills."""
        nodes, path = self.graph.nodes, [op]
        source = Ref(op, 0)
        while source.node in nodes and nodes[source.node].input:
            node = nodes[source.node]
            # What stands for the call of a function has as many inputs as it returns.
            source = Ref.parse(node.input[(source.index or 0) if node.op == "IdentityN" else 0])
            if source.node in path:
                raise FormatError(
                    f"Cannot tell which table {op!r} of module {self.graph.module} fills",
                    expected="an initializer whose first input is a table",
                    received=f"node {source.node!r}, which is an input of itself",
                    fix="The module is damaged, or was made to do harm",
                )
            path.append(source.node)
        return self.graph.state_of(path[-1])
