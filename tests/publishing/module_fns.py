"""Functions that build modules, for the hub namespace given: hubkeras on today's TensorFlow, the original on TF 2.15.

Each entry of `CASES` makes one module. Nothing here imports either library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

v1 = tf.compat.v1
WORDS = ("cat", "dog", "horse")


def linear(hub: Any, folder: str) -> Callable[..., None]:
    def module_fn() -> None:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        w = v1.get_variable("w", [3, 2], initializer=v1.random_normal_initializer(seed=1))
        b = v1.get_variable("b", [2], initializer=v1.ones_initializer())
        h = tf.matmul(x, w) + b
        hub.add_signature(inputs=x, outputs={"default": tf.nn.relu(h), "logits": h})
        hub.add_signature("double", inputs={"x": x}, outputs=2 * x)
        hub.add_signature("bias", outputs=b.read_value())

    return module_fn


@dataclass(frozen=True)
class Case:
    """One module: how it is built, and calls of it."""

    make: Callable[[Any, str], Callable[..., None]]
    calls: dict[str, dict[str, Any]]
    """Inputs by signature; of a sparse or ragged input, nested tuples that `module_fns.tensor` reads."""
    tags_and_args: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (((), {}),)
    drop_collections: tuple[str, ...] = ()


CASES = {"linear": Case(linear, {"default": {"default": np.float32([[1, 2, -3]])}, "bias": {}})}


def spec(hub: Any, name: str, folder: Path) -> Any:
    """The spec of a case; files that it needs are written into `folder`."""
    case = CASES[name]
    tags_and_args = [(set(tags), args) for tags, args in case.tags_and_args]
    return hub.create_module_spec(case.make(hub, str(folder)), tags_and_args, list(case.drop_collections))
