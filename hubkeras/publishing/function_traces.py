"""Functions of Python traced into graphs whose nodes a module can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import PublishingError, SignatureTypeError
from hubkeras.functions.open_calls import open_calls
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.inlining import inline_calls
from hubkeras.graphs.op_registry import op_def
from hubkeras.graphs.specialization import drop_private_attributes
from hubkeras.graphs.subgraph import Subgraph, by_name
from hubkeras.publishing.custom_gradients import name_gradients, write_gradients
from hubkeras.publishing.function_bodies import inline_within_functions
from hubkeras.publishing.tensor_infos import TENSOR_CLASSES, describe_tensor
from hubkeras.savedmodel.protos import TensorInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hubkeras.graphs.control_flow import ContextTree
    from hubkeras.graphs.subgraph import FunctionContexts


@dataclass(frozen=True, eq=False)
class Trace:
    """The graph of one function."""

    nodes: Mapping[str, Any]
    """NodeDefs by name, without calls of functions. A placeholder stands for each input and each capture."""
    library: FunctionLibrary
    """What functional control flow names."""
    contexts: ContextTree
    inputs: Mapping[str, Any]
    """`TensorInfo`s by name."""
    outputs: Mapping[str, Any]
    """`TensorInfo`s by name."""
    captures: Mapping[str, tf.Tensor]
    """What the function takes from outside of it, by the names of the placeholders."""
    variables: tuple[tf.Variable, ...]
    """Those that it has read or assigned."""
    versions: Any
    """The `VersionDef` of the graph."""


def trace(
    function: Callable[[dict[str, Any]], dict[str, Any]], inputs: Mapping[str, tf.TypeSpec], purpose: str
) -> Trace:
    """Traces a function.

    The outputs do not wait for assignments that they do not depend on, as they would in a `tf.function`: whoever runs
    the graph of a module chooses whether its update ops run.

    Args:
        function: Takes a dict with a tensor for each input, and returns a dict of tensors.
        inputs: Specifications by name.
        purpose: For messages, what the function is.

    Returns:
        The trace.

    Raises:
        SignatureTypeError: An output is no tensor.
    """
    returned: dict[str, Any] = {}

    # Returns nothing: to what a tf.function returns it adds control dependencies on all assignments.
    def body(values: dict[str, Any]) -> None:
        returned.clear()  # TensorFlow may call it more than once, for variables that are made in the first call
        returned.update(function(values))

    with open_calls() as function_contexts:
        graph: Any = tf.function(body).get_concrete_function(dict(inputs)).graph
    with graph.as_default():
        # Captures stand behind the inputs proper.
        flat = graph.inputs[: len(graph.inputs) - len(graph.captures)]
        placeholders = tf.nest.pack_sequence_as(dict(inputs), flat, expand_composites=True)
        input_infos = {name: describe_tensor(value, TensorInfo()) for name, value in placeholders.items()}
        output_infos = {
            name: describe_tensor(_as_tensor(name, value, purpose), TensorInfo()) for name, value in returned.items()
        }
    inlined = _plain_graph(graph, function_contexts, purpose)
    return Trace(
        inlined.nodes,
        inlined.library,
        inlined.contexts,
        input_infos,
        output_infos,
        {inside.op.name: outside for outside, inside in graph.captures},
        tuple(graph.variables),
        inlined.versions,
    )


def _plain_graph(graph: Any, function_contexts: Mapping[str, FunctionContexts], purpose: str) -> Subgraph:
    """Returns a traced graph as a module can hold it: without calls, gradients of Python, and ties to this process."""
    graph_def = graph.as_graph_def()
    nodes = by_name(graph_def.node)
    whole = Subgraph(
        nodes,
        write_gradients(graph, nodes, FunctionLibrary.of(graph_def.library), purpose),
        function_contexts=function_contexts,
        versions=graph_def.versions,
        purpose=purpose,
        calls_own_gradients=True,
    )
    inlined = inline_calls(inline_within_functions(whole))
    name_gradients(inlined.library)
    for node in inlined.all_nodes():
        _make_portable(node)
    return inlined


def _as_tensor(name: str, value: Any, purpose: str) -> Any:
    if not isinstance(name, str):
        raise SignatureTypeError(f"Cannot publish {purpose}", expected="outputs named by strings", received=repr(name))
    try:
        tensor = value if isinstance(value, TENSOR_CLASSES) else tf.convert_to_tensor(value)
        return tf.nest.map_structure(_inside, tensor, expand_composites=True)
    except (TypeError, ValueError) as error:
        raise SignatureTypeError(
            f"Cannot publish {purpose}: its output {name!r} is no tensor",
            expected="a dense, sparse or ragged tensor",
            received=type(value).__name__,
        ) from error


def _inside(tensor: tf.Tensor) -> tf.Tensor:
    """Returns a tensor of the graph that is being built; one that was made outside of it is captured."""
    return tf.identity(tensor) if hasattr(tensor, "numpy") else tensor


def _make_portable(node: Any) -> None:
    """Removes what ties a node to this process and its devices, and what an earlier TensorFlow need not know."""
    node.device = ""
    drop_private_attributes(node.attr)
    definition = op_def(node.op)
    if definition is None:  # a call of a function
        return
    for attribute in definition.attr:
        if attribute.HasField("default_value") and node.attr.get(attribute.name) == attribute.default_value:
            del node.attr[attribute.name]


def refuse_capture(what: str, purpose: str, fix: str = "") -> PublishingError:
    """Returns the error about something that a function holds on to and a module cannot."""
    return PublishingError(
        f"Cannot publish {purpose}: it uses {what}, which a module in TF1 Hub format cannot hold",
        expected="variables, lookup tables, files given as tf.saved_model.Asset, and constants",
        received=what,
        fix=fix,
    )
