"""State taken out of a graph: no references, no variables of its own, nothing tied to where it was written.

What the graph reads from outside (inputs, variables, tables, asset paths) becomes tensors under reserved names that no
node bears; the importer maps them to arguments of a function.

Reference variables become resource variables: an op that took a reference takes the handle; every other consumer gets a
read of its own, which runs when the consumer would have looked at the reference.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from hubkeras.errors import UnsupportedError
from hubkeras.graphs.specialization import drop_private_attributes
from hubkeras.graphs.state_nodes import gives_reference, is_state
from hubkeras.graphs.subgraph import INPUT, STATE, by_name
from hubkeras.savedmodel.graph_index import VARIABLE_OPS, attribute, data_input_texts
from hubkeras.savedmodel.protos import NodeDef, copy_of, dtypes
from hubkeras.savedmodel.pruning import PLACEHOLDERS
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hubkeras.graphs.subgraph import Subgraph

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
_ON_HANDLES = {**_PASS, **_DTYPE_OPS, **_T_OPS, **_VALUE_OPS}
"""Ops that take a reference, with what they are called where they take a handle."""


class _Handle(NamedTuple):
    tensor: str
    """The resource tensor that stands for a reference."""
    dtype: int
    """Of the variable's values, 0 for a table."""
    after: str
    """The assignment that the reference came out of, empty if none."""


def take_state_out(graph: Subgraph) -> Subgraph:
    """Turns what a graph is fed, its state, and the paths of its assets into tensors from outside.

    Returns:
        A graph that owns its nodes: without placeholders that are fed, and without state.

    Raises:
        UnsupportedError: An op takes the reference of a table that is known for handles only.
    """
    nodes = graph.nodes.values()
    state = [n.name for n in nodes if is_state(n) and f"{n.name}:0" not in graph.feeds]
    assets = [n.name for n in nodes if n.name in graph.assets and f"{n.name}:0" not in graph.feeds]
    rewriter = _Rewriter(graph, state, assets)
    rewriter.run()
    return dataclasses.replace(
        graph,
        nodes=by_name(rewriter.made),
        contexts=graph.contexts.adopt(rewriter.owners, rewriter.new_names),
        fetches=tuple(rewriter.outputs.get(name, name) for name in graph.fetches),
        state=(*(graph.aliases.get(name, name) for name in state), *assets),
    )


