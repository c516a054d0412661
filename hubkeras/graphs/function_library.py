"""Calls of library functions: written out where a gradient must look into them, renamed where they stay.

Gradients are not found through a `PartitionedCall` (or an op named as its function) after an import, so such calls are
replaced by the bodies of their functions. What stays are the functions that functional control flow and datasets name;
function names are global to the process, so each load gives them names of its own.
"""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING, Any

from tensorflow.core.framework import attr_value_pb2, node_def_pb2

from hubkeras.errors import FormatError
from hubkeras.graphs.tensorflow_internals import op_def
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


class Library:
    """The functions of one graph, and which of them have a gradient of their own.

    Args:
        proto: The graph's `FunctionDefLibrary`.
    """

    def __init__(self, proto: Any) -> None:
        self.functions: dict[str, Any] = {f.signature.name: f for f in proto.function}
        self.gradients: dict[str, str] = {g.function_name: g.gradient_func for g in proto.gradient}

    def called(self, node: Any) -> str | None:
        """Returns the name of the function that a node calls, None if it is no call."""
        if node.op in CALLS:
            return node.attr["f"].func.name
        return node.op if node.op in self.functions else None

    def has_own_gradient(self, nodes: Iterable[Any]) -> bool:
        """Tells whether any node calls, directly or not, a function with a gradient of its own."""
        if not self.gradients:
            return False
        return any(name in self.gradients for name in self.reachable(nodes))

    def reachable(self, nodes: Iterable[Any]) -> set[str]:
        """Returns the names of all functions that nodes name, in a call or in an attribute, and of their gradients."""
        found: set[str] = set()
        pending = list(nodes) if self.functions else []
        while pending:
            named = list(function_names(pending.pop(), self.functions))
            named += [self.gradients[name] for name in named if name in self.gradients]
            for name in named:
                if name not in found and name in self.functions:
                    found.add(name)
                    pending.extend(self.functions[name].node_def)
        return found

    def output_ranges(self, node: Any) -> dict[str, int]:
        """Returns where each output argument of a node's op starts among the node's outputs."""
        name = self.called(node) if node.op in self.functions else None
        definition = self.functions[name].signature if name else op_def(node.op)
        if definition is None:
            raise FormatError(f"Cannot read a function: op {node.op!r} of node {node.name!r} is not registered")
        starts, position = {}, 0
        for argument in definition.output_arg:
            starts[argument.name] = position
            if argument.number_attr:
                position += node.attr[argument.number_attr].i
            elif argument.type_list_attr:
                position += len(node.attr[argument.type_list_attr].list.type)
            else:
                position += 1
        return starts


