"""tfhub.dev, its mirror and Kaggle, as they answer and as they fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handles.hosts import Reply
from handles.samples import FILES, contents, make_module, make_tar
from hubkeras.errors import DownloadError
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.resolver import is_available, resolve

ARCHIVE = make_tar()
NNLM = "https://tfhub.dev/google/nnlm-en-dim128/1"
SHORT = "google/nnlm/tensorFlow1/en-dim128/1"
KAGGLE = f"https://www.kaggle.com/models/{SHORT}"
LONG = "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow1/variations/en-dim128/versions/1"
REST = f"https://www.kaggle.com/api/v1/models/{SHORT}/download"
SIGNED = "https://storage.googleapis.com/kagglesdsdata/models/1/2/m.tar.gz"


def to_signed(*_):
    return Reply(b"", 302, {"Location": f"{SIGNED}?X-Goog-Signature=secret"})


def test_tfhub_redirects_to_kaggles_storage(internet):
    """The chain of hosts ends at a signed address."""
    internet.replies[NNLM] = Reply(b"", 301, {"Location": f"{KAGGLE}?tfhub-redirect=true&tf-hub-format=compressed"})
    internet.replies[KAGGLE] = to_signed()
    internet.replies[SIGNED] = ARCHIVE
    assert contents(resolve(NNLM)) == FILES
    assert internet.asked(NNLM)[0].query == {"tf-hub-format": ["compressed"]}


@pytest.mark.parametrize("handle", [SHORT, KAGGLE, LONG, f"{LONG}?tfhub-redirect=true"])
def test_kaggle_needs_no_credentials(internet, handle):
    """Its plain download address redirects to the storage."""
    internet.replies[REST] = to_signed()
    internet.replies[SIGNED] = ARCHIVE
    assert contents(resolve(handle)) == FILES
    assert not any("Authorization" in request.headers for request in internet.requests)


def test_one_download_serves_all_names(internet, cache):
    """And tensorflow_hub finds the module under each address that was used."""
    internet.replies[REST] = ARCHIVE
    names = [SHORT, LONG, KAGGLE, NNLM, f"{NNLM}/", "https://hub.tensorflow.google.cn/google/nnlm-en-dim128/1"]
    assert len({resolve(name) for name in names}) == 1
    assert len(internet.requests) == 1
    for name in names[1:]:
        assert contents(CacheEntry.of(cache, name).directory) == FILES


@pytest.mark.parametrize("name", [LONG, KAGGLE, NNLM, f"{KAGGLE}?tfhub-redirect=true"])
def test_entries_of_tensorflow_hub_serve_all_names(cache, name, monkeypatch):
    """Whichever of the addresses it used."""
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    made = make_module(CacheEntry.of(cache, name).directory)
    for handle in (SHORT, NNLM, LONG):
        assert is_available(handle)
        assert resolve(handle) == str(made)


def test_latest_version_is_asked_for(internet):
    """Where the handle names none."""
    base = "https://www.kaggle.com/api/v1/models/google/nnlm/tensorFlow1/en-dim128"
    internet.replies[f"{base}/get"] = json.dumps({"versionNumber": 7}).encode()
    internet.replies[f"{base}/7/download"] = ARCHIVE
    assert contents(resolve("google/nnlm/tensorFlow1/en-dim128")) == FILES


def test_latest_version_of_a_model_that_is_described_at_length(internet):
    """Kaggle's answer holds the model's whole description."""
    base = "https://www.kaggle.com/api/v1/models/google/nnlm/tensorFlow1/en-dim128"
    answer = json.dumps({"overview": "long " * 20_000, "versionNumber": 7}).encode()
    internet.replies[f"{base}/get"] = Reply(answer, piece=3_000)
    internet.replies[f"{base}/7/download"] = ARCHIVE
    assert contents(resolve("google/nnlm/tensorFlow1/en-dim128")) == FILES


@pytest.mark.parametrize(
    "version", ["null", "[]", '"x"', "1e999", "-Infinity", "NaN", "{}", "9" * 4000 + "9" * 90, "[" * 4000, ""]
)
def test_version_that_is_none_is_an_error(internet, version):
    """Whatever JSON can say."""
    base = "https://www.kaggle.com/api/v1/models/google/nnlm/tensorFlow1/en-dim128"
    internet.replies[f"{base}/get"] = b'{"versionNumber": ' + version.encode() + b"}"
    with pytest.raises(DownloadError):
        resolve("google/nnlm/tensorFlow1/en-dim128")


def test_answer_without_a_version_is_shown(internet):
    """And a version is asked of the user."""
    base = "https://www.kaggle.com/api/v1/models/google/nnlm/tensorFlow1/en-dim128"
    internet.replies[f"{base}/get"] = b'{"message": "odd"}'
    with pytest.raises(DownloadError, match=r"odd.*Name a version"):
        resolve("google/nnlm/tensorFlow1/en-dim128")


def test_kaggle_falls_back_to_the_hosting_protocol(internet):
    """Its model pages answer as tfhub.dev did."""
    internet.replies[REST] = Reply(b"no", 403)
    internet.replies[KAGGLE] = to_signed()
    internet.replies[SIGNED] = ARCHIVE
    assert contents(resolve(SHORT)) == FILES
    assert internet.asked(KAGGLE)[0].query == {"tf-hub-format": ["compressed"]}


def test_tfhub_that_fails_falls_back_to_kaggle(internet):
    """By the pair of names that is known."""
    internet.replies[NNLM] = to_signed()
    internet.replies[SIGNED] = Reply(b"<Code>SignatureDoesNotMatch</Code>", 403)
    internet.replies[REST] = ARCHIVE
    assert contents(resolve(NNLM)) == FILES


def test_tfhub_that_does_not_answer_falls_back_to_kaggle(internet, monkeypatch):
    """After its attempts."""
    monkeypatch.setenv("HUBKERAS_RETRIES", "1")
    internet.replies[NNLM] = Reply(b"", 503)
    internet.replies[REST] = ARCHIVE
    assert contents(resolve(NNLM)) == FILES


def test_error_says_which_kaggle_handle_to_try(internet, cache):
    """Where nothing answered."""
    internet.replies[NNLM] = Reply(b"<html>gone</html>", 410, {"Content-Type": "text/html"})
    with pytest.raises(DownloadError, match=r"Cannot fetch https://tfhub\.dev/google/nnlm-en-dim128/1") as caught:
        resolve(NNLM)
    assert f"{SHORT!r}: use that as the handle" in str(caught.value)
    assert "status 410" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_error_shows_the_way_through_kaggle(internet):
    """Its address there is the handle to try, also where the pair of names is not known."""
    page = "https://www.kaggle.com/models/google/x/tensorFlow1/y/3"
    internet.replies["https://tfhub.dev/google/x/y/1"] = Reply(b"", 301, {"Location": f"{page}?tfhub-redirect=true"})
    internet.replies[page] = to_signed()
    internet.replies[SIGNED] = Reply(b"<Code>SignatureDoesNotMatch</Code>", 403)
    with pytest.raises(DownloadError, match="SignatureDoesNotMatch") as caught:
        resolve("https://tfhub.dev/google/x/y/1")
    assert f"by way of https://tfhub.dev/google/x/y/1, {page})" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_unknown_address_of_tfhub_is_told_the_way(internet):
    """The model page of Kaggle is what tfhub.dev answers then."""
    internet.replies["https://tfhub.dev/google/nnlm-en-dim129/1"] = Reply(
        b"", 302, {"Location": "https://www.kaggle.com/models?tfhub-redirect=true"}
    )
    page = Reply(b"<!DOCTYPE html><title>Models", headers={"Content-Type": "text/html"})
    internet.replies["https://www.kaggle.com/models"] = page
    with pytest.raises(DownloadError, match=r"kaggle\.com/models and use its handle") as caught:
        resolve("https://tfhub.dev/google/nnlm-en-dim129/1")
    assert SHORT in str(caught.value)


def test_mirror_has_its_own_storage(internet):
    """No query, no redirect."""
    internet.replies["https://gcs.tensorflow.google.cn/tfhub-modules/google/x/2.tar.gz"] = ARCHIVE
    assert contents(resolve("https://hub.tensorflow.google.cn/google/x/2")) == FILES
    assert internet.requests[0].query == {}


def test_other_frameworks_have_no_handles():
    """They hold no SavedModel."""
    with pytest.raises(FileNotFoundError, match="with framework tensorFlow1 or tensorFlow2"):
        resolve("google/mobilenet-v2/tfLite/small/1")


KAGGLEHUB = """
import os, pathlib
def model_download(handle):
    pathlib.Path(os.environ["ASKED"]).write_text(handle)
    if "MODULE" not in os.environ:
        raise ValueError("403 for https://storage.googleapis.com/x?X-Goog-Signature=secret")
    return os.environ["MODULE"]
