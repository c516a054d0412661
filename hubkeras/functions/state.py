"""The state of a module: variables, tables and assets, one of each however many graphs use it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError, UnsupportedError
from hubkeras.graphs import tensorflow_internals
from hubkeras.graphs.tensorflow_internals import part_on_replica, track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hubkeras.savedmodel.description import AssetSpec, ModuleDescription, VariableSpec

_serial = itertools.count()


class Table(tf.saved_model.experimental.TrackableResource):
    """A lookup table, or another resource that a graph makes by an op without inputs.

    It is filled when it is first used, and travels with an export: a SavedModel makes and fills it anew.

    Args:
        node: The op's NodeDef.
        fill: Runs the table's initializers, given its handle, and returns the assets that they read.
    """

    def __init__(self, node: Any, fill: Callable[[tf.Tensor], list[tf.saved_model.Asset]]) -> None:
        super().__init__(device="CPU")
        self._op = _TABLES_V2.get(node.op, node.op)
        self._attributes = {k: _attribute(v) for k, v in node.attr.items() if v.WhichOneof("value") and k[0] != "_"}
        self._attributes["shared_name"] = f"{node.name}_hubkeras_{next(_serial)}"
        self._fill = fill

    def _create_resource(self) -> tf.Tensor:
        create: Any = getattr(tf.raw_ops, str(self._op), None)
        if create is None:
            raise UnsupportedError(f"Cannot make a resource: TensorFlow does not export op {self._op!r}")
        return create(**self._attributes)

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


_TABLES_V2 = {
    name: f"{name}V2"
    for name in ("HashTable", "MutableHashTable", "MutableHashTableOfTensors", "MutableDenseHashTable")
}


def _attribute(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "type":
        return tf.as_dtype(value.type)
    if kind == "shape":
        return tf.TensorShape(value.shape)
    if kind == "s":
        return value.s.decode()
    if kind == "list":
        return [tf.as_dtype(t) for t in value.list.type] or [tf.TensorShape(s) for s in value.list.shape]
    return getattr(value, kind)


class State(tf.Module):
    """Every variable, table and asset of one loaded module.

    Args:
        specs: The variables to make, by name.
        values: Their values; one that is missing starts with zeros (strings: empty).
    """

    def __init__(self, specs: Mapping[str, VariableSpec], values: Mapping[str, tf.Tensor]) -> None:
        super().__init__(name="state")
        with tf.init_scope():
            self.by_name = {name: make_variable(spec, values.get(name)) for name, spec in specs.items()}
            self.tables: dict[str, Table] = {}
            self.assets: dict[str, tf.saved_model.Asset] = {}
            self.paths: dict[str, AssetPath] = {}

    def add(self, spec: VariableSpec, value: tf.Tensor) -> None:
        """Makes one more variable."""
        self.by_name[spec.name] = make_variable(spec, value)

    def table(self, node: Any, name: str, fill: Callable[[tf.Tensor], list[tf.saved_model.Asset]]) -> tf.Tensor:
        """Returns the handle of a table, which is made and filled when it is first asked for."""
        if name not in self.tables:
            with tf.init_scope():
                table = Table(node, fill)
                self.tables[name] = table
                table._initialize()
        return self.tables[name].resource_handle

    def asset(self, spec: AssetSpec) -> tf.saved_model.Asset:
        """Returns an asset, for what fills a table."""
        if spec.filename not in self.assets:
            with tf.init_scope():
                self.assets[spec.filename] = tf.saved_model.Asset(str(spec.path))
        return self.assets[spec.filename]

    def path(self, spec: AssetSpec) -> tf.Tensor:
        """Returns the absolute path of an asset, a string scalar, for a graph that asks for it."""
        if spec.filename not in self.paths:
            with tf.init_scope():
                path = AssetPath(self.asset(spec))
                self.paths[spec.filename] = path
                path._initialize()
        return self.paths[spec.filename].find()


def make_variable(spec: VariableSpec, value: tf.Tensor | None) -> tf.Variable:
    """Makes a variable under its own name; in the scope of a strategy, one part for each replica.

    What a replica assigns stays its own, as with the moving averages of Keras' own BatchNormalization: nothing is
    aggregated, and the first replica's value is the one that is read outside of replicas and saved.
    """
    dtype = tf.as_dtype(spec.dtype)
    if value is None:
        value = tf.zeros(spec.shape, dtype) if dtype != tf.string else tf.fill(spec.shape, "")
    with tf.init_scope(), tf.name_scope(""), tf.device("CPU:0" if _stays_on_cpu(dtype) else None):
        return tensorflow_internals.make_variable(value, spec.name, spec.trainable)


def _stays_on_cpu(dtype: tf.DType) -> bool:
    return dtype == tf.string


def replica(variable: tf.Variable) -> tf.Variable:
    """Returns the part of a variable that belongs to the replica which is running; outside of replicas, the first."""
    return part_on_replica(variable) if is_distributed(variable) else variable


def is_distributed(variable: tf.Variable) -> bool:
    """Tells whether a variable has a part for each replica."""
    return isinstance(variable, tf.distribute.DistributedValues)


def restore(description: ModuleDescription, specs: Iterable[VariableSpec]) -> dict[str, tf.Tensor]:
    """Reads the values of variables from a module's checkpoint, all at once.

    Returns:
        The values by the variables' names, of those that the checkpoint has.
    """
    wanted = [s for s in specs if s.in_checkpoint]
    if not wanted or description.checkpoint is None:
        return {}
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            tensors = tf.raw_ops.RestoreV2(
                prefix=str(description.checkpoint),
                tensor_names=[s.checkpoint_name for s in wanted],
                shape_and_slices=[slice_text(s) for s in wanted],
                dtypes=[tf.as_dtype(s.dtype) for s in wanted],
            )
        except tf.errors.OpError as error:
            raise FormatError(
                f"Cannot read the variables of module {description.path}",
                expected="a checkpoint that holds all of them",
                received=error.message,
                fix="Fetch the module again: its files are damaged",
            ) from error
    return dict(zip((s.name for s in wanted), tensors, strict=True))


def slice_text(spec: VariableSpec) -> str:
    """Returns the slice of a partitioned variable as checkpoints name it, such as "10 4 0,5:-"."""
    part = spec.partition
    if part is None:
        return ""
    ranges = zip(part.offset, part.shape, part.full_shape, strict=True)
    slices = ["-" if size == full else f"{start},{size}" for start, size, full in ranges]
    return f"{' '.join(map(str, part.full_shape))} {':'.join(slices)}"


def parts_of(specs: Iterable[VariableSpec]) -> dict[str, list[str]]:
    """Groups variables by the whole that they are parts of, in the order of their offsets.

    Returns:
        For each whole its parts' names; a variable without parts stands for itself.
    """
    groups: dict[str, list[VariableSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.checkpoint_name, []).append(spec)
    return {
        name: [s.name for s in sorted(group, key=lambda s: s.partition.offset if s.partition else ())]
        for name, group in groups.items()
    }
