"""State that stands inside functions: tables which a function makes, and what another one fills them with.

An Estimator that is exported with a layer of TensorFlow 2 has such functions. Whoever asks a graph for its state, and
for what fills it, must find it among the graph's nodes, so calls of these functions are written out before anything
else looks at the graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.graphs.inlining import inline_calls
from hubkeras.graphs.state_nodes import is_state
from hubkeras.savedmodel.collection_defs import is_table_initializer

if TYPE_CHECKING:
    from hubkeras.graphs.function_library import FunctionLibrary
    from hubkeras.graphs.subgraph import Subgraph


def expose_state(graph: Subgraph) -> Subgraph:
    """Writes out, in the whole graph of a variant, the calls of functions that hold or fill state, and no others."""
    names = _with_state(graph.library)
    return inline_calls(graph, only=names) if names else graph


def _with_state(library: FunctionLibrary) -> frozenset[str]:
    """Returns the functions that hold or fill state, themselves or by what they name."""
    found = {name for name, f in library.functions.items() if any(map(_concerns_state, f.node_def))}
    grown = bool(found)
    while grown:
        # A caller of such a function must be written out as well, or its call would hide the state once more.
        callers = {name for name in library.functions if not found.isdisjoint(library.named_within(name))}
        grown = not callers <= found
        found |= callers
    return frozenset(found)


def _concerns_state(node: Any) -> bool:
    return is_table_initializer(node.op) or is_state(node)
