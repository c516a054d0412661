"""A pruned graph made fit for import: no references, no state of its own, nothing tied to where it was written.

What the graph reads from outside (inputs, variables, tables, asset paths) becomes tensors under reserved names that no
node bears; the importer maps them to arguments of a function.

Reference variables become resource variables: an op that took a reference takes the handle; every other consumer gets a
read of its own, which runs when the consumer would have looked at the reference.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tensorflow.core.framework import node_def_pb2, types_pb2

from hubkeras.errors import UnsupportedError
from hubkeras.graphs.pruning import PLACEHOLDERS
from hubkeras.graphs.tensorflow_internals import op_def
from hubkeras.savedmodel.graph import tensor_name
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable", "AutoReloadVariable"})
INPUT, STATE = "hubkeras_input", "hubkeras_state"

_PASS = {
    "RefSwitch": "Switch",
    "RefEnter": "Enter",
    "RefMerge": "Merge",
    "RefExit": "Exit",
    "RefNextIteration": "NextIteration",
    "RefIdentity": "Identity",
}
_DTYPE_OPS = {"Assign": "AssignVariableOp", "AssignAdd": "AssignAddVariableOp", "AssignSub": "AssignSubVariableOp"}
_DTYPE_OPS |= {
    f"Scatter{name}": f"ResourceScatter{name}" for name in ("Update", "Add", "Sub", "Mul", "Div", "Min", "Max")
}
_T_OPS = {f"ScatterNd{name}": f"ResourceScatterNd{name}" for name in ("Update", "Add", "Sub", "Min", "Max")}
_T_OPS |= {"StridedSliceAssign": "ResourceStridedSliceAssign"}
_VALUE_OPS = {"IsVariableInitialized": "VarIsInitializedOp", "CountUpTo": "ResourceCountUpTo"}
_TABLE_OPS = {
    name: f"{name}V2"
    for name in (
        *("LookupTableFind", "LookupTableInsert", "LookupTableSize", "LookupTableExport", "LookupTableImport"),
        *("InitializeTable", "InitializeTableFromTextFile"),
    )
}
_DROPPED_ATTRS = ("_class", "_output_shapes", "_has_manual_control_dependencies")


class _Handle(NamedTuple):
    tensor: str
    """The resource tensor that stands for a reference."""
    dtype: int
    """Of the variable's values, 0 for a table."""
    after: str
    """The assignment that the reference came out of, empty if none."""


def is_state(node: Any) -> bool:
    """Tells whether a node is a variable, a table or another resource that outlives a call."""
    if node.op in VARIABLES:
        return True
    definition = op_def(node.op)
    return bool(
        definition is not None
        and definition.is_stateful
        and not definition.input_arg
        and len(definition.output_arg) == 1
        and (definition.output_arg[0].type == types_pb2.DT_RESOURCE or definition.output_arg[0].is_ref)
    )


@dataclass
class Rewritten:
    """Nodes fit for import."""

    nodes: list[Any] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    """For each new node the one it was made for."""
    outputs: dict[str, str] = field(default_factory=dict)
    """Fetched tensors that go by another name now, by their full names."""
    names: dict[str, str] = field(default_factory=dict)
    """All tensors that come from outside now, by their full names."""


def rewrite(
    nodes: Sequence[Any], feeds: Sequence[str], state: Sequence[str], fetches: Iterable[str], assets: Sequence[str] = ()
) -> Rewritten:
    """Rewrites nodes; they are copied, not changed.

    Args:
        nodes: NodeDefs, whatever the fetches need.
        feeds: Full names of the tensors that are fed; number i becomes `hubkeras_input/i`.
        state: Names of the state nodes, and after them of the asset constants; number i becomes `hubkeras_state/i`.
        fetches: Full names of the tensors that are wanted.
        assets: Names of the state that is a path, not a resource.

    Returns:
        The new nodes, without placeholders that are fed and without state.
    """
    return _Rewriter(nodes, feeds, state, set(fetches), set(assets)).run()


