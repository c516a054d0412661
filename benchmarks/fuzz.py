"""Loads and calls thousands of damaged modules, and tells of each that ends otherwise than it should.

    python benchmarks/fuzz.py --count 5000 --jobs 2
    python benchmarks/fuzz.py --seed 1 --start 417 --count 1 --keep /tmp/bad     # one again, written to a folder

A mutant is a module of `tests/golden` after a few random changes (`mutations`). It is loaded; every signature is
called, differentiated and called for training; the regularization losses are computed. It must give results or a
`HubKerasError`. An error of TensorFlow may pass only where a graph was legal and failed while it ran; there alone it
may use up time and memory, too, which no check of a graph can foresee. Mutants run in processes forked from one that
has imported TensorFlow and run nothing with it; each process takes a few, one by one.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
from mutations import FOLDER, Files, mutate

import hubkeras
from hubkeras.errors import HubKerasError
from hubkeras.savedmodel.reader import read_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

tf.debugging.disable_traceback_filtering()  # errors are told apart by where they were raised
GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "modules"
HUBKERAS = str(Path(hubkeras.__file__).parent)
SECRET = "nobody-may-read-this-7d1f"
CANARY = Path("/tmp/hubkeras-fuzz-canary/secret.txt")
"""A file that no mutant may read or change; a fixed name, so that a mutant is the same again anywhere."""
LIMIT_SECONDS, LIMIT_BYTES = 20, 1 << 30
BATCH = 16
MAX_ELEMENTS = 1 << 16
"""A signature that asks for larger inputs is not called."""
RAN = {"quick_execute", "raise_from_not_ok_status"}
"""Functions of TensorFlow that raise what an op says while it runs."""
OK, REFUSED, RUNTIME, USED_UP = "ok", "refused", "runtime error", "time or memory used up by a run"
UNNAMED, CRASH, HANG, GROWTH, FILE = "UNNAMED ERROR", "CRASH", "HANG", "GROWTH", "FILE TOUCHED"
ORDER = [OK, REFUSED, RUNTIME, USED_UP, UNNAMED, FILE, GROWTH, HANG, CRASH]


def make_canary() -> None:
    """Writes the file that nobody may read, unless it is there: another run may be watching it."""
    if not CANARY.exists():
        CANARY.parent.mkdir(exist_ok=True)
        CANARY.write_text(SECRET)


def corpus() -> list[tuple[str, list[str] | None, Files]]:
    """Returns the modules by name, with tags that choose a variant, and their files; small ones more than once."""
    modules = []
    for path in sorted(GOLDEN.iterdir()):
        tag_sets = read_module(path).tag_sets
        tags = None if frozenset() in tag_sets else sorted(tag_sets[0])
        files = {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}
        size = sum(map(len, files.values()))
        modules += [(path.name, tags, files)] * (3 if size < 30_000 else 2 if size < 60_000 else 1)
    return modules


# --- in a process of its own ------------------------------------------------------------------------------------------


def run_batch(indices: list[int], seed: int, modules: list[Any], folder: Path, report: Callable[..., None]) -> None:
    """Runs mutants one after the other, each in a folder below `folder`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    work = folder / "work"
    work.mkdir()
    os.chdir(work)
    (folder / CANARY.name).write_text(SECRET)  # what "../../secret.txt" is, seen from a module's assets
    os.environ["TMPDIR"] = tempfile.tempdir = str(work)
    for index in indices:
        path, tags = write_mutant(index, seed, modules, folder)
        before = _snapshot(folder)
        report(begin=index, memory=_memory(os.getpid()))
        errors = []
        for step, action in steps(path, tags):
            report(step=step)
            errors += attempt(step, action)
        if _snapshot(folder) != before:
            errors.append({"step": "files", "class": FILE, "error": "a file changed", "trace": ""})
        report(end=index, errors=errors)
        shutil.rmtree(path)


def write_mutant(index: int, seed: int, modules: list[Any], folder: Path) -> tuple[Path, list[str] | None]:
    rng = random.Random(f"{seed}/{index}")
    name, tags, files = rng.choice(modules)
    path = folder / f"{index}-{name}"
    for file, content in mutate(files, rng, CANARY).items():
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        if content == FOLDER:
            (path / file).mkdir()
        else:
            (path / file).write_bytes(content)
    return path, tags


