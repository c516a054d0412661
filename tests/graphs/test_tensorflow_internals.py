"""What hubkeras uses of TensorFlow without TensorFlow exporting it."""

import re
from pathlib import Path

import pytest
import tensorflow as tf

from hubkeras.errors import UnsupportedError
from hubkeras.graphs import tensorflow_internals

PACKAGE = Path(tensorflow_internals.__file__).parents[1]


def test_this_tensorflow_has_every_private_name():
    assert tensorflow_internals.find_missing() == {}


def test_this_tensorflow_has_every_private_attribute():
    variable = tf.Variable(1.0)
    graph = tf.function(lambda: variable + 1.0, autograph=False).get_concrete_function().graph
    operation = graph.get_operations()[-1]
    objects = {"a variable": variable, "its handle": variable.handle, "a graph": graph}
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)
    objects |= {"an operation": operation, "the handle of a table": table.resource_handle}
    objects |= {"a table": table, "the context": tensorflow_internals._private("eager.context.context")()}
    for what, names in tensorflow_internals.PRIVATE_ATTRIBUTES.items():
        assert [name for name in names if not hasattr(objects[what], name)] == [], what


def test_a_name_that_moved_is_told(monkeypatch):
    monkeypatch.setattr(tensorflow_internals, "_PRIVATE_NAMES", ("framework.ops.no_such_name", "no.module.name"))
    assert set(tensorflow_internals.find_missing()) == {"framework.ops.no_such_name", "no.module.name"}
    with pytest.raises(UnsupportedError, match=r"moved tensorflow\.python\.framework\.ops\.no_such_name"):
        tensorflow_internals._private("framework.ops.no_such_name")


def test_every_private_name_that_is_used_is_listed():
    text = Path(tensorflow_internals.__file__).read_text()
    used = set(re.findall(r'_private\("([\w.]+)"\)', text))
    assert used
    assert used <= set(tensorflow_internals._PRIVATE_NAMES)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_private_modules_are_named_in_one_file(path):
    # The second one lists what other people's code imports.
    if path.name not in ("tensorflow_internals.py", "known_names.py"):
        assert "tensorflow.python" not in path.read_text()
