"""The door to TensorFlow: every graph that hubkeras has it run goes through here, judged right before.

This file holds the package's one call of `import_graph_def`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError, HubKerasError
from hubkeras.graphs.gate import check_graph
from hubkeras.graphs.kernel_guards import guard_meta_graph
from hubkeras.graphs.lost_gradients import is_lost, refuse_lost_gradients
from hubkeras.graphs.structure import MOST_ELEMENTS
from hubkeras.graphs.subgraph import used_tensors
from hubkeras.graphs.tensorflow_internals import comes_from_gradient
from hubkeras.savedmodel.protos import MetaGraphDef
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.graphs.subgraph import Subgraph

_CANNOT_DIFFERENTIATE = (
    *(ValueError, TypeError, KeyError, IndexError),
    *(AttributeError, AssertionError, OverflowError, RecursionError),
)
"""What TensorFlow raises about a graph that it cannot differentiate; not what a legal one may bring about as well:
errors of ops that run, and the LookupError of an op that has no gradient."""
_FILLED = frozenset({"Fill", "ZerosLike", "OnesLike"})
"""Ops for which Grappler puts a constant of their shape, and ends the process where a product of dimensions overflows.
The shape may itself be computed, so it is known only once the graph is there."""
_CANNOT_IMPORT = (*_CANNOT_DIFFERENTIATE, LookupError, RuntimeError, tf.errors.OpError)
"""What TensorFlow raises about a graph that it cannot take, from wherever in it that comes to light."""


def import_graph(graph: Subgraph, outside: Mapping[str, tf.Tensor], scope: str | None = "") -> list[tf.Tensor]:
    """Puts a subgraph into the graph that is being built.

    Args:
        graph: The subgraph.
        outside: What it takes from outside, by the reserved names of these tensors.
        scope: What the names of its nodes start with; None for something that is not taken yet.

    Returns:
        The fetched tensors, given out once the targets have run; a constant where there are only targets.

    Raises:
        FormatError: It is malformed.
        UnsafeModuleError: It holds ops that nobody allowed.
    """
    inner = [name for name in graph.fetches if name not in outside]
    imported = _import(graph, outside, [*inner, *graph.targets], scope)
    known = {**outside, **dict(zip(inner, imported, strict=False))}
    fetched = [known[name] for name in graph.fetches]
    targets = imported[len(inner) :]
    if targets:
        with tf.control_dependencies(targets):
            # A function must return something that waits for the targets, or TensorFlow would drop them as unused.
            fetched = [tf.identity(t) for t in fetched or [tf.constant(True)]]
    return fetched


def import_with_contexts(graph: Subgraph, outside: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Puts a subgraph into the plain graph that is being built, with the contexts of its v1 control flow.

    Returns:
        The fetched tensors by name.

    Raises:
        FormatError: It is malformed.
        UnsafeModuleError: It holds ops that nobody allowed.
    """
    inner = [name for name in graph.fetches if name not in outside]
    imported = _import(graph, outside, inner, "")
    contexts = MetaGraphDef()
    contexts.graph_def.versions.CopyFrom(graph.graph_def.versions)
    present = {*graph.nodes, *(Ref.parse(name).node for name in outside)}
    for collection, values in graph.contexts.surviving(present).items():
        contexts.collection_def[collection].bytes_list.value.extend(values)
    with _import_errors(graph.purpose):
        _restore_collections(contexts, None)
    known = {**outside, **dict(zip(inner, imported, strict=True))}
    return {name: known[name] for name in graph.fetches}


def import_whole_graph(
    meta_graph: Any,
    outside: Mapping[str, tf.Tensor],
    scope: str,
    *,
    policy: OpPolicy,
    purpose: str,
    assets: Collection[str] = (),
    lost: Collection[str] = (),
) -> None:
    """Puts a graph variant with all its nodes and collections into the graph that is being built, as TF1 did.

    Args:
        meta_graph: The `MetaGraphDef`; checks of inputs are put into it.
        outside: Tensors that take the place of some in it, by the names of these.
        scope: A name scope that is not taken yet in the current one.
        policy: What the gate lets it do.
        purpose: What it is, for messages.
        assets: Full names of its constants that hold the path of an asset, put there by the caller.
        lost: Names of its nodes whose gradient was a Python function of another program.

    Raises:
        FormatError: It is malformed.
        UnsafeModuleError: It holds ops that nobody allowed.
    """
    guard_meta_graph(meta_graph, purpose)
    graph_def = meta_graph.graph_def
    check_graph(graph_def, policy, purpose, assets=set(assets) - outside.keys())
    collections = MetaGraphDef(meta_info_def=meta_graph.meta_info_def)
    collections.graph_def.versions.CopyFrom(graph_def.versions)
    for name, values in meta_graph.collection_def.items():
        collections.collection_def[name].CopyFrom(values)
    with _import_errors(purpose):
        ops = _run_import(graph_def, outside, lost, scope, purpose, meta_graph.meta_info_def.stripped_op_list)
        # The slash says that the scope is the one which was just made, and not a new one of this name.
        _restore_collections(collections, f"{scope}/")
    refuse_lost_gradients(ops)


