"""Every golden module, in every way of use: as the original implementation had it."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from parity import EXACT, GRADIENT, INPUT_GRADIENT, LOSS, OUTPUT, TRAINED, Variant, mean_square, variants, whole
from twin import make_twin

import hubkeras

TF1 = ("tf1_hub", "saved_model")
EVERY = pytest.mark.parametrize("variant", variants(), ids=lambda v: v.id)
EVERY_TF1 = pytest.mark.parametrize("variant", variants(*TF1), ids=lambda v: v.id)
TRAINED_ONES = pytest.mark.parametrize(
    "variant",
    [v for v in variants("tf1_hub") if "final" in v.entry.get("training", {})],
    ids=lambda v: v.id,
)
UPDATED_ONES = pytest.mark.parametrize(
    "variant",
    [v for v in variants("tf1_hub") if v.entry["updates"]["count"] and not v.stochastic],
    ids=lambda v: v.id,
)


@EVERY
def test_outputs(variant):
    """Every recorded call gives what it gave, each with a module of its own, for a call may assign variables."""
    for call, inputs in variant.calls():
        module = variant.load()
        outputs = module(inputs, signature=call["signature"], as_dict=True)
        variant.check_outputs(outputs, call)
        for k in (k for k, spec in call["outputs"].items() if spec.get("random")):
            # Two draws of few values may be equal by chance; forty are not.
            more = [module(inputs, signature=call["signature"], as_dict=True)[k] for _ in range(40)]
            assert any(not np.array_equal(outputs[k], again) for again in more), f"{k} never changes"
        if len(inputs) == 1 and call.get("without_as_dict") == "default":
            bare = module(next(iter(inputs.values())), signature=call["signature"])
            variant.record.check(bare, call["outputs"]["default"])


@EVERY
def test_what_failed_there_fails_here(variant):
    """No value comes back where an assertion of the graph failed."""
    for call, inputs in variant.failed_calls():
        module = variant.load()
        with pytest.raises((tf.errors.OpError, ValueError)):
            module(inputs, signature=call["signature"], as_dict=True)


@EVERY_TF1
def test_input_gradients(variant):
    """Gradients reach the inputs."""
    for call, inputs in variant.calls():
        if "input_gradients" not in call:
            continue
        output = call["input_gradients_of"].removeprefix("sum(").removesuffix(")")
        floating = {k: v for k, v in inputs.items() if v.dtype.is_floating}
        with tf.GradientTape() as tape:
            tape.watch(floating)
            total = tf.reduce_sum(variant.load()(inputs, signature=call["signature"], as_dict=True)[output])
        for k, gradient in tape.gradient(total, floating).items():
            spec = call["input_gradients"].get(k)
            gradient = tf.zeros_like(inputs[k]) if gradient is None else gradient
            if spec is None:
                assert not np.any(gradient), f"{k} should have no gradient"
            else:
                variant.record.check(gradient, spec, INPUT_GRADIENT, k)


@pytest.mark.parametrize("variant", variants("tf2"), ids=lambda v: v.id)
def test_tf2_object(variant):
    """A callable SavedModel of TF2 is called as a module and as a layer."""
    for call in variant.entry["object_calls"]:
        arguments = [variant.record.tensor(spec) for spec in call["args"]]
        if set(call["kwargs"]) <= {"training"}:
            output = variant.load()(*arguments, **call["kwargs"])
            variant.record.check(output, call["output"])
            layer = hubkeras.KerasLayer(variant.record.path, trainable=True)
            variant.record.check(layer(*arguments, **call["kwargs"]), call["output"])


@EVERY_TF1
def test_signatures(variant):
    """Signatures say the names, dtypes, shapes and kinds of their inputs and outputs."""
    module, tags = variant.load(), variant.entry["tags"]
    assert sorted(module.get_signature_names(tags=tags)) == variant.entry["signature_names"]
    for name, signature in variant.entry["signatures"].items():
        for side, get in (("inputs", module.get_input_info_dict), ("outputs", module.get_output_info_dict)):
            infos = get(signature=name, tags=tags)
            assert sorted(infos) == sorted(signature[side])
            for k, want in signature[side].items():
                shape = infos[k].get_shape()
                assert infos[k].dtype.name == want["dtype"]
                assert (None if shape.rank is None else shape.as_list()) == want["shape"]
                assert infos[k].is_sparse == (want["kind"] == "sparse")
                assert infos[k].is_composite == (want["kind"] != "dense")


@EVERY_TF1
def test_variables(variant):
    """Variables have the names, values and roles of the original's."""
    module, state = variant.load(), variant.entry["state"]
    assert sorted(module.variable_map) == sorted(state["trainable"]["variable_map"])
    for name, spec in state["frozen"]["initial"].items():
        variant.record.check(whole(module.variable_map[name]), spec, EXACT, name)
    found = sorted(v.name.split(":")[0] for v in module.trainable_variables)
    assert found == sorted(name for name, _ in state["trainable"]["trainable_variables"])


