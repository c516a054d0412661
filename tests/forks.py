"""Programs in processes of their own that find TensorFlow imported: forks of a process that did nothing else.

Importing it takes a process seconds, forking takes a fraction of one. What is about the start of a program, or about
what TensorFlow reads from the environment while it is imported, is no case for this.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.context import ForkServerProcess

ROOT = Path(__file__).parents[1]
_WITHOUT = Path(__file__).with_name("without")
PLOTLESS = {"PYTHONPATH": os.pathsep.join(map(str, (_WITHOUT / "matplotlib", ROOT)))}
"""Environment of a process that has to import TensorFlow: Keras, for once, finds no Matplotlib, which takes long."""
ANEW = {"PYTHONPATH": os.pathsep.join(map(str, (_WITHOUT / "pandas", _WITHOUT / "matplotlib", ROOT)))}
"""The same without pandas, too: both are a third of what there is to import."""

CONTEXT = multiprocessing.get_context("forkserver")
# Nothing that runs an op: then the threads of the runtime would be there, which a fork has not.
CONTEXT.set_forkserver_preload(["tensorflow"])


def collect_seldom() -> None:
    """Has Python look for garbage less often: among all that TensorFlow keeps, that takes an eighth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def run(
    program: str | Path,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end.

    Args:
        program: The program, or the file that holds it.
        arguments: What follows the program's name in `sys.argv`.
        environment: All of it; None for that of this process.
        folder: The working directory; None for that of this process.
        timeout: Seconds after which it is killed.

    Raises:
        subprocess.TimeoutExpired: It was killed.
    """
    with tempfile.TemporaryDirectory() as kept:
        files = [Path(kept, name) for name in ("stdout", "stderr")]
        process = start(program, *arguments, environment=environment, folder=folder, outputs=files)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(str(program), timeout, *(file.read_bytes() for file in files))
        return subprocess.CompletedProcess(program, process.exitcode, *(file.read_text() for file in files))


def start(
    program: str | Path,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    outputs: Sequence[Path] = (Path(os.devnull),) * 2,
) -> ForkServerProcess:
    """Starts a program as `run` does; `outputs` are the files for its standard output and standard error."""
    given = list(map(str, arguments)), dict(environment or os.environ), folder or Path.cwd(), outputs
    process = CONTEXT.Process(target=_main, args=(program, *given), daemon=True)
    process.start()
    return process


def _main(
    program: str | Path, arguments: list[str], environment: dict[str, str], folder: Path, outputs: Sequence[Path]
) -> None:
    for descriptor, path in enumerate(outputs, start=1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    collect_seldom()
    if isinstance(program, Path):
        sys.argv, sys.path[:0] = [str(program), *arguments], [str(program.parent)]
        runpy.run_path(str(program), run_name="__main__")
        return
    sys.argv, sys.modules["__main__"] = ["-c", *arguments], types.ModuleType("__main__")
    exec(compile(program, "<string>", "exec"), vars(sys.modules["__main__"]))
