"""What hubkeras publishes, read by the original; and the other way round.

Needs a Python with tensorflow-hub 0.15.0 and TensorFlow 2.15, which HUBKERAS_ORIGINAL_PYTHON names; `.ci/original`
makes one.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from publishing import module_fns, recipes
from publishing.module_fns import CASES, as_tensor, components

ORIGINAL = os.environ.get("HUBKERAS_ORIGINAL_PYTHON")
SCRIPTS = Path(__file__).parents[1] / "original"
pytestmark = pytest.mark.skipif(
    not ORIGINAL, reason="HUBKERAS_ORIGINAL_PYTHON names no Python with tensorflow-hub 0.15.0 and TensorFlow 2.15"
)
CALLS = [
    (publisher, name, tags, signature)
    for publisher in ("hubkeras", "original")
    for name, case in CASES.items()
    for tags, _ in case.tags_and_args
    for signature in case.calls
]


def run(script, folder):
    done = subprocess.run([ORIGINAL, SCRIPTS / script, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Modules of both publishers, and what the original makes of them."""
    folder = tmp_path_factory.mktemp("published")
    for name in CASES:
        module_fns.make_spec(hubkeras, name, folder / "files").export(folder / "hubkeras" / name)
    run("module_functions.py", folder)
    with np.load(folder / "results.npz") as results:
        return folder, dict(results)


def compute(path, tags, signature, inputs):
    """What one call gives, by the names that `module_functions.py` uses."""
    module = hubkeras.load(path, tags=tags, train_tags=tags)
    with tf.GradientTape() as tape:
        given = {k: as_tensor(v) for k, v in inputs.items()}
        outputs = module(given, signature=signature, training=True, as_dict=True)
        found = {f"out/{k}/{i}": part for k, v in outputs.items() for i, part in enumerate(components(v))}
        terms = [tf.reduce_sum(part) for part in found.values() if part.dtype.is_floating]
        total = sum(terms + [loss() for loss in module.regularization_losses], tf.constant(0.0))
    variables = {v.name.split(":")[0]: v for v in module.variables}
    gradients = tape.gradient(total, {n: v for n, v in variables.items() if v.trainable}) if terms else {}
    for name, gradient in gradients.items():
        if gradient is not None:
            found[f"grad/{name}"] = tf.convert_to_tensor(gradient)
            variables[name].assign_sub(0.1 * found[f"grad/{name}"])
    return found | {f"after/{name}": v for name, v in variables.items()}


@pytest.mark.parametrize(("publisher", "name", "tags", "signature"), CALLS)
def test_both_compute_the_same(publisher, name, tags, signature, published):
    """Outputs, gradients and a step of training agree, whoever published the module."""
    folder, results = published
    key = f"{publisher}/{name}/{'+'.join(tags)}/{signature}/"
    want = {part.removeprefix(key): value for part, value in results.items() if part.startswith(key)}
    got = compute(folder / publisher / name, tags, signature, CASES[name].calls[signature])
    assert got.keys() == want.keys()
    for part, value in got.items():
        if value.dtype.is_floating:
            np.testing.assert_allclose(value, want[part], rtol=1e-4, atol=1e-5, err_msg=part)
        else:
            np.testing.assert_array_equal(value.numpy(), want[part], part)


def test_original_finds_what_it_published_itself(tmp_path):
    """The original finds in what hubkeras published all that it found in what it had published: collections, too."""
    recipes.publish(tmp_path)
    found = json.loads(run("read_published.py", tmp_path).split("RESULT ")[1])
    assert {name: differences for name, differences in found.items() if differences} == {}
    assert len(found) > 20