@EVERY_TF1
def test_image_information(variant):
    """The image size that a module asks for is told, or that it has none."""
    module, size = variant.load(), variant.entry["image"]["expected_image_size"]
    if isinstance(size, list):
        assert list(hubkeras.get_expected_image_size(module)) == size
    elif size is not None:
        with pytest.raises((ValueError, TypeError, KeyError)):
            hubkeras.get_expected_image_size(module)


PROBES = {
    "extra_input": lambda inputs, k: {**inputs, "zoo_extra": 1.0},
    "missing_input": lambda inputs, k: {n: v for n, v in inputs.items() if n != k},
    "wrong_dtype": lambda inputs, k: {
        **inputs,
        k: tf.constant([1.0, 2.0]) if inputs[k].dtype == tf.string else tf.constant([b"x"] * 2),
    },
    "wrong_shape": lambda inputs, k: {**inputs, k: tf.expand_dims(inputs[k], 0)},
}


@EVERY_TF1
def test_wrong_use(variant):
    """What the original refused is refused by name, before anything runs."""
    with pytest.raises((ValueError, KeyError), match="zoo_unknown"):
        hubkeras.load(variant.record.path, tags=["zoo_unknown"])
    module = variant.load()
    with pytest.raises((ValueError, KeyError), match="zoo_unknown"):
        module({}, signature="zoo_unknown")
    good = {call["signature"]: inputs for call, inputs in reversed(list(variant.calls()))}
    for error in (e for e in variant.entry["errors"] if e["type"] and e["probe"] in PROBES):
        signature, k = error["signature"], error["how"]
        wrong = PROBES[error["probe"]](good[signature], k)
        with pytest.raises((ValueError, TypeError)) as refused:
            module(wrong, signature=signature, as_dict=True)
        assert (k or "zoo_extra") in str(refused.value)
        assert not isinstance(refused.value, tf.errors.OpError)


@UPDATED_ONES
def test_updates(variant):
    """Update ops run in training, and only there."""
    updates = variant.entry["updates"]
    signature = updates["signature"]
    inputs = variant.inputs(updates["inputs"], signature)
    module, frozen = variant.load(), variant.load()
    for _ in range(updates["times"]):
        module(inputs, signature=signature, training=True, as_dict=True)
    before = {k: whole(frozen.variable_map[k]).numpy() for k in updates["changed"]}
    frozen(inputs, signature=signature, as_dict=True)
    for k, spec in updates["changed"].items():
        variant.record.check(whole(module.variable_map[k]), spec, what=k)
        np.testing.assert_array_equal(whole(frozen.variable_map[k]), before[k], err_msg=k)


@TRAINED_ONES
def test_gradients(variant):
    """Gradients are the original's, and taking them runs update ops no second time."""
    training = variant.entry["training"]
    signature, inputs = training["signature"], variant.inputs(training["inputs"], training["signature"])
    module, once = variant.load(), variant.load()
    variables = {v.name.split(":")[0]: v for v in module.trainable_variables}
    with tf.GradientTape() as tape:
        output = module(inputs, signature=signature, training=True, as_dict=True)[training["output"]]
        loss = mean_square(output)
    gradients = tape.gradient(loss, variables)
    for name, spec in training["gradients"].items():
        gradient = gradients[name]
        if spec is None:
            assert gradient is None or not np.any(tf.convert_to_tensor(gradient)), f"{name} should have no gradient"
        else:
            assert gradient is not None, name
            variant.record.check(tf.convert_to_tensor(gradient), spec, GRADIENT, name)
    once(inputs, signature=signature, training=True, as_dict=True)
    for name in (name for name, _ in training["non_trainable"] if name in training["final"]):
        np.testing.assert_array_equal(whole(module.variable_map[name]), whole(once.variable_map[name]), err_msg=name)


@TRAINED_ONES
def test_training(variant, tmp_path):
    """Five steps end where the original's ended, for inference too, and in what is exported then."""
    training = variant.entry["training"]
    after = training["reexport"]
    module = variant.load(after["tags"])
    assert len(module.regularization_losses) == training["regularization_losses"]
    losses = [float(step) for step in descend(module, variant)]
    golden = variant.record.arrays[training["loss_trajectory"]["key"]]
    np.testing.assert_allclose(losses, golden[: training["steps"]], *LOSS)
    for name, spec in training["final"].items():
        variant.record.check(whole(module.variable_map[name]), spec, TRAINED, name)
    module.export(tmp_path / "exported")
    assert (tmp_path / "exported" / "tfhub_module.pb").is_file()
    inputs = variant.inputs(training["inputs"], training["signature"])
    for trained in (module, hubkeras.load(tmp_path / "exported", tags=after["tags"])):
        output = trained(inputs, signature=after["signature"], as_dict=True)[training["output"]]
        variant.record.check(output, after["output"], TRAINED)


def descend(module, variant):
    """The losses of the recorded steps, taken in one graph as `fit()` would."""
    training = variant.entry["training"]
    signature, inputs = training["signature"], variant.inputs(training["inputs"], training["signature"])
    variables = list(module.trainable_variables)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = mean_square(module(inputs, signature=signature, training=True, as_dict=True)[training["output"]])
            loss += sum(tf.cast(penalty(), loss.dtype) for penalty in module.regularization_losses)
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            if gradient is not None:
                variable.assign_sub(tf.cast(training["rate"], variable.dtype) * tf.convert_to_tensor(gradient))
        return loss

    return [step() for _ in range(training["steps"])]


