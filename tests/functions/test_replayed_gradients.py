"""Gradients through v1 control flow: of what the call ran, whatever happens between the call and its gradient."""

import numpy as np
import pytest
import tensorflow as tf
from building import SimpleCell, v1, variable, write
from tensorflow.core.protobuf import control_flow_pb2, saved_model_pb2
from tensorflow.python.ops import random_ops

import hubkeras
from hubkeras.errors import FormatError, UnsupportedError

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
IDS = np.int32([1, 5])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("modules")


def recurrent(tags):
    """Rows of a table, three times through a layer."""
    x = v1.placeholder(tf.float32, [None, 3], "x")
    ids = v1.placeholder(tf.int32, [None], "ids")
    w = variable("w", np.full((3, 3), 0.3, np.float32))
    table = variable("table", np.linspace(-1, 1, 30, dtype=np.float32).reshape(10, 3))
    start = x + tf.nn.embedding_lookup(table, ids)
    _, h = v1.while_loop(lambda i, _: i < 3, lambda i, h: (i + 1, tf.tanh(h @ w)), [0, start])
    return {"default": ({"x": x, "ids": ids}, {"default": h})}


def same_in_eager_code(x, w, table):
    h = x + tf.gather(table, IDS)
    for _ in range(3):
        h = tf.tanh(h @ w)
    return h


@pytest.fixture
def module(folder):
    path = folder / "recurrent"
    return hubkeras.load(path if path.exists() else write(path, recurrent))


def values(module):
    return [tf.identity(module.variable_map[name]) for name in ("w", "table")]


def expected(x, w, table, function=same_in_eager_code):
    with tf.GradientTape() as tape:
        tape.watch([x, w, table])
        loss = tf.reduce_sum(function(x, w, table) ** 2)
    return tape.gradient(loss, [x, w, table])


def edit(path, change):
    """Changes the contexts of the while loops of a module."""
    file = path / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    contexts = proto.meta_graphs[0].collection_def["while_context"].bytes_list
    made = [control_flow_pb2.WhileContextDef.FromString(value) for value in contexts.value]
    change(made)
    contexts.value[:] = [context.SerializeToString() for context in made]
    file.write_bytes(proto.SerializeToString())


def ask_for_no_iterations(contexts):
    contexts[0].parallel_iterations = -1


@pytest.mark.parametrize("change", [list.clear, ask_for_no_iterations])
def test_contexts_that_are_malformed(tmp_path, change):
    """A call does without contexts; its gradient says that it cannot."""
    path = write(tmp_path / "m", recurrent)
    edit(path, change)
    module = hubkeras.load(path)
    module({"x": X, "ids": IDS})
    with (
        tf.GradientTape() as tape,
        pytest.raises(FormatError, match="Cannot differentiate signature 'default'") as info,
    ):
        tape.gradient(module({"x": X, "ids": IDS}), module.trainable_variables)
    assert info.value.__cause__ is not None


def assert_close(got, want):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(a), tf.convert_to_tensor(b), rtol=1e-5, atol=1e-6)


def sources(module, x):
    return [x, module.variable_map["w"], module.variable_map["table"]]


@pytest.mark.parametrize("in_function", [False, True])
def test_what_is_assigned_after_the_call_does_not_count(module, in_function):
    x, before = tf.constant(X), values(module)

    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(module({"x": x, "ids": IDS}) ** 2)
        for variable_ in module.variables:
            variable_.assign_add(tf.ones_like(variable_))
        return tape.gradient(loss, sources(module, x))

    got = tf.function(run, autograph=False)() if in_function else run()
    assert isinstance(got[2], tf.IndexedSlices)
    assert_close(got, expected(x, *before))


def test_two_tapes_one_in_the_other(module):
    """As two networks that train against each other are written."""
    x = tf.constant(X)
    with tf.GradientTape() as one, tf.GradientTape() as other:
        one.watch(x)
        other.watch(x)
        y = module({"x": x, "ids": IDS})
        loss, other_loss = tf.reduce_sum(y**2), 3 * tf.reduce_sum(y**2)
    want = expected(x, *values(module))
    assert_close(one.gradient(loss, sources(module, x)), want)
    assert_close(other.gradient(other_loss, sources(module, x)), [3 * tf.convert_to_tensor(g) for g in want])


def test_a_persistent_tape_asked_twice(module):
    x = tf.constant(X)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        loss = tf.reduce_sum(module({"x": x, "ids": IDS}) ** 2)
    for _ in range(2):
        assert_close(tape.gradient(loss, sources(module, x)), expected(x, *values(module)))


