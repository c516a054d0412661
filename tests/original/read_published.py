"""Has the original implementation read modules that hubkeras published, and compares with its own golden modules.

Runs where tensorflow-hub 0.15 is (on TensorFlow 2.15), without hubkeras; `tests/publishing/test_original.py` starts it:

    python read_published.py FOLDER

FOLDER holds modules that `tests/publishing/recipes.py` wrote, by the names of the golden ones. Each is recorded as the
golden one was: signatures, calls, collections, gradients, five steps of training, the export after them. Left out is
what takes long and depends on the signatures alone: refusals, and shapes of outputs for inputs of unknown shape.
Prints a JSON dict of what differs, by module.
"""

import json
import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="")
GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

import numpy as np  # noqa: E402
import tensorflow.compat.v1 as tf  # noqa: E402

tf.disable_v2_behavior()

from making import control, signatures, state, tables, text  # noqa: E402
from making.record_hub import Variant  # noqa: E402
from making.values import Store  # noqa: E402

RECIPES = {r.name: r for r in control.RECIPES + state.RECIPES + tables.RECIPES + text.RECIPES + signatures.RECIPES}
TOLERANCE = {"rtol": 2e-3, "atol": 2e-5}
"""That of trained variables in `tests/parity.py`; golden values may come from another CPU."""


class Quick(Variant):
    """A variant that is recorded in part; of what is not random, a call is made once and not twice."""

    def __init__(self, name, path, entry, store):
        super().__init__(RECIPES[name], str(path), entry["tags"], store)
        self._is_random, self._known = entry["stochastic"], {}

    def run(self, signature, inputs):
        key = signature, id(inputs)
        if self._is_random or key not in self._known:
            self._known[key] = super().run(signature, inputs)
        return self._known[key]

    def errors(self):
        return []

    def image(self):
        return {}

    def static_shapes(self, signature):
        return {}


LEFT_OUT = ("errors", "image", "static_shapes", "stochastic")


def record(name, path, wanted):
    """What the original makes of a module, as JSON, with the arrays."""
    store = Store()
    entries = [Quick(name, path, entry, store).record() for entry in wanted]
    return json.loads(json.dumps(entries)), store.arrays


def differences(got, want, where, arrays, golden):
    """Yields what differs, in words."""
    if isinstance(want, dict) and isinstance(got, dict):
        if want.get("random"):  # two draws of few values may be equal, which looks as if nothing were random
            got = {**{k: v for k, v in got.items() if k != "key"}, "random": True}
        if "key" in want and "kind" in want and got.get("kind") == want["kind"]:
            yield from compare(got["key"], want["key"], arrays, golden)
            return
        for key in sorted((want.keys() | got.keys()) - set(LEFT_OUT)):
            if key not in want or key not in got:
                yield f"{where}/{key}: only in {'published' if key in got else 'golden'}"
            else:
                yield from differences(got[key], want[key], f"{where}/{key}", arrays, golden)
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            yield from differences(a, b, f"{where}/{i}", arrays, golden)
    elif got != want:
        yield f"{where}: {got!r:.150}, not {want!r:.150}"


def compare(key, golden_key, arrays, golden):
    """Yields which parts of a recorded value differ."""
    parts = [name for name in golden if name == golden_key or name.startswith((f"{golden_key}/", f"{golden_key}#"))]
    for part in parts:
        want, got = golden[part], arrays[key + part[len(golden_key) :]]
        if want.shape != got.shape or want.dtype != got.dtype:
            yield f"{part}: {got.dtype}{got.shape}, not {want.dtype}{want.shape}"
        elif not is_close(got, want):
            yield f"{part}: {got!r:.80}, not {want!r:.80}"


def is_close(got, want):
    if want.dtype.kind in "fc":
        return np.allclose(got, want, equal_nan=True, **TOLERANCE)
    return np.array_equal(got, want)


if __name__ == "__main__":
    found = {}
    for path in sorted(Path(sys.argv[1]).iterdir()):
        with np.load(GOLDEN / "golden" / f"{path.name}.npz") as golden:
            wanted = json.loads((GOLDEN / "golden" / f"{path.name}.json").read_text())["tag_sets"]
            entries, arrays = record(path.name, path, wanted)
            found[path.name] = list(differences(entries, wanted, "", arrays, golden))
    sys.stdout.write("RESULT " + json.dumps(found) + "\n")
