"""The state of a module: variables, tables and assets, one of each however many graphs use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError
from hubkeras.functions.build_lock import BUILDING
from hubkeras.functions.resources import AssetPath
from hubkeras.graphs import tensorflow_internals
from hubkeras.graphs.tensorflow_internals import fill_resource
from hubkeras.savedmodel.assets import find_asset
from hubkeras.savedmodel.description import VariableSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hubkeras.functions.resources import Table
    from hubkeras.savedmodel.description import AssetSpec


class State(tf.Module):
    """Every variable, table and asset of one loaded module; a variable without a value starts with zeros, or empty."""

    def __init__(self, specs: Mapping[str, VariableSpec], values: Mapping[str, tf.Tensor]) -> None:
        super().__init__(name="state")
        with tf.init_scope():
            self.by_name = {name: make_variable(spec, values.get(name)) for name, spec in specs.items()}
            self.tables: dict[str, Table] = {}
            self.assets: dict[str, tf.saved_model.Asset] = {}
            self.paths: dict[str, AssetPath] = {}
        self._being_filled: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles the variables alone: tables and assets are made anew when they are first used."""
        return _state_of, ([(n, v.dtype.name, v.trainable, v.numpy()) for n, v in self.by_name.items()],)

    def add(self, spec: VariableSpec, value: tf.Tensor) -> None:
        """Makes one more variable."""
        self.by_name[spec.name] = make_variable(spec, value)

    def table(self, key: str, name: str, make: Callable[[], Table]) -> tf.Tensor:
        """Returns the handle of a table, which is made and filled when it is first asked for.

        Args:
            key: What tells it from the others.
            name: For messages.
            make: Makes it.

        Raises:
            FormatError: What fills it asks for it.
        """
        with BUILDING:  # another thread waits, and finds the table; the same one has come round in a circle
            if key in self._being_filled:
                raise FormatError(
                    f"Cannot fill table {name!r}",
                    expected="initializers that need only tables which are filled before",
                    received="one that needs the table itself",
                    fix="The module is damaged, or was made to do harm",
                )
            if key not in self.tables:
                self._being_filled.add(key)
                try:
                    with tf.init_scope():
                        table = make()
                        fill_resource(table)
                except tf.errors.OpError as error:
                    raise FormatError(
                        f"Cannot fill table {name!r}",
                        expected="a table that TensorFlow makes, and initializers that run",
                        received=error.message,
                        fix="The module is damaged, or was written by a broken exporter",
                    ) from error
                finally:
                    self._being_filled.remove(key)
                self.tables[key] = table  # only now: an empty table that stayed would answer the next call
        return self.tables[key].resource_handle

    def asset(self, spec: AssetSpec) -> tf.saved_model.Asset:
        """Returns an asset, for what fills a table.

        Raises:
            MissingFileError: The file is not there.
        """
        if spec.filename not in self.assets:
            with tf.init_scope():
                self.assets[spec.filename] = tf.saved_model.Asset(str(find_asset(spec)))
        return self.assets[spec.filename]

    def path(self, spec: AssetSpec) -> tf.Tensor:
        """Returns the absolute path of an asset, a string scalar, for a graph that asks for it."""
        if spec.filename not in self.paths:
            with tf.init_scope():
                path = AssetPath(self.asset(spec))
                fill_resource(path)
            self.paths[spec.filename] = path
        return self.paths[spec.filename].find()


def _state_of(variables: list[tuple[str, str, bool, Any]]) -> State:
    specs, values = {}, {}
    for name, dtype, trainable, value in variables:
        values[name] = tf.constant(value, dtype)
        specs[name] = VariableSpec(name, dtype, tuple(values[name].shape), trainable, reference=False)
    return State(specs, values)


def make_variable(spec: VariableSpec, value: tf.Tensor | None) -> tf.Variable:
    """Makes a variable under its own name; in the scope of a strategy, one part for each replica.

    What a replica assigns stays its own, as with the moving averages of Keras' own BatchNormalization: nothing is
    aggregated, and the first replica's value is the one that is read outside of replicas and saved.
    """
    dtype = tf.as_dtype(spec.dtype)
    if value is None:
        value = tf.zeros(spec.shape, dtype) if dtype != tf.string else tf.fill(spec.shape, "")
    # An empty name scope, as the variable's own name is the one in the module. No GPU holds texts.
    with tf.init_scope(), tf.name_scope(""), tf.device("CPU:0" if dtype == tf.string else None):
        return tensorflow_internals.make_variable(value, spec.name, spec.trainable)


def replica(variable: tf.Variable) -> tf.Variable:
    """Returns the part of a variable that belongs to the replica which is running; outside of replicas, the first."""
    if not is_distributed(variable):
        return variable
    parts = variable.distribute_strategy.experimental_local_results(variable)  # pyright: ignore[reportAttributeAccessIssue]
    context = tf.distribute.get_replica_context()
    number = None if context is None else tf.get_static_value(context.replica_id_in_sync_group)
    # Replicas are numbered through all workers, and each worker has as many of them.
    return parts[0 if number is None else int(number) % len(parts)]


def is_distributed(variable: tf.Variable) -> bool:
    """Tells whether a variable has a part for each replica."""
    return isinstance(variable, tf.distribute.DistributedValues)
