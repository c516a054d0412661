"""The one door to TensorFlow."""

import ast
from pathlib import Path

import pytest
import tensorflow as tf
from savedmodel.builder import const, dtype, node

import hubkeras
from hubkeras.errors import FormatError, UnsafeModuleError
from hubkeras.functions.importing import import_graph
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.graphs.subgraph import Subgraph, by_name

PACKAGE = Path(hubkeras.__file__).parent
IMPORTS = {
    "import_graph_def",
    "import_meta_graph",
    "import_scoped_meta_graph",
    "_eager_execute",
    "function_def_to_graph",
}


def names_in(path):
    tree = ast.parse(path.read_text())
    return [
        n.attr if isinstance(n, ast.Attribute) else n.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute | ast.Name)
    ]


def test_there_is_one_call_that_imports_a_graph():
    """A second one would be a way around the gate. Contexts are read back by importing a graph without nodes."""
    calls = [(path.name, name) for path in PACKAGE.rglob("*.py") for name in names_in(path) if name in IMPORTS]
    assert sorted(calls) == [("importing.py", "import_graph_def"), ("importing.py", "import_meta_graph")]


def test_one_call_loads_a_tf2_saved_model():
    text = {path.name: path.read_text().count("tf.saved_model.load(") for path in PACKAGE.rglob("*.py")}
    assert sum(text.values()) == 1, {name: count for name, count in text.items() if count}


def run(*nodes, fetch="y:0", **options):
    graph = Subgraph(by_name(nodes), fetches=(fetch,), purpose="a graph", **options)
    return tf.compat.v1.wrap_function(lambda: import_graph(graph, {}), [])()


def test_a_graph():
    assert run(const("a", "x"), node("y", "StringUpper", "a"))[0].numpy() == b"X"


def test_what_is_imported_is_judged():
    write = node("write", "WriteFile", "a", "a")
    with pytest.raises(UnsafeModuleError, match="WriteFile"):
        run(const("a", "x"), write, node("y", "Identity", "a", "^write", T=dtype("string")))


def test_what_tensorflow_refuses_has_a_name(tmp_path):
    """Dtypes that do not fit are no danger, so nobody looks for them before TensorFlow does."""
    with pytest.raises(FormatError, match="Cannot import a graph") as info:
        run(const("a", "x"), node("y", "Neg", "a", T=dtype("float32")), policy=OpPolicy(safe_mode=False))
    assert info.value.__cause__ is not None


@pytest.mark.parametrize("op", ["Fill", "ZerosLike"])
def test_a_shape_that_overflows(op):
    """Grappler ends the process over it, however the shape came about."""
    sizes, one = const("sizes", tf.constant([1 << 31, 1], tf.int64)), const("one", 1.0)
    numbers = {"T": dtype("int64")}
    shape = node("shape", "Mul", "sizes", "sizes", **numbers)
    made = {
        "Fill": [node("y", "Fill", "shape", "one", T=dtype("float32"), index_type=dtype("int64"))],
        "ZerosLike": [
            node("large", "BroadcastTo", "one", "shape", T=dtype("float32"), Tidx=dtype("int64")),
            node("y", "ZerosLike", "large", T=dtype("float32")),
        ],
    }
    with pytest.raises(FormatError, match=r"shape \(4611686018427387904, 1\)"):
        run(sizes, one, shape, *made[op])
