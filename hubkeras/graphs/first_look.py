"""Looks for operations in a module that reach out of the graph, before any of it runs.

Only what can run is looked at: the signatures, update ops, regularization losses, table initializers and initial
values, through all functions that they call. The saver of a SavedModel is not, since nobody runs it. A scan is no
sandbox: a module that passes can still use up memory and time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hubkeras.errors import UnsafeModuleError
from hubkeras.graphs.forbidden_ops import FILE_NAME_INPUTS, PRINT_TO_STREAM, is_forbidden, is_suspect
from hubkeras.savedmodel.collection_defs import TABLE_INITIALIZERS, node_names
from hubkeras.savedmodel.graph import Graph, attribute, index_graph, op_name, tensor_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hubkeras.savedmodel.description import GraphVariant, ModuleDescription

_SHOWN = 5
_CALL_OPS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


@dataclass(frozen=True)
class _Run:
    """Something that one call can run."""

    roots: tuple[str, ...]
    fed: frozenset[str] = frozenset()
    """Tensors that come from the caller; what computes them does not run."""


@dataclass(frozen=True)
class _Call:
    """A function with what is known of its arguments."""

    function: str
    assets: frozenset[str]
    """Arguments that hold the path of an asset."""


@dataclass(frozen=True)
class _Finding:
    op: str
    node: str
    function: str = ""

    def __str__(self) -> str:
        place = f" of the function {self.function!r}" if self.function else ""
        return f"{self.op} (node {self.node!r}{place})"


@dataclass(frozen=True, eq=False)
class _Program:
    """All that can run of one MetaGraph."""

    meta_graph: Any
    assets: frozenset[str]
    """Tensors that hold the path of an asset."""
    runs: tuple[_Run, ...]
    calls: tuple[_Call, ...]
    """Functions that are called from outside the graph."""
    allowed: frozenset[str]
    """Types of operations that are nobody's concern."""

    @cached_property
    def graph(self) -> Graph:
        return index_graph(self.meta_graph.graph_def)

    def is_bad(self, node: Any, nodes: Mapping[str, Any], assets: frozenset[str]) -> bool:
        """Whether a node does what it must not, given the nodes beside it and the tensors that are paths of assets."""
        position = FILE_NAME_INPUTS.get(node.op)
        if node.op in self.allowed:
            return False
        if position is not None:
            return len(node.input) <= position or not _is_asset(node.input[position], nodes, assets)
        if node.op == PRINT_TO_STREAM:
            return attribute(node, "output_stream").s.startswith(b"file:")
        return is_forbidden(node.op)

    @cached_property
    def library(self) -> Mapping[str, Any]:
        return {function.signature.name: function for function in self.meta_graph.graph_def.library.function}


def scan(description: ModuleDescription, allow_ops: Iterable[str] = ()) -> None:
    """Refuses a module that can read or write files, reach the network, or call Python.

    Args:
        description: The module.
        allow_ops: Types of operations that may be there nevertheless.

    Raises:
        UnsafeModuleError: The module holds such an operation, and something that can run needs it.

    Example:
        >>> scan(read_module("module"), allow_ops=["Print"])  # doctest: +SKIP
    """
    findings: dict[str, _Finding] = {}
    for program in _programs(description, frozenset(allow_ops)):
        findings |= {str(finding): finding for finding in _scan_program(program)}
    if findings:
        raise _unsafe(description, list(findings.values()))


def _unsafe(description: ModuleDescription, findings: list[_Finding]) -> UnsafeModuleError:
    ops = sorted({finding.op for finding in findings})
    shown = ", ".join(map(str, findings[:_SHOWN]))
    more = f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    return UnsafeModuleError(
        f"The module {description.path} holds operations that reach out of the graph",
        expected="no access to files other than the module's assets, to the network, or to Python",
        received=f"{shown}{more}",
        fix=f"If you trust whoever made the module, pass allow_ops={ops!r} or safe_mode=False",
    )


def _programs(description: ModuleDescription, allowed: frozenset[str]) -> Iterator[_Program]:
    for variant in description.variants:
        assets = frozenset(tensor_name(asset.tensor) for asset in variant.assets)
        yield _Program(variant.meta_graph, assets, tuple(_variant_runs(variant)), (), allowed)
    for meta_graph in description.object_graphs:
        yield _Program(meta_graph, frozenset(), (), tuple(_object_calls(meta_graph)), allowed)


def _variant_runs(variant: GraphVariant) -> Iterator[_Run]:
    initial_values = [spec.initial_value for spec in variant.variables.values() if not spec.in_checkpoint]
    initializers = node_names(variant.meta_graph, TABLE_INITIALIZERS)
    yield _Run((*initializers, *variant.table_initializers, *filter(None, initial_values)))
    yield _Run(variant.regularization_losses)
    for signature in variant.signatures.values():
        outputs = [tensor for info in signature.outputs.values() for tensor in info.tensors]
        inputs = [tensor for info in signature.inputs.values() for tensor in info.tensors]
        yield _Run((*outputs, *variant.update_ops), frozenset(inputs))


