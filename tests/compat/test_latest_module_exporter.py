"""`LatestModuleExporter`: what it exports of an object with the protocol of an estimator, and what it keeps."""

import types

import pytest
import tensorflow as tf

import hubkeras
import hubkeras.compat.v1 as hub
from compat.graphs import linear, v1
from hubkeras.compat.v1 import latest_module_exporter
from hubkeras.errors import ExportError


class Estimator:
    """As much of an estimator as an exporter needs."""

    config = types.SimpleNamespace(tf_random_seed=7, session_config=None)

    def __init__(self, folder, names=("embedding",)):
        self.names, self.prefix = names, str(folder / "model.ckpt")
        with tf.Graph().as_default(), v1.Session() as sess:
            v1.train.create_global_step()
            self.model_fn(tf.zeros([1, 2]), None, "train", self.config)
            sess.run(v1.global_variables_initializer())
            sess.run(v1.assign(v1.global_variables("module/w")[0], [[7.0] * 3] * 2))
            v1.train.Saver(sharded=True).save(sess, self.prefix)

    def latest_checkpoint(self):
        return self.prefix

    def model_fn(self, features, labels, mode, config):
        assert mode in ("train", "infer")
        assert labels is None
        assert config is self.config
        module = hub.Module(hub.create_module_spec(lambda: linear(hub)))
        module(features)
        for name in self.names:
            hub.register_module_for_export(module, name)
        return types.SimpleNamespace(scaffold=types.SimpleNamespace(saver=None))


def serving_input_fn():
    return types.SimpleNamespace(features=v1.placeholder(tf.float32, [None, 2]))


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test, or the exporter, waits for them."""
    now = types.SimpleNamespace(seconds=1700000000)

    def sleep(seconds):
        now.seconds += seconds

    # The exporter's own name for the module: `time.sleep` itself belongs to threads of other tests, too.
    fake = types.SimpleNamespace(time=lambda: now.seconds, sleep=sleep)
    monkeypatch.setattr(latest_module_exporter, "time", fake)
    return now


def test_modules_are_exported_with_the_values_of_the_checkpoint(tmp_path, clock):
    exporter = hub.LatestModuleExporter("name", serving_input_fn)
    exported = exporter.export(Estimator(tmp_path), tmp_path / "exports")
    assert exported == str(tmp_path / "exports" / "1700000000").encode()
    assert [p.name for p in (tmp_path / "exports").iterdir()] == ["1700000000"]
    assert exporter.name == "name"
    with tf.Graph().as_default():
        output = hub.Module(exported.decode() + "/embedding")([[1.0, 1.0]])
        with v1.train.MonitoredSession() as sess:
            assert sess.run(output).tolist() == [[14.0] * 3]


def test_the_latest_are_kept_and_nothing_else_is_touched(tmp_path, clock):
    exports = tmp_path / "exports"
    for name in ("1600000000", "1600000001", "temp-1600000002", "notes", "16000"):
        (exports / name).mkdir(parents=True)
    exporter = hub.LatestModuleExporter("name", serving_input_fn, exports_to_keep=2)
    exporter.export(Estimator(tmp_path), str(exports))
    assert {p.name for p in exports.iterdir()} == {"1600000001", "1700000000", "temp-1600000002", "notes", "16000"}


def test_exports_go_to_any_filesystem(tmp_path, clock):
    exporter = hub.LatestModuleExporter("name", serving_input_fn, exports_to_keep=1)
    first, second = (exporter.export(Estimator(tmp_path), "ram://exports") for _ in range(2))
    assert (first, second) == (b"ram://exports/1700000000", b"ram://exports/1700000001")
    assert [name.rstrip("/") for name in tf.io.gfile.listdir("ram://exports")] == ["1700000001"]
    module = hubkeras.load("ram://exports/1700000001/embedding")
    assert module(tf.ones([1, 2])).numpy().tolist() == [[14.0] * 3]


def test_a_name_that_is_taken_is_waited_for(tmp_path, clock):
    (tmp_path / "1700000000").mkdir()
    exported = hub.LatestModuleExporter("name", serving_input_fn, None).export(Estimator(tmp_path), tmp_path)
    assert exported is not None
    assert exported.endswith(b"/1700000001")
    for second in range(1700000002, 1700000015):
        (tmp_path / str(second)).mkdir()
    with pytest.raises(RuntimeError, match="after 10 attempts"):
        hub.LatestModuleExporter("name", serving_input_fn).export(Estimator(tmp_path), tmp_path)


def test_an_export_that_fails_leaves_no_directory(tmp_path, clock):
    estimator = Estimator(tmp_path, names=("embedding", "embedding/saved_model.pb"))
    with pytest.raises(ExportError):
        hub.LatestModuleExporter("name", serving_input_fn).export(estimator, tmp_path / "exports")
    assert not (tmp_path / "exports").exists() or not list((tmp_path / "exports").iterdir())


def test_without_modules_nothing_is_exported(tmp_path, caplog):
    exporter = hub.LatestModuleExporter("name", serving_input_fn)
    assert exporter.export(Estimator(tmp_path, names=()), tmp_path / "exports") is None
    assert not (tmp_path / "exports").exists()
    assert "zero modules" in caplog.text


def test_bad_use_is_refused(tmp_path):
    with pytest.raises(ValueError, match="positive number"):
        hub.LatestModuleExporter("name", serving_input_fn, exports_to_keep=0)
    with pytest.raises(ValueError, match="already a module registered to be exported as 'twice'"):
        Estimator(tmp_path, names=("twice", "twice"))
    untrained = types.SimpleNamespace(latest_checkpoint=lambda: None)
    with pytest.raises(ExportError, match="never trained"):
        hub.LatestModuleExporter("name", serving_input_fn).export(untrained, tmp_path)
