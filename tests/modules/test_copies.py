"""Copies of loaded modules: `copy.deepcopy`, `pickle`, other processes."""

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf
from parity import GOLDEN

import hubkeras
from hubkeras.errors import HubKerasError
from modules.pickled import spawn

MODULES = GOLDEN / "modules"
X = np.linspace(-1, 1, 12, dtype=np.float32)
MODULE_INPUTS = {
    "batch_renorm": tf.constant(X.reshape(3, 4)),
    "text_paths": tf.constant(["the cat", ""]),
    "nested_loops": tf.eye(3, dtype=tf.int32),
    "dtypes": None,
    "tf2_reusable": tf.constant(X.reshape(4, 3)),
}


def by_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


def variables(module):
    return module.variables or (module.loaded.w, module.loaded.gamma, module.loaded.mean)


def first_input(module, x):
    """The input, or zeros that fit."""
    if x is not None:
        return x
    return {
        n: tf.zeros([2 if d is None else d for d in i.get_shape()], i.dtype)
        for n, i in module.get_input_info_dict().items()
    }


@pytest.mark.parametrize("make", [copy.deepcopy, by_pickle])
@pytest.mark.parametrize("name", MODULE_INPUTS)
def test_a_copy(name, make):
    """It computes the same, has today's values, and variables of its own."""
    module = hubkeras.load(MODULES / name)
    x = first_input(module, MODULE_INPUTS[name])
    floats = [v for v in variables(module) if v.dtype == tf.float32]
    for variable in floats:
        variable.assign_add(tf.ones_like(variable))
    copied = make(module)
    want = module(x).numpy()
    np.testing.assert_array_equal(copied(x), want)
    for mine, other in zip(variables(module), variables(copied), strict=True):
        assert (mine.name, mine.dtype, mine.shape, mine.trainable) == (
            other.name,
            other.dtype,
            other.shape,
            other.trainable,
        )
    for variable in floats:
        variable.assign(tf.zeros_like(variable))
    np.testing.assert_array_equal(copied(x), want)


@pytest.mark.parametrize("make", [copy.deepcopy, by_pickle])
@pytest.mark.parametrize("name", ["batch_renorm", "tf2_reusable"])
def test_signatures(name, make):
    """All signatures of a module, and one of a TF1 module."""
    module, x = hubkeras.load(MODULES / name), MODULE_INPUTS[name]
    signatures = make(module.signatures)
    assert list(signatures) == list(module.signatures)
    for key, signature in signatures.items():
        given = {k: x for k in signature.structured_input_signature[1]}
        tf.nest.map_structure(np.testing.assert_array_equal, signature(**given), module.signatures[key](**given))
    if name == "batch_renorm":
        np.testing.assert_array_equal(make(module.signatures["default"])(x)["default"], module(x))


def test_what_is_copied_together_stays_together():
    """A module and its signature still have one state."""
    module, x = hubkeras.load(MODULES / "batch_renorm"), MODULE_INPUTS["batch_renorm"]
    copied, signature = by_pickle((module, module.signatures["default"]))
    for variable in copied.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    np.testing.assert_array_equal(signature(x)["default"], copied(x))


def test_another_process():
    """`multiprocessing` with its method "spawn"."""
    module, x = hubkeras.load(MODULES / "text_paths"), MODULE_INPUTS["text_paths"]
    output, outputs = spawn(pickle.dumps((module, module.signatures["checked"], x)))
    np.testing.assert_array_equal(output, module(x))
    np.testing.assert_array_equal(outputs["default"], module.signatures["checked"](x)["default"])


def test_a_pickle_of_a_module_that_is_gone(tmp_path):
    """A pickle has no graphs: where the module lay, it must be."""
    module = hubkeras.load(MODULES / "batch_renorm")
    module.export(tmp_path / "module")
    pickled = pickle.dumps(hubkeras.load(tmp_path / "module"))
    (tmp_path / "module").rename(tmp_path / "elsewhere")
    with pytest.raises(HubKerasError, match="module"):
        pickle.loads(pickled)
