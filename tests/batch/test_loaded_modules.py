"""Modules of a process: loaded once, and refused with a word on where it was."""

import os
import pickle
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubkeras.batch import Predictor, loaded_modules
from hubkeras.batch.loaded_modules import ModuleSource, loaded_module
from hubkeras.cli.demo import MODULE
from hubkeras.errors import FormatError, MissingFileError, OfflineError, TagsError, UnsafeModuleError, WorkerError


def test_threads_share_one_module():
    """Whoever comes first loads it."""
    source = ModuleSource(str(MODULE), allow_ops=frozenset({"threads"}))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: loaded_module(source), range(16)))
    assert len({id(module) for module in found}) == 1


def test_unpickled_predictors_share_one_module():
    """As engines unpickle them for every batch."""
    predict = Predictor(MODULE, batch_size=7)
    again = pickle.loads(pickle.dumps(predict))
    assert again.row_signature().module is predict.row_signature().module
    other = Predictor(MODULE, tags=[])
    assert other.row_signature().module is not predict.row_signature().module


def test_few_modules_stay():
    """Those that were asked for last."""
    sources = [ModuleSource(str(MODULE), allow_ops=frozenset({str(number)})) for number in range(10)]
    first = loaded_module(sources[0])
    for source in sources[1:8]:
        loaded_module(source)
    assert loaded_module(sources[0]) is first
    for source in sources[8:]:
        loaded_module(source)
    assert len(loaded_modules._PROCESS.modules) == 8
    assert loaded_module(sources[0]) is first
    assert sources[1] not in loaded_modules._PROCESS.modules


def test_a_worker_that_may_not_download_says_so(monkeypatch, tmp_path):
    """With the handle, without its secrets; the machine; and what to do."""
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    predict = Predictor("https://me:secret@example.org/model/1")
    with pytest.raises(OfflineError) as raised:
        predict({"text": ["a"]})
    message = str(pickle.loads(pickle.dumps(raised.value)))
    place = f"in process {os.getpid()} on {socket.gethostname()}"
    for part in ("https://example.org/model/1", place, "TFHUB_CACHE_DIR", "every worker"):
        assert part in message
    assert "secret" not in message


def test_other_failures_say_where(tmp_path):
    """Each keeps its class."""
    with pytest.raises(MissingFileError, match=r"on .*every worker sees"):
        Predictor(tmp_path / "nothing")({"text": ["a"]})
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(FormatError, match="Cannot load") as raised:
        Predictor(tmp_path)({"text": ["a"]})
    assert "every worker" not in str(raised.value)
    with pytest.raises(TagsError, match="Cannot load"):
        Predictor(MODULE, tags=["none"])({"text": ["a"]})


def test_the_gate_judges_in_workers(tmp_path):
    """And what a predictor allows is allowed."""
    from building import v1
    from building import write as build

    def variant(tags):
        del tags
        paths = v1.placeholder("string", [None], "paths")
        return {"default": ({"paths": paths}, {"default": v1.map_fn(v1.io.read_file, paths)})}

    path, text = build(tmp_path / "reads", variant), tmp_path / "text"
    text.write_text("words")
    with pytest.raises(UnsafeModuleError, match="ReadFile"):
        Predictor(path)({"paths": [str(text)]})
    found = Predictor(path, allow_ops=["ReadFile"])({"paths": [str(text)]})
    assert found["default"].tolist() == [b"words"]
    assert Predictor(path, safe_mode=False)({"paths": [str(text)]})["default"].tolist() == [b"words"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_fork_is_refused():
    """TensorFlow would hang there; also where another thread was loading at the time."""
    predict = Predictor(MODULE)
    predict({"text": ["a"]})
    reader, writer = os.pipe()
    with loaded_modules._PROCESS.lock:
        child = os.fork()
        if not child:
            try:
                predict({"text": ["a"]})
            except BaseException as error:
                os.write(writer, pickle.dumps(error))
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        error = pickle.loads(file.read())
    os.waitpid(child, 0)
    assert isinstance(error, WorkerError)
    assert 'get_context("spawn")' in str(error)
    assert predict({"text": ["a"]})["default"].shape == (1, 32)
