"""Trains published modules with the original implementation; `tests/publishing` runs it in an environment of its own.

    python check_published.py FOLDER

Each sub-folder has a module, `inputs.npz` and `steps.txt`, and gets a trajectory as `tests/publishing/trajectories.py`
says, in `trajectory.npz`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub

v1 = tf.compat.v1
RATE = 0.05


def main(folder):
    """Runs every job, and prints what failed."""
    failed = {}
    for path in sorted(Path(folder).iterdir()):
        try:
            with np.load(path / "inputs.npz", allow_pickle=True) as inputs:
                found = train(str(path / "module"), dict(inputs), int((path / "steps.txt").read_text()))
            np.savez(path / "trajectory.npz", **{k.replace("/", "|"): v for k, v in found.items()})
        except Exception as error:
            failed[path.name] = f"{type(error).__name__}: {error}"
    sys.stdout.write(f"FAILED {json.dumps(failed)}\n")


def train(path, inputs, steps):
    """Returns the trajectory of a module."""
    with tf.Graph().as_default():
        infer = apply(hub.Module(path, name="infer"), inputs)
        with v1.Session() as session:
            session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            found = {f"infer/{k}": v for k, v in session.run(infer).items()}
    with tf.Graph().as_default():
        module = hub.Module(path, trainable=True, tags={"train"})
        outputs = apply(module, inputs)
        regularization = v1.losses.get_regularization_losses()
        floating = [o for o in outputs.values() if o.dtype.is_floating]
        squares = [tf.reduce_mean(tf.square(tf.cast(o, tf.float32))) for o in floating]
        trainable = {name_of(v): v for v in v1.trainable_variables()}
        gradients = tf.gradients(tf.add_n([*squares, *regularization]), list(trainable.values()))
        gradients = {k: tf.convert_to_tensor(g) for k, g in zip(trainable, gradients, strict=True) if g is not None}
        fed = {k: v1.placeholder(g.dtype) for k, g in gradients.items()}
        descent = [v1.assign_sub(trainable[k], RATE * f) for k, f in fed.items()]
        updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
        total = tf.reduce_sum([tf.cast(x, tf.float64) for x in regularization])
        with v1.Session() as session:
            session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            for step in range(steps):
                got, slopes, loss, _ = session.run([outputs, gradients, total, updates])
                found |= {f"{step}/output/{k}": v for k, v in got.items()}
                found |= {f"{step}/gradient/{k}": v for k, v in slopes.items()}
                found[f"{step}/regularization"] = loss
                session.run(descent, {fed[k]: slopes[k] for k in fed})
                values = session.run({k: v for k, v in module.variable_map.items()})
                found |= {f"{step}/variable/{k}": v for k, v in values.items()}
    return {k: np.asarray(v).astype("S") if np.asarray(v).dtype == object else np.asarray(v) for k, v in found.items()}


def apply(module, inputs):
    """Returns the outputs of the default signature."""
    given = {
        k: tf.constant(v.tolist(), tf.string) if v.dtype.kind in "SO" else tf.constant(v) for k, v in inputs.items()
    }
    return module(given, as_dict=True)


def name_of(variable):
    """Returns a variable's name in the module."""
    return variable.op.name.split("/", 1)[1]


main(sys.argv[1])
