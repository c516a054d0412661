"""tensorflow_hub 0.16.1 and hubkeras at one cache, each in its own process."""

import importlib.util
import json
import os

import forks
import pytest

from handles.hosts import Reply
from handles.samples import FILES, contents, make_tar
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.resolver import is_available, resolve

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_hub") is None, reason="tensorflow_hub is not installed"
)

SCRIPT = """
import json, sys
import tensorflow_hub
print(json.dumps([tensorflow_hub.resolve(handle) for handle in sys.argv[1:]]))
"""
LONG = "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow1/variations/en-dim128/versions/1"


def tensorflow_hub(*handles):
    result = forks.run(SCRIPT, *handles)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_each_reads_what_the_other_fetched(host, internet, cache, monkeypatch):
    """Ours are found under every address that was used with us, theirs under every address of the model."""
    host.replies["/ours/1"] = host.replies["/theirs/1"] = make_tar()
    internet.replies["https://www.kaggle.com/api/v1/models/google/nnlm/tensorFlow1/en-dim128/1/download"] = make_tar()
    ours = [f"{host.url}/ours/1", LONG]
    mine = [resolve(handle) for handle in ours]
    host.replies["/ours/1"] = Reply(b"no", 404)
    found = tensorflow_hub(*ours, f"{host.url}/theirs/1")
    assert [os.path.realpath(path) for path in found[:2]] == mine
    assert len(host.asked("/ours/1")) == 1
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    assert is_available(f"{host.url}/theirs/1")
    assert resolve(f"{host.url}/theirs/1") == found[2] == str(CacheEntry.of(cache, f"{host.url}/theirs/1").directory)
    assert contents(found[2]) == FILES
    descriptors = [CacheEntry.of(cache, f"{host.url}/{name}/1").descriptor.read_text() for name in ("ours", "theirs")]
    assert [[line.partition(":")[0] for line in text.splitlines()] for text in descriptors] == [
        ["Module", "Download Time", "Downloader Hostname"]
    ] * 2
    assert descriptors[0].splitlines()[0] == f"Module: {host.url}/ours/1"