def test_calls_in_a_loop_of_todays_tensorflow(module):
    """The gradient of a `tf.while_loop` whose body calls the module."""
    x = tf.constant(X)

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            step = lambda i, h: (i + 1, tf.ensure_shape(module({"x": h, "ids": IDS}), x.shape))  # noqa: E731
            _, h = tf.while_loop(lambda i, _: i < 2, step, [0, x])
            loss = tf.reduce_sum(h**2)
        return tape.gradient(loss, sources(module, x))

    def twice(x, w, table):
        return same_in_eager_code(same_in_eager_code(x, w, table), w, table)

    assert_close(run(), expected(x, *values(module), function=twice))


def test_a_tape_in_a_loop_of_todays_tensorflow(module):
    x = tf.constant(X)
    w = module.variable_map["w"]

    @tf.function(autograph=False)
    def run():
        def body(i, total):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(module({"x": x, "ids": IDS}) ** 2)
            return i + 1, tf.ensure_shape(total + tape.gradient(loss, w), w.shape)

        return tf.while_loop(lambda i, _: i < 3, body, [0, tf.zeros_like(w)])[1]

    np.testing.assert_allclose(run(), 3 * expected(x, *values(module))[1], rtol=1e-5)


def test_second_derivatives_fail_only_where_they_are_computed(module):
    x, w = tf.constant(X), module.variable_map["w"]
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            loss = tf.reduce_sum(module({"x": x, "ids": IDS}) ** 2)
        gradient = inner.gradient(loss, w)
        penalty, constant = tf.reduce_sum(gradient**2), tf.reduce_sum(tf.stop_gradient(gradient) * w)
    np.testing.assert_allclose(outer.gradient(constant, w), gradient)
    with pytest.raises(tf.errors.InvalidArgumentError, match="second derivatives"):
        outer.gradient(penalty, w)


def test_second_derivatives_of_other_modules(folder):
    """Where nothing is replayed, derivatives have derivatives."""

    def square(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")
        return {"default": ({"x": x}, {"default": (x * variable("w", np.float32([1, 2, 3]))) ** 3})}

    module = hubkeras.load(write(folder / "square", square))
    w, x = module.variable_map["w"], tf.ones([1, 3])
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            loss = tf.reduce_sum(module(x))
        gradient = inner.gradient(loss, w)
    np.testing.assert_allclose(outer.gradient(gradient, w), [6, 12, 18])


# --- chance -----------------------------------------------------------------------------------------------------------


def dropping_rnn(tags):
    """Dropout in a `dynamic_rnn` and in a `cond`; the masks are among the outputs; an update op counts calls."""
    x = v1.placeholder(tf.float32, [None, None, 3], "x")
    w = variable("w", np.linspace(-1, 1, 18, dtype=np.float32).reshape(6, 3))
    calls = variable("calls", 0, trainable=False)
    outputs, last = v1.nn.dynamic_rnn(SimpleCell(3, w, keep_prob=0.5), x, dtype=tf.float32)
    mask = v1.cond(
        tf.reduce_sum(x) > -1e9, lambda: v1.nn.dropout(tf.ones([3]), rate=0.5), lambda: tf.zeros([3]), name="branch"
    )
    v1.add_to_collection("update_ops", calls.assign_add(1).op)
    return {"default": ({"x": x}, {"default": last * mask, "outputs": outputs, "mask": mask})}


def dropping_rnn_again(x, w, outputs, mask):
    """The same in eager code, with the masks that the module's outputs show."""
    h = tf.zeros([x.shape[0], 3])
    for step in range(x.shape[1]):
        kept = tf.cast(outputs[:, step] != 0, tf.float32) * 2
        h = tf.tanh(tf.concat([x[:, step], h], 1) @ w) * kept
    return h * mask


def test_dropout_is_the_same_forward_and_backward(folder):
    """Of three calls, each has masks of its own, and each gradient is that under the masks of its call."""
    module = hubkeras.load(write(folder / "dropping_rnn", dropping_rnn))
    w, x = module.variable_map["w"], tf.constant(np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 4, 3))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        calls = [module(x, training=True, as_dict=True) for _ in range(3)]
        losses = [tf.reduce_sum(call["default"] ** 2) for call in calls]
        again = [dropping_rnn_again(x, w, call["outputs"], call["mask"]) for call in calls]
        again = [tf.reduce_sum(h**2) for h in again]
    masks = {(call["outputs"].numpy() != 0).tobytes() for call in calls}
    assert len(masks) == 3
    for loss, same in reversed(list(zip(losses, again, strict=True))):
        assert_close(tape.gradient(loss, [w, x]), tape.gradient(same, [w, x]))
    assert module.variable_map["calls"].numpy() == 3, "the backward function counted too"


