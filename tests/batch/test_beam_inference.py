"""Apache Beam in this process: every element once, as the module computes it; errors and missing values.

The runner that comes with Beam starts no workers that could be killed.
"""

import json
from pathlib import Path

import pytest
from building import v1
from building import write as build

from batch.many_rows import ROWS, expect_each_once, expect_vectors, sentence
from hubkeras.batch import Predictor
from hubkeras.cli.demo import MODULE

beam = pytest.importorskip("apache_beam", reason="Beam is not installed: .ci/beam makes an environment with it")
# Of Beam itself, and of what it imports.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)


def run(elements, predictor, folder):
    """Computes elements by RunInference, and returns the numbers and vectors that were written."""
    from apache_beam.ml.inference.base import RunInference

    from hubkeras.batch.beam_inference import ModuleHandler

    def as_line(result):
        example = result.example
        return json.dumps([example["id"] if isinstance(example, dict) else 0, result.inference["default"].tolist()])

    with beam.Pipeline(runner="DirectRunner") as pipeline:
        results = pipeline | elements | RunInference(ModuleHandler(predictor))
        _ = results | beam.Map(as_line) | beam.io.WriteToText(str(folder / "vectors"))
    return [json.loads(line) for file in Path(folder).iterdir() for line in file.read_text().splitlines()]


def test_every_element_once(tmp_path):
    """And as the module computes it."""
    elements = beam.Create(range(ROWS)) | beam.Map(lambda row: {"id": row, "default": sentence(row)})
    found = run(elements, Predictor(MODULE, batch_size=512), tmp_path)
    expect_each_once([row for row, _ in found])
    some = found[:: ROWS // 50]
    expect_vectors([row for row, _ in some], [vector for _, vector in some])


def test_bare_values(tmp_path):
    """Elements of an only input need no names."""
    found = run(beam.Create([sentence(0)]), Predictor(MODULE), tmp_path)
    expect_vectors([0], [vector for _, vector in found])


def test_errors_arrive(tmp_path):
    """With what went wrong, and where."""

    def variant(tags):
        del tags
        y = v1.placeholder("int32", [None], "y")
        return {"default": ({"y": y}, {"default": v1.gather(v1.constant([1.0, 2.0]), y)})}

    predictor = Predictor(build(tmp_path / "checked", variant))
    with pytest.raises(Exception, match=r"(?s)Cannot apply signature 'default' .*indices"):
        run(beam.Create([{"y": 7}]), predictor, tmp_path)


def test_a_missing_value_is_named(tmp_path):
    """By its column."""
    elements = beam.Create([{"id": 1, "default": None}])
    with pytest.raises(Exception, match="Column 'default' holds no value in row 0 of 1"):
        run(elements, Predictor(MODULE), tmp_path)
