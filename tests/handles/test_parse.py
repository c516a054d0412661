"""What users write, and what it means."""

import os
from pathlib import Path

import pytest

from handles.samples import FILES, contents, make_module, make_tar, make_zip
from hubkeras.errors import ArchiveError, HandleError, HubKerasError, MissingFileError
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.parse import parse_handle
from hubkeras.handles.resolver import is_available, resolve
from hubkeras.handles.tfhub_to_kaggle import PAIRS

NNLM = "https://tfhub.dev/google/nnlm-en-dim128/1"
SHORT = "google/nnlm/tensorFlow1/en-dim128/1"


@pytest.mark.parametrize(
    ("handle", "sha1"),
    [
        ("https://tfhub.dev/google/imagenet/nasnet_large/classification/1", "67f40766542914aa2dd2ec6923c4f353f6d0663c"),
        ("https://tfhub.dev/google/universal-sentence-encoder/2", "1fb57c3ffe1a38479233ee9853ddd7a8ac8a8c47"),
        ("https://tfhub.dev/google/elmo/2", "9bb74bc86f9caffc8c47dd7b33ec4bb354d9602d"),
    ],
)
def test_folders_have_the_names_that_tensorflow_hub_gives(cache, handle, sha1):
    """Known names from users' reports."""
    assert CacheEntry.of(cache, parse_handle(handle).names[0]).name == sha1


def test_directory_as_text_path_and_url(tmp_path, monkeypatch):
    """All give the same absolute path."""
    module = make_module(tmp_path / "my module")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for handle in (str(module), module, "my module", "./my module/", "~/my module", module.as_uri(), Path("my module")):
        assert resolve(handle) == str(module)
        assert is_available(handle)


def test_existing_path_wins_over_a_kaggle_handle(tmp_path, monkeypatch):
    """A text can be both."""
    module = make_module(tmp_path / SHORT)
    monkeypatch.chdir(tmp_path)
    assert resolve(SHORT) == str(module)


def test_path_objects_are_paths_whatever_they_look_like(tmp_path, monkeypatch):
    """They never become Kaggle handles."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError):
        resolve(Path(SHORT))


def test_missing_path_is_file_not_found(tmp_path):
    """And the nearest name beside it is offered."""
    make_module(tmp_path / "half_plus_two")
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*half_plus_two") as caught:
        resolve(tmp_path / "half_plus_too")
    assert isinstance(caught.value, HubKerasError)
    assert not is_available(tmp_path / "half_plus_too")


@pytest.mark.parametrize("suffix", ["tar.gz", "tgz", "tar", "zip"])
def test_local_archive_is_unpacked_once(tmp_path, suffix):
    """Into the cache, and anew when it changes."""
    path = tmp_path / f"m.{suffix}"
    packed = {"zip": make_zip, "tar": lambda files: make_tar(files, "")}.get(suffix, make_tar)
    path.write_bytes(packed(FILES))
    directory = resolve(path)
    assert contents(directory) == FILES
    assert resolve(path.as_uri()) == directory
    assert is_available(path)
    changed = {**FILES, "assets/words.txt": b"longer than before\n"}
    path.write_bytes(packed(changed))
    assert contents(resolve(path)) == changed
    assert contents(directory) == FILES


def test_local_archive_works_offline(tmp_path, monkeypatch):
    """It needs no network."""
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    (tmp_path / "m.tgz").write_bytes(make_tar())
    assert contents(resolve(tmp_path / "m.tgz")) == FILES


def test_local_file_that_is_no_archive_is_named(tmp_path):
    """In the error."""
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n" + bytes(500))
    with pytest.raises(ArchiveError, match=r"weights\.h5.*no archive") as caught:
        resolve(tmp_path / "weights.h5")
    assert "HDF" not in str(caught.value)  # a Keras file may name any file for its handle


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="There are no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    """Opening one takes until somebody else opens its other end."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArchiveError, match=r"Received: neither"):
        resolve(tmp_path / "pipe")


KAGGLE_NAMES = [
    SHORT,
    "google/nnlm/tensorflow1/en-dim128/1",
    "google/nnlm/TensorFlow1/en-dim128/1",
    f"https://www.kaggle.com/models/{SHORT}",
    f"https://kaggle.com/models/{SHORT}/",
    f"https://www.kaggle.com/models/{SHORT}?tfhub-redirect=true",
    "http://www.kaggle.com/models/google/nnlm/TensorFlow1/en-dim128/1",
    "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow1/variations/en-dim128/versions/1",
    "https://kaggle.com/models/google/nnlm/frameworks/TensorFlow1/variations/en-dim128/versions/1?tfhub-redirect=true",
    NNLM,
    f"{NNLM}/",
    f"{NNLM}?tf-hub-format=compressed",
    "http://tfhub.dev/google/nnlm-en-dim128/1",
    "HTTPS://TFHub.dev/google/nnlm-en-dim128/1",
    "https://hub.tensorflow.google.cn/google/nnlm-en-dim128/1",
]


