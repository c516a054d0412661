"""`import hubkeras`: every public name is there, TensorFlow once it is needed, and Keras knows the layer by then."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf

import hubkeras
from hubkeras.cli.demo import MODULE

IGNORE = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, of its variables


def run(code: str, *arguments: str) -> None:
    """Runs a script in a process that is started anew."""
    environment = os.environ | forks.ANEW
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-3000:]


def test_every_name_is_imported_for_type_checkers_and_has_a_home():
    """The three places that a public name stands in agree."""
    tree = ast.parse(Path(hubkeras.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == hubkeras._HOMES
    assert hubkeras.__all__ == list(hubkeras._HOMES)


@pytest.mark.parametrize("name", hubkeras.__all__)
def test_names_are_there_and_documented(name):
    """What `__all__` promises exists, says what it does, and is seen by `dir`."""
    assert getattr(hubkeras, name).__doc__
    assert name in dir(hubkeras)


def test_star_import_gives_all_names():
    """`from hubkeras import *` works, as it did not with tensorflow_hub."""
    names: dict = {}
    exec("from hubkeras import *", names)
    assert names["KerasLayer"] is hubkeras.KerasLayer
    assert set(hubkeras.__all__) <= set(names)


def test_unknown_names_are_missing():
    """A name that is not public raises what a module without it raises."""
    with pytest.raises(AttributeError, match="no attribute 'Keraslayer'"):
        _ = hubkeras.Keraslayer


def test_import_and_resolving_need_no_tensorflow():
    """Neither TensorFlow nor Keras is imported by what only asks for directories, nor by a mere look for Keras."""
    run(
        "import sys, importlib.util, hubkeras as hub\n"
        "hub.resolve(sys.argv[1]), hub.is_available('x/y'), hub.errors.HubKerasError, dir(hub)\n"
        "assert importlib.util.find_spec('keras')\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'imported'",
        str(MODULE),
    )


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """A file that holds a model with a layer of ours, and what it computes."""
    layer = hubkeras.KerasLayer(MODULE, input_shape=[], dtype=tf.string)
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    np.save(path.with_suffix(".npy"), model(tf.constant(["a spicy stew"])))
    return path


LOAD_AND_COMPARE = """
def check(load):
    import numpy as np, sys, tensorflow as tf
    value = load(sys.argv[1])(tf.constant(["a spicy stew"]))
    np.testing.assert_allclose(value, np.load(sys.argv[1].replace(".keras", ".npy")), rtol=1e-6)
"""


@IGNORE
def test_keras_knows_the_layer_when_it_is_imported_later(saved_model):
    """Also where TensorFlow imports it, at its own end. Nothing of ours is left in the way of imports then."""
    run(
        LOAD_AND_COMPARE + "import hubkeras, sys\n"
        "from hubkeras.savedmodel.protos import GraphDef\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'there is nothing to test'\n"
        "import tensorflow as tf\n"
        "assert GraphDef is tf.compat.v1.GraphDef, 'TensorFlow makes classes of its own of the same messages'\n"
        "check(tf.keras.models.load_model)\n"
        "import keras\n"
        "assert 'hubkeras' not in type(keras.__loader__).__module__ + type(keras.__spec__.loader).__module__\n"
        "assert not any('hubkeras' in type(finder).__module__ for finder in sys.meta_path)\n",
        str(saved_model),
    )


@IGNORE
def test_keras_knows_the_layer_when_it_is_imported_earlier(saved_model):
    """Then importing hubkeras registers it at once."""
    program = "import keras, sys\nassert 'hubkeras' not in sys.modules\nimport hubkeras\ncheck(keras.saving.load_model)"
    done = forks.run(LOAD_AND_COMPARE + program, saved_model)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("first", ["import hubkeras; hubkeras.load", "from hubkeras.modules.loader import load"])
def test_keras_reads_a_layer_whatever_was_imported_first(first, saved_model):
    """Even where our own module imports TensorFlow, and that Keras, before the layer can be."""
    run(f"{first}\nimport keras, sys\nkeras.saving.load_model(sys.argv[1])", str(saved_model))
