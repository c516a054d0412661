"""Programs in forks are as those in processes that were started anew, but for what they find imported."""

import signal
import subprocess
import time

import forks
import pytest


def test_a_program_runs_as_if_it_were_started(tmp_path, monkeypatch):
    """With its arguments, environment, folder and outputs, and with a runtime and modules of its own."""
    monkeypatch.setenv("OTHER", "1")
    done = forks.run(
        "import os, sys, tensorflow as tf\n"
        "class Own: pass\n"
        "print(sys.argv, dict(os.environ), os.getcwd(), __name__, sys.modules[Own.__module__].Own is Own)\n"
        "print(float(tf.reduce_sum(tf.ones([2, 2]) @ tf.ones([2, 2]))), 'hubkeras' in sys.modules, file=sys.stderr)",
        "a",
        tmp_path,
        environment={"ONE": "1"},
        folder=tmp_path,
    )
    said = f"{['-c', 'a', str(tmp_path)]} {{'ONE': '1'}} {tmp_path} __main__ True\n"
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1]) == (0, said, "8.0 False")


def test_a_file_finds_what_lies_beside_it(tmp_path):
    (tmp_path / "beside.py").write_text("VALUE = 3")
    (tmp_path / "program.py").write_text("import beside, os, sys\nprint(sys.argv)\nsys.exit(beside.VALUE)")
    done = forks.run(tmp_path / "program.py", "x")
    assert (done.returncode, done.stdout) == (3, f"{[str(tmp_path / 'program.py'), 'x']}\n")


def test_errors_and_signals_are_told():
    """As a status, with a traceback where there is one."""
    done = forks.run("1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert forks.run("import os; os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL


def test_what_takes_too_long_is_killed():
    started = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        forks.run("import time; print('here', flush=True); time.sleep(100)", timeout=5)
    assert raised.value.stdout == b"here\n"
    assert time.monotonic() - started < 50
