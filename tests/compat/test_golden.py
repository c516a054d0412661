"""`Module` gives what the original gave: outputs, gradients, and what training makes of variables."""

from functools import partial

import pytest
import tensorflow as tf
from parity import GRADIENT, INPUT_GRADIENT, TRAINED, variants

import hubkeras.compat.v1 as hub
from compat.graphs import control_flow_v1, eager, session, v1

TRAINED_MODULES = ("ref_control_flow", "losses_and_updates", "batch_renorm", "nested_loops", "stacked")


@pytest.mark.parametrize("variant", variants("tf1_hub"), ids=lambda v: v.id)
def test_outputs_and_their_gradients_are_the_originals(variant):
    calls, fetches = [], []
    with tf.Graph().as_default(), control_flow_v1():
        module = hub.Module(variant.record.path, tags=variant.entry["tags"])
        for call, inputs in variant.calls():
            outputs = module(inputs, signature=call["signature"], as_dict=True)
            gradients = {}
            # TensorFlow cannot differentiate one functional loop twice in a graph, so the first call must do.
            if "input_gradients" in call and not any(gradients for _, gradients in fetches):
                name = call["input_gradients_of"].removeprefix("sum(").removesuffix(")")
                found = v1.gradients(tf.reduce_sum(outputs[name]), list(inputs.values()))
                gradients = {k: g for k, g in zip(inputs, found, strict=True) if g is not None}
            calls.append(call)
            fetches.append((outputs, gradients))
        with session() as sess:
            values = [sess.run(fetch) for fetch in fetches]
    for call, (outputs, gradients) in zip(calls, values, strict=True):
        variant.check_outputs(eager(outputs), call)
        for k, gradient in gradients.items():
            variant.record.check(eager(gradient), call["input_gradients"][k], INPUT_GRADIENT, k)


@pytest.mark.parametrize("variant", variants("tf1_hub"), ids=lambda v: v.id)
def test_wrong_calls_raise_what_the_original_raised(variant):
    cases = {call["signature"]: call for call in variant.entry["calls"] if call["case"] == 0}
    with tf.Graph().as_default():
        module = hub.Module(variant.record.path, tags=variant.entry["tags"])
        for error in variant.entry["errors"]:
            signature, changed = error["signature"], error["how"]
            good = variant.inputs(cases[signature]["inputs"], signature) if signature in cases else {}
            call = partial(module, _spoilt(error["probe"], good, changed), signature=signature or "zoo_unknown")
            if error["type"] is None:
                call(as_dict=True)
                continue
            with pytest.raises({"TypeError": TypeError, "ValueError": ValueError}[error["type"]]):
                call(as_dict=True)


def _spoilt(probe, inputs, name):
    """Inputs with one thing wrong, as `golden/making/record_hub.py` fed them."""
    if probe == "extra_input":
        return {**inputs, "zoo_extra": 1.0}
    if probe == "missing_input":
        return {k: v for k, v in inputs.items() if k != name}
    if probe == "wrong_dtype":
        return {**inputs, name: tf.constant([1.0, 2.0] if inputs[name].dtype == tf.string else [b"x", b"x"])}
    return {**inputs, name: tf.expand_dims(inputs[name], 0)} if probe == "wrong_shape" else inputs


@pytest.mark.parametrize(
    "variant", [v for v in variants("tf1_hub") if v.record.name in TRAINED_MODULES], ids=lambda v: v.id
)
def test_training_ends_where_the_originals_did(variant):
    plan = variant.entry["training"]
    with tf.Graph().as_default(), control_flow_v1():
        module = hub.Module(variant.record.path, trainable=True, tags=variant.entry["tags"])
        inputs = variant.inputs(plan["inputs"], plan["signature"])
        output = module(inputs, signature=plan["signature"], as_dict=True)[plan["output"]]
        losses, variables = v1.get_collection("regularization_losses"), v1.trainable_variables()
        own = tf.reduce_mean(tf.square(output))
        total = own + tf.add_n([tf.cast(t, own.dtype) for t in losses]) if losses else own
        gradients = v1.gradients(total, variables)
        names = [v.op.name.removeprefix("module/") for v in variables]
        alone = dict(zip(names, v1.gradients(own, variables), strict=True))
        found = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        with tf.control_dependencies([g for g, _ in found]):
            pairs = [(tf.identity(tf.convert_to_tensor(g)), v) for g, v in found]
            step = v1.train.GradientDescentOptimizer(plan["rate"]).apply_gradients(pairs)
        updates = [op for op in v1.get_collection("update_ops") if _runs(op)]
        whole = {k: tf.concat(v, 0) if isinstance(v, list) else v for k, v in module.variable_map.items()}
        with session() as sess:
            first = sess.run({k: tf.convert_to_tensor(g) for k, g in alone.items() if g is not None})
        with session() as sess:
            for _ in range(plan["steps"]):
                sess.run([step, updates])
            final = sess.run(whole)
    for k, spec in plan["gradients"].items():
        assert (spec is None) == (k not in first)
        if spec is not None:
            variant.record.check(eager(first[k]), spec, GRADIENT, k)
    for k, spec in plan["final"].items():
        variant.record.check(eager(final[k]), spec, TRAINED, k)
    assert sorted(final) == sorted(plan["final"])


def _runs(op):
    seen, pending = set(), [op.op if isinstance(op, tf.Tensor) else op]
    while pending:
        op = pending.pop()
        if op.type == "Placeholder":
            return False
        if op not in seen:
            seen.add(op)
            pending += [t.op for t in op.inputs] + list(op.control_inputs)
    return True
