"""Which ops a graph may hold, and what an op has to look like: the list in `allowed_ops.tsv`, read once.

A name that starts with "_" is internal to TensorFlow. It is never on the list, and nobody can allow it: such ops trust
whoever made them, since only TensorFlow itself puts them into a graph.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubkeras.graphs.op_registry import attribute_or_default
from hubkeras.savedmodel.protos import DataType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    IsAsset = Callable[[int], bool]

_TABLE = Path(__file__).with_name("allowed_ops.tsv")
_ASSET = re.compile(r"asset\((\d+)\)")
_ATTRIBUTE = re.compile(r"(\w+)(!?=)(.*)")


@dataclass(frozen=True)
class AssetCondition:
    """A data input must hold the path of an asset of the module."""

    position: int

    def objection(self, node: Any, is_asset: IsAsset) -> str | None:
        """Returns what speaks against a node, None if nothing does."""
        del node
        return None if is_asset(self.position) else "reads a file that is not an asset of the module"


@dataclass(frozen=True)
class AttributeCondition:
    """An attribute, a text or dtypes, must have one of some values, or none of them."""

    name: str
    values: frozenset[str]
    is_negated: bool

    def objection(self, node: Any, is_asset: IsAsset) -> str | None:
        """Returns what speaks against a node, None if nothing does."""
        del is_asset
        received = _texts(attribute_or_default(node, self.name))
        if received is None:
            return f"has no value of its own for {self.name}"
        bad = next((value for value in received if (value in self.values) == self.is_negated), None)
        return None if bad is None else f"has {self.name}={bad!r}"


Condition = AssetCondition | AttributeCondition


def is_listed(op: str) -> bool:
    """Tells whether an op is allowed, be it under a condition."""
    return op in _rules()


def is_unconditional(op: str) -> bool:
    """Tells whether an op is allowed whatever its attributes and inputs are."""
    return _rules().get(op) == ()


def objection(node: Any, is_asset: IsAsset) -> str | None:
    """Returns why a node is not allowed, as a clause; None if it is.

    Args:
        node: A `NodeDef`.
        is_asset: Tells of a data input, by its position, whether it holds the path of an asset.
    """
    if node.op.startswith("_"):
        return "is internal to TensorFlow"
    conditions = _rules().get(node.op)
    if conditions is None:
        return "is not on the list of allowed operations"
    return next(filter(None, (condition.objection(node, is_asset) for condition in conditions)), None)


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Parses the second column of the list.

    Raises:
        ValueError: It is malformed.
    """
    return tuple(_parse_condition(part) for part in text.split(";")) if text else ()


def _parse_condition(text: str) -> Condition:
    asset = _ASSET.fullmatch(text)
    if asset:
        return AssetCondition(int(asset[1]))
    attribute = _ATTRIBUTE.fullmatch(text)
    if not attribute:
        raise ValueError(f"Cannot read the condition {text!r}: expected asset(N), attr=a|b or attr!=a|b")
    name, sign, values = attribute.groups()
    return AttributeCondition(name, frozenset(values.split("|")), sign == "!=")


@cache
def _rules() -> Mapping[str, tuple[Condition, ...]]:
    lines = _TABLE.read_text("utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return {op: parse_conditions(condition) for op, condition, _ in rows}


def _texts(value: Any | None) -> list[str] | None:
    """Returns the texts, or names of dtypes, that an attribute holds, None if it holds something else."""
    if value is None:
        return None
    kind = value.WhichOneof("value")
    if kind == "s":
        return [value.s.decode("utf-8", "replace")]
    if kind == "type":
        return [_dtype_name(value.type)]
    if kind == "list":
        return [_dtype_name(dtype) for dtype in value.list.type]
    return None


def _dtype_name(number: int) -> str:
    """Returns a dtype's name; that of a reference is the name of what it refers to."""
    data_type: Any = DataType
    name = data_type.Name(number) if number in DataType.values() else str(number)
    return name.removeprefix("DT_").removesuffix("_REF").lower()
