"""Training under strategies of tf.distribute is training on one device, with the same global batches."""

import json
import os
import socket
from pathlib import Path

import forks
import keras
import numpy as np
import pytest

import hubkeras  # noqa: F401  (registers the layer that the saved model holds)

HERE = Path(__file__).parent
TESTS = HERE.parent
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "-1",
}
CLOSE = {"rtol": 0, "atol": 1e-5}
OF_ONE_REPLICA = {"seen_x", "seen", "mean"}
"""Variables that update ops move by the rows which they see, different ones on each replica."""


def start(program, folder, number=0, **more):
    """Starts a program, whose messages go to a file."""
    outputs = [folder / f"{program}{number}.{kind}" for kind in ("out", "log")]
    process = forks.start(HERE / f"{program}.py", folder, environment=os.environ | ENVIRONMENT | more, outputs=outputs)
    return process, outputs


def results(started, seconds):
    """Waits for a program and returns what it found, by case."""
    process, (output, log) = started
    process.join(seconds)
    process.kill()
    assert process.exitcode == 0, log.read_text()[-4000:]
    return json.loads(output.read_text().splitlines()[-1])


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """What was found on two logical CPUs."""
    folder = tmp_path_factory.mktemp("mirrored")
    return results(start("mirrored", folder), 400)


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """The folder that two processes shared, and what each of them found."""
    folder = tmp_path_factory.mktemp("workers")
    sockets = [socket.socket() for _ in range(2)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    processes = [
        start(
            "workers",
            folder,
            number=i,
            TF_CONFIG=json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}),
        )
        for i in range(2)
    ]
    try:
        return folder, [results(p, 200) for p in processes]
    finally:
        for process, _ in processes:
            process.kill()


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """What was found with a worker and a parameter server."""
    folder = tmp_path_factory.mktemp("servers")
    return results(start("servers", folder), 200)


def assert_same(one, many):
    """Two records of training agree."""
    assert "error" not in one | many
    assert set(one) == set(many)
    assert one["losses"][0] > one["losses"][2]  # an epoch later, whether they are of epochs or of two batches each
    np.testing.assert_allclose(many["losses"], one["losses"], **CLOSE)
    assert set(one["variables"]) == set(many["variables"])
    for name, value in one["variables"].items():
        if name.split()[1] not in OF_ONE_REPLICA:
            np.testing.assert_allclose(many["variables"][name], value, **CLOSE, err_msg=name)


def assert_refused(found):
    assert found["error"] == "LayerError"
    assert "Cannot train layer" in found["message"]
    assert "with strategy.scope():" in found["message"]


# --- MirroredStrategy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        "trainable",
        "frozen",
        "subclassed",
        "regularized",
        "v1_control_flow",
        "v1_control_flow_with_updates",
        "reference_variables",
        "one_device",
        "eagerly",
        "custom_loop",
        "module_from_inside",
        "frozen_from_outside",
    ],
)
def test_training_is_that_of_one_device(mirrored, case):
    """Losses, their trajectory, and the final variables."""
    found = mirrored[case]
    assert "error" not in found, found
    assert_same(found["one"], found["many"])


@pytest.mark.parametrize("case", ["trainable", "frozen", "subclassed", "regularized", "v1_control_flow", "eagerly"])
def test_predictions_are_those_of_one_device(mirrored, case):
    """`predict` splits batches over the replicas and puts the results together."""
    np.testing.assert_allclose(mirrored[case]["many"]["predicted"], mirrored[case]["one"]["predicted"], **CLOSE)


def test_moving_averages_are_those_of_keras(mirrored):
    """Each replica has its own, moved by its own rows; the first one's are read and saved."""
    ours, theirs = mirrored["moving_averages"]["ours"], mirrored["moving_averages"]["keras"]
    np.testing.assert_allclose(ours["losses"], theirs["losses"], **CLOSE)
    np.testing.assert_allclose(ours["predicted"], theirs["predicted"], **CLOSE)
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        np.testing.assert_allclose(ours["read"][name], theirs["read"][name], **CLOSE, err_msg=name)
        np.testing.assert_allclose(ours["parts"][name], theirs["parts"][name], **CLOSE, err_msg=name)
        np.testing.assert_array_equal(ours["read"][name], ours["parts"][name][0])
    first, second = ours["parts"]["moving_mean"]
    assert np.abs(np.subtract(first, second)).max() > 1e-2


