"""`hubkeras.pack`: modules as archives of the hosting protocol."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

import hubkeras
from hubkeras.errors import ExportError, ExportExistsError, FormatError, MissingFileError

DEMO = Path(hubkeras.__file__).parent / "data" / "topics_embedding"


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def module(tmp_path):
    """A module whose files may be changed."""
    return Path(shutil.copytree(DEMO, tmp_path / "module"))


def test_an_archive_is_loaded(tmp_path):
    """What is read back from the archive computes what the module computes."""
    hubkeras.pack(DEMO, tmp_path / "new" / "module.tar.gz")
    texts = ["a spicy stew", "fog"]
    again = hubkeras.load(tmp_path / "new" / "module.tar.gz")
    assert (again(texts).numpy() == hubkeras.load(DEMO)(texts).numpy()).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["module.tar.gz"]


def test_members(tmp_path, module):
    """The root is the module's; a directory stands before its files; nothing tells who packed it, and when."""
    (module / "assets" / "empty").mkdir()
    (module / "assets" / ("long" * 50)).write_text("x")
    (module / ".hubkeras.json").write_text("{}")
    hubkeras.pack(module, tmp_path / "module.tar.gz")
    with tarfile.open(tmp_path / "module.tar.gz") as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names == [
        *("assets", "assets/empty", "assets/" + "long" * 50, "assets/vocabulary.txt", "saved_model.pb"),
        *("tfhub_module.pb", "variables", "variables/variables.data-00000-of-00001", "variables/variables.index"),
    ]
    for member in members:
        assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
        assert member.mode == (0o755 if member.isdir() else 0o644)


def test_same_bytes(tmp_path, module):
    """Times, modes and the place of the module leave no trace."""
    hubkeras.pack(DEMO, tmp_path / "one.tar.gz")
    (module / "saved_model.pb").chmod(0o600)
    os.utime(module / "saved_model.pb", (1, 1))
    hubkeras.pack(module, tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


@pytest.mark.parametrize("there", ["file", "directory", "dangling link"])
def test_never_over_something(there, tmp_path):
    """An archive never replaces what is there."""
    target = tmp_path / "there"
    if there == "file":
        target.write_text("mine")
    elif there == "directory":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nothing")
    with pytest.raises(ExportExistsError, match="something is there already"):
        hubkeras.pack(DEMO, target)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert there != "file" or target.read_text() == "mine"


def test_no_module(tmp_path):
    """What is no module is refused, before anything is written."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError):
        hubkeras.pack(tmp_path / "empty", tmp_path / "a.tar.gz")
    with pytest.raises(MissingFileError):
        hubkeras.pack(tmp_path / "nothing", tmp_path / "a.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_what_readers_refuse(tmp_path, module):
    """Links, odd names and the archive itself are refused, and nothing stays."""
    with pytest.raises(ExportError, match="into itself"):
        hubkeras.pack(module, module / "assets" / "module.tar.gz")
    (module / "assets" / "aux.txt").write_text("")
    with pytest.raises(ExportError, match="Windows reserves"):
        hubkeras.pack(module, tmp_path / "a.tar.gz")
    (module / "assets" / "aux.txt").unlink()
    (module / "assets" / "link").symlink_to("/etc/hostname")
    with pytest.raises(ExportError, match=r"link.*a symbolic link"):
        hubkeras.pack(module, tmp_path / "a.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["module"]


def test_no_place_to_write(tmp_path, monkeypatch):
    """An archive that cannot be written, or not here, is an error of hubkeras."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match="a path on this machine"):
        hubkeras.pack(DEMO, "gs://bucket/a.tar.gz")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="Cannot export to"):
        hubkeras.pack(DEMO, tmp_path / "file" / "a.tar.gz")
