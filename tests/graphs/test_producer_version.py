"""Graphs of earlier versions of TensorFlow become part of today's, silently, and mean what they meant."""

import os
import re
import subprocess
import sys

import forks
import numpy as np
import pytest
import tensorflow as tf
from building import v1, variable, write
from savedmodel.builder import node, placeholder
from tensorflow.core.framework import versions_pb2
from tensorflow.core.protobuf import saved_model_pb2

from hubkeras.graphs.producer_version import raise_producer
from hubkeras.graphs.subgraph import Subgraph

CURRENT = tf.version.GRAPH_DEF_VERSION
SCRIPT = """
import os, sys
import tensorflow as tf
import tensorflow_hub
import hubkeras, keras

def call(hub, path):
    signature = hub.load(path).signatures["default"]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = signature(x)["default"]
    tape.gradient(y, x)

x = tf.ones([2, 3])
print("=== theirs", file=sys.stderr, flush=True)
call(tensorflow_hub, sys.argv[1])
print("=== ours", file=sys.stderr, flush=True)
for path in sys.argv[1:]:
    call(hubkeras, path)
    model = keras.Sequential([keras.Input([3]), hubkeras.KerasLayer(path, trainable=True), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, tf.ones([2, 1]), verbose=0)
    model.predict(x, verbose=0)
"""


def dense(in_loop):
    def build(tags):
        x, w = v1.placeholder(tf.float32, [None, 3], "x"), variable("w", np.eye(3, dtype=np.float32))
        y = v1.while_loop(lambda i, _: i < 2, lambda i, h: (i + 1, h @ w), [0, x])[1] if in_loop else x @ w
        v1.add_to_collection(v1.GraphKeys.REGULARIZATION_LOSSES, tf.nn.l2_loss(w))
        assign = variable("count", np.float32(0)).assign_add(1.0) if "train" in tags else tf.no_op()
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, assign)
        return {"default": ({"x": x}, {"default": y})}

    return build


def made_by(producer, path):
    """Makes a module say that it was written long ago."""
    file = path / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        meta_graph.graph_def.versions.producer = producer
    file.write_bytes(saved_model.SerializeToString())
    return path


def test_an_old_module_is_as_silent_as_with_tensorflow_hub(tmp_path):
    """Loading, calling and training it logs no kind of line that loading and calling it there does not log."""
    pytest.importorskip("tensorflow_hub")
    paths = [made_by(26, write(tmp_path / f"m{loop}", dense(loop), [(), ("train",)])) for loop in (False, True)]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"} | forks.ANEW
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *paths], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    theirs, ours = ({_kind(line) for line in part.splitlines()} for part in run.stderr.split("=== ours\n"))
    assert not ours - theirs


def _kind(line):
    return re.sub(r"[\d:.]+", "", line)


@pytest.mark.parametrize(
    ("producer", "op", "raised"),
    [
        (26, "Relu", CURRENT),
        (22, "Relu", CURRENT),
        (21, "Relu", 21),
        (0, "Relu", 0),
        (CURRENT + 1, "Relu", CURRENT + 1),
        (24, "RandomPoisson", 24),
    ],
    ids=["young", "just_young_enough", "old", "unknown", "of_the_future", "with_a_deprecated_op"],
)
def test_a_graph_says_it_is_of_today_where_it_means_the_same(producer, op, raised):
    versions = versions_pb2.VersionDef(producer=producer, min_consumer=12, bad_consumers=[3])
    graph = raise_producer(Subgraph({"x": placeholder("x"), "y": node("y", op, "x")}, versions=versions))
    assert graph.versions == versions_pb2.VersionDef(producer=raised, min_consumer=12, bad_consumers=[3])
    assert versions.producer == producer
