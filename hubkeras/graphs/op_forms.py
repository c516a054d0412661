"""How many inputs and outputs a node has, as the definition of its op and its attributes say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from hubkeras.errors import FormatError
from hubkeras.graphs.tensorflow_internals import op_def

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIMPLE_ATTRIBUTES = frozenset({"type", "bool", "int", "float", "string"})


@dataclass(frozen=True)
class OpForm:
    """What the definition of an op says about the form of its nodes."""

    inputs: tuple[Any, ...]
    """`ArgDef`s."""
    outputs: tuple[Any, ...]
    fixed: tuple[int, int] | None
    """Numbers of inputs and outputs, None where attributes tell them."""
    is_simple: bool
    """Whether its attributes are numbers, texts and dtypes only: no shapes, values, functions or lists."""


def op_form(op: str) -> OpForm | None:
    """Returns the form of a registered op's nodes, None for an op that is not registered."""
    return _form_of(op) if op_def(op) is not None else None


@cache
def _form_of(op: str) -> OpForm:
    definition: Any = op_def(op)
    inputs, outputs = tuple(definition.input_arg), tuple(definition.output_arg)
    varies = any(argument.number_attr or argument.type_list_attr for argument in (*inputs, *outputs))
    fixed = None if varies else (len(inputs), len(outputs))
    return OpForm(inputs, outputs, fixed, all(attr.type in _SIMPLE_ATTRIBUTES for attr in definition.attr))


def argument_size(node: Any, argument: Any) -> int:
    """Returns how many tensors of a node one `ArgDef` of its op stands for.

    Raises:
        FormatError: The node gives a negative number.
    """
    if argument.number_attr:
        size = node.attr[argument.number_attr].i if argument.number_attr in node.attr else 0
        if size < 0:
            raise FormatError(
                f"Cannot read node {node.name!r}", expected=f"{argument.number_attr} >= 0", received=str(size)
            )
        return size
    if argument.type_list_attr:
        return len(node.attr[argument.type_list_attr].list.type) if argument.type_list_attr in node.attr else 0
    return 1


def output_starts(node: Any, functions: Mapping[str, Any]) -> dict[str, int]:
    """Returns where each output argument of a node's op starts among the node's outputs, and under "" their number.

    Args:
        node: A `NodeDef`.
        functions: The functions of its graph, by name; a function hides an op of the same name.

    Raises:
        FormatError: The op is not registered.
    """
    if node.op in functions:
        arguments: Any = functions[node.op].signature.output_arg
    else:
        form = op_form(node.op)
        if form is None:
            raise FormatError(f"Cannot read a function: op {node.op!r} of node {node.name!r} is not registered")
        arguments = form.outputs
    starts, position = {}, 0
    for argument in arguments:
        starts[argument.name] = position
        position += argument_size(node, argument)
    return starts | {"": position}
