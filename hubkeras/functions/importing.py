"""The door to TensorFlow: every graph that hubkeras has it run goes through here, judged right before.

This file holds the package's one call of `import_graph_def`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError, HubKerasError
from hubkeras.graphs.gate import check_graph
from hubkeras.graphs.lost_gradients import is_lost, refuse_lost_gradients
from hubkeras.graphs.tensorflow_internals import comes_from_gradient
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hubkeras.graphs.subgraph import Subgraph

_CANNOT_DIFFERENTIATE = (
    *(ValueError, TypeError, KeyError, IndexError),
    *(AttributeError, AssertionError, OverflowError, RecursionError),
)
"""What TensorFlow raises about a graph that it cannot differentiate; not what a legal one may bring about as well:
errors of ops that run, and the LookupError of an op that has no gradient."""
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
            fetched = [tf.identity(t) for t in fetched or [tf.constant(True)]]
    return fetched


def import_with_contexts(graph: Subgraph, outside: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Puts a subgraph into the plain graph that is being built, with the contexts of its v1 control flow.

    Args:
        graph: The subgraph.
        outside: What it takes from outside, by the reserved names of these tensors.

    Returns:
        The fetched tensors by name.

    Raises:
        FormatError: It is malformed.
        UnsafeModuleError: It holds ops that nobody allowed.
    """
    inner = [name for name in graph.fetches if name not in outside]
    imported = _import(graph, outside, inner, "")
    contexts = tf.compat.v1.MetaGraphDef()
    present = {*graph.nodes, *(Ref.parse(name).node for name in outside)}
    for collection, values in graph.contexts.surviving(present).items():
        contexts.collection_def[collection].bytes_list.value.extend(values)
    with _import_errors(graph):
        # It restores collections; that it imports a graph too does no harm, as this one is empty.
        tf.compat.v1.train.import_meta_graph(contexts)
    return {
        **{name: outside[name] for name in graph.fetches if name in outside},
        **dict(zip(inner, imported, strict=True)),
    }


def _import(
    graph: Subgraph, outside: Mapping[str, tf.Tensor], wanted: Sequence[str], scope: str | None
) -> list[tf.Tensor]:
    used = {Ref.parse(text).tensor for node in graph.nodes.values() for text in node.input}
    given = {name: tensor for name, tensor in outside.items() if name in used}
    graph_def = graph.graph_def
    check_graph(graph_def, graph.policy, graph.purpose, given=given.keys(), assets=graph.asset_arguments)
    lost = [n.name for n in graph_def.node if is_lost(n)]
    with _import_errors(graph):
        results: Any = tf.graph_util.import_graph_def(
            graph_def, input_map=given, return_elements=[*wanted, *lost], name=scope
        )
    refuse_lost_gradients(results[len(wanted) :])
    return results[: len(wanted)]


@contextmanager
def _import_errors(graph: Subgraph) -> Iterator[None]:
    try:
        yield
    except HubKerasError:
        raise
    except _CANNOT_IMPORT as error:
        raise _named(error, f"Cannot import {graph.purpose}", "takes") from error


@contextmanager
def gradient_errors(graph: Subgraph) -> Iterator[None]:
    """Names what TensorFlow raises where it differentiates a malformed graph, and nothing else."""
    try:
        yield
    except HubKerasError:
        raise
    except _CANNOT_DIFFERENTIATE as error:
        if not comes_from_gradient(error):  # but from what the caller passed, such as a tensor of another graph
            raise
        raise _named(error, f"Cannot differentiate {graph.purpose}", "differentiates") from error


def _named(error: Exception, problem: str, does: str) -> FormatError:
    return FormatError(
        problem,
        expected=f"a graph that TensorFlow {does}",
        received=f"{type(error).__name__}: {error}".partition("\n")[0],
        fix="The module is damaged, or was written for another version of TensorFlow",
    )
