from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hubkeras.errors import MigrationError
from hubkeras.migration.files import migrate_files

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "import tensorflow_hub as hub  # é\n", "import hubkeras as hub  # é\n"


def test_a_tree_is_searched_and_only_told_without_write(tmp_path: Path) -> None:
    for name in ("a.py", "sub/b.py", ".git/c.py", "venv/d.py", "node_modules/e.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(OLD)
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    (tmp_path / "requirements.txt").write_text("numpy\ntensorflow-hub==0.12  # old\nhttps://x/tensorflow-hub/y\n")
    reports = list(migrate_files([tmp_path]))
    assert [report.path.relative_to(tmp_path).as_posix() for report in reports] == [
        "a.py",
        "requirements.txt",
        "sub/b.py",
    ]
    assert [report.changed for report in reports] == [True, False, True]
    assert [finding.line for finding in reports[1].findings] == [2]
    assert (tmp_path / "a.py").read_text() == OLD


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OLD.encode(), NEW.encode()),
        (b"\xef\xbb\xbf" + OLD.encode(), b"\xef\xbb\xbf" + NEW.encode()),
        (("# coding: latin-1\n" + OLD).encode("latin-1"), ("# coding: latin-1\n" + NEW).encode("latin-1")),
        (OLD.replace("\n", "\r\n").encode(), NEW.replace("\n", "\r\n").encode()),
    ],
)
def test_written_files_keep_encoding_ends_of_lines_and_permissions(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(before)
    path.chmod(0o755)
    assert [report.changed for report in migrate_files([path], write=True)] == [True]
    assert path.read_bytes() == after
    assert path.stat().st_mode & 0o777 == 0o755
    assert [report.changed for report in migrate_files([path], write=True)] == []
    assert [file.name for file in tmp_path.iterdir()] == ["a.py"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.py").write_text(OLD)
    (tmp_path / "link.py").symlink_to("real.py")
    list(migrate_files([tmp_path / "link.py"], write=True))
    assert (tmp_path / "link.py").is_symlink()
    assert (tmp_path / "real.py").read_text() == NEW


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import tensorflow_hub as hub\ndef broken(:\n")
    (tmp_path / "b.py").write_bytes(b"import tensorflow_hub as hub  # \xff\n")
    (tmp_path / "c.ipynb").write_text("tensorflow_hub")
    (tmp_path / "d.py").write_text(OLD)
    reports = {report.path.name: report for report in migrate_files([tmp_path], write=True)}
    assert list(reports) == ["a.py", "b.py", "c.ipynb", "d.py"]
    assert "line 2" in reports["a.py"].problem
    assert reports["b.py"].problem
    assert reports["c.ipynb"].problem
    assert (tmp_path / "d.py").read_text() == NEW


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(OLD)
    with pytest.raises(MigrationError, match=r"gone\.py"):
        list(migrate_files([tmp_path / "a.py", tmp_path / "gone.py"], write=True))
    assert (tmp_path / "a.py").read_text() == OLD


def test_nothing_outside_of_a_tree_is_read_or_written(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside.py"
    tree.mkdir()
    outside.write_text(OLD)
    (tree / "link.py").symlink_to(outside)
    (tree / "endless.py").symlink_to("/dev/zero")
    os.mkfifo(tree / "pipe.py")
    assert not list(migrate_files([tree], write=True))
    assert outside.read_text() == OLD


@pytest.mark.parametrize(
    "code",
    [
        "x = " + "(" * 5000,
        "x = " + "-" * 100_000 + "1",
        "x = a" + ".a" * 2000,
        "if 1: pass\n" + "elif 1: pass\n" * 20_000,
    ],
    ids=["brackets", "signs", "attributes", "branches"],
)
def test_code_that_would_end_the_process(tmp_path: Path, code: str) -> None:
    (tmp_path / "a.py").write_text(f"{OLD}{code}\n")
    (report,) = migrate_files([tmp_path])
    assert "nested" in report.problem


@pytest.mark.parametrize("encoding", ["rot13", "hex_codec"])
def test_encodings_of_no_text(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.py").write_text(f"# coding: {encoding}\n{OLD}")
    (report,) = migrate_files([tmp_path])
    assert "not a text encoding" in report.problem
