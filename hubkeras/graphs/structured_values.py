"""Constants in structured values: in the arguments that functions were saved with, and in type specifications.

TensorFlow turns them into arrays as soon as it reads such a value, and one stored number may stand for any size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.graphs.structure import check_constants
from hubkeras.savedmodel.protos import NodeDef

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def check_structured_values(values: Iterable[Any], where: str) -> None:
    """Refuses structured values that TensorFlow might not survive.

    Args:
        values: `StructuredValue`s.
        where: Whose they are, for messages.

    Raises:
        FormatError: A constant in one is malformed, or too large.
    """
    check_constants(map(_node, _constants_in(values)), where)


def _node(tensor: Any) -> Any:
    node = NodeDef(name="a value of a signature", op="Const")
    node.attr["value"].tensor.CopyFrom(tensor)
    return node


def _constants_in(values: Iterable[Any]) -> Iterator[Any]:
    pending = list(values)
    while pending:
        value = pending.pop()
        kind = value.WhichOneof("kind")
        if kind in {"list_value", "tuple_value"}:
            pending.extend(getattr(value, kind).values)
        elif kind == "dict_value":
            pending.extend(value.dict_value.fields.values())
        elif kind == "named_tuple_value":
            pending.extend(pair.value for pair in value.named_tuple_value.values)
        elif kind == "type_spec_value":
            pending.append(value.type_spec_value.type_state)
        elif kind == "bounded_tensor_spec_value":
            yield value.bounded_tensor_spec_value.minimum
            yield value.bounded_tensor_spec_value.maximum
        elif kind in {"tensor_value", "numpy_value"}:
            yield getattr(value, kind)
