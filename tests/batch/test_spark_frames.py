"""Spark on this machine: every row once, though a worker is killed; errors and missing values of workers."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from building import v1
from building import write as build

from batch.many_rows import ROWS, expect_each_once, expect_vectors, sentence
from batch.workers import Killer
from hubkeras.batch import Predictor
from hubkeras.cli.demo import MODULE
from hubkeras.errors import UnsupportedError

ROOT = Path(__file__).parents[2]
PREDICTOR = Predictor(MODULE, batch_size=512)


@pytest.fixture(scope="module")
def spark():
    """Spark with two workers in this machine, which speak to nobody else."""
    pytest.importorskip("pyspark", reason="Spark is not installed: .ci/run runs these tests by themselves")
    if not shutil.which("java") and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java, and there is none")
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", str(ROOT))
        session = (
            SparkSession.builder.master("local[2,2]")  # a task may fail once
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", "2000")
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


# Of Spark itself, and of what it imports.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning", "ignore::UserWarning:pyspark"
)


@pytest.fixture(scope="module")
def few(spark):
    """A hundred texts with their numbers."""
    return spark.createDataFrame([(row, sentence(row)) for row in range(100)], "id long, default string").coalesce(1)


def test_every_row_once_though_a_worker_dies(spark):
    """Killed while it computes; Spark starts another one, and its rows are neither lost nor there twice."""
    from pyspark.sql.functions import expr

    from hubkeras.batch.spark_frames import with_outputs

    text = expr("concat('row ', id, ' fog along the coast ', id % 7, ' stew')")
    frame = spark.range(ROWS, numPartitions=8).withColumn("default", text)
    killer = Killer("pyspark.daemon")
    found = with_outputs(frame, PREDICTOR).collect()
    assert killer.killed
    expect_each_once([row["id"] for row in found])
    some = found[:: ROWS // 50]
    expect_vectors([row["id"] for row in some], [row["default"] for row in some])


def test_functions_and_frames_of_pandas(few):
    """In an expression of columns, and in `mapInPandas`, the rows are the module's, too."""
    from hubkeras.batch.spark_frames import predict_udf

    for frame in (
        few.select("id", predict_udf(PREDICTOR)("default").alias("default")),
        few.mapInPandas(lambda frames: map(PREDICTOR, frames), "id long, default array<float>"),
    ):
        found = frame.collect()
        expect_vectors([row["id"] for row in found], [row["default"] for row in found])
        expect_each_once([row["id"] for row in found], 100)


def test_errors_of_workers_arrive(spark, tmp_path):
    """With what went wrong, and where."""
    from hubkeras.batch.spark_frames import with_outputs

    def variant(tags):
        del tags
        y = v1.placeholder("int32", [None], "y")
        return {"default": ({"y": y}, {"default": v1.gather(v1.constant([1.0, 2.0]), y)})}

    predictor = Predictor(build(tmp_path / "checked", variant))
    frame = spark.createDataFrame([(0,), (7,)], "y int").coalesce(1)
    with pytest.raises(Exception, match=r"(?s)WorkerError: Cannot apply signature 'default' .*indices"):
        with_outputs(frame, predictor).collect()
    found = with_outputs(frame.where("y < 2"), predictor).collect()
    np.testing.assert_array_equal([row["default"] for row in found], [1.0])


def test_a_missing_value_is_named(spark):
    """By its column and its neighbours."""
    from hubkeras.batch.spark_frames import with_outputs

    frame = spark.createDataFrame([(1, "fog"), (2, None)], "id int, default string").coalesce(1)
    with pytest.raises(Exception, match=r"InputError: Column 'default' holds no value in row 1 of 2.* id=2"):
        with_outputs(frame, PREDICTOR).collect()


def test_without_spark_the_error_says_how_to_get_it(monkeypatch):
    """The line for pip."""
    from hubkeras.batch.spark_frames import predict_udf, with_outputs

    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    for use in (lambda: predict_udf(PREDICTOR), lambda: with_outputs(None, PREDICTOR)):
        with pytest.raises(UnsupportedError, match=r"pip install 'hubkeras\[spark\]'"):
            use()
