"""Malformed graphs are refused; each of them ends the process, or hangs it, when TensorFlow gets it."""

import numpy as np
import pytest
import tensorflow as tf
from savedmodel.builder import AttrValue, const, dtype, func, function, node, placeholder, shape
from tensorflow.core.framework import graph_pb2, types_pb2

from hubkeras.errors import FormatError
from hubkeras.graphs.structure import check_library, check_structure

FLOAT = dtype("float32")


def graph_def(*nodes, functions=()):
    graph = graph_pb2.GraphDef(node=nodes)
    graph.library.function.extend(functions)
    return graph


def check(*nodes, functions=(), given=()):
    check_structure(graph_def(*nodes, functions=functions), given, "a graph")


def refused(match, *nodes, functions=(), given=()):
    with pytest.raises(FormatError, match=match):
        check(*nodes, functions=functions, given=given)


def splat(name, sizes, kind=types_pb2.DT_FLOAT):
    tensor = tf.make_tensor_proto(1.0)
    tensor.tensor_shape.CopyFrom(tf.TensorShape(sizes).as_proto())
    tensor.dtype = kind
    return node(name, "Const", dtype=AttrValue(type=kind), value=AttrValue(tensor=tensor))


def add(name, *inputs):
    return node(name, "AddV2", *inputs, T=FLOAT)


def double(name="double", *nodes, result="sum:z:0"):
    return function(name, *(nodes or [add("sum", "x", "x")]), args=["x"], returns={"y": result}, of="float32")


def caller(name, *called):
    """Returns a function that calls others one after the other."""
    nodes = [call(f"call_{i}", "x", other) for i, other in enumerate(called)]
    return double(name, *nodes, result="call_0:y:0")


def call(name, source, called="double"):
    return node(name, called, source)


class TestInputs:
    def test_of_the_graph_and_from_outside(self):
        check(const("a", 1.0), add("b", "a", "outside"), add("c", "b:0", "a", "^b"), given=["outside:0"])

    @pytest.mark.parametrize(
        "text", ["nowhere", "^nowhere", "a:1", f"a:{1 << 31}", "a:00", "a:-1", "a:x", "^a:0", "", "b:0"]
    )
    def test_that_nothing_gives(self, text):
        refused("which nothing gives", const("a", 1.0), add("c", "a", text))

    def test_control_inputs_stand_last(self):
        refused("not in this place", const("a", 1.0), add("c", "a", "^a", "a"))

    def test_that_a_list_does_not_reach(self):
        split = node("s", "Split", "i", "a", num_split=AttrValue(i=2), T=FLOAT)
        check(const("i", 0), const("a", [1.0, 2.0]), split, node("y", "Identity", "s:1", T=FLOAT))
        refused("s:2", const("i", 0), const("a", [1.0, 2.0]), split, node("y", "Identity", "s:2", T=FLOAT))

    @pytest.mark.parametrize("count", [-1, 1 << 40])
    def test_a_list_of_impossible_length(self, count):
        with pytest.raises(FormatError):
            check(const("i", 0), const("a", 1.0), node("s", "Split", "i", "a", num_split=AttrValue(i=count), T=FLOAT))

    def test_a_node_twice(self):
        refused("'a' twice", const("a", 1.0), const("a", 2.0))


class TestConstants:
    def test_of_another_dtype(self):
        wrong = const("a", 1.0)
        wrong.attr["dtype"].type = types_pb2.DT_INT32
        refused("of dtype 3 with a value of dtype 1", wrong)

    @pytest.mark.parametrize("kind", [types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT])
    def test_that_are_no_data(self, kind):
        refused("a resource or a variant", splat("a", [], kind))

    @pytest.mark.parametrize("sizes", [[1 << 39], [1 << 20, 1 << 12], [1] * 300])
    def test_of_many_elements(self, sizes):
        with pytest.raises(FormatError):
            check(splat("a", sizes))

    def test_that_take_more_memory_together_than_alone(self):
        constants = [splat(f"c_{i}", [1 << 26]) for i in range(8)]
        check(*constants[:3])
        refused("constants of more than", *constants)

    def test_of_an_unknown_shape(self):
        refused("of unknown shape", splat("a", [None]))
        refused("of unknown shape", splat("a", None))


