import pytest

from hubkeras.savedmodel.refs import Ref


@pytest.mark.parametrize(
    ("text", "op", "tensor"), [("a", "a", "a:0"), ("a/b:2", "a/b", "a/b:2"), ("a:out:0", "a:out", "a:out:0")]
)
def test_names(text, op, tensor):
    """As in TensorFlow, only a number at the end is that of an output; function bodies name outputs otherwise."""
    assert (Ref.parse(text).node, Ref.parse(text).tensor) == (op, tensor)
    assert Ref.parse(f"^{op}") == Ref(op, None)


def test_a_number_that_tensorflow_reads_otherwise_names_no_node():
    assert Ref.parse("a:999999999") == Ref("a", 999_999_999)
    assert Ref.parse("a:4294967296") == Ref("a:4294967296", 0)
    assert Ref.parse("a:" + "9" * 5000).node.startswith("a:9")