def is_plain(call):
    """Whether a call takes and gives dense values only, and no path."""
    specs = [*call["inputs"].values(), *call["outputs"].values()]
    return {spec["kind"] for spec in specs} == {"dense"} and not any(spec.get("asset_path") for spec in specs)


def is_batched(signature):
    """Whether every input has a batch axis, and every output one or none."""
    inputs = [info["shape"] for info in signature["inputs"].values()]
    outputs = [info["shape"] for info in signature["outputs"].values()]
    return all(s is not None and s[:1] == [None] for s in inputs) and all(
        s is not None and s[:1] in ([None], []) for s in outputs
    )


def bare(inputs):
    """The value alone where there is one only."""
    return inputs if len(inputs) > 1 else next(iter(inputs.values()))


@EVERY_TF1
def test_layer(variant, tmp_path):
    """A layer gives the same eagerly, in a functional model, and from a .keras file whose module is gone."""
    calls = [(call, inputs) for call, inputs in variant.calls() if call["case"] == 0 and call["inputs"]]
    for number, (call, inputs) in enumerate((c, i) for c, i in calls if is_plain(c) and not variant.stochastic):
        signature = variant.entry["signatures"][call["signature"]]
        options = {"signature": call["signature"], "signature_outputs_as_dict": True}
        layer = variant.layer(**options)
        assert isinstance(layer, keras.Layer)
        variant.check_outputs(layer(bare(inputs)), call)
        if is_batched(signature):
            check_functional(variant, call, inputs, options, tmp_path / str(number))


def check_functional(variant, call, inputs, options, folder):
    """A functional model of the layer, saved and read back."""
    path = shutil.copytree(variant.record.path, folder / "module")
    infos = variant.entry["signatures"][call["signature"]]["inputs"]
    symbols = {k: keras.Input(i["shape"][1:], dtype=i["dtype"], name=k.replace("/", "_")) for k, i in infos.items()}
    model = keras.Model(bare(symbols), variant.layer(path=path, **options)(bare(symbols)))
    variant.check_outputs(model(bare(inputs)), call)
    assert not model.trainable_variables, "a frozen layer gives an optimizer something"
    model.save(folder / "model.keras")
    shutil.rmtree(path)
    variant.check_outputs(keras.models.load_model(folder / "model.keras")(bare(inputs)), call)


class Net(keras.Model):
    """A model of one layer; inputs without a batch axis, which `fit()` cannot feed, are part of it."""

    def __init__(self, layer, fixed):
        super().__init__(autocast=False)
        self.layer = layer
        self.fixed = fixed

    def call(self, x, training=False):
        return self.layer(bare({**x, **self.fixed}), training=training)


@TRAINED_ONES
def test_fit(variant):
    """`fit()` with a trainable layer ends where the original's steps ended."""
    training = variant.entry["training"]
    after = training["reexport"]
    if any(spec["kind"] != "dense" for spec in training["inputs"].values()):
        pytest.skip("fit() feeds dense tensors here")
    layer = variant.layer(
        tags=after["tags"],
        train_tags=variant.entry["tags"],
        signature=training["signature"],
        output_key=training["output"],
        trainable=True,
    )
    inputs = variant.inputs(training["inputs"], training["signature"])
    batch = {k: v for k, v in inputs.items() if v.shape.rank}
    model = Net(layer, {k: v for k, v in inputs.items() if not v.shape.rank})
    model.compile(keras.optimizers.SGD(training["rate"]), lambda _, output: mean_square(output))
    model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the first step a second time
    model.fit(tf.data.Dataset.from_tensors((batch, tf.zeros([1]))).repeat(training["steps"]), verbose=0, shuffle=False)
    variant.record.check(model(batch, training=False), after["output"], TRAINED)


@EVERY_TF1
def test_apart(variant: Variant, tmp_path):
    """A twin loaded beside a module shares no variable, no table and no library function with it."""
    if variant.stochastic:
        pytest.skip("random outputs differ anyway")
    changed, differs = make_twin(variant.record.path, tmp_path / "twin"), False
    twin = hubkeras.load(tmp_path / "twin", tags=variant.entry["tags"])
    start = [v.read_value() for v in twin.variables]
    for call, inputs in variant.calls():
        theirs = twin(inputs, signature=call["signature"], as_dict=True)
        for v in twin.variables:
            v.assign(tf.zeros_like(v))
        ours = variant.load()(inputs, signature=call["signature"], as_dict=True)
        for v, value in zip(twin.variables, start, strict=True):
            v.assign(value)
        variant.check_outputs(ours, call, OUTPUT)
        differs = differs or any(
            not np.array_equal(ours[k], theirs[k])
            for k, spec in call["outputs"].items()
            if spec["kind"] == "dense" and not spec.get("asset_path")
        )
    assert differs or not changed, "one took the other's table or function"
