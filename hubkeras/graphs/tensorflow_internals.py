"""The names of TensorFlow that it does not export, all in one place.

Each has been where it is since TensorFlow 2.12 or longer; a release that moves one breaks this file and nothing else,
and `find_missing` tells which.
"""

from __future__ import annotations

import importlib
import threading
import traceback
import weakref
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

_PRIVATE_NAMES = (
    "eager.context.context",
    "eager.context.eager_mode",
    "eager.polymorphic_function.concrete_function.ConcreteFunction",
    "eager.polymorphic_function.concrete_function.ConcreteFunction._call_flat",
    "eager.record.could_possibly_record",
    "eager.context.Context.has_function",
    "eager.context.Context.remove_function",
    "feature_column.feature_column._DenseColumn",
    "framework.kernels.get_registered_kernels_for_op",
    "framework.op_def_registry.get",
    "framework.ops.get_gradient_function",
    "framework.ops.gradient_registry",
    "ops.gradients_util._GradientsHelper",
    "ops.handle_data_util.copy_handle_data",
    "ops.resource_variable_ops.BaseResourceVariable",
    "ops.resource_variable_ops.variable_accessed",
    "saved_model.loader_impl.parse_saved_model_with_debug_info",
    "saved_model.nested_structure_coder.decode_proto",
    "saved_model.nested_structure_coder.encode_structure",
    "trackable.base.Trackable._trackable_children",
    "trackable.base.Trackable._track_trackable",
)
"""Below `tensorflow.python`."""
PRIVATE_ATTRIBUTES = {
    "a variable": ("_handle_name", "_shared_name", "_unique_id"),
    "its handle": ("_handle_data",),
    "the handle of a table": ("_parent_trackable",),
    "a table": ("_create_resource", "_initialize", "_destroy_resource"),
    "an operation": ("_gradient_function", "_set_attr", "_set_device"),
    "a graph": ("_add_control_dependencies", "_functions", "_get_control_flow_context"),
    "the context": ("_context_handle",),
}
"""Attributes of objects that are set when these are made."""


@cache
def _private(name: str) -> Any:
    """Finds something that TensorFlow does not export.

    Raises:
        UnsupportedError: This TensorFlow does not have it where it was.
    """
    parts = name.split(".")
    try:
        found: Any = importlib.import_module(".".join(["tensorflow.python", *parts[:2]]))
        for part in parts[2:]:
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UnsupportedError(
            f"Cannot use TensorFlow {tf.__version__}: it has moved tensorflow.python.{name}",
            expected="a version in which this private name is where it was",
            fix="Update hubkeras, or install the TensorFlow that its release notes name",
        ) from error
    return found


def find_missing() -> dict[str, str]:
    """Returns the private names that this TensorFlow does not have, each with what is wrong."""
    missing = {}
    for name in _PRIVATE_NAMES:
        try:
            _private(name)
        except UnsupportedError as error:
            missing[name] = str(error)
    return missing


def op_def_lookup() -> Callable[[str], Any | None]:
    """Returns the function that gives the OpDef of a registered op type, or None."""
    return _private("framework.op_def_registry.get")


