"""A look at a module before anything of it runs, so that its user hears early what the gate would refuse later.

It goes by the same tables as the gate, over what can run: the signatures, update ops, regularization losses, table
initializers and initial values, through all functions that they call. The saver of a SavedModel is not looked at, since
nobody runs it. Safety does not rest on this look: it judges a graph as it stands in the file, the gate what runs.
A TF2 SavedModel is not looked at: all of it passes the gate when it is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hubkeras.graphs.control_flow import ContextTree, with_pivots
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.gate import find_forbidden, refuse
from hubkeras.savedmodel.collection_defs import TABLE_INITIALIZERS, node_names
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubkeras.graphs.gate import Finding
    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.savedmodel.description import GraphVariant, ModuleDescription


class _Run(NamedTuple):
    """Something that one call can run."""

    roots: tuple[str, ...]
    fed: frozenset[str] = frozenset()
    """Tensors that come from the caller; what computes them does not run."""


def look_at(description: ModuleDescription, policy: OpPolicy) -> None:
    """Refuses a module that can read or write files, reach the network, or call Python.

    Args:
        description: The module.
        policy: What the user lets it do.

    Raises:
        UnsafeModuleError: The module holds an op that is not allowed, and something that can run needs it.

    Example:
        >>> look_at(read_module("module"), OpPolicy())  # doctest: +SKIP
    """
    if policy.safe_mode:
        refuse(find_refused(description, policy), f"module {description.label}")


def find_refused(description: ModuleDescription, policy: OpPolicy) -> list[Finding]:
    """Finds what is not allowed and can run, each finding once.

    Args:
        description: The module; nothing is found in a TF2 SavedModel, see `object_graph.find_refused_in_objects`.
        policy: What the user lets it do.
    """
    found = {str(finding): finding for variant in description.variants for finding in _find(variant, policy)}
    return list(found.values())


def _find(variant: GraphVariant, policy: OpPolicy) -> list[Finding]:
    """Finds what is not allowed and can run.

    Most graphs hold nothing that needs a second look. Most others keep it where nothing can run it, whatever is fed.
    Only the rest is searched call by call.
    """
    library = FunctionLibrary.of(variant.meta_graph.graph_def.library)
    runs = list(_runs(variant))
    everything = _Run(tuple(root for run in runs for root in run.roots))
    nodes = variant.nodes.values()
    if not _find_in(nodes, library, policy, frozenset()):
        return []
    contexts = ContextTree.of(variant.meta_graph)
    assets = frozenset(Ref.parse(asset.tensor).tensor for asset in variant.assets)
    found: list[Finding] = []
    for run in [everything, *runs]:
        pruned = {node.name: node for node in prune(variant.nodes, run.roots, run.fed).nodes}
        nodes = with_pivots(pruned, variant.nodes, contexts, run.fed).values()
        found += _find_in(nodes, library, policy, assets - run.fed)
        if run is everything:
            if not found:
                return []
            found = []
    return found


def _find_in(nodes: Any, library: FunctionLibrary, policy: OpPolicy, assets: frozenset[str]) -> list[Finding]:
    return find_forbidden(nodes, library.only(library.reachable(nodes)), policy, assets=assets)


def _runs(variant: GraphVariant) -> Iterator[_Run]:
    initial_values = [spec.initial_value for spec in variant.variables.values() if not spec.in_checkpoint]
    initializers = node_names(variant.meta_graph, TABLE_INITIALIZERS)
    ops = (*initializers, *variant.table_initializers)
    yield _Run((*map(_op, ops), *filter(None, initial_values)))
    yield _Run(variant.regularization_losses)
    for signature in variant.signatures.values():
        # An update op runs even where the tensor that it gives is fed; as a root it is an op, not a tensor.
        roots = (*signature.output_tensors(), *map(_op, variant.update_ops))
        yield _Run(roots, frozenset(signature.input_tensors))


def _op(name: str) -> str:
    return f"^{Ref.parse(name).node}"
