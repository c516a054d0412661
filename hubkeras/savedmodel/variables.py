"""Reads the variables of a graph variant and finds each in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hubkeras.errors import FormatError, MissingFileError
from hubkeras.savedmodel.collection_defs import byte_values
from hubkeras.savedmodel.description import PartitionSpec, VariableSpec
from hubkeras.savedmodel.graph_index import (
    ASSIGN_OPS,
    NO_DTYPE,
    REFERENCE_VARIABLE_OPS,
    attribute,
    data_inputs,
    dtype_name,
    shape_tuple,
)
from hubkeras.savedmodel.protos import VariableDef, parse
from hubkeras.savedmodel.refs import Ref
from hubkeras.savedmodel.saver import read_saver_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.handles.filesystem_path import AnyPath
    from hubkeras.savedmodel.checkpoint import Checkpoint, CheckpointEntry
    from hubkeras.savedmodel.description import Shape
    from hubkeras.savedmodel.graph_index import Graph

_GLOBAL = "variables"
_TRAINABLE = "trainable_variables"
_KNOWN_COLLECTIONS = (
    _GLOBAL,
    _TRAINABLE,
    "model_variables",
    "moving_average_variables",
    "global_step",
    "local_variables",
    "metric_variables",
)


@dataclass
class _Found:
    """What the collections of a graph say about one variable."""

    proto: Any
    collections: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Storage:
    """Where the values of one graph's variables lie."""

    checkpoint: Checkpoint | None
    prefix: AnyPath
    saver_keys: Mapping[str, str] | None
    is_needed: bool = True
    """Whether variables must be in the checkpoint at all."""

    def key(self, name: str, partition: PartitionSpec | None) -> str:
        return (self.saver_keys or {}).get(name, partition.full_name if partition else name)

    def entry(self, key: str) -> CheckpointEntry | None:
        return self.checkpoint.tensors.get(key) if self.checkpoint else None

    def is_expected(self, name: str, collections: list[str]) -> bool:
        return self.is_needed and _GLOBAL in collections and (self.saver_keys is None or name in self.saver_keys)


def read_variables(
    meta_graph: Any,
    graph: Graph,
    checkpoint: Checkpoint | None,
    *,
    prefix: AnyPath,
    follow_saver: bool,
    with_values: bool = True,
) -> Mapping[str, VariableSpec]:
    """Reads the variables of a MetaGraph, those first that stand in its collections.

    A variable that a collection names but the graph lacks is left out: nothing can read it.

    Args:
        meta_graph: The `MetaGraphDef`.
        graph: Its nodes.
        checkpoint: What the checkpoint holds; None if the module has none.
        prefix: Where the checkpoint is or should be.
        follow_saver: Whether the graph's own saver decides what is restored, as in a TF1 SavedModel. TF1 Hub format
            restores every variable under its own name.
        with_values: Whether the checkpoint must have the variables' values.

    Returns:
        The variables by name of their op.

    Raises:
        MissingFileError: There are variables, and no checkpoint.
        FormatError: A variable is not in the checkpoint, or there in another shape or dtype.
        CorruptFileError: A collection cannot be parsed.
    """
    found = _read_collections(meta_graph, graph)
    # After the collections, whose order is that of the program: exports and weights follow it.
    for node in graph.variables:
        found.setdefault(node.name, _Found(VariableDef()))
    storage = _Storage(checkpoint, prefix, read_saver_keys(meta_graph, graph) if follow_saver else None, with_values)
    specs = (_variable_spec(graph, graph.nodes[name], mention, storage) for name, mention in found.items())
    return MappingProxyType({spec.name: spec for spec in specs if spec is not None})


def _read_collections(meta_graph: Any, graph: Graph) -> dict[str, _Found]:
    held = {node.name for node in graph.variables}
    found: dict[str, _Found] = {}
    for collection in _KNOWN_COLLECTIONS:
        for item in byte_values(meta_graph, collection):
            proto = parse(VariableDef, item, f"the collection {collection}")
            name = Ref.parse(proto.variable_name).node
            if name in held:
                mention = found.setdefault(name, _Found(proto))
                if collection not in mention.collections:
                    mention.collections.append(collection)
    return found


