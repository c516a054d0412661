"""Runs exports in every way that there is, in a process without hubkeras; `saving.in_a_process` starts it."""

import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags
from tensorflow.python.tools import saved_model_cli


def load(path, inputs):
    """`tf.saved_model.load`, in one line."""
    outputs = tf.saved_model.load(path).signatures["serving_default"](**{k: tf.constant(v) for k, v in inputs.items()})
    return next(iter(outputs.values())).numpy()


def session(path, inputs):
    """The loader of TF1, as TF Serving does it."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as running:
        signature = tf.compat.v1.saved_model.load(running, ["serve"], path).signature_def["serving_default"]
        (output,) = signature.outputs.values()
        return running.run(output.name, {signature.inputs[k].name: v for k, v in inputs.items()})


def command(path, inputs):
    """`saved_model_cli run`."""
    given = ";".join(f"{k}={v.tolist()!r}" for k, v in inputs.items())
    where = [f"--dir={path}", "--tag_set=serve", "--signature_def=serving_default"]
    flags.FLAGS(["saved_model_cli", *where, f"--input_exprs={given}", f"--outdir={path}/outputs"])
    saved_model_cli.run()
    (output,) = Path(path, "outputs").glob("*.npy")
    return np.load(output)


def litert(path, inputs):
    """The interpreter of LiteRT."""
    warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated", UserWarning)
    converter = tf.lite.TFLiteConverter.from_saved_model(path)
    runner = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner("serving_default")
    return next(iter(runner(**inputs).values()))


folder = Path(sys.argv[1])
jobs = pickle.loads((folder / "jobs").read_bytes())
ways = {"load": load, "session": session, "command": command, "litert": litert}
results = {}
for key, (path, inputs, names) in jobs.items():
    for name in names:
        try:
            results[f"{key} {name}"] = ways[name](path, inputs)
        except Exception as error:  # the test tells which one
            results[f"{key} {name}"] = f"{type(error).__name__}: {error}"
assert "hubkeras" not in sys.modules
(folder / "results").write_bytes(pickle.dumps(results))
