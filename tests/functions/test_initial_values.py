"""Values of variables that no checkpoint has."""

import numpy as np
import pytest
import tensorflow as tf
from building import write
from tensorflow.core.protobuf import saved_model_pb2

import hubkeras
from hubkeras.errors import FormatError


@pytest.fixture
def path(tmp_path):
    """A module with a local variable, which is not saved."""

    def build(tags):
        start = tf.raw_ops.CheckNumerics(tensor=tf.constant([1.0, 2.0], name="start"), message="not a number")
        w = tf.compat.v1.get_variable("w", initializer=start, collections=["local_variables"])
        return {"default": ({}, {"default": tf.identity(w)})}

    return write(tmp_path / "m", build)


def test_the_initializer_gives_the_value(path):
    assert hubkeras.load(path)().numpy().tolist() == [1.0, 2.0]


def test_an_initializer_that_fails_names_the_variable(path):
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (start,) = [n for n in proto.meta_graphs[0].graph_def.node if n.name == "start"]
    start.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.float32([1, np.nan])))
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    with pytest.raises(FormatError, match=r"(?s)the initial value of variable 'w'.*not a number") as info:
        hubkeras.load(path)
    assert isinstance(info.value.__cause__, tf.errors.InvalidArgumentError)
