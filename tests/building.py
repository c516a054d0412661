"""Writes modules in TF1 Hub format from graphs built by today's TensorFlow, for what no golden module holds.

    path = write(folder, lambda tags: {"default": (inputs, outputs)})

The function builds one graph variant: in `tf.compat.v1` code, with v1 control flow and resource variables unless it
asks for others. Collections travel as they do in an exporter; variables take the values of their initializers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from hubkeras.functions.build_lock import control_flow_v1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

v1 = tf.compat.v1
Signatures = "Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]"
_COLLECTIONS = ("variables", "trainable_variables", "update_ops", "regularization_losses", "cond_context")
_COLLECTIONS += ("while_context", "table_initializer")


def write(path: Path, build: Callable[[frozenset[str]], Signatures], variants: Iterable[Iterable[str]] = ((),)) -> Path:
    """Writes the directory and returns it.

    Args:
        path: The directory.
        build: Builds one variant in the default graph, given its tags; returns inputs and outputs by signature.
        variants: The tags of each variant; the last one's graph gives the variables their values.
    """
    saved_model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    path.mkdir(parents=True, exist_ok=True)
    for tags in map(frozenset, variants):
        with control_flow_v1(), tf.Graph().as_default() as graph, v1.variable_scope("", use_resource=True):
            signatures = build(tags)
            saved_model.meta_graphs.append(_meta_graph(graph, tags, signatures))
            _save_values(path)
    (path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    (path / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return path


def _meta_graph(graph: tf.Graph, tags: frozenset[str], signatures: Signatures) -> Any:
    kept = [c for c in _COLLECTIONS if graph.get_collection(c)]
    meta_graph = v1.train.export_meta_graph(graph=graph, collection_list=kept)
    meta_graph.meta_info_def.tags.extend(sorted(tags))
    for name, (inputs, outputs) in signatures.items():
        signature = meta_graph.signature_def[name]
        for infos, tensors in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for key, tensor in tensors.items():
                infos[key].CopyFrom(_tensor_info(tensor))
    return meta_graph


def _tensor_info(tensor: Any) -> Any:
    shape = tensor.shape.as_proto()
    return meta_graph_pb2.TensorInfo(name=tensor.name, dtype=tensor.dtype.as_datatype_enum, tensor_shape=shape)


def _save_values(path: Path) -> None:
    variables = v1.global_variables()
    if variables:
        saver = v1.train.Saver(variables, write_version=v1.train.SaverDef.V2)
        with v1.Session() as session:
            session.run(v1.variables_initializer(variables))
            saver.save(session, str(path / "variables" / "variables"), write_meta_graph=False, write_state=False)


class SimpleCell:
    """A recurrent cell without parameters of its own class: `tanh([x, h] @ w)`, with dropout on what it gives."""

    def __init__(self, size: int, w: Any, keep_prob: float = 1.0) -> None:
        self.output_size = self.state_size = size
        self._w, self._keep = w, keep_prob

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return tf.zeros([batch_size, self.state_size], dtype)

    def __call__(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        output = tf.tanh(tf.matmul(tf.concat([inputs, state], 1), self._w))
        output = v1.nn.dropout(output, rate=1 - self._keep) if self._keep < 1 else output
        return output, output


def variable(name: str, value: Any, **kwargs: Any) -> Any:
    """Makes a variable that starts as `value`."""
    return v1.get_variable(name, initializer=tf.constant(value), **kwargs)