DRAWS = {
    "uniform": lambda: tf.random.uniform([3]),
    "normal": lambda: tf.random.normal([3]),
    "truncated": lambda: tf.random.truncated_normal([3]),
    "integers": lambda: tf.cast(tf.random.uniform([3], maxval=9, dtype=tf.int32), tf.float32),
    "categorical": lambda: tf.cast(tf.random.categorical(tf.zeros([3, 9]), 1)[:, 0], tf.float32),
    "shuffle": lambda: tf.cast(tf.random.shuffle(tf.range(3)), tf.float32),
    "gamma": lambda: tf.random.gamma([3], 1.0),
    "poisson": lambda: tf.random.poisson([3], 9.0),
    "parameterized": lambda: random_ops.parameterized_truncated_normal([3], 1.0),
    "candidates": lambda: tf.cast(
        tf.random.uniform_candidate_sampler(tf.ones([1, 1], tf.int64), 1, 3, True, 99)[0], tf.float32
    ),
}
REPEATABLE = ("uniform", "normal", "truncated", "integers", "categorical")


def scaled_in_a_branch(draw):
    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")
        w, factor = variable("w", np.float32([1, 2, 3])), draw()
        y = v1.cond(tf.reduce_sum(x) > -1e9, lambda: x * w * factor, lambda: x)
        return {"default": ({"x": x}, {"default": y, "factor": factor})}

    return build


def scaled_in_a_loop(draw):
    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")
        w = variable("w", np.float32([1, 2, 3]))

        def body(i, y, product):
            factor = draw()
            return i + 1, y * w * factor, product * factor

        _, y, product = v1.while_loop(lambda i, *_: i < 1, body, [0, x, tf.ones([3])])
        return {"default": ({"x": x}, {"default": y, "factor": product})}

    return build


def check_scaled(module):
    w, x = module.variable_map["w"], tf.constant(X)
    with tf.GradientTape(persistent=True) as tape:
        first, second = module(x, as_dict=True), module(x, as_dict=True)
    for call in (second, first):
        np.testing.assert_allclose(
            tape.gradient(call["default"], w), tf.reduce_sum(x * call["factor"], 0), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_drawn_outside_of_control_flow(name, folder):
    """Every random op may be there; the gradient is that with the numbers of the call."""
    check_scaled(hubkeras.load(write(folder / f"outside_{name}", scaled_in_a_branch(DRAWS[name]))))


@pytest.mark.parametrize("name", REPEATABLE)
def test_what_is_drawn_in_a_loop(name, folder):
    check_scaled(hubkeras.load(write(folder / f"inside_{name}", scaled_in_a_loop(DRAWS[name]))))


@pytest.mark.parametrize("name", sorted(DRAWS.keys() - set(REPEATABLE)))
def test_what_cannot_be_drawn_again_in_a_loop(name, folder):
    """The call works; asking for a gradient says which op has none."""
    module = hubkeras.load(write(folder / f"refused_{name}", scaled_in_a_loop(DRAWS[name])))
    assert module(X).shape == (2, 3)
    with tf.GradientTape(), pytest.raises(UnsupportedError, match="while/"):
        module(X)


def test_no_gradient_stops_at_a_random_op_in_silence(folder):
    """A gamma variate has a derivative by its parameter: it is refused, not left out."""

    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")
        w = variable("w", np.float32([1, 2, 3]))
        factor = tf.random.gamma([], w)
        return {"default": ({"x": x}, {"default": v1.cond(tf.size(x) > 0, lambda: x * factor, lambda: x)})}

    module = hubkeras.load(write(folder / "gamma_of_w", build))
    with tf.GradientTape(), pytest.raises(UnsupportedError, match="random"):
        module(X)


# --- state ------------------------------------------------------------------------------------------------------------


def test_what_the_call_assigns(folder):
    """A counter assigned in a loop: gradients see the values that it had in their call, nothing runs twice."""

    def build(tags):
        x = v1.placeholder(tf.float32, [None, 3], "x")
        w, scale = variable("w", np.float32([1, 2, 3])), variable("scale", 1.0, trainable=False)

        def body(i, y):
            return i + 1, y * w * scale.assign_add(1.0).read_value()

        return {"default": ({"x": x}, {"default": v1.while_loop(lambda i, _: i < 2, body, [0, x])[1]})}

    module = hubkeras.load(write(folder / "assigning", build))
    w, x = module.variable_map["w"], tf.constant(X)
    with tf.GradientTape(persistent=True) as tape:
        first, second = module(x), module(x)
    for y, factor in ((second, 4 * 5), (first, 2 * 3)):
        np.testing.assert_allclose(tape.gradient(y, w), 2 * w * factor * tf.reduce_sum(x, 0), rtol=1e-5, atol=1e-5)
    assert module.variable_map["scale"].numpy() == 5
