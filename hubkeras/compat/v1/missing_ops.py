"""Ops that a module needs and nobody registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from hubkeras.errors import MissingOpError
from hubkeras.graphs.op_packages import how_to_register
from hubkeras.graphs.op_registry import op_def

if TYPE_CHECKING:
    from hubkeras.savedmodel.description import GraphVariant


class OpNotFoundError(MissingOpError, tf.errors.NotFoundError):
    """A graph needs an op that is not registered in this process, as `tf.errors.NotFoundError` tells."""

    message: str = ""
    """Here so that it can be set, which that of TensorFlow's class cannot."""

    def __init__(self, problem: str, *, expected: str, received: str, fix: str) -> None:
        MissingOpError.__init__(self, problem, expected=expected, received=received, fix=fix)
        tf.errors.NotFoundError.__init__(self, None, None, self.message)  # pyright: ignore[reportArgumentType]


def check_ops(variant: GraphVariant) -> None:
    """Refuses a graph with ops that this process does not know.

    Raises:
        OpNotFoundError: It has some.
    """
    library = variant.meta_graph.graph_def.library.function
    functions = {function.signature.name for function in library}
    used = {node.op for node in variant.nodes.values()} | {node.op for f in library for node in f.node_def}
    missing = sorted(op for op in used - functions if op_def(op) is None)
    if missing:
        raise OpNotFoundError(
            "Cannot use the module: graph ops are missing from the registry of this process",
            expected="ops that are registered",
            received=", ".join(missing),
            fix=how_to_register(missing[0]),
        )
