"""What a SavedModel directory says about itself, as frozen dataclasses.

Everything above this floor works on these; the protos are parsed once, in `reader`. Nothing here holds a TensorFlow
object: dtypes are TensorFlow's names ("float32", "string"), shapes are tuples, and a tensor is named as in the graph
("scope/op:0").
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hubkeras.handles.filesystem_path import AnyPath

Shape = tuple[int | None, ...] | None
"""None is an unknown rank, a None entry an unknown dimension."""

ASSETS_DIRECTORY = "assets"
"""Where a module keeps the files that its graphs read."""

MADE_IN_MEMORY = "<made in memory"
"""What the label of a module begins with that no directory holds."""

Tags = frozenset[str]
Kind = Literal["dense", "sparse", "ragged", "composite"]
Format = Literal["tf1_hub", "saved_model", "tf2"]


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature."""

    name: str
    """The key in the signature."""
    dtype: str
    """Name of the dtype of the values, such as "float32"."""
    shape: Shape
    """Dense shape (for a sparse or ragged tensor: of what it stands for)."""
    kind: Kind
    tensors: tuple[str, ...]
    """Names of the graph's tensors it consists of: one; or indices, values, dense shape; or the components in the
    order of the type specification."""
    type_spec: bytes | None = None
    """The serialised `TypeSpecProto` of a composite tensor (ragged or other)."""


@dataclass(frozen=True)
class SignatureSpec:
    """One named function of a graph variant."""

    name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method_name: str = ""

    @property
    def input_tensors(self) -> tuple[str, ...]:
        """Names of the tensors that its inputs consist of, in their order."""
        return tuple(tensor for info in self.inputs.values() for tensor in info.tensors)

    def output_tensors(self, names: Collection[str] | None = None) -> tuple[str, ...]:
        """Returns the names of the tensors that some outputs, or all, consist of, in the order of the signature."""
        chosen = [info for name, info in self.outputs.items() if names is None or name in names]
        return tuple(tensor for info in chosen for tensor in info.tensors)


@dataclass(frozen=True)
class PartitionSpec:
    """Where one part of a partitioned variable lies in the whole."""

    full_name: str
    full_shape: tuple[int, ...]
    offset: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class VariableSpec:
    """One variable, or one part of a partitioned variable."""

    name: str
    """Name of the variable's op, such as "dense/kernel" or "embeddings/part_0"."""
    dtype: str
    shape: tuple[int, ...]
    trainable: bool
    """Whether the variable stands in the collection TRAINABLE_VARIABLES of its graph variant."""
    reference: bool
    """Whether it is a reference variable (`VariableV2`) and not a resource variable."""
    partition: PartitionSpec | None = None
    in_checkpoint: bool = True
    """Whether its value is restored; a variable without one takes the value of its initializer."""
    initial_value: str = ""
    """Name of the tensor of the same graph variant that gives the initial value, empty if it has none."""
    collections: tuple[str, ...] = ()
    """Keys of the collections of variables it stands in; a node that holds a variable may stand in none."""
    checkpoint_key: str = ""
    """Key in the checkpoint that the saver of a SavedModel gives it; empty without such a saver."""

    @property
    def full_name(self) -> str:
        """Name of the whole variable."""
        return self.partition.full_name if self.partition else self.name

    @property
    def checkpoint_name(self) -> str:
        """Name of the tensor in the checkpoint."""
        return self.checkpoint_key or self.full_name


@dataclass(frozen=True)
class AssetSpec:
    """One file that the graph reads at run time."""

    tensor: str
    """Name of the string constant that is to hold the path."""
    filename: str
    """Path relative to the module's `assets` folder."""
    module: AnyPath | None
    """The module's directory, absolute; None for a module that no directory holds yet."""
    source: AnyPath | None = None
    """Absolute path of the file of such a module."""

    @property
    def path(self) -> AnyPath:
        """Absolute path of the file; whether it is there `assets.find_asset` tells."""
        if self.module is not None:
            return self.module / ASSETS_DIRECTORY / self.filename
        assert self.source is not None
        return self.source


@dataclass(frozen=True, eq=False)
class GraphVariant:
    """One MetaGraph: a graph with its signatures and collections."""

    tags: Tags
    signatures: Mapping[str, SignatureSpec]
    variables: Mapping[str, VariableSpec]
    """By name, in the order of the collection. Shared by name with the other variants."""
    assets: tuple[AssetSpec, ...]
    table_initializers: tuple[str, ...]
    """Names of ops."""
    update_ops: tuple[str, ...]
    """Names of ops."""
    regularization_losses: tuple[str, ...]
    """Names of tensors."""
    attachments: Mapping[str, bytes]
    """Serialised messages by key."""
    meta_graph: Any = field(repr=False)
    """The `MetaGraphDef`, for the graph importer alone."""
    nodes: Mapping[str, Any] = field(repr=False)
    """Its `NodeDef`s by name, likewise."""


@dataclass(frozen=True, eq=False)
class ModuleDescription:
    """A module, read from a SavedModel directory or made in memory, and checked."""

    path: AnyPath | None
    """The directory, absolute; None for a module that was made in memory."""
    format: Format
    variants: tuple[GraphVariant, ...]
    """In the order of the file. Empty for the format "tf2"."""
    tag_sets: tuple[Tags, ...]
    """Of every MetaGraph, also for the format "tf2"."""
    checkpoint: AnyPath | None
    """Prefix of the checkpoint's files, None if no variable has its value from one."""
    object_graphs: tuple[Any, ...] = field(default=(), repr=False)
    """The `MetaGraphDef`s of the format "tf2", for the gate alone."""
    key: str = field(default_factory=lambda: uuid.uuid4().hex, repr=False)
    """Tells a module that was made in memory from all others."""

    @property
    def label(self) -> str:
        """What messages and configs call the module: its directory, or something else that no other one bears."""
        return str(self.path) if self.path is not None else f"{MADE_IN_MEMORY}, {self.key[:8]}>"

    @property
    def variables(self) -> Mapping[str, VariableSpec]:
        """The variables of all variants, by name; trainable is whatever the first variant that has one says."""
        merged: dict[str, VariableSpec] = {}
        for variant in self.variants:
            for name, spec in variant.variables.items():
                merged.setdefault(name, spec)
        return MappingProxyType(merged)

    def initial_value(self, name: str) -> tuple[GraphVariant, str] | None:
        """Returns the first graph variant that computes a value for a variable without a stored one, and its tensor."""
        for variant in self.variants:
            spec = variant.variables.get(name)
            if spec is not None and spec.initial_value and not spec.in_checkpoint:
                return variant, spec.initial_value
        return None
