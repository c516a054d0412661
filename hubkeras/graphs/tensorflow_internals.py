"""The names of TensorFlow that it does not export, all in one place.

Each has been where it is since TensorFlow 2.12 or longer; a release that moves one breaks this file and nothing else.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import struct_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.eager import context
from tensorflow.python.framework import kernels, op_def_registry, ops
from tensorflow.python.ops import control_flow_util, handle_data_util, resource_variable_ops
from tensorflow.python.saved_model import nested_structure_coder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ANONYMOUS_NAME = "cd2c89b7-88b7-44c8-ad83-06c2a9158347"
"""As `shared_name`, makes a VarHandleOp create a variable of its own each time it runs
(`ResourceHandle::ANONYMOUS_NAME`, tensorflow/core/framework/resource_handle.h)."""

BUILDING = threading.RLock()
"""Held by the thread that builds graphs: what is built is kept, and control flow v1 is a switch of the process."""


def op_def(op: str) -> Any | None:
    """Returns the OpDef of a registered op type, or None."""
    return op_def_registry.get(op)


def registered_ops() -> list[Any]:
    """Returns the OpDefs of all op types that this process knows."""
    ops_: Any = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return list(ops_.op)


def copy_handle_data(source: tf.Tensor, target: tf.Tensor) -> None:
    """Tells `target`, a resource tensor, what dtype and shape the variable behind `source` has."""
    handle_data_util.copy_handle_data(source, target)


def handle_spec(handle: tf.Tensor) -> tf.TensorSpec | None:
    """Returns what a variable's handle points to, None for other state."""
    data = getattr(handle, "_handle_data", None)
    if handle.dtype != tf.resource or data is None or not data.is_set or not data.shape_and_type:
        return None
    first = data.shape_and_type[0]
    return tf.TensorSpec(tf.TensorShape(first.shape), tf.as_dtype(first.dtype))


def make_variable(value: tf.Tensor, name: str, trainable: bool) -> tf.Variable:
    """Makes a variable.

    For each new name TensorFlow makes a new kernel, which takes longer than all the rest. So a variable that belongs to
    no strategy is made under the name of all and gets its own afterwards.
    """
    if tf.distribute.has_strategy():
        return tf.Variable(value, trainable=trainable, name=name)
    variable: Any = tf.Variable(value, trainable=trainable, name="variable")
    variable._handle_name = f"{name}:0"
    return variable


def note_access(variable: tf.Variable) -> None:
    """Makes the active gradient tapes watch a variable whose handle is about to be used."""
    resource_variable_ops.variable_accessed(variable)


def set_gradient(op: tf.Operation, gradient: Callable[..., list[Any]]) -> None:
    """Gives one op a gradient of its own, which is called with the op and the gradients of its outputs.

    A name registered for a type of gradient would last as long as the process, and a SavedModel would ask for it.
    """
    op._gradient_function = gradient


def has_gradient(name: str) -> bool:
    """Tells whether a gradient is registered under a name."""
    try:
        return ops.gradient_registry.lookup(name) is not None
    except LookupError:
        return False


def never_differentiable(op: str) -> bool:
    """Tells whether an op type is registered as one that no gradient goes through."""
    try:
        return ops.gradient_registry.lookup(op) is None
    except LookupError:
        return False


def track(parent: Any, child: Any, name: str) -> None:
    """Makes an export of a resource, which tracks nothing by itself, take along what it is filled from."""
    parent._track_trackable(child, name, overwrite=True)


def stand_for(variable: tf.Variable, other: tf.Variable) -> None:
    """Gives a variable the identity of another, by which the optimizer that was built for the other knows it."""
    variable._unique_id = other._unique_id


def part_on_replica(variable: Any) -> tf.Variable:
    """Returns the part of a distributed variable that belongs to the running replica; else the first part."""
    return variable._get_on_device_or_primary()


def wrap_function(body: Callable[..., Any], specs: Sequence[tf.TensorSpec]) -> Any:
    """Makes a function without automatic control dependencies.

    `tf.compat.v1.wrap_function` registers every function in the graph's library with the process, and never takes one
    back. Here each goes when the last graph that holds it does.
    """
    wrapped = tf.compat.v1.wrap_function(body, specs)
    for function in wrapped.graph._functions.values():
        weakref.finalize(function, _forget_function, function.name).atexit = False
    return wrapped


def _forget_function(name: str) -> None:
    process: Any = context.context()
    if process.has_function(name):
        process.remove_function(name)


def decode_type_spec(serialized: bytes) -> tf.TypeSpec:
    """Returns the type specification that a `TypeSpecProto` holds."""
    proto = struct_pb2.StructuredValue()
    proto.type_spec_value.ParseFromString(serialized)
    return nested_structure_coder.decode_proto(proto)


def xla_compiles(op: str) -> bool:
    """Tells whether XLA has a kernel for an op type."""
    _register_xla_kernels()
    return any(k.device_type == "XLA_CPU_JIT" for k in kernels.get_registered_kernels_for_op(op).kernel)


_xla_kernels_registered = False


def _register_xla_kernels() -> None:
    """Compiles something once: only then does XLA register its kernels."""
    global _xla_kernels_registered
    if not _xla_kernels_registered:
        with tf.init_scope():
            tf.function(lambda x: x + 1.0, jit_compile=True, autograph=False)(tf.constant(1.0))
        _xla_kernels_registered = True


@contextmanager
def control_flow_v1() -> Iterator[None]:
    """Turns control flow v2 off, for all threads, while gradients of v1 control flow are built."""
    with BUILDING:
        before = control_flow_util.ENABLE_CONTROL_FLOW_V2
        control_flow_util.ENABLE_CONTROL_FLOW_V2 = False
        try:
            yield
        finally:
            control_flow_util.ENABLE_CONTROL_FLOW_V2 = before
