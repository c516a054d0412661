"""Applies a text module to many rows by an engine, kills a worker in the middle, and looks for every row.

    python benchmarks/engines.py spark          # needs Java 17 and pip install 'hubkeras[spark]'
    python benchmarks/engines.py beam           # needs pip install 'hubkeras[beam]'

Nothing leaves this machine. `tests/batch/test_ray_data.py` does the same with Ray, on each run of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import hubkeras
from hubkeras.batch import Predictor

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from batch.workers import Killer

MODULE = Path(hubkeras.__file__).parent / "data" / "topics_embedding"
TEXT = "row {} fog along the coast"


def report(engine: str, ids: list[int], rows: int, seconds: float, killed: int) -> None:
    """Prints what was found, and fails unless every row is there once."""
    counts = Counter(ids)
    print(
        f"{engine}: {len(ids)} rows, {len(counts)} of them different, each {set(counts.values())} times,"
        f" {seconds:.0f} s; killed process {killed or 'none'}",
        flush=True,
    )
    assert sorted(counts) == list(range(rows))
    assert set(counts.values()) == {1}


def expect_equal(engine: str, vectors: Any) -> None:
    """Compares a few rows with what the module itself gives."""
    expected = hubkeras.load(MODULE)([TEXT.format(row) for row in range(len(vectors))]).numpy()
    np.testing.assert_allclose(np.array(vectors), expected, rtol=1e-5, atol=1e-6)
    print(f"{engine}: equals the module", flush=True)


def spark(rows: int, predictor: Predictor) -> None:
    """Runs `with_outputs`, `predict_udf`, and a predictor in `mapInPandas`."""
    from pyspark.sql import SparkSession, functions

    from hubkeras.batch.spark_frames import predict_udf, with_outputs

    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    session = (
        SparkSession.builder.master("local[2,4]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "2000")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    before, after = TEXT.split("{}")
    text = functions.concat(functions.lit(before), functions.col("id").cast("string"), functions.lit(after))
    frame = session.range(rows, numPartitions=8).withColumn("default", text)
    started, killer = time.monotonic(), Killer("pyspark.daemon")
    found = with_outputs(frame, predictor).selectExpr("id", "size(default) as size").collect()
    assert {row["size"] for row in found} == {32}
    report("spark, with_outputs", [row["id"] for row in found], rows, time.monotonic() - started, killer.killed)
    few = frame.orderBy("id").limit(100).coalesce(1)
    expect_equal("spark, with_outputs", [row["default"] for row in with_outputs(few, predictor).collect()])
    embed = predict_udf(predictor)
    expect_equal("spark, predict_udf", [row["v"] for row in few.select(embed("default").alias("v")).collect()])
    mapped = few.mapInPandas(lambda frames: map(predictor, frames), "id long, default array<float>")
    expect_equal("spark, mapInPandas", [row["default"] for row in mapped.collect()])
    try:
        with_outputs(session.createDataFrame([(1, "fog"), (2, None)], "id int, default string"), predictor).collect()
    except Exception as error:
        print("spark, a null:", next(line for line in str(error).splitlines() if line.startswith("hubkeras.errors")))
    session.stop()


def beam(rows: int, predictor: Predictor) -> None:
    """Runs RunInference, in this process: the runner that comes with Beam starts no workers that could be killed."""
    import apache_beam
    from apache_beam.ml.inference.base import RunInference

    from hubkeras.batch.beam_inference import ModuleHandler

    def as_line(result: Any) -> str:
        return json.dumps([result.example["id"], result.inference["default"].tolist()])

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with apache_beam.Pipeline(runner="DirectRunner") as pipeline:
            elements = pipeline | apache_beam.Create(range(rows))
            texts = elements | apache_beam.Map(lambda row: {"id": row, "default": TEXT.format(row)})
            lines = texts | RunInference(ModuleHandler(predictor)) | apache_beam.Map(as_line)
            _ = lines | apache_beam.io.WriteToText(f"{folder}/vectors")
        found = [json.loads(line) for file in Path(folder).iterdir() for line in file.read_text().splitlines()]
    report("beam, RunInference", [row for row, _ in found], rows, time.monotonic() - started, 0)
    expect_equal("beam, RunInference", [vector for _, vector in sorted(found)[:100]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=["spark", "beam"])
    parser.add_argument("--rows", type=int, default=120_000)
    arguments = parser.parse_args()
    {"spark": spark, "beam": beam}[arguments.engine](arguments.rows, Predictor(MODULE, batch_size=512))


if __name__ == "__main__":
    main()
