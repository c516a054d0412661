from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from savedmodel.builder import asset_file_def, const, dtype, function, meta_graph, node, text
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import function_def_to_graph

from hubkeras.errors import FormatError, MissingOpError, UnsafeModuleError
from hubkeras.graphs.object_graph import called_functions, check_object_graph
from hubkeras.graphs.op_policy import OpPolicy

STRING, WHERE = dtype("string"), "the thing"


def writer(name):
    path, content = const("path", "/tmp/x"), const("content", "x")
    return function(name, path, content, node("write", "WriteFile", "path:output:0", "content:output:0"))


def reader(name, source="path", args=("path",)):
    return function(name, node("read", "ReadFile", source), args=args)


def saver(name):
    names = [node(f"c{i}", "Const", dtype=STRING, value=const("c", [""]).attr["value"]) for i in range(2)]
    prefix = const("prefix", "/tmp/x")
    inputs = ["prefix:output:0", "c0:output:0", "c1:output:0"]
    dtypes = dtype("float32")
    dtypes.list.type.append(types_pb2.DT_FLOAT)
    return function(name, prefix, *names, node("restore", "RestoreV2", *inputs, dtypes=dtypes))


@pytest.fixture
def graph():
    """Objects: a user's object, an asset, a resource, and a function that captured the other two."""
    proto = meta_graph(functions=[reader("read", args=["word", "path", "table"]), saver("restore")], tags=["serve"])
    proto.asset_file_def.append(asset_file_def("a:0", "a.txt"))
    objects = proto.object_graph_def
    objects.nodes.add().user_object.identifier = "_generic_user_object"
    objects.nodes.add().asset.asset_file_def_index = 0
    objects.nodes.add().resource.SetInParent()
    objects.nodes.add().function.concrete_functions.append("read")
    objects.nodes[0].children.add(node_id=3, local_name="read")
    objects.concrete_functions["read"].bound_inputs.extend([1, 2])
    return proto


def check(proto, **options):
    check_object_graph(proto, OpPolicy.of(**{"safe_mode": True, "allow_ops": (), **options}), WHERE)


def test_the_last_arguments_are_what_a_function_captured(graph):
    assert called_functions(graph, WHERE) == {"read": {"path"}}
    check(graph)
    graph.object_graph_def.concrete_functions["read"].bound_inputs[:] = [2, 1]
    assert called_functions(graph, WHERE) == {"read": {"table"}}
    with pytest.raises(UnsafeModuleError, match=r"ReadFile .node 'read' of the function 'read'.*not an asset"):
        check(graph)


def test_a_function_that_is_not_listed_captured_nothing(graph):
    del graph.object_graph_def.concrete_functions["read"]
    assert called_functions(graph, WHERE) == {"read": frozenset()}
    with pytest.raises(UnsafeModuleError, match="ReadFile"):
        check(graph)


def name_in_the_list(graph):
    graph.object_graph_def.concrete_functions["evil"].SetInParent()


def name_in_a_function(graph):
    graph.object_graph_def.nodes[3].function.concrete_functions.append("evil")


def name_as_a_bare_function(graph):
    graph.object_graph_def.nodes.add().bare_concrete_function.concrete_function_name = "evil"


def name_as_the_home_of_a_tensor(graph):
    graph.object_graph_def.nodes.add().captured_tensor.concrete_function = "evil"


def name_as_a_gradient(graph):
    graph.graph_def.library.gradient.add(function_name="read", gradient_func="evil")


def name_as_a_registered_gradient(graph):
    graph.graph_def.library.registered_gradients.add(gradient_func="evil", registered_op_type="Gradient")


def call_it(graph):
    graph.graph_def.library.function[0].node_def.add(name="call", op="evil")


def let_it_stand_for_another(graph):
    graph.graph_def.library.function[-1].attr["api_implements"].s = b"lstm"


def name_it_nowhere(graph):
    del graph


EVERYWHERE = [
    name_in_the_list,
    name_in_a_function,
    name_as_a_bare_function,
    name_as_the_home_of_a_tensor,
    name_as_a_gradient,
    name_as_a_registered_gradient,
    call_it,
    let_it_stand_for_another,
]


@pytest.mark.parametrize("place", [*EVERYWHERE, name_it_nowhere])
def test_every_function_is_judged(graph, place):
    graph.graph_def.library.function.append(writer("evil"))
    place(graph)
    with pytest.raises(UnsafeModuleError, match=f"WriteFile .node 'write' of the function 'evil'.*{'allow_ops'}"):
        check(graph)
    check(graph, allow_ops=["WriteFile"])
    check(graph, safe_mode=False)


