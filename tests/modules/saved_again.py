"""Calls saved modules in a process without hubkeras; `test_saving` starts it."""

import pickle
import sys
import warnings
from pathlib import Path

import tensorflow as tf

warnings.simplefilter("error")
folder = Path(sys.argv[1])
results = {}
for key, (path, calls) in pickle.loads((folder / "jobs").read_bytes()).items():
    loaded = tf.saved_model.load(path)
    results[key] = {}
    for name, values in calls.items():
        given = {k: tf.constant(v) for k, v in values.items()}
        outputs = tf.saved_model.load(path).signatures[name](**given) if name else loaded(*given.values())
        flat = tf.nest.flatten(outputs, expand_composites=True)
        results[key][name] = sorted(outputs) if name else None, [tensor.numpy() for tensor in flat]
assert "hubkeras" not in sys.modules
(folder / "results").write_bytes(pickle.dumps(results))
