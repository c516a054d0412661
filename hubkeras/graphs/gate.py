"""The gate: what TensorFlow gets is judged here, in the form in which it gets it, right before.

Ops must stand on a reviewed list (`allowed_ops.tsv`), some under a condition. What is not on the list reaches out of
the graph, ends the process, or was never looked at. A user lifts the list for single ops (`allow_ops=`) or as a whole
(`safe_mode=False`); nobody lifts the checks of structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hubkeras.errors import UnsafeModuleError
from hubkeras.graphs.asset_paths import Scope, asset_arguments
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.op_registry import op_def
from hubkeras.graphs.op_rules import is_unconditional, objection
from hubkeras.graphs.structure import check_structure
from hubkeras.savedmodel.graph_index import data_input_texts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from hubkeras.graphs.op_policy import OpPolicy

_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """A node that is not allowed."""

    op: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.op} ({self.place}), which {self.reason}"


def check_graph(
    graph_def: Any,
    policy: OpPolicy,
    where: str,
    *,
    given: Collection[str] = (),
    fetches: Collection[str] = (),
    assets: Collection[str] = (),
) -> None:
    """Judges a graph that is about to be imported.

    Args:
        graph_def: The `GraphDef` with its library.
        policy: What the user lets it do.
        where: What it is, for messages.
        given: Full names of the tensors that come from outside of it.
        fetches: Full names of the tensors, or names of the ops, that are wanted of it.
        assets: Those of the given tensors that hold the path of an asset, filled in by the executor.

    Raises:
        FormatError: It is malformed.
        UnsafeModuleError: It holds ops that nobody allowed.
    """
    check_structure(graph_def, given, where, fetches)
    if policy.safe_mode:
        refuse(find_forbidden(graph_def.node, FunctionLibrary.of(graph_def.library), policy, assets=assets), where)


def find_forbidden(
    nodes: Collection[Any],
    library: FunctionLibrary,
    policy: OpPolicy,
    *,
    assets: Collection[str] = (),
    roots: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> list[Finding]:
    """Finds the nodes of a graph and of its functions that are not allowed.

    Args:
        nodes: NodeDefs of the graph.
        library: All functions that they can come to call.
        policy: What the user lets them do.
        assets: Full names of the tensors that hold the path of an asset.
        roots: Functions that are called from outside, with those of their arguments that hold paths of assets.
    """
    functions = library.functions
    ops = {node.op for node in nodes} | {node.op for f in functions.values() for node in f.node_def}
    # By op first: a graph may have tens of thousands of nodes, but few op types, and most of these are allowed as they
    # are.
    suspect_ops = {op for op in ops if op not in functions and _is_suspect(op, policy)}
    if not suspect_ops:
        return []
    suspects = [node for node in nodes if node.op in suspect_ops]
    bodies = {name: [n for n in f.node_def if n.op in suspect_ops] for name, f in functions.items()}
    graph = Scope({node.name: node for node in nodes}, frozenset(assets), functions)
    findings = list(_objections(suspects, graph, "node {!r}"))
    # TensorFlow itself calls the gradients of functions, with arguments that nobody here sees.
    called = {**roots, **dict.fromkeys(library.gradients.values(), ())}
    known = asset_arguments(graph, library, called) if any(bodies.values()) else {}
    for name, body in bodies.items():
        if body:
            scope = Scope({node.name: node for node in functions[name].node_def}, known[name], functions)
            findings += _objections(body, scope, f"node {{!r}} of the function {name!r}")
    return findings


def find_forbidden_nodes(
    nodes: Collection[Any], library: FunctionLibrary, policy: OpPolicy, assets: Collection[str] = ()
) -> set[str]:
    """Returns the names of the nodes of a graph, without its functions, that are not allowed.

    Args:
        nodes: NodeDefs of the graph.
        library: Its functions.
        policy: What the user lets them do.
        assets: Full names of the tensors that hold the path of an asset.
    """
    if not policy.safe_mode:
        return set()
    graph = Scope({node.name: node for node in nodes}, frozenset(assets), library.functions)
    suspects = [n for n in nodes if n.op not in library.functions and _is_suspect(n.op, policy)]
    return {node.name for node in suspects if objection(node, partial(_input_holds_asset, node, graph))}


def _is_suspect(op: str, policy: OpPolicy) -> bool:
    # Internal ops trust the inputs that TensorFlow itself gives them, so not even a user can allow one.
    if is_unconditional(op) or (op in policy.extra_ops and not op.startswith("_")):
        return False
    # What is not registered cannot run: its user shall hear that it is missing, and not that it is forbidden.
    return policy.judges_unknown or op_def(op) is not None


def _objections(nodes: Iterable[Any], scope: Scope, place: str) -> Iterator[Finding]:
    for node in nodes:
        reason = objection(node, partial(_input_holds_asset, node, scope))
        if reason:
            yield Finding(node.op, place.format(node.name), reason)


def _input_holds_asset(node: Any, scope: Scope, position: int) -> bool:
    data = data_input_texts(node)
    return position < len(data) and scope.holds_asset(data[position])


def refuse(findings: list[Finding], where: str) -> None:
    """Raises the error of findings, if there are any.

    Raises:
        UnsafeModuleError: There are.
    """
    if not findings:
        return
    # Not internal ops, which `allow_ops` does not lift.
    liftable = sorted({finding.op for finding in findings if not finding.op.startswith("_")})
    shown = ", ".join(map(str, findings[:_SHOWN]))
    more = f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    raise UnsafeModuleError(
        f"Cannot use {where}: it holds operations that are not allowed",
        expected="operations that compute, and reach no file but the module's assets, no network and no Python",
        received=f"{shown}{more}",
        fix=f"If you trust whoever made the module, pass allow_ops={liftable!r} or safe_mode=False" if liftable else "",
    )
