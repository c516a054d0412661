"""Names of a module's functions in a graph that other functions stand in, too.

TensorFlow keeps the functions of a graph, and those that functions call even for the whole process, by names that no
scope tells apart: two modules written by one program often name theirs alike.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from hubkeras.graphs.function_library import functions_in
from hubkeras.graphs.tensorflow_internals import function_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import tensorflow as tf

_imported: WeakKeyDictionary[tf.Graph, dict[str, str]] = WeakKeyDictionary()
"""The functions that modules brought into a graph: digests of the libraries that they are from, by name."""


def keep_apart(graph_def: Any, graph: tf.Graph) -> None:
    """Renames the functions of a graph that is about to be imported, if another one of such a name may be there.

    The new names tell what the functions are: however often a module is applied, its functions are there once.

    Args:
        graph_def: The `GraphDef`, changed in place.
        graph: The graph that it will be imported into.
    """
    library = graph_def.library
    names = [function.signature.name for function in library.function]
    if not names:
        return
    digest = hashlib.sha256(library.SerializeToString(deterministic=True)).hexdigest()[:16]
    known, taken = _imported.setdefault(graph, {}), function_names(graph)
    # What a function calls, TensorFlow also enters under its name in the process, where other graphs have theirs.
    if graph.building_function or any(name in taken and known.get(name) != digest for name in names):
        _rename(graph_def, {name: f"{name}_{digest}" for name in names})
        return
    known.update(dict.fromkeys(names, digest))


def _rename(graph_def: Any, names: Mapping[str, str]) -> None:
    _rename_in(graph_def.node, names)
    for function in graph_def.library.function:
        function.signature.name = names[function.signature.name]
        _rename_in(function.node_def, names)
        _rename_in_values((*function.attr.values(), *(a.default_value for a in function.signature.attr)), names)
    for gradient in graph_def.library.gradient:
        gradient.function_name = names.get(gradient.function_name, gradient.function_name)
        gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)


def _rename_in(nodes: Iterable[Any], names: Mapping[str, str]) -> None:
    for node in nodes:
        node.op = names.get(node.op, node.op)
        _rename_in_values(node.attr.values(), names)


def _rename_in_values(values: Iterable[Any], names: Mapping[str, str]) -> None:
    for value in values:
        for called in functions_in(value):
            called.name = names.get(called.name, called.name)