def function_names(node: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    """Yields the names of functions that a node calls or has in its attributes."""
    if node.op in functions:
        yield node.op
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "func":
            yield value.func.name
        elif kind == "list":
            yield from (f.name for f in value.list.func)


def inline_calls(
    nodes: Iterable[Any], library: Library, keep: Callable[[str], bool] = lambda name: False
) -> tuple[list[Any], dict[str, str]]:
    """Replaces the calls of library functions by the functions' bodies.

    A call's node stays, under its name, as an `IdentityN` of what the body returns.

    Args:
        nodes: NodeDefs.
        library: The functions they call.
        keep: Tells which functions are called all the same.

    Returns:
        NodeDefs, and for each new node's name the name of the call that it comes from.
    """
    if not library.functions:
        return list(nodes), {}
    result: list[Any] = []
    owners: dict[str, str] = {}
    pending = list(reversed(list(nodes)))
    while pending:
        node = pending.pop()
        name = library.called(node)
        if name is None or name not in library.functions or keep(name):
            result.append(node)
            continue
        body = _body(node, library.functions[name], library)
        caller: str = node.name
        for new in body:
            if new.name != caller:
                owners[new.name] = owners.get(caller, caller)
        pending.extend(reversed(body))
    return result, owners


def _body(call: Any, function: Any, library: Library) -> list[Any]:
    """Returns the nodes of a function's body, as called by `call`."""
    data = [i for i in call.input if not i.startswith("^")]
    control = [i for i in call.input if i.startswith("^")]
    arguments = dict(zip((a.name for a in function.signature.input_arg), data, strict=False))
    inner = {n.name: n for n in function.node_def}
    ranges = {n.name: library.output_ranges(n) for n in function.node_def}

    def within(name: str) -> str:
        return f"{call.name}/_body/{name}"

    def outer(text: str) -> str:
        if text.startswith("^"):
            if text[1:] in arguments:
                return f"^{Ref.parse(arguments[text[1:]]).node}"
            return f"^{within(text[1:])}"
        node, _, rest = text.partition(":")
        if node in inner:
            argument, _, index = rest.partition(":")
            return str(Ref(within(node), ranges[node][argument] + int(index or 0)))
        return arguments[node]

    body = []
    for node in function.node_def:
        new = node_def_pb2.NodeDef()
        new.CopyFrom(node)
        new.name = within(node.name)
        del new.input[:]
        new.input.extend([outer(i) for i in node.input])
        if not node.input:
            new.input.extend(control)
        _fill_placeholders(new, ChainMap(dict(call.attr), dict(function.attr)))
        body.append(new)
    effects = [f"^{within(n)}" for n in function.control_ret.values()]
    effects += [f"^{within(n.name)}" for n in function.node_def if _acts(n)]
    body.append(_returned(call, function, outer, control + sorted(set(effects) - set(control))))
    return body


def _returned(call: Any, function: Any, outer: Callable[[str], str], control: list[str]) -> Any:
    """Makes the node that stands for the call: what its function returns, once its effects have happened."""
    outputs = [outer(function.ret[a.name]) for a in function.signature.output_arg]
    node = node_def_pb2.NodeDef(name=call.name, op="IdentityN" if outputs else "NoOp")
    node.input.extend(outputs + control)
    if outputs:
        if call.op in CALLS:
            types = list(call.attr["Tout"].list.type)
        else:
            types = [call.attr[a.type_attr].type if a.type_attr else a.type for a in function.signature.output_arg]
        node.attr["T"].list.type.extend(types)
    return node


def _acts(node: Any) -> bool:
    """Tells whether a node of a function's body runs for what it does, as an assignment."""
    definition = op_def(node.op)
    return bool(definition and definition.is_stateful and not definition.output_arg)


def _fill_placeholders(node: Any, values: Mapping[str, Any]) -> None:
    for key in [k for k, v in node.attr.items() if v.WhichOneof("value") == "placeholder"]:
        name = node.attr[key].placeholder
        if name in values:
            node.attr[key].CopyFrom(values[name])


def rename_functions(graph_def: Any, library: Library, suffix: str) -> None:
    """Adds to `graph_def` the functions that its nodes name, under names that end in `suffix`.

    Args:
        graph_def: A GraphDef whose nodes may be changed; its library is empty.
        library: The functions.
        suffix: What makes the names unique in this process.
    """
    names = library.reachable(graph_def.node)
    for node in graph_def.node:
        _rename(node, names, suffix)
    for name in sorted(names):
        function = graph_def.library.function.add()
        function.CopyFrom(library.functions[name])
        function.signature.name += suffix
        for node in function.node_def:
            _rename(node, names, suffix)
    for name, gradient in library.gradients.items():
        if name in names and gradient in names:
            graph_def.library.gradient.add(function_name=name + suffix, gradient_func=gradient + suffix)


def _rename(node: Any, names: set[str], suffix: str) -> None:
    if node.op in names:
        node.op += suffix
    for value in node.attr.values():
        for function in _functions_in(value):
            if function.name in names:
                function.name += suffix


def _functions_in(value: attr_value_pb2.AttrValue) -> list[Any]:
    kind = value.WhichOneof("value")
    if kind == "func":
        return [value.func]
    return list(value.list.func) if kind == "list" else []
