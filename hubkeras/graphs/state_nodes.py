"""Which nodes of a graph hold state: variables, tables and other resources that outlive a call."""

from __future__ import annotations

from functools import cache
from typing import Any

from hubkeras.graphs.tensorflow_internals import op_def
from hubkeras.savedmodel.graph_index import VARIABLE_OPS as VARIABLES
from hubkeras.savedmodel.protos import dtypes


def is_state(node: Any) -> bool:
    """Tells whether a node is a variable, a table or another resource that outlives a call."""
    if node.op in VARIABLES:
        return True
    return op_def(node.op) is not None and _makes_resource(node.op)


@cache
def _makes_resource(op: str) -> bool:
    definition: Any = op_def(op)
    makes_one = definition.is_stateful and not definition.input_arg and len(definition.output_arg) == 1
    return makes_one and (definition.output_arg[0].type == dtypes.DT_RESOURCE or definition.output_arg[0].is_ref)


def gives_reference(op: str) -> bool:
    """Tells whether an op that holds state gives a reference, as the variables of TensorFlow 1 do."""
    definition = op_def(op)
    return definition is not None and definition.output_arg[0].is_ref


__all__ = ["VARIABLES", "gives_reference", "is_state"]
