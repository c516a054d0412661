"""A loaded module: the calling convention of hub.Module, its state, and what it says about itself."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from building import variable, write
from parity import read

import hubkeras
from hubkeras.errors import AttachmentError, HubKerasError, InputError, OutputError, SignatureError, TagsError
from hubkeras.savedmodel.protos import ImageModuleInfo

MODULES = Path(__file__).parent.parent / "golden" / "modules"
v1 = tf.compat.v1


def load(name, **kwargs):
    return hubkeras.load(MODULES / name, **kwargs)


def test_a_bare_value_goes_to_the_only_input_whatever_its_name():
    module = load("odd_shapes")
    bare, named = (module(x, signature="only_named", as_dict=True)["y"] for x in ([1, 2, 3], {"x": [1, 2, 3]}))
    np.testing.assert_array_equal(bare, named)


def test_a_signature_without_inputs_is_called_with_nothing():
    module = load("odd_shapes")
    with_nothing = module(signature="no_inputs")
    assert with_nothing.shape == ()
    np.testing.assert_array_equal(with_nothing, module({}, signature="no_inputs"))


def test_every_output_or_the_one_named_default():
    module = load("odd_shapes")
    every = module([[1, 2, 3]], as_dict=True)
    assert set(every) == {"default"}
    np.testing.assert_array_equal(every["default"], module([[1, 2, 3]]))


def test_zero_sizes_pass_through():
    """An empty batch, and an axis that is empty by itself."""
    module = load("odd_shapes")
    assert module(np.zeros((0, 3))).shape == (0, 3)
    assert module(np.zeros((2, 0)), signature="zero_width").shape == (2,)
    assert load("text_paths")(tf.constant([], tf.string)).shape == (0, 4)


def test_any_rank_where_the_signature_tells_none():
    module = load("odd_shapes")
    for shape in ((), (3,), (2, 3), (2, 2, 3)):
        assert module(np.ones(shape), signature="unknown_rank", as_dict=True)["rank"] == len(shape)


@pytest.mark.parametrize("form", ["eager", "function", "map"])
def test_sparse_and_ragged_values_in_every_way_of_use(form):
    sparse, ragged = tf.sparse.from_dense(np.eye(6, dtype="f")[:2]), tf.ragged.constant([[1.0, 2.0], [3.0]])
    for name, signature, value in (("sparse_training", "matmul", sparse), ("ragged_text", "ragged", ragged)):
        module = load(name)

        def call(x, module=module, signature=signature):
            return module(x, signature=signature, as_dict=True)

        outputs = {
            "eager": lambda value=value, call=call: call(value),
            "function": lambda value=value, call=call: tf.function(call)(value),
            "map": lambda value=value, call=call: next(iter(tf.data.Dataset.from_tensors(value).map(call))),
        }[form]()
        scaled = outputs["scaled"]
        assert isinstance(scaled, tf.SparseTensor if name == "sparse_training" else tf.RaggedTensor)
        whole = tf.sparse.to_dense(scaled) if name == "sparse_training" else scaled.to_tensor()
        assert whole.shape[0] == 2


def test_training_may_be_a_tensor():
    """A symbolic tensor chooses the variant and the update ops when the function runs."""
    module = load("losses_and_updates")
    step = tf.function(lambda x, training: module(x, training=training))
    before = [v.numpy() for v in module.variables]
    step(tf.ones((2, 3)), tf.constant(False))
    assert all(np.array_equal(v, old) for v, old in zip(module.variables, before, strict=True))
    step(tf.ones((2, 3)), tf.constant(True))
    assert any(not np.array_equal(v, old) for v, old in zip(module.variables, before, strict=True))


def test_variants_and_signatures_share_variables():
    """What one signature assigns the others see, in inference and in training."""
    module = load("batch_norm_tensor")
    images = np.ones((1, 6, 5, 3))
    for variable_ in module.variables:
        variable_.assign(tf.zeros_like(variable_))
    for training in (False, True):
        assert not np.any(module(images, signature="image_feature_vector", training=training))
    assert len({v.name for v in module.variables}) == len(module.variables)


def test_variables_of_every_dtype():
    names = {v.dtype.name for v in load("dtypes").variables}
    assert {"bool", "int8", "string", "bfloat16", "complex64", "complex128", "float16", "uint8"} <= names


def test_parts_of_a_partitioned_variable_are_a_list(tmp_path):
    """`variable_map` has the parts in their order; `variables` has each once."""

    def build(tags):
        x = v1.placeholder(tf.int64, [None], "x")

        def rows(shape, dtype=None, partition_info=None):
            start = partition_info.var_offset[0]
            return tf.constant(np.arange(10, dtype="f").reshape(5, 2)[start : start + shape[0]])

        parts = v1.get_variable("table", [5, 2], initializer=rows, partitioner=v1.fixed_size_partitioner(3))
        return {"default": ({"x": x}, {"default": v1.nn.embedding_lookup(parts, x, "div")})}

    module = hubkeras.load(write(tmp_path / "m", build))
    assert [p.shape.as_list() for p in module.variable_map["table"]] == [[2, 2], [2, 2], [1, 2]]
    assert len(module.variables) == 3
    assert module([4, 0]).numpy().tolist() == [[8.0, 9.0], [0.0, 1.0]]


def test_assets_are_found_after_the_module_moved(tmp_path):
    """Two assets of one basename each fill their own table, wherever the module lies."""
    record = read("many_tables")
    call = next(c for c in record.content["tag_sets"][0]["calls"] if c["signature"] == "default")
    moved = shutil.copytree(record.path, tmp_path / "elsewhere" / "module")
    module = hubkeras.load(moved)
    shutil.move(moved, tmp_path / "third")
    module = hubkeras.load(tmp_path / "third")
    outputs = module({k: record.tensor(s) for k, s in call["inputs"].items()}, as_dict=True)
    for k, spec in call["outputs"].items():
        record.check(outputs[k], spec, what=k)


def test_images_are_decoded_under_a_loop():
    """PNG strings go through v1 `map_fn`, in a pipeline as well."""
    pngs = [tf.io.encode_png(np.full((4, 4, 3), i, np.uint8)).numpy() for i in (0, 100, 200)]
    module = load("image_decoding")
    one = module(pngs)
    assert one.shape == (3, 3)
    mapped = tf.data.Dataset.from_tensors(pngs).map(module)
    np.testing.assert_array_equal(next(iter(mapped)), one)


def test_random_ops_draw_anew():
    module = load("chance")
    name = module.get_signature_names()[0]
    infos = module.get_input_info_dict(name)
    fed = {k: np.ones([s or 2 for s in i.get_shape()], i.dtype.as_numpy_dtype) for k, i in infos.items()}
    first, second = (module(fed, signature=name, as_dict=True) for _ in range(2))
    assert any(not np.array_equal(first[k], second[k]) for k in first)


def test_what_a_module_says():
    module = load("losses_and_updates")
    assert module.get_tags() == [frozenset()]
    assert sorted(module.get_signature_names()) == ["default", "weights", "z"]
    info = module.get_input_info_dict("z")["z"]
    assert (info.dtype, info.get_shape().as_list()) == (tf.float32, [None, 3])
    assert (info.is_sparse, info.is_composite) == (False, False)
    assert repr(info) == "<hubkeras.ParsedTensorInfo shape=(None, 3) dtype=float32 is_sparse=False>"
    assert module.get_output_info_dict("z")["count"].type_spec == tf.TensorSpec([], tf.int64, "count")
    assert all(loss().shape == () for loss in module.regularization_losses)
    assert isinstance(module, tf.Module)
    assert repr(module) == f"<hubkeras module {MODULES / 'losses_and_updates'} tags=[]>"


def test_attached_messages():
    module = load("batch_norm_tensor")
    message = module.get_attached_message("image_module_info", ImageModuleInfo)
    assert (message.default_image_size.height, message.default_image_size.width) == (6, 5)
    assert module.get_attached_message("nothing", ImageModuleInfo) is None
    with pytest.raises(KeyError, match=r"nothing.*image_module_info"):
        module.get_attached_message("nothing", ImageModuleInfo, required=True)


def test_a_checkpoint_of_tensorflow_holds_a_module(tmp_path):
    """`tf.train.Checkpoint` sees the variables and restores them."""
    module = load("library_functions")
    before = module([[1, 2, 3]])
    path = tf.train.Checkpoint(module=module).write(str(tmp_path / "c"))
    for variable_ in module.variables:
        variable_.assign(tf.zeros_like(variable_))
    tf.train.Checkpoint(module=module).read(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(module([[1, 2, 3]]), before)


X = np.ones((2, 3))
REFUSED = [
    ("odd_shapes", lambda m: m(), InputError, "signature 'default' expects an input keys ['default'] nothing"),
    ("odd_shapes", lambda m: m({"x": X}), InputError, "'default' missing ['default'] not known ['x'] exactly"),
    ("odd_shapes", lambda m: m({"default": X, "y": X}), InputError, "missing: [] not known: ['y']"),
    (
        "odd_shapes",
        lambda m: m(X, signature="no_inputs"),
        InputError,
        "'no_inputs' no inputs empty dict ndarray",
    ),
    ("odd_shapes", lambda m: m(X[0]), InputError, "input 'default' (None, 3) (3,) batch axis tf.newaxis"),
    ("odd_shapes", lambda m: m(np.ones((2, 4))), InputError, "input 'default' signature 'default' (None, 3) (2, 4)"),
    ("odd_shapes", lambda m: m(tf.ones((2, 3), tf.float64)), InputError, "'default' float32 float64 tf.cast"),
    ("odd_shapes", lambda m: m("text"), InputError, "'default' float32 str"),
    ("odd_shapes", lambda m: m(np.array([["a", "b", "c"]])), InputError, "'default' float32 ndarray"),
    ("odd_shapes", lambda m: m({"default": None}), InputError, "'default' float32 nothing"),
    ("odd_shapes", lambda m: m(tf.sparse.from_dense(X)), InputError, "'default' a Tensor a SparseTensor"),
    ("odd_shapes", lambda m: m(tf.ragged.constant([[1.0]])), InputError, "'default' a Tensor a RaggedTensor"),
    ("odd_shapes", lambda m: m(X, signature="nope"), SignatureError, "'nope' 'fixed_batch' 'zero_width'"),
    ("odd_shapes", lambda m: m([1, 2, 3], signature="only_named"), OutputError, "'only_named' as_dict ['y']"),
    ("odd_shapes", lambda m: m(np.ones((3, 3)), signature="fixed_batch"), InputError, "'fixed_batch' (2, 3) (3, 3)"),
    (
        "odd_places",
        lambda m: m(X, signature="from_split"),
        InputError,
        "'from_split' multiple 'right': ..., 'x'",
    ),
    ("odd_places", lambda m: m([X, X], signature="from_split"), InputError, "'from_split' dict ['right', 'x'] list"),
    ("odd_places", lambda m: m({"x": X}, signature="with_bias"), InputError, "missing: ['bias', 'unused']"),
    ("sparse_training", lambda m: m(np.eye(6), signature="matmul"), InputError, "SparseTensor tf.sparse.from_dense"),
    ("sparse_training", lambda m: m(tf.sparse.eye(5), signature="matmul"), InputError, "'matmul' (None, 6) (5, 5)"),
    ("ragged_text", lambda m: m([[1.0]], signature="ragged"), InputError, "RaggedTensorSpec tf.ragged.constant"),
    ("odd_shapes", lambda m: m.get_input_info_dict("nope"), SignatureError, "'nope' 'default'"),
    ("odd_shapes", lambda m: m.get_signature_names(tags={"train"}), TagsError, "['train'] [[]]"),
    ("odd_shapes", lambda m: m.get_attached_message("k", ImageModuleInfo, required=True), AttachmentError, "'k'"),
    ("odd_shapes", lambda m: m.signatures["nope"], SignatureError, "'nope' 'default'"),
    ("odd_shapes", lambda m: m.signatures["default"](X, X), InputError, "'default' 2 positional"),
    ("lstm_dropout", lambda m: m.get_signature_names(tags="train"), TagsError, "'train' ['train'] tags=['train']"),
]


@pytest.mark.parametrize(("name", "call", "kind", "words"), REFUSED, ids=range(len(REFUSED)))
def test_bad_use_is_refused_by_name(name, call, kind, words):
    """The message names what failed, what was expected, what was received; a builtin class catches it too."""
    with pytest.raises(kind) as caught:
        call(load(name))
    message = str(caught.value)
    for word in words.split(" "):
        assert word in message, message
    assert isinstance(caught.value, HubKerasError)
    assert isinstance(caught.value, (TypeError, ValueError, KeyError))


def test_a_module_that_holds_nothing_trainable(tmp_path):
    """A frozen module still lets gradients reach its inputs."""

    def build(tags):
        x = v1.placeholder(tf.float32, [None], "x")
        return {"default": ({"x": x}, {"default": x * variable("w", 3.0, trainable=False)})}

    module, x = hubkeras.load(write(tmp_path / "m", build)), tf.constant([2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = module(x)
    assert module.trainable_variables == ()
    assert tape.gradient(y, x).numpy() == [3.0]


@pytest.mark.parametrize("arguments", [{}, {"trainable": True, "tags": {"train"}}])
def test_the_module_of_tensorflow_1_is_no_more(arguments):
    """Tutorials of TensorFlow 1 write `hub.Module(handle)`: what to write instead."""
    with pytest.raises(InputError, match=r"hub\.load\('handle'\)") as caught:
        hubkeras.Module("handle", **arguments)  # pyright: ignore[reportCallIssue, reportArgumentType]
    for word in ("KerasLayer", "compat.v1"):
        assert word in str(caught.value)
