"""What holds for every test: golden values are of a CPU without reordered sums, and long files come first."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

LONGEST_FIRST = (
    "tests/layers/test_distribution.py",
    "tests/test_fuzz.py",
    "tests/batch/test_ray_data.py",
    "tests/test_golden.py",
    "tests/publishing/test_keras_models.py",
    "tests/layers/test_saving_saved_models.py",
    "notebooks/",
    "tests/layers/test_training_optimizers.py",
    "tests/layers/test_saving_keras_files.py",
    "tests/layers/test_serving.py",
    "tests/inspection/test_usage_code.py",
    "tests/formats/",
    "tests/conversion/",
    "tests/layers/",
    "tests/functions/test_variant_functions.py",
)
"""Starts of the names of files that take longer than others; from a run with `--durations=100`."""


def pytest_collection_modifyitems(items):
    """Orders the files as two processes share them best; the tests of a file stay in their order."""
    items.sort(key=lambda item: next((i for i, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start)), 99))
