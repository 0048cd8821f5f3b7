"""Many threads that call regions at once: results are those of a single one, bit for bit, and no call is lost.

Half of the arrays are shared: there each thread has its own rows. What is collected has the number of its thread and
of its call in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from torch import nn

import hpacml
from hpacml import approx

h5py = pytest.importorskip("h5py")

THREADS, CALLS, N = 8, 10_000, 6
MODES = ("infer", "plain", "plain", "infer", "plain", "infer", "plain", "collect")
"""What the calls do in turn: `plain` is a region that `if` turns off."""

Rows = Float64[np.ndarray, "R n"]


@hpacml.kernel
def kernel(x: Rows, y: Rows, row: int, infer: bool, on: bool, net: Any, file: str):
    n = x.shape[1]
    approx("tensor functor(wide: [i, 0:2] = ([row, i], [row, i]))")
    approx("tensor functor(one: [i, 0:1] = ([row, i]))")
    with approx("""ml(predicated: infer) if(on) in(wide(x[row:row+1, 0:n])) out(one(y[row:row+1, 0:n]))
                   model(net) database(file) label("kernel")"""):
        for i in range(n):
            y[row, i] = 3.0 * x[row, i] + 0.1


@hpacml.region("""tensor functor(wide: [i, 0:2] = ([row, i], [row, i]))
                  tensor functor(one: [i, 0:1] = ([row, i]))
                  ml(predicated: infer) if(on) in(wide(x[row:row+1, 0:n])) out(one(y[row:row+1, 0:n]))
                  model(net) database(file) label("region")""")
def region(x, y, n, row, infer, on, net, file):
    y[row] = 3.0 * x[row] + 0.1


def of_call(thread: int, call: int) -> np.ndarray:
    return thread + call / CALLS + np.arange(N) / 2.0**40


def points_of(call: int) -> int:
    """How many points of a call the region collects."""
    return N - call // len(MODES) % 3


def work(thread: int, x: np.ndarray, y: np.ndarray, row: int, net: nn.Module, file: str) -> list[bytes]:
    """The result of each call of one thread."""
    results = []
    for call in range(CALLS):
        mode = MODES[call % len(MODES)]
        x[row] = of_call(thread, call)
        y[row] = -1.0
        if call // len(MODES) % 2:
            kernel(x, y, row, mode == "infer", mode != "plain", net, file)
        else:
            points = points_of(call) if mode == "collect" else N
            region(x, y, points, row, mode == "infer", mode != "plain", net, file)
        results.append(y[row].tobytes())
    return results


def arrays(thread: int, shared: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    if thread % 2:
        return *shared, thread
    return np.zeros((1, N)), np.zeros((1, N)), 0


def in_threads(action: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def run(thread: int) -> None:
        try:
            action(thread)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.slow
def test_threads_get_what_one_gets(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Linear(2, 1).double().eval()
    results: dict[int, list[bytes]] = {}
    shared = np.zeros((THREADS, N)), np.zeros((THREADS, N))

    def together(thread: int) -> None:
        results[thread] = work(thread, *arrays(thread, shared), net, str(tmp_path / "together.h5"))

    in_threads(together)
    hpacml.flush()
    for thread in range(THREADS):
        alone = work(thread, *arrays(thread, shared), net, str(tmp_path / "alone.h5"))
        assert results[thread] == alone
    hpacml.flush()
    expected = [
        [of_call(thread, call) for call in range(CALLS) if MODES[call % 8] == "collect" and call // 8 % 2 == by_kernel]
        for thread in range(THREADS)
        for by_kernel in (False, True)
    ]
    assert sum(map(len, expected)) == THREADS * CALLS // len(MODES)
    for name in ("together", "alone"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            group = file["kernel"]
            assert len(group["runtime"]) == len(group["input"])
            check(group["input"][()], group["output"][..., 0], np.concatenate(expected[1::2]))
        with hpacml.open_database(tmp_path / f"{name}.h5") as database:
            found = database["region"]
            check_calls(zip(found.inputs[0], found.outputs[0], strict=True), sum(map(len, expected[::2])))


def check_calls(calls: Iterable[tuple[np.ndarray, np.ndarray]], count: int) -> None:
    """So many calls of the region have their own points and outputs; those of a thread are in order."""
    numbers: list[list[int]] = [[] for _ in range(THREADS)]
    for x, y in calls:
        thread = int(x[0, 0])
        numbers[thread].append(round((x[0, 0] - thread) * CALLS))
        expected = of_call(thread, numbers[thread][-1])[: points_of(numbers[thread][-1])]
        np.testing.assert_array_equal(x, np.stack([expected, expected], 1))
        np.testing.assert_array_equal(y, 3.0 * x[:, :1] + 0.1)
    assert all(own == sorted(set(own)) for own in numbers)
    assert sum(map(len, numbers)) == count


def check(x: np.ndarray, y: np.ndarray, expected: np.ndarray) -> None:
    """These are the expected inputs in any order, each twice, with its own output; those of a thread are in order."""
    assert len(x) == len(y) == len(expected)
    np.testing.assert_array_equal(x[..., 0], x[..., 1])
    np.testing.assert_array_equal(y, 3.0 * x[..., 0] + 0.1)
    order = np.argsort(x[:, 0, 0].astype(int), kind="stable")
    np.testing.assert_array_equal(x[order, :, 0], expected)
