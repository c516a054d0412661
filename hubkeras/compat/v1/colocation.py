"""Which ops must stand on one device ("loc:@x"), put right after an import replaced tensors of the graph.

An imported op that is tied to a replaced one is tied to what the replacement is tied to. That is well defined:

1. An input of a signature is tied to nothing but itself, and state only to state. `create_module_spec` sees to both.
2. All state is replaced at once, so ties among it stay what they were.
3. Where several outputs of one op are replaced, their replacements must agree, else the op is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from hubkeras.errors import PlacementError
from hubkeras.graphs.tensorflow_internals import set_attribute, set_device
from hubkeras.savedmodel.protos import AttrValue
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PREFIX = b"loc:@"


class _Tie(NamedTuple):
    """What a tie to one imported op becomes, for one of the op's outputs."""

    groups: list[bytes]
    reason: str


def rewrite(nodes: Iterable[Any], outside: Mapping[str, tf.Tensor], scope: str) -> None:
    """Ties imported ops to what took the place of the ops that they were tied to, and sets their devices accordingly.

    Args:
        nodes: The NodeDefs that were imported.
        outside: The tensors that replaced some of theirs, by the names of these.
        scope: Full name of the scope they were imported under.

    Raises:
        PlacementError: The replacements of one op's outputs are tied to different ops, and something is tied to it.
    """
    graph = tf.compat.v1.get_default_graph()
    tied = [node.name for node in nodes if "_class" in node.attr and node.attr["_class"].list.s]
    if not tied:
        return
    ties = _ties(graph, outside, scope)
    for name in tied:
        operation = graph.get_operation_by_name(f"{scope}/{name}")
        values = operation.get_attr("_class")
        groups = {group for value in values if value.startswith(_PREFIX) for group in _rewritten(value, ties, name)}
        others = [value for value in values if not value.startswith(_PREFIX)]
        attribute = AttrValue()
        attribute.list.s.extend([*others, *sorted(groups)])
        set_attribute(operation, "_class", attribute)
        if groups:
            set_device(operation, _device(graph, groups))


def _ties(graph: tf.Graph, outside: Mapping[str, tf.Tensor], scope: str) -> dict[bytes, list[_Tie]]:
    """Returns what ties to the ops with replaced outputs become, one entry for each output."""
    found: dict[bytes, list[_Tie]] = {}
    replaced: dict[str, set[int]] = {}
    for name, tensor in outside.items():
        ref = Ref.parse(name)
        full = f"{scope}/{ref.node}"
        reason = f"input '{full}:{ref.index}' is substituted by '{tensor.name}'"
        found.setdefault(_PREFIX + full.encode(), []).append(_Tie(tensor.op.colocation_groups(), reason))
        replaced.setdefault(full, set()).add(ref.index or 0)
    for full, indices in replaced.items():
        kept = sorted(set(range(len(graph.get_operation_by_name(full).outputs))) - indices)
        if kept:
            own = _PREFIX + full.encode()
            outputs = ",".join(map(str, kept))
            found[own].append(_Tie([own], f"tensor '{full}:{outputs}' is not substituted by inputs"))
    return found


def _rewritten(value: bytes, ties: Mapping[bytes, list[_Tie]], node: str) -> list[bytes]:
    if value not in ties:
        return [value]
    first, *rest = ties[value]
    for other in rest:
        if other.groups != first.groups:
            raise PlacementError(
                f"Failed to rewrite colocation constraints while applying hub.Module: node {node!r} has the constraint "
                f"{value!r} with ambiguous rewriting {first.groups!r} vs {other.groups!r}, because {first.reason} and "
                f"{other.reason}",
                expected="inputs that stand for all outputs of one op to be tied to the same ops",
                fix="Publish the module with inputs that come from ops with a single output each",
            )
    return first.groups


def _device(graph: tf.Graph, groups: Iterable[bytes]) -> str:
    """Returns the device of any op of some groups, as an import does; TensorFlow sees to it that they agree."""
    devices = (graph.get_operation_by_name(group[len(_PREFIX) :].decode()).device for group in sorted(groups))
    return next(filter(None, devices), "")
