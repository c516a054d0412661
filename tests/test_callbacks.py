"""`hubkeras.callbacks.LatestModuleExporter`: the latest or best modules of a training, whole ones only."""

import time
from pathlib import Path

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from hubkeras.callbacks import LatestModuleExporter
from hubkeras.errors import PublishingError
from hubkeras.savedmodel.reader import read_module

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
X = np.random.default_rng(1).standard_normal((8, 3)).astype("float32")


def compiled():
    model = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def names(path):
    return sorted(p.name for p in path.iterdir())


def test_fit_exports_the_latest(tmp_path):
    """Each epoch is exported, the newest stay, and each has the values of its epoch."""
    model, values = compiled(), []
    exporter = hubkeras.callbacks.LatestModuleExporter(tmp_path / "exports", exports_to_keep=3)
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: values.append(model.layers[0].kernel.numpy()))
    started = int(time.time())
    model.fit(X, X[:, :1], epochs=5, callbacks=[exporter, keep], verbose=0)
    exports = names(tmp_path / "exports")
    assert len(exports) == 3
    assert all(len(name) == 10 and started <= int(name) < time.time() + 10 for name in exports)
    for name, want in zip(exports, values[-3:], strict=True):
        module = hubkeras.load(tmp_path / "exports" / name)
        np.testing.assert_array_equal(module.variable_map[model.layers[0].kernel.path], want)
    assert exporter.latest == tmp_path / "exports" / exports[-1]
    np.testing.assert_allclose(hubkeras.load(exporter.latest)(X), model(X), rtol=1e-6)
    model.layers[0].trainable = False
    model.fit(X, X[:, :1], epochs=1, callbacks=[exporter], verbose=0)
    assert hubkeras.load(exporter.latest).trainable_variables == ()


@pytest.mark.parametrize(
    ("monitor", "mode", "values", "exported"),
    [
        ("loss", "auto", [3.0, 1.0, 2.0, 0.5], [0, 1, 3]),
        ("val_loss", "max", [3.0, 1.0, 4.0, 4.0], [0, 2]),
        ("val_mae", "auto", [3.0, 1.0, 2.0], [0, 1]),
        (None, "auto", [1.0, 2.0], [0, 1]),
    ],
)
def test_only_the_best(monitor, mode, values, exported, tmp_path):
    """With `monitor`, an epoch is exported that is better than all before."""
    model = compiled()
    model.evaluate(X, X[:, :1], verbose=0)
    exporter = LatestModuleExporter(tmp_path, exports_to_keep=None, monitor=monitor, mode=mode)
    exporter.set_model(model)
    exporter.on_train_begin()
    found = []
    for epoch, value in enumerate(values):
        before = len(names(tmp_path))
        exporter.on_epoch_end(epoch, {monitor or "loss": value})
        found += [epoch] * (len(names(tmp_path)) - before)
    assert found == exported


def test_bad_input(tmp_path):
    """Arguments and logs that make no sense are refused."""
    with pytest.raises(PublishingError, match="exports_to_keep=0"):
        LatestModuleExporter(tmp_path, exports_to_keep=0)
    with pytest.raises(PublishingError, match="mode='best'"):
        LatestModuleExporter(tmp_path, mode="best")
    exporter = LatestModuleExporter(tmp_path, monitor="val_loss")
    with pytest.raises(PublishingError, match=r"monitor= one of \['loss', 'mae'\]"):
        compiled().fit(X, X[:, :1], callbacks=[exporter], verbose=0)
    assert names(tmp_path) == []


def test_exports_go_to_any_filesystem():
    """The newest stay there, too, and what a killed process has left goes."""
    files = tf.io.gfile
    files.makedirs("ram://callback/1600000000/variables")
    exporter = LatestModuleExporter("ram://callback", exports_to_keep=1)
    model = compiled()
    model.fit(X, X[:, :1], epochs=2, callbacks=[exporter], verbose=0)
    (name,) = [name.rstrip("/") for name in files.listdir("ram://callback")]
    assert str(exporter.latest) == f"ram://callback/{name}"
    np.testing.assert_allclose(hubkeras.load(exporter.latest)(X), model(X), rtol=1e-6)


TRAIN_FOREVER = """
import sys
import keras, numpy, hubkeras
model = keras.Sequential([keras.Input((2000,)), keras.layers.Dense(2000), keras.layers.Dense(1)])
model.compile("sgd", "mse")
exporter = hubkeras.callbacks.LatestModuleExporter(sys.argv[1], exports_to_keep=2)
model.fit(numpy.ones((1, 2000)), numpy.ones((1, 1)), epochs=10**6, callbacks=[exporter], verbose=0)
"""


def test_a_killed_process_leaves_no_half_module(tmp_path):
    """Every directory with the name of an export is whole after a kill; the next training sweeps the rest."""
    process = forks.start(TRAIN_FOREVER, tmp_path)
    try:
        deadline = time.time() + 240
        while time.time() < deadline and process.is_alive():
            there = names(tmp_path)
            if len([n for n in there if n.isdigit()]) >= 2 and any(n.startswith(".") for n in there):
                break
            time.sleep(0.002)
    finally:
        process.kill()
        process.join()
    exports = [n for n in names(tmp_path) if n.isdigit()]
    assert len(exports) >= 2
    for name in exports:
        read_module(tmp_path / name)
        assert Path(tmp_path / name / "variables" / "variables.index").exists()
    (tmp_path / ".1700000000.abc").mkdir()  # what the kill may have come too late or too early to leave
    (tmp_path / ".mine").mkdir()
    model = compiled()
    model.fit(X, X[:, :1], callbacks=[LatestModuleExporter(tmp_path, exports_to_keep=2)], verbose=0)
    assert [n for n in names(tmp_path) if not n.isdigit()] == [".mine"]
    assert len(names(tmp_path)) == 3
