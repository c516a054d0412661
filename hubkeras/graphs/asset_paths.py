"""Which tensors hold the path of an asset, and nothing else, whatever the caller of a module does.

A file may be read only through such a tensor. They come from outside the graph, where the executor fills them in with
the checked paths of the module's assets, and go through ops and functions that pass them on unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hubkeras.graphs.function_library import direct_functions, functions_in
from hubkeras.savedmodel.graph_index import data_input_texts
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from hubkeras.graphs.function_library import FunctionLibrary


class _Passing(NamedTuple):
    attributes: frozenset[str]
    """Those that name the functions which an op calls on its inputs."""
    offset: int
    """How many inputs come before those that it hands on."""


_CALL = _Passing(frozenset({"f"}), 0)
_IF = _Passing(frozenset({"then_branch", "else_branch"}), 1)
_CASE = _Passing(frozenset({"branches"}), 1)
_PASSES_INPUTS = {
    "PartitionedCall": _CALL,
    "StatefulPartitionedCall": _CALL,
    "If": _IF,
    "StatelessIf": _IF,
    "Case": _CASE,
    "StatelessCase": _CASE,
}
"""What other ops hand to functions may change on the way, as in loops."""


@dataclass(frozen=True)
class Scope:
    """The nodes of a graph, or of a function's body, with the tensors that are known to hold paths of assets."""

    nodes: Mapping[str, Any]
    given: Collection[str]
    """Full names of tensors from outside ("n:0"), or names of arguments."""
    functions: Collection[str]

    def holds_asset(self, text: str) -> bool:
        """Tells whether a data input of a node in this scope holds the path of an asset."""
        seen = set()
        while text not in seen:
            seen.add(text)
            if text.startswith("^"):
                return False
            name, _, rest = text.partition(":")
            node = self.nodes.get(name)
            if node is None:
                return name in self.given or Ref.parse(text).tensor in self.given
            # A function hides an op of the same name: this "Identity" may do anything.
            if node.op in self.functions:
                return False
            source = _passed_on(node, rest)
            if source is None:
                # A whole graph still has its asset nodes. Only a constant may be one, as the caller has put the checked
                # path into it.
                return node.op == "Const" and Ref.parse(text).tensor in self.given
            text = source
        return False


def _passed_on(node: Any, rest: str) -> str | None:
    """Returns the input that an output ("", "1", or in a function "output:1") is, None if it is something new."""
    if node.op == "Identity" and node.input:
        return node.input[0]
    if node.op == "IdentityN":
        number = rest.rpartition(":")[2] or "0"
        # An index that no input has, for what is no number: the answer must be "unknown", never a wrong input.
        index = int(number) if number.isascii() and number.isdecimal() else len(node.input)
        return node.input[index] if index < len(node.input) else None
    return None


def asset_arguments(
    graph: Scope, library: FunctionLibrary, roots: Mapping[str, Collection[str]]
) -> dict[str, frozenset[str]]:
    """Returns for each function the names of the arguments that hold the path of an asset in every call there is.

    Args:
        graph: The graph that calls the functions.
        library: The functions.
        roots: Functions that are called from outside, with those of their arguments that hold paths of assets.
    """
    functions = library.functions
    # All arguments at first, and every call takes away what it does not give a path: a caller may itself turn out later
    # to have none, so this goes round until nothing changes.
    known = {name: frozenset(a.name for a in f.signature.input_arg) for name, f in functions.items()}
    for name, arguments in roots.items():
        if name in known:
            known[name] &= frozenset(arguments)
    for function in functions.values():
        for value in (*function.attr.values(), *(attr.default_value for attr in function.signature.attr)):
            # A function named in a default is called with arguments that nobody here sees.
            known |= {called.name: frozenset() for called in functions_in(value) if called.name in known}
    grown = True
    while grown:  # each turn takes arguments away, so it ends
        grown = False
        scopes = [graph]
        scopes += [Scope({n.name: n for n in f.node_def}, known[name], functions) for name, f in functions.items()]
        for scope in scopes:
            for node in scope.nodes.values():
                for name, values in _calls(node, functions):
                    arguments = [a.name for a in functions[name].signature.input_arg]
                    paths = {a for a, value in zip(arguments, values, strict=False) if scope.holds_asset(value)}
                    if not known[name] <= paths:
                        known[name] &= paths
                        grown = True
    return known


def _calls(node: Any, functions: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yields the functions that a node names, each with what its first arguments are, as far as that is known."""
    data = data_input_texts(node)
    if node.op in functions:
        yield node.op, data
    passes = _PASSES_INPUTS.get(node.op)
    for key, value in node.attr.items():
        follows = passes is not None and key in passes.attributes and node.op not in functions
        for called in direct_functions(value):
            if called.name in functions:
                yield called.name, data[passes.offset :] if passes and follows else []
            for inner in called.attr.values():
                yield from ((deeper.name, []) for deeper in functions_in(inner) if deeper.name in functions)
