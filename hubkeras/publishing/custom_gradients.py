"""Gradients that are functions of Python, written as functions of a graph.

`tf.custom_gradient` leaves an `IdentityN` that names a function of this process. In a file its place is taken by the
call of a library function that returns its arguments, and whose gradient is another library function: TF1 knows such
pairs (`GradientDef`, tensorflow/core/framework/function.proto).
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import PublishingError
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.op_forms import output_ranges
from hubkeras.graphs.tensorflow_internals import gradient_function, graphs_by_function, handle_spec
from hubkeras.savedmodel.graph_index import data_input_texts
from hubkeras.savedmodel.protos import FunctionDef, NodeDef
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_GRADIENT = "_gradient_op_type"
_OPAQUE = (tf.resource, tf.variant)
_FROM_OUTSIDE = "one that takes something from outside of its function"
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
    # Before all else: Keras models are full of silu.
    for function in library.functions.values():
        _drop_silu(function.node_def)
    _drop_silu(nodes.values())

    def write(owner: tf.Graph, node: Any, text_of: Callable[[tf.Tensor], str | None]) -> None:
        made = _write(owner.get_operation_by_name(node.name), purpose)
        extra = [text for tensor in made.extra if (text := text_of(tensor)) is not None]
        if len(extra) < len(made.extra):
            raise _refusal(node.name, purpose, _FROM_OUTSIDE)
        functions.update(made.library.functions)
        gradients.update(made.library.gradients)
        data, control = data_input_texts(node), [text for text in node.input if text.startswith("^")]
        # TF1 knows a function's call by its name in place of an op's; and it has no attributes.
        node.op = made.name
        node.attr.clear()
        node.input[:] = [*data, *extra, *control]

    graphs = graphs_by_function(graph)
    for name, function in library.functions.items():
        for node in filter(_has_gradient, function.node_def):
            if name not in graphs:
                raise _refusal(node.name, purpose, "one in a function that was read from a file")
            _rename_outputs(function, node)
            write(graphs[name], node, partial(_text_within, function, graphs[name], functions))
    for node in filter(_has_gradient, nodes.values()):
        write(graph, node, lambda tensor: str(Ref.parse(tensor.name)))
    return FunctionLibrary(functions, gradients)


def name_gradients(library: FunctionLibrary) -> None:
    """Makes functions name the gradients of what they call.

    Where TensorFlow differentiates a loop or a branch, it makes a graph of the function with those functions besides
    that its nodes name, and then misses the gradients of these. So each has a call there that nothing needs.

    Args:
        library: The functions, changed in place.
    """
    for function in library.functions.values():
        for node in [node for node in function.node_def if node.op in library.gradients]:
            outputs = library.functions[node.op].signature.output_arg
            call = function.node_def.add(name=f"{node.name}/gradient", op=library.gradients[node.op])
            call.input.extend(data_input_texts(node))
            call.input.extend(f"{node.name}:{output.name}:0" for output in outputs)


def _has_gradient(node: Any) -> bool:
    return node.op == "IdentityN" and _GRADIENT in node.attr


def _rename_outputs(function: Any, node: Any) -> None:
    """Has what uses the outputs of an `IdentityN` in a function use them by the names that the call gives them."""
    old = re.compile(rf"{re.escape(node.name)}:output:(\d+)")

    def renamed(text: str) -> str:
        return old.sub(rf"{node.name}:y\1:0", text) if old.fullmatch(text) else text

    for user in function.node_def:
        user.input[:] = map(renamed, user.input)
    for key, text in dict(function.ret).items():
        function.ret[key] = renamed(text)


def _text_within(function: Any, graph: Any, functions: Mapping[str, Any], tensor: tf.Tensor) -> str | None:
    """Returns how a function refers to a tensor of the graph it was traced in; None if it came there afterwards."""
    arguments = [id(t) for t in graph.inputs[: len(function.signature.input_arg)]]
    if id(tensor) in arguments:
        return function.signature.input_arg[arguments.index(id(tensor))].name
    ref = Ref.parse(tensor.name)
    for node in function.node_def:
        if node.name == ref.node:
            for argument, outputs in output_ranges(node, functions).items():
                if ref.index is not None and ref.index in outputs:
                    return f"{node.name}:{argument}:{ref.index - outputs.start}"
    return None


def _refusal(name: str, purpose: str, received: str) -> PublishingError:
    return PublishingError(
        f"Cannot publish {purpose}: node {name!r} has a gradient of its own",
        expected="tf.custom_gradient of a function whose gradient uses what it is given, and what the function uses",
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
    if any(t.dtype in _OPAQUE for t in inputs):
        raise _refusal(op.name, purpose, "one of a function that returns no tensors")
    python = gradient_function(op)

    def gradient(*slopes: tf.Tensor) -> list[tf.Tensor]:
        found = python(op, *slopes)
        # A function of a graph must return something for each input.
        return [tf.zeros_like(t) if g is None else tf.convert_to_tensor(g) for t, g in zip(inputs, found, strict=True)]

    # Within the graph of the op, so that the tensors which the gradient holds on to show as captures.
    with op.graph.as_default():
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in op.outputs]
        concrete = tf.function(gradient, autograph=False).get_concrete_function(*specs)
    outside = [captured for captured, _ in concrete.graph.captures if not any(captured is t for t in inputs)]
    extra = [inside for tensor in outside if (inside := _within(op.graph, tensor)) is not None]
    if len(extra) < len(outside) or any(t.dtype in _OPAQUE and handle_spec(t) is None for t in outside):
        raise _refusal(op.name, purpose, _FROM_OUTSIDE)
    # Function names are global to a process, and a graph takes in those of several traces.
    name = f"custom_gradient_{next(_serial)}"
    backward = _backward(f"{name}_backward", concrete, inputs, outside)
    functions = {f.signature.name: f for f in concrete.graph.as_graph_def().library.function}
    functions |= {name: _identity(name, inputs, extra), backward.signature.name: backward}
    # Gradients of Python within these, as those of tf.recompute_grad have them, would be second derivatives: these are
    # left to the ops. Written out in turn they would have no end where a gradient uses its own function.
    return _Gradient(extra, FunctionLibrary(functions, {name: backward.signature.name}), name)


def _within(graph: Any, tensor: tf.Tensor) -> tf.Tensor | None:
    """Returns what stands for a tensor in a graph; None if it has come from outside after the graph was made."""
    if getattr(tensor, "graph", None) is graph:
        return tensor
    return next((inside for outside, inside in graph.captures if outside is tensor), None)


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
        _return_zeros(function, f"extra_{i}", captured[id(tensor)], handle_spec(tensor))
    _move_nodes(function, name)
    return function


def _move_nodes(function: Any, scope: str) -> None:
    """Puts the nodes of a function under a scope.

    TensorFlow 2.15 writes out the gradients in both branches of a `tf.cond` under one name, and ends the process where
    two nodes of these have one name as well.
    """
    names = {node.name for node in function.node_def}

    def moved(text: str) -> str:
        control, name = "^" if text.startswith("^") else "", text.removeprefix("^")
        return f"{control}{scope}/{name}" if name.partition(":")[0] in names else text

    for node in function.node_def:
        node.name = f"{scope}/{node.name}"
        node.input[:] = map(moved, node.input)
    for returned in (function.ret, function.control_ret):
        for key, text in dict(returned).items():
            returned[key] = moved(text)


def _return_zeros(function: Any, name: str, argument: Any, pointed_to: tf.TensorSpec | None) -> None:
    """Makes a function return zeros like one of its arguments, or like the variable that this is the handle of."""
    value, dtype = argument.name, argument.type
    if pointed_to is not None:
        dtype = pointed_to.dtype.as_datatype_enum
        read = function.node_def.add(name=f"{name}_read", op="ReadVariableOp", input=[value])
        read.attr["dtype"].type = dtype
        value = f"{name}_read:value:0"
    node = function.node_def.add(name=f"{name}_zeros", op="ZerosLike", input=[value])
    node.attr["T"].type = dtype
    function.signature.output_arg.add(name=name, type=dtype)
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
