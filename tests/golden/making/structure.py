"""What `hub.Module` leaves in a graph: names, nodes and collections, whichever implementation it is."""

from __future__ import annotations

import contextlib
import hashlib
import re
from typing import Any, Callable, Iterator

import tensorflow as tf

v1 = tf.compat.v1
SCENES = ("frozen", "trainable", "scopes", "reuse")


def describe(hub: Any, path: str, tags: list, scene: str) -> dict:
    """Builds a module in one of the scenes and tells what the graph holds then."""
    with tf.Graph().as_default() as graph:
        module = _SCENES[scene](hub, path, set(tags))
        return {**contents(graph), "variable_map": variable_map(module), "variables": [v.name for v in module.variables]}


def contents(graph: tf.Graph) -> dict:
    keys = sorted(k for k in graph.get_all_collection_keys() if isinstance(k, str) and not k.startswith("__"))
    collections = {k: [_item(i) for i in graph.get_collection(k)] for k in keys}
    lines = nodes(graph)
    return {
        "nodes": len(lines),
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        "collections": {k: v for k, v in collections.items() if v},
    }


_SAVER = re.compile(r"/save(_\d+)?/")


def nodes(graph: tf.Graph) -> list:
    """One line for each node: name, op, inputs, colocation, shared name, device.

    Without the savers of a module in a module, which nobody runs.
    """
    lines = []
    for node in graph.as_graph_def().node:
        if _SAVER.search(node.name):
            continue
        colocated = sorted(v.decode() for v in node.attr["_class"].list.s) if "_class" in node.attr else []
        shared = node.attr["shared_name"].s.decode() if "shared_name" in node.attr else ""
        lines.append("|".join([node.name, node.op, ",".join(node.input), ",".join(colocated), shared, node.device]))
    return sorted(lines)


def variable_map(module: Any) -> dict:
    found = sorted(module.variable_map.items())
    return {k: [p.name for p in v] if isinstance(v, list) else v.name for k, v in found}


def placeholder(info: Any, name: str) -> Any:
    shape = info.get_shape()
    if info.is_sparse:
        return v1.sparse_placeholder(info.dtype, None if shape.rank is None else shape.as_list(), name=name)
    if info.is_composite:
        spec = info.type_spec
        rest = spec.shape[spec.ragged_rank + 1 :].as_list()
        return v1.ragged.placeholder(spec.dtype, spec.ragged_rank, rest, name=name)
    return v1.placeholder(info.dtype, shape, name=name)


def apply(module: Any, signature: str) -> dict:
    infos = sorted(module.get_input_info_dict(signature).items())
    fed = {k: placeholder(info, "fed") for k, info in infos}
    return module(fed, signature=signature, as_dict=True)


def _frozen(hub: Any, path: str, tags: set) -> Any:
    module = hub.Module(path, tags=tags)
    for signature in sorted(module.get_signature_names()):
        apply(module, signature)
    return module


def _trainable(hub: Any, path: str, tags: set) -> Any:
    module = hub.Module(path, trainable=True, tags=tags)
    for signature in [*sorted(module.get_signature_names()), min(module.get_signature_names())]:
        apply(module, signature)
    return module


def _scopes(hub: Any, path: str, tags: set) -> Any:
    """Below scopes; applied in others; a second one of the same name; and one for which no name is left."""
    with v1.variable_scope("outer") as outer, tf.name_scope("named"):
        module = hub.Module(path, trainable=True, name="my_module", tags=tags)
        with tf.name_scope("inner"), v1.variable_scope("deeper"):
            apply(module, min(module.get_signature_names()))
        apply(hub.Module(path, name="my_module", tags=tags), min(module.get_signature_names()))
    with v1.variable_scope(outer), _refused(RuntimeError):
        hub.Module(path, name="named", tags=tags)
    return module


def _reuse(hub: Any, path: str, tags: set) -> Any:
    """Two of one name, where variables are reused: state is never shared."""
    hub.Module(path, tags=tags)
    with v1.variable_scope("", reuse=v1.AUTO_REUSE), tf.control_dependencies([tf.constant(1)]):
        module = hub.Module(path, tags=tags)
        apply(module, min(module.get_signature_names()))
    return module


@contextlib.contextmanager
def _refused(kind: type) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"expected a {kind.__name__}")


_SCENES = {"frozen": _frozen, "trainable": _trainable, "scopes": _scopes, "reuse": _reuse}


def _item(item: Any) -> Any:
    if isinstance(item, (tf.Tensor, tf.Operation, tf.Variable)):
        return item.name
    if hasattr(item, "op") and hasattr(item, "name"):
        return item.name
    kind = type(item).__name__
    if kind.endswith("Context"):
        return [kind, item.name]
    return [kind, str(getattr(item, "name", ""))]
