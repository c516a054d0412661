"""Tables and paths of assets: resources made and filled when they are first used, which travel with an export."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.functions.importing import import_graph
from hubkeras.graphs.specialization import drop_private_attributes
from hubkeras.graphs.subgraph import Subgraph, copy_of
from hubkeras.graphs.tensorflow_internals import track, wrap_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubkeras.graphs.op_policy import OpPolicy

_serial = itertools.count()

_TABLES_V2 = {
    name: f"{name}V2"
    for name in ("HashTable", "MutableHashTable", "MutableHashTableOfTensors", "MutableDenseHashTable")
}
"""Ops that give a reference to a table, with those that give a handle."""


class Table(tf.saved_model.experimental.TrackableResource):
    """A lookup table, or another resource that a graph makes by an op without inputs.

    It is filled when it is first used, and travels with an export: a SavedModel makes and fills it anew.

    Args:
        node: The op's NodeDef.
        purpose: For messages, what it is.
        policy: What the gate lets it be.
        fill: Runs the table's initializers, given its handle, and returns the assets that they read.
    """

    def __init__(
        self, node: Any, purpose: str, policy: OpPolicy, fill: Callable[[tf.Tensor], list[tf.saved_model.Asset]]
    ) -> None:
        super().__init__(device="CPU")
        made = copy_of(node)
        made.op, made.device = _TABLES_V2.get(node.op, node.op), ""
        del made.input[:]
        drop_private_attributes(made.attr)
        # The name is global to the process: another load of the module must not find this table under it.
        made.attr["shared_name"].s = f"{node.name}_hubkeras_{next(_serial)}".encode()
        self._graph = Subgraph({made.name: made}, purpose=purpose, policy=policy, fetches=(f"{made.name}:0",))
        self._fill = fill

    def _create_resource(self) -> tf.Tensor:
        if tf.executing_eagerly():
            return wrap_function(self._import, [])()
        return self._import()

    def _import(self) -> tf.Tensor:
        return import_graph(self._graph, {}, scope=None)[0]

    def _initialize(self) -> None:
        for i, asset in enumerate(self._fill(self.resource_handle)):
            track(self, asset, f"asset_{i}")

    def _destroy_resource(self) -> None:
        tf.raw_ops.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)


class AssetPath(tf.saved_model.experimental.TrackableResource):
    """The path of an asset that a graph asks for itself, as a table of one entry.

    A path is a constant to an export which looks for resources only, as that of Keras does; a table that is filled
    with it takes the file along.

    Args:
        asset: The asset.
    """

    def __init__(self, asset: tf.saved_model.Asset) -> None:
        super().__init__(device="CPU")
        self.asset, self._name = asset, f"asset_hubkeras_{next(_serial)}"
        track(self, asset, "asset")

    def find(self) -> tf.Tensor:
        """Returns the path, a string scalar."""
        return tf.raw_ops.LookupTableFindV2(table_handle=self.resource_handle, keys="", default_value="")

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.string, shared_name=self._name)

    def _initialize(self) -> None:
        path = tf.reshape(self.asset.asset_path, [1])
        tf.raw_ops.InitializeTableV2(table_handle=self.resource_handle, keys=[""], values=path)

    def _destroy_resource(self) -> None:
        tf.raw_ops.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)
