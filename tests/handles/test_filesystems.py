"""Filesystems that only TensorFlow knows, and the protocol that leads to them."""

import os
import subprocess
import sys
from pathlib import Path

import forks
import pytest

from handles.hosts import Reply
from handles.samples import FILES, contents, make_module, make_tar
from hubkeras.errors import ArchiveError, DownloadError, HandleError, OfflineError
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.resolver import is_available, resolve

tf = pytest.importorskip("tensorflow")


def put(path, body):
    tf.io.gfile.makedirs(path.rpartition("/")[0])
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(body)


def test_directory_is_used_where_it_lies():
    """The handle comes back unchanged."""
    put("ram://one/module/saved_model.pb", b"x")
    assert resolve("ram://one/module") == "ram://one/module"
    assert is_available("ram://one/module")
    assert not is_available("ram://one/other")


def test_directory_that_is_not_there():
    """Is not found."""
    with pytest.raises(FileNotFoundError, match="ram://one/nothing does not exist"):
        resolve("ram://one/nothing")


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar", ".zip"])
def test_archive_is_unpacked_into_the_cache(suffix):
    """While TensorFlow reads it."""
    put(f"ram://two/m{suffix}", make_tar(packing="" if suffix == ".tar" else "gz"))
    directory = resolve(f"ram://two/m{suffix}")
    assert contents(directory) == FILES


def test_archive_that_is_damaged():
    """Is named."""
    put("ram://three/m.tar.gz", b"hello")
    with pytest.raises(ArchiveError, match=r"ram://three/m\.tar\.gz"):
        resolve("ram://three/m.tar.gz")


def test_archive_that_is_not_there():
    """Is an error of the library, too."""
    with pytest.raises(DownloadError, match=r"ram://four/m\.tar\.gz"):
        resolve("ram://four/m.tar.gz")


def test_unknown_filesystem_names_the_forms():
    """And the package that knows more of them."""
    with pytest.raises(HandleError, match=r"file:///.*tensorflow_io"):
        resolve("nosuch://bucket/module")


def test_network_filesystems_are_not_asked_offline(monkeypatch):
    """Their modules have no entry in the cache."""
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    for handle in ("gs://bucket/module", "gs://bucket/module.tar.gz"):
        assert not is_available(handle)
        with pytest.raises(OfflineError, match="HUBKERAS_OFFLINE"):
            resolve(handle)


def test_no_tensorflow_without_need(tmp_path):
    """A child that resolves a path has not imported it, or it exits with 2."""
    (tmp_path / "m").mkdir()
    script = Path(__file__).with_name("child.py")
    subprocess.run([sys.executable, str(script), str(tmp_path / "m")], check=True, capture_output=True)


UNCOMPRESSED = """
import sys
sys.path.insert(0, {here!r})
import child
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.resolver import resolve
for handle in sys.argv[1:]:
    print(resolve(handle))
"""


def test_uncompressed_modules_are_read_from_their_bucket(internet, certificates):
    """The server answers 303 with a gs:// path as its body, and TensorFlow finds the folder there."""
    handles = ["https://modules.example/model/1", "https://tfhub.dev/google/x/1"]
    for handle in handles:
        internet.replies[handle] = Reply(b"gs://bucket/module/uncompressed", 303)
    listing = (
        b'{"items": [{"name": "module/uncompressed/saved_model.pb", "size": "1", "updated": "2024-01-01T00:00:00Z"}]}'
    )
    internet.replies["https://www.googleapis.com/storage/v1/b/bucket/o"] = listing
    internet.replies["https://www.googleapis.com/storage/v1/b/bucket"] = b'{"kind": "storage#bucket"}'
    environment = os.environ | {
        "TFHUB_MODEL_LOAD_FORMAT": "UNCOMPRESSED",
        "https_proxy": internet.url,
        "CURL_CA_BUNDLE": str(certificates / "ca.pem"),
        "NO_GCE_CHECK": "true",
        "GCS_RETRY_CONFIG_MAX_RETRIES": "0",
    }
    program = UNCOMPRESSED.format(here=str(Path(__file__).parent))
    result = forks.run(program, *handles, environment=environment)
    assert result.stdout.split() == ["gs://bucket/module/uncompressed"] * 2, result.stderr[-2000:]
    for handle in handles:
        assert internet.asked(handle)[0].query == {"tf-hub-format": ["uncompressed"]}


@pytest.mark.parametrize(
    "reply",
    [Reply(b"gs://bucket/x", 200), Reply(b"/srv/x", 303), Reply(b"no", 404)],
    ids=["status", "body", "refusal"],
)
def test_other_answers_to_uncompressed_are_shown(host, monkeypatch, reply):
    """With status and body."""
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    host.replies["/model/1"] = reply
    with pytest.raises(DownloadError, match=f"status 303 and a gs:// path.*status {reply.status}"):
        resolve(f"{host.url}/model/1")


def test_uncompressed_is_not_asked_for_offline(host, monkeypatch):
    """It never comes from the cache."""
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    with pytest.raises(OfflineError, match="TFHUB_MODEL_LOAD_FORMAT"):
        resolve(f"{host.url}/model/1")
    assert not host.requests


def test_uncompressed_leaves_archives_and_short_handles_to_the_cache(host, cache, monkeypatch):
    """Only addresses of modules can be read from a bucket."""
    make_module(CacheEntry.of(cache, "https://tfhub.dev/google/elmo/3").directory)
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    host.replies["/m.tar.gz"] = make_tar()
    assert contents(resolve(f"{host.url}/m.tar.gz")) == FILES
    assert is_available("google/elmo/tensorFlow1/elmo/3")
    assert not is_available("https://tfhub.dev/google/elmo/3")
    assert not is_available("https://www.kaggle.com/models/google/elmo/tensorFlow1/elmo/3")


def test_cache_on_another_filesystem(host, monkeypatch, tmp_path):
    """Its modules are used from there; new ones are kept on this machine."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", "ram://five/cache/")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    host.replies["/model/1"] = make_tar()
    theirs = CacheEntry.of(Path(), "https://modules.example/m/1").name
    put(f"ram://five/cache/{theirs}/saved_model.pb", b"x")
    assert resolve("https://modules.example/m/1") == f"ram://five/cache/{theirs}"
    directory = resolve(f"{host.url}/model/1")
    assert contents(directory) == FILES
    assert tmp_path in Path(directory).parents


def test_cache_by_its_url(host, monkeypatch, tmp_path):
    """`file://` is this machine."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", f"file://{tmp_path}/by url")
    host.replies["/model/1"] = make_tar()
    assert Path(resolve(f"{host.url}/model/1")).parent == tmp_path / "by url"
