"""What holds for every test: golden values are of a CPU without reordered sums, and long files come first."""

import os

import pytest
from forks import collect_seldom

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

LONGEST_FIRST = (
    "tests/test_golden.py",
    "tests/batch/test_ray_data.py",
    "tests/test_fuzz.py",
    "tests/layers/test_distribution.py",
    "tests/publishing/test_keras_models.py",
    "tests/layers/test_saving_keras_files.py",
    "tests/layers/test_serving.py",
    "tests/layers/test_saving_saved_models.py",
    "tests/layers/test_training_optimizers.py",
    "tests/layers/test_saving_weights_and_copies.py",
    "tests/functions/test_variant_functions.py",
    "notebooks/",
    "tests/inspection/test_usage_code.py",
    "tests/formats/",
    "tests/conversion/",
    "tests/layers/",
)
"""Starts of the names of files that take longer than others; from a run with `--durations=100`."""


def pytest_collection_modifyitems(items):
    """Orders the files as two processes share them best; the tests of a file stay in their order."""
    items.sort(key=lambda item: next((i for i, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start)), 99))


@pytest.fixture(scope="session")
def two_inputs(tmp_path_factory):
    """A module that adds numbers to each row, and gives texts too."""
    from building import v1, write

    def variant(tags):
        del tags
        x, y = v1.placeholder("float32", [None, 2], "x"), v1.placeholder("int32", [None], "y")
        scale = v1.placeholder_with_default(v1.constant(1.0), [], "scale")
        total = (x + v1.cast(y, "float32")[:, None]) * scale
        outputs = {"default": total, "text": v1.as_string(y)}
        return {"default": ({"x": x, "y": y, "scale": scale}, outputs)}

    return write(tmp_path_factory.mktemp("modules") / "two", variant)


def pytest_collection_finish():
    """Has what tests made looked through for garbage, and not all that they import."""
    collect_seldom()
