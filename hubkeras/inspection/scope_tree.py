"""A graph by its name scopes: what a drawing of it needs, small enough to be part of a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DEEPEST, _SHALLOW, _MANY_NODES = 24, 4, 30_000
_MOST_CHILDREN, _GROUPED_FROM = 80, 24


@dataclass
class _Scope:
    """A scope with what lies in it, or a node."""

    children: dict[str, _Scope] = field(default_factory=dict)
    edges: Counter[tuple[str, str]] = field(default_factory=Counter)
    op: str = ""
    nodes: int = 0
    """How many nodes of the graph lie in it."""


def scope_tree(meta_graph: Any) -> dict[str, Any]:
    """Arranges a graph, and the bodies of its functions, by name scopes.

    Args:
        meta_graph: A `MetaGraphDef`.

    Returns:
        A tree of `{"name", "op", "nodes", "children", "edges"}`: `op` is empty for a scope, `nodes` counts the nodes of
        the graph in it, and an edge `[i, j, count]` says how many tensors go from child i to child j. Nodes of one op
        type are put together where a scope has many, and what lies deep in a very large graph is only counted.
    """
    functions = meta_graph.graph_def.library.function
    bodies = [(f"functions/{f.signature.name.replace('/', '_')}/", f.node_def) for f in functions]
    parts = [("", meta_graph.graph_def.node), *bodies]
    total = sum(len(nodes) for _, nodes in parts)
    deepest = _DEEPEST if total <= _MANY_NODES else _SHALLOW
    root = _Scope()
    for prefix, nodes in parts:
        _add_graph(root, prefix, nodes, deepest)
    return _to_dict("", root)


def _add_graph(root: _Scope, prefix: str, nodes: Iterable[Any], deepest: int) -> None:
    paths: dict[str, tuple[str, ...]] = {}
    scopes = {name[:end] for name in (node.name for node in nodes) for end in _slashes(name)}
    for node in nodes:
        # A node and a scope may have one name: the node then stands in the scope.
        name = f"{node.name}/({node.name.rpartition('/')[2]})" if node.name in scopes else node.name
        parts = (prefix + name).split("/")
        paths[node.name] = (*parts[:deepest],)
        _add_node(root, paths[node.name], node.op, is_whole=len(parts) <= deepest)
    for node in nodes:
        for text in node.input:
            source = paths.get(Ref.parse(text).node if ":" not in text else text.partition(":")[0])
            if source is not None:
                _add_edge(root, source, paths[node.name])


def _slashes(name: str) -> Iterator[int]:
    return (position for position, character in enumerate(name) if character == "/")


def _add_node(root: _Scope, path: tuple[str, ...], op: str, is_whole: bool) -> None:
    scope = root
    scope.nodes += 1
    for part in path:
        scope = scope.children.setdefault(part, _Scope())
        scope.nodes += 1
    scope.op = op if is_whole else ""


def _add_edge(root: _Scope, source: tuple[str, ...], target: tuple[str, ...]) -> None:
    scope = root
    for ours, theirs in zip(source, target, strict=False):
        if ours != theirs:
            scope.edges[ours, theirs] += 1
            return
        scope = scope.children[ours]


def _to_dict(name: str, scope: _Scope) -> dict[str, Any]:
    groups = _groups(scope)
    order = list(dict.fromkeys(groups.values()))
    scopes_by_group: dict[str, list[_Scope]] = {group: [] for group in order}
    for child, group in groups.items():
        scopes_by_group[group].append(scope.children[child])
    edges: Counter[tuple[int, int]] = Counter()
    place = {group: number for number, group in enumerate(order)}
    for (source, target), count in scope.edges.items():
        pair = place[groups[source]], place[groups[target]]
        if pair[0] != pair[1]:
            edges[pair] += count
    return {
        "name": name,
        "op": scope.op,
        "nodes": scope.nodes,
        "children": [_group_dict(group, scopes_by_group[group]) for group in order],
        "edges": [[*pair, count] for pair, count in edges.items()],
    }


def _groups(scope: _Scope) -> dict[str, str]:
    """Returns under which name each child is shown: its own, unless there are many."""
    children = scope.children
    if len(children) <= _GROUPED_FROM:
        return {name: name for name in children}
    same = Counter(child.op for child in children.values() if not child.children)
    groups = {
        name: name if child.children or same[child.op] == 1 else f"{same[child.op]} of {child.op}"
        for name, child in children.items()
    }
    largest = Counter({group: 0 for group in groups.values()})
    for name, group in groups.items():
        largest[group] += children[name].nodes
    kept = {group for group, _ in largest.most_common(_MOST_CHILDREN)}
    return {name: group if group in kept else "the rest" for name, group in groups.items()}


def _group_dict(group: str, scopes: list[_Scope]) -> dict[str, Any]:
    if len(scopes) == 1:
        return _to_dict(group, scopes[0])
    ops = {scope.op for scope in scopes}
    nodes = sum(scope.nodes for scope in scopes)
    return {"name": group, "op": ops.pop() if len(ops) == 1 else "", "nodes": nodes, "children": [], "edges": []}
