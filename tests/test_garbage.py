"""The thresholds of Python's garbage collection, which are others only while something is compiled."""

import gc
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from jaxtyping import Float64

import hpacml
from hpacml.backend.stacks import on_large_stack

MINE = 701, 11, 12


@pytest.fixture(autouse=True)
def my_thresholds() -> Generator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*MINE)
    yield
    gc.set_threshold(*before)


def test_compilers_in_several_threads_leave_the_thresholds():
    @hpacml.kernel
    def double(a: Float64[np.ndarray, "N"]):
        for i in range(a.shape[0]):
            a[i] = 2.0 * a[i]

    layouts = [np.ones(8), np.ones(8)[::-1], np.ones(16)[::2]]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(double, layouts))
        found = [pool.submit(on_large_stack, gc.get_threshold) for _ in range(8)]
    assert all(each.result()[0] > MINE[0] for each in found)
    assert gc.get_threshold() == MINE


def test_thresholds_that_the_program_has_chosen_stay():
    on_large_stack(lambda: gc.set_threshold(5, 5, 5))
    assert gc.get_threshold() == (5, 5, 5)
    gc.set_threshold(0)
    assert on_large_stack(gc.get_threshold)[0] == 0
    gc.set_threshold(10_000_000)
    assert on_large_stack(gc.get_threshold)[0] == 10_000_000


def test_a_child_has_the_thresholds_of_before():
    def fork() -> int:
        if not (child := os.fork()):
            os._exit(gc.get_threshold() != MINE)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert on_large_stack(fork) == 0
    assert gc.get_threshold() == MINE
