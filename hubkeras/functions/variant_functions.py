"""The functions of one graph variant, each built when it is first called."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError, SignatureError, UnsupportedError
from hubkeras.functions.building import build
from hubkeras.functions.importing import gradient_errors
from hubkeras.functions.open_calls import opened_calls
from hubkeras.functions.replayed_gradients import build_replayed
from hubkeras.functions.resources import Table, run_with_tables
from hubkeras.functions.saved_gradients import run_with_saved_gradients
from hubkeras.functions.state import is_distributed, replica
from hubkeras.functions.tensor_info import flatten_all, input_infos, output_infos, pack_all
from hubkeras.graphs import tensorflow_internals
from hubkeras.graphs.cutting import VariantGraph
from hubkeras.graphs.random_seeds import draw_from_seed, is_random, seed_attributes
from hubkeras.graphs.state_nodes import is_static_table, resource_key
from hubkeras.graphs.subgraph import FunctionContexts
from hubkeras.graphs.tensorflow_internals import BUILDING, call_flat, note_access, note_frozen_access, xla_compiles
from hubkeras.savedmodel.graph_index import VARIABLE_OPS
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hubkeras.functions.state import State
    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.graphs.subgraph import Subgraph
    from hubkeras.savedmodel.description import GraphVariant, SignatureSpec

    DrawSeed = Callable[[], tf.Tensor]

_LOOPS = frozenset({"While", "StatelessWhile"})


class BoundSubgraph:
    """A subgraph with the state of a module.

    Args:
        variant: The functions it belongs to.
        what: For messages, what it is.
        fetches: Names of the tensors it gives.
        feeds: Full names of the tensors it is fed.
        specs: Specifications of these.
        targets: Names of ops that run as well.
    """

    def __init__(
        self,
        variant: VariantFunctions,
        what: str,
        fetches: Sequence[str],
        feeds: Sequence[str] = (),
        specs: Sequence[tf.TensorSpec] = (),
        targets: Sequence[str] = (),
    ) -> None:
        self._variant, self._specs = variant, list(specs)
        graph = variant.graph
        self.graph = graph.cut(fetches, feeds, targets, what)
        self._seeded, self._draws = _seeded(self.graph)
        self._differentiable = self._seeded
        if self.graph.has_own_gradients:
            self._differentiable = _seeded(graph.cut(fetches, feeds, targets, what, calls_own_gradients=True))[0]
        # Both functions are called with the same handles, so they must take the same state in the same order.
        if self._differentiable.state != self.graph.state:
            raise UnsupportedError(f"Cannot build {what}: a function with a gradient of its own holds variables")

    @cached_property
    def _function(self) -> Callable[..., list[tf.Tensor]]:
        with BUILDING:
            if "_function" not in self.__dict__:  # a thread that waited finds what the other one built
                self.__dict__["_function"] = self._build()
            return self.__dict__["_function"]

    def _build(self) -> Callable[..., list[tf.Tensor]]:
        state = self._variant.handles(self.graph)
        if self.graph.needs_replay:
            return build_replayed(self._seeded, self._differentiable, state, self._specs, self._draws)
        return build(self._seeded, state, self._specs, self._draws)

    @cached_property
    def _plain(self) -> Callable[..., list[tf.Tensor]]:
        """The function without what gradients and seeds need: it takes time, and freezing and converters refuse it."""
        if not self.graph.needs_replay and not self._draws:
            return self._function
        with BUILDING:
            # As above: the lock may have been waited for while another thread built it.
            if "_plain" not in self.__dict__:
                graph = seed_attributes(self.graph, _next_seed)
                self.__dict__["_plain"] = build(graph, self._variant.handles(graph), self._specs)
            return self.__dict__["_plain"]

    @cached_property
    def _open(self) -> Callable[..., list[tf.Tensor]]:
        """The function for whoever takes the call apart: what it is made of has gradients in a plain graph."""
        if not self.graph.needs_replay:
            return self._function
        return build(self._differentiable, self._variant.handles(self.graph), self._specs, self._draws)

    @cached_property
    def _is_random(self) -> bool:
        """Whether calls that nobody differentiates need the same function too: random ops get their seeds in it."""
        return self._draws or any(map(is_random, self.graph.ops))

    @cached_property
    def _variables(self) -> dict[int, tf.Variable]:
        return self._variant.variables(self.graph)

    @cached_property
    def _handles(self) -> list[tf.Tensor | str]:
        """The state as it is passed to the function; names where each call has to find out."""
        fixed = {i: v.handle for i, v in self._variables.items() if not is_distributed(v)}
        return [fixed.get(i, name) for i, name in enumerate(self.graph.state)]

    def __call__(
        self,
        inputs: Sequence[tf.Tensor] = (),
        watch: bool = True,
        gradients: bool = True,
        draw_seed: DrawSeed | None = None,
    ) -> list[tf.Tensor]:
        """Runs the subgraph.

        Args:
            inputs: Values of the fed tensors.
            watch: Whether gradient tapes watch the trainable variables. Functions that are being traced learn of all
                variables in any case, so that an export finds them.
            gradients: Whether the subgraph must be one whose gradients can be taken, if anybody might, and which draws
                from a seed.
            draw_seed: Gives the two integers to draw from at random; None for such that `tf.random.set_seed` governs.

        Returns:
            The fetched tensors.
        """
        may_be_differentiated = tensorflow_internals.may_be_differentiated()
        if may_be_differentiated:
            # Here and not by the function itself: it is called with handles, which know nothing of tapes or of
            # `trainable`.
            for variable in self._variables.values():
                note = note_access if watch or not variable.trainable else note_frozen_access
                note(replica(variable))
        opened = opened_calls()
        replays = gradients and (may_be_differentiated or self._is_random)
        function: Any = self._open if opened is not None else self._function if replays else self._plain
        if opened is not None:
            arguments = len(self.graph.state) + self._draws
            opened[function.name.decode()] = FunctionContexts(self._differentiable.contexts, arguments)
        if (gradients or opened is not None) and self._draws:
            inputs = [draw_seed() if draw_seed is not None else _random_seed(), *inputs]
        find = self._variant.handle
        handles = [find(state) if isinstance(state, str) else state for state in self._handles]
        try:
            if not may_be_differentiated:
                return call_flat(function, [*handles, *inputs])
            # Where a tape watches, this takes gradients, for which TensorFlow imports the bodies of loops once more.
            with gradient_errors(self.graph):
                return call_flat(function, [*handles, *inputs])
        except (RuntimeError, TypeError) as error:
            if _is_elsewhere(handles):
                raise _not_here(self.graph) from error
            raise

    def call_to_save(self, inputs: Sequence[tf.Tensor] = ()) -> list[tf.Tensor]:
        """Runs the subgraph in a function that is traced for a SavedModel, which its gradients are to travel with.

        Args:
            inputs: Values of the fed tensors.

        Returns:
            The fetched tensors.
        """
        if not self.graph.needs_replay:
            return self(inputs)
        for variable in self._variables.values():
            note_access(variable)
        seed = _random_seed() if self._draws else tf.zeros([2], tf.int32)
        state = self._variant.handles(self.graph)
        return run_with_saved_gradients(self._seeded, self._differentiable, state, seed, list(inputs))

    @property
    def variables(self) -> list[str]:
        """Names of the variables that it reaches."""
        return [self.graph.state[i] for i in self._variant.variables(self.graph)]

    @property
    def compiles(self) -> bool:
        """Whether XLA can compile it and its gradient, which that of a loop of unknown length is not."""
        if self.graph.needs_replay or len(self.variables) < len(self.graph.state) or _LOOPS & self.graph.ops:
            return False
        texts = any(s.dtype == tf.string for s in self._specs)
        return not texts and all(xla_compiles(op) for op in self.graph.ops)


def _is_elsewhere(handles: Sequence[tf.Tensor]) -> bool:
    """Tells whether state belongs to another graph than calls do now, or to none while they do to one."""
    with tf.init_scope():
        # `init_scope` leaves functions that are being traced, but not the plain graph of a session.
        here = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    resources = [handle for handle in handles if handle.dtype == tf.resource]
    return any((handle.graph if tf.is_symbolic_tensor(handle) else None) is not here for handle in resources)


def _not_here(graph: Subgraph) -> UnsupportedError:
    return UnsupportedError(
        f"Cannot run {graph.purpose} here: its variables and tables belong to another graph, or to eager mode",
        expected="a module that was loaded where it is called: in the same tf.Graph, or outside of any",
        fix="Call hubkeras.load again inside `with graph.as_default():`, or outside",
    )


def _seeded(graph: Subgraph) -> tuple[Subgraph, bool]:
    seeded, draws = draw_from_seed(graph)
    return seed_attributes(seeded, _next_seed), draws


def _next_seed() -> tuple[int | None, int | None]:
    with tf.init_scope():
        return tf.compat.v1.random.get_seed(None)


def _random_seed() -> tf.Tensor:
    return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)


class SignatureFunction:
    """Some outputs of one signature as a function of its inputs.

    Args:
        variant: The functions it belongs to.
        signature: The signature.
        outputs: Names of the outputs to compute.
        update: Whether the variant's update ops run with it.
    """

    def __init__(
        self, variant: VariantFunctions, signature: SignatureSpec, outputs: Sequence[str], update: bool
    ) -> None:
        self.inputs = variant.inputs(signature.name)
        self.outputs = {name: info for name, info in output_infos(signature).items() if name in outputs}
        feeds = [t for info in signature.inputs.values() for t in info.tensors]
        fetches = [t for name in self.outputs for t in signature.outputs[name].tensors]
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
        """Computes the outputs.

        Args:
            inputs: Converted values by name.
            watch: Whether gradient tapes watch the trainable variables.
            gradients: Whether it must be possible to take gradients.
            draw_seed: As in a call of the subgraph.

        Returns:
            The outputs by name.
        """
        return pack_all(self.outputs, self.bound(flatten_all(self.inputs, inputs), watch, gradients, draw_seed))

    def call_to_save(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Computes the outputs in a function that is traced for a SavedModel, which its gradients are to travel with.

        Args:
            inputs: Tensors by name.

        Returns:
            The outputs by name.
        """
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
            self._inputs[name] = input_infos(self.signature(name))
        return self._inputs[name]

    def function(self, name: str, outputs: Sequence[str] | None = None, update: bool = False) -> SignatureFunction:
        """Returns the function of a signature.

        Args:
            name: Name of the signature.
            outputs: Names of the outputs to compute, None for all.
            update: Whether update ops run with it.

        Returns:
            The function, the same one each time.
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
        feeds = {t for info in signature.inputs.values() for t in info.tensors}
        fetches = [t for n, info in signature.outputs.items() if outputs is None or n in outputs for t in info.tensors]
        return self.graph.reached(fetches, feeds)

    def is_random(self, name: str, outputs: Sequence[str] | None = None) -> bool:
        """Tells whether a signature's outputs draw at random without a seed of their own."""
        signature = self.signature(name)
        feeds = {t for info in signature.inputs.values() for t in info.tensors}
        fetches = [t for n, info in signature.outputs.items() if outputs is None or n in outputs for t in info.tensors]
        return self.graph.is_random(fetches, feeds)

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
