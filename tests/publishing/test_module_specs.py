"""Specs of modules: made by a function, read from a module or a SavedModel, loaded, exported."""

import copy
import pickle
import shutil

import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN, whole

import hubkeras
from hubkeras.errors import (
    AttachmentError,
    CheckpointError,
    ExportError,
    ExportExistsError,
    FormatError,
    PublishingError,
    SignatureTypeError,
    UnsafeModuleError,
    UnsupportedError,
)
from hubkeras.savedmodel.reader import read_saved_model
from publishing.module_fns import CASES, make_spec

v1 = tf.compat.v1
X = CASES["linear"].calls["default"]["default"]


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return make_spec(hubkeras, "linear", tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return make_spec(hubkeras, "trained", tmp_path_factory.mktemp("files"))


def values(module):
    return {v.name: v.numpy().tolist() for v in module.variables}


def spec_of(module_fn, **kwargs):
    return hubkeras.create_module_spec(module_fn, **kwargs)


def read(checkpoint):
    reader = tf.train.load_checkpoint(str(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


# --- what a spec tells ---------------------------------------------------------------------------------------------


def test_signatures(linear):
    assert linear.get_tags() == [frozenset()]
    assert sorted(linear.get_signature_names()) == ["bias", "default", "double"]
    assert linear.get_input_info_dict()["default"].get_shape().as_list() == [None, 3]
    assert sorted(linear.get_output_info_dict()) == ["default", "logits"]
    assert linear.get_input_info_dict("bias") == {}
    with pytest.raises(ValueError, match="Signature 'nope' is missing"):
        linear.get_input_info_dict("nope")
    with pytest.raises(KeyError, match="nope"):
        linear.get_signature_names(tags={"nope"})


def test_attached_messages(trained):
    """Each variant has its own, the last under a key; what is returned is a copy."""
    for tags, text in ((None, b"infer"), ({"train"}, b"train")):
        found = trained.get_attached_message("mode", tf.train.BytesList, tags=tags)
        assert found.value == [text]
        found.Clear()
        assert trained.get_attached_message("mode", tf.train.BytesList, tags=tags).value == [text]
    assert hubkeras.get_expected_image_size(trained) == [5, 7]
    assert trained.get_attached_message("nope", tf.train.BytesList) is None
    with pytest.raises(AttachmentError, match="nope"):
        trained.get_attached_message("nope", tf.train.BytesList, required=True)


def test_a_spec_is_its_own_copy(linear):
    assert copy.deepcopy(linear) is copy.copy(linear) is linear


# --- initial values ------------------------------------------------------------------------------------------------


def test_seeds(trained):
    """Loads differ unless the global seed is set anew; a variable differs from others with the same initializer."""
    tf.random.set_seed(7)
    first, second = values(hubkeras.load(trained)), values(hubkeras.load(trained))
    tf.random.set_seed(7)
    assert values(hubkeras.load(trained)) == first != second
    assert first["net/w/part_0:0"] != first["net/w/part_1:0"]


def test_a_seed_of_the_publisher_stays():
    """So does the order in which one initial value needs another."""

    def module_fn():
        w = v1.get_variable("w", [3], initializer=v1.random_normal_initializer(seed=5))
        double = v1.get_variable("double", initializer=lambda: w.read_value() * 2)
        hubkeras.add_signature(outputs={"w": w.read_value(), "double": double.read_value()})

    spec, found = spec_of(module_fn), []
    for seed in (1, 2):
        tf.random.set_seed(seed)
        found.append(hubkeras.load(spec)(as_dict=True))
    np.testing.assert_array_equal(found[0]["w"], found[1]["w"])
    np.testing.assert_array_equal(found[0]["double"], 2 * found[0]["w"])


def test_values_of_a_checkpoint(trained, tmp_path):
    """`init_from_checkpoint`, by which the original puts a module into another one, gives initial values."""
    trained.export(tmp_path / "inner")
    want = whole(hubkeras.load(tmp_path / "inner").variable_map["net/w"])

    def module_fn():
        part = v1.fixed_size_partitioner(3)
        w = v1.get_variable("outer/w", [3, 4], partitioner=part)
        v1.train.init_from_checkpoint(str(tmp_path / "inner" / "variables" / "variables"), {"net/w": list(w)})
        hubkeras.add_signature(outputs=tf.convert_to_tensor(w))

    spec = spec_of(module_fn)
    np.testing.assert_array_equal(hubkeras.load(spec)(), want)
    spec.export(tmp_path / "outer")
    shutil.rmtree(tmp_path / "inner")
    np.testing.assert_array_equal(hubkeras.load(tmp_path / "outer")(), want)


# --- export --------------------------------------------------------------------------------------------------------


def test_export_after_training(trained, tmp_path):
    """A module of a spec exports what training made of it; it pickles without a directory."""
    module = hubkeras.load(trained)
    module(X, training=True)
    module.variable_map["net/scale"].assign([1.0, 2.0, 3.0, 4.0])
    module.export(tmp_path / "m")
    for other in (hubkeras.load(tmp_path / "m"), pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        np.testing.assert_array_equal(other(X), module(X))
        assert other.get_tags() == module.get_tags()


@pytest.mark.parametrize("kind", ["saver", "directory", "objects"])
def test_export_from_a_checkpoint(kind, trained, tmp_path):
    """A checkpoint of a training program gives the values, whatever its names, with parts put together or not."""
    source = hubkeras.load(trained)
    known, prefix = {name: whole(v).numpy() for name, v in source.variable_map.items()}, tmp_path / "train" / "model"
    if kind == "objects":
        path, rename = tf.train.Checkpoint(model=source).save(str(prefix)), None
    else:
        with tf.Graph().as_default(), v1.Session() as session:
            for name, value in known.items():
                v1.get_variable(f"tower/{name}", initializer=value)
            session.run(v1.global_variables_initializer())
            path = v1.train.Saver().save(session, str(prefix))
        path, rename = (tmp_path / "train" if kind == "directory" else path), lambda name: f"tower/{name}"
    trained.export(tmp_path / "m", checkpoint_path=path, name_transform_fn=rename)
    assert values(hubkeras.load(tmp_path / "m")) == values(source)


def test_checkpoints_that_do_not_fit(linear, tmp_path):
    """The error names the variable and what the checkpoint has; nothing is left behind."""
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "ckpt"),
        tensor_names=["x/w", "x/b", "y/w", "y/b"],
        shape_and_slices=[""] * 4,
        tensors=[tf.zeros([3, 2]), tf.zeros([5]), tf.zeros([3, 2]), tf.zeros([2], tf.int32)],
    )
    (tmp_path / "empty").mkdir()
    for path, rename, message in (
        ("ckpt", "", r"variable 'b': b is not found in checkpoint .* x/b, x/w"),
        ("ckpt", "x/", r"Shape of variable b doesn't match with shape of x/b .* shape \(2,\)\. .* shape \(5,\)"),
        ("ckpt", "y/", "Dtype of variable b .* float32.* int32"),
        ("nowhere", "", "Cannot read the checkpoint"),
        ("empty", "", "Cannot find a checkpoint"),
    ):
        with pytest.raises(CheckpointError, match=message):
            linear.export(tmp_path / "m", checkpoint_path=tmp_path / path, name_transform_fn=rename.__add__)
    assert not (tmp_path / "m").exists()


def test_export_in_graph_mode(linear, tmp_path):
    """Whoever builds a graph, or has turned v2 behaviour off, exports all the same."""
    with tf.Graph().as_default():
        linear.export(tmp_path / "m")
    assert sorted(read(tmp_path / "m" / "variables" / "variables")) == ["b", "w"]


def test_never_over_a_module(linear, tmp_path):
    linear.export(tmp_path / "m")
    before = read(tmp_path / "m" / "variables" / "variables")
    with pytest.raises(ExportExistsError, match="something is there already"):
        linear.export(tmp_path / "m")
    after = read(tmp_path / "m" / "variables" / "variables")
    np.testing.assert_array_equal(after["w"], before["w"])


# --- assets --------------------------------------------------------------------------------------------------------


def test_assets(tmp_path):
    """Files travel under names of their own, the graph forgets where they lay, and they may go."""
    spec = make_spec(hubkeras, "looked_up", tmp_path / "files")
    words = CASES["looked_up"].calls["default"]["words"]
    module = hubkeras.load(spec)
    want = module({"words": words}, as_dict=True)
    assert module(signature="content") == b"dog\nhorse\ncat\n"
    module.export(tmp_path / "m")
    assert sorted(p.name for p in (tmp_path / "m" / "assets").iterdir()) == ["vocab.txt", "vocab.txt0"]
    nodes = read_saved_model(tmp_path / "m").meta_graphs[0].graph_def.node
    constants = b"".join(node.attr["value"].tensor.SerializeToString() for node in nodes if node.op == "Const")
    assert str(tmp_path).encode() not in constants
    for path in (tmp_path / "files").rglob("*.txt"):
        path.unlink()
    again = hubkeras.load(tmp_path / "m")
    for name, value in again({"words": words}, as_dict=True).items():
        np.testing.assert_array_equal(value, want[name])
    with pytest.raises(ExportError, match=r"vocab\.txt"):
        spec.export(tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["files", "m"]


@pytest.mark.parametrize(
    ("asset", "message"),
    [
        (lambda: tf.constant(["a", "b"]), "constant string scalar"),
        (lambda: tf.identity(tf.constant("a")), "an op of type 'Identity'"),
        (lambda: tf.constant("a").op, "'Const' in the collection"),
        (lambda: tf.constant("gs://bucket/a"), "a file on this machine"),
    ],
)
def test_assets_that_are_no_paths(asset, message):
    def module_fn():
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset())
        hubkeras.add_signature(outputs=tf.constant(1.0))

    with pytest.raises(PublishingError, match=message):
        spec_of(module_fn)


# --- what is refused -----------------------------------------------------------------------------------------------


def placed_with_another(what):
    with v1.colocate_with(tf.add(42, 69, name="u")):
        return what()


def add(**kwargs):
    return lambda: hubkeras.add_signature(**kwargs)


def variable_as_input():
    hubkeras.add_signature(inputs=v1.get_variable("v", []), outputs={"y": tf.constant(1.0)})


def slices():
    hubkeras.add_signature(inputs={}, outputs=tf.IndexedSlices(tf.constant([1.0]), tf.constant([0])))


def input_on_another_device():
    hubkeras.add_signature(
        inputs=placed_with_another(lambda: v1.placeholder(tf.float32, name="x")), outputs=tf.zeros([])
    )


def state_on_another_device():
    v = placed_with_another(lambda: v1.get_variable("v", []))
    hubkeras.add_signature(outputs=v.read_value())


def input_in_a_branch():
    made = []

    def branch():
        made.append(v1.placeholder(tf.float32, [], "x"))
        return made[0] * 2

    was_v2 = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        y = v1.cond(v1.placeholder_with_default(True, []), branch, lambda: 0.0)
    finally:
        (v1.enable_control_flow_v2 if was_v2 else v1.disable_control_flow_v2)()
    hubkeras.add_signature(inputs=made[0], outputs=y)


def tensor_of_another_graph():
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32)
    hubkeras.add_signature(inputs=x, outputs=tf.zeros([]))


def unknown_collection():
    v1.add_to_collection("my_losses", tf.constant(1.0))
    hubkeras.add_signature(outputs=tf.constant(1.0))


@pytest.mark.parametrize(
    ("module_fn", "error", "message"),
    [
        (lambda: None, PublishingError, "No signatures present"),
        (unknown_collection, PublishingError, r"Unsupported collections in graph: \['my_losses'\].*drop_collections"),
        (variable_as_input, SignatureTypeError, r"should have one of the types.*ResourceVariable.*read_value"),
        (slices, SignatureTypeError, r"should have one of the types.*output 'default' has type IndexedSlices"),
        (input_on_another_device, PublishingError, r"input.*colocate.*loc:@u"),
        (state_on_another_device, PublishingError, r"[sS]tate.*colocate.*loc:@u"),
        (input_in_a_branch, PublishingError, r"'cond/x:0' as input 'default'.*outside of control flow"),
        (tensor_of_another_graph, PublishingError, "no tensor of the graph"),
        (lambda: hubkeras.attach_message("1st", tf.train.BytesList()), PublishingError, "malformed key '1st'"),
        (lambda: hubkeras.attach_message("key\n", tf.train.BytesList()), PublishingError, "malformed key"),
        (lambda: hubkeras.attach_message("key", b"bytes"), SignatureTypeError, "a protocol buffer"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_refused(module_fn, error, message):
    with pytest.raises(ValueError, match=f"(?s){message}") as info:
        spec_of(module_fn)
    assert isinstance(info.value, error)


@pytest.mark.parametrize("tags", [[{"a", "b"}, ["b", "a"]], [set(), ()]])
def test_repeated_tags(tags):
    with pytest.raises(PublishingError, match=r"Tags \[.*\] used repeatedly"):
        spec_of(add(outputs=1.0), tags_and_args=[(t, {}) for t in tags])


def test_tags_that_are_a_string():
    with pytest.raises(PublishingError, match="'train'"):
        spec_of(add(outputs=1.0), tags_and_args=[("train", {})])


def test_outside_of_a_module_fn():
    with pytest.raises(PublishingError, match="no graph is being built"):
        hubkeras.add_signature(outputs=tf.constant(1.0))
    with pytest.raises(PublishingError, match="no graph is being built"):
        hubkeras.attach_message("key", tf.train.BytesList())


def test_a_loaded_module_in_a_module_fn(linear):
    """Its variables would not be in the module."""
    loaded = hubkeras.load(linear)

    def module_fn():
        x = v1.placeholder(tf.float32, [None, 3])
        hubkeras.add_signature(inputs=x, outputs=loaded(x))

    with pytest.raises(UnsupportedError, match="loaded where it is called"):
        spec_of(module_fn)


def test_dropped_collections():
    assert spec_of(unknown_collection, drop_collections=["my_losses"]).get_signature_names() == ["default"]


def test_inputs_of_an_op_with_several_outputs_are_logged(caplog):
    def module_fn():
        _, x = tf.split(tf.zeros([2]), 2, name="split")
        hubkeras.add_signature(inputs={"x": x}, outputs=x * 2)

    assert hubkeras.load(spec_of(module_fn))(tf.constant([3.0])) == [6.0]
    assert [(r.name, r.levelname) for r in caplog.records if "x='split:1'" in r.getMessage()] == [("hubkeras", "ERROR")]


# --- safety --------------------------------------------------------------------------------------------------------


def test_specs_are_judged(tmp_path):
    """A module made here or read from there runs nothing that nobody allowed."""

    def module_fn():
        hubkeras.add_signature(outputs=tf.io.read_file(tf.constant(str(tmp_path / "secret"))))

    (tmp_path / "secret").write_text("mine")
    spec = spec_of(module_fn)
    for refused in (
        lambda: hubkeras.load(spec),
        lambda: hubkeras.KerasLayer(spec),
        lambda: spec.export(tmp_path / "m"),
    ):
        with pytest.raises(UnsafeModuleError, match="ReadFile"):
            refused()
    assert hubkeras.load(spec, allow_ops=["ReadFile"])() == b"mine"
    hubkeras.load(spec, safe_mode=False).export(tmp_path / "m")
    read_back = hubkeras.load_module_spec(tmp_path / "m")
    with pytest.raises(UnsafeModuleError, match="ReadFile"):
        hubkeras.load(read_back)
    assert hubkeras.load(hubkeras.load_module_spec(tmp_path / "m", allow_ops=["ReadFile"]))() == b"mine"


# --- specs of what is there ----------------------------------------------------------------------------------------


def test_load_module_spec(linear, tmp_path):
    linear.export(tmp_path / "m")
    spec = hubkeras.load_module_spec(tmp_path / "m")
    assert sorted(spec.get_signature_names()) == ["bias", "default", "double"]
    np.testing.assert_array_equal(hubkeras.load(spec)(X), hubkeras.load(tmp_path / "m")(X))


@pytest.mark.parametrize("name", ["saved_model_main_op", "tf2_reusable"])
def test_load_module_spec_of_other_formats(name):
    with pytest.raises(FormatError, match="a module in TF1 Hub format"):
        hubkeras.load_module_spec(GOLDEN / "modules" / name)


def test_spec_of_a_saved_model(tmp_path):
    """A TF1 SavedModel becomes a module with its values; what else a session would run first is dropped."""
    v, x = [], []
    with tf.Graph().as_default(), v1.Session() as session:
        x.append(v1.placeholder(tf.float32, [None]))
        v.append(v1.get_variable("v", [], initializer=v1.constant_initializer(3.0), use_resource=True))
        v1.train.create_global_step()
        v1.add_to_collection("extra", tf.constant(1.0))
        session.run(v1.global_variables_initializer())
        session.run(v[0].assign(5.0))
        builder = v1.saved_model.Builder(str(tmp_path / "s"))
        signature = v1.saved_model.predict_signature_def({"x": x[0]}, {"default": x[0] * v[0]})
        builder.add_meta_graph_and_variables(session, ["serve"], {"default": signature}, main_op=tf.no_op())
        builder.save()
    with pytest.raises(PublishingError, match=r"Unsupported collections in graph: \['extra'\]"):
        hubkeras.create_module_spec_from_saved_model(tmp_path / "s")
    spec = hubkeras.create_module_spec_from_saved_model(tmp_path / "s", drop_collections=["extra"])
    assert spec.get_tags() == [frozenset({"serve"})]
    spec.export(tmp_path / "m")
    for handle in (spec, tmp_path / "m"):
        assert hubkeras.load(handle, tags={"serve"})(tf.constant([2.0])) == [10.0]
    with pytest.raises(UnsupportedError, match="a TF2 SavedModel"):
        hubkeras.create_module_spec_from_saved_model(GOLDEN / "modules" / "tf2_reusable")
