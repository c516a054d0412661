"""Gradients that were Python functions of the program which wrote a module, and are not in it.

`tf.custom_gradient` in a graph leaves a node that names a function of its process, by a running number. Another process
may have another function under that name, so the name alone tells nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.errors import UnsupportedError
from hubkeras.graphs.tensorflow_internals import has_gradient, set_gradient
from hubkeras.savedmodel.graph_index import attribute

if TYPE_CHECKING:
    from collections.abc import Iterable

    import tensorflow as tf

    from hubkeras.graphs.subgraph import Subgraph

_LOST = "HubKerasLostGradient"
_NUMBERED = b"CustomGradient-"


def mark_lost_gradients(graph: Subgraph) -> Subgraph:
    """Gives nodes whose gradient is lost one that nobody registers, in a graph and its functions.

    A gradient under a name of the author's choice is used if it is registered in this process. The nodes are changed.
    """
    for node in graph.all_nodes():
        if _loses_gradient(node):
            node.attr["_gradient_op_type"].s = _LOST.encode()
    return graph


def find_lost_gradients(nodes: Iterable[Any]) -> list[str]:
    """Returns the names of the nodes of a graph whose gradient is lost."""
    return [node.name for node in nodes if _loses_gradient(node)]


def _loses_gradient(node: Any) -> bool:
    if "_gradient_op_type" not in node.attr:
        return False
    name = node.attr["_gradient_op_type"].s
    # Registered or not: under a running number, this process has some other function than the one which was meant.
    return name.startswith(_NUMBERED) or not has_gradient(name.decode("utf-8", "replace"))


def is_lost(node: Any) -> bool:
    """Tells whether the gradient of a node was marked as lost."""
    return attribute(node, "_gradient_op_type").s == _LOST.encode()


def refuse_lost_gradients(imported: Iterable[tf.Operation]) -> None:
    """Makes imported nodes whose gradient is lost say what is wrong when they are differentiated.

    It is nothing that is written to a SavedModel: there TensorFlow only says that there is no gradient.
    """
    for op in imported:
        set_gradient(op, _refuse)


def _refuse(op: tf.Operation, *gradients: Any) -> Any:
    del gradients
    raise UnsupportedError(
        f"Cannot differentiate node {op.name!r}: its gradient was a Python function, which the module does not hold",
        expected="ops with gradients of TensorFlow's own",
        fix="Use the module where no gradient goes through it: for a layer, trainable=False",
    )
