"""Calls within functions that stay functions, as the bodies of loops and branches do: written out like all others."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.inlining import inline_calls
from hubkeras.graphs.op_forms import find_output, output_ranges
from hubkeras.graphs.subgraph import by_name
from hubkeras.savedmodel.protos import FunctionDef, NodeDef, copy_of
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hubkeras.graphs.subgraph import Subgraph


def inline_within_functions(graph: Subgraph) -> Subgraph:
    """Replaces the calls within functions by the bodies of what they call.

    Whoever differentiates a loop or a branch finds no gradients through a call that is in a file.
    """
    library = graph.library
    functions = dict(library.functions)
    for name, function in library.functions.items():
        if any(library.called(node) is not None for node in function.node_def):
            functions[name] = _written_out(function, graph)
    return dataclasses.replace(graph, library=FunctionLibrary(functions, library.gradients))


def _written_out(function: Any, graph: Subgraph) -> Any:
    # Inlining works on references as a graph has them, "node:3"; a FunctionDef says "node:argument:number". So they are
    # turned into those of a graph, with placeholders for the arguments, and back.
    arguments = {argument.name for argument in function.signature.input_arg}
    ranges = {node.name: output_ranges(node, graph.library.functions) for node in function.node_def}

    def position(text: str) -> str:
        node = text.partition(":")[0]
        return text if text.startswith("^") or node in arguments else str(Ref(node, find_output(text, ranges)))

    nodes = [NodeDef(name=name, op="Placeholder") for name in sorted(arguments)]
    nodes += [_with_inputs(node, position) for node in function.node_def]
    inlined = inline_calls(dataclasses.replace(graph, nodes=by_name(nodes)))
    written = FunctionDef()
    written.CopyFrom(function)
    argument = _argument_names(inlined.nodes.values(), arguments, inlined.library)
    for key, text in function.ret.items():
        written.ret[key] = argument(position(text))
    del written.node_def[:]
    written.node_def.extend(_with_inputs(n, argument) for n in inlined.nodes.values() if n.name not in arguments)
    return written


def _argument_names(
    nodes: Collection[Any], arguments: Collection[str], library: FunctionLibrary
) -> Callable[[str], str]:
    """Returns what turns "node:3" into "node:argument:number", as references within functions are written."""
    ranges = {node.name: output_ranges(node, library.functions) for node in nodes if node.name not in arguments}

    def name(text: str) -> str:
        ref = Ref.parse(text)
        if ref.index is None or ref.node in arguments:
            return text
        for argument, outputs in ranges[ref.node].items():
            if ref.index in outputs:
                return f"{ref.node}:{argument}:{ref.index - outputs.start}"
        return text

    return name


def _with_inputs(node: Any, change: Callable[[str], str]) -> Any:
    changed = copy_of(node)
    changed.input[:] = [change(text) for text in node.input]
    return changed
