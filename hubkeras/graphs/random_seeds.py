"""Random ops that draw from a seed given with each call: whoever calls governs them, and can run a call again exactly.

1. An op in a `while` loop draws anew in every turn: its seed takes in the turns of the loops around it, which are
   counted by a loop variable of their own.
2. An op that was given a seed when the module was written gives the same sequence after each load, as TensorFlow 1 had
   it for each session. It stays as it is; in v1 control flow it draws from a seed that such an op outside gives.
3. What cannot take a seed as an input (shuffles, samplers, all that stands in functions) gets one for its attributes
   when its function is built, as TensorFlow's own ops do.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import tensorflow as tf

from hubkeras.errors import FormatError
from hubkeras.graphs.op_registry import op_def
from hubkeras.graphs.subgraph import by_name
from hubkeras.savedmodel.graph_index import attribute
from hubkeras.savedmodel.protos import NodeDef, copy_of, dtypes
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hubkeras.graphs.subgraph import Subgraph

SEED_NODE = "hubkeras_seed"
"""Name that no node bears: of the seed that a call brings."""
SEED = f"{SEED_NODE}:0"

_STATELESS = {
    "RandomUniform": ("StatelessRandomUniform", 1),
    "RandomStandardNormal": ("StatelessRandomNormal", 1),
    "TruncatedNormal": ("StatelessTruncatedNormal", 1),
    "RandomUniformInt": ("StatelessRandomUniformInt", 1),
    "Multinomial": ("StatelessMultinomial", 2),
}
"""The op that takes a seed, and after how many of the inputs it takes it."""


def can_draw_from_seed(node: Any) -> bool:
    """Tells whether a node draws at random, has no seed of its own, and can take one as an input."""
    return node.op in _STATELESS and not _has_seed(node)


def draw_from_seed(graph: Subgraph) -> tuple[Subgraph, bool]:
    """Gives the random ops of a subgraph a seed, the tensor `hubkeras_seed:0`; tells besides whether any takes it.

    Raises:
        FormatError: The loops around one do not hang together.
    """
    inside = graph.contexts.inner_nodes()
    drawing = [n for n in graph.nodes.values() if n.op in _STATELESS]
    # Inside control flow, ops with a seed of their own as well: the backward pass runs them again, and must draw the
    # same.
    chosen = dict.fromkeys(n.name for n in drawing if n.name in inside or not _has_seed(n))
    if not chosen:
        return graph, False
    nodes = {n.name: copy_of(n) if n.name in chosen else n for n in graph.nodes.values()}
    counters = _LoopCounters(nodes, graph)
    for name in chosen:
        _draw_from(nodes[name], counters.seed(nodes[name]))
    contexts = graph.contexts.adopt(counters.owners)
    seeded = dataclasses.replace(graph, nodes=by_name([*nodes.values(), *counters.made]), contexts=contexts)
    # Where all chosen ops have a seed of their own, nothing takes the call's.
    return seeded, any(Ref.parse(text).node == SEED_NODE for node in seeded.nodes.values() for text in node.input)


@cache
def is_random(op: str) -> bool:
    """Tells whether an op draws at random, and takes its seed when a graph is built."""
    definition = op_def(op)
    return definition is not None and {"seed", "seed2"} <= {attr.name for attr in definition.attr}


def seed_attributes(graph: Subgraph, next_seed: Callable[[], tuple[int | None, int | None]]) -> Subgraph:
    """Gives the random ops of a subgraph that have no seed one in their attributes, also those in functions.

    Args:
        graph: The subgraph; its nodes stay as they are.
        next_seed: Returns two numbers for each op, which are None where nobody has set a seed.
    """

    def is_unseeded(node: Any) -> bool:
        kinds = {attribute(node, name).WhichOneof("value") for name in ("seed", "seed2")}
        # A placeholder is a seed that the function's caller gives.
        return is_random(node.op) and not _has_seed(node) and "placeholder" not in kinds

    if not any(map(is_unseeded, graph.all_nodes())):
        return graph

    def seeded(node: Any) -> Any:
        # Asked for each op, so that two of them get two seeds from one global one.
        first, second = next_seed()
        if first is None or second is None:
            return node
        new = copy_of(node)
        new.attr["seed"].i, new.attr["seed2"].i = first, second
        return new

    nodes = {name: seeded(node) if is_unseeded(node) else node for name, node in graph.nodes.items()}
    functions = {}
    for name, function in graph.library.functions.items():
        functions[name] = function
        if any(map(is_unseeded, function.node_def)):
            functions[name] = copy_of(function)
            for node in filter(is_unseeded, functions[name].node_def):
                node.CopyFrom(seeded(node))
    library = dataclasses.replace(graph.library, functions=functions)
    return dataclasses.replace(graph, nodes=nodes, library=library)


def _has_seed(node: Any) -> bool:
    return any(attribute(node, key).i for key in ("seed", "seed2"))


def _draw_from(node: Any, seed: str) -> None:
    op, position = _STATELESS[node.op]
    # The stateless op has one dtype for bounds and result, and calls it `dtype`.
    if node.op == "RandomUniformInt":
        node.attr["dtype"].type = node.attr["Tout"].type
        del node.attr["Tout"]
    elif node.op == "Multinomial":
        # The default of Multinomial; asking for an attribute that is not there makes it 0, which is no dtype.
        node.attr["output_dtype"].type = node.attr["output_dtype"].type or dtypes.DT_INT64
    node.op = op
    for name in ("seed", "seed2"):
        node.attr.pop(name, None)
    node.attr["Tseed"].type = dtypes.DT_INT32
    node.input.insert(position, seed)


class _LoopCounters:
    """The seeds of random ops, and the counters of the loops that they are in."""

    def __init__(self, nodes: Mapping[str, Any], graph: Subgraph) -> None:
        self.nodes, self.purpose, self.contexts = nodes, graph.purpose, graph.contexts
        self.made: list[Any] = []
        self.owners: dict[str, str] = {}
        self._counters: dict[str, str] = {}
        self._known: dict[tuple[str, str], str] = {}

    def seed(self, node: Any) -> str:
        """Returns the tensor to draw from in one random op."""
        loops = self.contexts.loops_around(node)
        seed = self._own_seed(node) if _has_seed(node) else SEED_NODE
        for loop in loops:
            seed = self._enter(loop, seed)
        scope = f"{node.name}/_seed"
        control = self._frame_control(node, bool(loops))
        # Two ops must not draw the same: each shifts the call's seed by its name. In a loop, each turn shifts it
        # further, by a stride of its own for each of the loops around, so that no two turns meet.
        # crc32 and not hash(), which differs from process to process. One bit less, as the seed is a signed number.
        own = np.array([crc32(node.name.encode()) >> 1, 0], np.int32)
        offset = self._constant(f"{scope}/number", own, control, node.name)
        seed = self._add(f"{scope}/add", "AddV2", [seed, offset], node.name).name
        for depth, loop in enumerate(loops):
            turn = self._turn(loop)
            for inner in loops[depth + 1 :]:
                turn = self._enter(inner, turn)
            # Powers of one number, so that turn (2, 0) of two nested loops is not turn (0, 2) again; sums meet only
            # beyond 7,918 turns.
            step_per_turn = np.array([0, pow(7919, depth, 1 << 31)], np.int32)
            stride = self._constant(f"{scope}/stride_{depth}", step_per_turn, control, node.name)
            step = self._add(f"{scope}/step_{depth}", "Mul", [turn, stride], node.name).name
            seed = self._add(f"{scope}/add_{depth}", "AddV2", [seed, step], node.name).name
        return seed

    def _own_seed(self, node: Any) -> str:
        """Returns a tensor outside of all loops that an op gives with the seed which the node was written with."""
        scope = f"{node.name}/_own_seed"
        limits = {"minval": np.int32(0), "maxval": np.int32(np.iinfo(np.int32).max)}
        inputs = [self._constant(f"{scope}/shape", np.array([2], np.int32), [], "")]
        inputs += [self._constant(f"{scope}/{name}", value, [], "") for name, value in limits.items()]
        # The op with the publisher's seed runs once outside, and what it draws becomes the seed of the stateless one
        # inside.
        own = NodeDef(name=scope, op="RandomUniformInt", input=inputs)
        own.attr["T"].type = own.attr["Tout"].type = dtypes.DT_INT32
        for name in ("seed", "seed2"):
            own.attr[name].i = attribute(node, name).i
        self.made.append(own)
        return scope

    def _frame_control(self, node: Any, inside: bool) -> list[str]:
        """A constant in a loop must hang on something of the loop, as the op's own shape does."""
        return [f"^{Ref.parse(node.input[0]).node}"] if inside and node.input else []

    def _turn(self, loop: Any) -> str:
        """Returns the tensor, in the loop's body, that counts the turns of a loop."""
        if loop.context_name in self._counters:
            return self._counters[loop.context_name]
        scope, owner = f"{loop.context_name}/_turns", self._member(loop)
        enter = self._entry(f"{scope}/enter", loop, self._constant(f"{scope}/zero", np.int32(0), [], ""))
        self._add(f"{scope}/merge", "Merge", [enter.name, f"{scope}/next"], owner).attr["N"].i = 2
        switch = self._add(f"{scope}/switch", "Switch", [f"{scope}/merge", Ref.parse(loop.pivot_name).node], owner)
        turn = self._add(f"{scope}/turn", "Identity", [f"{switch.name}:1"], owner).name
        # The control edge puts the constant into the loop's frame; without it, it would stand outside of all loops.
        one = self._constant(f"{scope}/one", np.int32(1), [f"^{turn}"], owner)
        self._add(f"{scope}/add", "AddV2", [turn, one], owner)
        self._add(f"{scope}/next", "NextIteration", [f"{scope}/add"], owner)
        self._counters[loop.context_name] = turn
        return turn

    def _enter(self, loop: Any, tensor: str) -> str:
        """Takes a tensor into a loop as a constant of it."""
        key = (loop.context_name, tensor)
        if key not in self._known:
            enter = self._entry(f"{loop.context_name}/_seed_{len(self._known)}", loop, tensor)
            enter.attr["is_constant"].b = True
            self._known[key] = enter.name
        return self._known[key]

    def _entry(self, name: str, loop: Any, tensor: str) -> Any:
        """Makes the node that takes a tensor into a loop."""
        enters = (self.nodes.get(Ref.parse(n).node) for n in loop.loop_enter_names)
        other = next((node for node in enters if node is not None), None)
        if other is None:
            raise self._broken(loop, "nothing that enters it")
        enter = self._add(name, "Enter", [tensor], self._member(loop))
        # Copied from a node that enters already: the executor knows loops by this name alone.
        enter.attr["frame_name"].s = attribute(other, "frame_name").s
        enter.attr["parallel_iterations"].i = attribute(other, "parallel_iterations").i or 10
        return enter

    def _member(self, loop: Any) -> str:
        """Returns some node of a loop."""
        member = next((v for v in loop.values_def.values if v not in loop.values_def.external_values), None)
        if member is None:
            raise self._broken(loop, "no values")
        return Ref.parse(member).node

    def _broken(self, loop: Any, received: str) -> FormatError:
        return FormatError(
            f"Cannot differentiate {self.purpose}",
            expected="loops with values and nodes that enter them",
            received=f"loop {loop.context_name!r} with {received}",
            fix="The module is damaged, or was written by a broken exporter",
        )

    def _constant(self, name: str, value: Any, control: list[str], owner: str) -> str:
        node = NodeDef(name=name, op="Const")
        node.input.extend(control)
        node.attr["dtype"].type = dtypes.DT_INT32
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        self.made.append(node)
        if owner:
            self.owners[name] = owner
        return name

    def _add(self, name: str, op: str, inputs: list[str], owner: str) -> Any:
        node = NodeDef(name=name, op=op, input=inputs)
        node.attr["T"].type = dtypes.DT_INT32
        self.made.append(node)
        self.owners[name] = owner
        return node
