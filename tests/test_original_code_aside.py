"""Original code that runs beside a model, for some points or to be compared, leaves a program's memory alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64, Int64

import hpacml
from hpacml import approx
from hpacml.errors import MapError

MAPS = "tensor functor(f: [i, 0:1] = ([i]))\n"
ML = "ml(infer) in(f(a[0:n])) out(f(b[0:n])) model(net) "
CLAUSES = ["guard(where: a > 0)", "guard(where: a > 0) pointwise", "verify(every: 1, tolerance: 1e9)"]
N = 6


class Hundred(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 100 + x


def region(clauses: str, body: Callable[..., Any]) -> Callable[..., Any]:
    return hpacml.region(MAPS + ML + clauses)(body)


def expected(a: Any, clauses: str) -> Any:
    return np.where(np.logical_or(a > 0, "verify" in clauses), 100 + a, 2 * a)


@pytest.mark.parametrize("clauses", CLAUSES)
def test_arrays_that_a_body_writes_beside_its_outputs(clauses: str) -> None:
    def body(a: Any, b: Any, n: int, net: Any, log: Any, count: Any, names: Any) -> None:
        b[:n] = 2 * a[:n]
        a[:n] = 7
        log[:] = 5
        count += 1
        names[0] = None

    a, b, log, count, names = np.linspace(-2, 2, N), np.zeros(N), np.zeros(3), torch.zeros(2), np.array(["x"], object)
    before = a.copy()
    run = region(clauses, body)
    for _ in range(2):
        run(a, b, N, Hundred(), log, count, names)
        np.testing.assert_array_equal(b, expected(before, clauses))
        np.testing.assert_array_equal(a, before)
        assert not log.any()
        assert not count.any()
        assert names[0] == "x"


@pytest.mark.parametrize("clauses", CLAUSES)
def test_a_body_that_fails(clauses: str) -> None:
    def body(a: Any, b: Any, n: int, net: Any) -> None:
        b[:n] = a[:n] = 5
        raise ValueError("no solution")

    a, b = np.linspace(-2, 2, N), np.zeros(N)
    before = a.copy()
    with pytest.raises(ValueError, match="no solution"):
        region(clauses, body)(a, b, N, Hundred())
    np.testing.assert_array_equal(a, before)
    assert not b.any()


class Solver:
    """A program that has its arrays as attributes."""

    def __init__(self) -> None:
        self.a, self.b, self.mode = np.linspace(-2, 2, N), np.zeros(N), "write"

    def body(self) -> None:
        self.a[:] = 7
        match self.mode:
            case "write":
                self.b[:] = [-4.0, -2.4, -0.8, 0, 0, 0]
            case "assign":
                self.b = np.zeros(N)
            case _:
                self.b[:] = 5
                raise ValueError("no solution")

    @hpacml.region(
        MAPS + "ml(infer) in(f(self.a[0:6])) out(f(self.b[0:6])) model(net) guard(where: self.a > 0) label('solver')"
    )
    def guarded(self, net: Any) -> None:
        self.body()

    @hpacml.region(
        MAPS + "ml(infer) in(f(self.a[0:6])) out(f(self.b[0:6])) model(net) verify(every: 1, tolerance: 999)"
    )
    def verified(self, net: Any) -> None:
        self.body()


@pytest.mark.parametrize("method", ["guarded", "verified"])
def test_arrays_that_are_attributes(method: str) -> None:
    solver = Solver()
    before = solver.a.copy()
    getattr(solver, method)(Hundred())
    np.testing.assert_allclose(solver.b, expected(before, "verify" if method == "verified" else ""))
    np.testing.assert_array_equal(solver.a, before)
    made = solver.b.copy()
    solver.mode = "fail"
    with pytest.raises(ValueError, match="no solution"):
        getattr(solver, method)(Hundred())
    np.testing.assert_array_equal(solver.a, before)
    np.testing.assert_array_equal(solver.b, made)
    solver.mode = "assign"
    with pytest.raises(MapError, match="is another array than when the call began"):
        getattr(solver, method)(Hundred())


@pytest.mark.parametrize("clauses", CLAUSES)
def test_outputs_that_are_given_other_memory(clauses: str) -> None:
    def of_numpy(a: Any, b: Any, n: int, net: Any) -> None:
        b[:n] = 2 * a[:n]
        b.resize(100_000, refcheck=False)

    def of_torch(a: Any, b: Any, n: int, net: Any) -> None:
        b.set_(torch.zeros(100_000, dtype=torch.float64))

    with pytest.raises(MapError, match=r"'b' the shape \[100000\]"):
        region(clauses, of_numpy)(np.linspace(-2, 2, N), np.zeros(N), N, Hundred())
    a, b = torch.linspace(-2, 2, N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    with pytest.raises(MapError, match=r"'b' the shape \[100000\]"):
        region(clauses, of_torch)(a, b, N, Hundred())
    assert b.shape == (N,)
    assert not b.any()


@pytest.mark.parametrize("clauses", CLAUSES)
def test_outputs_that_no_body_writes_are_told(clauses: str, caplog: pytest.LogCaptureFixture) -> None:
    def body(a: Any, b: Any, n: int, net: Any) -> Any:
        return 2 * a

    run = region(clauses, body)
    for _ in range(4):
        assert run(np.linspace(-2, 2, N), np.full(N, 9.0), N, Hundred()) is None
    assert caplog.text.count("the output 'b' of the region body was not changed by its body") == 1


VIEWS: dict[str, Callable[[Any], Any]] = {
    "the same": lambda store: store[:N],
    "reversed": lambda store: store[::-1][:N],
    "shifted": lambda store: store[1 : 1 + N],
    "of torch": lambda store: torch.from_numpy(store)[1 : 1 + N],
}


@pytest.mark.parametrize("clauses", CLAUSES)
@pytest.mark.parametrize("kind", VIEWS)
def test_arrays_that_share_memory(clauses: str, kind: str) -> None:
    def body(a: Any, b: Any, n: int, net: Any) -> None:
        b[:n] = 1
        for i in range(n):
            b[i] += a[i]

    run = region(clauses, body)
    run(np.linspace(-2, 2, N), np.zeros(N), N, Hundred())  # with which a pointwise body is found right
    store, whole = np.linspace(-2, 2, 9), np.linspace(-2, 2, 9)
    a = VIEWS[kind](store)
    wanted = np.where(np.logical_or(np.asarray(a) > 0, "verify" in clauses), 100 + np.asarray(a), 0)
    body(VIEWS[kind](whole), whole, N, None)
    run(a, torch.from_numpy(store)[:N] if kind == "of torch" else store[:N], N, Hundred())
    np.testing.assert_allclose(store[:N], np.where(wanted, wanted, whole[:N]))


@pytest.mark.parametrize("clauses", ["guard(where: a > 0)", "verify(every: 1, tolerance: 1e9)"])
def test_threads_write_parts_of_one_array(clauses: str) -> None:
    @hpacml.region(MAPS + "ml(infer) in(f(a[lo:hi])) out(f(b[lo:hi])) model(net) " + clauses)
    def part(a: Any, b: Any, lo: int, hi: int, net: Any) -> None:
        for i in range(lo, hi):
            b[i] = 2 * a[i]

    a, b = np.random.default_rng(0).normal(size=800), np.zeros(800)
    starts = range(0, 800, 100)
    threads = [threading.Thread(target=part, args=(a, b, lo, lo + 100, Hundred())) for lo in starts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(b, expected(a, clauses))


Row = Float64[np.ndarray, "n"]
Log = Float64[np.ndarray, "m"]
Indices = Int64[np.ndarray, "n"]


@hpacml.kernel
def running(a: Row, b: Row, log: Log, net: Any):
    n = len(a)
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(a[0:n])) out(f(b[0:n])) model(net) guard(where: a > 0)"):
        s = 0.0
        for i in range(n):
            s += a[i]
            b[i] = s
        log[0] = s


@pytest.mark.parametrize("shift", [0, 1, 20])
def test_kernels_whose_arrays_share_memory_or_not(shift: int) -> None:
    memory = np.random.default_rng(0).normal(size=40)
    a, b, log = memory[:10], memory[shift : shift + 10], np.zeros(2)
    wanted, used, model = memory.copy(), a > 0, 100 + a
    total = 0.0
    for i in range(10):
        total += wanted[i]
        wanted[shift + i] = total
    running(a, b, log, Hundred())
    np.testing.assert_allclose(b, np.where(used, model, wanted[shift : shift + 10]))
    assert not log.any()


@hpacml.kernel
def through(a: Row, b: Row, at: Indices, net: Any):
    n = len(a)
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(a[0:n])) out(f(b[at[0:n]])) model(net) guard(where: a > 0)"):
        for i in range(n):
            b[at[i]] = 2 * a[i]
            at[i] = i


def test_indices_of_outputs_that_the_code_writes() -> None:
    a, b, at = np.linspace(-2, 2, N), np.zeros(N), np.array([5, 3, 1, 0, 2, 4])

    def body(a: Any, b: Any, at: Any, n: int, net: Any) -> None:
        for i in range(n):
            b[at[i]] = 2 * a[i]
            at[i] = i

    of_python = hpacml.region(
        MAPS + "ml(infer) in(f(a[0:n])) out(f(b[at[0:n]])) model(net) guard(where: a > 0)",
    )(body)
    for run in (lambda: through(a, b, at, Hundred()), lambda: of_python(a, b, at, N, Hundred())):
        b[:] = 0
        run()
        np.testing.assert_allclose(b[[5, 3, 1, 0, 2, 4]], expected(a, ""))
        assert at.tolist() == [5, 3, 1, 0, 2, 4]


@pytest.mark.parametrize("clauses", CLAUSES)
def test_outputs_that_are_written_by_another_way_than_their_parameter(clauses: str) -> None:
    b = np.full(N, 9.0)

    def body(a: Any, out: Any, n: int, net: Any) -> None:
        b[:n] = 2 * a[:n]

    run = hpacml.region(MAPS + ML.replace("b[", "out[") + clauses)(body)
    with pytest.raises(MapError, match=r"writes the output 'out' by another way than its parameter"):
        run(np.linspace(-2, 2, N), b, N, Hundred())


@pytest.mark.parametrize("clauses", ["guard(where: a > 0)", "verify(every: 1, tolerance: 1e9)"])
def test_a_part_of_an_output_that_is_written_by_another_way(clauses: str) -> None:
    b = np.full(N, 9.0)

    def body(a: Any, out: Any, n: int, net: Any) -> None:
        out[:n] = 2 * a[:n]
        b[0] = 0

    run = hpacml.region(MAPS + ML.replace("b[", "out[") + clauses)(body)
    with pytest.raises(MapError, match=r"writes the output 'out' by another way than its parameter"):
        run(np.linspace(-2, 2, N), b, N, Hundred())


@pytest.mark.parametrize("clauses", ["guard(where: a > 0)", "verify(every: 1, tolerance: 1e9)"])
@pytest.mark.parametrize("dtype", [complex, [("real", "f8"), ("other", "i8")]])
def test_outputs_that_are_parts_of_complex_numbers_and_records(clauses: str, dtype: Any) -> None:
    def part(z: Any) -> Any:
        return z.real if dtype is complex else z["real"]

    def body(a: Any, b: Any, n: int, net: Any, z: Any) -> None:
        part(z)[:n] = 2 * a[:n]

    a, z = np.linspace(-2, 2, N), np.zeros(N, dtype)
    region(clauses, body)(a, part(z), N, Hundred(), z)
    np.testing.assert_array_equal(part(z), expected(a, clauses))


def test_arrays_of_no_map_that_share_memory_with_outputs_of_pointwise_code() -> None:
    def body(a: Any, b: Any, n: int, net: Any, z: Any) -> None:
        b[:n] = 2 * a[:n]

    a, b = np.linspace(-2, 2, N), np.full(N, 9.0)
    run = region("guard(where: a > 0) pointwise", body)
    run(a, b, N, Hundred(), np.zeros(N))
    np.testing.assert_array_equal(b, expected(a, "guard"))
    b[:] = 9
    with pytest.raises(MapError, match="'z' shares memory with 'b', an output of body"):
        run(a, b, N, Hundred(), b[::2])
    assert (b == 9).all()


@pytest.mark.parametrize("clauses", CLAUSES)
def test_arrays_among_further_arguments(clauses: str) -> None:
    def body(a: Any, b: Any, n: int, net: Any, *more: Any, **named: Any) -> None:
        more[1][:] = 5
        named["log"][:] = 6
        b[:n] = 2 * a[:n]

    a, b, x, log = np.linspace(-2, 2, N), np.zeros(N), np.zeros(3), np.zeros(4)
    region(clauses, body)(a, b, N, Hundred(), "x", x, log=log)
    np.testing.assert_array_equal(b, expected(a, clauses))
    assert not x.any()
    assert not log.any()