class TestFunctions:
    def test_a_call(self):
        check(const("a", 1.0), call("y", "a"), functions=[double()])

    def test_that_are_not_there(self):
        refused("'gone', which is not there", node("a", "StatelessWhile", body=func("gone"), cond=func("gone")))

    def test_that_call_themselves(self):
        refused("do not call themselves", functions=[caller("f", "f")])
        refused("do not call themselves", functions=[caller("one", "other"), caller("other", "one")])
        loop = node("loop", "StatelessWhile", "x", body=func("f"), cond=func("f"))
        loop.attr["T"].list.type.append(types_pb2.DT_FLOAT)
        refused("do not call themselves", functions=[double("f", loop, result="loop:output:0")])

    def test_that_double(self):
        halves = [double("f_0"), *(caller(f"f_{i}", f"f_{i - 1}", f"f_{i - 1}") for i in range(1, 25))]
        check(functions=halves[:10])
        refused("at most 200000 nodes", functions=halves)

    def test_that_are_nested_deeply(self):
        chain = [double("f_0"), *(caller(f"f_{i}", f"f_{i - 1}") for i in range(1, 150))]
        check(functions=chain[:50])
        refused("at most 100 deep", functions=chain)

    def test_attributes_that_a_caller_fills_in(self):
        body = add("sum", "x", "x")
        body.attr["T"].placeholder = "T"
        refused("after this check", functions=[double("f", body)])
        handed = node("sum", "PartitionedCall", "x", f=func("g", T=AttrValue(placeholder="T")))
        refused("after this check", functions=[double("f", handed), double("g")])

    @pytest.mark.parametrize(
        "text", ["nowhere", "sum:gone:0", "sum:z:1", "x:1", "sum:z:x", "sum:z:" + "0" * 5000, "sum"]
    )
    def test_bodies_with_inputs_that_nothing_gives(self, text):
        refused("which nothing gives", functions=[double("f", add("sum", "x", "x"), add("other", "x", text))])

    def test_bodies_with_too_many_inputs(self):
        many = node("all", "AddN", "x", "x", "x", T=FLOAT, N=AttrValue(i=2))
        refused("3 inputs where it takes 2", functions=[double("f", many)])
        refused("3 inputs where it takes 2", functions=[double("f", add("sum", "x", "x", "x"))])
        check(functions=[double("f", add("sum", "x", "x", "^x"))])

    def test_arguments_of_any_dtype(self):
        polymorphic = double()
        polymorphic.signature.input_arg[0].type = 0
        polymorphic.signature.input_arg[0].type_attr = "T"
        refused("no certain dtype", functions=[polymorphic])

    def test_results_that_are_missing(self):
        unfinished = double()
        del unfinished.ret["y"]
        refused("does not return all", functions=[unfinished])

    def test_two_of_one_name(self):
        library = graph_def(functions=[double(), double()]).library
        with pytest.raises(FormatError, match="two functions of one name"):
            check_library(library, "a library")


class TestFrames:
    def test_an_exit_of_no_loop(self):
        refused("nothing entered", const("a", 1.0), node("exit", "Exit", "a", T=FLOAT))

    def test_a_circle_that_nothing_enters(self):
        turn = node("next", "NextIteration", "merge", T=FLOAT)
        refused("nothing enters", node("merge", "Merge", "next", "next", T=FLOAT, N=AttrValue(i=2)), turn)

    def test_nodes_between_two_loops(self):
        one = node("one", "Enter", "a", T=FLOAT, frame_name=AttrValue(s=b"one"))
        other = node("other", "Enter", "a", T=FLOAT, frame_name=AttrValue(s=b"other"))
        refused("different loops", const("a", 1.0), one, other, add("both", "one", "other"))

    def test_a_turn_that_no_merge_begins(self):
        enter = node("enter", "Enter", "a", T=FLOAT, frame_name=AttrValue(s=b"one"))
        turn = node("turn", "NextIteration", "enter", T=FLOAT)
        refused("the place of the Merge", const("a", 1.0), enter, turn, node("exit", "Exit", "turn", T=FLOAT))

    def test_a_result_inside_of_a_loop(self):
        enter = node("enter", "Enter", "x", T=FLOAT, frame_name=AttrValue(s=b"one"))
        leave = node("leave", "Exit", "enter:output:0", T=FLOAT)
        refused("inside of a loop", functions=[double("f", enter, result="enter:output:0")])
        check(functions=[double("f", enter, leave, result="leave:output:0")])
        with pytest.raises(FormatError, match="inside of a loop"):
            check_structure(graph_def(const("x", 1.0), enter), [], "a graph", ["enter:0"])