def test_moving_averages_of_the_same_rows_are_those_of_one_device(mirrored):
    """Where every replica sees the same rows, nothing tells the strategy from one device."""
    found = mirrored["moving_averages"]
    one, many = (found[f"{which}, same rows on both"] for which in ("one", "many"))
    np.testing.assert_allclose(many["losses"], one["losses"], **CLOSE)
    for name, value in one["read"].items():
        np.testing.assert_allclose(many["parts"][name], [value] * 2, **CLOSE, err_msg=name)


def test_calls_outside_of_replicas(mirrored):
    """Eager calls, training calls and gradients of mirrored variables, in the scope and out of it."""
    found = mirrored["outside_of_replicas"]
    plain, *others = found["calls"]
    for other in others:
        np.testing.assert_allclose(other, plain, **CLOSE)
    for what in ("training", "gradients"):
        np.testing.assert_allclose(found[what][1], found[what][0], **CLOSE)
    for one, many in zip(*found["ranges"], strict=True):
        np.testing.assert_allclose(many, one, **CLOSE)


def test_training_may_be_a_tensor(mirrored):
    """Update ops of a call inside `tf.cond` move each replica's variables, and only where it is true."""
    before, not_training, training = mirrored["training_is_a_tensor"]
    assert before == not_training
    assert training[0] != before[0]
    assert training[1] != before[1]
    assert training[0] != training[1]


@pytest.mark.parametrize("case", ["trainable_from_outside", "module_from_outside"])
def test_made_outside_of_the_scope(mirrored, case):
    """A layer whose variables have no part for each replica is not trained, and says why."""
    assert_refused(mirrored[case])


def test_saving_and_loading(mirrored):
    """Whatever is saved from a scope or loaded into one predicts the same, and trains on the same."""
    found = mirrored["saved"]
    assert "error" not in found, found
    want = found["predicted"]["model"]
    for name, got in found["predicted"].items():
        np.testing.assert_allclose(got, want, **CLOSE, err_msg=name)
    for name, losses in found["trained on"].items():
        np.testing.assert_allclose(losses, found["trained on"]["model"], **CLOSE, err_msg=name)
    assert {"export", "module", "checkpoint", "plain", "embedded", "linked", "weights"} < set(found["predicted"])


def test_keras_itself_refuses_strings_in_fit(mirrored):
    """Should this begin to pass, `fit` takes text modules too, and the README may say so."""
    assert mirrored["strings_in_fit_of_keras"]["error"] == "InvalidArgumentError"


# --- MultiWorkerMirroredStrategy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["regularized", "v1_control_flow", "strings_and_tables"])
def test_two_workers_train_as_one(workers, case):
    """In a custom loop; each worker has the losses of both, and the same variables."""
    for found in workers[1]:
        assert "error" not in found[case], found[case]
        assert_same(workers[1][0][case]["one"], found[case]["many"])


def test_moving_averages_of_workers_are_those_of_keras(workers):
    """Each worker keeps its own."""
    for found in workers[1]:
        ours, theirs = found["moving_averages"]["ours"], found["moving_averages"]["keras"]
        np.testing.assert_allclose(ours["losses"], theirs["losses"], **CLOSE)
        for name, value in theirs["read"].items():
            np.testing.assert_allclose(ours["read"][name], value, **CLOSE, err_msg=name)


def test_the_chief_saves(workers):
    """What it saved has its variables."""
    folder, (chief, _) = workers
    model = keras.models.load_model(folder / "model.keras")
    rows = np.random.default_rng(3).uniform(-1, 1, (4, 3)).astype(np.float32)
    np.testing.assert_allclose(model(rows), chief["regularized"]["predicted"], **CLOSE)


def test_keras_itself_refuses_to_fit_on_workers(workers):
    """Should this begin to pass, `fit` works there too, and the README may say so."""
    for found in workers[1]:
        assert "PerReplica" in found["fit_of_keras"]["message"]


# --- ParameterServerStrategy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["with_updates", "regularized"])
def test_training_on_a_parameter_server_is_that_of_one_device(servers, case):
    """Steps that a coordinator schedules, on variables that lie elsewhere."""
    assert "error" not in servers[case], servers[case]
    assert_same(servers[case]["one"], servers[case]["many"])


def test_keras_itself_refuses_to_fit_on_a_parameter_server(servers):
    """Should this begin to pass, `fit` works there too, and the README may say so."""
    assert servers["fit_of_keras"]["error"] == "ValueError"