"""


@pytest.fixture
def kagglehub(tmp_path, monkeypatch):
    """A package of that name, whose one function does what the real one does for its caller."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "kagglehub.py").write_text(KAGGLEHUB)
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "key")

    def run(handle):
        script = Path(__file__).with_name("child.py")
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "packages")}
        return subprocess.run(
            [sys.executable, str(script), handle], env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_kagglehub_is_used_with_credentials(kagglehub, tmp_path, cache, monkeypatch):
    """Its folder is used where it is, and stays known offline, to tensorflow_hub too."""
    module = make_module(tmp_path / "kagglehub-cache")
    monkeypatch.setenv("MODULE", str(module))
    assert kagglehub(SHORT).stdout.strip() == str(module)
    assert (tmp_path / "asked").read_text() == SHORT
    assert contents(CacheEntry.of(cache, NNLM).directory) == FILES
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    assert resolve(KAGGLE) == str(module)


def test_kagglehub_that_fails_gives_way_to_plain_https(kagglehub, internet):
    """Its reasons may hold signatures, so only their kind is told."""
    internet.replies[REST] = ARCHIVE
    result = kagglehub(SHORT)
    assert contents(result.stdout.strip()) == FILES
    internet.replies.clear()
    result = kagglehub("google/elmo/tensorFlow1/elmo/3")
    assert "kagglehub cannot fetch" in result.stderr
    assert "secret" not in result.stderr


def test_kagglehub_is_not_used_without_credentials(kagglehub, internet, tmp_path, monkeypatch):
    """It would ask for them."""
    monkeypatch.delenv("KAGGLE_KEY")
    internet.replies[REST] = ARCHIVE
    assert contents(kagglehub(SHORT).stdout.strip()) == FILES
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("variable", ["KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG"])
def test_kagglehub_is_used_inside_kaggle_and_colab(kagglehub, tmp_path, monkeypatch, variable):
    """It mounts modules there."""
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("MODULE", str(make_module(tmp_path / "mounted")))
    assert kagglehub(SHORT).stdout.strip() == str(tmp_path / "mounted")
