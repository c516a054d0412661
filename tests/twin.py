"""A twin of a module: every name as in the original, other contents."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

if TYPE_CHECKING:
    from pathlib import Path


def make_twin(path: Path, twin: Path) -> bool:
    """Copies a module; reverses the files of its tables and moves the constants of its library functions.

    Args:
        path: The module.
        twin: Where the copy goes.

    Returns:
        Whether anything differs now, so that the twin must give other outputs.
    """
    shutil.copytree(path, twin)
    binary, text = twin / "saved_model.pb", twin / "saved_model.pbtxt"
    saved = saved_model_pb2.SavedModel()
    if binary.exists():
        saved.ParseFromString(binary.read_bytes())
    else:
        text_format.Parse(text.read_text(), saved)
    tables = any("HashTable" in node.op for graph in saved.meta_graphs for node in graph.graph_def.node)
    changed = [tables and _reverse_assets(twin), _move_constants(saved)]
    if binary.exists():
        binary.write_bytes(saved.SerializeToString())
    else:
        text.write_text(text_format.MessageToString(saved))
    return any(changed)


def _reverse_assets(twin: Path) -> bool:
    files = list((twin / "assets").glob("*"))
    for file in files:
        file.write_bytes(b"\n".join(reversed(file.read_bytes().splitlines())) + b"\n")
    return bool(files)


def _move_constants(saved: saved_model_pb2.SavedModel) -> bool:
    functions = [function for graph in saved.meta_graphs for function in graph.graph_def.library.function]
    moved = False
    for node in (node for function in functions for node in function.node_def if node.op == "Const"):
        value = tf.make_ndarray(node.attr["value"].tensor)
        if value.dtype == np.float32:
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value + np.float32(1)))
            moved = True
    return moved