def _restore_collections(collections: Any, scope: str | None) -> None:
    # It imports a graph too, which does no harm, as this one is empty. It must say of which version it is: an old graph
    # makes the whole graph an old one, in which a placeholder of shape [] has any shape.
    tf.compat.v1.train.import_meta_graph(collections, import_scope=scope)


def _run_import(
    graph_def: Any,
    given: Mapping[str, tf.Tensor],
    wanted: Collection[str],
    scope: str | None,
    purpose: str,
    producer_ops: Any = None,
) -> Any:
    filled = [f"{node.name}:0" for node in graph_def.node if node.op in _FILLED]
    results = tf.graph_util.import_graph_def(
        graph_def, input_map=given, return_elements=[*wanted, *filled], name=scope, producer_op_list=producer_ops
    )
    _check_sizes(results[len(wanted) :], f"Cannot import {purpose}")
    return results[: len(wanted)]


def check_filled(graph: tf.Graph, where: str) -> None:
    """Refuses a graph that TensorFlow has imported itself, if Grappler would end the process over it.

    Raises:
        FormatError: A shape overflows.
    """
    _check_sizes([op.outputs[0] for op in graph.get_operations() if op.type in _FILLED], f"Cannot load {where}")


def _check_sizes(tensors: Iterable[tf.Tensor], problem: str) -> None:
    for tensor in tensors:
        if tensor.shape.is_fully_defined() and tensor.shape.num_elements() > MOST_ELEMENTS:
            raise FormatError(
                problem,
                expected=f"tensors of at most {MOST_ELEMENTS} elements",
                received=f"shape {tensor.shape} of {tensor.name!r}",
                fix="The module is damaged, or was made to do harm",
            )


def _import(
    graph: Subgraph, outside: Mapping[str, tf.Tensor], wanted: Sequence[str], scope: str | None
) -> list[tf.Tensor]:
    used = used_tensors(graph.nodes.values())
    # TensorFlow refuses names in `input_map` that nothing takes.
    given = {name: tensor for name, tensor in outside.items() if name in used}
    graph_def = graph.graph_def
    check_graph(
        graph_def, graph.policy, graph.purpose, given=given.keys(), fetches=wanted, assets=graph.asset_arguments
    )
    lost = [n.name for n in graph_def.node if is_lost(n)]
    with _import_errors(graph.purpose):
        results = _run_import(graph_def, given, [*wanted, *lost], scope, graph.purpose)
    refuse_lost_gradients(results[len(wanted) :])
    return results[: len(wanted)]


@contextmanager
def _import_errors(purpose: str) -> Iterator[None]:
    try:
        yield
    except HubKerasError:
        raise
    except _CANNOT_IMPORT as error:
        raise _named(error, f"Cannot import {purpose}", "takes") from error


@contextmanager
def gradient_errors(purpose: str) -> Iterator[None]:
    """Names what TensorFlow raises where it differentiates a malformed graph, and nothing else.

    Args:
        purpose: What the graph is, for messages.
    """
    try:
        yield
    except HubKerasError:
        raise
    except _CANNOT_DIFFERENTIATE as error:
        if not comes_from_gradient(error):  # but from what the caller passed, such as a tensor of another graph
            raise
        raise _named(error, f"Cannot differentiate {purpose}", "differentiates") from error


def _named(error: Exception, problem: str, does: str) -> FormatError:
    return FormatError(
        problem,
        expected=f"a graph that TensorFlow {does}",
        received=f"{type(error).__name__}: {error}".partition("\n")[0],
        fix="The module is damaged, or was written for another version of TensorFlow",
    )
