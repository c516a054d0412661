"""What one thread builds while others wait."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import tensorflow as tf

from hubkeras.functions.build_lock import BUILDING, built_once, control_flow_v1


class Builder:
    def __init__(self):
        self.count = 0

    @built_once
    def built(self):
        self.count += 1
        time.sleep(0.05)  # long enough for every other thread to ask as well
        return object()


def test_all_threads_get_what_one_has_built():
    builder = Builder()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: builder.built, range(4)))
    assert builder.count == 1
    assert len(set(map(id, found))) == 1


def test_nobody_waits_for_what_is_built():
    builder = Builder()
    first = builder.built
    with BUILDING, ThreadPoolExecutor(1) as threads:  # as while another thread builds something else
        assert threads.submit(lambda: builder.built).result(timeout=10) is first


def test_control_flow_v2_comes_back():
    @control_flow_v1()
    def fail():
        assert not tf.compat.v1.control_flow_v2_enabled()
        raise KeyError

    assert tf.compat.v1.control_flow_v2_enabled()
    with pytest.raises(KeyError):
        fail()
    assert tf.compat.v1.control_flow_v2_enabled()
