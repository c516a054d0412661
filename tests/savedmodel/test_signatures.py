import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.saved_model import nested_structure_coder

from hubkeras.errors import FormatError
from hubkeras.savedmodel.signatures import read_signatures
from savedmodel.builder import meta_graph, tensor_info


def read(info):
    return read_signatures(meta_graph(signatures={"s": ({"x": info}, {})}))["s"].inputs["x"]


def sparse_info():
    info = tensor_info("", "string", [None, 5])
    info.coo_sparse.indices_tensor_name = "i:0"
    info.coo_sparse.values_tensor_name = "v:0"
    info.coo_sparse.dense_shape_tensor_name = "s:0"
    return info


def composite_info(spec, *names):
    info = meta_graph_pb2.TensorInfo()
    info.composite_tensor.type_spec.CopyFrom(nested_structure_coder.encode_structure(spec).type_spec_value)
    for name in names:
        info.composite_tensor.components.add(name=name)
    return info


@pytest.mark.parametrize(("sizes", "expected"), [(None, None), ([], ()), ([None, 3], (None, 3)), ([2, 0], (2, 0))])
def test_dense(sizes, expected):
    info = read(tensor_info("a/b:1", "bfloat16", sizes))
    assert (info.name, info.dtype, info.shape, info.kind) == ("x", "bfloat16", expected, "dense")
    assert info.tensors == ("a/b:1",)
    assert info.type_spec is None


def test_a_tensor_without_its_output_is_the_first():
    assert read(tensor_info("a/b")).tensors == ("a/b:0",)


def test_sparse():
    info = read(sparse_info())
    assert (info.dtype, info.shape, info.kind) == ("string", (None, 5), "sparse")
    assert info.tensors == ("i:0", "v:0", "s:0")


def test_ragged_takes_dtype_and_shape_from_its_specification():
    spec = tf.RaggedTensorSpec([None, None, 4], tf.float16, ragged_rank=1, row_splits_dtype=tf.int32)
    info = read(composite_info(spec, "values:0", "splits:0"))
    assert (info.dtype, info.shape, info.kind) == ("float16", (None, None, 4), "ragged")
    assert info.tensors == ("values:0", "splits:0")
    decoded = meta_graph_pb2.TensorInfo().composite_tensor.type_spec.FromString(info.type_spec)
    assert decoded == composite_info(spec).composite_tensor.type_spec


def test_what_the_file_says_of_a_composite_comes_first():
    proto = composite_info(tf.RaggedTensorSpec([None, None], tf.float16), "values:0", "splits:0")
    proto.dtype = tf.int32.as_datatype_enum
    proto.tensor_shape.CopyFrom(tf.TensorShape([7, None]).as_proto())
    info = read(proto)
    assert (info.dtype, info.shape) == ("int32", (7, None))


def test_a_sparse_specification_is_sparse():
    info = read(composite_info(tf.SparseTensorSpec([None, 3], tf.int64), "i:0", "v:0", "s:0"))
    assert (info.dtype, info.shape, info.kind) == ("int64", (None, 3), "sparse")


def test_any_other_composite():
    info = read(composite_info(tf.IndexedSlicesSpec([4, 3], tf.float32), "v:0", "i:0"))
    assert (info.dtype, info.shape, info.kind) == ("float32", (4, 3), "composite")


def test_odd_names_are_names_and_private_signatures_are_none():
    names = ["default", "a$b", "a/b", "a:b", "__saved_model_init_op", "__saved_model_train_op"]
    signatures = read_signatures(meta_graph(signatures={name: ({}, {"default": "y:0"}) for name in names}))
    assert list(signatures) == ["a$b", "a/b", "a:b", "default"]
    assert signatures["a/b"].inputs == {}


def test_method_name_is_kept():
    proto = meta_graph(signatures={"s": ({}, {})})
    proto.signature_def["s"].method_name = "tensorflow/serving/predict"
    assert read_signatures(proto)["s"].method_name == "tensorflow/serving/predict"


def test_unknown_dtype():
    info = tensor_info("x:0")
    info.dtype = 12345
    with pytest.raises(FormatError, match="12345"):
        read(info)


@pytest.mark.parametrize("info", [meta_graph_pb2.TensorInfo(name="x:0"), meta_graph_pb2.TensorInfo()])
def test_a_dtype_that_is_missing(info):
    with pytest.raises(FormatError, match="signature 's' has no dtype for 'x'"):
        read(info)
