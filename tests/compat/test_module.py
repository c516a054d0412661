"""`Module`: where it can be made and applied, what it refuses, what it exports."""

import re

import numpy as np
import pytest
import tensorflow as tf

import hubkeras
import hubkeras.compat.v1 as hub
from compat.graphs import control_flow_v1, linear, session, v1
from hubkeras import errors
from hubkeras.savedmodel.reader import MODULE_FILE


@pytest.fixture(scope="module")
def spec():
    return hub.create_module_spec(lambda: linear(hub))


@pytest.fixture(scope="module")
def path(spec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compat") / "module"
    with tf.Graph().as_default():
        module = hub.Module(spec)
        assign = module.variable_map["w"].assign([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        with v1.Session() as sess:
            sess.run([v1.global_variables_initializer()])
            sess.run(assign)
            module.export(folder, sess)
    return folder


def test_variables_start_with_the_values_of_the_module(path):
    with tf.Graph().as_default():
        output = hub.Module(path)([[1.0, 1.0]])
        with v1.train.MonitoredSession() as sess:
            np.testing.assert_array_equal(sess.run(output), [[5.0, 7.0, 9.0]])


def test_a_spec_starts_with_what_initializers_give(spec):
    with tf.Graph().as_default():
        output = hub.Module(spec)([[1.0, 1.0]])
        with session() as sess:
            np.testing.assert_array_equal(sess.run(output), [[2.0, 2.0, 2.0]])


def test_a_module_is_applied_in_loops_and_branches_and_differentiated(path):
    with tf.Graph().as_default(), control_flow_v1():
        module = hub.Module(path, trainable=True)
        choose, x = v1.placeholder(tf.bool, []), tf.constant([[1.0, 1.0]])
        branch = v1.cond(choose, lambda: module(x), lambda: tf.zeros([1, 3]))
        loop = v1.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, y + module(x)), [0, tf.zeros([1, 3])])[1]
        gradients = v1.gradients([branch, loop], module.variables[1])
        with session() as sess:
            got = sess.run([branch, loop, *gradients], {choose: True})
            np.testing.assert_array_equal(sess.run(branch, {choose: False}), [[0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(got[0], [[5.0, 7.0, 9.0]])
    np.testing.assert_array_equal(got[1], [[10.0, 14.0, 18.0]])
    np.testing.assert_array_equal(got[2], np.full([2, 3], 3.0))


def test_a_wrapped_function_lifts_the_state(path):
    initializers = []

    def apply(x):
        module = hub.Module(path, trainable=True)
        initializers.append(v1.global_variables_initializer())
        return module(x)

    function = v1.wrap_function(apply, [tf.TensorSpec([None, 2], tf.float32)])
    function.prune([], initializers)()
    np.testing.assert_array_equal(function(tf.ones([1, 2])), [[5.0, 7.0, 9.0]])


def test_a_module_in_a_module_is_exported_with_its_state(path, tmp_path):
    def outer():
        x = v1.placeholder(tf.float32, [None, 2])
        hub.add_signature(inputs=x, outputs=2 * hub.Module(path, name="inner", trainable=True)(x))

    spec = hub.create_module_spec(outer)
    assert list(spec.description.variables) == ["inner/w", "inner/calls"]
    np.testing.assert_array_equal(hubkeras.load(spec)([[1.0, 1.0]]), [[10.0, 14.0, 18.0]])
    with tf.Graph().as_default():
        module = hub.Module(spec)
        with session() as sess:
            module.export(tmp_path / "outer", sess)
    with tf.Graph().as_default():
        output = hub.Module(tmp_path / "outer")([[1.0, 1.0]])
        with session() as sess:
            np.testing.assert_array_equal(sess.run(output), [[10.0, 14.0, 18.0]])


def test_the_shape_of_placeholders_made_later_is_known(path):
    with tf.Graph().as_default():
        hub.Module(path)
        assert v1.placeholder(tf.float32, []).shape == []


def test_devices_that_not_every_machine_has_are_left_to_the_user(tmp_path):
    def module_fn():
        with tf.device("/job:worker/device:GPU:3"):
            w = v1.get_variable("w", [2], initializer=v1.ones_initializer())
        hub.add_signature(outputs=w.read_value())

    with tf.Graph().as_default(), tf.device("/device:CPU:0"):
        module = hub.Module(hub.create_module_spec(module_fn))
        assert module.variables[0].op.device == "/device:CPU:0"
        with session() as sess:
            np.testing.assert_array_equal(sess.run(module()), [1.0, 1.0])


def test_eager_execution_says_what_to_write(path):
    with pytest.raises(RuntimeError, match=rf"hubkeras\.load\('{re.escape(str(path))}'\).*KerasLayer.*disable_eager"):
        hub.Module(path)


def test_a_function_that_runs_everything_is_refused(spec):
    """Where the original built a graph that no call could run."""
    with pytest.raises(RuntimeError, match=r"not supported in the function '.*lambda.*hubkeras\.load"):
        tf.function(lambda x: hub.Module(spec)(x), autograph=False).get_concrete_function(tf.TensorSpec([None, 2]))


def test_another_graph_is_refused(path):
    with tf.Graph().as_default():
        module = hub.Module(path)
        open_session = v1.Session()
        with pytest.raises(RuntimeError, match=r"was instantiated for.*disable_control_flow_v2"):
            v1.cond(tf.constant(True), lambda: module([[1.0, 1.0]]), lambda: tf.zeros([1, 3]))
    with tf.Graph().as_default():
        with pytest.raises(RuntimeError, match="Module must be applied in the graph it was instantiated for"):
            module([[1.0, 1.0]])
        with pytest.raises(RuntimeError, match="default graph differs"):
            module.export("nowhere", open_session)
        with module._graph.as_default(), pytest.raises(RuntimeError, match="session graph differs"):
            module.export("nowhere", v1.Session(graph=tf.Graph()))


@pytest.mark.parametrize(
    ("inputs", "arguments", "kind", "message"),
    [
        (None, {}, TypeError, r"missing: \['default'\]"),
        ({"default": [[1.0, 1.0]], "more": 1}, {}, TypeError, r"not known: \['more'\]"),
        ([[1.0]], {"signature": "sum"}, TypeError, "multiple inputs"),
        ("text", {}, TypeError, "Cannot convert input 'default'"),
        ([1.0, 1.0], {}, TypeError, "shape"),
        ({"x": [[1.0, 1.0]], "y": 1.0}, {"signature": "sum"}, TypeError, r"no output 'default'.*as_dict=True"),
        ([[1.0, 1.0]], {"signature": "other"}, ValueError, r"'other'.*'default', 'sum'"),
    ],
)
def test_calls_that_do_not_fit_are_refused(path, inputs, arguments, kind, message):
    with tf.Graph().as_default(), pytest.raises(kind, match=message):
        hub.Module(path)(inputs, **arguments)


def test_a_second_positional_argument_is_refused(path):
    with tf.Graph().as_default(), pytest.raises(TypeError, match="signature="):
        hub.Module(path)([[1.0, 1.0]], "sum")


def test_specs_and_tags_that_are_none_are_refused(path):
    with tf.Graph().as_default():
        with pytest.raises(ValueError, match="Unknown module spec type"):
            hub.Module(3)
        with pytest.raises(ValueError, match=r"No such graph variant: tags=\['train'\]"):
            hub.Module(path, tags={"train"})
        with pytest.raises(ValueError, match="No such graph variant: tags='train'"):
            hub.Module(path, tags="train")


def test_a_name_scope_that_is_taken_is_refused(path):
    with tf.Graph().as_default():
        with tf.name_scope("module"):
            pass
        with pytest.raises(RuntimeError, match="name_scope was already taken"):
            hub.Module(path)


def test_an_export_that_fails_leaves_nothing(path, tmp_path):
    with tf.Graph().as_default():
        module = hub.Module(path)
        with v1.Session() as sess:
            with pytest.raises(errors.ExportError) as no_values:
                module.export(tmp_path / "new" / "module", sess)
            sess.run(v1.global_variables_initializer())
            with pytest.raises(FileExistsError) as taken:
                module.export(path, sess)
    # Also what the original let through of TensorFlow's own.
    assert isinstance(no_values.value, tf.errors.FailedPreconditionError)
    assert isinstance(taken.value, tf.errors.AlreadyExistsError)
    assert str(taken.value) == taken.value.message
    assert "something is there already" in taken.value.message
    assert not list(tmp_path.iterdir())
    assert (path / MODULE_FILE).exists()


@pytest.mark.parametrize("read", [hub.load_module_spec, hub.create_module_spec_from_saved_model])
def test_what_is_not_there_is_not_found(read, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(tf.errors.NotFoundError, match=r"Cannot find saved_model\.pb") as caught:
        read(str(tmp_path / "empty"))
    assert isinstance(caught.value, errors.FormatError)


def test_the_gate_judges(tmp_path):
    def module_fn():
        name = v1.placeholder(tf.string, [])
        hub.add_signature(inputs=name, outputs=tf.io.read_file(name))

    spec = hub.create_module_spec(module_fn)
    with tf.Graph().as_default(), pytest.raises(errors.UnsafeModuleError, match="ReadFile"):
        hub.Module(spec)
    allowed = hub.ModuleSpec(spec.description, spec.policy.of(safe_mode=True, allow_ops=["ReadFile"]))
    with tf.Graph().as_default(), v1.Session() as sess:
        hub.Module(allowed).export(tmp_path / "module", sess)
    with tf.Graph().as_default():
        with pytest.raises(errors.UnsafeModuleError, match=r"ReadFile.*allow_ops"):
            hub.Module(tmp_path / "module")
        hub.Module(tmp_path / "module", allow_ops=["ReadFile"])("no such file")


def test_only_the_modules_own_file_is_read(tmp_path):
    """Even where the path of an asset is an input, which whoever calls the module can choose."""
    own = tmp_path / "own.txt"
    own.write_text("text")

    def module_fn(is_input):
        path = tf.constant(str(own))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, path)
        hub.add_signature(inputs={"path": path} if is_input else None, outputs=tf.io.read_file(path))

    spec = hub.create_module_spec(module_fn, [(set(), {"is_input": False}), ({"fed"}, {"is_input": True})])
    with tf.Graph().as_default(), v1.Session() as sess:
        assert sess.run(hub.Module(spec)()) == b"text"
    with tf.Graph().as_default(), pytest.raises(errors.UnsafeModuleError, match="ReadFile"):
        hub.Module(spec, tags={"fed"})("/etc/hostname")


def test_a_saver_that_nobody_needs_is_left_out(tmp_path):
    with tf.Graph().as_default(), v1.Session() as sess:
        x = v1.placeholder(tf.float32, [None])
        w = v1.get_variable("w", [], initializer=v1.ones_initializer())
        sess.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(sess, str(tmp_path / "saved"), inputs={"x": x}, outputs={"y": x * w})
    spec = hub.create_module_spec_from_saved_model(tmp_path / "saved")
    assert {"SaveV2", "RestoreV2"} <= {node.op for node in spec.description.variants[0].nodes.values()}
    with tf.Graph().as_default() as graph:
        hub.Module(spec, tags={"serve"})
        kept = {op.name for op in graph.get_operations() if op.name.startswith("module/")}
    assert "module/save/SaveV2" not in kept
    assert {"module/w", "module/mul", "module/save/SaveV2/tensor_names"} <= kept


def test_ops_that_nobody_registered_are_named(spec, monkeypatch):
    variant = spec.description.variants[0]
    monkeypatch.setitem(variant.nodes, "odd", type(variant.nodes["w"])(name="odd", op="SentencepieceOp"))
    with tf.Graph().as_default(), pytest.raises(tf.errors.NotFoundError, match=r"SentencepieceOp.*tensorflow_text"):
        hub.Module(spec)


def test_a_function_evaluates_all_signatures(path):
    with hub.eval_function_for_module(path) as evaluate:
        np.testing.assert_array_equal(evaluate([[1.0, 1.0]]), [[5.0, 7.0, 9.0]])
        assert evaluate({"x": [[1.0, 2.0]], "y": 0}, signature="sum", as_dict=True) == {"total": 3.0}
        with pytest.raises(ValueError, match=r"'other'.*default"):
            evaluate(1.0, signature="other")
        with pytest.raises(TypeError, match="missing"):
            evaluate()


def test_a_saved_model_becomes_a_module(tmp_path):
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 3])
        w = v1.get_variable("weights", [])
        v1.add_to_collection("extra", x * w)
        with v1.Session() as sess:
            sess.run(v1.assign(w, 2))
            v1.saved_model.simple_save(sess, str(tmp_path / "saved"), inputs={"x": x}, outputs={"y": x * w})
    spec = hub.create_module_spec_from_saved_model(str(tmp_path / "saved"), drop_collections=["extra"])
    with tf.Graph().as_default():
        y = hub.Module(spec, tags=["serve"])([[2, 4, 5]], signature="serving_default", as_dict=True)["y"]
        with v1.train.MonitoredSession() as sess:
            np.testing.assert_array_equal(sess.run(y), [[4, 8, 10]])


def test_image_sizes_are_read_of_modules_and_specs():
    def module_fn():
        images = v1.placeholder(tf.float32, [None, 2, 4, 3])
        hub.add_signature(inputs={"images": images}, outputs=tf.reduce_sum(images, [1, 2]))

    spec = hub.create_module_spec(module_fn)
    with tf.Graph().as_default():
        for described in (spec, hub.Module(spec)):
            assert hub.get_expected_image_size(described) == [2, 4]
            assert hub.get_num_image_channels(described) == 3


def test_the_namespace_has_what_the_original_had():
    names = [
        "LatestModuleExporter",
        "register_module_for_export",
        "image_embedding_column",
        "sparse_text_embedding_column",
        "text_embedding_column",
        "text_embedding_column_v2",
        "attach_image_module_info",
        "get_expected_image_size",
        "get_num_image_channels",
        "ImageModuleInfo",
        "KerasLayer",
        "Module",
        "ModuleSpec",
        "add_signature",
        "attach_message",
        "create_module_spec",
        "create_module_spec_from_saved_model",
        "load",
        "load_module_spec",
        "resolve",
    ]
    assert set(names) <= set(hub.__all__)
    assert all(hasattr(hub, name) for name in hub.__all__)
