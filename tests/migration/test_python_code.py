from __future__ import annotations

from pathlib import Path

import forks
import pytest

from hubkeras.migration.findings import Finding
from hubkeras.migration.known_names import NEW_NAMES
from hubkeras.migration.python_code import migrate_code

TOPICS = Path(__file__).parents[2] / "hubkeras" / "data" / "topics_embedding"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import tensorflow_hub as hub", "import hubkeras as hub"),
        ("import tensorflow_hub as tfhub, os  # both", "import hubkeras as tfhub, os  # both"),
        ("import tensorflow_hub\ntensorflow_hub.load(u)", "import hubkeras\nhubkeras.load(u)"),
        ("from tensorflow_hub import KerasLayer as L, load", "from hubkeras import KerasLayer as L, load"),
        ("from tensorflow_hub import (\n    load,  # c\n)", "from hubkeras import (\n    load,  # c\n)"),
        ("import tensorflow_hub as hub\nhub.Module(u)", "import hubkeras.compat.v1 as hub\nhub.Module(u)"),
        ("import tensorflow_hub\ntensorflow_hub.Module(u)", "import hubkeras.compat.v1\nhubkeras.compat.v1.Module(u)"),
        ("from tensorflow_hub import Module", "from hubkeras.compat.v1 import Module"),
        ("from tensorflow_hub.keras_layer import KerasLayer", "from hubkeras import KerasLayer"),
        (
            "from tensorflow_hub.estimator import LatestModuleExporter as E",
            "from hubkeras.compat.v1 import LatestModuleExporter as E",
        ),
        (
            "import tensorflow_hub as hub\nc = hub.text_embedding_column('a', u)",
            "import hubkeras.compat.v1 as hub\nc = hub.text_embedding_column('a', u)",
        ),
        (
            "def f():\n\timport tensorflow_hub as h\n\treturn h.load",
            "def f():\n\timport hubkeras as h\n\treturn h.load",
        ),
        (
            "try:\n  import tensorflow_hub\nexcept ImportError:\n  tensorflow_hub = None\ntensorflow_hub.f",
            "try:\n  import hubkeras as tensorflow_hub\nexcept ImportError:\n  tensorflow_hub = None\ntensorflow_hub.f",
        ),
        ("import tensorflow_hub as hubkeras", "import hubkeras"),
        ("if x:\r\n  import tensorflow_hub as hub\r\n", "if x:\r\n  import hubkeras as hub\r\n"),
    ],
)
def test_imports_are_rewritten_and_nothing_else(before: str, after: str) -> None:
    assert migrate_code(before).text == after
    assert migrate_code(after).text == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import tf_keras as keras", "import keras"),
        ("import tf_keras as k", "import keras as k"),
        ("import tf_keras\ntf_keras.Model", "import keras\nkeras.Model"),
        ("import tf_keras.layers as L", "import keras.layers as L"),
        ("from tf_keras.layers import Dense", "from keras.layers import Dense"),
        ("import os\nos.environ['TF_USE_LEGACY_KERAS'] = '1'", "import os\nos.environ['TF_USE_LEGACY_KERAS'] = '0'"),
        ("x = Dense(1, batch_input_shape=(None, 5))", "x = Dense(1, input_shape=(5,))"),
        ("x = Dense(1, batch_input_shape=[None, 5, 3])", "x = Dense(1, input_shape=[5, 3])"),
        ("x = k.Input( batch_input_shape = s )", "x = k.Input( batch_shape = s )"),
        (
            "import tensorflow as tf\ntf.keras.optimizers.Adam(lr=1)",
            "import tensorflow as tf\ntf.keras.optimizers.Adam(learning_rate=1)",
        ),
    ],
)
def test_keras_2_beside_a_layer_becomes_keras_3(before: str, after: str) -> None:
    hub = "\nimport {} as hub\nhub.KerasLayer(u)\n"
    assert migrate_code(before + hub.format("tensorflow_hub")).text == after + hub.format("hubkeras")


def test_code_without_tensorflow_hub_is_left_alone() -> None:
    for code in ("import tf_keras as keras\n", "# tensorflow_hub\nx = 'no tensorflow_hub here'\n", "def broken(:\n"):
        assert migrate_code(code).text == code
        assert migrate_code(code).findings == ()


