"""The README's examples run, one after the other, as a reader would run them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import forks

README = Path(__file__).parent.parent / "README.md"


def test_examples_run(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    script = tmp_path / "examples.py"
    script.write_text("\n".join(blocks))
    environment = {**os.environ, "TFHUB_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(README.parent)}
    result = forks.run(script, environment=environment, folder=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "changed_module" / "tfhub_module.pb").is_file()


def test_the_two_commands_are_those_of_ci() -> None:
    ci = (README.parent / ".ci" / "run").read_text()
    for command in re.findall(r"^```sh\n(.*?)\n```", README.read_text(), re.MULTILINE | re.DOTALL):
        for part in command.split(" && "):
            assert part.replace("pip install", "pip install --quiet") in ci or part in ci