def _object_calls(meta_graph: Any) -> Iterator[_Call]:
    """Yields the functions of a TF2 SavedModel's objects; their last arguments are captured objects.

    Nothing else of it runs: the graph beside them serves programs that know no objects.
    """
    objects = meta_graph.object_graph_def
    arguments = {
        function.signature.name: [argument.name for argument in function.signature.input_arg]
        for function in meta_graph.graph_def.library.function
    }
    for name, function in objects.concrete_functions.items():
        captured = list(function.bound_inputs)
        names = arguments.get(name, [])[-len(captured) :] if captured else []
        kinds = [objects.nodes[i].WhichOneof("kind") if 0 <= i < len(objects.nodes) else None for i in captured]
        yield _Call(name, frozenset(arg for arg, kind in zip(names, kinds, strict=False) if kind == "asset"))


def _scan_program(program: _Program) -> list[_Finding]:
    """Finds what is forbidden and can run.

    Most graphs hold nothing suspect, and need no search for what can run. Most others keep it where nothing of the
    graph can run it, whatever is fed. Only the rest is searched call by call.
    """
    suspects = [node for node in program.meta_graph.graph_def.node if is_suspect(node.op)]
    nodes = program.graph.nodes if suspects else {}
    bad_nodes = frozenset(node.name for node in suspects if program.is_bad(node, nodes, program.assets))
    enter = any(is_suspect(node.op) for function in program.library.values() for node in function.node_def)
    if not bad_nodes and not enter:
        return []
    everything = _Run(tuple(root for run in program.runs for root in run.roots))
    if not _search(program, (everything,), bad_nodes, enter=enter):
        return []
    return _search(program, program.runs, bad_nodes, enter=enter)


def _search(
    program: _Program,
    runs: tuple[_Run, ...],
    bad_nodes: frozenset[str],
    *,
    enter: bool,
) -> list[_Finding]:
    findings: list[_Finding] = []
    calls: set[_Call] = {*program.calls, *_gradient_calls(program)} if enter else set()
    for run in runs:
        for node in program.graph.reachable(run.roots, fed=run.fed):
            if node.name in bad_nodes:
                findings.append(_Finding(node.op, node.name))
            if enter:
                calls.update(_calls(node, program.graph.nodes, program))
    return findings + list(_search_functions(program, calls))


def _search_functions(program: _Program, calls: set[_Call]) -> Iterator[_Finding]:
    pending, seen = list(calls), set(calls)
    while pending:
        call = pending.pop()
        function = program.library.get(call.function)
        if function is None:
            continue
        nodes = {node.name: node for node in function.node_def}
        inner = _default_calls(function)
        for node in function.node_def:
            if is_suspect(node.op) and program.is_bad(node, nodes, call.assets):
                yield _Finding(node.op, node.name, call.function)
            inner |= _calls(node, nodes, program, call.assets)
        pending.extend(inner - seen)
        seen |= inner


def _gradient_calls(program: _Program) -> Iterator[_Call]:
    library = program.meta_graph.graph_def.library
    for gradient in (*library.gradient, *library.registered_gradients):
        yield _Call(gradient.gradient_func, frozenset())


def _calls(node: Any, nodes: Mapping[str, Any], program: _Program, assets: frozenset[str] | None = None) -> set[_Call]:
    """Returns the functions that a node calls or hands on, by its type or in its attributes."""
    names = {node.op} if node.op in program.library else set()
    names.update(_function_names(node.attr.values()))
    known = program.assets if assets is None else assets
    return {_Call(name, _asset_arguments(node, nodes, program.library.get(name), known)) for name in names}


def _default_calls(function: Any) -> set[_Call]:
    """Returns the functions that a function calls where its caller names no others."""
    defaults = [attr.default_value for attr in function.signature.attr]
    return {_Call(name, frozenset()) for name in _function_names([*defaults, *function.attr.values()])}


def _function_names(values: Iterable[Any]) -> Iterator[str]:
    """Yields the functions that attributes name, also those handed to other functions as their attributes."""
    for value in values:
        kind = value.WhichOneof("value")
        if kind == "func":
            functions = [value.func]
        elif kind == "list":
            functions = value.list.func
        else:
            continue
        for function in functions:
            yield function.name
            yield from _function_names(function.attr.values())


def _asset_arguments(
    node: Any, nodes: Mapping[str, Any], function: Any | None, assets: frozenset[str]
) -> frozenset[str]:
    if function is None or node.op not in _CALL_OPS:
        return frozenset()
    pairs = zip(function.signature.input_arg, node.input, strict=False)
    return frozenset(argument.name for argument, value in pairs if _is_asset(value, nodes, assets))


def _is_asset(value: str, nodes: Mapping[str, Any], assets: frozenset[str]) -> bool:
    """Tells whether a value is the path of an asset: its constant or argument, or what passes that on unchanged."""
    visited = set()
    while value not in visited:
        visited.add(value)
        node = nodes.get(op_name(value))
        if value in assets or tensor_name(value) in assets:
            return node is None or node.op == "Const"
        if node is None or node.op != "Identity" or not node.input:
            return False
        value = node.input[0]
    return False
