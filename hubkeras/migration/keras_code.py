"""What code for Keras 2 writes otherwise than code for Keras 3, as far as it stands beside a layer of a module."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import libcst as cst
from libcst.helpers import get_full_name_for_node

from hubkeras.migration import known_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.migration.findings import Fate

_KERAS = ("tf_keras.", "keras.", "tensorflow.keras.")
_SWITCH = "TF_USE_LEGACY_KERAS"
_ON = ("1", "true", "True")
_GENERATORS = {"fit_generator": "fit", "evaluate_generator": "evaluate", "predict_generator": "predict"}


@dataclass(frozen=True)
class KerasChange:
    """What becomes of a node."""

    fate: Fate
    becomes: str
    replacements: Mapping[cst.CSTNode, cst.CSTNode] = field(default_factory=dict)


class KerasFinder(cst.CSTVisitor):
    """Collects what `keras_change` knows.

    Args:
        paths: What dotted expressions stand for, such as "tensorflow.keras.optimizers.Adam".
    """

    def __init__(self, paths: Mapping[cst.CSTNode, str]) -> None:
        self.paths = paths
        self.found: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Goes through all nodes."""
        if isinstance(node, cst.Attribute | cst.Call | cst.Assign) and _is_known(node, self.paths):
            self.found.append(node)
        return True


def _is_known(node: cst.CSTNode, paths: Mapping[cst.CSTNode, str]) -> bool:
    if isinstance(node, cst.Assign):
        return any(_names_switch(target.target) for target in node.targets)
    if isinstance(node, cst.Call):
        return bool(_keyword(node, "batch_input_shape") or _keyword(node, "save_format") or _old_rate(node, paths)) or (
            isinstance(node.func, cst.Attribute) and node.func.attr.value in _GENERATORS
        )
    return _is_legacy_optimizer(paths.get(node, ""))


def keras_change(node: cst.CSTNode, paths: Mapping[cst.CSTNode, str]) -> KerasChange:
    """Tells what becomes of a node that a `KerasFinder` found.

    Args:
        node: The node.
        paths: What dotted expressions stand for.
    """
    if isinstance(node, cst.Assign):
        return _legacy_switch(node)
    if not isinstance(node, cst.Call):
        return KerasChange("by hand", known_names.LEGACY_OPTIMIZER)
    rate, shape = _old_rate(node, paths), _keyword(node, "batch_input_shape")
    if rate is not None:
        return KerasChange("rewritten", "learning_rate=", {rate: rate.with_changes(keyword=cst.Name("learning_rate"))})
    if shape is not None:
        return _batch_input_shape(node, shape)
    if _keyword(node, "save_format"):
        return KerasChange("by hand", known_names.SAVE_FORMAT)
    old = cst.ensure_type(node.func, cst.Attribute).attr.value
    return KerasChange("by hand", known_names.FIT_GENERATOR.format(old, _GENERATORS[old]))


def _names_switch(target: cst.BaseExpression) -> bool:
    """Tells whether an assignment's target is `...["TF_USE_LEGACY_KERAS"]`."""
    if not isinstance(target, cst.Subscript) or len(target.slice) != 1:
        return False
    index = target.slice[0].slice
    key = index.value if isinstance(index, cst.Index) else None
    return isinstance(key, cst.SimpleString) and key.evaluated_value == _SWITCH


def _legacy_switch(node: cst.Assign) -> KerasChange:
    value = node.value
    if not isinstance(value, cst.SimpleString):
        return KerasChange("by hand", 'set it to "0": layers of hubkeras are layers of Keras 3')
    if value.evaluated_value not in _ON:
        return KerasChange("works", "it is off")
    off = value.with_changes(value=f"{value.prefix}{value.quote}0{value.quote}")
    return KerasChange("rewritten", "off, since layers of hubkeras are layers of Keras 3", {value: off})


def _keyword(call: cst.Call, name: str) -> cst.Arg | None:
    return next((arg for arg in call.args if arg.keyword is not None and arg.keyword.value == name), None)


def _old_rate(call: cst.Call, paths: Mapping[cst.CSTNode, str]) -> cst.Arg | None:
    """Returns the argument `lr` of one of Keras' optimizers."""
    path = paths.get(call.func, "")
    is_optimizer = path.startswith(_KERAS) and "optimizers" in path.split(".")
    return _keyword(call, "lr") if is_optimizer and not _keyword(call, "learning_rate") else None


def _is_legacy_optimizer(path: str) -> bool:
    return path.startswith(_KERAS) and ".optimizers.legacy" in path


def _batch_input_shape(call: cst.Call, shape: cst.Arg) -> KerasChange:
    called = (get_full_name_for_node(call.func) or "").rpartition(".")[2]
    if called in ("Input", "InputLayer"):
        changed = shape.with_changes(keyword=cst.Name("batch_shape"))
        return KerasChange("rewritten", "batch_shape=", {shape: changed})
    value = shape.value
    elements = value.elements if isinstance(value, cst.Tuple | cst.List) else ()
    if elements and isinstance(elements[0].value, cst.Name) and elements[0].value.value == "None":
        rest = value.with_changes(elements=elements[1:])
        changed = shape.with_changes(keyword=cst.Name("input_shape"), value=rest)
        return KerasChange("rewritten", "input_shape=, without the batch", {shape: changed})
    return KerasChange("by hand", "write keras.Input(batch_shape=...) before this layer, and drop the argument")