@pytest.mark.parametrize("place", EVERYWHERE)
def test_only_what_nobody_calls_saves_and_restores(graph, place):
    graph.graph_def.library.function.append(saver("evil"))
    check(graph)
    place(graph)
    with pytest.raises(UnsafeModuleError, match=r"RestoreV2 .node 'restore' of the function 'evil'"):
        check(graph)


def test_tensorflow_runs_what_nobody_calls():
    """Why every function is judged: to find out shapes, TensorFlow runs stateless ops while it imports."""

    @tf.function(input_signature=[])
    def reshape():
        length = tf.strings.length(tf.io.read_file(tf.constant(__file__)))
        return tf.zeros(tf.stack([length, 1]))

    definition = reshape.get_concrete_function().function_def
    imported = function_def_to_graph.function_def_to_graph(definition)
    assert imported.outputs[0].shape.as_list() == [len(Path(__file__).read_bytes()), 1]


MALFORMED = [
    (lambda g: g.object_graph_def.ClearField("nodes"), "no object"),
    (lambda g: g.object_graph_def.nodes[0].children.add(node_id=9), "object 0 with a reference to object 9 of 4"),
    (lambda g: g.object_graph_def.nodes[1].children.add(node_id=-1), "object 1 with a reference to object -1 of 4"),
    (lambda g: g.object_graph_def.nodes[1].dependencies.add(node_id=4), "object 1 with a reference to object 4"),
    (lambda g: g.object_graph_def.nodes[0].slot_variables.add(slot_variable_node_id=7), "a reference to object 7"),
    (lambda g: g.object_graph_def.nodes[0].slot_variables.add(original_variable_node_id=7), "a reference to object 7"),
    (lambda g: setattr(g.object_graph_def.nodes[0].saveable_objects["s"], "save_function", 8), "to object 8"),
    (lambda g: setattr(g.object_graph_def.nodes[0].saveable_objects["s"], "restore_function", -2), "to object -2"),
    (lambda g: g.object_graph_def.concrete_functions["read"].bound_inputs.append(5), "'read' with a reference to"),
    (lambda g: g.object_graph_def.concrete_functions["read"].bound_inputs.extend([0, 0]), "3 arguments and 4 captured"),
    (lambda g: g.object_graph_def.concrete_functions["nope"].SetInParent(), "the function 'nope', which is not there"),
    (lambda g: g.object_graph_def.nodes[3].function.concrete_functions.append("nope"), "the function 'nope'"),
    (lambda g: setattr(g.object_graph_def.nodes[1].asset, "asset_file_def_index", 1), "object 1, the asset 1 of 1"),
    (lambda g: setattr(g.object_graph_def.nodes[1].asset, "asset_file_def_index", -1), "object 1, the asset -1 of 1"),
    (lambda g: setattr(g.object_graph_def.nodes[1], "registered_name", "tf.TrackableConstant"), "tf.TrackableConstant"),
    (lambda g: g.asset_file_def.append(asset_file_def("a:0", "../b")), "two assets for the tensor 'a:0'"),
    (lambda g: g.graph_def.library.function.append(reader("read")), "two functions of one name"),
    (lambda g: g.graph_def.library.function[1].node_def.add(name="n", op="Identity", input=["nope"]), "'restore'"),
]


