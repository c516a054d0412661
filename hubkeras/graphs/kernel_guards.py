"""Checks that run right before ops which would end the process on inputs of another shape or value than they expect.

Most kernels of TensorFlow refuse what does not fit; these leave it to the check of shapes when a graph is built. That
check knows nothing of a tensor whose shape comes to light only when the graph runs, and believes what attributes of
other ops say. So a small op is put before such an input, whatever is known of it, which raises an
`InvalidArgumentError` in time and changes nothing else. `benchmarks/op_survey.py` finds ops that need one.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from hubkeras.errors import FormatError
from hubkeras.graphs.control_flow import ContextTree
from hubkeras.graphs.op_forms import argument_size, op_form
from hubkeras.graphs.op_registry import attribute_or_default
from hubkeras.savedmodel.graph_index import attribute, data_input_texts, input_node, integers_in
from hubkeras.savedmodel.protos import NodeDef, dtypes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hubkeras.graphs.subgraph import Subgraph


class _RanksOf(NamedTuple):
    """An input must have one dimension for each but the last of another one."""

    indices: int
    """Which input that is."""


class _RowsOf(NamedTuple):
    """An input must be the values of a ragged tensor."""

    splits: int
    """Which input says where rows begin."""


_Shape = tuple[int, ...]
_Guard = _Shape | str | _RanksOf | _RowsOf
"""A shape, with -1 for a dimension of any size, or a condition of another kind."""

_AT_LEAST_VECTOR = "at least a vector"
_NO_ZEROS, _COUNTS = "a vector without zeros", "a vector of numbers that something can be counted with"
_SCALAR, _VECTOR, _MATRIX, _IMAGES = (), (-1,), (-1, -1), (-1, -1, -1, -1)
_LSTM_CELL: Mapping[str, _Guard] = {
    **dict.fromkeys(("x", "cs_prev", "h_prev", "w"), _MATRIX),
    **dict.fromkeys(("wci", "wcf", "wco", "b"), _VECTOR),
}
_GUARDS: Mapping[str, Mapping[str, _Guard]] = {
    "CropAndResize": {"image": _IMAGES, "boxes": (-1, 4), "box_ind": _VECTOR, "crop_size": (2,)},
    "FakeQuantWithMinMaxVarsPerChannel": {"inputs": _AT_LEAST_VECTOR},
    "FakeQuantWithMinMaxVarsPerChannelGradient": {"gradients": _AT_LEAST_VECTOR, "inputs": _AT_LEAST_VECTOR},
    "LRNGrad": dict.fromkeys(("input_grads", "input_image", "output_image"), _IMAGES),
    "LSTMBlockCell": _LSTM_CELL,
    "LSTMBlockCellGrad": {
        **_LSTM_CELL,
        **dict.fromkeys(("i", "cs", "f", "o", "ci", "co", "cs_grad", "h_grad"), _MATRIX),
    },
    "ParseExample": {
        **dict.fromkeys(("serialized", "names"), _VECTOR),
        **dict.fromkeys(("sparse_keys", "dense_keys"), _SCALAR),
    },
    "RaggedTensorToVariantGradient": dict.fromkeys(("row_splits", "dense_values_shape"), _VECTOR),
    "ScatterNd": {"updates": _RanksOf(0)},
    "SparseCrossHashed": {"num_buckets": _SCALAR, "strong_hash": _SCALAR, "salt": (2,)},
    "TensorListConcatV2": {"leading_dims": _COUNTS},
    "TensorListScatterIntoExistingList": {"indices": _COUNTS},
    **{f"TensorScatter{kind}": {"updates": _RanksOf(1)} for kind in ("Add", "Max", "Min", "Sub", "Update")},
    "TokenizerFromLogits": {"strings": _VECTOR, "logits": (-1, -1, -1), "force_split_at_break_character": _SCALAR},
    "UnicodeScriptTokenizeWithOffsets": {"input_values": _RowsOf(1)},
    "WhitespaceTokenizeWithOffsets": {"input_values": _RowsOf(1)},
    **{f"{op}FFT{rank}": {"fft_length": _NO_ZEROS} for op in ("R", "IR") for rank in ("", "2D", "3D", "ND")},
}
"""By op and argument, what an input must be."""


def _gathered(node: Any) -> Mapping[str, _Guard]:
    # Neither has a default.
    more = attribute(node, "OUTPUT_RAGGED_RANK").i - attribute(node, "PARAMS_RAGGED_RANK").i
    return {"indices": (-1,) * min(max(1 + more, 0), _MOST_RANK)}


def _quantized(node: Any) -> Mapping[str, _Guard]:
    axis = attribute_or_default(node, "axis")
    limits = _SCALAR if axis is None or axis.i == -1 else _VECTOR
    return {"input_min": limits, "input_max": limits, "num_bits": _SCALAR}


_MOST_RANK = 254
_MOST_COUNTED = 1 << 24
_GUARDS_BY_ATTRIBUTES: Mapping[str, Callable[[Any], Mapping[str, _Guard]]] = {
    "QuantizeAndDequantizeV3": _quantized,
    "RaggedGather": _gathered,
}
"""The same for ops whose attributes say what an input must be."""
_INT32 = dtypes.DT_INT32
_OPS = {
    **dict.fromkeys(("Const", "EnsureShape", "Identity", "Rank", "Reshape", "Roll", "Shape"), "output"),
    **dict.fromkeys(("AddV2", "Equal", "FloorDiv", "FloorMod", "Less"), "z"),
    "Cast": "y",
    "RaggedTensorToSparse": "sparse_values",
}
"""What checks are made of, with the names of their first outputs."""
_NEVER_SCALARS = frozenset({"AvgPool", "BiasAdd", "Conv2D", "DepthwiseConv2dNative", "MatMul", "MaxPool"})
"""Ops whose kernels refuse what would give them a result without dimensions."""
_GUARDED = _GUARDS.keys() | _GUARDS_BY_ATTRIBUTES.keys()


def guard_kernels(graph: Subgraph) -> Subgraph:
    """Puts checks before the inputs of ops that need them, in a graph and in its functions; both are changed."""
    guard_functions(graph.library.functions, graph.purpose)
    made = _guard_nodes(graph.nodes, graph.library.functions, graph.purpose)
    if not made:
        return graph
    nodes = {**graph.nodes, **{node.name: node for nodes in made.values() for node in nodes}}
    return dataclasses.replace(graph, nodes=nodes, contexts=graph.contexts.adopt(_owners(made)))


def guard_meta_graph(meta_graph: Any, where: str) -> None:
    """Does the same to a whole graph with its control flow contexts.

    Args:
        meta_graph: A `MetaGraphDef`; it is changed.
        where: What it is, for messages.

    Raises:
        FormatError: A function has the name of an op that is needed.
    """
    graph_def = meta_graph.graph_def
    functions = {function.signature.name: function for function in graph_def.library.function}
    guard_functions(functions, where)
    made = _guard_nodes({node.name: node for node in graph_def.node}, functions, where)
    if not made:
        return
    graph_def.node.extend(node for nodes in made.values() for node in nodes)
    contexts = ContextTree.of(meta_graph).adopt(_owners(made))
    for collection, values in contexts.surviving({node.name for node in graph_def.node}).items():
        meta_graph.collection_def[collection].bytes_list.value[:] = values


def needs_guards(functions: Iterable[Any]) -> bool:
    """Tells whether bodies of functions hold ops that need checks."""
    return any(node.op in _GUARDED for function in functions for node in function.node_def)


def guard_functions(functions: Mapping[str, Any], where: str) -> None:
    """Puts checks into the bodies of functions.

    Args:
        functions: `FunctionDef`s by name; they are changed.
        where: Whose they are, for messages.

    Raises:
        FormatError: A function has the name of an op that is needed.
    """
    for function in functions.values():
        arguments = [argument.name for argument in function.signature.input_arg]
        made = _guard_nodes({node.name: node for node in function.node_def}, functions, where, arguments, in_body=True)
        function.node_def.extend(node for nodes in made.values() for node in nodes)


def _owners(made: Mapping[str, Iterable[Any]]) -> dict[str, str]:
    return {node.name: owner for owner, nodes in made.items() for node in nodes}


def _guard_nodes(
    nodes: Mapping[str, Any],
    functions: Mapping[str, Any],
    where: str,
    arguments: Iterable[str] = (),
    *,
    in_body: bool = False,
) -> dict[str, list[Any]]:
    """Makes ops take their inputs from checks, and returns these by the name of the op that they were made for."""
    guarded = [node for node in nodes.values() if node.op in _GUARDED and node.op not in functions]
    trusted = _OPS.keys() | _NEVER_SCALARS
    if guarded and not trusted.isdisjoint(functions):
        raise FormatError(
            f"Cannot import {where}: it holds op {guarded[0].op!r}, whose inputs must be checked",
            expected=f"no function with the name of an op that this is done by, which are {sorted(trusted)}",
            received=repr(sorted(trusted & functions.keys())),
        )
    body = _Body(nodes, {*nodes, *arguments} if guarded else set(), in_body)
    return {node.name: made for node in guarded if (made := list(_guard(node, body)))}


class _Body(NamedTuple):
    """Where checks are put: a graph, or the body of a function."""

    nodes: Mapping[str, Any]
    taken: set[str]
    """Names that no new node may have."""
    is_function: bool


def _guard(node: Any, body: _Body) -> Iterator[Any]:
    form = op_form(node.op)
    if form is None:
        return
    guards = _GUARDS[node.op] if node.op in _GUARDS else _GUARDS_BY_ATTRIBUTES[node.op](node)
    count, position = len(data_input_texts(node)), 0
    for argument in form.inputs:
        size = argument_size(node, argument)
        for number in range(position, min(position + size, count)) if argument.name in guards else ():
            if not _fits(body.nodes.get(input_node(node.input[number])), guards[argument.name]):
                chain = _Chain(node, number, _dtype(node, argument), body)
                chain.add(guards[argument.name])
                yield from chain.made.values()
        position += size


def _fits(node: Any | None, guard: _Guard) -> bool:
    """Tells whether it is known of an input, whatever the graph says of shapes, that it is as it must be."""
    if node is not None and node.op in _NEVER_SCALARS:
        return guard == _AT_LEAST_VECTOR
    if node is None or node.op != "Const":
        return False
    value = attribute(node, "value").tensor
    shape = [dim.size for dim in value.tensor_shape.dim]
    if guard == _AT_LEAST_VECTOR:
        return bool(shape)
    if guard == _NO_ZEROS:
        return len(shape) == 1 and min(integers_in(value), default=0) > 0
    if isinstance(guard, (str, _RanksOf, _RowsOf)):
        return False
    return len(shape) == len(guard) and all(size in (-1, given) for size, given in zip(guard, shape, strict=True))


def _dtype(node: Any, argument: Any) -> int:
    value = attribute_or_default(node, argument.type_attr) if argument.type_attr else None
    return argument.type if value is None else value.type


class _Chain:
    """The ops that check one input of a node, one after the other."""

    def __init__(self, node: Any, number: int, dtype: int, body: _Body) -> None:
        self.node, self.number, self.dtype, self.body = node, number, dtype, body
        self.made: dict[str, Any] = {}
        self.checked = node.input[number]
        """What the node is to take."""

    def add(self, guard: _Guard) -> None:
        """Makes the ops, and the node take its input from the last of them."""
        if guard == _AT_LEAST_VECTOR:
            # Takes anything but a scalar, turned by nothing.
            zero = self._constant("zero", _INT32, (), [0])
            types = {"T": self.dtype, "Tshift": _INT32, "Taxis": _INT32}
            self.checked = self._op("roll", "Roll", self.checked, zero, zero, **types)
        elif guard == _NO_ZEROS:
            self._ensure(_VECTOR)
            self._refuse_zeros()
        elif guard == _COUNTS:
            self._ensure(_VECTOR)
            self._refuse_others_than_counts()
        elif isinstance(guard, _RanksOf):
            self._compare_ranks(self.node.input[guard.indices], guard.indices)
        elif isinstance(guard, _RowsOf):
            self._ensure(_VECTOR)
            self._check_rows(self.node.input[guard.splits])
        else:
            assert not isinstance(guard, str)
            self._ensure(guard)
            if guard.count(-1) <= 1 < len(guard):
                # For Grappler, which asks for the second dimension of what it takes for the boxes of CropAndResize,
                # also where it has found out that there is none.
                shape = self._constant("shape", _INT32, (len(guard),), guard)
                self.checked = self._op("reshape", "Reshape", self.checked, shape, T=self.dtype, Tshape=_INT32)
        self.node.input[self.number] = self.checked

    def _ensure(self, shape: _Shape) -> None:
        self.checked = self._op("ensure", "EnsureShape", self.checked, T=self.dtype)
        proto = self.made[input_node(self.checked)].attr["shape"].shape
        proto.SetInParent()
        for size in shape:
            proto.dim.add(size=size)

    def _refuse_zeros(self) -> None:
        # As a number: a check that is only waited for comes too late where Grappler computes constants.
        rest = self._op("rest", "FloorMod", self.checked, self.checked, T=self.dtype)
        self.checked = self._op("sum", "AddV2", self.checked, rest, T=self.dtype)

    def _refuse_others_than_counts(self) -> None:
        most, zero = self._constant("most", self.dtype, (), [_MOST_COUNTED]), self._constant("0", self.dtype, (), [0])
        rounds = self._op("rounds", "FloorDiv", self.checked, most, T=self.dtype)
        is_count = self._op("is_count", "Equal", rounds, zero, T=self.dtype)
        divisor = self._op("divisor", "Cast", is_count, SrcT=dtypes.DT_BOOL, DstT=self.dtype)
        # Division by zero is refused, and one changes nothing.
        self.checked = self._op("quotient", "FloorDiv", self.checked, divisor, T=self.dtype)

    def _compare_ranks(self, indices: str, number: int) -> None:
        """Gives the input its own shape, divided by whether there are dimensions enough.

        By numbers, which Grappler does not see through: it works out parts of shapes even where these have none.
        """
        two = self._constant("two", _INT32, (), [2])
        rank = self._op("rank", "Rank", self.checked, T=self.dtype)
        others = self._op("others", "Rank", indices, T=self._dtype_of_input(number))
        bound = self._op("bound", "AddV2", rank, two, T=_INT32)
        is_enough = self._op("is_enough", "Less", others, bound, T=_INT32)
        divisor = self._op("divisor", "Cast", is_enough, SrcT=dtypes.DT_BOOL, DstT=_INT32)
        shape = self._op("shape", "Shape", self.checked, T=self.dtype, out_type=_INT32)
        quotient = self._op("quotient", "FloorDiv", shape, divisor, T=_INT32)
        self.checked = self._op("reshape", "Reshape", self.checked, quotient, T=self.dtype, Tshape=_INT32)

    def _check_rows(self, splits: str) -> None:
        """Takes the values from an op that gives them back as they are, and looks at where rows begin."""
        types = {"T": self.dtype, "Tsplits": dtypes.DT_INT64}
        self.checked = self._op("rows", "RaggedTensorToSparse", splits, self.checked, **types)
        self.made[input_node(self.checked)].attr["RAGGED_RANK"].i = 1
        if not self.body.is_function:
            self.checked = f"{self.checked}:1"

    def _constant(self, name: str, dtype: int, shape: _Shape, values: Iterable[int]) -> str:
        if not self.made:  # the input may be no node of this graph
            self.checked = self._op("input", "Identity", self.checked, T=self.dtype)
        # A constant must wait for something in the loop or branch that it is to be in.
        text = self._op(name, "Const", f"^{input_node(self.checked)}", dtype=dtype)
        tensor = self.made[input_node(text)].attr["value"].tensor
        tensor.dtype = dtype
        (tensor.int64_val if dtype == dtypes.DT_INT64 else tensor.int_val).extend(values)
        tensor.tensor_shape.SetInParent()
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        return text

    def _dtype_of_input(self, number: int) -> int:
        form = op_form(self.node.op)
        assert form is not None
        return _dtype(self.node, form.inputs[number])

    def _op(self, name: str, op: str, *inputs: str, **dtypes: int) -> str:
        """Makes an op, and returns the name of its first output."""
        name = f"{self.node.name}/checked_{self.number}/{name}"
        while name in self.body.taken:
            name += "_"
        self.body.taken.add(name)
        self.made[name] = node = NodeDef(name=name, op=op, input=inputs)
        for key, dtype in dtypes.items():
            node.attr[key].type = dtype
        return f"{name}:{_OPS[op]}:0" if self.body.is_function else name
