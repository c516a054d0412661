"""Losses that a model's call adds: those of variables alone are regularization losses of its module."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hubkeras.publishing.tensor_infos import tensor_names
from hubkeras.publishing.update_ops import find_updates
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from hubkeras.publishing.function_traces import Trace


def split_losses(trace: Trace, prefix: str) -> tuple[Trace, Trace, int]:
    """Takes the losses out of the outputs of a trace.

    A module computes its regularization losses where it has no inputs, and as often as it is asked. So losses that
    need an input, or an assignment of the call, are left out.

    Args:
        trace: The trace of a call.
        prefix: What the names of those outputs begin with that are losses.

    Returns:
        The trace without them; one whose outputs are the losses of variables; how many others there are.
    """
    outputs = {name: info for name, info in trace.outputs.items() if not name.startswith(prefix)}
    losses = {name: info for name, info in trace.outputs.items() if name.startswith(prefix)}
    outside = {Ref.parse(tensor).node for tensor in tensor_names(trace.inputs.values())} | set(find_updates(trace))
    kept = {name: info for name, info in losses.items() if outside.isdisjoint(_needed(trace, info))}
    return (
        dataclasses.replace(trace, outputs=outputs),
        dataclasses.replace(trace, inputs={}, outputs=kept),
        len(losses) - len(kept),
    )


def _needed(trace: Trace, info: Any) -> set[str]:
    return {node.name for node in prune(trace.nodes, tensor_names([info])).nodes}