class _Rewriter:
    def __init__(
        self, nodes: Sequence[Any], feeds: Sequence[str], state: Sequence[str], fetches: set[str], assets: set[str]
    ) -> None:
        self.nodes = {n.name: n for n in nodes}
        self.new_names = {feed: f"{INPUT}/{i}" for i, feed in enumerate(feeds)}
        self.new_names |= {f"{name}:0": f"{STATE}/{i}" for i, name in enumerate(state)}
        self.state, self.assets, self.fetches = set(state), assets, fetches
        outputs = {f: f"{self.new_names[f]}:0" for f in fetches if f in self.new_names}
        self.result = Rewritten(outputs=outputs, names=self.new_names)
        self.read_by: Counter[str] = Counter(fetches)
        for node in nodes:
            self.read_by.update(tensor_name(i) for i in _plain_inputs(node))
        self.handles = self._find_handles()

    def run(self) -> Rewritten:
        for name in self.fetches & self.handles.keys():
            node, index = Ref.parse(name)
            if self.nodes[node].op in VARIABLES or self.nodes[node].op in _PASS:
                read = self._read(self.handles[name], f"{node}/_fetch_{index}", node, [])
                self.result.outputs[name] = f"{read}:0"
        for name, node in self.nodes.items():
            if name not in self.state and not self._is_fed_placeholder(node):
                self._rewrite(node)
        return self.result

    def _is_fed_placeholder(self, node: Any) -> bool:
        return node.op in PLACEHOLDERS and f"{node.name}:0" in self.new_names

    def _find_handles(self) -> dict[str, _Handle]:
        """Finds for every tensor that is a reference the resource handle to use in its place."""
        handles: dict[str, _Handle] = {}
        for name in self.state - self.assets:
            node = self.nodes[name]
            if node.op != "VarHandleOp" and _gives_reference(node):
                dtype = node.attr["dtype"].type if "dtype" in node.attr else 0  # asking for it would write it
                handles[f"{name}:0"] = _Handle(self.new_names[f"{name}:0"], dtype, "")
        found = bool(handles)
        while found:
            found = False
            for name, node in self.nodes.items():
                if f"{name}:0" in handles or not (node.op in _PASS or node.op in _DTYPE_OPS or node.op in _T_OPS):
                    continue
                source = next((handles[i] for i in map(tensor_name, node.input) if i in handles), None)
                if source is None:
                    continue
                found = True
                if node.op in _PASS:
                    for index in (0, 1):
                        handles[f"{name}:{index}"] = source._replace(tensor=str(Ref(name, index)))
                else:
                    handles[f"{name}:0"] = source._replace(after=name)
        return handles

    def _rewrite(self, node: Any) -> None:
        new = node_def_pb2.NodeDef()
        new.CopyFrom(node)
        new.device = ""
        for attr in _DROPPED_ATTRS:
            if attr in new.attr:
                del new.attr[attr]
        control = [i for i in map(self._input, node.input) if i.startswith("^")]
        control = list(dict.fromkeys(c for c in control if c != "^"))
        data = [i for i in node.input if not i.startswith("^")]
        first = self.handles.get(tensor_name(data[0])) if data else None
        if first and (node.op in _PASS or node.op in _DTYPE_OPS or node.op in _T_OPS or node.op in _VALUE_OPS):
            self._take_handle(new, first, data, control)
        elif first and node.op in _TABLE_OPS:
            new.op = _TABLE_OPS[node.op]
            self._add(new, [first.tensor, *self._inputs(node, data[1:], control)], control)
        elif first and node.op == "ResourceGather":
            self._add(new, [first.tensor, *self._inputs(node, data[1:], control)], control)
        elif first and node.op == "Identity" and first.dtype and not first.after:
            _become_read(new, first.dtype)
            self._add(new, [first.tensor], control)
        else:
            self._add(new, self._inputs(node, data, control), control)

    def _take_handle(self, new: Any, handle: _Handle, data: list[str], control: list[str]) -> None:
        """Turns an op on a reference into the op on a resource."""
        node = self.nodes[new.name]
        if handle.after:
            control = [*control, f"^{handle.after}"]
        if node.op in _PASS:
            new.op = _PASS[node.op]
            new.attr["T"].type = types_pb2.DT_RESOURCE
            inputs = [h.tensor if (h := self.handles.get(tensor_name(i))) else self._input(i) for i in data]
            self._add(new, inputs, control)
            return
        inputs = [handle.tensor, *self._inputs(node, data[1:], control)]
        if node.op in _VALUE_OPS:
            new.op = _VALUE_OPS[node.op]
            if new.op == "VarIsInitializedOp":
                new.attr.clear()
            self._add(new, inputs, control)
            return
        if node.op in _DTYPE_OPS:
            new.op = _DTYPE_OPS[node.op]
            for attr in ("T", "validate_shape", "use_locking"):
                if attr in new.attr:
                    del new.attr[attr]
            new.attr["dtype"].type = handle.dtype
        else:
            new.op = _T_OPS[node.op]
        if self.read_by[f"{node.name}:0"]:
            new.name = f"{node.name}/_assign"
            self.result.owners[new.name] = node.name
            self._read(handle, node.name, node.name, [f"^{new.name}"])
        self._add(new, inputs, control)

    def _inputs(self, node: Any, data: list[str], control: list[str]) -> list[str]:
        """Maps the inputs of an op that takes values: where one was a reference, it gets a read of its own."""
        result = []
        for position, text in enumerate(data):
            handle = self.handles.get(tensor_name(text))
            if handle is None or (handle.after and tensor_name(text) == f"{handle.after}:0"):
                result.append(self._input(text))
            elif handle.dtype:
                result.append(self._read(handle, f"{node.name}/_read_{position}", node.name, control))
            else:
                raise UnsupportedError(
                    f"Cannot import node {node.name!r}: its op {node.op!r} takes a table by reference",
                    expected=f"one of {sorted(_TABLE_OPS)}",
                )
        return result

    def _read(self, handle: _Handle, name: str, owner: str, control: list[str]) -> str:
        node = node_def_pb2.NodeDef(name=name)
        _become_read(node, handle.dtype)
        if name != owner:
            self.result.owners[name] = owner
        self._add(node, [handle.tensor], control)
        return name

    def _input(self, text: str) -> str:
        if text.startswith("^"):
            node = self.nodes.get(text[1:])
            gone = node is None or node.name in self.state or self._is_fed_placeholder(node)
            return "^" if gone else text
        return self.new_names.get(tensor_name(text), text)

    def _add(self, node: Any, data: list[str], control: list[str]) -> None:
        del node.input[:]
        node.input.extend([*data, *control])
        self.result.nodes.append(node)