def steps(path: Path, tags: list[str] | None) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yields what is done with a module, by name; a step that fails ends what needs it."""
    loaded: list[Any] = []
    yield "load", lambda: loaded.append(hubkeras.load(str(path), tags=tags))
    for module in loaded:
        names: list[str] = []
        yield "names", lambda: names.extend(module.get_signature_names())  # noqa: B023
        for name in names:
            inputs: list[dict[str, Any]] = []
            yield f"inputs of {name!r}", lambda: inputs.append(examples(module, name))  # noqa: B023
            for values in inputs:
                yield f"call of {name!r}", lambda: call(module, name, values)  # noqa: B023
                yield f"gradient of {name!r}", lambda: gradient(module, name, values)  # noqa: B023
                yield f"training of {name!r}", lambda: call(module, name, values, training=True)  # noqa: B023
        yield "losses", lambda: [loss() for loss in module.regularization_losses]  # noqa: B023


class _NotCalledError(Exception):
    """The inputs that a signature asks for are too large to be made."""


def attempt(step: str, action: Callable[[], Any]) -> list[dict[str, str]]:
    """Does one thing and returns what was wrong, if anything."""
    try:
        result = action()
    except _NotCalledError:
        return []
    except HubKerasError as error:
        kind = FILE if SECRET in str(error) else REFUSED
        return [{"step": step, "class": kind, "error": f"{type(error).__name__}: {error}"[:400], "trace": ""}]
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ran = isinstance(error, tf.errors.OpError) and step != "load" and any(f.name in RAN for f in frames)
        ours = [f for f in frames if f.filename.startswith(HUBKERAS)]
        place = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed([*ours[-2:], frames[-1]]))
        kind = FILE if SECRET in str(error) else RUNTIME if ran else UNNAMED
        text = f"{type(error).__name__}: {error}"[:400]
        return [{"step": step, "class": kind, "error": text, "place": place, "trace": _shortened(frames)}]
    if _reveals(result):
        return [{"step": step, "class": FILE, "error": "gave what is in another file", "trace": ""}]
    return []


def _reveals(result: Any) -> bool:
    """Tells whether a result holds the text of the file that nobody may read."""
    values = tf.nest.flatten(result, expand_composites=True)
    texts = [t for t in values if tf.is_tensor(t) and t.dtype == tf.string]
    texts = [text for t in texts for text in tf.reshape(t, [-1]).numpy()]
    return any(SECRET in str(text) for text in [*texts, *(v for v in values if isinstance(v, str))])


def _shortened(frames: Any) -> str:
    """Returns a traceback without what is of TensorFlow but for the end."""
    shown = [frame for frame in frames if frame.filename.startswith(HUBKERAS)]
    shown += [frame for frame in frames[-3:] if frame not in shown]
    return "\n".join(f"{Path(f.filename).name}:{f.lineno} {f.name}: {f.line}" for f in shown)


def examples(module: Any, name: str) -> dict[str, Any]:
    """Returns values for the inputs of a signature."""
    return {key: _example(info.type_spec) for key, info in module.get_input_info_dict(name).items()}


def _example(spec: Any) -> Any:
    if isinstance(spec, tf.RaggedTensorSpec):
        rank = spec.shape.rank or 2
        value = tf.constant([b"some", b"text"] if spec.dtype == tf.string else [1, 2])
        for _ in range(min(rank, 6) - 1):
            value = tf.RaggedTensor.from_row_lengths(value, [1, 1])
        return tf.cast(value, spec.dtype) if spec.dtype != tf.string else value
    sizes = [2] if spec.shape.rank is None else [2 if size is None else size for size in spec.shape]
    if np.prod(sizes, dtype=object) > MAX_ELEMENTS or len(sizes) > 8:
        raise _NotCalledError
    dense = tf.fill(sizes, b"some text") if spec.dtype == tf.string else tf.cast(tf.ones(sizes), spec.dtype)
    return tf.sparse.from_dense(dense) if isinstance(spec, tf.SparseTensorSpec) else dense


def call(module: Any, name: str, values: dict[str, Any], **mode: bool) -> dict[str, Any]:
    return module(values or None, signature=name, as_dict=True, **mode)


def gradient(module: Any, name: str, values: dict[str, Any]) -> None:
    """Differentiates the sum of all outputs."""
    flat = [t for t in tf.nest.flatten(values, expand_composites=True) if t.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(flat)
        outputs = tf.nest.flatten(call(module, name, values), expand_composites=True)
        sums = [tf.reduce_sum(tf.cast(t, tf.float32)) for t in outputs if t.dtype.is_floating]
        total = tf.add_n(sums) if sums else None
    if total is not None:
        tape.gradient(total, [*flat, *module.trainable_variables])


def _snapshot(folder: Path) -> list[tuple[str, int, int]]:
    found = []
    for path in [*sorted(folder.rglob("*")), CANARY.parent, *sorted(CANARY.parent.iterdir())]:
        if path.name != "log":
            status = path.lstat()
            found.append((str(path), status.st_size if path.is_file() else 0, status.st_mtime_ns))
    return found


# --- in the process that watches --------------------------------------------------------------------------------------


def _memory(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


@dataclass
class Child:
    """A process that runs some mutants."""

    pid: int
    reader: int
    indices: list[int]
    folder: Path
    buffer: bytes = b""
    current: int | None = None
    step: str = ""
    started: float = 0.0
    base: int = 0
    done: dict[int, list[dict[str, str]]] = field(default_factory=dict)

    def read(self) -> bool:
        """Takes in what the process reports; False once it has ended."""
        data = os.read(self.reader, 1 << 20)
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if "begin" in event:
                self.current, self.started, self.base = event["begin"], time.monotonic(), event["memory"]
            elif "step" in event:
                self.step = event["step"]
            else:
                self.done[event["end"]], self.current = event["errors"], None
        return bool(data)

    def excess(self) -> str:
        """Tells what the process takes too much of."""
        if self.current is None:
            return ""
        if time.monotonic() - self.started > LIMIT_SECONDS:
            return HANG
        return GROWTH if _memory(self.pid) - self.base > LIMIT_BYTES else ""


def start(indices: list[int], seed: int, modules: list[Any]) -> Child:
    folder = Path(tempfile.mkdtemp(prefix="hubkeras-fuzz-"))
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Child(pid, reader, indices, folder)
    try:
        os.close(reader)
        os.setsid()
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        run_batch(
            indices,
            seed,
            modules,
            folder,
            lambda **event: os.write(writer, json.dumps(event).encode() + b"\n") and None,
        )
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def finish(child: Child, stopped: str) -> list[int]:
    """Ends a process, notes how the mutant ended that it was at, and returns those that it did not get to."""
    if stopped:
        os.kill(child.pid, signal.SIGUSR1)  # has it write down where it is
        time.sleep(0.5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    _, status = os.waitpid(child.pid, 0)
    os.close(child.reader)
    if child.current is not None:
        said = (child.folder / "log").read_bytes().decode("utf-8", "replace")[-3000:]
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
        if stopped and any(f" in {name}\n" in said for name in RAN):
            stopped = USED_UP
        lines = [line for line in said.splitlines() if " F " in line or "Check failed" in line or line.startswith("F0")]
        what = {
            "class": stopped or CRASH,
            "error": "" if stopped else f"{how}: {(lines or [''])[-1].rpartition('] ')[2]}",
        }
        child.done[child.current] = [{"step": child.step, "trace": said, **what}]
    elif os.WIFEXITED(status) and len(child.done) < len(child.indices):
        sys.exit((child.folder / "log").read_text("utf-8", "replace"))
    shutil.rmtree(child.folder)
    return [index for index in child.indices if index not in child.done]


def run(indices: list[int], seed: int, jobs: int, modules: list[Any]) -> dict[int, list[dict[str, str]]]:
    """Runs mutants, and returns what was wrong with each."""
    pending = [indices[i : i + BATCH] for i in range(0, len(indices), BATCH)]
    children: dict[int, Child] = {}
    results: dict[int, list[dict[str, str]]] = {}
    gc.collect()
    gc.freeze()  # or each process copies all that the collection of garbage looks at
    try:
        while pending or children:
            while pending and len(children) < jobs:
                child = start(pending.pop(0), seed, modules)
                children[child.reader] = child
            ready, _, _ = select.select(list(children), [], [], 0.05)
            for child in list(children.values()):
                stopped = child.excess()
                if stopped or (child.reader in ready and not child.read()):
                    del children[child.reader]
                    rest = finish(child, stopped)
                    results |= child.done
                    if rest:
                        pending.insert(0, rest)
                    if sys.stderr.isatty():
                        print(f"\r{len(results)} of {len(indices)}", end="", file=sys.stderr)
    except KeyboardInterrupt:  # what there is so far is told
        for child in children.values():
            child.current = None
            finish(child, "")
            results |= child.done
    return results


def worst(errors: list[dict[str, str]]) -> str:
    return max((error["class"] for error in errors), key=ORDER.index, default=OK)


def summarise(results: dict[int, list[dict[str, str]]]) -> bool:
    """Prints how the mutants ended, those that ended badly in groups, and tells whether there are none."""
    counts = Counter(worst(errors) for errors in results.values())
    print(", ".join(f"{counts[kind]} {kind}" for kind in ORDER if counts[kind]))
    groups: dict[tuple[str, str], list[tuple[int, dict[str, str]]]] = {}
    for index, errors in sorted(results.items()):
        for error in errors:
            if ORDER.index(error["class"]) >= ORDER.index(UNNAMED):
                key = error["class"], error.get("place") or error["error"]
                groups.setdefault(key, []).append((index, error))
    for (kind, place), found in sorted(groups.items(), key=lambda item: -len(item[1])):
        index, error = found[0]
        numbers = ", ".join(str(i) for i in dict.fromkeys(i for i, _ in found))
        print(f"\n{kind} x{len(found)}: {place}\n  mutants {numbers[:80]}\n  {error['step']}: {error['error']}")
        print("    " + error["trace"].replace("\n", "\n    "))
    return not groups


def main() -> None:
    """Runs the mutants that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, help="a folder to which mutants that end badly are written")
    arguments = parser.parse_args()
    make_canary()
    modules = corpus()
    indices = list(range(arguments.start, arguments.start + arguments.count))
    began = time.monotonic()
    results = run(indices, arguments.seed, arguments.jobs, modules)
    print(f"{len(results)} mutants in {time.monotonic() - began:.0f} s")
    good = summarise(results)
    if arguments.keep:
        for index, errors in results.items():
            if ORDER.index(worst(errors)) >= ORDER.index(UNNAMED):
                write_mutant(index, arguments.seed, modules, arguments.keep)
    sys.exit(not good)


if __name__ == "__main__":
    main()
