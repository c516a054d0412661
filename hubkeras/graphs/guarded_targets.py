"""Targets inside branches of v1 control flow, made such that something can wait for them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hubkeras.savedmodel.protos import NodeDef, dtypes

if TYPE_CHECKING:
    from hubkeras.graphs.subgraph import Subgraph


def guard_targets(graph: Subgraph) -> Subgraph:
    """Makes what waits for a target run also where the branch that holds the target is not taken.

    An op inside a branch of a v1 `cond` may be dead, and what waits for a dead op never runs. A `Merge` of "the op
    has run" and "the other branch was taken" can be waited for.
    """
    if not graph.contexts.roots:
        return graph
    made: dict[str, Any] = {}
    targets = tuple(_guard(target, graph, made) if target in graph.nodes else target for target in graph.targets)
    return dataclasses.replace(graph, nodes={**graph.nodes, **made}, targets=targets)


def _guard(target: str, graph: Subgraph, made: dict[str, Any]) -> str:
    """Returns the op to wait for in a target's place: the target itself where it is in no branch."""
    waited = target
    # From the inside out: each Merge lies in the next branch around, which may not be taken either.
    for depth, context in enumerate(graph.contexts.branches_around(graph.nodes[target])):
        scope = f"{target}/_alive_{depth}"
        _add_bool(made, f"{scope}/switch", "Switch", context.pred_name, context.pred_name)
        taken = f"{scope}/switch:{context.branch}"
        other = f"{scope}/switch:{1 - context.branch}"
        _add_bool(made, f"{scope}/done", "Identity", taken, f"^{waited}")
        _add_bool(made, f"{scope}/merge", "Merge", f"{scope}/done", other).attr["N"].i = 2
        waited = f"{scope}/merge"
    return waited


def _add_bool(made: dict[str, Any], name: str, op: str, *inputs: str) -> Any:
    node = made[name] = NodeDef(name=name, op=op, input=inputs)
    node.attr["T"].type = dtypes.DT_BOOL
    return node
