"""Functions that stay functions get everything filled in before the gate judges them."""

import pytest
from savedmodel.builder import AttrValue, const, dtype, func, function, node, text

from hubkeras.errors import FormatError
from hubkeras.graphs.function_library import FunctionLibrary
from hubkeras.graphs.specialization import specialize_functions
from hubkeras.graphs.subgraph import Subgraph, by_name

PRINT = node("print", "PrintV2", "x", output_stream=AttrValue(placeholder="stream"))


def specialized(*nodes, functions, gradients=None):
    library = FunctionLibrary({f.signature.name: f for f in functions}, gradients or {})
    return specialize_functions(Subgraph(by_name(nodes), library))


def say(name="say", *nodes):
    return function(name, *(nodes or [PRINT]), args=["x"])


def streams(graph):
    bodies = graph.library.functions.values()
    return sorted(n.attr["output_stream"].s.decode() for f in bodies for n in f.node_def if n.op == "PrintV2")


def test_each_set_of_attributes_has_a_copy():
    calls = [node(f"c_{i}", "StatelessIf", then_branch=func("say", stream=text(s))) for i, s in enumerate("aab")]
    graph = specialized(*calls, functions=[say()])
    called = [node.attr["then_branch"].func for node in graph.nodes.values()]
    assert streams(graph) == ["a", "b"]
    assert called[0] == called[1] != called[2]
    assert {function.name for function in called} == set(graph.library.functions)
    assert not any(function.attr for function in called)


def test_a_call_by_name():
    declared = say()
    declared.signature.attr.add(name="stream", type="string")
    graph = specialized(node("c", "say", "x", stream=text("a"), other=text("b")), functions=[declared])
    assert streams(graph) == ["a"]
    assert list(graph.nodes["c"].attr) == ["other"]
    assert graph.nodes["c"].op in graph.library.functions
    assert not next(iter(graph.library.functions.values())).signature.attr


def test_what_is_handed_on():
    """A function hands its attribute to another one, and a function to be called."""
    inner = node("inner", "PartitionedCall", "x", f=func("say", stream=AttrValue(placeholder="deep")))
    given = node("given", "PartitionedCall", "x", f=AttrValue(placeholder="which"))
    outer = say("outer", inner, given)
    use = node("c", "PartitionedCall", f=func("outer", deep=text("a"), which=func("say", stream=text("b"))))
    assert streams(specialized(use, functions=[say(), outer])) == ["a", "b"]


def test_defaults():
    with_default, with_own = say(), say("other")
    with_default.signature.attr.add(name="stream", type="string").default_value.s = b"a"
    with_own.attr["stream"].s = b"b"
    calls = [node("c", "PartitionedCall", f=func("say")), node("d", "PartitionedCall", f=func("other"))]
    assert streams(specialized(*calls, functions=[with_default, with_own])) == ["a", "b"]


def test_what_nobody_fills_in_stays_for_the_gate():
    graph = specialized(node("c", "PartitionedCall", f=func("say")), functions=[say()])
    assert next(iter(graph.library.functions.values())).node_def[0].attr["output_stream"].placeholder == "stream"


def test_only_what_is_named_and_its_gradient():
    functions = [say(), say("gradient"), say("unused")]
    use = node("c", "PartitionedCall", f=func("say", stream=text("a")))
    graph = specialized(use, functions=functions, gradients={"say": "gradient", "unused": "gradient"})
    (source, gradient), *others = graph.library.gradients.items()
    assert not others
    assert set(graph.library.functions) == {source, gradient}
    assert streams(graph) == ["a", "a"]


def test_the_originals_stay_as_they_are():
    original = say()
    before = original.SerializeToString(deterministic=True)
    specialized(node("c", "PartitionedCall", f=func("say", stream=text("a"))), functions=[original])
    assert original.SerializeToString(deterministic=True) == before


def test_names_in_the_process_differ_from_load_to_load():
    body = say(
        "queue", const("c", "x"), node("q", "FIFOQueueV2", shared_name=text("q"), component_types=dtype("string"))
    )
    names = set()
    for _ in range(2):
        graph = specialized(node("c", "PartitionedCall", f=func("queue")), functions=[body])
        (made,) = graph.library.functions.values()
        names |= {made.signature.name, made.node_def[1].attr["shared_name"].s.decode()}
    assert len(names) == 4


def test_functions_that_name_one_another_through_attributes():
    """What is handed on hides from a look at names; the copies would never end."""
    again = node("again", "PartitionedCall", "x", f=func("f", g=func("h", g=AttrValue(placeholder="g"))))
    with pytest.raises(FormatError, match="200000"):
        specialized(node("c", "PartitionedCall", f=func("f", g=func("h"))), functions=[say("f", again), say("h")])


def test_settings_of_another_process_are_dropped():
    settings = {"config_proto": text("x"), "executor_type": text("y"), "_XlaMustCompile": AttrValue(b=True)}
    body = node("inner", "PartitionedCall", "x", f=func("say", stream=text("a")), **settings)
    graph = specialized(node("c", "PartitionedCall", f=func("outer")), functions=[say(), say("outer", body)])
    assert [list(n.attr) for f in graph.library.functions.values() for n in f.node_def if n.op != "PrintV2"] == [["f"]]


def test_state_without_a_name_is_not_shared_with_the_process():
    """All variables without a name are one to TensorFlow, and tables that go by the names of their nodes."""
    nodes = [
        node("v", "VarHandleOp", dtype=dtype("float32"), shape=AttrValue()),
        node("t", "HashTableV2", use_node_name_sharing=AttrValue(b=True), key_dtype=dtype("string")),
    ]
    body = say("state", const("c", "x"), *nodes)
    names = []
    for _ in range(2):
        graph = specialized(node("c", "PartitionedCall", f=func("state")), functions=[body])
        (made,) = graph.library.functions.values()
        names += [n.attr["shared_name"].s for n in made.node_def[1:]]
    assert len(set(names)) == 4
    assert all(names)