def _variable_spec(graph: Graph, node: Any, found: _Found, storage: _Storage) -> VariableSpec | None:
    """Returns the description of a variable; None for one whose shape or dtype nothing tells: no value fits it."""
    name, dtype = node.name, dtype_name(attribute(node, "dtype").type)
    shape = shape_tuple(node.attr["shape"].shape) if "shape" in node.attr else None
    partition = _partition(name, shape, found.proto)
    key = storage.key(name, partition)
    entry = storage.entry(key)
    whole = partition.full_shape if partition else shape
    fits = entry is not None and entry.dtype == dtype and _is_compatible(entry.shape, whole)
    if storage.is_expected(name, found.collections) and not fits:
        raise _checkpoint_error(name, key, dtype, whole, entry, storage)
    # Savers leave local variables out; one that is found there all the same belongs to another graph's variable.
    in_checkpoint = fits and found.collections != ["local_variables"]
    initial_value = _initial_value(graph, node, found.proto)
    known = _known_shape(shape, partition, entry if in_checkpoint else None, graph, initial_value)
    if known is None or dtype == NO_DTYPE:
        return None
    return VariableSpec(
        name=name,
        dtype=dtype,
        shape=known,
        trainable=_TRAINABLE in found.collections,
        reference=node.op in REFERENCE_VARIABLE_OPS,
        partition=partition,
        in_checkpoint=in_checkpoint,
        initial_value=initial_value,
        collections=tuple(found.collections),
        checkpoint_key=key if name in (storage.saver_keys or {}) else "",
    )


def _partition(name: str, own_shape: Shape, proto: Any) -> PartitionSpec | None:
    info = proto.save_slice_info_def
    if not info.full_name:
        return None
    partition = PartitionSpec(info.full_name, tuple(info.full_shape), tuple(info.var_offset), tuple(info.var_shape))
    full, offset, shape = partition.full_shape, partition.offset, partition.shape
    if (
        not len(full) == len(offset) == len(shape)
        or any(
            start < 0 or size < 0 or start + size > whole
            for whole, start, size in zip(full, offset, shape, strict=True)
        )
        or not _is_compatible(shape, own_shape)
    ):
        raise FormatError(
            f"The variable {name!r} is no part of {info.full_name!r}",
            expected=f"an offset and a shape within {full}, of a variable of shape {own_shape}",
            received=f"offset {offset}, shape {shape}",
        )
    return partition


def _is_compatible(shape: tuple[int, ...], wanted: Shape) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(b is None or a == b for a, b in zip(shape, wanted, strict=True))


def _known_shape(
    shape: Shape, partition: PartitionSpec | None, entry: CheckpointEntry | None, graph: Graph, initial_value: str
) -> tuple[int, ...] | None:
    initial = graph.nodes.get(Ref.parse(initial_value).node)
    constant = (
        shape_tuple(attribute(initial, "value").tensor.tensor_shape) if initial and initial.op == "Const" else None
    )
    # From the surest on. Old files have variables without a shape, which only the checkpoint or an initial value tells.
    candidates = (shape, partition and partition.shape, entry and entry.shape, constant)
    for candidate in candidates:
        if candidate is not None and None not in candidate:
            return tuple(size for size in candidate if size is not None)
    return None


def _initial_value(graph: Graph, node: Any, proto: Any) -> str:
    """Returns the tensor of this graph that gives the initial value, empty if there is none.

    It is what the `VariableDef` says. Files of old versions name only the op that assigns it; a variable in no
    collection has one by convention. Nobody else guesses: what is found here is what is judged and what runs.
    """
    named = Ref.parse(proto.initial_value_name)
    # An empty name becomes a node without a name, which no graph has.
    if named.index is not None and named.node in graph.nodes:
        return named.tensor
    assign = graph.nodes.get(Ref.parse(proto.initializer_name).node or f"{node.name}/Assign")
    if assign is None or assign.op not in ASSIGN_OPS:
        return ""
    inputs = data_inputs(assign)
    if len(inputs) != 2 or inputs[0] != Ref(node.name, 0) or inputs[1].node not in graph.nodes:
        return ""
    return inputs[1].tensor


def _checkpoint_error(
    name: str, key: str, dtype: str, shape: Shape, entry: CheckpointEntry | None, storage: _Storage
) -> FormatError:
    index = f"{storage.prefix}.index"
    if storage.checkpoint is None:
        return MissingFileError(
            f"Cannot find {index}: the variable {name!r} has no value", fix="Fetch the module again"
        )
    wanted = f"the tensor {key!r}, {dtype} of shape {shape}"
    if entry is None:
        return FormatError(
            f"The checkpoint {index} has no value for the variable {name!r}",
            expected=wanted,
            received=f"{len(storage.checkpoint.tensors)} other tensors",
        )
    return FormatError(
        f"The checkpoint {index} does not fit the variable {name!r}",
        expected=wanted,
        received=f"{entry.dtype} of shape {entry.shape}",
    )
