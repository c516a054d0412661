"""Whether functions fit the ops that call them, which TensorFlow asks only once the ops run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.graphs.function_library import direct_functions
from hubkeras.savedmodel.graph_index import attribute, data_input_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CALL = {"f": ("Tin", "Tout")}
_IF = {"then_branch": ("Tin", "Tout"), "else_branch": ("Tin", "Tout")}
_CASE = {"branches": ("Tin", "Tout")}
_ONE = ""
_WHILE = {"cond": ("T", _ONE), "body": ("T", "T")}
_CALLS = {
    "PartitionedCall": _CALL,
    "StatefulPartitionedCall": _CALL,
    "If": _IF,
    "StatelessIf": _IF,
    "Case": _CASE,
    "StatelessCase": _CASE,
    "While": _WHILE,
    "StatelessWhile": _WHILE,
}
"""By op and attribute: the attributes with the dtypes of what the function takes and gives; a condition gives one
tensor of any dtype."""


def misfit(node: Any, functions: Mapping[str, Any]) -> str | None:
    """Returns what a function that a node calls does not fit in, as a clause; None if all fit.

    Args:
        node: A `NodeDef`.
        functions: The functions of its graph, by name, whose arguments have certain dtypes.
    """
    return next(_misfits(node, functions), None)


def _misfits(node: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    if node.op in functions:
        data = data_input_texts(node)
        count = len(functions[node.op].signature.input_arg)
        if count != len(data):
            yield f"function {node.op!r} of {count} arguments called with {len(data)}"
        return
    for key, (takes, gives) in _CALLS.get(node.op, {}).items():
        for called in direct_functions(attribute(node, key)):
            if called.name in functions:
                signature = functions[called.name].signature
                yield from _differences(f"arguments of {called.name!r}", node, takes, signature.input_arg)
                yield from _differences(f"results of {called.name!r}", node, gives, signature.output_arg)


def _differences(what: str, node: Any, attribute: str, arguments: Sequence[Any]) -> Iterator[str]:
    found = [argument.type for argument in arguments]
    # A condition may give a tensor of any dtype: TensorFlow takes "not zero" for true.
    if attribute == _ONE and len(found) != 1:
        yield f"{len(found)} {what} where one is expected"
    if attribute in node.attr and list(node.attr[attribute].list.type) != found:
        yield f"{what} of dtypes {found} where it has {list(node.attr[attribute].list.type)}"
