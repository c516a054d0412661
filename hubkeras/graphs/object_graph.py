"""What TensorFlow makes and runs of the objects of a TF2 SavedModel, judged before it does.

The file holds a library of functions, and a list of objects that name functions of it: to call, to make and fill
resources, to save and restore what they hold. Some of that runs while TensorFlow loads the objects, the rest when a
user calls it. A list of functions beside the objects says which objects each function captured; an object may well
name a function that this list does not have.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from hubkeras.errors import FormatError
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.gate import find_forbidden, refuse
from hubkeras.graphs.op_packages import require_registered
from hubkeras.graphs.structure import check_constants, check_library
from hubkeras.graphs.structured_values import check_structured_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hubkeras.graphs.gate import Finding
    from hubkeras.graphs.op_policy import OpPolicy

_SAVER_OPS = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints"})
_TUPLE = "trackable_tuple_wrapper"
_LISTS = frozenset({"trackable_list_wrapper", _TUPLE})
_SHARED_CLASSES = _LISTS | {"trackable_dict_wrapper", "signature_map", "optimizer", "tf_deprecated_optimizer"}
"""Objects of users that TensorFlow makes of a class which others are of, too."""
_SHARED_KINDS = frozenset({"asset", "variable", "constant", "captured_tensor", "bare_concrete_function"})
_MOST_ELEMENTS = 1 << 22
"""Of all lists together, with the places in between that hold nothing."""
_IMPLEMENTS = "api_implements"
"""On a function, lets Grappler run it in place of any other one with the same value (the LSTM of Keras 2 does this)."""


def check_object_graph(meta_graph: Any, policy: OpPolicy, where: str) -> None:
    """Judges all functions of a TF2 SavedModel, in the form in which `tf.saved_model.load` takes them.

    TensorFlow imports the whole library, and while it does, runs stateless ops on constants to find out shapes: a
    function that nobody calls can read a file. So each one is judged; only those that no object reaches may save and
    restore, as the saver does that every SavedModel holds for programs which know no objects.

    Args:
        meta_graph: The only `MetaGraphDef` of the SavedModel.
        policy: What the user lets it do.
        where: What it is, for messages.

    Raises:
        FormatError: Functions or objects are malformed.
        MissingOpError: An op is not registered in this process.
        UnsafeModuleError: A function holds ops that nobody allowed.
    """
    proto = meta_graph.graph_def.library
    # Before anything is said about the form of their nodes.
    functions = {function.signature.name for function in proto.function}
    ops = dict.fromkeys(node.op for function in proto.function for node in function.node_def)
    require_registered(ops, functions, f"Cannot load {where}")
    check_library(proto, where)
    if policy.safe_mode:
        refuse(find_refused_in_objects(meta_graph, policy, where), where)
    else:
        called_functions(meta_graph, where)


def find_refused_in_objects(meta_graph: Any, policy: OpPolicy, where: str) -> list[Finding]:
    """Finds what is not allowed in the functions of a TF2 SavedModel.

    Args:
        meta_graph: The only `MetaGraphDef` of the SavedModel.
        policy: What the user lets it do.
        where: What it is, for messages.

    Raises:
        FormatError: Objects are malformed.
    """
    roots = called_functions(meta_graph, where)
    library = FunctionLibrary.of(meta_graph.graph_def.library)
    reached = library.only(library.reachable(roots=roots))
    found = find_forbidden((), reached, policy, roots=roots)
    idle = [name for name in library.functions if name not in reached.functions]
    saver = dataclasses.replace(policy, extra_ops=policy.extra_ops | _SAVER_OPS)
    # With all that these call: a function is judged by the stricter rule above as soon as any object reaches it.
    rest = library.only(library.reachable(roots=idle))
    return found + find_forbidden((), rest, saver, roots=dict.fromkeys(idle, ()))


def called_functions(meta_graph: Any, where: str) -> dict[str, frozenset[str]]:
    """Finds the functions that objects name anywhere, and those that TensorFlow may run without being told to.

    Args:
        meta_graph: A `MetaGraphDef` with an object graph.
        where: What it is, for messages.

    Returns:
        By the names of these functions, the names of their arguments that hold the path of an asset.

    Raises:
        FormatError: What is named is not there, or an asset is not what it seems.
    """
    return _ObjectGraph(meta_graph, where).called_functions()


class _ObjectGraph:
    """The objects of a TF2 SavedModel, as its file describes them."""

    def __init__(self, meta_graph: Any, where: str) -> None:
        self.where = where
        self.objects = meta_graph.object_graph_def
        self.assets = meta_graph.asset_file_def
        self.nodes, self.library = meta_graph.graph_def.node, meta_graph.graph_def.library
        self.functions = {function.signature.name: function for function in self.library.function}
        self.elements = 0

    def called_functions(self) -> dict[str, frozenset[str]]:
        """Checks the objects, and returns the functions with their arguments that hold the path of an asset."""
        if not self.objects.nodes:
            self.refuse("no object")
        self._check_assets()
        self._check_constants()
        for number, node in enumerate(self.objects.nodes):
            for reference in _references(node):
                self._check_number(reference, f"object {number}")
            self._check_children(number, node)
        called: dict[str, frozenset[str]] = {}
        for name in self._names():
            if name not in self.functions:
                self.refuse(f"the function {name!r}, which is not there")
            called[name] = self._asset_arguments(name)
        return called

    def refuse(self, received: str) -> NoReturn:
        """Raises the error of malformed objects."""
        raise FormatError(
            f"Cannot load {self.where}",
            expected="objects that name functions, assets and other objects of their SavedModel",
            received=received,
            fix="The module is damaged, or was made to do harm",
        )

    def _check_number(self, number: int, place: str) -> None:
        """Refuses the number of no object: Python would count a negative one from the end."""
        if not 0 <= number < len(self.objects.nodes):
            self.refuse(f"{place} with a reference to object {number} of {len(self.objects.nodes)}")

    def _check_children(self, number: int, node: Any) -> None:
        """Refuses children that do harm, or are lost, where TensorFlow makes attributes or elements of them."""
        names = [child.local_name for child in node.children]
        # The last one would win, and a variable under the first be deleted, which functions still read.
        if len(set(names)) < len(names):
            self.refuse(f"object {number} with two children of one name")
        kind, identifier = node.WhichOneof("kind"), node.user_object.identifier
        # It makes the object's class callable: with another kind than those that have a class of their own, all
        # variables of the process, say. That would change what other code does with them.
        if "__call__" in names and (kind in _SHARED_KINDS or identifier in _SHARED_CLASSES):
            self.refuse(f"object {number}, a {identifier or kind} that is to be called")
        if identifier in _LISTS:
            # It extends a list to the largest number that a child has for a name.
            # A tuple may have names of its elements besides.
            is_tuple, numbers = identifier == _TUPLE, [int(name) for name in names if _is_index(name)]
            if not all(_is_index(name) or (is_tuple and name.isidentifier()) for name in names):
                self.refuse(f"object {number}, a list with the children {names[:5]}")
            self.elements += max(numbers, default=-1) + 1
            if self.elements > _MOST_ELEMENTS:
                self.refuse(f"lists of more than {_MOST_ELEMENTS} elements, object {number} among them")

    def _check_assets(self) -> None:
        """Holds each object that is an asset to a file that the reader has checked.

        The reader knows assets by their tensors, TensorFlow by their position, so a tensor may be named only once.
        """
        tensors = Counter(asset.tensor_info.name for asset in self.assets)
        twice = next((name for name, count in tensors.items() if count > 1), None)
        if twice is not None:
            self.refuse(f"two assets for the tensor {twice!r}")
        for number, node in enumerate(self.objects.nodes):
            if node.WhichOneof("kind") != "asset":
                continue
            if not 0 <= node.asset.asset_file_def_index < len(self.assets):
                self.refuse(f"object {number}, the asset {node.asset.asset_file_def_index} of {len(self.assets)}")
            if node.registered_name:  # the class of that name makes something else of it
                self.refuse(f"object {number}, an asset of the class {node.registered_name!r}")

    def _check_constants(self) -> None:
        """Checks the constants that TensorFlow turns into arrays: those of nodes that nothing imports, and others."""
        names = {n.constant.operation for n in self.objects.nodes if n.WhichOneof("kind") == "constant"}
        if names:
            check_constants((node for node in self.nodes if node.name in names), self.where)
        check_structured_values(self._structured_values(), self.where)

    def _structured_values(self) -> Iterator[Any]:
        """Yields what functions say of their arguments and results."""
        for function in self.objects.concrete_functions.values():
            yield from (function.canonicalized_input_signature, function.output_signature)
        for node in self.objects.nodes:
            kind = node.WhichOneof("kind")
            if kind in {"function", "bare_concrete_function"}:
                spec = getattr(node, kind).function_spec
                yield from (spec.fullargspec, spec.input_signature)

    def _names(self) -> Iterator[str]:
        yield from self.objects.concrete_functions
        for node in self.objects.nodes:
            kind = node.WhichOneof("kind")
            if kind == "function":
                yield from node.function.concrete_functions
            elif kind == "bare_concrete_function":
                yield node.bare_concrete_function.concrete_function_name
            elif kind == "captured_tensor":
                yield node.captured_tensor.concrete_function
        yield from (gradient.gradient_func for gradient in self.library.registered_gradients)
        # Grappler may put one in the place of any other with the same value, so nothing needs to call it.
        yield from (name for name, function in self.functions.items() if _IMPLEMENTS in function.attr)

    def _asset_arguments(self, name: str) -> frozenset[str]:
        """Returns which arguments of a function hold the path of an asset: what it captured are its last ones."""
        if name not in self.objects.concrete_functions:
            return frozenset()
        captured = list(self.objects.concrete_functions[name].bound_inputs)
        arguments = [argument.name for argument in self.functions[name].signature.input_arg]
        if len(captured) > len(arguments):
            self.refuse(f"the function {name!r} with {len(arguments)} arguments and {len(captured)} captured objects")
        for number in captured:
            self._check_number(number, f"the function {name!r}")
        kinds = [self.objects.nodes[number].WhichOneof("kind") for number in captured]
        # Not [-len(captured):], which would be all of them where nothing is captured.
        names = arguments[len(arguments) - len(captured) :]
        return frozenset(argument for argument, kind in zip(names, kinds, strict=True) if kind == "asset")


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 10 and str(int(name)) == name


def _references(node: Any) -> Iterable[int]:
    """Returns the numbers of the objects that an object names, without those that functions captured."""
    savers = ((saver.save_function, saver.restore_function) for saver in node.saveable_objects.values())
    slots = ((slot.original_variable_node_id, slot.slot_variable_node_id) for slot in node.slot_variables)
    children = (reference.node_id for reference in (*node.children, *node.dependencies))
    return itertools.chain(children, *savers, *slots)
