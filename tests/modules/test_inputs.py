"""Values of every kind as inputs: what is converted, and what is refused by name."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.struct_pb2 import TypeSpecProto

from hubkeras.errors import FormatError, InputError
from hubkeras.functions.tensor_info import ParsedTensorInfo
from hubkeras.graphs.tensorflow_internals import encode_type_spec
from hubkeras.modules.inputs import by_name, convert
from hubkeras.savedmodel.description import TensorInfo


def info(dtype, shape=None, kind="dense"):
    return ParsedTensorInfo(TensorInfo("x", dtype, shape, kind, ("x:0",)))


def given(value, dtype, shape=None, kind="dense"):
    return convert({"x": value}, {"x": info(dtype, shape, kind)}, "default")["x"]


CONVERTED = [
    (1, "float32"),
    ([1, 2], "float32"),
    ([1.5], "float64"),
    (np.float64(2.5), "float32"),
    (np.ones(2), "float32"),
    (np.ones(2), "float16"),
    (np.ones(2), "bfloat16"),
    ([np.float64(1)], "bfloat16"),
    (np.ones(2, int), "int32"),
    (np.ones(2, np.uint8), "int64"),
    (np.ones(2, bool), "float32"),
    ([True, False], "bool"),
    (["a", b"b"], "string"),
    (np.array(["a", "b"]), "string"),
    (np.array(["a", b"b"], object), "string"),
    (np.array(b"a"), "string"),
    ([1 + 2j], "complex64"),
    (tf.Variable([1.0]), "float32"),
    ((1, 2), "int8"),
    ([tf.constant(1.0), tf.constant(2.0)], "float32"),
    (np.array([2**31 - 1, -(2**31)]), "int32"),
    (np.array([True, False]), "int32"),
    (np.array([1, 2], object), "int32"),
    (np.ones(2), "int32"),
    (np.array([0, 1]), "bool"),
    (np.array([1, 2], np.int8), "qint8"),
    (np.array([], int), "int8"),
    (np.float64(1), "complex64"),
    (np.array([1.0], "float16"), "float64"),
    (np.array([1, 7]), "int4"),
    ([tf.constant(1), 2], "int32"),
]


@pytest.mark.parametrize(("value", "dtype"), CONVERTED, ids=range(len(CONVERTED)))
def test_python_and_numpy_values_take_the_dtype_of_the_signature(value, dtype):
    tensor = given(value, dtype)
    assert tf.is_tensor(tensor)
    assert tensor.dtype.name == dtype
    assert tensor.shape == np.shape(value)


REFUSED = [
    (tf.ones(2), "float64", None, "float64 float32 tf.cast"),
    (tf.ones(2, tf.int64), "int32", None, "int32 int64 tf.cast"),
    (tf.constant(["a"]), "float32", None, "float32 string"),
    ([1.5], "int64", None, "int64 list"),
    (["a"], "float32", None, "float32 list"),
    ([1], "string", None, "string list"),
    ([[1, 2], [3]], "float32", None, "float32 list"),
    (object(), "float32", None, "float32 object"),
    (None, "float32", None, "float32 nothing"),
    (np.array([1.7]), "int32", None, "int32 float64 astype"),
    (np.float64(2.0**63), "int64", None, "int64 9223372036854775807"),
    (np.array([np.nan]), "int32", None, "int32 float64 astype"),
    (np.array([np.inf]), "int32", None, "int32 float64 astype"),
    ([1.0], "int32", None, "int32 list"),
    ([1], "bool", None, "bool list"),
    (np.array([2**32 + 1]), "int32", None, "int32 4294967297 2147483647"),
    (np.int64(2**32 + 1), "int32", None, "int32 4294967297"),
    ([np.int64(2**32 + 1)], "int32", None, "int32 4294967297"),
    (np.array([-1]), "uint8", None, "uint8 -1"),
    ([-1], "uint8", None, "uint8 -1"),
    (np.array([8]), "int4", None, "int4 8"),
    (np.array(["1"]), "float32", None, "float32 <U1"),
    (np.array(["1"], object), "float32", None, "float32 list"),
    (np.array([1.7], object), "int32", None, "int32 list"),
    (np.array([b"1"]), "int64", None, "int64 |S1"),
    (np.array([2]), "bool", None, "bool int64 astype"),
    (np.array([1]), "string", None, "string int64"),
    (np.array([1j]), "float32", None, "float32 complex128 astype"),
    (np.array(["2020-01-01"], "datetime64[D]"), "int64", None, "int64 datetime64[D]"),
    (np.ones(2), "float32", (None, 2), "(None, 2) (2,) tf.newaxis"),
    (np.ones((2, 1)), "float32", (None,), "(None,) (2, 1) tf.squeeze"),
    (np.ones((2, 3)), "float32", (None, 2), "(None, 2) (2, 3)"),
    (tf.sparse.from_dense([1.0]), "float32", None, "Tensor SparseTensor"),
    (tf.ragged.constant([[1.0]]), "float32", None, "Tensor RaggedTensor"),
]


@pytest.mark.parametrize(("value", "dtype", "shape", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_fit_is_refused_by_name(value, dtype, shape, words):
    with pytest.raises(InputError) as caught:
        given(value, dtype, shape)
    for word in ["'x'", "'default'", *words.split(" ")]:
        assert word in str(caught.value), caught.value


def test_sparse_values():
    sparse = tf.sparse.from_dense([[1.0, 0.0]])
    value = tf.compat.v1.SparseTensorValue(np.array([[0, 0]]), np.float32([1]), np.array([1, 2]))
    for same in (sparse, value):
        assert isinstance(given(same, "float32", (None, 2), "sparse"), tf.SparseTensor)
    for wrong, words in (
        (tf.ones((1, 2)), "from_dense"),
        (tf.sparse.from_dense([[1]]), "int32"),
        ([1.0], "SparseTensor"),
    ):
        with pytest.raises(InputError, match=words):
            given(wrong, "float32", (None, 2), "sparse")


def test_ragged_values_of_numpy_are_never_cast_with_loss():
    spec = tf.RaggedTensorSpec([None, None], tf.int32).experimental_as_proto().SerializeToString()
    ragged = ParsedTensorInfo(TensorInfo("x", "int32", (None, None), "ragged", ("x:0", "x:1"), spec))
    for values in ([[1], [2, 3]], [[], [7]]):
        value = tf.compat.v1.ragged.constant_value(values, dtype="int64")
        assert convert({"x": value}, {"x": ragged}, "default")["x"].to_list() == values
    for wrong, words in (([[1.7]], "float64"), ([[2**32 + 1]], "4294967297"), ([["1"]], "U1")):
        with pytest.raises(InputError, match=words):
            convert({"x": tf.compat.v1.ragged.constant_value(wrong)}, {"x": ragged}, "default")


def test_unknown_dimensions_of_a_traced_tensor_pass():
    """What is not known while a function is traced is not refused."""

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
    def traced(x):
        return given(x, "float32", (None, 3))

    assert traced(tf.ones((2, 3))).shape == (2, 3)


NAMES = {"a": info("float32"), "b": info("float32")}


@pytest.mark.parametrize(
    ("inputs", "infos", "expected"),
    [
        (5, {"only": info("float32")}, {"only": 5}),
        ({"only": 5}, {"only": info("float32")}, {"only": 5}),
        ({"a": 1, "b": 2}, NAMES, {"a": 1, "b": 2}),
        (None, {}, {}),
        ({}, {}, {}),
    ],
)
def test_inputs_by_name(inputs, infos, expected):
    assert by_name(inputs, infos, "default") == expected


@pytest.mark.parametrize(
    ("inputs", "infos", "words"),
    [
        (5, NAMES, "multiple ['a', 'b'] int {'a': ..., 'b': ...}"),
        ([5, 6], NAMES, "multiple ['a', 'b'] list"),
        (None, NAMES, "multiple nothing"),
        ({"a": 1}, NAMES, "missing: ['b'] ['a', 'b']"),
        ({"a": 1, "b": 2, "c": 3}, NAMES, "known: ['c']"),
        ({"a": 1, 2: 3}, NAMES, "missing: ['b'] known: ['2']"),
        (5, {}, "no inputs int"),
        ({"a": 1}, {}, "known: ['a']"),
        (None, {"only": info("float32")}, "an input ['only'] nothing"),
    ],
)
def test_wrong_names_are_refused(inputs, infos, words):
    with pytest.raises(InputError) as caught:
        by_name(inputs, infos, "mine")
    for word in ["'mine'", *words.split(" ")]:
        assert word in str(caught.value), caught.value


def ragged_of_rank(rank):
    proto = TypeSpecProto.FromString(encode_type_spec(tf.RaggedTensorSpec(ragged_rank=1)))
    for value in proto.type_state.tuple_value.values:
        if value.WhichOneof("kind") == "int64_value":
            value.int64_value = rank
    return proto


def of_gigabytes():
    proto = ragged_of_rank(1)
    tensor = proto.type_state.tuple_value.values.add().numpy_value
    tensor.CopyFrom(tf.make_tensor_proto(1.0))
    tensor.tensor_shape.dim.add(size=1 << 31)
    return proto


@pytest.mark.parametrize(
    "spec",
    [
        b"",
        b"\xff",
        TypeSpecProto(type_spec_class=TypeSpecProto.REGISTERED_TYPE_SPEC, type_spec_class_name="os.system"),
        ragged_of_rank(1 << 40),
        of_gigabytes(),
    ],
)
def test_a_type_specification_that_nobody_wrote(spec):
    """The last ones stand for more tensors, and for larger ones, than memory holds."""
    spec = spec if isinstance(spec, bytes) else spec.SerializeToString()
    info = ParsedTensorInfo(TensorInfo("x", "float32", None, "ragged", ("x:0", "x:1"), spec))
    with pytest.raises(FormatError, match="Cannot read the type specification of 'x'"):
        _ = info.component_specs
