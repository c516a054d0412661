"""The version of TensorFlow that a graph says it was made by.

TensorFlow logs a warning for each older graph that becomes part of a newer one, as every graph of a module does.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import tensorflow as tf

from hubkeras.graphs.op_registry import op_def
from hubkeras.savedmodel.protos import copy_of

if TYPE_CHECKING:
    from hubkeras.graphs.subgraph import Subgraph

_FIRST_OF_TODAYS_MEANING = 22
"""Before, axes of a reduction could be a matrix, and the shape () of a placeholder could mean that it is not known:
all else that shape functions make depend on the version (tensorflow/core/public/version.h tells the history)."""


def raise_producer(graph: Subgraph) -> Subgraph:
    """Makes a graph one of this TensorFlow's, if that says the same.

    It would not for an op that has been deprecated since: only graphs from before may hold one.
    """
    current: int = tf.version.GRAPH_DEF_VERSION
    if graph.versions is None or not _FIRST_OF_TODAYS_MEANING <= graph.versions.producer < current:
        return graph
    definitions = [definition for op in graph.ops if (definition := op_def(op)) is not None]
    if any(definition.HasField("deprecation") for definition in definitions):
        return graph
    # A copy, as the proto belongs to the module's file, from which other signatures are cut.
    versions = copy_of(graph.versions)
    versions.producer = current
    return dataclasses.replace(graph, versions=versions)
