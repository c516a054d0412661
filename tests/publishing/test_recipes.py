"""What the golden modules were made from, published by hubkeras: read by hubkeras, and by the original."""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest
import test_golden
from parity import read, variants

from publishing import recipes

ORIGINAL = os.environ.get("HUBKERAS_ORIGINAL_PYTHON")
VARIANTS = [v for v in variants("tf1_hub") if v.record.name not in recipes.UNAVAILABLE]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    written = recipes.publish(folder)
    assert written == {v.record.name for v in VARIANTS}
    return folder


@pytest.fixture
def variant(request, published):
    """A golden variant whose module is the one that hubkeras published."""
    record = dataclasses.replace(request.param.record, path=published / request.param.record.name)
    return dataclasses.replace(request.param, record=record)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.id, indirect=True)
def test_published_is_what_the_original_published(variant, tmp_path):
    """Initial values, signatures, outputs, gradients and five steps of training are those of the golden one."""
    test_golden.test_signatures(variant)
    test_golden.test_variables(variant)
    test_golden.test_image_information(variant)
    test_golden.test_outputs(variant)
    if "final" in variant.entry.get("training", {}):
        test_golden.test_training(variant, tmp_path)


@pytest.mark.skipif(
    not ORIGINAL, reason="HUBKERAS_ORIGINAL_PYTHON names no Python with tensorflow-hub 0.15.0 and TensorFlow 2.15"
)
def test_original_reads_published(published):
    """The original finds in what hubkeras published all that it found in what it had published itself."""
    script = Path(__file__).parents[1] / "original" / "read_published.py"
    done = subprocess.run([ORIGINAL, script, published], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.split("RESULT ")[1])
    assert {name: differences for name, differences in found.items() if differences} == {}
    assert len(found) == len({read(name).name for name in found}) > 20
