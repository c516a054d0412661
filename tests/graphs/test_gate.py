"""What the gate lets through, and what it refuses, in graphs as they are about to be imported."""

import pytest
from savedmodel.builder import AttrValue, const, dtype, func, function, node, text
from tensorflow.core.framework import graph_pb2

from hubkeras.errors import FormatError, UnsafeModuleError
from hubkeras.graphs.gate import check_functions, check_graph
from hubkeras.graphs.op_policy import OpPolicy

STRING = dtype("string")
READ = node("read", "ReadFile", "path")
WRITE = node("write", "WriteFile", "path", "path")


def graph_def(*nodes, functions=()):
    graph = graph_pb2.GraphDef(node=nodes)
    graph.library.function.extend(functions)
    return graph


def check(*nodes, functions=(), assets=(), given=None, allow_ops=(), safe_mode=True):
    policy = OpPolicy.of(safe_mode=safe_mode, allow_ops=allow_ops)
    given = [*assets, *(given or ())]
    check_graph(graph_def(*nodes, functions=functions), policy, "a graph", given=given, assets=assets)


def refused(match, *nodes, **options):
    with pytest.raises(UnsafeModuleError, match=match):
        check(*nodes, **options)


def call(op, *inputs, types, **attrs):
    listed = AttrValue(list=AttrValue.ListValue(type=[dtype(t).type for t in types]))
    return node("call", op, *inputs, Tin=listed, Tout=AttrValue(list=AttrValue.ListValue(type=[STRING.type])), **attrs)


def reader(name="reader", *nodes):
    return function(name, *(nodes or [READ]), args=["path"], returns={"y": "read:contents:0"})


class TestPolicy:
    def test_an_op_that_is_not_on_the_list(self):
        refused(r"WriteFile \(node 'write'\), which is not on the list", const("path", "x"), WRITE)

    def test_the_list_is_lifted_by_name_or_as_a_whole(self):
        check(const("path", "x"), WRITE, allow_ops=["WriteFile"])
        check(const("path", "x"), WRITE, safe_mode=False)
        refused("WriteFile", const("path", "x"), WRITE, allow_ops=["ReadFile"])

    def test_nobody_lifts_checks_of_structure(self):
        with pytest.raises(FormatError, match="nothing gives"):
            check(node("a", "Identity", "gone", T=STRING), safe_mode=False)

    def test_nobody_allows_internal_ops_by_name(self):
        internal = node("a", "_HostRecv", tensor_type=STRING)
        refused("is internal to TensorFlow", internal, allow_ops=["_HostRecv"])


class TestAssets:
    """A file may be read only where its name can be nothing else than the path of an asset."""

    ASSET = "hubkeras_state/0:0"

    def test_from_the_executor(self):
        check(node("read", "ReadFile", "hubkeras_state/0"), assets=[self.ASSET])
        check(node("path", "Identity", "hubkeras_state/0", T=STRING), READ, assets=[self.ASSET])

    def test_from_the_caller(self):
        refused("ReadFile", node("read", "ReadFile", "hubkeras_input/0"), given=["hubkeras_input/0:0"])

    @pytest.mark.parametrize("path", [const("path", "/etc/passwd"), node("path", "StringLower", "hubkeras_state/0")])
    def test_that_the_graph_makes(self, path):
        refused("ReadFile", path, READ, assets=[self.ASSET])

    @pytest.mark.parametrize("op", ["PartitionedCall", "StatefulPartitionedCall"])
    def test_through_a_call(self, op):
        functions = [reader()]
        check(
            call(op, "hubkeras_state/0", types=["string"], f=func("reader")), functions=functions, assets=[self.ASSET]
        )
        refused(
            r"ReadFile \(node 'read' of the function 'reader'\)",
            *(const("a", "x"), call(op, "a", types=["string"], f=func("reader"))),
            functions=functions,
        )

    def test_through_one_of_two_calls(self):
        good = node("good", "reader", "hubkeras_state/0")
        bad = node("bad", "reader", "a")
        check(good, functions=[reader()], assets=[self.ASSET])
        refused("ReadFile", const("a", "x"), good, bad, functions=[reader()], assets=[self.ASSET])

    def test_through_branches(self):
        branches = {"then_branch": func("reader"), "else_branch": func("reader"), "Tcond": dtype("bool")}
        choose = call("StatelessIf", "c", "hubkeras_state/0", types=["string"], **branches)
        check(const("c", True), choose, functions=[reader()], assets=[self.ASSET])
        on_the_condition = call("StatelessIf", "hubkeras_state/0", "a", types=["string"], **branches)
        on_the_condition.attr["Tcond"].type = STRING.type
        refused("ReadFile", const("a", "x"), on_the_condition, functions=[reader()], assets=[self.ASSET])

    def test_around_a_loop(self):
        """What a turn gives is not what the loop was given."""
        loop = node("call", "StatelessWhile", "hubkeras_state/0", body=func("reader"), cond=func("reader"))
        loop.attr["T"].list.type.append(STRING.type)
        refused("ReadFile", loop, functions=[reader()], assets=[self.ASSET])

    def test_through_a_function_with_the_name_of_an_op(self):
        changes = function("Identity", const("read", "/etc/passwd"), args=["input"], returns={"y": "read:output:0"})
        path = node("path", "Identity", "hubkeras_state/0")
        refused("ReadFile", path, READ, functions=[changes], assets=[self.ASSET])

    def test_that_a_gradient_function_gets_from_tensorflow(self):
        graph = graph_def(node("good", "reader", "hubkeras_state/0"), functions=[reader(), reader("gradient")])
        graph.library.gradient.add(function_name="reader", gradient_func="gradient")
        with pytest.raises(UnsafeModuleError, match="of the function 'gradient'"):
            check_graph(graph, OpPolicy(), "a graph", given=[self.ASSET], assets=[self.ASSET])


@pytest.mark.parametrize(
    ("stream", "message"), [("stdout", ""), ("file:///tmp/x", "file:///tmp/x"), ("file:x", "file:x")]
)
def test_conditions_on_attributes(stream, message):
    show = node("print", "PrintV2", "a", output_stream=text(stream))
    if message:
        refused(message, const("a", "x"), show)
    else:
        check(const("a", "x"), show)


class TestLibraries:
    """Functions of a TF2 SavedModel, which TensorFlow calls from outside of any graph."""

    def judge(self, roots, *functions):
        library = graph_def(functions=functions).library
        check_functions(library, roots, OpPolicy(), "a library")

    def test_an_asset_among_the_arguments(self):
        self.judge({"reader": ["path"]}, reader())
        with pytest.raises(UnsafeModuleError, match="ReadFile"):
            self.judge({"reader": []}, reader())

    def test_what_is_called(self):
        outer = function("outer", node("read", "reader", "path"), args=["path"], returns={"y": "read:y:0"})
        self.judge({"outer": ["path"]}, reader(), outer)
        with pytest.raises(UnsafeModuleError, match="of the function 'reader'"):
            self.judge({"outer": []}, reader(), outer)

    def test_what_nothing_calls(self):
        self.judge({}, function("evil", const("path", "x"), WRITE))