def copy_handle_data(source: tf.Tensor, target: tf.Tensor) -> None:
    """Tells `target`, a resource tensor, what dtype and shape the variable behind `source` has."""
    _private("ops.handle_data_util.copy_handle_data")(source, target)


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
    no strategy is made under the name of all and gets its own afterwards. In a graph it is known by the name it is made
    under.
    """
    if tf.distribute.has_strategy() or not tf.executing_eagerly():
        return tf.Variable(value, trainable=trainable, name=name)
    variable: Any = tf.Variable(value, trainable=trainable, name="variable")
    # `variable.name` is made of it.
    variable._handle_name = f"{name}:0"
    return variable


def resource_of(handle: tf.Tensor) -> Any | None:
    """Returns the lookup table or other resource that a handle was made for, None for a handle of something else."""
    owner = getattr(handle, "_parent_trackable", None)
    return None if owner is None else owner()


def create_resource(resource: Any) -> tf.Tensor:
    """Makes the resource behind an object anew, in the graph that is being built; returns its handle."""
    return resource._create_resource()


def fill_resource(resource: Any) -> None:
    """Runs what gives a resource its first contents."""
    resource._initialize()


def note_access(variable: tf.Variable) -> None:
    """Makes the active gradient tapes watch a variable whose handle is about to be used."""
    _private("ops.resource_variable_ops.variable_accessed")(variable)


def note_frozen_access(variable: tf.Variable) -> None:
    """Tells the functions that are being traced of a variable whose handle is about to be used, and no gradient tape.

    An export takes along what its functions name. Whoever calls a function has the active tapes watch all trainable
    variables that it names, so it gets to know of one that is not trainable, with the same handle.
    """
    graph: Any = tf.compat.v1.get_default_graph()
    # A plain graph of TF1 has none, and no export looks at what it names.
    if not hasattr(graph, "watch_variable"):
        return
    if not hasattr(variable, "_hubkeras_frozen"):
        held: Any = variable
        held._hubkeras_frozen = _private("ops.resource_variable_ops.BaseResourceVariable")(
            trainable=False,
            shape=held.shape,
            dtype=held.dtype,
            handle=held.handle,
            handle_name=held._shared_name,
            unique_id=f"{held._unique_id}_frozen",
            in_graph_mode=False,
        )
    graph.watch_variable(variable._hubkeras_frozen)  # pyright: ignore[reportAttributeAccessIssue]


class SavedAsObject(tf.Module):
    """A `tf.Module` that chooses what a SavedModel of it holds."""

    def saved_children(self, children: dict[str, Any]) -> dict[str, Any]:
        """Returns what a SavedModel has for the object, given what a checkpoint has and all its functions."""
        raise NotImplementedError

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        children = super()._trackable_children(save_type, **kwargs)
        return self.saved_children(children) if save_type == "savedmodel" else children


def serve_by_default(children: dict[str, Any], function: Any) -> None:
    """Makes a function the signature of a SavedModel that is saved without a word about signatures."""
    children["_default_save_signature"] = function


def children_of(loaded: Any) -> dict[str, Any]:
    """Returns what a SavedModel has for an object of TensorFlow's."""
    return loaded._trackable_children("savedmodel", cache={})


def may_be_differentiated() -> bool:
    """Tells whether a gradient of what is called now may be asked for: a tape is active, or a graph is being built."""
    return not tf.executing_eagerly() or _private("eager.record.could_possibly_record")()


def call_flat(function: Any, arguments: list[tf.Tensor]) -> list[tf.Tensor]:
    """Calls a function that `wrap_function` made with what is known to be the tensors that it takes."""
    return list(function._call_flat(arguments, function.captured_inputs))


def set_gradient(op: tf.Operation, gradient: Callable[..., list[Any]]) -> None:
    """Gives one op a gradient of its own, which is called with the op and the gradients of its outputs.

    A name registered for a type of gradient would last as long as the process, and a SavedModel would ask for it.
    """
    op._gradient_function = gradient


def dense_column_classes() -> tuple[type, type]:
    """Returns the classes of feature columns that give dense tensors: for `input_layer`, and for `DenseFeatures`."""
    return _private("feature_column.feature_column._DenseColumn"), tf.__internal__.feature_column.DenseColumn


def makes_trainable(state_manager: Any) -> bool:
    """Tells whether the layer that holds the state of feature columns is to be trained."""
    return bool(getattr(state_manager, "_trainable", True))


def set_attribute(op: tf.Operation, name: str, value: Any) -> None:
    """Changes an attribute of an op that is in a graph already to an `AttrValue`."""
    op._set_attr(name, value)


def set_device(op: tf.Operation, device: str) -> None:
    """Changes the device of an op that is in a graph already."""
    op._set_device(device)


def session_config_of(estimator: Any) -> Any:
    """Returns the settings of the sessions of a `tf.estimator.Estimator`, None where it has none."""
    # An Estimator makes defaults of its own where its RunConfig says nothing, and shows them nowhere else.
    return getattr(estimator, "_session_config", None)


def control_flow_context(graph: tf.Graph) -> Any:
    """Returns the loop or branch of v1 control flow that a graph is building, None outside of any."""
    return graph._get_control_flow_context()


def orders_all_ops(graph: tf.Graph) -> bool:
    """Tells whether all stateful ops of a graph run, in the order in which they are made, as in a `tf.function`."""
    return graph._add_control_dependencies


def function_names(graph: tf.Graph) -> Collection[str]:
    """Returns the names of the functions in a graph's library."""
    return graph._functions.keys()


def graphs_by_function(graph: tf.Graph) -> dict[str, tf.Graph]:
    """Returns the graphs that the functions in a graph's library were traced in, by the names of the functions."""
    return {name: function.graph for name, function in graph._functions.items() if hasattr(function, "graph")}


def function_graphs(graph: tf.Graph) -> list[tf.Graph]:
    """Returns the graphs of the functions in a graph's library."""
    return [function.graph for function in graph._functions.values() if getattr(function, "graph", None) is not None]


