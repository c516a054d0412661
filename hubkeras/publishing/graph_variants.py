"""One graph variant of a module, put together from traces of functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.graphs.control_flow import ContextTree, with_pivots
from hubkeras.graphs.loop_frames import ENTERS
from hubkeras.publishing.captured_state import asset_node
from hubkeras.publishing.function_traces import refuse_capture
from hubkeras.publishing.shared_nodes import SharedNodes
from hubkeras.publishing.tensor_infos import rename_tensors, tensor_names
from hubkeras.publishing.update_ops import find_seeds, find_updates, order_draws
from hubkeras.publishing.variable_nodes import constant_node, op_name, unused_name
from hubkeras.savedmodel.collection_defs import ASSET_FILEPATHS, ATTACHMENTS, TABLE_INITIALIZERS
from hubkeras.savedmodel.protos import MetaGraphDef, ModuleAttachment, copy_of
from hubkeras.savedmodel.pruning import PLACEHOLDERS, prune
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hubkeras.publishing.captured_state import CapturedState, PublishedTable
    from hubkeras.publishing.function_traces import Trace
    from hubkeras.publishing.variable_nodes import VariableTable


class GraphVariantBuilder:
    """A MetaGraph that grows by one trace after the other.

    Args:
        tags: Of the variant.
        variables: All variables of the module; each variant has each of them.
        state: Its tables and files.
        purpose: For messages, what is being published.
    """

    def __init__(self, tags: Iterable[str], variables: VariableTable, state: CapturedState, purpose: str) -> None:
        self._variables, self._state, self._purpose = variables, state, purpose
        self._nodes: dict[str, Any] = {}
        self._fetched: list[str] = []
        """Tensors and ops that a session may ask for; the graph is pruned to what these need."""
        self._nodes_by_capture: dict[int, str] = {}
        """By the id of the tensor, which the traces keep alive."""
        self._contexts: list[Any] = []
        self._shared, self._updates = SharedNodes(), set[str]()
        self.meta_graph = MetaGraphDef()
        self.meta_graph.meta_info_def.tags.extend(sorted(tags))
        self.meta_graph.meta_info_def.tensorflow_version = tf.__version__
        self.meta_graph.meta_info_def.stripped_default_attrs = True
        # Also those that this variant does not read: the variants of a module are graphs over one state.
        for variable in variables.by_name.values():
            self._add_nodes(variable.nodes())
            self._fetched += [f"^{variable.name}/Assign", f"^{variable.name}/Read/ReadVariableOp"]
            self._fetched.append(f"^{variable.name}/IsInitialized/VarIsInitializedOp")
            self._list("variables", variable.definition())
            if variable.trainable:
                self._list("trainable_variables", variable.definition())

    def add_signature(self, name: str, trace: Trace, has_updates: bool = True) -> None:
        """Adds a signature, with its update ops.

        Args:
            name: Its name.
            trace: Its function.
            has_updates: Whether what it assigns is an update op.
        """
        scope, updates = self._unused_scope(name), find_updates(trace) if has_updates else []
        rename = self._add(trace, scope, _input_names(trace), self._shared_with(trace, updates, scope))
        self._shared.remember(trace, rename)
        signature = self.meta_graph.signature_def[name]
        for infos, protos in ((signature.inputs, trace.inputs), (signature.outputs, trace.outputs)):
            for key, proto in protos.items():
                infos[key].CopyFrom(proto)
                rename_tensors(infos[key], rename)
                self._fetched += tensor_names([infos[key]])
        added = [rename(update) for update in updates if rename(update) not in self._updates]
        # Signatures with shared nodes have update ops in common, which are listed once.
        order_draws(self._nodes, added, {rename(seed) for seed in find_seeds(trace, updates)})
        for update in added:
            self._list("update_ops", update)
            self._fetched.append(f"^{update}")
        self._updates |= set(added)

    def _shared_with(self, trace: Trace, updates: Iterable[str], scope: str) -> dict[str, str]:
        """Returns the nodes that a signature has in common with those before; none if each updates what others do not.

        Signatures with a common input run their update ops together.
        """
        found = self._shared.find(trace, self._captured(trace, scope))
        new = {found.get(update) for update in updates}
        return found if None not in new or self._updates <= new else {}

    def add_regularization_losses(self, trace: Trace) -> None:
        """Adds losses that are computed from variables alone, the outputs of a trace."""
        rename = self._add(trace, self._unused_scope("regularization_losses"))
        for name in tensor_names(trace.outputs.values()):
            self._list("regularization_losses", rename(name))
            self._fetched.append(rename(name))

    def attach(self, key: str, message: Any) -> None:
        """Attaches a message."""
        self._list(ATTACHMENTS, ModuleAttachment(key=key, value=message.SerializeToString()).SerializeToString())

    def finish(self) -> Any:
        """Returns the `MetaGraphDef`, without nodes that nothing needs."""
        contexts = ContextTree(tuple(self._contexts))
        needed = {node.name: node for node in prune(self._nodes, self._fetched).nodes}
        # A context of v1 control flow names a pivot, which may be a node that no output needs.
        nodes = with_pivots(needed, self._nodes, contexts, ())
        self.meta_graph.graph_def.node.extend(nodes.values())
        for collection, values in contexts.surviving(nodes).items():
            for value in values:
                self._list(collection, value)
        return self.meta_graph

    # --- nodes -----------------------------------------------------------------------------------------------------

    def _add(
        self, trace: Trace, scope: str, given: Mapping[str, str] = {}, shared: Mapping[str, str] = {}
    ) -> Callable[[str], str]:
        """Adds the nodes of a trace.

        Args:
            trace: The trace.
            scope: What their names begin with.
            given: Names that placeholders get within the scope.
            shared: Names of nodes that are there already, by their names in the trace.

        Returns:
            A function from names of tensors and ops in the trace to those in this graph.
        """
        present = {**self._captured(trace, scope), **shared}
        names = {name: f"{scope}/{given.get(name, name)}" for name in trace.nodes} | present

        def rename(text: str) -> str:
            control = "^" if text.startswith("^") else ""
            node, colon, index = text.removeprefix("^").partition(":")
            return f"{control}{names.get(node, f'{scope}/{node}')}{colon}{index}"

        for name, node in trace.nodes.items():
            if name not in present:
                made = self._nodes[names[name]] = copy_of(node)
                made.name = names[name]
                made.input[:] = [rename(text) for text in node.input if not _is_given(text, trace)]
                # The executor tells loops apart by the names of their frames, and two traces may have the same.
                if node.op in ENTERS:
                    made.attr["frame_name"].s = f"{scope}/".encode() + node.attr["frame_name"].s
        self._add_functions(trace)
        self._contexts += trace.contexts.renamed(rename).roots
        return rename

    def _captured(self, trace: Trace, scope: str) -> dict[str, str]:
        return {name: self._node_of_capture(tensor, scope) for name, tensor in trace.captures.items()}

    def _add_functions(self, trace: Trace) -> None:
        graph_def = self.meta_graph.graph_def
        known = {function.signature.name for function in graph_def.library.function}
        for name in trace.library.reachable(trace.nodes.values()):
            if name not in known:
                graph_def.library.function.append(trace.library.functions[name])
                if name in trace.library.gradients:
                    graph_def.library.gradient.add(function_name=name, gradient_func=trace.library.gradients[name])
        # How ops behave depends on the version of the graph, which one made of nodes alone would not say.
        if not graph_def.versions.producer:
            graph_def.versions.CopyFrom(trace.versions)

    def _add_nodes(self, nodes: Iterable[Any]) -> None:
        self._nodes |= {node.name: node for node in nodes}

    def _node_of_capture(self, tensor: tf.Tensor, scope: str) -> str:
        """Returns the name of the node that stands for what a function takes from outside."""
        if id(tensor) not in self._nodes_by_capture:
            self._nodes_by_capture[id(tensor)] = self._make_node(tensor, scope)
        return self._nodes_by_capture[id(tensor)]

    def _make_node(self, tensor: tf.Tensor, scope: str) -> str:
        variable = self._variables.find(tensor)
        if variable is not None:
            return variable.name
        if tensor.dtype == tf.resource:
            return self._add_table(self._state.table(tensor))
        if tensor.dtype == tf.variant or not hasattr(tensor, "numpy"):
            raise refuse_capture(f"a tensor of dtype {tensor.dtype.name} that was made outside of it", self._purpose)
        path = self._state.path(tensor)
        if path is not None:
            node = asset_node(unused_name(op_name(f"asset/{Path(path).name}"), self._nodes), path)
            self._list(ASSET_FILEPATHS, f"{node.name}:0")
        else:
            node = constant_node(unused_name(op_name(f"{scope}/captured"), self._nodes), tensor)
        self._add_nodes([node])
        return node.name

    def _add_table(self, table: PublishedTable) -> str:
        if table.name in self._nodes:
            return table.name
        node = copy_of(table.node)
        node.name = table.name
        # What the trace says names a table of this process; by this name the graphs of all variants have it in common.
        node.attr["shared_name"].s = table.name.encode()
        self._add_nodes([node])
        if table.filled is not None:
            # What fills the table refers to its handle as to any other capture.
            self._nodes_by_capture[id(table.resource.resource_handle)] = table.name
            rename = self._add(table.filled, f"{table.name}/filling")
            for name in table.initializers:
                self._list(TABLE_INITIALIZERS, rename(name))
                self._fetched.append(f"^{rename(name)}")
        return table.name

    # --- names -----------------------------------------------------------------------------------------------------

    def _unused_scope(self, name: str) -> str:
        scope = found = op_name(name)
        number = 0
        while any(known == found or known.startswith(f"{found}/") for known in self._nodes):
            number += 1
            found = f"{scope}_{number}"
        return found

    def _list(self, collection: str, value: str | bytes) -> None:
        lists = self.meta_graph.collection_def[collection]
        if isinstance(value, bytes):
            lists.bytes_list.value.append(value)
        else:
            lists.node_list.value.append(value)


def _is_given(text: str, trace: Trace) -> bool:
    """Tells whether an input is a control edge from what is there before the graph runs.

    The original puts state and inputs in the place of such nodes, where no control edge follows them.
    """
    name = text.removeprefix("^")
    return name != text and (name in trace.captures or trace.nodes[name].op in PLACEHOLDERS)


def _input_names(trace: Trace) -> dict[str, str]:
    """Returns readable names for the placeholders of a trace."""
    names = {}
    for key, info in trace.inputs.items():
        tensors = tensor_names([info])
        for i, tensor in enumerate(tensors):
            node, name = Ref.parse(tensor).node, op_name(key) if len(tensors) == 1 else f"{op_name(key)}/component_{i}"
            names[node] = name if name == node or name not in trace.nodes else f"inputs/{name}"
    return names
