"""Tables and paths of assets: resources made and filled when they are first used, which travel with an export."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.functions.importing import import_graph
from hubkeras.graphs.specialization import drop_private_attributes
from hubkeras.graphs.subgraph import Subgraph
from hubkeras.graphs.tensorflow_internals import track, wrap_function
from hubkeras.savedmodel.protos import copy_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubkeras.graphs.op_policy import OpPolicy

_TABLES_V2 = {
    name: f"{name}V2"
    for name in ("HashTable", "MutableHashTable", "MutableHashTableOfTensors", "MutableDenseHashTable")
}
"""Ops that give a reference to a table, with those that give a handle."""


class _NamedResource(tf.saved_model.experimental.TrackableResource):
    """A resource that has a name, in this process and in an export.

    TensorFlow finds resources by name. No other load of the module, no other export, and no export of another process
    that this one loads may find this one. An export has a name of its own, which two loads of it share: what is loaded
    from it here would else lose the resource as soon as the module is gone.
    """

    def __init__(self, name: str) -> None:
        super().__init__(device="CPU")
        # Not a counter: an export is loaded in other processes, which count too.
        self._unique_name = f"{name}_hubkeras_{uuid.uuid4()}"

    @property
    def _current_name(self) -> str:
        return self._unique_name if tf.executing_eagerly() else f"{self._unique_name}_exported"

    def _destroy_resource(self) -> None:
        # Signatures outlive the object that they were loaded with, so nothing is destroyed in an export: it lasts as
        # long as the process, as TensorFlow's own tables do.
        if tf.executing_eagerly():
            tf.raw_ops.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)


def run_with_tables(*initializers: tf.Operation) -> None:
    """Lets `tf.compat.v1.tables_initializer` run what fills a table in a graph, where nothing runs at once."""
    if not tf.executing_eagerly() and not tf.inside_function():
        for op in initializers:
            tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS, op)


class Table(_NamedResource):
    """A lookup table, or another resource that a graph makes by an op without inputs.

    It is filled when it is first used, and travels with an export: a SavedModel makes and fills it anew. What fills it
    runs the table's initializers, given its handle, and returns the assets that they read.
    """

    def __init__(
        self, node: Any, purpose: str, policy: OpPolicy, fill: Callable[[tf.Tensor], list[tf.saved_model.Asset]]
    ) -> None:
        super().__init__(node.name)
        made = copy_of(node)
        made.op, made.device = _TABLES_V2.get(node.op, node.op), ""
        # Control inputs only, of nodes that are not there.
        del made.input[:]
        drop_private_attributes(made.attr)
        made.attr.pop("container", None)  # its name will tell it from all others
        self._node, self._purpose, self._policy, self._fill = made, purpose, policy, fill

    def _create_resource(self) -> tf.Tensor:
        node = copy_of(self._node)
        node.attr["shared_name"].s = self._current_name.encode()
        graph = Subgraph({node.name: node}, purpose=self._purpose, policy=self._policy, fetches=(f"{node.name}:0",))

        def make() -> tf.Tensor:
            return import_graph(graph, {}, scope=None)[0]

        # Imported at once where a graph is built, as an export is traced; eager mode has no graph to import into.
        return wrap_function(make, [])() if tf.executing_eagerly() else make()

    def _initialize(self) -> None:
        for i, asset in enumerate(self._fill(self.resource_handle)):
            track(self, asset, f"asset_{i}")


class AssetPath(_NamedResource):
    """The path of an asset that a graph asks for itself, as a table of one entry.

    A path is a constant to an export which looks for resources only, as that of Keras does; a table that is filled
    with it takes the file along.
    """

    def __init__(self, asset: tf.saved_model.Asset) -> None:
        super().__init__("asset")
        self.asset = asset
        track(self, asset, "asset")

    def find(self) -> tf.Tensor:
        """Returns the path, a string scalar."""
        return tf.raw_ops.LookupTableFindV2(table_handle=self.resource_handle, keys="", default_value="")

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.string, shared_name=self._current_name)

    def _initialize(self) -> None:
        path = tf.reshape(self.asset.asset_path, [1])
        filled = tf.raw_ops.InitializeTableV2(table_handle=self.resource_handle, keys=[""], values=path)
        if filled is not None:
            run_with_tables(filled)
