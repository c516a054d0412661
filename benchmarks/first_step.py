"""Time of the first step of training on MobileNet V2 as a module, against Keras' own.

Run by hand:

    python benchmarks/first_step.py [MODULE] [--size 224] [--repeats 3]

Without a module one is written first. Each measurement is a process of its own, from the call of `fit` to its end:
tracing, building the gradient, and one batch of four images.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MEASURE = """
import sys, time
import keras, numpy as np, tensorflow as tf
import hubkeras
size, path = int(sys.argv[1]), sys.argv[2]
if path:
    images = hubkeras.KerasLayer(path, trainable=True)
else:
    images = keras.applications.MobileNetV2((size, size, 3), weights=None, include_top=False, pooling="avg")
model = keras.Sequential([keras.Input((size, size, 3)), images, keras.layers.Dense(5)])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
x, y = np.random.default_rng(0).uniform(size=(4, size, size, 3)).astype("float32"), np.arange(4)
start = time.perf_counter()
model.fit(x, y, batch_size=4, verbose=0)
print(time.perf_counter() - start)
"""


def measure(size: int, path: str) -> float:
    """Returns the seconds of the first step, of Keras' own model where the path is empty."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MEASURE, str(size), path]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(result.stdout.split()[-1])


def main() -> None:
    """Measures both in turn and prints the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", nargs="?", help="one with a signature 'default' of images")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        module = arguments.module or str(Path(directory) / "module")
        if not arguments.module:
            sys.path.insert(0, str(Path(__file__).parent))
            from mobilenet_like import write_mobilenet_like

            write_mobilenet_like(Path(module), arguments.size)
        seconds: dict[str, list[float]] = {"Keras' MobileNetV2": [], "the module": []}
        for _ in range(arguments.repeats):
            for path, (name, found) in zip(("", module), seconds.items(), strict=True):
                found.append(measure(arguments.size, path))
                print(f"{name:20} {found[-1]:6.2f} s")
    theirs, ours = map(statistics.median, seconds.values())
    print(f"first step: the module takes {ours / theirs:.2f} of Keras' time")


if __name__ == "__main__":
    main()
