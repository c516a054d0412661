"""Errors pass from one process to another: each class comes back as it was."""

import pickle

import pytest

from hubkeras import errors

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.HubKerasError)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_pickle(kind):
    """With class, message and what was added to them."""
    error = kind("Cannot open m", expected="a directory", received="a file.", fix="Unpack it")
    error.add_note("of a worker")
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is kind
    assert str(copied) == str(error) == "Cannot open m. Expected: a directory. Received: a file. Unpack it."
    assert copied.message == error.message
    assert copied.__notes__ == ["of a worker"]