def gradient_function(op: tf.Operation) -> Callable[..., Any]:
    """Returns the function of an op and the gradients of its outputs that gives those of its inputs."""
    return _private("framework.ops.get_gradient_function")(op)


def has_gradient(name: str) -> bool:
    """Tells whether a gradient is registered under a name."""
    try:
        return _private("framework.ops.gradient_registry").lookup(name) is not None
    except LookupError:
        return False


def never_differentiable(op: str) -> bool:
    """Tells whether an op type is registered as one that no gradient goes through."""
    try:
        return _private("framework.ops.gradient_registry").lookup(op) is None
    except LookupError:
        return False


def comes_from_gradient(error: Exception) -> bool:
    """Tells whether an error was raised while TensorFlow took gradients of a graph."""
    # By the frames: the errors are ValueError, TypeError and others that a caller's mistake raises as well.
    code = _private("ops.gradients_util._GradientsHelper").__code__
    return any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__))


def track(parent: Any, child: Any, name: str) -> None:
    """Makes an export of a resource, which tracks nothing by itself, take along what it is filled from."""
    parent._track_trackable(child, name, overwrite=True)


def take_identity_of(other: tf.Variable, variable: tf.Variable) -> None:
    """Gives a variable the identity of another, by which the optimizer that was built for the other knows it."""
    variable._unique_id = other._unique_id


def wrap_function(body: Callable[..., Any], specs: Sequence[tf.TensorSpec]) -> Any:
    """Makes a function without automatic control dependencies.

    `tf.compat.v1.wrap_function` registers every function in the graph's library with the process, and never takes one
    back. Here each goes when the last graph that holds it does.
    """
    wrapped = tf.compat.v1.wrap_function(body, specs)
    for function in wrapped.graph._functions.values():
        # At exit TensorFlow takes itself apart, and asking it for its context then would crash.
        weakref.finalize(function, _forget_function, function.name).atexit = False
    return wrapped


def _forget_function(name: str) -> None:
    process = _private("eager.context.context")()
    if process.has_function(name):
        process.remove_function(name)


def eagerly() -> Any:
    """Returns a context in which ops run at once, whatever graph is being built, and also without v2 behaviour."""
    return _private("eager.context.eager_mode")()


def is_runtime_started() -> bool:
    """Tells whether TensorFlow has threads in this process, which a process that is forked from it has not."""
    return _private("eager.context.context")()._context_handle is not None


def concrete_function_class() -> Any:
    """Returns the class that TensorFlow's tools ask functions for."""
    return _private("eager.polymorphic_function.concrete_function.ConcreteFunction")


def decode_structured_value(proto: Any) -> Any:
    """Returns what a `StructuredValue` stands for, such as a type specification; it must have been checked."""
    return _private("saved_model.nested_structure_coder.decode_proto")(proto)


def encode_type_spec(spec: tf.TypeSpec) -> bytes:
    """Returns the serialised `TypeSpecProto` of a type specification."""
    return _private("saved_model.nested_structure_coder.encode_structure")(spec).type_spec_value.SerializeToString()


def xla_compiles(op: str) -> bool:
    """Tells whether XLA has a kernel for an op type."""
    _register_xla_kernels()
    registered = _private("framework.kernels.get_registered_kernels_for_op")
    # Those of the CPU, which every build has.
    return any(k.device_type == "XLA_CPU_JIT" for k in registered(op).kernel)


@cache
def _register_xla_kernels() -> None:
    """Compiles something once: only then does XLA register its kernels."""
    with tf.init_scope():
        tf.function(lambda x: x + 1.0, jit_compile=True, autograph=False)(tf.constant(1.0))


_READING = threading.RLock()


@contextmanager
def reading_instead(directory: str, saved_model: bytes | None) -> Iterator[None]:
    """Has this thread's `tf.saved_model.load` take a SavedModel in place of the file in a directory.

    Args:
        directory: As it is given to `tf.saved_model.load`.
        saved_model: A serialised `SavedModel`; with None the file is read.
    """
    if saved_model is None:
        yield
        return
    module = importlib.import_module("tensorflow.python.saved_model.loader_impl")
    thread = threading.get_ident()
    # One at a time: else the first to end would bring back the reader of the second, which is to go with it.
    with _READING:
        read = module.parse_saved_model_with_debug_info

        def parse(export_dir: str) -> tuple[Any, Any]:
            found, debug_info = read(export_dir)
            if threading.get_ident() == thread and export_dir == directory:
                found = type(found).FromString(saved_model)
            return found, debug_info

        module.parse_saved_model_with_debug_info = parse
        try:
            yield
        finally:
            module.parse_saved_model_with_debug_info = read
