"""How many inputs and outputs a node has, as the definition of its op and its attributes say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from hubkeras.errors import FormatError
from hubkeras.graphs.op_registry import op_def
from hubkeras.savedmodel.graph_index import attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

# As in `Ref`: int() has no trouble with nine digits, and no op has so many outputs.
_MOST_DIGITS = 9
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
        size = attribute(node, argument.number_attr).i
        if size < 0:
            raise FormatError(
                f"Cannot read node {node.name!r}", expected=f"{argument.number_attr} >= 0", received=str(size)
            )
        return size
    if argument.type_list_attr:
        return len(attribute(node, argument.type_list_attr).list.type)
    return 1


def find_output(text: str, ranges: Mapping[str, Mapping[str, range]]) -> int | None:
    """Returns which output of its node an input of a function's body is, None if there is no such output.

    Args:
        text: The input: "node:argument:number", the number within what the output argument stands for.
        ranges: What `output_ranges` gives for the nodes of the body, by their names.
    """
    node, _, rest = text.partition(":")
    argument, colon, number = rest.partition(":")
    outputs = ranges.get(node, {}).get(argument, range(0))
    if colon and not (number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS):
        return None
    position = int(number) if colon else 0
    return outputs[position] if position < len(outputs) else None


def output_ranges(node: Any, functions: Mapping[str, Any]) -> dict[str, range]:
    """Returns which of a node's outputs each output argument of its op stands for.

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
    ranges, position = {}, 0
    for argument in arguments:
        ranges[argument.name] = range(position, position + argument_size(node, argument))
        position = ranges[argument.name].stop
    return ranges