def _plain_inputs(node: Any) -> list[str]:
    """Returns the data inputs of a node that it takes as values and not as references."""
    data = [i for i in node.input if not i.startswith("^")]
    takes_reference = node.op in _PASS or node.op in _DTYPE_OPS or node.op in _T_OPS or node.op in _VALUE_OPS
    return data[1:] if takes_reference else data


def _gives_reference(node: Any) -> bool:
    definition = op_def(node.op)
    return definition is not None and definition.output_arg[0].is_ref


def _become_read(node: Any, dtype: int) -> None:
    node.op = "ReadVariableOp"
    node.attr.clear()
    node.attr["dtype"].type = dtype


def uses_of_state(nodes: Iterable[Any], state_count: int, writes: Mapping[str, bool]) -> frozenset[int]:
    """Finds which state the nodes may change.

    Args:
        nodes: Rewritten nodes.
        state_count: How many state arguments there are.
        writes: For each function that a node may call, whether it holds an op that changes state.

    Returns:
        Positions among the state arguments.
    """
    nodes = list(nodes)
    if not any(writes.values()) and not any(changes_state(n.op) for n in nodes):
        return frozenset()
    holders: dict[str, set[int]] = {f"{STATE}/{i}:0": {i} for i in range(state_count)}
    changed: set[int] = set()
    grown = True
    while grown:
        grown = False
        for node in nodes:
            held = set().union(*(holders.get(tensor_name(i), ()) for i in node.input if not i.startswith("^")))
            if not held:
                continue
            if node.op in _FORWARDS:
                for index in range(max(2, len(node.input)) if node.op != "Identity" else 1):
                    outputs = holders.setdefault(f"{node.name}:{index}", set())
                    grown |= not held <= outputs
                    outputs |= held
            elif changes_state(node.op) or any(writes.get(name, False) for name in _named_functions(node)):
                changed |= held
    return frozenset(changed)


_FORWARDS = frozenset({"Identity", "IdentityN", "Switch", "Merge", "Enter", "Exit", "NextIteration"})
_CHANGES = ("Assign", "ResourceScatter", "ResourceApply", "ResourceSparseApply", "ResourceStridedSliceAssign")


def changes_state(op: str) -> bool:
    """Tells whether an op type changes the variable behind a handle."""
    return op.startswith(_CHANGES) or op == "ResourceCountUpTo"


def _named_functions(node: Any) -> list[str]:
    return [v.func.name for v in node.attr.values() if v.WhichOneof("value") == "func"] + [node.op]
