"""Lookups in variables take rows from the variable, unless something else than reads and lookups uses it."""

import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from building import v1, write
from tensorflow.core.protobuf import saved_model_pb2

import hubkeras
from hubkeras.errors import FormatError

KINDS = ("resource", "reference", "reference_old", "partitioned", "in_front_of_a_loop")
IDS = np.int32([7, 0, 999, 7])


def table(rows, columns):
    """Row i holds i in its first column, made without a constant of that size in the graph."""

    def values(shape, dtype=None, partition_info=None):
        start = partition_info.var_offset[0] if partition_info else 0
        first = tf.cast(tf.range(start, start + shape[0]), tf.float32)[:, tf.newaxis]
        return tf.concat([first, tf.zeros([shape[0], columns - 1])], 1)

    return values


def embedding(kind, rows, columns=64):
    def build(tags):
        ids = v1.placeholder(tf.int32, [None], "ids")
        variable = v1.get_variable(
            "table",
            [rows, columns],
            initializer=table(rows, columns),
            use_resource=kind in {"resource", "in_front_of_a_loop"},
            partitioner=v1.fixed_size_partitioner(4) if kind == "partitioned" else None,
        )
        if kind == "reference_old":
            out = tf.raw_ops.Gather(params=variable.value(), indices=ids)
        elif kind == "partitioned":
            out = v1.nn.embedding_lookup(variable, ids, partition_strategy="div")
        else:
            out = tf.nn.embedding_lookup(variable, ids)
        if kind == "in_front_of_a_loop":
            _, out = v1.while_loop(lambda i, _: i < 2, lambda i, h: (i + 1, h * 1.0), [0, out])
        return {"default": ({"ids": ids}, {"default": out})}

    return build


def descend(module):
    """A function that takes a step of gradient descent, rows of a table as rows."""
    variables = module.trainable_variables

    @tf.function(autograph=False)
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((module(ids) - 1) ** 2)
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            assert isinstance(gradient, tf.IndexedSlices)
            variable.scatter_sub(gradient)
        return loss

    return step


def shortest(step, ids, times=15):
    def once():
        start = time.perf_counter()
        step(ids)
        return time.perf_counter() - start

    for _ in range(3):
        step(ids)
    return min(once() for _ in range(times))


@pytest.mark.parametrize("kind", ["reference", "partitioned", "in_front_of_a_loop"])
def test_a_step_does_not_touch_the_whole_table(kind, tmp_path):
    """A step on a million rows takes about as long as on a thousand; copying the table once takes ten times that."""
    ids, seconds = tf.constant(np.arange(32, dtype=np.int32)), {}
    for rows in (1000, 1_000_000):
        module = hubkeras.load(write(tmp_path / str(rows), embedding(kind, rows)))
        shutil.rmtree(tmp_path / str(rows))
        np.testing.assert_array_equal(module(IDS)[:, 0], IDS)
        seconds[rows] = shortest(descend(module), ids)
    assert seconds[1_000_000] < 3 * seconds[1000] + 0.004


def ops(module):
    return module.variant().function("default").bound.graph.ops


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_reads_the_variable(kind, tmp_path):
    module = hubkeras.load(write(tmp_path, embedding(kind, 1000, 2)))
    assert "ReadVariableOp" not in ops(module)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(module(IDS) * [[1.0, 0], [2, 0], [3, 0], [4, 0]])
    gradient = np.concatenate([tf.convert_to_tensor(g) for g in tape.gradient(loss, module.trainable_variables)])
    assert {i: gradient[i, 0] for i in np.flatnonzero(gradient[:, 0])} == {0: 2, 7: 5, 999: 3}


def small(name, use):
    """A module with a reference variable of four rows."""

    def build(tags):
        ids = v1.placeholder(tf.int32, [None], "ids")
        variable = v1.get_variable(name, initializer=tf.constant(np.eye(4, dtype=np.float32)), use_resource=False)
        return {"default": ({"ids": ids}, {"default": use(variable, ids)})}

    return build


def after_an_assignment(variable, ids):
    with tf.control_dependencies([variable.assign(variable + 1)]):
        return tf.gather(variable.read_value() + 0.0, ids) + 0 * tf.gather(variable, ids)


KEPT = {
    "columns": (lambda variable, ids: tf.gather(variable, ids, axis=1), np.eye(4)[:, [1]]),
    "also_multiplied": (lambda variable, ids: tf.gather(variable, ids) @ variable, np.eye(4)[[1]]),
    "scattered": (lambda variable, ids: tf.gather(v1.scatter_add(variable, [1], tf.ones([1, 4])), ids), [[1, 2, 1, 1]]),
    "assigned": (after_an_assignment, [[1, 2, 1, 1]]),
}


@pytest.mark.parametrize("name", KEPT)
def test_other_uses_are_left_alone(name, tmp_path):
    """Where values are assigned, or whole values are needed, results and gradients are those of the graph."""
    use, expected = KEPT[name]
    module = hubkeras.load(write(tmp_path, small(name, use)))
    np.testing.assert_array_equal(module(np.int32([1])), expected)


def test_a_lookup_in_what_is_multiplied_too(tmp_path):
    """Both uses add to the gradient."""
    module = hubkeras.load(write(tmp_path, small("w", lambda w, ids: tf.gather(w, ids) @ w)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(module(np.int32([2])))
    np.testing.assert_array_equal(
        tf.convert_to_tensor(tape.gradient(loss, module.variables[0])),
        [[0] * 4, [0] * 4, [2] * 4, [0] * 4] + 0 * np.eye(4),
    )


def lose_the_axis(graph, gather):
    del gather.input[2]


def give_a_huge_axis(graph, gather):
    (axis,) = [node for node in graph.node if node.name == gather.input[2]]
    axis.attr["value"].tensor.tensor_shape.dim.add(size=1 << 40)


@pytest.mark.parametrize("change", [lose_the_axis, give_a_huge_axis])
def test_a_lookup_that_is_malformed(tmp_path, change):
    path = write(tmp_path / "m", embedding("reference", 10))
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0].graph_def
    (gather,) = [node for node in graph.node if node.op == "GatherV2"]
    change(graph, gather)
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    with pytest.raises(FormatError):
        hubkeras.load(path)(IDS)
