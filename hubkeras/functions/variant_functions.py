"""The functions of one graph variant, each built when it is first called."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError, SignatureError
from hubkeras.functions.bound_subgraph import BoundSubgraph
from hubkeras.functions.build_lock import BUILDING
from hubkeras.functions.building import build
from hubkeras.functions.resources import Table, run_with_tables
from hubkeras.functions.state import replica
from hubkeras.functions.tensor_info import flatten_all, pack_all, parse_infos
from hubkeras.graphs.cutting import VariantGraph
from hubkeras.graphs.state_nodes import is_static_table, resource_key
from hubkeras.savedmodel.graph_index import VARIABLE_OPS
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hubkeras.functions.bound_subgraph import DrawSeed
    from hubkeras.functions.state import State
    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.graphs.subgraph import Subgraph
    from hubkeras.savedmodel.description import GraphVariant, SignatureSpec


class SignatureFunction:
    """Some outputs of one signature as a function of its inputs, which may run the variant's update ops as well."""

    def __init__(
        self, variant: VariantFunctions, signature: SignatureSpec, outputs: Sequence[str], update: bool
    ) -> None:
        self.inputs, wanted = variant.inputs(signature.name), frozenset(outputs)
        self.outputs = parse_infos({name: info for name, info in signature.outputs.items() if name in wanted})
        feeds, fetches = signature.input_tensors, signature.output_tensors(wanted)
        specs = [s for info in self.inputs.values() for s in info.component_specs]
        targets = variant.graph.runnable(variant.graph.variant.update_ops, feeds) if update else []
        self.bound = BoundSubgraph(variant, f"signature {signature.name!r}", fetches, feeds, specs, targets)

    def __call__(
        self,
        inputs: Mapping[str, Any],
        watch: bool = True,
        gradients: bool = True,
        draw_seed: DrawSeed | None = None,
    ) -> dict[str, Any]:
        """Computes the outputs by name, of converted values by name; the rest is as in a call of the subgraph."""
        return pack_all(self.outputs, self.bound(flatten_all(self.inputs, inputs), watch, gradients, draw_seed))

    def call_to_save(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Computes the outputs while a SavedModel is traced, which the gradients are to travel with."""
        return pack_all(self.outputs, self.bound.call_to_save(flatten_all(self.inputs, inputs)))


class VariantFunctions:
    """All that one graph variant can compute, over the state of its module.

    Args:
        variant: The variant.
        state: The module's state.
        module: What the module is called in messages.
        policy: What its graphs may do.
    """

    def __init__(self, variant: GraphVariant, state: State, module: str, policy: OpPolicy) -> None:
        self.graph, self.state, self.policy = VariantGraph(variant, module, policy), state, policy
        self._signatures: dict[tuple[str, tuple[str, ...], bool], SignatureFunction] = {}
        self._inputs: dict[str, dict[str, ParsedTensorInfo]] = {}

    @property
    def tags(self) -> frozenset[str]:
        """The tags of the variant."""
        return self.graph.variant.tags

    def signature(self, name: str) -> SignatureSpec:
        """Returns a signature.

        Raises:
            SignatureError: There is none of this name.
        """
        signatures = self.graph.variant.signatures
        if name not in signatures:
            raise SignatureError(
                f"Signature {name!r} is missing from module {self.graph.module}",
                expected=f"one of {sorted(signatures)} in the graph variant with tags {sorted(self.tags)}",
                received=repr(name),
            )
        return signatures[name]

    def inputs(self, name: str) -> dict[str, ParsedTensorInfo]:
        """Returns what a signature says about its inputs, by name.

        Raises:
            SignatureError: There is none of this name.
        """
        if name not in self._inputs:
            self._inputs[name] = parse_infos(self.signature(name).inputs)
        return self._inputs[name]

    def function(self, name: str, outputs: Sequence[str] | None = None, update: bool = False) -> SignatureFunction:
        """Returns the function of a signature, the same one each time.

        Args:
            name: Name of the signature.
            outputs: Names of the outputs to compute, None for all.
            update: Whether update ops run with it.
        """
        signature = self.signature(name)
        chosen = tuple(signature.outputs if outputs is None else outputs)
        # Without update ops, training and inference are one function: it is built once.
        key = (name, chosen, update and bool(self.graph.variant.update_ops))
        if key not in self._signatures:
            with BUILDING:
                made = SignatureFunction(self, signature, chosen, key[2])
                self._signatures.setdefault(key, made)  # another thread may have been first
        return self._signatures[key]

    def reached(self, name: str, outputs: Sequence[str] | None = None) -> set[str]:
        """Returns the names of the variables that a signature's outputs reach."""
        signature = self.signature(name)
        return self.graph.reached(signature.output_tensors(outputs), frozenset(signature.input_tensors))

    def is_random(self, name: str, outputs: Sequence[str] | None = None) -> bool:
        """Tells whether a signature's outputs draw at random without a seed of their own."""
        signature = self.signature(name)
        return self.graph.is_random(signature.output_tensors(outputs), frozenset(signature.input_tensors))

    @cached_property
    def regularization_losses(self) -> list[BoundSubgraph]:
        """Functions without inputs, one for each regularization loss."""
        losses = self.graph.variant.regularization_losses
        return [BoundSubgraph(self, f"regularization loss {name!r}", [name]) for name in losses]

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
        parts = [*(resource_key(node) or [name]), *(sorted(self.tags) if is_static_table(node) else ())]
        return self.state.table(
            "|".join(parts), name, lambda: Table(node, purpose, self.policy, lambda handle: self._fill(name, handle))
        )

    def _fill(self, table: str, handle: tf.Tensor) -> list[tf.saved_model.Asset]:
        """Runs the initializers of a table.

        Returns:
            The assets that they read.
        """
        # Not by name: an initializer names its table through any number of Identities and calls that were written out.
        targets = [op for op in self.graph.table_initializers if self._initialized_by(op) == table]
        if not targets:
            return []
        bound = BoundSubgraph(self, f"the initializer of table {table!r}", [], targets=targets)
        names = bound.graph.state
        assets = {n: self.state.asset(self.graph.assets[n]) for n in names if n in self.graph.assets}
        known = {table: handle} | {name: asset.asset_path for name, asset in assets.items()}
        state = [known[name] if name in known else self.handle(name) for name in names]
        filled = build(bound.graph, state, [])(*state)
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