def test_an_op_that_is_not_registered():
    refused("not registered", node("a", "NoSuchOp"))


@pytest.mark.parametrize("value", [dtype("float32"), AttrValue(type=9999)])
def test_a_dtype_of_an_unknown_number(value):
    parse = node("a", "Placeholder", dtype=value, shape=shape(2))
    if value.type == types_pb2.DT_FLOAT:
        check(parse)
    else:
        refused("unknown number", parse)


def test_placeholders_are_nodes_like_others():
    check(placeholder("x"), node("y", "Identity", "x", T=FLOAT))


def types(count):
    return AttrValue(list=AttrValue.ListValue(type=[types_pb2.DT_FLOAT] * count))


@pytest.mark.parametrize(
    ("match", "caller"),
    [
        ("arguments of 'double'", node("c", "PartitionedCall", "a", "a", f=func("double"), Tin=types(2))),
        ("results of 'double'", node("c", "If", "a", "a", then_branch=func("double"), Tin=types(1), Tout=types(2))),
        ("0 results of 'nothing'", node("c", "While", "a", cond=func("nothing"), T=types(1))),
        ("of 1 arguments called with 2", call("c", "a")),
    ],
)
def test_functions_that_do_not_fit_who_calls_them(match, caller):
    """TensorFlow finds out once they run, or when it differentiates them."""
    if caller.op == "double":
        caller.input.append("a")
    nothing = function("nothing", args=["x"], of="float32")
    refused(match, const("a", 1.0), caller, functions=[double(), nothing])


@pytest.mark.parametrize("count", [-(1 << 40), 0, 1 << 31])
@pytest.mark.parametrize("op", ["Enter", "While"])
def test_turns_of_a_loop_at_once(op, count):
    """The executor makes room for all of them, or divides by their number plus one."""
    refused(
        f"parallel_iterations={count}",
        const("a", 1.0),
        node("n", op, "a", T=FLOAT, parallel_iterations=AttrValue(i=count)),
    )


@pytest.mark.parametrize(
    ("key", "number"),
    [("value_index", 1 << 31), ("key_index", -3), ("vocab_size", 1 << 31), ("vocab_size", -(1 << 40))],
)
def test_columns_and_lines_of_a_file_that_fills_a_table(key, number):
    """The kernel counts columns in 32 bits, and makes room for as many lines as the graph says, before it reads."""
    ends = {"key_index": -2, "value_index": -1, "vocab_size": -1}

    def nodes(**numbers):
        table = node("t", "HashTableV2", key_dtype=dtype("string"), value_dtype=dtype("int64"))
        values = {name: AttrValue(i=value) for name, value in (ends | numbers).items()}
        return table, const("path", ""), node("fill", "InitializeTableFromTextFileV2", "t", "path", **values)

    check(*nodes())
    refused(f"'fill' with {key}={number}", *nodes(**{key: number}))


def test_a_list_of_impossible_length():
    def nodes(length):
        return const("n", np.int32(length)), node("list", "TensorArrayV3", "n", dtype=FLOAT)

    check(*nodes(1000))
    refused("a list of 2147483647 tensors", *nodes(2**31 - 1))


def test_a_table_of_impossible_size():
    attributes = {"key_dtype": dtype("int64"), "value_dtype": FLOAT, "value_shape": shape()}
    inputs = [const("empty", tf.constant(-1, tf.int64)), const("deleted", tf.constant(-2, tf.int64))]

    def table(buckets, **others):
        made = node("t", "MutableDenseHashTableV2", "empty", "deleted", **{**attributes, **others})
        made.attr["initial_num_buckets"].i = buckets
        return [*inputs, made]

    check(*table(1 << 20))
    refused("while it is empty", *table(1 << 50))
    refused("while it is empty", *table(1 << 20, value_shape=shape(1 << 20)))