def test_a_name_that_means_something_else_is_no_use() -> None:
    migrated = migrate_code("import tensorflow_hub as hub\n\n\ndef f(hub):\n    return hub.Module\n")
    assert migrated.text.startswith("import hubkeras as hub\n")
    assert [finding.line for finding in migrated.findings] == [1]


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("from tensorflow_hub import *", "list the names"),
        ("from tensorflow_hub import native_module", "native_module"),
        ("from tensorflow_hub.resolver import atomic_download", "atomic_download"),
        ("import tensorflow_hub.keras_layer", "public names"),
        ("import importlib\nh = importlib.import_module('tensorflow_hub')", "hubkeras"),
        ("setup(install_requires=['numpy', 'tensorflow-hub>=0.12'])", "hubkeras"),
        ("import tensorflow_hub as hub\nhub.tf_utils.absolute_path", "not a public name"),
        ("import tensorflow as tf, tensorflow_hub as hub\ntf.estimator.DNNClassifier()", "Estimator"),
        ("import tensorflow as tf, tensorflow_hub as hub\nwith tf.Session(): tf.placeholder(x)", "tf_upgrade_v2"),
        ("import tensorflow as tf, tensorflow_hub as hub\ntf.train.AdamOptimizer(1)", "tf.train.AdamOptimizer"),
        (
            "import tensorflow_hub as hub\nfrom tensorflow.python.keras import Sequential\nhub.KerasLayer(u)",
            "from keras",
        ),
        ("import tensorflow_hub as hub\nhub.KerasLayer(u)\nm.save('d', save_format='tf')", "save_format"),
        ("import tensorflow_hub as hub\nhub.KerasLayer(u)\nm.fit_generator(g)", "fit takes generators"),
        ("import tensorflow_hub as hub\nhub.KerasLayer(u)\nDense(1, batch_input_shape=(8, 5))", "keras.Input"),
        (
            "import tensorflow as tf, tensorflow_hub as hub\nhub.KerasLayer(u)\ntf.keras.optimizers.legacy.Adam()",
            "legacy",
        ),
    ],
)
def test_what_needs_a_person_is_told_and_left(code: str, word: str) -> None:
    migrated = migrate_code(code)
    told = [finding for finding in migrated.findings if finding.fate == "by hand"]
    assert len(told) == 1
    assert word in told[0].becomes
    line = code.splitlines()[told[0].line - 1]
    assert line in migrated.text.replace("hubkeras as hub", "tensorflow_hub as hub")


def test_names_of_tensorflow_2_and_of_its_compat_are_not_told() -> None:
    code = "import tensorflow as tf, tensorflow_hub as hub\ntf.losses.MeanSquaredError()\ntf.compat.v1.Session()\n"
    code += "import tensorflow.compat.v1 as tf1\ntf1.Session()\ntf.train.Checkpoint()\nprint(hub.__version__)\n"
    assert [finding.fate for finding in migrate_code(code).findings] == ["rewritten", "works"]


def test_every_use_is_told_with_its_line() -> None:
    code = "import tensorflow_hub as hub\n\nlayer = hub.KerasLayer(\n    u,\n)\nhub.resolve(u)\n"
    assert migrate_code(code).findings == (
        Finding(1, "import tensorflow_hub as hub", "rewritten", "import hubkeras"),
        Finding(3, "hub.KerasLayer", "works", NEW_NAMES["KerasLayer"]),
        Finding(6, "hub.resolve", "works", "hubkeras.resolve"),
    )


def test_what_was_rewritten_runs(tmp_path: Path) -> None:
    before = f"""
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras as keras

handle = {str(TOPICS)!r}
model = keras.Sequential(
    [
        hub.KerasLayer(handle, batch_input_shape=(None,), dtype=tf.string, trainable=True),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(keras.optimizers.Adam(lr=1e-3), "binary_crossentropy")
model.fit(tf.constant(["a stew", "fog"]), tf.constant([[1.0], [0.0]]), epochs=1, verbose=0)
path = "m.keras"
model.save(path)
keras.models.load_model(path, custom_objects={{"KerasLayer": hub.KerasLayer}})
print(hub.load(handle)(["a stew"]).shape)
"""
    script = tmp_path / "moved.py"
    script.write_text(migrate_code(before).text)
    done = forks.run(script, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "(1, 32)\n"
