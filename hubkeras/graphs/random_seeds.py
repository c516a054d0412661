"""Random ops that draw from a seed given with each call, so that a call can be run again exactly.

An op in a `while` loop draws anew in every turn: its seed takes in the turns of the loops around it, which are counted
by a loop variable of their own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from tensorflow.core.framework import graph_pb2, node_def_pb2, types_pb2
from tensorflow.python.framework import tensor_util

from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from hubkeras.graphs.cutting import Fragment

SEED = "hubkeras_seed:0"

_STATELESS = {
    "RandomUniform": ("StatelessRandomUniform", 1),
    "RandomStandardNormal": ("StatelessRandomNormal", 1),
    "TruncatedNormal": ("StatelessTruncatedNormal", 1),
    "RandomUniformInt": ("StatelessRandomUniformInt", 1),
    "Multinomial": ("StatelessMultinomial", 2),
}
"""The op that takes a seed, and after how many of the inputs it takes it."""


def make_replayable(fragment: Fragment) -> tuple[Fragment, bool]:
    """Gives the random ops of a fragment a seed, the tensor `hubkeras_seed:0`.

    Args:
        fragment: The fragment.

    Returns:
        The fragment so changed, and whether it has any random ops.
    """
    random = [n for n in fragment.graph_def.node if n.op in _STATELESS]
    if not random:
        return fragment, False
    graph_def = graph_pb2.GraphDef()
    graph_def.CopyFrom(fragment.graph_def)
    counters = _LoopCounters(graph_def, fragment)
    for node in [n for n in graph_def.node if n.op in _STATELESS]:
        _draw_from(node, counters.seed(node))
    graph_def.node.extend(counters.made)
    contexts = fragment.contexts.adopt(counters.owners)
    return dataclasses.replace(fragment, graph_def=graph_def, contexts=contexts), True


def _draw_from(node: Any, seed: str) -> None:
    op, position = _STATELESS[node.op]
    if node.op == "RandomUniformInt":
        node.attr["dtype"].type = node.attr["Tout"].type
        del node.attr["Tout"]
    elif node.op == "Multinomial":
        node.attr["output_dtype"].type = node.attr["output_dtype"].type or types_pb2.DT_INT64
    node.op = op
    for attr in ("seed", "seed2"):
        if attr in node.attr:
            del node.attr[attr]
    node.attr["Tseed"].type = types_pb2.DT_INT32
    node.input.insert(position, seed)


class _LoopCounters:
    """The seeds of random ops, and the counters of the loops that they are in."""

    def __init__(self, graph_def: Any, fragment: Fragment) -> None:
        self.nodes = {n.name: n for n in graph_def.node}
        self.contexts = list(fragment.contexts.walk())
        self.made: list[Any] = []
        self.owners: dict[str, str] = {}
        self._counters: dict[str, str] = {}
        self._known: dict[tuple[str, str], str] = {}

    def seed(self, node: Any) -> str:
        """Returns the tensor to draw from in one random op; it tells ops apart by their names."""
        loops = self._loops_around(node)
        seed = SEED[:-2]
        for loop in loops:
            seed = self._enter(loop, seed)
        scope = f"{node.name}/_seed"
        control = self._frame_control(node, bool(loops))
        offset = self._constant(
            f"{scope}/number", np.array([crc32(node.name.encode()) >> 1, 0], np.int32), control, node.name
        )
        seed = self._add(f"{scope}/add", "AddV2", [seed, offset], node.name)
        for depth, loop in enumerate(loops):
            turn = self._turn(loop)
            for inner in loops[depth + 1 :]:
                turn = self._enter(inner, turn)
            stride = self._constant(f"{scope}/stride_{depth}", np.array([0, 7919**depth], np.int32), control, node.name)
            step = self._add(f"{scope}/step_{depth}", "Mul", [turn, stride], node.name)
            seed = self._add(f"{scope}/add_{depth}", "AddV2", [seed, step], node.name)
        return seed

    def _loops_around(self, node: Any) -> list[Any]:
        """Returns the `while` contexts around a node, outermost first."""
        best: list[Any] = []
        for context, around in self.contexts:
            inside = set(context.values_def.values) - set(context.values_def.external_values)
            if f"{node.name}:0" in inside and len(around) + 1 > len(best):
                best = [*around, context]
        return [c for c in best if c.DESCRIPTOR.name == "WhileContextDef"]

    def _frame_control(self, node: Any, inside: bool) -> list[str]:
        """A constant in a loop must hang on something of the loop, as the op's own shape does."""
        return [f"^{Ref.parse(node.input[0].lstrip('^')).node}"] if inside and node.input else []

    def _turn(self, loop: Any) -> str:
        """Returns the tensor, in the loop's body, that counts the turns of a loop."""
        if loop.context_name in self._counters:
            return self._counters[loop.context_name]
        scope = f"{loop.context_name}/_turns"
        frame = self._frame(loop)
        enter = self._node(f"{scope}/enter", "Enter", [self._constant(f"{scope}/zero", np.int32(0), [], "")])
        enter.attr["frame_name"].s = frame.attr["frame_name"].s
        enter.attr["parallel_iterations"].i = frame.attr["parallel_iterations"].i or 10
        merge = self._node(f"{scope}/merge", "Merge", [enter.name, f"{scope}/next"])
        merge.attr["N"].i = 2
        condition = Ref.parse(loop.pivot_name).node
        switch = self._node(f"{scope}/switch", "Switch", [merge.name, condition])
        turn = self._node(f"{scope}/turn", "Identity", [f"{switch.name}:1"])
        one = self._constant(f"{scope}/one", np.int32(1), [f"^{turn.name}"], "")
        add = self._node(f"{scope}/add", "AddV2", [turn.name, one])
        self._node(f"{scope}/next", "NextIteration", [add.name])
        member = next(iter(set(loop.values_def.values) - set(loop.values_def.external_values)))
        for name in ("enter", "merge", "switch", "turn", "one", "add", "next"):
            self.owners[f"{scope}/{name}"] = Ref.parse(member).node
        self._counters[loop.context_name] = turn.name
        return turn.name

    def _frame(self, loop: Any) -> Any:
        names = (Ref.parse(n).node for n in loop.loop_enter_names)
        return next(self.nodes[n] for n in names if n in self.nodes)

    def _enter(self, loop: Any, tensor: str) -> str:
        """Takes a tensor into a loop as a constant of it."""
        key = (loop.context_name, tensor)
        if key not in self._known:
            frame = self._frame(loop)
            enter = self._node(f"{loop.context_name}/_seed_{len(self._known)}", "Enter", [tensor])
            enter.attr["frame_name"].s = frame.attr["frame_name"].s
            enter.attr["is_constant"].b = True
            enter.attr["parallel_iterations"].i = frame.attr["parallel_iterations"].i or 10
            member = next(iter(set(loop.values_def.values) - set(loop.values_def.external_values)))
            self.owners[enter.name] = Ref.parse(member).node
            self._known[key] = enter.name
        return self._known[key]

    def _constant(self, name: str, value: Any, control: list[str], owner: str) -> str:
        node = node_def_pb2.NodeDef(name=name, op="Const")
        node.input.extend(control)
        node.attr["dtype"].type = types_pb2.DT_INT32
        node.attr["value"].tensor.CopyFrom(tensor_util.make_tensor_proto(value))
        self.made.append(node)
        if owner:
            self.owners[name] = owner
        return name

    def _add(self, name: str, op: str, inputs: list[str], owner: str) -> str:
        self._node(name, op, inputs)
        self.owners[name] = owner
        return name

    def _node(self, name: str, op: str, inputs: list[str]) -> Any:
        node = node_def_pb2.NodeDef(name=name, op=op)
        node.input.extend(inputs)
        node.attr["T"].type = types_pb2.DT_INT32
        self.made.append(node)
        return node