@pytest.mark.parametrize("handle", KAGGLE_NAMES)
def test_all_names_of_one_model_lead_to_one_entry(handle):
    """tfhub.dev, its mirror, Kaggle in both forms, short handles, with and without redirect."""
    assert parse_handle(handle).names[0] == NNLM
    assert str(parse_handle(handle)) == handle


@pytest.mark.parametrize("path", PAIRS)
def test_known_pairs_are_handles_of_one_model(path):
    """Each in both directions."""
    assert parse_handle(PAIRS[path]).names[0] == f"https://tfhub.dev/{path}"
    assert f"https://www.kaggle.com/models/{PAIRS[path]}" in parse_handle(f"https://tfhub.dev/{path}").names


def test_version_may_be_missing():
    """It is another entry than that of any version."""
    names = parse_handle("google/nnlm/tensorFlow1/en-dim128").names
    assert names[0] == "https://www.kaggle.com/models/google/nnlm/tensorFlow1/en-dim128"
    assert not set(names) & set(parse_handle(SHORT).names)


@pytest.mark.parametrize(
    ("handle", "nearest"),
    [
        ("google/nnlm/tensorflow/en-dim128/1", "google/nnlm/tensorFlow"),
        ("google/nnlm/tensorFlow1/en-dim128/v1", SHORT),
        ("tfhub.dev/google/nnlm-en-dim128/1", NNLM),
        ("google/elmo/3", "google/elmo/3"),
        ("www.kaggle.com/models/google/albert/tensorFlow1/base/3", "google/albert/tensorFlow1/base/3"),
    ],
)
def test_wrong_handle_names_the_forms_and_the_nearest_one(handle, nearest):
    """As text."""
    with pytest.raises(MissingFileError, match="Did you mean") as caught:
        resolve(handle)
    assert nearest in str(caught.value).partition("Did you mean")[2]
    for form in ("file:///", "https://tfhub.dev/<publisher>", "<owner>/<model>/<framework>", "gs://"):
        assert form in str(caught.value)


@pytest.mark.parametrize(
    "handle",
    ["", "http://", "https:///model", "https://www.kaggle.com/models/google/nnlm", "https://tfhub.dev/", "http://[::1",
     "a\0b", "file://elsewhere/model"],
)  # fmt: skip
def test_texts_without_any_form_are_refused(handle):
    """As ValueError."""
    with pytest.raises(HandleError, match="Expected"):
        parse_handle(handle)


@pytest.mark.parametrize("handle", [None, 3, b"model", ["model"]])
def test_other_types_are_refused(handle):
    """With what was received."""
    with pytest.raises(HandleError, match="Received"):
        parse_handle(handle)


def test_handles_of_the_web_know_their_archive(monkeypatch):
    """tf-hub-format is added once, and not to an archive's own address."""
    for text, url in [
        ("https://h.example/m/1", "https://h.example/m/1?tf-hub-format=compressed"),
        ("https://H.example/m/1?a=b#x", "https://h.example/m/1?a=b&tf-hub-format=compressed"),
        ("https://h.example/m/1?tf-hub-format=compressed", "https://h.example/m/1?tf-hub-format=compressed"),
        ("https://h.example/m.zip?a=b", "https://h.example/m.zip?a=b"),
    ]:
        assert parse_handle(text).archive_url == url


def test_pathlike_objects_of_any_class_are_paths(tmp_path):
    """os.PathLike is enough."""
    module = make_module(tmp_path / "m")

    class Here(os.PathLike):
        def __fspath__(self):
            return str(module)

    assert resolve(Here()) == str(module)


@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb"])
def test_a_file_of_a_module_is_not_its_folder(tmp_path, name):
    (tmp_path / "m").mkdir()
    for exists in (False, True):
        for handle in (tmp_path / "m" / name, f"file://{tmp_path}/m/{name}"):
            with pytest.raises(HandleError, match=f"Pass '{tmp_path}/m'") as info:
                resolve(handle)
            assert exists == (tmp_path / "m" / name).exists(), info.value
        (tmp_path / "m" / name).write_bytes(b"")
    with pytest.raises(HandleError, match="Pass 'ram://one'"):
        resolve(f"ram://one/{name}")
