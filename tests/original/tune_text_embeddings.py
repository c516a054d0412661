"""Loads text embeddings with the original implementation, and trains each for one step.

Runs where tensorflow-hub 0.15 is (on TensorFlow 2.15), without hubkeras; `tests/publishing/test_text_embeddings.py`
starts it:

    python tune_text_embeddings.py texts.json module...

Prints a JSON object: for each module, the vectors of the texts before and after a step of gradient descent on their
mean square with learning rate 1, and the shapes in its `variable_map`.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf
import tensorflow_hub as hub

v1 = tf.compat.v1


def tune(path, texts):
    """Vectors before and after, and shapes."""
    with tf.Graph().as_default(), v1.Session() as session:
        module = hub.Module(path, trainable=True)
        vectors = module(tf.constant(texts))
        step = v1.train.GradientDescentOptimizer(1.0).minimize(tf.reduce_mean(tf.square(vectors)))
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        before = session.run(vectors).tolist()
        session.run(step)
        shapes = {name: shape(variable) for name, variable in module.variable_map.items()}
        return {"before": before, "after": session.run(vectors).tolist(), "shapes": shapes}


def shape(variable):
    """The shape of a variable, or the shapes of its parts."""
    return [shape(part) for part in variable] if isinstance(variable, list) else variable.shape.as_list()


if __name__ == "__main__":
    if hub.__version__ != "0.15.0":
        sys.exit(f"tensorflow-hub is {hub.__version__}, not 0.15.0")
    given = json.loads(Path(sys.argv[1]).read_text())
    sys.stdout.write("RESULT " + json.dumps({path: tune(path, given) for path in sys.argv[2:]}) + "\n")
