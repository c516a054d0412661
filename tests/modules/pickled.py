"""Calls what was pickled, in a process that is spawned; `test_copies` starts it."""

import multiprocessing
import pickle


def call(pickled):
    """Calls a module and a signature of it."""
    module, signature, x = pickle.loads(pickled)
    return module(x).numpy(), {name: value.numpy() for name, value in signature(x).items()}


def spawn(pickled):
    """The same in another process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, (pickled,))
