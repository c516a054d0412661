"""Time of a call, on small modules, against tensorflow_hub's signatures and a layer of Keras.

Run by hand, with tensorflow_hub 0.16.1 and tf_keras installed:

    python benchmarks/calls.py [MODULE] [--loops MODULE] [--rounds 1000]

What is compared takes turns in one process, so that a busy machine slows all of it. Printed are times and their ratios.
Inputs have two rows; unknown dimensions are 3.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import tensorflow_hub

import hubkeras

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
LOOPS = ROOT / "tests/golden/modules/nested_loops"


def main() -> None:
    """Measures and prints both modules."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", nargs="?", help="one with a signature 'default' of one input; a dense layer if none")
    parser.add_argument("--loops", default=LOOPS, help="one with v1 control flow, as ELMo has")
    parser.add_argument("--rounds", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = arguments.module or write_dense(Path(directory) / "dense")
        measure_small(path, arguments.rounds)
    measure_loops(arguments.loops, arguments.rounds)


def write_dense(path: Path) -> Path:
    """Writes a module that is as much as a dense layer."""
    sys.path.insert(0, str(ROOT / "tests"))
    from building import v1, variable, write

    def build(tags: frozenset[str]) -> Any:
        x = v1.placeholder(tf.float32, [None, 3], "x")
        y = x @ variable("kernel", np.eye(3, dtype=np.float32)) + variable("bias", np.zeros(3, np.float32))
        return {"default": ({"x": x}, {"default": y})}

    return write(path, build)


def measure_small(path: str | Path, rounds: int) -> None:
    """Compares all ways of calling a module with the cheapest there is elsewhere."""
    theirs, module, layer = tensorflow_hub.load(str(path)), hubkeras.load(path), hubkeras.KerasLayer(path)
    ((name, info),) = module.get_input_info_dict("default").items()
    x, dense, rows = example(info), keras.layers.Dense(3), tf.ones([2, 3])
    seconds = measure(
        {
            "theirs": lambda: theirs.signatures["default"](**{name: x}),
            "signature": lambda: module.signatures["default"](**{name: x}),
            "module": lambda: module(x),
            "dense": lambda: dense(rows),
            "layer": lambda: layer(x),
        },
        rounds,
    )
    report("module.signatures[n](x) against tensorflow_hub's", seconds["signature"], seconds["theirs"])
    report("module(x) against tensorflow_hub's signature", seconds["module"], seconds["theirs"])
    report("layer(x) against Keras' Dense", seconds["layer"], seconds["dense"])


def measure_loops(path: str | Path, rounds: int) -> None:
    """Compares calls that no tape watches, where a gradient could be taken but is not asked for."""
    theirs, module = tensorflow_hub.load(str(path)).signatures["default"], hubkeras.load(path).signatures["default"]
    inputs = {name: example(info) for name, info in hubkeras.load(path).get_input_info_dict("default").items()}
    traced_theirs, traced = (tf.function(f, autograph=False) for f in (lambda x: theirs(**x), lambda x: module(**x)))
    seconds = measure(
        {
            "theirs": lambda: theirs(**inputs),
            "signature": lambda: module(**inputs),
            "traced_theirs": lambda: traced_theirs(inputs),
            "traced": lambda: traced(inputs),
        },
        rounds,
    )
    report("v1 control flow, eager", seconds["signature"], seconds["theirs"])
    report("v1 control flow, in a tf.function", seconds["traced"], seconds["traced_theirs"])


def example(info: Any) -> tf.Tensor:
    """Returns an input of the dtype and shape that a signature asks for."""
    sizes = [size or (3 if axis else 2) for axis, size in enumerate(info.get_shape() or ())]
    return tf.fill(sizes, "the cat is on the mat") if info.dtype == tf.string else tf.ones(sizes, info.dtype)


def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Returns the first decile of the seconds that each call takes, by name: the least depends on luck."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.quantiles(found, n=10)[0] for name, found in seconds.items()}


def report(what: str, ours: float, theirs: float) -> None:
    """Prints a line."""
    print(f"{what:50} {ours * 1e6:7.0f} µs {theirs * 1e6:7.0f} µs  {ours / theirs:5.2f}")


if __name__ == "__main__":
    main()
