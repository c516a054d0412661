"""Functions that stay functions: those which functional control flow and datasets name.

Each is copied for every set of attributes that its callers hand to it, with these filled in. So what the gate judges is
all that TensorFlow will run, and not a body that it completes later. Function names are global to the process: each
copy gets one of its own, for each load.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from hubkeras.graphs.attribute_placeholders import fill_placeholders, values_for
from hubkeras.graphs.call_bounds import DEEPEST_CALLS, MOST_NODES, too_large
from hubkeras.graphs.function_library import CALLS, FunctionLibrary, direct_functions
from hubkeras.savedmodel.graph_index import VARIABLE_OPS, attribute
from hubkeras.savedmodel.protos import copy_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hubkeras.graphs.subgraph import Subgraph

KEPT_ATTRIBUTES = frozenset(
    {
        "_gradient_op_type",
        "_lower_using_switch_merge",
        "_noinline",
        "_num_original_outputs",
        "_read_only_resource_inputs",
        "_stateful_parallelism",
    }
)
"""Attributes outside of an op's definition that mean something to whoever runs it; the others tie a node to the process
that wrote it, or have TensorFlow do what no list of ops tells."""
_SETTINGS_OF_CALLS = ("config", "config_proto", "executor_type")
"""How the process that wrote a call ran it: a session's settings, which are none of a module's business."""
_NAMES_IN_PROCESS = ("shared_name", "stack_name")

_serial = itertools.count()


def specialize_functions(graph: Subgraph) -> Subgraph:
    """Gives a graph its own copies of the functions that it names, and no others.

    What has a name in the process (queues, stacks, iterators) gets one of its own too, in the graph and in functions:
    two loads of a module share none of it.

    Args:
        graph: A subgraph that owns its nodes; they are changed.

    Raises:
        FormatError: The functions name one another without end.
    """
    copies = _Copies(graph, f"_hubkeras_{next(_serial)}")
    copies.adapt(graph.nodes.values(), depth=0)
    return dataclasses.replace(graph, library=FunctionLibrary(copies.functions, copies.gradients))


def drop_private_attributes(attributes: Any) -> None:
    """Removes attributes outside of an op's definition that mean nothing here."""
    for key in [key for key in attributes if key.startswith("_") and key not in KEPT_ATTRIBUTES]:
        del attributes[key]


class _Copies:
    """The copies made so far; their names end in a suffix that no other load has."""

    def __init__(self, graph: Subgraph, suffix: str) -> None:
        self.library, self.suffix, self.purpose = graph.library, suffix, graph.purpose
        self.functions: dict[str, Any] = {}
        self.gradients: dict[str, str] = {}
        self._names: dict[tuple[str, tuple[tuple[str, bytes], ...]], str] = {}
        self._size = 0

    def adapt(self, nodes: Iterable[Any], depth: int) -> None:
        """Makes nodes name copies, which are made where there are none yet."""
        for node in nodes:
            if node.op in self.library.functions:
                self._adapt_call(node, depth)
            for value in node.attr.values():
                for function in direct_functions(value):
                    if function.name in self.library.functions:
                        function.name = self._copy(function.name, function.attr, depth)
                        # They are filled into the copy; TensorFlow would refuse attributes that a function does not
                        # declare.
                        function.attr.clear()
            if node.op in VARIABLE_OPS or attribute(node, "use_node_name_sharing").b:
                # Without a name of its own, every node of this name in the process would share its state.
                node.attr["shared_name"].s = attribute(node, "shared_name").s or node.name.encode()
            for key in _NAMES_IN_PROCESS:
                if key in node.attr and node.attr[key].s:
                    node.attr[key].s += self.suffix.encode()

    def _adapt_call(self, node: Any, depth: int) -> None:
        declared = [attr.name for attr in self.library.functions[node.op].signature.attr]
        given = {key: node.attr[key] for key in declared if key in node.attr}
        node.op = self._copy(node.op, given, depth)
        # The copy declares no attributes any more, and TensorFlow refuses a call that gives some.
        for key in given:
            del node.attr[key]

    def _copy(self, name: str, given: Mapping[str, Any], depth: int) -> str:
        """Returns the name of a function's copy with some attributes filled in."""
        key = (name, tuple(sorted((k, v.SerializeToString(deterministic=True)) for k, v in given.items())))
        if key in self._names:
            return self._names[key]
        source = self.library.functions[name]
        self._size += len(source.node_def) + 1
        # Each set of attributes makes a copy, so a small library that hands functions to functions can grow without
        # end.
        if depth > DEEPEST_CALLS or self._size > MOST_NODES:
            raise too_large(self.purpose)
        number = f"_{len(self._names)}" if given else ""
        # Before the body is looked at: what a function reaches may name it again, though `check_calls` refuses real
        # recursion.
        made = self._names[key] = f"{name}{self.suffix}{number}"
        values = values_for(source, given)
        self.functions[made] = function = _filled_in(source, made, values)
        self.adapt(function.node_def, depth + 1)
        gradient = self.library.gradients.get(name, "")
        if gradient in self.library.functions:
            self.gradients[made] = self._copy(gradient, given, depth + 1)
        return made


def _filled_in(source: Any, name: str, values: Mapping[str, Any]) -> Any:
    """Returns a function with its attributes filled in, and without what ties it to where it was written."""
    function = copy_of(source)
    signature = function.signature
    signature.name = name
    for argument in (*signature.input_arg, *signature.output_arg):
        if argument.type_attr in values:
            argument.type = values[argument.type_attr].type
            # Else TensorFlow would look for an attribute that the copy does not declare any more.
            argument.type_attr = ""
    del signature.attr[:]
    for key in [key for key in function.attr if key not in KEPT_ATTRIBUTES]:
        del function.attr[key]
    for node in function.node_def:
        node.device = ""
        drop_private_attributes(node.attr)
        for key in _SETTINGS_OF_CALLS if node.op in CALLS else ():
            node.attr.pop(key, None)
        fill_placeholders(node.attr, values)
    return function