@pytest.mark.parametrize(("change", "words"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_objects(graph, change, words):
    change(graph)
    with pytest.raises(FormatError, match="the thing") as caught:
        check(graph, safe_mode=False)
    assert words in str(caught.value)


def test_an_op_that_is_not_registered(graph):
    graph.graph_def.library.function.append(function("f", node("n", "NoSuchOp")))
    with pytest.raises(MissingOpError, match="the thing: it needs op 'NoSuchOp'"):
        check(graph)


def test_a_constant_of_another_dtype_ends_no_process(graph):
    bad = const("c", np.float32(1))
    bad.attr["dtype"].CopyFrom(STRING)
    graph.graph_def.library.function.append(function("f", bad))
    with pytest.raises(FormatError, match="constant 'c'"):
        check(graph, safe_mode=False)


def test_an_attribute_that_a_caller_fills_in(graph):
    inner = node("print", "PrintV2", "m", output_stream=text(""))
    inner.attr["output_stream"].placeholder = "target"
    graph.graph_def.library.function.append(function("f", inner, args=["m"]))
    with pytest.raises(FormatError, match="'print'"):
        check(graph)


def test_a_constant_that_stands_for_a_terabyte(graph):
    """TensorFlow makes an array of what an object names, though it never imports the node."""
    large = const("large", 1.0)
    large.attr["value"].tensor.tensor_shape.dim.add(size=1 << 38)
    graph.graph_def.node.append(large)
    check(graph)
    graph.object_graph_def.nodes.add().constant.operation = "large"
    with pytest.raises(FormatError, match="constants of more than"):
        check(graph)


def _add_bare_function(graph):
    added = graph.object_graph_def.nodes.add().bare_concrete_function
    added.concrete_function_name = "read"
    return added


def _bounded(value, tensor):
    value.bounded_tensor_spec_value.minimum.CopyFrom(tensor)
    value.bounded_tensor_spec_value.maximum.CopyFrom(tf.make_tensor_proto(1.0))


@pytest.mark.parametrize(
    "place",
    [
        lambda g: g.object_graph_def.concrete_functions["read"].canonicalized_input_signature,
        lambda g: g.object_graph_def.concrete_functions["read"].output_signature,
        lambda g: g.object_graph_def.nodes[3].function.function_spec.fullargspec,
        lambda g: g.object_graph_def.nodes[3].function.function_spec.input_signature,
        lambda g: _add_bare_function(g).function_spec.fullargspec,
    ],
)
@pytest.mark.parametrize(
    "fill",
    [
        lambda value, tensor: value.tensor_value.CopyFrom(tensor),
        lambda value, tensor: value.list_value.values.add().numpy_value.CopyFrom(tensor),
        lambda value, tensor: value.dict_value.fields["x"].tuple_value.values.add().numpy_value.CopyFrom(tensor),
        lambda value, tensor: value.named_tuple_value.values.add().value.tensor_value.CopyFrom(tensor),
        lambda value, tensor: _bounded(value.type_spec_value.type_state, tensor),
    ],
)
def test_an_argument_that_stands_for_gigabytes(graph, place, fill):
    """TensorFlow makes an array of it while it loads the objects."""
    tensor = tf.make_tensor_proto(1.0)
    value = place(graph)
    fill(value, tensor)
    check(graph)
    tensor.tensor_shape.dim.add(size=1 << 27)
    fill(value, tensor)
    with pytest.raises(FormatError, match="constants of more than 268435456 bytes"):
        check(graph)


@pytest.mark.parametrize(
    ("kind", "names", "words"),
    [
        ("_generic_user_object", ["f", "f"], "two children of one name"),
        ("signature_map", ["__call__"], "a signature_map that is to be called"),
        ("trackable_list_wrapper", ["0", "__call__"], "that is to be called"),
        ("trackable_list_wrapper", ["0", "3000000000"], "a list with the children"),
        ("trackable_list_wrapper", ["0", "01"], "a list with the children"),
        ("trackable_list_wrapper", ["0", "9999999"], "elements"),
        ("trackable_tuple_wrapper", ["0", "9999999"], "elements"),
        ("trackable_tuple_wrapper", ["\uff11"], "a list with the children"),
    ],
)
def test_children_that_do_harm(graph, kind, names, words):
    """A variable of the name of another one is lost, lists are as long as a name says, and a class called is all's."""
    thing = graph.object_graph_def.nodes.add()
    thing.user_object.identifier = kind
    for name in names:
        thing.children.add(node_id=3, local_name=name)
    with pytest.raises(FormatError, match=words):
        called_functions(graph, WHERE)


def test_a_variable_is_not_to_be_called(graph):
    graph.object_graph_def.nodes.add().variable.SetInParent()
    graph.object_graph_def.nodes[-1].children.add(node_id=3, local_name="__call__")
    with pytest.raises(FormatError, match="a variable that is to be called"):
        called_functions(graph, WHERE)


def test_children_that_do_no_harm(graph):
    for kind, names in (("_generic_user_object", ["__call__"]), ("trackable_tuple_wrapper", ["0", "7", "mean"])):
        thing = graph.object_graph_def.nodes.add()
        thing.user_object.identifier = kind
        for name in names:
            thing.children.add(node_id=3, local_name=name)
    assert called_functions(graph, WHERE) == {"read": {"path"}}
