"""The cache as people see it: where it is, what it holds, what they can do with it."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from handles.samples import FILES, contents, make_module, make_tar
from hubkeras import config
from hubkeras.errors import CacheError
from hubkeras.handles.cache import (
    cache_size,
    cached_modules,
    pin,
    remove_cached,
    verify_cached,
)
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.resolver import is_available, resolve

NNLM = "https://tfhub.dev/google/nnlm-en-dim128/1"
OTHER = {**FILES, "assets/words.txt": b"c\nd\n"}


@pytest.fixture
def module(host):
    host.replies["/model/1"] = make_tar()
    return f"{host.url}/model/1"


def test_place_of_the_cache(monkeypatch, tmp_path):
    """TFHUB_CACHE_DIR, else the user's cache directory, never the system's temporary folder."""
    assert config.cache_directory() == str(tmp_path / "cache")
    monkeypatch.setenv("TFHUB_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert config.cache_directory() == str(tmp_path / "xdg" / "hubkeras")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Path.home() in Path(config.cache_directory()).parents


def test_relative_place_is_read_as_tensorflow_hub_reads_it(monkeypatch, tmp_path, module):
    """From the working directory; the result is absolute all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFHUB_CACHE_DIR", "here")
    assert Path(resolve(module)).parent == tmp_path / "here"


def test_flag_of_tensorflow_hub_is_read_where_it_is_defined(monkeypatch):
    """The environment comes before it, and hubkeras defines no flag."""
    flags = pytest.importorskip("absl.flags")
    name = "tfhub_cache_dir"
    is_mine = name not in flags.FLAGS
    if is_mine:
        flags.DEFINE_string(name, None, "")
    old = flags.FLAGS[name].value
    flags.FLAGS[name].value = "/flag"
    assert config.cache_directory() != "/flag"
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    assert config.cache_directory() == "/flag"
    flags.FLAGS[name].value = old
    if is_mine:
        delattr(flags.FLAGS, name)


def test_list_and_size(host, module, cache):
    """One line per module, whoever made it, with its other names."""
    directory = Path(resolve(module))
    theirs = make_module(CacheEntry.of(cache, NNLM).directory, OTHER)
    CacheEntry.of(cache, NNLM).descriptor.write_text(
        f"Module: {NNLM}\nDownload Time: now\nDownloader Hostname: h (PID:1)"
    )
    resolve(f"{NNLM}/")
    found = {module.handle: module for module in cached_modules()}
    assert set(found) == {module, NNLM}
    assert (found[module].path, found[NNLM].path) == (directory, theirs)
    assert found[NNLM].size == sum(map(len, OTHER.values()))
    assert found[NNLM].aliases == (CacheEntry.of(cache, f"{NNLM}/").name,)
    assert [entry.problem for entry in found.values()] == ["", ""]
    assert cache_size() == found[module].size + found[NNLM].size


def test_empty_cache():
    """Is no error."""
    assert (cached_modules(), cache_size(), verify_cached()) == ([], 0, [])


def test_verify_reads_the_files(module):
    """A changed byte, an added file, a missing one."""
    directory = Path(resolve(module))
    assert verify_cached() == verify_cached(module) == []
    path = directory / "assets" / "words.txt"
    path.write_bytes(b"x\ny\n")
    assert [entry.problem for entry in verify_cached()] == ["assets/words.txt is not what was fetched"]
    assert [entry.problem for entry in cached_modules()] == [""]
    path.write_bytes(FILES["assets/words.txt"])
    (directory / "added").write_bytes(b"")
    assert [entry.problem for entry in verify_cached(module)] == ["added was not fetched"]
    path.unlink()
    assert [entry.problem for entry in verify_cached()] == ["assets/words.txt is not there any more"]


def test_remove_takes_all_names_and_notes(module, cache, host):
    """And the next use fetches again."""
    resolve(module)
    make_module(CacheEntry.of(cache, NNLM).directory)
    resolve(f"{NNLM}/")
    assert remove_cached("google/nnlm/tensorFlow1/en-dim128/1") == sum(map(len, FILES.values()))
    assert [entry.handle for entry in cached_modules()] == [module]
    assert remove_cached(cached_modules()[0].name) > 0
    assert list(cache.iterdir()) == []
    assert not is_available(module)
    resolve(module)
    assert len(host.requests) == 2


