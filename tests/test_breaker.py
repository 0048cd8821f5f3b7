"""The circuit breaker in programs: model files that are exchanged while they run, threads, processes, and GPUs."""

from __future__ import annotations

import functools
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx, prange
from hpacml.frontend.kernel import Kernel
from hpacml.runtime.guards.breaker import CLOSING
from hpacml.runtime.reports import guarded
from tests.simulated_gpu import OnDevice, simulated

EVERY = 3
TOLERANCE = 0.1
CLAUSES = f"model('net.pt2') verify(every: {EVERY}, tolerance: {TOLERANCE}, metric: max)"
DIRECTIVES = f"""tensor functor(point: [i, 0:1] = ([i]))
                 ml(infer) in(point(a[0:n])) out(point(b[0:n])) {CLAUSES}"""
N = 20
Array = Float64[np.ndarray, "N"]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPACML_MODEL_RELOAD", "1")
    monkeypatch.setenv("HPACML_TRUST_MODELS", "1")
    guarded.read(reset=True)
    yield
    guarded.read(reset=True)


@functools.cache
def model_file(error: float) -> bytes:
    """A model that is wrong by `error` at each point."""
    net = torch.nn.Linear(1, 1).double()
    with torch.no_grad():
        net.weight.fill_(2)
        net.bias.fill_(error)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.pt2")
        hpacml.save_model(net, path, example=torch.zeros(N, 1, dtype=torch.float64))
        return path.read_bytes()


def put_model(error: float) -> None:
    """Exchange the model in one step."""
    Path("new.pt2").write_bytes(model_file(error))
    os.replace("new.pt2", "net.pt2")


def region_of(label: str, engine: str = "auto") -> Callable[..., None]:
    @hpacml.region(f"{DIRECTIVES} label('{label}') engine({engine})")
    def double(a: Any, b: Any, n: int) -> None:
        b[:n] = 2 * a[:n]

    return double


@hpacml.kernel
def kernel(a: Array, b: Array, n: int):
    approx("tensor functor(point: [i, 0:1] = ([i]))")
    with approx(
        "ml(infer) in(point(a[0:n])) out(point(b[0:n])) model('net.pt2') label('exchanged kernel') "
        "verify(every: 3, tolerance: 0.1, metric: max)"
    ):
        for i in prange(n):
            b[i] = 2 * a[i]


class Program:
    """Calls a region again and again with other numbers, and looks at the memory behind each call."""

    def __init__(self, run: Callable[..., None]) -> None:
        self.run = run
        self.calls = 0

    def error(self) -> float:
        """Make a call, and give the largest error of it."""
        a = np.random.default_rng(self.calls).random(N + 3)
        b = np.full(N + 3, -7.0)
        before = a.copy()
        self.run(a, b, N)
        self.calls += 1
        np.testing.assert_array_equal(a, before)
        assert (b[N:] == -7).all()
        return float(np.abs(b[:N] - 2 * a[:N]).max())

    def errors(self, count: int) -> list[float]:
        return [self.error() for _ in range(count)]


def check_exchange(program: Program, error: float, checks: int) -> None:
    """Exchange the model for one with an error, which is found within so many checks, and for the good one again."""
    put_model(0)
    assert max(program.errors(2 * EVERY)) < 1e-6
    put_model(error)
    found = program.errors(4 * EVERY)
    wrong = [n for n, each in enumerate(found) if each > 1e-6]
    assert all(n < checks * EVERY for n in wrong)
    assert not any(n % EVERY == 0 for n in wrong)  # a check that finds it does not use it
    put_model(0)
    assert max(program.errors((CLOSING + 1) * EVERY)) < 1e-6
    assert guarded.read()


@pytest.mark.parametrize(
    ("engine", "error", "checks"), [("torch", 0.2, 2), ("compiled", 0.2, 2), ("compiled", 0.6, 1), ("torch", np.nan, 1)]
)
def test_a_file_that_is_exchanged(engine: str, error: float, checks: int) -> None:
    label = f"exchanged {engine} {error}"
    program = Program(region_of(label, engine))
    check_exchange(program, error, checks)
    found = guarded.read()[label].checks
    assert (found.opened, found.closed) == (1, 1)
    assert found.count == program.calls // EVERY
    assert found.last is not None
    assert not found.last.is_open


def test_a_file_that_is_exchanged_under_a_kernel() -> None:
    check_exchange(Program(Kernel(kernel.py_func)), 0.6, 1)


def test_a_model_of_a_small_error_stays() -> None:
    program = Program(region_of("small"))
    put_model(0.05)
    assert program.errors(5 * EVERY) == pytest.approx([0.05] * 5 * EVERY)
    assert guarded.read()["small"].open_calls == 0


def test_layouts_of_arrays_count_together() -> None:
    """They have code of their own, and are one region."""
    double = region_of("layouts")
    put_model(0)
    for number in range(12):
        a, b = np.ones(2 * N), np.zeros(2 * N)
        step = 1 + number % 2
        double(a[::step], b[::step], N)
    assert [check.call for check in guarded.read()["layouts"].checks.history] == [0, 3, 6, 9]


def test_threads_of_one_program() -> None:
    double = region_of("threads")
    put_model(0)
    Program(double).errors(1)
    found: list[list[float]] = []

    def work() -> None:
        found.append(Program(double).errors(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(map(max, found)) < 1e-6
    checks = guarded.read()["threads"].checks
    assert [len(each) for each in found] == [50] * 8
    assert sorted(check.call for check in checks.history) == list(range(0, 401, EVERY))


def test_a_forked_program_finds_it_for_itself() -> None:
    program = Program(region_of("forked program", "compiled"))
    put_model(0)
    Path("bad.pt2").write_bytes(model_file(0.6))
    program.errors(EVERY)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.replace("bad.pt2", "net.pt2")
            found = program.errors(2 * EVERY)
            status = 0 if max(found) < 1e-6 and guarded.read()["forked program"].checks.opened == 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not guarded.read()["forked program"].checks.opened


def test_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Kernel(kernel.py_func)  # its path starts from the folder of this test
    with simulated(monkeypatch, 1) as (device,):

        def run(a: np.ndarray, b: np.ndarray, n: int) -> None:
            there(OnDevice(a, device), OnDevice(b, device), n)

        check_exchange(Program(run), 0.6, 1)
        assert len(device.launched)
        assert guarded.read()["exchanged kernel"].checks.opened == 1