class _Rewriter:
    """The new nodes, and what is known of the old ones.

    Number i of the state nodes, behind which the assets are counted, becomes `hubkeras_state/i`.
    """

    def __init__(self, graph: Subgraph, state: Sequence[str], assets: Collection[str]) -> None:
        self.nodes = graph.nodes
        self.state, self.outside, self.fetches = state, {*state, *assets}, set(graph.fetches)
        self.new_names = {feed: f"{INPUT}/{i}" for i, feed in enumerate(graph.feeds)}
        self.new_names |= {f"{name}:0": f"{STATE}/{i}" for i, name in enumerate([*state, *assets])}
        self.made: list[Any] = []
        self.owners: dict[str, str] = {}
        """For each new node the one it was made for."""
        self.outputs = {f: f"{self.new_names[f]}:0" for f in self.fetches if f in self.new_names}
        """Fetched tensors that go by another name now, by their full names."""
        self.read_by: Counter[str] = Counter(self.fetches)
        for node in self.nodes.values():
            self.read_by.update(Ref.parse(i).tensor for i in _plain_inputs(node))
        self.handles = self._find_handles()

    def run(self) -> None:
        """Makes the new nodes."""
        for name in sorted(self.fetches & self.handles.keys()):
            node, index = Ref.parse(name)
            # A fetched reference must be given out as a value. An assignment gives one already, by the read behind it.
            if self.nodes[node].op in VARIABLE_OPS or self.nodes[node].op in _PASS:
                read = self._read(self.handles[name], f"{node}/_fetch_{index}", node, [])
                self.outputs[name] = f"{read}:0"
        for name, node in self.nodes.items():
            if name not in self.outside and not self._is_fed_placeholder(node):
                self._rewrite(node)

    def _is_fed_placeholder(self, node: Any) -> bool:
        return node.op in PLACEHOLDERS and f"{node.name}:0" in self.new_names

    def _find_handles(self) -> dict[str, _Handle]:
        """Finds for every tensor that is a reference the resource handle to use in its place."""
        handles: dict[str, _Handle] = {}
        for name in self.state:
            node = self.nodes[name]
            if gives_reference(node.op):
                handles[f"{name}:0"] = _Handle(self.new_names[f"{name}:0"], attribute(node, "dtype").type, "")
        found = bool(handles)
        # A file need not list nodes behind their inputs, and loops cannot: so round and round until nothing is new.
        while found:
            found = False
            for name, node in self.nodes.items():
                if f"{name}:0" in handles or not (node.op in _PASS or node.op in _DTYPE_OPS or node.op in _T_OPS):
                    continue
                tensors = (ref.tensor for ref in map(Ref.parse, node.input) if ref.index is not None)
                source = next((handles[tensor] for tensor in tensors if tensor in handles), None)
                if source is None:
                    continue
                found = True
                if node.op in _PASS:
                    # Switch and Merge have two outputs. The second of a Merge is a number, and nothing takes it by
                    # reference.
                    for index in (0, 1):
                        handles[f"{name}:{index}"] = source._replace(tensor=str(Ref(name, index)))
                else:
                    handles[f"{name}:0"] = source._replace(after=name)
        return handles

    def _rewrite(self, node: Any) -> None:
        new = copy_of(node)
        new.device = ""
        drop_private_attributes(new.attr)
        control = [i for i in map(self._input, node.input) if i.startswith("^")]
        # "^" alone is what `_input` makes of an edge from something that is gone.
        control = list(dict.fromkeys(c for c in control if c != "^"))
        data = data_input_texts(node)
        first = self.handles.get(Ref.parse(data[0]).tensor) if data else None
        if first and node.op in _ON_HANDLES:
            self._take_handle(new, first, data, control)
        elif first and (node.op in _TABLE_OPS or node.op == "ResourceGather"):
            new.op = _TABLE_OPS.get(node.op, node.op)
            self._add(new, [first.tensor, *self._inputs(node, data[1:], control)], control)
        # What TF1 calls the read of a variable. Behind an assignment it is left as it is, over the read that stands
        # there.
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
            new.attr["T"].type = dtypes.DT_RESOURCE
            inputs = [h.tensor if (h := self.handles.get(Ref.parse(i).tensor)) else self._input(i) for i in data]
            self._add(new, inputs, control)
            return
        inputs = [handle.tensor, *self._inputs(node, data[1:], control)]
        if node.op in _VALUE_OPS:
            new.op = _VALUE_OPS[node.op]
            if new.op == "VarIsInitializedOp":
                # The op on handles has no attributes at all, and TensorFlow refuses those that it does not know.
                new.attr.clear()
            self._add(new, inputs, control)
            return
        if node.op in _DTYPE_OPS:
            new.op = _DTYPE_OPS[node.op]
            for attr in ("T", "validate_shape", "use_locking"):
                new.attr.pop(attr, None)
            new.attr["dtype"].type = handle.dtype
        else:
            new.op = _T_OPS[node.op]
        # An assignment to a handle gives nothing, so the read takes its name, and the assignment gets another one.
        if self.read_by[f"{node.name}:0"]:
            new.name = f"{node.name}/_assign"
            self.owners[new.name] = node.name
            self._read(handle, node.name, node.name, [f"^{new.name}"])
        self._add(new, inputs, control)

    def _inputs(self, node: Any, data: list[str], control: list[str]) -> list[str]:
        """Maps the inputs of an op that takes values: where one was a reference, it gets a read of its own."""
        result = []
        for position, text in enumerate(data):
            handle = self.handles.get(Ref.parse(text).tensor)
            # The result of an assignment is a value by now: the read which took the assignment's name.
            if handle is None or (handle.after and Ref.parse(text).tensor == f"{handle.after}:0"):
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
        node = NodeDef(name=name)
        _become_read(node, handle.dtype)
        if name != owner:
            self.owners[name] = owner
        self._add(node, [handle.tensor], control)
        return name

    def _input(self, text: str) -> str:
        if text.startswith("^"):
            node = self.nodes.get(text[1:])
            gone = node is None or node.name in self.outside or self._is_fed_placeholder(node)
            return "^" if gone else text
        return self.new_names.get(Ref.parse(text).tensor, text)

    def _add(self, node: Any, data: list[str], control: list[str]) -> None:
        del node.input[:]
        node.input.extend([*data, *control])
        self.made.append(node)


def _plain_inputs(node: Any) -> list[str]:
    """Returns the data inputs of a node that it takes as values and not as references."""
    data = data_input_texts(node)
    return data[1:] if node.op in _ON_HANDLES else data


def _become_read(node: Any, dtype: int) -> None:
    node.op = "ReadVariableOp"
    node.attr.clear()
    node.attr["dtype"].type = dtype
