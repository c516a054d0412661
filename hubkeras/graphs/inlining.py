"""Calls of library functions written out.

Gradients are not found through a `PartitionedCall` (or an op named as its function) after an import, so such calls are
replaced by the bodies of their functions.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hubkeras.errors import FormatError
from hubkeras.graphs.attribute_placeholders import fill_placeholders, values_for
from hubkeras.graphs.call_bounds import MOST_NODES, check_calls, too_large
from hubkeras.graphs.control_flow import ContextTree
from hubkeras.graphs.function_library import CALLS
from hubkeras.graphs.loop_frames import ENTERS, find_frames
from hubkeras.graphs.op_forms import find_output, output_ranges
from hubkeras.graphs.op_registry import op_def
from hubkeras.graphs.subgraph import by_name
from hubkeras.savedmodel.graph_index import data_input_texts, input_node
from hubkeras.savedmodel.protos import NodeDef, copy_of
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hubkeras.graphs.function_library import FunctionLibrary
    from hubkeras.graphs.subgraph import Subgraph


def inline_calls(graph: Subgraph, only: Collection[str] | None = None) -> Subgraph:
    """Replaces the calls of library functions by the functions' bodies.

    A call's node stays, under its name, as an `IdentityN` of what the body returns.

    Args:
        graph: The graph.
        only: The functions whose calls are written out; None for all.

    Raises:
        FormatError: Functions call themselves, grow beyond bounds, or do not fit their calls.
    """
    library = graph.library
    if not library.functions:
        return graph
    reached = library.reachable(graph.nodes.values())
    check_calls(graph.nodes.values(), library.only(reached), graph.purpose)
    # A function's own gradient belongs to its call; once the body stands there, TensorFlow would differentiate that.
    kept = library.gradients if graph.calls_own_gradients else ()
    ordered = _writes_anything(graph.nodes, library, reached)
    result: list[Any] = []
    owners: dict[str, str] = {}
    contexts: list[Any] = []
    # A stack of its own, and not recursion: how deep calls go is up to who made the module.
    pending = list(graph.nodes.values())[::-1]
    while pending:
        node = pending.pop()
        name = library.called(node)
        if name is None or name in kept or (only is not None and name not in only):
            result.append(node)
            continue
        call = _Call(node, library, ordered)
        body = call.body()
        if name in graph.function_contexts:
            contexts += graph.function_contexts[name].of_call(call.scope, call.data).roots
        caller: str = node.name
        # The outermost caller: contexts know only nodes of the graph, none of those that were written out on the way.
        owners |= {new.name: owners.get(caller, caller) for new in body if new.name != caller}
        pending.extend(reversed(body))
        # The bounds above know calls by name; who is called may also come in an attribute that the caller fills.
        if len(result) + len(pending) > MOST_NODES:
            raise too_large(graph.purpose)
    return dataclasses.replace(
        graph,
        nodes=by_name(result),
        contexts=ContextTree((*graph.contexts.adopt(owners).roots, *contexts)),
        has_own_gradients=any(name in library.gradients for name in reached),
    )


def _writes_anything(nodes: Mapping[str, Any], library: FunctionLibrary, reached: Mapping[str, None]) -> bool:
    ops = {node.op for node in nodes.values()}
    ops |= {node.op for name in reached for node in library.functions[name].node_def}
    return any(_acts(op) or _takes_reference(op) for op in ops)


class _Call:
    """One call, and the body of the function that it calls; `ordered` tells whether it matters when its ops run."""

    def __init__(self, call: Any, library: FunctionLibrary, ordered: bool) -> None:
        self.call, self.ordered = call, ordered
        self.function = library.functions[library.called(call) or ""]
        self.data = data_input_texts(call)
        self.control = [i for i in call.input if i.startswith("^")]
        arguments = [a.name for a in self.function.signature.input_arg]
        if len(arguments) != len(self.data):
            raise self._misfit(f"{len(self.data)} arguments for the {len(arguments)} that it takes")
        self.arguments = dict(zip(arguments, self.data, strict=True))
        self.frames = self._frames()
        self.ranges = {n.name: output_ranges(n, library.functions) for n in self.function.node_def}

    def body(self) -> list[Any]:
        """Returns the nodes of the function's body, and the one that stands for the call."""
        given = self.call.attr["f"].func.attr if self.call.op in CALLS else self.call.attr
        values = values_for(self.function, given)
        before = list(dict.fromkeys([*self.control, *(f"^{Ref.parse(i).node}" for i in self.data)]))
        body = []
        for node in self.function.node_def:
            new = copy_of(node)
            new.name = self._within(node.name)
            del new.input[:]
            new.input.extend([self._outer(i) for i in node.input])
            if self._waits(node):
                new.input.extend(i for i in before if i not in new.input)
            # Constants and the like have no input to wait with; what has one waits through it.
            elif not node.input:
                new.input.extend(self.control)
            fill_placeholders(new.attr, values)
            if new.op in ENTERS:  # a loop that is written out twice is two loops
                new.attr["frame_name"].s = f"{self.scope}/".encode() + new.attr["frame_name"].s
            body.append(new)
        # Whoever takes a result of the call finds its effects done, as after a call that has returned.
        effects = [f"^{self._within(n)}" for n in self.function.control_ret.values()]
        # What acts in a loop cannot be waited for from outside of it.
        acting = [n for n in self.function.node_def if _acts(n.op) and not self.frames.get(n.name)]
        effects += [f"^{self._within(n.name)}" for n in acting]
        return [*body, self._returned([*self.control, *sorted(set(effects) - set(self.control))])]

    def _frames(self) -> dict[str, tuple[str, ...]]:
        body = {node.name: node for node in self.function.node_def}
        has_loops = any(node.op in ENTERS for node in body.values())
        return find_frames(body, f"function {self.function.signature.name!r}") if has_loops else {}

    def _waits(self, node: Any) -> bool:
        """Tells whether a node of the body must wait for all that the call waits for.

        A call waits for all of its inputs before anything of it runs. Once it is written out, only this makes what
        reads or writes state wait for what the graph ordered before the call. No control edge leads into a loop, so
        there the way in waits.
        """
        inside = bool(self.frames.get(node.name))
        return self.ordered and not inside and (_is_stateful(node.op) or node.op in ENTERS)

    def _returned(self, control: list[str]) -> Any:
        """Makes the node that stands for the call: what its function returns, once its effects have happened."""
        signature, returned = self.function.signature, self.function.ret
        missing = [a.name for a in signature.output_arg if a.name not in returned]
        if missing:
            raise self._misfit(f"no result {missing[0]!r}")
        outputs = [self._outer(returned[a.name]) for a in signature.output_arg]
        if not outputs:
            return NodeDef(name=self.call.name, op="NoOp", input=control)
        node = NodeDef(name=self.call.name, op="IdentityN", input=outputs + control)
        given = self.call.attr
        # A PartitionedCall says its dtypes; a node that is named as its function has them in the function's signature.
        if self.call.op in CALLS and "Tout" in given:
            dtypes = given["Tout"].list.type
        else:
            dtypes = [given[a.type_attr].type if a.type_attr in given else a.type for a in signature.output_arg]
        node.attr["T"].list.type.extend(dtypes)
        return node

    @property
    def scope(self) -> str:
        """What the names of the body's nodes begin with."""
        return f"{self.call.name}/_body"

    def _within(self, name: str) -> str:
        return f"{self.scope}/{name}"

    def _outer(self, text: str) -> str:
        """Returns what an input of a node in the body is outside of it."""
        node = input_node(text)
        if text.startswith("^"):
            return f"^{Ref.parse(self.arguments[node]).node}" if node in self.arguments else f"^{self._within(node)}"
        if node in self.arguments:
            return self.arguments[node]
        position = find_output(text, self.ranges)
        if position is None:
            raise self._misfit(f"input {text!r}, which nothing in it gives")
        return str(Ref(self._within(node), position))

    def _misfit(self, received: str) -> FormatError:
        return FormatError(
            f"Cannot write out node {self.call.name!r}, a call of function {self.function.signature.name!r}",
            expected="a function that fits its call",
            received=received,
            fix="The module is damaged, or was written by a broken exporter",
        )


def _is_stateful(op: str) -> bool:
    definition = op_def(op)
    return definition is not None and definition.is_stateful


def _acts(op: str) -> bool:
    """Tells whether an op of a function's body runs for what it does, as an assignment."""
    definition = op_def(op)
    return definition is not None and definition.is_stateful and not definition.output_arg


def _takes_reference(op: str) -> bool:
    definition = op_def(op)
    return definition is not None and any(a.is_ref for a in definition.input_arg)
