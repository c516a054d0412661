"""What `hubkeras.describe` returns: frozen data, of which `dataclasses.asdict` makes what JSON takes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.savedmodel.description import Format, Kind, Shape

_BYTES = {"bool": 1, "bfloat16": 2, "complex64": 8, "complex128": 16, "qint32": 4, "quint16": 2, "qint16": 2}


@dataclass(frozen=True)
class TensorSummary:
    """One input or output of a signature."""

    name: str
    dtype: str
    shape: Shape
    """None is an unknown rank, a None entry an unknown dimension."""
    kind: Kind


@dataclass(frozen=True)
class SignatureSummary:
    """One named function of a graph variant."""

    name: str
    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    ops: int
    """How many nodes of the graph a call needs; of a TF2 SavedModel, how many its function has."""
    variables: tuple[str, ...]
    """Names of the variables that a call reads or writes; empty for a TF2 SavedModel, which does not tell."""
    flops: int | None = None
    """Floating point operations of a call with one example; None where nobody asked or TensorFlow cannot tell."""


@dataclass(frozen=True)
class VariableSummary:
    """One variable, a partitioned one as a whole."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    trainable: bool
    """Whether the graph variant for training marks it so."""
    parts: int = 1
    """Into how many variables it is partitioned."""
    reference: bool = False
    """Whether it is a reference variable of TensorFlow 1."""

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes in memory; 0 for texts, of which a file does not tell the length without being read."""
        return self.elements * _element_size(self.dtype)


@dataclass(frozen=True)
class AssetSummary:
    """One file that a graph reads."""

    filename: str
    size: int | None
    """Bytes, None if the file is missing."""


@dataclass(frozen=True)
class TableSummary:
    """One lookup table."""

    name: str
    op: str
    key_dtype: str
    value_dtype: str
    filled_from: str
    """The asset that it is filled from, empty if it is another source."""


@dataclass(frozen=True)
class AttachmentSummary:
    """One message that the publisher attached to a graph variant."""

    key: str
    size: int
    """Bytes."""
    meaning: str
    """What it says, where hubkeras knows the kind of message."""


@dataclass(frozen=True)
class VariantSummary:
    """One graph with its signatures."""

    tags: tuple[str, ...]
    signatures: tuple[SignatureSummary, ...]
    trainable_variables: tuple[str, ...]
    tables: tuple[TableSummary, ...]
    attachments: tuple[AttachmentSummary, ...]
    update_ops: tuple[str, ...]
    regularization_losses: tuple[str, ...]
    ops: Mapping[str, int]
    """How many nodes there are of each op type, in the graph and in its functions, most frequent first."""
    functions: int
    """How many functions the graph has."""
    control_flow: str
    """"v1" (Enter, Switch, Merge ...), "functional" (While, If, Case), "both" or ""."""


@dataclass(frozen=True)
class RefusedOp:
    """An op that the gate would not let pass."""

    op: str
    place: str
    reason: str


@dataclass(frozen=True)
class GateSummary:
    """What the list of allowed ops says about what a module can run."""

    allowed: bool
    refused: tuple[RefusedOp, ...] = ()
    problem: str = ""
    """Why the module could not be judged, empty if it could."""


@dataclass(frozen=True)
class ModuleSummary:
    """What a module holds."""

    handle: str
    path: str
    """Its directory."""
    format: Format
    """"tf1_hub", "saved_model" (of TensorFlow 1) or "tf2"."""
    size: int
    """Bytes of all its files, 0 for a module that is not on a disk of this machine."""
    written_by: str
    """The version of TensorFlow that wrote it, empty if it does not tell."""
    license_file: str
    """Path of a licence within the directory, empty if there is none."""
    variants: tuple[VariantSummary, ...]
    default_tags: tuple[str, ...] | None
    """Of the variant for inference; None if `tags=` must be given."""
    training_tags: tuple[str, ...] | None
    """Of the variant for training."""
    default_signature: str | None
    """None if there is no default one."""
    variables: tuple[VariableSummary, ...]
    """Of all variants, by name."""
    assets: tuple[AssetSummary, ...]
    gate: GateSummary
    code: Mapping[str, str] = field(repr=False)
    """Python programs that use it: "eager", "keras", "fine_tuning", as far as they make sense for the module."""

    @property
    def parameters(self) -> int:
        """How many numbers all variables hold."""
        return sum(variable.elements for variable in self.variables)

    @property
    def trainable_parameters(self) -> int:
        """How many of them training may change."""
        return sum(variable.elements for variable in self.variables if variable.trainable)

    @property
    def default_variant(self) -> VariantSummary:
        """The graph variant for inference, the first one if `tags=` must be given."""
        return next((variant for variant in self.variants if variant.tags == self.default_tags), self.variants[0])

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it as what JSON takes, with the sizes of variables and the counts of parameters."""
        content = dataclasses.asdict(self)
        for variable, entry in zip(self.variables, content["variables"], strict=True):
            entry |= {"elements": variable.elements, "size": variable.size}
        return content | {"parameters": self.parameters, "trainable_parameters": self.trainable_parameters}


def _element_size(dtype: str) -> int:
    if dtype in _BYTES:
        return _BYTES[dtype]
    digits = "".join(character for character in dtype.partition("e")[0] if character.isdigit())
    return max(int(digits) // 8, 1) if digits else 0
