"""Functions that build modules, for the hub namespace given: hubkeras on today's TensorFlow, the original on TF 2.15.

Each entry of `CASES` makes one module. Nothing here imports either library, and both sides run what is here.
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
Inputs = "dict[str, Any]"


def linear(hub: Any, folder: Path) -> Callable[..., None]:
    """Signatures with one input, with a named one, with none; several outputs; an initial value without a seed."""

    def module_fn() -> None:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        w = v1.get_variable("w", [3, 2], initializer=v1.random_normal_initializer())
        b = v1.get_variable("b", [2], initializer=v1.ones_initializer())
        h = tf.matmul(x, w) + b
        hub.add_signature(inputs=x, outputs={"default": tf.nn.tanh(h), "logits": h})
        hub.add_signature("double", inputs={"x": x}, outputs=2 * x)
        hub.add_signature("bias", outputs=b.read_value())

    return module_fn


def trained(hub: Any, folder: Path) -> Callable[..., None]:
    """A partitioned variable, reference variables, scopes, a moving average, losses, attached messages."""

    def module_fn(training: bool) -> None:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        with v1.variable_scope("net"):
            w = v1.get_variable(
                "w",
                [3, 4],
                partitioner=v1.fixed_size_partitioner(2),
                initializer=v1.random_uniform_initializer(-1, 1),
                regularizer=lambda part: 0.1 * tf.nn.l2_loss(part),
            )
            scale = v1.get_variable("scale", [4], initializer=v1.truncated_normal_initializer(), use_resource=False)
            mean = v1.get_variable("mean", [4], initializer=v1.zeros_initializer(), trainable=False)
        h = tf.matmul(x, tf.convert_to_tensor(w))
        batch = tf.reduce_mean(h, 0)
        if training:
            v1.add_to_collection("update_ops", mean.assign_sub(0.5 * (mean - batch)))
        hub.add_signature(inputs=x, outputs=scale * (h - (batch if training else mean)))
        info = hub.ImageModuleInfo()
        info.default_image_size.height, info.default_image_size.width = 5, 7
        hub.attach_image_module_info(info)
        hub.attach_message("mode", tf.train.BytesList(value=[b"replaced"]))
        hub.attach_message("mode", tf.train.BytesList(value=[b"train" if training else b"infer"]))

    return module_fn


def looked_up(hub: Any, folder: Path) -> Callable[..., None]:
    """Files: two of one name, one of them used twice; tables, one of them with buckets; a path as an output."""

    def module_fn() -> None:
        paths = []
        for place, lines in (("a", ["cat", "dog"]), ("b", ["dog", "horse", "cat"])):
            (folder / place).mkdir(exist_ok=True, parents=True)
            paths.append(folder / place / "vocab.txt")
            paths[-1].write_text("".join(f"{line}\n" for line in lines))
        words = v1.placeholder(tf.string, [None], name="words")
        ids = []
        for path in (*paths, paths[0]):
            initializer = tf.lookup.TextFileInitializer(
                str(path), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            ids.append(tf.lookup.StaticVocabularyTable(initializer, 2).lookup(words))
        weights = v1.get_variable("weights", [5, 2], initializer=v1.random_normal_initializer(seed=3))
        outputs = {"default": tf.nn.embedding_lookup(weights, ids[1]), "first": ids[0], "again": ids[2]}
        hub.add_signature(inputs={"words": words}, outputs=outputs)
        content = tf.constant(str(paths[1]))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, content)
        hub.add_signature("content", outputs=tf.io.read_file(content))

    return module_fn


def composed(hub: Any, folder: Path) -> Callable[..., None]:
    """Sparse and ragged tensors in and out."""

    def module_fn() -> None:
        sparse = v1.sparse_placeholder(tf.float32, [None, 4], name="sparse")
        ragged = v1.ragged.placeholder(tf.int64, 2, [], name="ragged")
        w = v1.get_variable("w", [4, 2], initializer=v1.random_normal_initializer())
        outputs = {
            "default": tf.sparse.sparse_dense_matmul(sparse, w),
            "ragged": ragged.with_flat_values(ragged.flat_values * 2),
            "sparse": tf.SparseTensor(sparse.indices, sparse.values + 1, sparse.dense_shape),
        }
        hub.add_signature(inputs={"sparse": sparse, "ragged": ragged}, outputs=outputs)

    return module_fn


def branched(hub: Any, folder: Path) -> Callable[..., None]:
    """Loops and branches of both kinds, and a function."""

    def module_fn(control_flow_v2: bool) -> None:
        was_v2 = v1.control_flow_v2_enabled()
        (v1.enable_control_flow_v2 if control_flow_v2 else v1.disable_control_flow_v2)()
        try:
            x = v1.placeholder(tf.float32, [2], name="x")
            n = v1.placeholder(tf.int32, [], name="n")
            w = v1.get_variable("w", [2], initializer=v1.random_normal_initializer(1.0, 0.1))
            _, power = tf.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * w * x), [0, tf.ones([2])])
            chosen = tf.cond(tf.reduce_sum(x) > 0, lambda: power * w, lambda: power - w)
            outputs = {"default": chosen, "called": tf.function(lambda y: tf.sin(y) * w)(x)}
            hub.add_signature(inputs={"x": x, "n": n}, outputs=outputs)
        finally:
            (v1.enable_control_flow_v2 if was_v2 else v1.disable_control_flow_v2)()

    return module_fn


@dataclass(frozen=True)
class Case:
    """One module: how it is built, and calls of it."""

    make: Callable[[Any, Path], Callable[..., None]]
    calls: dict[str, dict[str, Any]]
    """Inputs by signature, each as `as_tensor` reads it."""
    tags_and_args: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (((), {}),)


_X = np.array([[1, 2, -3], [0.5, -1, 4]], np.float32)
_BRANCHED = {"default": {"x": np.array([0.5, 2], np.float32), "n": np.int32(3)}}
CASES = {
    "linear": Case(linear, {"default": {"default": _X}, "double": {"x": _X}, "bias": {}}),
    "trained": Case(
        trained, {"default": {"default": _X}}, (((), {"training": False}), (("train",), {"training": True}))
    ),
    "looked_up": Case(looked_up, {"default": {"words": np.array([b"dog", b"cat", b"cow"])}, "content": {}}),
    "composed": Case(
        composed,
        {
            "default": {
                "sparse": ("sparse", np.array([[0, 1], [1, 3]]), np.array([2, -1], np.float32), np.array([2, 4])),
                "ragged": ("ragged", np.array([1, 2, 3]), np.array([0, 2, 2]), np.array([0, 1, 3])),
            }
        },
    ),
    "branched": Case(
        branched, _BRANCHED, (((), {"control_flow_v2": False}), (("functional",), {"control_flow_v2": True}))
    ),
}


def make_spec(hub: Any, name: str, folder: Path) -> Any:
    """The spec of a case; files that it reads are written into `folder`."""
    case = CASES[name]
    return hub.create_module_spec(
        case.make(hub, folder / name), [(set(tags), args) for tags, args in case.tags_and_args]
    )


def as_tensor(value: Any) -> Any:
    """A tensor; a tuple that begins with "sparse" or "ragged" holds the parts of one (of ragged ones, splits last)."""
    if not isinstance(value, tuple):
        return tf.constant(value)
    kind, *parts = value
    if kind == "sparse":
        return tf.SparseTensor(*parts)
    return tf.RaggedTensor.from_nested_row_splits(parts[0], parts[1:])


def components(value: Any) -> list[Any]:
    """The dense tensors that a tensor consists of."""
    if isinstance(value, tf.SparseTensor):
        return [value.indices, value.values, value.dense_shape]
    if isinstance(value, tf.RaggedTensor):
        return [value.flat_values, *value.nested_row_splits]
    return [value]
