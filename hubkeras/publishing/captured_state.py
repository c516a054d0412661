"""What functions take from the program around them, as nodes of a graph: tables, files and constants."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.graphs.tensorflow_internals import create_resource, fill_resource, resource_of
from hubkeras.publishing.function_traces import refuse_capture, trace
from hubkeras.publishing.tensor_infos import tensor_names
from hubkeras.publishing.variable_nodes import constant_node, op_name
from hubkeras.savedmodel.collection_defs import is_table_initializer
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hubkeras.publishing.function_traces import Trace


_FROM_DATASET = "InitializeTableFromDataset"
"""Fills a table from a `tf.data.Dataset`, which no module can hold."""


@dataclass(frozen=True, eq=False)
class PublishedTable:
    """A lookup table of a module that is being made."""

    name: str
    """Of its op."""
    resource: Any
    """What holds it; as long as it lives, so does its handle."""
    created: Trace
    """Makes the table."""
    filled: Trace | None
    """Fills it; None for one that starts empty."""

    @property
    def node(self) -> Any:
        """The node that makes it."""
        return _maker(self.created)

    @property
    def initializers(self) -> list[str]:
        """Names of the ops that fill it, within the trace that does."""
        return [n.name for n in self.filled.nodes.values() if is_table_initializer(n.op)] if self.filled else []


class CapturedState:
    """The tables and files of a module that is being made, each found once.

    Args:
        purpose: For messages, what is being published.
        roots: Trackable objects, such as models, that are published.
    """

    def __init__(self, purpose: str, roots: Iterable[Any]) -> None:
        self._purpose, self._roots = purpose, tuple(roots)
        self._tables: dict[int, PublishedTable] = {}
        self._assets: dict[int, str] = {}

    def table(self, handle: tf.Tensor) -> PublishedTable:
        """Returns the table that a handle belongs to.

        Raises:
            PublishingError: It is another resource, or a table that cannot be written.
        """
        # Tensors do not hash; `resource` keeps the handle alive, so that no other one can get its id.
        if id(handle) not in self._tables:
            self._tables[id(handle)] = self._trace(handle)
        return self._tables[id(handle)]

    def path(self, tensor: tf.Tensor) -> str | None:
        """Returns the path of the file that a tensor names, None if it is no file that a program declared."""
        if tensor.dtype != tf.string or tensor.shape.rank != 0:
            return None
        if id(tensor) not in self._assets:
            # An asset knows its path, a path does not know its asset, and what a function has captured is the path.
            if not any(asset.asset_path is tensor for asset in self._known_assets()):
                return None
            self._assets[id(tensor)] = str(Path(tensor.numpy().decode()).absolute())
        return self._assets[id(tensor)]

    def _known_assets(self) -> Iterator[tf.saved_model.Asset]:
        """Yields the assets of what is published, of its tables, and those that only a function holds on to."""
        for root in (*self._roots, *(table.resource for table in self._tables.values())):
            for item in tf.train.TrackableView(root).descendants():
                if isinstance(item, tf.saved_model.Asset):
                    yield item
        # Slow, and blind after gc.freeze(), but nothing else leads to the last ones.
        yield from (item for item in gc.get_objects() if isinstance(item, tf.saved_model.Asset))

    def _trace(self, handle: tf.Tensor) -> PublishedTable:
        resource = resource_of(handle)
        if resource is None:
            raise refuse_capture("a resource that is neither a variable nor a lookup table", self._purpose)
        name = f"table_{len(self._tables)}"
        purpose = f"{self._purpose}: {type(resource).__name__}"
        # Made anew in a graph: there is no other way to the op with its attributes than the table's own method.
        created = trace(_unconverted(lambda _: {"handle": create_resource(resource)}), {}, purpose)
        return PublishedTable(name, resource, created, self._filling(resource, _maker(created), purpose))

    def _filling(self, resource: Any, node: Any, purpose: str) -> Trace | None:
        # A table with an initializer is filled by it again, so that a file stays a file; others by what they hold now.
        is_mutable = node.op.startswith("Mutable")
        if not is_mutable:
            filled = trace(_run(lambda: fill_resource(resource)), {}, purpose)
            if not any(each.op == _FROM_DATASET for each in filled.nodes.values()):
                return filled
        dtypes = {"Tkeys": node.attr["key_dtype"].type, "Tvalues": node.attr["value_dtype"].type}
        keys, values = tf.raw_ops.LookupTableExportV2(table_handle=resource.resource_handle, **dtypes)
        if is_mutable and not len(keys):
            return None
        # An initializer of a table may only fill it, and the format knows such ops by their types.
        fill_with = tf.raw_ops.LookupTableImportV2 if is_mutable else tf.raw_ops.InitializeTableV2

        def fill() -> None:
            fill_with(table_handle=resource.resource_handle, keys=keys, values=values)

        return trace(_run(fill), {}, purpose)


def _maker(created: Trace) -> Any:
    """Returns the node that makes a table; one of a SavedModel is made by a function, which passes the handle on."""
    (tensor,) = tensor_names(created.outputs.values())
    ref = Ref.parse(tensor)
    while (node := created.nodes[ref.node]).op in {"Identity", "IdentityN"}:
        ref = Ref.parse(node.input[ref.index or 0])
    return node


def _run(function: Callable[[], Any]) -> Callable[[Any], dict[str, Any]]:
    def run(_: Any) -> dict[str, Any]:
        function()
        return {}

    return _unconverted(run)


def _unconverted(function: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    # AutoGraph would take seconds to rewrite what makes and fills our own tables: importing a graph, the gate and all.
    # `tf.saved_model.save` does not let it rewrite the methods of tables either.
    return tf.autograph.experimental.do_not_convert(function)


def asset_node(name: str, path: str) -> Any:
    """Returns the node of a constant that holds the path of a file."""
    return constant_node(op_name(name), tf.constant(path))
