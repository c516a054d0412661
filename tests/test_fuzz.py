"""A few mutants of the fuzz; `python benchmarks/fuzz.py` runs thousands."""

from pathlib import Path

import forks

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_damaged_modules_work_or_are_refused():
    result = forks.run(BENCHMARKS / "fuzz.py", "--count", "300", "--jobs", "2", timeout=600)
    assert "300 mutants" in result.stdout, result.stderr[-3000:]
    assert result.returncode == 0, result.stdout[-8000:]


ENDS = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import fuzz
from hubkeras.errors import FormatError

def fail(error):
    raise error

BAD = [
    lambda: None,
    lambda: fail(FormatError("refused")),
    lambda: fail(fuzz.tf.errors.InvalidArgumentError(None, None, "while a graph is read")),
    lambda: fail(KeyError("k")),
    lambda: fuzz.tf.linalg.inv(fuzz.tf.zeros([2, 2])),
    lambda: fuzz.CANARY.with_name("new").write_text("written"),
    lambda: fuzz.CANARY.with_name("new").unlink(),
    lambda: fuzz.CANARY.read_text(),
    lambda: (bytearray(1 << 28), time.sleep(60)),
    lambda: time.sleep(60),
    os.abort,
    lambda: os._exit(0),
]
fuzz.CANARY = fuzz.Path(fuzz.tempfile.mkdtemp(), "secret.txt")
fuzz.CANARY.write_text(fuzz.SECRET)
fuzz.LIMIT_SECONDS, fuzz.LIMIT_BYTES, fuzz.BATCH = 5, 1 << 27, 4
fuzz.steps = lambda path, tags: [("step", BAD[int(path.name.partition("-")[0])])]
results = fuzz.run(list(range(len(BAD))), 0, 2, fuzz.corpus()[:1])
print(",".join(fuzz.worst(results[i]) for i in range(len(BAD))))
print(fuzz.summarise(results))
"""


def test_the_fuzz_notices_each_bad_end():
    result = forks.run(ENDS, BENCHMARKS, timeout=600)
    lines = result.stdout.splitlines()
    assert lines, result.stderr[-3000:]
    assert lines[0].split(",") == [
        "ok",
        "refused",
        "UNNAMED ERROR",
        "UNNAMED ERROR",
        "runtime error",
        "FILE TOUCHED",
        "FILE TOUCHED",
        "FILE TOUCHED",
        "GROWTH",
        "HANG",
        "CRASH",
        "CRASH",
    ]
    assert lines[-1] == "False"
