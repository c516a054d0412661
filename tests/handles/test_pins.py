"""Pins hold: against servers, archives that change, caches elsewhere, and whoever writes into the cache."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from handles.samples import FILES, contents, make_module, make_tar, make_zip
from hubkeras.errors import CacheError, HandleError, MissingFileError
from hubkeras.handles.archive_members import FileDigest
from hubkeras.handles.cache import cached_modules, pin, pinned_sha256, remove_cached, unpin
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.completeness import Marker, digest_files, tree_sha256
from hubkeras.handles.resolver import resolve

NNLM = "https://tfhub.dev/google/nnlm-en-dim128/1"
OTHER = {**FILES, "assets/words.txt": b"c\nd\n"}
REFUSED = "not the one that was pinned"


@pytest.fixture
def module(host):
    host.replies["/model/1"] = make_tar()
    return f"{host.url}/model/1"


def test_pin_holds_against_another_download(module, host, cache):
    """The module in the cache is pinned, then the server serves another one."""
    first = resolve(module)
    value = pin(module)
    assert value == cached_modules()[0].sha256 == pinned_sha256(module)
    remove_cached(module)
    host.replies["/model/1"] = make_tar(OTHER)
    with pytest.raises(CacheError, match=f"not the one that was pinned.*{value}"):
        resolve(module)
    assert cached_modules() == []
    host.replies["/model/1"] = make_tar(FILES, packing="")
    assert resolve(module) == first
    unpin(module)
    assert pinned_sha256(module) == ""


def test_pin_before_the_download(module, host):
    """By the sha256 of the archive, or of the files; in any spelling of the handle."""
    archive = make_tar()
    pin(module, hashlib.sha256(archive).hexdigest().upper())
    assert contents(resolve(module)) == FILES
    remove_cached(module)
    host.replies["/model/1"] = make_tar(OTHER)
    with pytest.raises(CacheError, match="pinned"):
        resolve(module)


def test_pin_holds_for_entries_of_tensorflow_hub(cache):
    """Their files are read."""
    make_module(CacheEntry.of(cache, NNLM).directory)
    value = pin("google/nnlm/tensorFlow1/en-dim128/1")
    assert resolve(NNLM)
    pin(NNLM, "0" * 64)
    with pytest.raises(CacheError, match=value):
        resolve(NNLM)


@pytest.mark.parametrize("value", ["", "abc", "g" * 64])
def test_pin_to_what_is_no_sha256(value):
    """Is refused."""
    with pytest.raises(HandleError, match="64 hexadecimal"):
        pin(NNLM, value)


def test_directories_cannot_be_pinned(tmp_path):
    """They are used where they lie."""
    with pytest.raises(HandleError, match="where it lies"):
        pin(make_module(tmp_path / "m"))


def forge_marker(directory, files, archive_sha256=""):
    """What somebody writes who knows how hubkeras vouches for its own entries."""
    listed = {name: digest for name, digest in digest_files(directory).items()}
    Marker("m", tree_sha256(files), archive_sha256, listed).write(directory)


def test_pin_holds_for_a_local_archive_that_is_exchanged(tmp_path):
    """Also where the other one was unpacked into the cache before the pin."""
    archive = tmp_path / "m.tar.gz"
    archive.write_bytes(make_tar())
    resolve(archive)
    value = pin(archive)
    archive.write_bytes(make_tar(OTHER))
    for _ in range(2):
        with pytest.raises(CacheError, match=f"{REFUSED}.*{value}"):
            resolve(archive)
    unpin(archive)
    assert contents(resolve(archive)) == OTHER
    pin(archive, value)
    with pytest.raises(CacheError, match=REFUSED):
        resolve(archive)
    archive.write_bytes(make_tar())
    assert contents(resolve(archive)) == FILES
    assert pinned_sha256(f"file://{archive}") == value


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of the last change of a file's entry")
def test_pin_holds_for_a_local_archive_with_forged_size_and_time(tmp_path):
    """A cached copy of the old archive does not stand in for the new one."""
    archive = tmp_path / "m.tar"
    archive.write_bytes(make_tar(packing=""))
    before = archive.stat()
    resolve(archive)
    pin(archive)
    archive.write_bytes(make_tar(OTHER, packing=""))
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (archive.stat().st_size, archive.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(CacheError, match=REFUSED):
        resolve(archive)


def test_pin_holds_for_a_directory_in_the_place_of_a_local_archive(tmp_path):
    """Where the archive was, there is now a folder, which would be used in place."""
    archive = tmp_path / "m.tar.gz"
    archive.write_bytes(make_tar())
    resolve(archive)
    pin(archive)
    archive.unlink()
    make_module(archive, OTHER)
    with pytest.raises(CacheError, match=REFUSED):
        resolve(archive)


def test_pin_of_a_local_archive_by_its_own_sha256(tmp_path):
    """Before it is ever used, and after."""
    archive = tmp_path / "m.zip"
    archive.write_bytes(make_zip())
    pin(archive, hashlib.sha256(archive.read_bytes()).hexdigest())
    assert resolve(archive) == resolve(archive)
    archive.write_bytes(make_zip(OTHER))
    with pytest.raises(CacheError, match=REFUSED):
        resolve(archive)


def test_local_archive_that_is_gone(tmp_path):
    """Its pin can be read and removed; the archive itself is missed by name."""
    archive = tmp_path / "m.tar.gz"
    pin(archive, "0" * 64)
    assert pinned_sha256(archive) == "0" * 64
    unpin(archive)
    assert pinned_sha256(archive) == ""
    with pytest.raises(MissingFileError, match="does not exist"):
        remove_cached(archive)


@pytest.fixture
def remote_cache(monkeypatch, tmp_path):
    """A cache directory that TensorFlow alone can read, and a function that puts a module into it."""
    gfile = pytest.importorskip("tensorflow").io.gfile
    monkeypatch.setenv("TFHUB_CACHE_DIR", f"ram://{tmp_path.name}/cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))

    def put(handle, files):
        folder = f"ram://{tmp_path.name}/cache/{CacheEntry.of(Path(), handle).name}"
        if gfile.exists(folder):
            gfile.rmtree(folder)
        for name, body in files.items():
            gfile.makedirs(f"{folder}/{name}".rpartition("/")[0])
            with gfile.GFile(f"{folder}/{name}", "wb") as file:
                file.write(body)
        return folder

    return put


def test_pin_holds_for_a_cache_on_another_filesystem(remote_cache):
    """Its files are read there, and the sha256 is that of the same files here."""
    folder = remote_cache(NNLM, FILES)
    assert resolve(NNLM) == folder
    value = pin(NNLM)
    assert resolve("google/nnlm/tensorFlow1/en-dim128/1") == folder
    remote_cache(NNLM, OTHER)
    with pytest.raises(CacheError, match=f"{REFUSED}.*{value}"):
        resolve(NNLM)
    remote_cache(NNLM, {**FILES, "assets/added": b""})
    with pytest.raises(CacheError, match=REFUSED):
        resolve(NNLM)
    marker = {"handle": NNLM, "sha256": value, "archive_sha256": value, "files": {}}
    remote_cache(NNLM, {**OTHER, ".hubkeras.json": json.dumps(marker).encode()})
    with pytest.raises(CacheError, match=REFUSED):
        resolve(NNLM)


def test_sha256_of_files_is_the_same_on_every_filesystem(remote_cache, tmp_path):
    """So that a pin made here serves there."""
    remote_cache(NNLM, {**FILES, ".hubkeras.json": b"{}"})
    assert pin(NNLM) == tree_sha256(digest_files(make_module(tmp_path / "m")))


def test_pin_of_a_module_that_no_cache_holds(remote_cache):
    """Is refused, with what is there."""
    with pytest.raises(CacheError, match="is not in the cache"):
        pin(NNLM)


def test_pin_is_not_satisfied_by_the_marker_of_a_poisoned_entry(module):
    """It says what the pin wants to hear; the files are others."""
    directory = Path(resolve(module))
    value = pin(module)
    archive = Marker.read(directory).archive_sha256
    make_module(directory, OTHER)
    forge_marker(directory, {name: digest for name, digest in Marker.read(directory).files.items()}, archive)
    for pinned in (value, archive):
        pin(module, pinned)
        with pytest.raises(CacheError, match=REFUSED):
            resolve(module)


def test_pin_sees_what_links_lead_to(module, tmp_path):
    """TensorFlow follows a link to a folder, so what lies behind it is part of the module."""
    directory = Path(resolve(module))
    pin(module)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "words.txt").write_bytes(b"x\n")
    (directory / "more").symlink_to(tmp_path / "other")
    with pytest.raises(CacheError, match=REFUSED):
        resolve(module)
    (tmp_path / "other" / "back").symlink_to(directory)
    with pytest.raises(CacheError, match="a link to a folder that it lies in"):
        resolve(module)


def test_a_line_break_in_a_name_makes_no_second_file():
    one, other = FileDigest(1, "1" * 64), FileDigest(1, "2" * 64)
    assert tree_sha256({"a": one, "b": other}) != tree_sha256({f"a\n{other.sha256}  b": one})


def test_pin_is_not_taken_from_a_marker(module):
    """What is pinned without a sha256 is what lies there."""
    directory = Path(resolve(module))
    make_module(directory, OTHER)
    assert pin(module) == tree_sha256(digest_files(directory)) != Marker.read(directory).sha256


def test_pin_sees_a_changed_byte_at_every_use(module):
    """Also where the pin is the sha256 of the archive, which the files alone do not tell."""
    pin(module, hashlib.sha256(make_tar()).hexdigest())
    directory = Path(resolve(module))
    assert resolve(module) == str(directory)
    (directory / "assets" / "words.txt").write_bytes(b"x\ny\n")
    with pytest.raises(CacheError, match=rf"{REFUSED}.*remove_cached"):
        resolve(module)
    remove_cached(module)
    assert contents(resolve(module)) == FILES


def test_pin_of_an_archive_whose_module_is_cached_asks_for_a_new_download(module):
    """Nothing but the marker says from which archive the files came."""
    value = hashlib.sha256(make_tar()).hexdigest()
    resolve(module)
    pin(module, value)
    with pytest.raises(CacheError, match="remove_cached"):
        resolve(module)
    remove_cached(module)
    assert contents(resolve(module)) == FILES


@pytest.mark.parametrize("damage", [b"", b"abc\n", b"\xff" * 64, b"0" * 5000, None])
def test_pin_that_cannot_be_read_never_counts_as_none(module, cache, damage):
    """Otherwise whoever damages it removes it."""
    resolve(module)
    path = CacheEntry.of(cache, module).pin
    path.mkdir() if damage is None else path.write_bytes(damage)
    with pytest.raises(CacheError, match=r"[Tt]he pin .*\.pin"):
        resolve(module)


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("prefix", ["", "nnlm/"])
@pytest.mark.parametrize("name", [".hubkeras.json", ".HubKeras.JSON", ".hubkeras.json/x", "assets/.hubkeras.json"])
def test_marker_in_an_archive_is_dropped(host, make, prefix, name):
    """It is written by the cache alone."""
    forged = b'{"handle": "forged", "sha256": "", "files": {}}'
    host.replies["/model/1"] = make({**FILES, name: forged}, prefix=prefix)
    directory = Path(resolve(f"{host.url}/model/1"))
    assert contents(directory) == FILES
    assert sorted(path.name for path in directory.rglob("*") if "ubkeras" in path.name.lower()) == [".hubkeras.json"]
    marker = Marker.read(directory)
    assert (marker.handle, set(marker.files)) == (f"{host.url}/model/1", set(FILES))
