"""Variables of a program as variables of a graph: their names, their nodes, what the collections say about them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.savedmodel.protos import NodeDef, VariableDef

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    import keras

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.\\/>-]")
_FIRST = re.compile(r"[A-Za-z0-9.]")


@dataclass(frozen=True, eq=False)
class PublishedVariable:
    """One variable of a module that is being made."""

    name: str
    """Of its op, such as "dense/kernel"."""
    variable: tf.Variable
    trainable: bool

    def nodes(self) -> Iterator[Any]:
        """Yields the nodes of a resource variable, as TF1 writes them."""
        dtype, name = self.variable.dtype.as_datatype_enum, self.name
        yield _node(name, "VarHandleOp", dtype=dtype, shape=self.variable.shape, shared_name=name.encode())
        yield from self._initial_value(f"{name}/Initializer/zeros")
        yield _node(f"{name}/IsInitialized/VarIsInitializedOp", "VarIsInitializedOp", name)
        yield _node(f"{name}/Assign", "AssignVariableOp", name, f"{name}/Initializer/zeros", dtype=dtype)
        yield _node(f"{name}/Read/ReadVariableOp", "ReadVariableOp", name, dtype=dtype)

    def _initial_value(self, name: str) -> Iterator[Any]:
        """Yields the nodes of a value that no one needs to see: that of the checkpoint takes its place."""
        dtype = self.variable.dtype
        empty: Any = "" if dtype == tf.string else tf.zeros([], dtype)
        yield constant_node(f"{name}/shape_as_tensor", tf.shape(self.variable))
        yield constant_node(f"{name}/Const", tf.constant(empty, dtype))
        yield _node(name, "Fill", f"{name}/shape_as_tensor", f"{name}/Const", T=dtype.as_datatype_enum)

    def definition(self) -> bytes:
        """Returns the serialised `VariableDef`."""
        return VariableDef(
            variable_name=f"{self.name}:0",
            initial_value_name=f"{self.name}/Initializer/zeros:0",
            initializer_name=f"{self.name}/Assign",
            snapshot_name=f"{self.name}/Read/ReadVariableOp:0",
            is_resource=True,
            trainable=self.trainable,
        ).SerializeToString(deterministic=True)


class VariableTable:
    """The variables of a module that is being made, each with a name of its own.

    Args:
        models: Keras models; their weights come first, and are trainable as they are there.
    """

    def __init__(self, models: Iterable[keras.Model] = ()) -> None:
        self._by_handle: dict[int, PublishedVariable] = {}
        self.by_name: dict[str, PublishedVariable] = {}
        for model in models:
            # By id, since weights overload `==`.
            trainable = {id(weight) for weight in model.trainable_variables}
            for weight in model.weights:
                self._add(weight.value, weight_name(weight), id(weight) in trainable)

    def add_captured(self, variables: Iterable[tf.Variable]) -> None:
        """Adds what functions have read or assigned besides, which Keras does not train."""
        for variable in variables:
            self.add(variable, trainable=False)

    def add(self, variable: tf.Variable, trainable: bool) -> None:
        """Adds a variable under its own name, unless it is there already."""
        if self.find(variable.handle) is None:
            self._add(variable, variable.name.partition(":")[0], trainable)

    def find(self, handle: tf.Tensor) -> PublishedVariable | None:
        """Returns the variable that a handle belongs to."""
        return self._by_handle.get(id(handle))

    def _add(self, variable: tf.Variable, name: str, trainable: bool) -> None:
        # Under a strategy the model's variable has a part for each replica, and traces see the handle of one.
        parts = variable.values if isinstance(variable, tf.distribute.DistributedValues) else (variable,)
        # Layers over one module have two weights for one variable, the trained and the frozen: the first one names it.
        known = self.find(parts[0].handle)
        published = known or PublishedVariable(unused_name(op_name(name), self.by_name), parts[0], trainable)
        self.by_name.setdefault(published.name, published)
        for part in parts:
            self._by_handle[id(part.handle)] = published


def weight_name(weight: keras.Variable) -> str:
    """Returns the path of a weight in its model; what a layer over a module holds has its name there at the end."""
    path = weight.path
    scope, _, last = path.rpartition("/")
    own = str(getattr(weight.value, "name", "")).partition(":")[0]
    return f"{scope}/{own}" if scope and own.replace("/", "_") == last else path


def op_name(text: str) -> str:
    """Returns a text as a name that TensorFlow takes for an op."""
    name = _FORBIDDEN.sub("_", text)
    return name if _FIRST.match(name) else f".{name}" if name else "unnamed"


def unused_name(name: str, taken: Container[str]) -> str:
    """Returns a name, with a number behind it if it is taken."""
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def constant_node(name: str, value: tf.Tensor) -> Any:
    """Returns the node of a constant."""
    node = NodeDef(name=name, op="Const")
    node.attr["dtype"].type = value.dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy(), value.dtype))
    return node


def _node(name: str, op: str, *inputs: str, **attributes: Any) -> Any:
    node = NodeDef(name=name, op=op, input=inputs)
    for key, value in attributes.items():
        if isinstance(value, bytes):
            node.attr[key].s = value
        elif isinstance(value, tf.TensorShape):
            node.attr[key].shape.CopyFrom(value.as_proto())
        else:
            node.attr[key].type = value
    return node
