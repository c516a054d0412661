"""Gradients that are functions of Python, written as functions of a graph.

`tf.custom_gradient` leaves an `IdentityN` that names a function of this process. In a file its place is taken by the
call of a library function that returns its arguments, and whose gradient is another library function: TF1 knows such
pairs (`GradientDef`, tensorflow/core/framework/function.proto).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import PublishingError
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.tensorflow_internals import gradient_function
from hubkeras.savedmodel.graph_index import data_input_texts
from hubkeras.savedmodel.protos import FunctionDef, NodeDef
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_GRADIENT = "_gradient_op_type"
_serial = itertools.count()


@dataclass(frozen=True, eq=False)
class _Gradient:
    """The gradient of one op."""

    extra: list[tf.Tensor]
    """Tensors of the op's graph that it takes besides the op's inputs."""
    library: FunctionLibrary
    """The function that stands for the op, its gradient, and what that calls."""
    name: str
    """Of the function that stands for the op."""


def write_gradients(
    graph: tf.Graph, nodes: Mapping[str, Any], library: FunctionLibrary, purpose: str
) -> FunctionLibrary:
    """Makes ops with gradients of Python into calls of functions.

    Args:
        graph: The graph of a function that was traced.
        nodes: Its NodeDefs by name, changed in place.
        library: The functions that they call.
        purpose: For messages, what the graph is.

    Returns:
        The functions, with those that were added.

    Raises:
        PublishingError: A gradient takes something that no function of a graph can.
    """
    functions, gradients = dict(library.functions), dict(library.gradients)
    # Before all else: Keras models are full of silu, also within loops, where gradients of Python are refused.
    for function in library.functions.values():
        _drop_silu(function.node_def)
    _drop_silu(nodes.values())
    for node in nodes.values():
        if node.op == "IdentityN" and _GRADIENT in node.attr:
            made = _write(graph.get_operation_by_name(node.name), purpose)
            functions |= made.library.functions
            gradients |= made.library.gradients
            # TF1 knows a function's call by its name in place of an op's; and it has no attributes.
            node.op = made.name
            node.attr.clear()
            data = data_input_texts(node)
            control = [text for text in node.input if text.startswith("^")]
            node.input[:] = [*data, *(str(Ref.parse(t.name)) for t in made.extra), *control]
    return FunctionLibrary(functions, gradients)


def refuse_gradients(nodes: Iterable[Any], purpose: str) -> None:
    """Refuses gradients of Python that are left, in what functional control flow runs.

    Raises:
        PublishingError: There is one.
    """
    for node in nodes:
        if node.op == "IdentityN" and _GRADIENT in node.attr:
            raise _refusal(node.name, purpose, "one within a function or a loop")


def _refusal(name: str, purpose: str, received: str) -> PublishingError:
    return PublishingError(
        f"Cannot publish {purpose}: node {name!r} has a gradient of its own",
        expected="tf.custom_gradient outside of tf.function and loops, of a function without variables",
        received=received,
        fix="Write it with tf.stop_gradient, as x + tf.stop_gradient(f(x) - x)",
    )


# --- silu ------------------------------------------------------------------------------------------------------


def _drop_silu(nodes: Iterable[Any]) -> None:
    """Takes its own gradient from `tf.nn.silu`: that spares memory, and the ops that it is made of have the same."""
    by_name = {node.name: node for node in nodes}
    for node in by_name.values():
        if node.op == "IdentityN" and _GRADIENT in node.attr and _is_silu(node, by_name):
            del node.attr[_GRADIENT]


def _is_silu(node: Any, nodes: Mapping[str, Any]) -> bool:
    """Tells whether a node gives `x * sigmoid(beta * x)`, then `x` and `beta`."""
    if len(node.input) != 3:
        return False
    product, x, beta = node.input
    outer = _made_by(product, "Mul", nodes)
    gate = outer and outer.input[0] == x and _made_by(outer.input[1], "Sigmoid", nodes)
    inner = gate and _made_by(gate.input[0], "Mul", nodes)
    return bool(inner) and sorted(inner.input[:2]) == sorted((x, beta))


def _made_by(text: str, op: str, nodes: Mapping[str, Any]) -> Any:
    node = nodes.get(text.partition(":")[0])
    return node if node is not None and node.op == op else None


# --- others ----------------------------------------------------------------------------------------------------


def _write(op: tf.Operation, purpose: str) -> _Gradient:
    inputs = list(op.inputs)
    if any(t.dtype in (tf.resource, tf.variant) for t in inputs):
        raise _refusal(op.name, purpose, "one of a function that reads variables")
    python = gradient_function(op)

    def gradient(*slopes: tf.Tensor) -> list[tf.Tensor]:
        found = python(op, *slopes)
        # A function of a graph must return something for each input.
        return [tf.zeros_like(t) if g is None else tf.convert_to_tensor(g) for t, g in zip(inputs, found, strict=True)]

    # Within the graph of the op, so that the tensors which the gradient holds on to show as captures.
    with op.graph.as_default():
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in op.outputs]
        concrete = tf.function(gradient, autograph=False).get_concrete_function(*specs)
    extra = [outside for outside, _ in concrete.graph.captures if not any(outside is t for t in inputs)]
    if any(t.dtype == tf.resource or not hasattr(t, "graph") or t.graph is not op.graph for t in extra):
        raise _refusal(op.name, purpose, "one that takes something from outside of its function")
    # Function names are global to a process, and a graph takes in those of several traces.
    name = f"custom_gradient_{next(_serial)}"
    backward = _backward(f"{name}_backward", concrete, inputs, extra)
    functions = {f.signature.name: f for f in concrete.graph.as_graph_def().library.function}
    functions |= {name: _identity(name, inputs, extra), backward.signature.name: backward}
    return _Gradient(extra, FunctionLibrary(functions, {name: backward.signature.name}), name)


def _backward(name: str, traced: Any, inputs: list[tf.Tensor], extra: list[tf.Tensor]) -> Any:
    """Returns a traced gradient as a function of the inputs, the extra tensors, and the gradients of the outputs."""
    function = FunctionDef()
    function.CopyFrom(traced.function_def)
    function.signature.name = name
    # They say what a tf.function is traced from and made for, and name inputs by number; the order changes below.
    function.attr.clear()
    function.arg_attr.clear()
    declared = list(function.signature.input_arg)
    captured = {
        id(outside): argument
        for (outside, _), argument in zip(
            traced.graph.captures, declared[len(declared) - len(traced.graph.captures) :], strict=True
        )
    }
    slopes = declared[: len(declared) - len(captured)]
    del function.signature.input_arg[:]
    for i, tensor in enumerate([*inputs, *extra]):
        if id(tensor) in captured:
            function.signature.input_arg.append(captured[id(tensor)])
        else:
            function.signature.input_arg.add(name=f"unused_{i}", type=tensor.dtype.as_datatype_enum)
    function.signature.input_arg.extend(slopes)
    # The extra tensors are inputs of the call, too, and each input needs a gradient: Python's function gives them none.
    for i, tensor in enumerate(extra):
        _return_zeros(function, f"extra_{i}", captured[id(tensor)])
    return function


def _return_zeros(function: Any, name: str, argument: Any) -> None:
    """Makes a function return zeros like one of its arguments."""
    node = function.node_def.add(name=f"{name}_zeros", op="ZerosLike", input=[argument.name])
    node.attr["T"].type = argument.type
    function.signature.output_arg.add(name=name, type=argument.type)
    function.ret[name] = f"{name}_zeros:y:0"


def _identity(name: str, inputs: Iterable[tf.Tensor], extra: Iterable[tf.Tensor]) -> Any:
    """Returns a function that returns its first arguments."""
    function, node = FunctionDef(), NodeDef(name="returned", op="IdentityN")
    function.signature.name = name
    for i, tensor in enumerate(inputs):
        dtype = tensor.dtype.as_datatype_enum
        function.signature.input_arg.add(name=f"x{i}", type=dtype)
        function.signature.output_arg.add(name=f"y{i}", type=dtype)
        function.ret[f"y{i}"] = f"returned:output:{i}"
        node.input.append(f"x{i}")
        node.attr["T"].list.type.append(dtype)
    for i, tensor in enumerate(extra):
        function.signature.input_arg.add(name=f"extra{i}", type=tensor.dtype.as_datatype_enum)
    function.node_def.append(node)
    return function
