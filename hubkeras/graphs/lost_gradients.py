"""Gradients that were Python functions of the program which wrote a module, and are not in it.

`tf.custom_gradient` in a graph leaves a node that names a function of its process, by a running number. Another process
may have another function under that name, so the name alone tells nothing.
"""

from __future__ import annotations

import itertools
from typing import Any

import tensorflow as tf

from hubkeras.errors import UnsupportedError
from hubkeras.graphs.tensorflow_internals import has_gradient, set_gradient

_LOST = "HubKerasLostGradient"
_NUMBERED = b"CustomGradient-"


def mark_lost_gradients(graph_def: Any) -> None:
    """Gives nodes whose gradient is lost one that nobody registers, in a graph and its functions.

    A gradient under a name of the author's choice is used if it is registered in this process.

    Args:
        graph_def: A GraphDef whose nodes may be changed.
    """
    for node in itertools.chain(graph_def.node, *(f.node_def for f in graph_def.library.function)):
        if "_gradient_op_type" in node.attr:
            name = node.attr["_gradient_op_type"].s
            if name.startswith(_NUMBERED) or not has_gradient(name.decode()):
                node.attr["_gradient_op_type"].s = _LOST.encode()


def refuse_lost_gradients(graph_def: Any) -> None:
    """Makes the nodes so marked say what is wrong when they are differentiated, once they are imported.

    It is nothing that is written to a SavedModel: there TensorFlow only says that there is no gradient.

    Args:
        graph_def: The GraphDef that was imported into the graph that is being built.
    """
    graph = tf.compat.v1.get_default_graph()
    for node in graph_def.node:
        if "_gradient_op_type" in node.attr and node.attr["_gradient_op_type"].s == _LOST.encode():
            set_gradient(graph.get_operation_by_name(node.name), _refuse)


def _refuse(op: tf.Operation, *gradients: Any) -> Any:
    del gradients
    raise UnsupportedError(
        f"Cannot differentiate node {op.name!r}: its gradient was a Python function, which the module does not hold",
        expected="ops with gradients of TensorFlow's own",
        fix="Use the module where no gradient goes through it: for a layer, trainable=False",
    )
