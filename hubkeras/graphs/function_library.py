"""The functions of a graph, and the one walk over those that something can come to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hubkeras.savedmodel.protos import FunctionDefLibrary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Ops that call the function in their attribute `f`; an op named as a function calls it too."""
_DIFFERENTIATES = "SymbolicGradient"


@dataclass(frozen=True)
class FunctionLibrary:
    """The functions of one graph, and which of them have a gradient of their own.

    Where a function has the name of an op, nodes of that type call the function, as in TensorFlow.
    """

    functions: Mapping[str, Any] = field(default_factory=dict)
    """`FunctionDef`s by name."""
    gradients: Mapping[str, str] = field(default_factory=dict)
    """Names of gradient functions, by the names of what they differentiate."""
    _named_within: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """What bodies name, once it was asked for; parts of a library share it."""

    @staticmethod
    def of(proto: Any) -> FunctionLibrary:
        """Returns the functions of a `FunctionDefLibrary`."""
        functions = {function.signature.name: function for function in proto.function}
        return FunctionLibrary(functions, {g.function_name: g.gradient_func for g in proto.gradient})

    def to_proto(self) -> Any:
        """Returns a `FunctionDefLibrary`."""
        proto = FunctionDefLibrary(function=self.functions.values())
        for name, gradient in self.gradients.items():
            proto.gradient.add(function_name=name, gradient_func=gradient)
        return proto

    def called(self, node: Any) -> str | None:
        """Returns the name of the function that a node calls, None if it is no call."""
        if node.op in self.functions:
            return node.op
        name = node.attr["f"].func.name if node.op in CALLS and "f" in node.attr else None
        return name if name in self.functions else None

    def named_by(self, node: Any) -> Iterator[str]:
        """Yields the functions that a node runs or hands on: by its type, in its attributes, as their gradients."""
        if node.op in self.functions:
            yield node.op
        for value in node.attr.values():
            for called in functions_in(value):
                if called.name in self.functions:
                    yield called.name
                # TensorFlow then runs the gradient that the library declares, which no attribute names.
                if node.op == _DIFFERENTIATES and self.gradients.get(called.name) in self.functions:
                    yield self.gradients[called.name]

    def named_within(self, name: str) -> list[str]:
        """Returns the functions that a function's body names, and those that it takes where its caller names none."""
        if name not in self._named_within:
            function = self.functions[name]
            found = [called for node in function.node_def for called in self.named_by(node)]
            # A caller that leaves such an attribute out runs the default, which no node names.
            for value in (*function.attr.values(), *(attr.default_value for attr in function.signature.attr)):
                found += [called.name for called in functions_in(value) if called.name in self.functions]
            self._named_within[name] = tuple(found)
        # Asked again, as a part of a library shares what the whole one has found out, and may lack some functions.
        return [called for called in self._named_within[name] if called in self.functions]

    def reachable(self, nodes: Iterable[Any] = (), roots: Iterable[str] = ()) -> dict[str, None]:
        """Finds all functions that nodes can come to run, with the gradients of these.

        Args:
            nodes: NodeDefs.
            roots: Names of functions that are called besides.

        Returns:
            The names in the order in which they were found.
        """
        found: dict[str, None] = {}
        if not self.functions:
            return found
        pending = [name for name in roots if name in self.functions]
        pending += [name for node in nodes for name in self.named_by(node)]
        while pending:
            name = pending.pop()
            if name in found:
                continue
            found[name] = None
            pending.extend(self.named_within(name))
            if self.gradients.get(name) in self.functions:
                pending.append(self.gradients[name])
        return found

    def only(self, names: Iterable[str]) -> FunctionLibrary:
        """Returns some of the functions, with what is known of their gradients."""
        functions = {name: self.functions[name] for name in names}
        gradients = {name: gradient for name, gradient in self.gradients.items() if name in functions}
        return FunctionLibrary(functions, gradients, self._named_within)


def direct_functions(value: Any) -> Iterable[Any]:
    """Returns the functions (`NameAttrList`s) that an attribute names, without those handed to them in turn."""
    kind = value.WhichOneof("value")
    if kind == "func":
        return (value.func,)
    return value.list.func if kind == "list" else ()


def functions_in(value: Any) -> Iterator[Any]:
    """Yields the functions that an attribute names, also those handed to other functions as their attributes."""
    for function in direct_functions(value):
        yield function
        for inner in function.attr.values():
            yield from functions_in(inner)
