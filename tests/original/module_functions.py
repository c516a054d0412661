"""Publishes the modules of `tests/publishing/module_fns.py` with the original, and records what it computes with them.

Runs where tensorflow-hub 0.15 is (on TensorFlow 2.15), without hubkeras; `tests/publishing/test_original.py` starts it:

    python module_functions.py FOLDER

Writes modules into FOLDER/original; FOLDER/hubkeras holds those that hubkeras published. What the original makes of
both goes into FOLDER/results.npz: outputs, gradients, and all variables after one step of training, by module, graph
variant and signature.
"""

import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="")
sys.path.insert(0, str(Path(__file__).parents[1] / "publishing"))

import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_hub as hub
from module_fns import CASES, as_tensor, components, make_spec
from tensorflow_hub.image_util import ImageModuleInfo

RATE = 0.1
hub.ImageModuleInfo = ImageModuleInfo


def write(name, folder):
    spec = make_spec(hub, name, folder / "files")
    with tf.Graph().as_default(), tf.Session() as session:
        module = hub.Module(spec, tags=min(spec.get_tags(), key=sorted))
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        module.export(str(folder / "original" / name), session)


def compute(path, tags, signature, inputs):
    """What one call gives, by "out/NAME/PART", "grad/VARIABLE" and "after/VARIABLE"."""
    with tf.Graph().as_default():
        module = hub.Module(str(path), trainable=True, tags=set(tags))
        outputs = module({k: as_tensor(v) for k, v in inputs.items()}, signature=signature, as_dict=True)
        fetches = {f"out/{k}/{i}": part for k, v in outputs.items() for i, part in enumerate(components(v))}
        terms = [tf.reduce_sum(part) for part in fetches.values() if part.dtype.is_floating]
        terms += tf.get_collection("regularization_losses")
        variables = tf.trainable_variables()
        gradients = tf.gradients(tf.add_n(terms), variables) if terms else [None] * len(variables)
        pairs = [(tf.convert_to_tensor(g), v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        fetches |= {f"grad/{own_name(v)}": g for g, v in pairs}
        with tf.control_dependencies([g for g, _ in pairs]):
            step = tf.train.GradientDescentOptimizer(RATE).apply_gradients(pairs) if pairs else tf.no_op()
        with tf.Session() as session:
            session.run([tf.global_variables_initializer(), tf.tables_initializer()])
            found = session.run(fetches)
            session.run([step, tf.get_collection("update_ops")])
            return found | session.run({f"after/{own_name(v)}": v for v in tf.global_variables()})


def own_name(variable):
    return variable.op.name[len("module/") :]


def storable(value):
    """Arrays of bytes objects do not go into an npz file without pickles."""
    array = np.asarray(value)
    return array.astype(bytes) if array.dtype == object else array


if __name__ == "__main__":
    folder, results = Path(sys.argv[1]), {}
    for name, case in CASES.items():
        write(name, folder)
        for publisher in ("original", "hubkeras"):
            for tags, _ in case.tags_and_args:
                for signature, inputs in case.calls.items():
                    found = compute(folder / publisher / name, tags, signature, inputs)
                    key = f"{publisher}/{name}/{'+'.join(tags)}/{signature}"
                    results.update({f"{key}/{part}": storable(value) for part, value in found.items()})
    np.savez(folder / "results.npz", **results)
