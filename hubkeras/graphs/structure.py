"""Checks that keep a malformed graph from ending the process: TensorFlow aborts on some of what a file can hold.

They bind every module, whatever its user allows, and look at the graph in the form in which TensorFlow is about to get
it. They are best effort: what is known to end a process, to loop for ever or to fill the memory is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from hubkeras.errors import FormatError
from hubkeras.graphs.attribute_placeholders import has_placeholder
from hubkeras.graphs.call_bounds import check_calls
from hubkeras.graphs.call_signatures import misfit
from hubkeras.graphs.function_library import FunctionLibrary, functions_in
from hubkeras.graphs.loop_frames import ENTERS, FRAME_OPS, check_frames
from hubkeras.graphs.op_forms import argument_size, find_output, op_form, output_ranges
from hubkeras.savedmodel.graph_index import attribute, data_input_texts, integers_in
from hubkeras.savedmodel.protos import DataType, dtypes
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

# TensorFlow makes a place for each output before it looks at anything else; real nodes have hundreds at most.
_MOST_OUTPUTS = 1 << 16
# Of TensorShape in C++, which checks it with an assertion.
_MOST_DIMENSIONS = 254
# Far from 2**63, where products of dimensions overflow, and beyond what any memory holds.
MOST_ELEMENTS = 1 << 40
_MOST_CONSTANT_BYTES = 1 << 30
"""Of all constants that are stored as one value for many elements; what is stored in full is as large as the file."""
_MOST_ARRAY_BYTES = 1 << 28
"""Of those that are turned into arrays, and into tensors after that."""
_DENSE_TABLES = frozenset({"MutableDenseHashTable", "MutableDenseHashTableV2", "AnonymousMutableDenseHashTable"})
_LISTS = {**dict.fromkeys(("TensorArray", "TensorArrayV2", "TensorArrayV3"), 0), "TensorListReserve": 1}
"""Which input says how many tensors there is a place for, before there is any."""
_MOST_TENSORS = 1 << 24
_TURNS = {"parallel_iterations": range(1, 1 << 16)}
_COLUMNS = range(-2, 1 << 16)
_TEXT_FILE = {"key_index": _COLUMNS, "value_index": _COLUMNS, "vocab_size": range(-1, 1 << 24)}
_NUMBERS: Mapping[str, Mapping[str, range]] = {
    **dict.fromkeys(ENTERS | {"While", "StatelessWhile"}, _TURNS),
    **dict.fromkeys(("InitializeTableFromTextFile", "InitializeTableFromTextFileV2"), _TEXT_FILE),
}
"""By op and attribute, the numbers that a kernel survives: it makes room for as many, or counts from there, first."""
_DATA_TYPES = frozenset(DataType.values())
_ELEMENT_BYTES = {dtypes.DT_DOUBLE: 8, dtypes.DT_INT64: 8, dtypes.DT_UINT64: 8, dtypes.DT_COMPLEX64: 8}
_ELEMENT_BYTES |= {dtypes.DT_COMPLEX128: 16, dtypes.DT_STRING: 24}


def check_structure(graph_def: Any, given: Collection[str], where: str, fetches: Iterable[str] = ()) -> None:
    """Refuses a graph that TensorFlow might not survive.

    Args:
        graph_def: A `GraphDef` with its library, about to be imported.
        given: Full names of the tensors that come from outside of it.
        where: What the graph is, for messages.
        fetches: Full names of the tensors, or names of the ops, that are wanted of it.

    Raises:
        FormatError: The graph is malformed, or calls itself, or grows beyond bounds once its calls are written out.
    """
    library = check_library(graph_def.library, where)
    check_calls(graph_def.node, library, where)
    _Checker(where, library.functions).check_graph(graph_def.node, given, fetches)


def check_library(proto: Any, where: str) -> FunctionLibrary:
    """Refuses functions that TensorFlow might not survive, and returns the others.

    Args:
        proto: A `FunctionDefLibrary`, about to be registered.
        where: Whose functions they are, for messages.

    Raises:
        FormatError: A function is malformed, calls itself, or grows beyond bounds once its calls are written out.
    """
    library = FunctionLibrary.of(proto)
    checker = _Checker(where, library.functions)
    if len(library.functions) != len(proto.function):
        checker.refuse("two functions of one name")
    for function in proto.function:
        checker.check_function(function)
    check_calls((), library, where)
    return library


def check_constants(nodes: Iterable[Any], where: str) -> None:
    """Refuses constants that TensorFlow might not survive as arrays, such as one of a terabyte.

    Args:
        nodes: NodeDefs of constants.
        where: Whose they are, for messages.

    Raises:
        FormatError: A constant is malformed, or too large.
    """
    checker = _Checker(where, {}, _MOST_ARRAY_BYTES)
    for node in nodes:
        checker.check_attributes(node)


class _Checker:
    """Checks the nodes of a graph, or the bodies of its functions.

    Args:
        where: What the graph is, for messages.
        functions: Its functions by name.
        most_bytes: What its constants may take together that are stored as one value for many elements.
    """

    def __init__(self, where: str, functions: Mapping[str, Any], most_bytes: int = _MOST_CONSTANT_BYTES) -> None:
        self.where, self.functions, self.most_bytes = where, functions, most_bytes
        self.constant_bytes = 0

    def refuse(self, received: str) -> NoReturn:
        """Raises the error of a malformed graph."""
        raise FormatError(
            f"Cannot import {self.where}",
            expected="a well-formed graph",
            received=received,
            fix="The module is damaged, or was made to do harm",
        )

    # --- the graph -------------------------------------------------------------------------------------------------

    def check_graph(self, graph_nodes: Iterable[Any], given: Collection[str], fetches: Iterable[str]) -> None:
        """Checks the nodes of a graph and what they take from one another."""
        nodes: dict[str, Any] = {}
        outputs: dict[str, int] = {}
        for node in graph_nodes:
            name = node.name
            if name in nodes:
                self.refuse(f"node {name!r} twice")
            nodes[name] = node
            outputs[name] = self._check_node(node)
        self._check_lists(nodes)
        for name, node in nodes.items():
            # TensorFlow relies on control edges coming last. A data input behind one would be counted wrongly.
            is_control = False
            for text in node.input:
                ref = Ref.parse(text)
                if ref.index is None:
                    is_control = True
                    known = ref.node in outputs
                else:
                    known = ref.index < outputs[ref.node] if ref.node in outputs else ref.tensor in given
                    # Spelled one way only ("n" or "n:1"), so that nobody can read "n:01" or "n:+1" as something else.
                    known = known and not is_control and (text == ref.node or text == ref.tensor)
                if not known:
                    self.refuse(f"node {name!r} with the input {text!r}, which nothing gives, or not in this place")
        if any(node.op in FRAME_OPS for node in nodes.values()):
            check_frames(nodes, fetches, self.where)

    # --- functions -------------------------------------------------------------------------------------------------

    def check_function(self, function: Any) -> None:
        """Checks a function: its arguments, its body, and what it returns."""
        place = f"function {function.signature.name!r}"
        arguments = {argument.name for argument in function.signature.input_arg}
        if len(arguments) != len(function.signature.input_arg):
            self.refuse(f"{place} with two arguments of one name")
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            has_one_tensor = not (argument.number_attr or argument.type_list_attr)
            if not (argument.type and argument.type in _DATA_TYPES and has_one_tensor):
                self.refuse(f"{place} with argument {argument.name!r} of no certain dtype")
        nodes: dict[str, Any] = {}
        for node in function.node_def:
            if node.name in nodes or node.name in arguments:
                self.refuse(f"{place} with {node.name!r} twice")
            nodes[node.name] = node
            if has_placeholder(node.attr.values()):
                self.refuse(f"{place} with an attribute of {node.name!r} that a caller would fill in, after this check")
            self._check_node(node)
            self._check_input_count(node, place)
        self._check_lists(nodes)
        ranges = {name: output_ranges(node, self.functions) for name, node in nodes.items()}
        for name, node in nodes.items():
            self._check_body_inputs(node.input, arguments, ranges, f"node {name!r} of {place}")
        results = [
            function.ret[argument.name] for argument in function.signature.output_arg if argument.name in function.ret
        ]
        if len(results) != len(function.signature.output_arg):
            self.refuse(f"{place} that does not return all that it declares")
        self._check_body_inputs([*results, *(f"^{t}" for t in function.control_ret.values())], arguments, ranges, place)
        if any(node.op in FRAME_OPS for node in nodes.values()):
            check_frames(nodes, results, self.where)

    def _check_body_inputs(
        self, inputs: Iterable[str], arguments: Collection[str], ranges: Mapping[str, Mapping[str, range]], place: str
    ) -> None:
        is_control = False
        for text in inputs:
            if text.startswith("^"):
                is_control = True
                known = text[1:] in ranges or text[1:] in arguments
            else:
                known = not is_control and _is_in_body(text, arguments, ranges)
            if not known:
                self.refuse(f"{place} with the input {text!r}, which nothing gives, or not in this place")

    # --- nodes -----------------------------------------------------------------------------------------------------

    def _check_node(self, node: Any) -> int:
        """Checks a node by itself, and returns how many outputs it has."""
        function = self.functions.get(node.op)
        if function is not None:
            self.check_attributes(node)
            self._check_calls(node)
            return len(function.signature.output_arg)
        if node.op.startswith("_"):
            self.refuse(f"node {node.name!r} of op {node.op!r}, which TensorFlow makes for itself")
        form = op_form(node.op)
        if form is None:
            self.refuse(f"node {node.name!r} of op {node.op!r}, which is not registered")
        if not form.is_simple:
            self.check_attributes(node)
            self._check_calls(node)
        if node.op in _NUMBERS:
            self._check_numbers(node)
        if node.op in _DENSE_TABLES:
            self._check_dense_table(node)
        if form.fixed is not None:
            return form.fixed[1]
        # TensorFlow makes a list as long as these numbers say before it looks at the inputs.
        inputs = sum(argument_size(node, argument) for argument in form.inputs)
        outputs = sum(argument_size(node, argument) for argument in form.outputs)
        if inputs > len(node.input) or outputs > _MOST_OUTPUTS:
            self.refuse(f"node {node.name!r}, {node.op}, that announces {inputs} inputs and {outputs} outputs")
        return outputs

    def _check_input_count(self, node: Any, place: str) -> None:
        """Checks how many inputs a node in a function's body has, unless it calls a function.

        TensorFlow counts them in a graph, but in a function only once it takes it apart; 2.18 does not survive that.
        """
        form = None if node.op in self.functions else op_form(node.op)
        if form is not None:
            wanted = form.fixed[0] if form.fixed else sum(argument_size(node, argument) for argument in form.inputs)
            given = len(data_input_texts(node))
            if given != wanted:
                self.refuse(f"node {node.name!r} of {place}, {node.op}, with {given} inputs where it takes {wanted}")

    def _check_calls(self, node: Any) -> None:
        problem = misfit(node, self.functions)
        if problem is not None:
            self.refuse(f"node {node.name!r} with {problem}")

    def _check_numbers(self, node: Any) -> None:
        for key, allowed in _NUMBERS[node.op].items():
            if key in node.attr and node.attr[key].i not in allowed:
                self.refuse(f"node {node.name!r} with {key}={node.attr[key].i}")

    def _check_dense_table(self, node: Any) -> None:
        """Checks how many buckets a table has before anything is in it."""
        elements = self._check_shape(node, attribute(node, "value_shape").shape)
        size = attribute(node, "initial_num_buckets").i * elements * 8
        if size > _MOST_CONSTANT_BYTES:
            self.refuse(f"node {node.name!r}, a table that takes {size} bytes while it is empty")

    def _check_lists(self, nodes: Mapping[str, Any]) -> None:
        """Checks how long lists are whose length is a constant; that of others is up to the kernel."""
        for node in nodes.values():
            if node.op in _LISTS and _LISTS[node.op] < len(node.input):
                length = nodes.get(node.input[_LISTS[node.op]].partition(":")[0])
                if length is not None and length.op == "Const":
                    longest = max(integers_in(attribute(length, "value").tensor), default=0)
                    if longest > _MOST_TENSORS:
                        self.refuse(f"node {node.name!r}, a list of {longest} tensors")

    def check_attributes(self, node: Any) -> None:
        """Checks the dtypes, shapes, constants and functions among the attributes of a node."""
        for key, value in node.attr.items():
            kind = value.WhichOneof("value")
            if kind == "type":
                dtypes, shapes, tensors = (value.type,), (), ()
            elif kind == "shape":
                dtypes, shapes, tensors = (), (value.shape,), ()
            elif kind == "tensor":
                dtypes, shapes, tensors = (), (), (value.tensor,)
            elif kind == "list":
                dtypes, shapes, tensors = value.list.type, value.list.shape, value.list.tensor
            else:
                dtypes, shapes, tensors = (), (), ()
            if not _DATA_TYPES.issuperset(dtypes):
                self.refuse(f"node {node.name!r} with a dtype of an unknown number")
            for shape in shapes:
                self._check_shape(node, shape)
            for tensor in tensors:
                self._check_tensor(node, key, tensor)
            if kind in ("func", "list"):
                for called in functions_in(value):
                    if called.name not in self.functions:
                        self.refuse(f"node {node.name!r} with function {called.name!r}, which is not there")

    def _check_tensor(self, node: Any, key: str, tensor: Any) -> None:
        """Checks a constant: TensorFlow aborts where the dtype of its value is not that of its node."""
        declared = node.attr["dtype"].type if key == "value" and "dtype" in node.attr else tensor.dtype
        if tensor.dtype != declared or not tensor.dtype or tensor.dtype not in _DATA_TYPES:
            self.refuse(f"constant {node.name!r} of dtype {declared} with a value of dtype {tensor.dtype}")
        if tensor.dtype in (dtypes.DT_RESOURCE, dtypes.DT_VARIANT):
            self.refuse(f"constant {node.name!r} that holds a resource or a variant")
        if any(dim.size < 0 for dim in tensor.tensor_shape.dim) or tensor.tensor_shape.unknown_rank:
            self.refuse(f"constant {node.name!r} of unknown shape")
        size = self._check_shape(node, tensor.tensor_shape) * _ELEMENT_BYTES.get(tensor.dtype, 4)
        # One value can stand for all elements: a few bytes in the file, a terabyte in memory.
        if size > tensor.ByteSize():
            self.constant_bytes += size
            if self.constant_bytes > self.most_bytes:
                self.refuse(f"constants of more than {self.most_bytes} bytes, {node.name!r} among them")

    def _check_shape(self, node: Any, shape: Any) -> int:
        """Checks a shape, and returns how many elements it has, taking unknown dimensions for 1."""
        count = largest = 1
        for dim in shape.dim:
            if dim.size < -1:
                self.refuse(f"node {node.name!r} with a dimension of {dim.size}")
            # -1 counts as 1. What an unknown dimension will be, the op that makes the tensor checks itself.
            count *= abs(dim.size)
            # Without zeros: TensorFlow multiplies dimensions one by one, so [2**40, 2**40, 0] overflows before the 0 is
            # seen.
            largest *= max(dim.size, 1)
        if len(shape.dim) > _MOST_DIMENSIONS or largest > MOST_ELEMENTS:
            self.refuse(f"node {node.name!r} with {len(shape.dim)} dimensions and {largest} elements")
        return count


def _is_in_body(text: str, arguments: Collection[str], ranges: Mapping[str, Mapping[str, range]]) -> bool:
    """Tells whether a tensor exists in a function's body: an argument, or `node:output:number`."""
    node, _, rest = text.partition(":")
    if node in arguments:
        return rest in ("", "0")
    return find_output(text, ranges) is not None
