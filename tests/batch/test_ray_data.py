"""Ray Data on this machine: every row once, though a worker is killed; errors; `hubkeras run --engine ray`."""

import json
import sys

import forks
import pyarrow as pa
import pytest
from building import v1
from building import write as build
from pyarrow import parquet

from batch.many_rows import ROWS, expect_each_once, expect_vectors, sentence
from batch.workers import kill_worker
from hubkeras.batch import Predictor
from hubkeras.cli.demo import MODULE
from hubkeras.cli.main import main
from hubkeras.errors import WorkerError

# Of Ray itself, and of what it imports.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module")
def ray():
    """Ray with two workers in this machine, which speak to nobody else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", forks.PLOTLESS["PYTHONPATH"])
        import ray
        import ray.data

        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A file of many texts with their numbers."""
    path = tmp_path_factory.mktemp("texts") / "texts.parquet"
    table = pa.table({"id": pa.array(range(ROWS)), "default": [sentence(row) for row in range(ROWS)]})
    parquet.write_table(table, path, row_group_size=10_000)
    return path


def test_every_row_once_though_a_worker_dies(ray, texts):
    """Killed while it computes; Ray starts another one, and its rows are neither lost nor there twice."""
    from hubkeras.batch.ray_data import map_batches

    table = parquet.read_table(texts)
    rows = ray.data.from_arrow([table.slice(start, 2000) for start in range(0, ROWS, 2000)])
    computed = map_batches(rows, Predictor(MODULE, batch_size=64), concurrency=2, num_cpus=0.9)
    tables, killed = [], 0
    for table in computed.iter_batches(batch_size=None, batch_format="pyarrow"):
        killed = killed or kill_worker("ray::MapWorker")
        tables.append(table)
    found = pa.concat_tables(tables)
    assert killed
    expect_each_once(found["id"].to_pylist())
    few = found.slice(ROWS // 2, 50)
    expect_vectors(few["id"].to_pylist(), few["default"].to_pylist())


def test_the_command_keeps_order_and_other_columns(ray, texts, tmp_path):
    """One file in, one file out."""
    source, result, rows = tmp_path / "texts.parquet", tmp_path / "vectors.parquet", 10_000
    parquet.write_table(parquet.read_table(texts).slice(0, rows), source, row_group_size=1000)
    arguments = ["--engine", "ray", "--inputs", str(source), "--output", str(result), "--batch", "256"]
    assert main(["run", str(MODULE), *arguments]) == 0
    found = parquet.read_table(result)
    assert found.column_names == ["id", "default"]
    assert found["id"].to_pylist() == list(range(rows))
    expect_vectors(range(rows - 50, rows), found["default"].slice(rows - 50).to_pylist())
    assert {path.name for path in tmp_path.iterdir()} == {"texts.parquet", "vectors.parquet"}


def test_the_command_reads_text(ray, two_inputs, tmp_path):
    """Numbers in a file of text, an input for all rows, and lines as a result; as this process computes them."""
    source, result = tmp_path / "rows.csv", tmp_path / "out.jsonl"
    source.write_text("vector,y,name\n" + "".join(f'"[{row}, 0.5]",{row},n{row}\n' for row in range(5)))
    arguments = ["--inputs", str(source), "--column", "x=vector", "--input", "scale=2", "--output", str(result)]
    for engine in ("ray", "local"):
        assert main(["run", str(two_inputs), "--engine", engine, *arguments, "--batch", "2"]) == 0
        lines = [json.loads(line) for line in result.read_text().splitlines()]
        rows = range(5)
        want = [{"name": f"n{row}", "default": [4.0 * row, 2.0 * row + 1], "text": str(row)} for row in rows]
        assert lines == want


def test_errors_of_workers_arrive(ray, tmp_path):
    """As they were raised there, with what went wrong."""
    from hubkeras.batch.ray_data import error_of_worker, map_batches

    def variant(tags):
        del tags
        y = v1.placeholder("int32", [None], "y")
        return {"default": ({"y": y}, {"default": v1.gather(v1.constant([1.0, 2.0]), y)})}

    module = build(tmp_path / "checked", variant)
    rows = ray.data.from_arrow(pa.table({"y": pa.array([0, 7], pa.int32())}))
    with pytest.raises(WorkerError, match="indices") as raised:
        map_batches(rows, Predictor(module), concurrency=1).materialize()
    assert str(error_of_worker(raised.value)).startswith("Cannot apply signature 'default'")


def test_the_command_leaves_nothing_where_a_row_is_wrong(ray, tmp_path, capsys):
    """One paragraph that names it; an older result stays."""
    source, result = tmp_path / "texts.parquet", tmp_path / "out.parquet"
    parquet.write_table(pa.table({"id": [1, 2, 3], "default": ["fog", "stew", None]}), source)
    result.write_text("old")
    arguments = ["--engine", "ray", "--inputs", str(source), "--output", str(result)]
    assert main(["run", str(MODULE), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "holds no value in row 2 of 3" in error
    assert result.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


WRONG_USE = {
    "no file": ["--input", "text=fog", "--output", "o.parquet"],
    "no output": ["--inputs", "t.parquet"],
    "file of another kind": ["--inputs", "t.npz", "--output", "o.parquet"],
    "output of another kind": ["--inputs", "t.parquet", "--output", "o.npz"],
    "labels": ["--inputs", "t.parquet", "--output", "o.parquet", "--labels", "l.txt"],
    "engine": ["--engine", "none", "--inputs", "t.parquet", "--output", "o.parquet"],
}


@pytest.mark.parametrize("case", WRONG_USE)
def test_wrong_use(case):
    """Status 2, before anything is loaded."""
    with pytest.raises(SystemExit) as left:
        main(["run", str(MODULE), "--engine", "ray", *WRONG_USE[case]])
    assert left.value.code == 2


def test_without_ray_the_error_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    """The line for pip."""
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = ["--engine", "ray", "--inputs", "t.parquet", "--output", str(tmp_path / "o.parquet")]
    assert main(["run", str(MODULE), *arguments]) == 1
    assert "pip install 'hubkeras[ray]'" in capsys.readouterr().err