def test_remove_leaves_a_linked_module_where_it_lies(cache, tmp_path):
    """Only the link goes."""
    elsewhere = make_module(tmp_path / "elsewhere")
    cache.mkdir()
    CacheEntry.of(cache, NNLM).directory.symlink_to(elsewhere)
    assert [(entry.path, entry.size) for entry in cached_modules()] == [(elsewhere, 0)]
    assert remove_cached(NNLM) == 0
    assert contents(elsewhere) == FILES
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("function", [remove_cached, verify_cached, pin])
def test_module_that_is_not_there(function):
    """The error says how to list what is."""
    with pytest.raises(CacheError, match="cached_modules"):
        function(NNLM)


def test_sha256_of_files_can_be_made_with_plain_tools(module):
    """As the documentation says."""
    directory = resolve(module)
    command = (
        "find . -type f ! -name .hubkeras.json -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
    )
    result = subprocess.run(["sh", "-c", command], cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode or sys.platform != "linux":
        pytest.skip("no GNU find here")
    assert result.stdout.split()[0] == cached_modules()[0].sha256


def test_sha256_of_a_download_is_logged(module, caplog):
    """So that it can be pinned."""
    with caplog.at_level(logging.INFO, "hubkeras"):
        resolve(module)
    assert cached_modules()[0].sha256 in caplog.text


def test_damaged_marker_counts_as_none(module):
    """The files decide then."""
    directory = Path(resolve(module))
    for text in ("", "{", "[]", '{"files": 3}', '{"handle": 1, "sha256": "", "files": {"a": {}}}'):
        (directory / ".hubkeras.json").write_text(text)
        assert resolve(module) == str(directory)


def marker(**fields):
    return json.dumps({"handle": "m", "sha256": "", "files": {}} | fields).encode()


ODD_MARKERS = {
    "not UTF-8": b"\xff\xfe\xfd",
    "nested": b"[" * 100_000,
    "endless number": marker(files={"a": {"size": 1, "sha256": ""}}).replace(b"1", b"9" * 10_000),
    "null": b"null",
    "text": b'"text"',
    "types": marker(handle=1, sha256=[], archive_sha256={}),
    "null for a digest": marker(archive_sha256=None),
    "size in words": marker(files={"a": {"size": "1", "sha256": ""}}),
    "size that is infinite": marker(files={"a": {"size": float("inf"), "sha256": ""}}),
    "size that is true": marker(files={"a": {"size": True, "sha256": ""}}),
    "sha256 that is a number": marker(files={"saved_model.pb": {"size": 1, "sha256": 1}}),
    "fields that nobody knows": marker(more=1),
    "fields of files that nobody knows": marker(files={"a": {"size": 1, "sha256": "", "more": 1}}),
    "NUL in a name": marker(files={"a\0b": {"size": 1, "sha256": ""}}),
    "half a surrogate pair in a name": marker(files={"\ud800": {"size": 1, "sha256": ""}}),
    "huge": b" " * (65 << 20) + marker(files={"a": {"size": 1, "sha256": ""}}),
}


@pytest.mark.parametrize("body", ODD_MARKERS.values(), ids=ODD_MARKERS.keys())
def test_odd_marker_counts_as_none(module, host, body):
    """Nobody stumbles over it: not the next use, not the list, not the verification, not a pin."""
    directory = Path(resolve(module))
    (directory / ".hubkeras.json").write_bytes(body)
    assert resolve(module) == str(directory)
    assert [(entry.sha256, entry.problem) for entry in cached_modules()] == [("", "")]
    assert [entry.handle for entry in cached_modules()] == [module]
    assert verify_cached() == []
    assert pin(module)
    assert len(host.requests) == 1
    assert remove_cached(module) > 0


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "x" * 5000, ""])
def test_marker_that_names_files_elsewhere(module, name):
    """Is no error of another kind."""
    directory = Path(resolve(module))
    (directory / ".hubkeras.json").write_bytes(marker(files={name: {"size": 1, "sha256": ""}}))
    assert contents(resolve(module)) == FILES


def test_marker_that_is_a_directory(module):
    """Counts as none, too."""
    directory = Path(resolve(module))
    (directory / ".hubkeras.json").unlink()
    (directory / ".hubkeras.json").mkdir()
    assert resolve(module) == str(directory)
    assert verify_cached() == []


def test_link_that_leads_nowhere_is_replaced(module, cache):
    """Somebody removed a folder by hand."""
    cache.mkdir()
    entry = CacheEntry.of(cache, module)
    entry.directory.symlink_to("0" * 40)
    assert contents(resolve(module)) == FILES
    assert not entry.directory.is_symlink()
