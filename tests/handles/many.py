"""Many processes at one cache, each forked from a small one that never saw TensorFlow.

python many.py together COUNT HANDLE      COUNT processes resolve HANDLE at once
python many.py apart COUNT HANDLE         the same without locks, each as if on a machine of its own
python many.py kill ROUNDS HANDLE         processes are killed at random moments; a JSON report goes to stdout
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import child  # noqa: F401  (makes hubkeras importable without TensorFlow)

DAMAGE = "saved_model.pb is not there any more"


def fork(work):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def together(count, handle, *, apart):
    from hubkeras.handles import locking
    from hubkeras.handles.resolver import resolve

    reading, writing = os.pipe()
    start = time.monotonic() + 0.3

    def run(number):
        if apart:
            locking._HOST = f"machine{number}"
        time.sleep(start - time.monotonic())
        os.write(writing, resolve(handle).encode() + b"\n")

    processes = [fork(lambda number=number: run(number)) for number in range(count)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in processes]
    os.close(writing)
    with os.fdopen(reading) as pipe:
        report({"codes": codes, "paths": pipe.read().split()})


def kill(rounds, handle):
    from hubkeras.handles import locking
    from hubkeras.handles.cache_entries import CacheEntry
    from hubkeras.handles.completeness import what_is_missing
    from hubkeras.handles.resolver import resolve

    cache = Path(os.environ["TFHUB_CACHE_DIR"])
    entry = CacheEntry.of(cache, handle)
    generator = random.Random(int(os.environ["SEED"]))
    start = time.monotonic()
    os.waitpid(fork(lambda: resolve(handle)), 0)
    whole = time.monotonic() - start
    broken, finished, litter = [], 0, 0
    for _ in range(rounds):
        damage(entry.directory, generator.random() < 0.3)
        victims = [fork(lambda: resolve(handle)) for _ in range(generator.choice([1, 1, 2]))]
        for pid in victims:
            time.sleep(generator.uniform(0, whole * 1.1) / len(victims))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if entry.directory.exists():
            finished += 1
            broken += [missing for missing in [what_is_missing(entry.directory)] if missing not in ("", DAMAGE)]
        litter += any(path.suffix == ".tmp" for path in cache.iterdir())
    if entry.lock.exists():
        time.sleep(locking._UNLOCKED_AGE)
    start = time.monotonic()
    code = os.waitpid(fork(lambda: resolve(handle)), 0)[1]
    report(
        {
            "broken": broken,
            "finished": finished,
            "with_litter": litter,
            "last_code": code,
            "last_seconds": time.monotonic() - start,
            "left": sorted(path.name.replace(entry.name, "SHA1") for path in cache.iterdir()),
        }
    )


def damage(directory, partly):
    """Removes an entry as a cleaner does: whole, or one file of it."""
    if partly:
        (directory / "saved_model.pb").unlink(missing_ok=True)
    else:
        shutil.rmtree(directory, ignore_errors=True)


def report(facts):
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    what, number, handle = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if what == "kill":
        kill(number, handle)
    else:
        together(number, handle, apart=what == "apart")
