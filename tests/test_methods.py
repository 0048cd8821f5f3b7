"""Regions as Python objects: methods, attributes of arguments as arrays and numbers, and what a body may be."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import inspect
import logging
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import hpacml

POINT = "tensor functor(point: [i, 0:1] = ([i]))\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hpacml.flush()


def recorded(label: str, file: str = "d.h5") -> dict[str, np.ndarray]:
    hpacml.flush()
    with h5py.File(file) as opened:
        return {name: dataset[()] for name, dataset in opened[label].items()}


class Grid:
    def __init__(self, n: int):
        self.t = np.arange(float(n))


class Solver:
    def __init__(self, n: int = 6):
        self.grid, self.new, self.n = Grid(n), np.zeros(n), n
        self.learned, self.on, self.file = False, True, Path("d.h5").absolute()
        self.net: Any = lambda x: -x
        self.__secret = np.arange(float(n)) + 10

    @hpacml.region(
        POINT
        + """ml(predicated: self.learned) in(point(self.grid.t[0:self.n])) out(point(self.new[0:self.n]))
             model(self.net) database(self.file) if(self.on and k > 0)"""
    )
    def step(self, k: int, factor: float = 2.0) -> float:
        self.new[: self.n] = factor * self.grid.t[: self.n]
        return factor

    @hpacml.region(
        """tensor functor(block: [i, 0:self.m] = ([i * self.m : i * self.m + self.m]))
           tensor map(to: block(self.grid.t[0 : self.n / self.m]))
           tensor map(from: block(self.new[0 : self.n / self.m]))
           ml(collect) in(self.grid.t) out(self.new) database(self.file) units(self.new: "K")"""
    )
    def blocks(self) -> None:
        self.new[:] = 3 * self.grid.t

    @hpacml.region(
        POINT + "ml(collect) in(point(self.__secret[0:__n])) out(point(self.new[0:__n])) database(self.file)"
    )
    def secret(self, __n: int) -> None:
        self.new[:__n] = self.__secret[:__n]

    @staticmethod
    @hpacml.region(POINT + "ml(collect) in(point(a[0:n])) out(point(b[0:n])) database('d.h5')")
    def static(a: np.ndarray, b: np.ndarray, n: int) -> None:
        b[:n] = -a[:n]

    @hpacml.region(POINT + "ml(collect) in(point(a[0:3])) out(point(cls.shared[0:3])) database('d.h5')")
    @classmethod
    def of_class(cls, a: np.ndarray) -> type:
        cls.shared[:] = a
        return cls

    shared = np.zeros(3)


class Faster(Solver):
    def step(self, k: int, factor: float = 2.0) -> float:
        return super().step(k, factor + 1.0)


# -- methods -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "factor"), [(Solver, 2.0), (Faster, 3.0)])
def test_a_method_collects_and_infers(make: type[Solver], factor: float) -> None:
    solver = make()
    assert solver.step(1) == factor
    np.testing.assert_array_equal(solver.new, factor * np.arange(6.0))
    solver.learned = True
    assert solver.step(k=1) in (None, factor)
    np.testing.assert_array_equal(solver.new, -np.arange(6.0))
    np.testing.assert_array_equal(recorded("step")["output"][0, :, 0], factor * np.arange(6.0))


def test_attributes_are_read_in_each_call() -> None:
    solver = Solver()
    solver.step(1)
    solver.grid.t, solver.new, solver.n = np.full(9, 5.0), np.zeros(9), 4
    solver.file = Path("e.h5").absolute()
    solver.step(1)
    assert recorded("step", "e.h5")["output"][0, :, 0].tolist() == [10.0] * 4
    assert solver.new.tolist() == [10.0] * 4 + [0.0] * 5
    solver.learned, solver.net = True, lambda x: x + 1
    solver.grid = Grid(6)
    solver.step(1)
    assert solver.new.tolist() == [1.0, 2.0, 3.0, 4.0] + [0.0] * 5
    solver.on = False
    assert solver.step(1) == 2.0


def test_attributes_as_parameters_of_functors_and_in_named_maps() -> None:
    solver = Solver()
    for m in (2, 3):
        solver.m, solver.file = m, Path(f"{m}.h5").absolute()  # pyright: ignore[reportAttributeAccessIssue]
        solver.blocks()
        np.testing.assert_array_equal(recorded("blocks", f"{m}.h5")["input"][0], np.arange(6.0).reshape(-1, m))
    with hpacml.open_database("2.h5") as database:
        assert database["blocks"].units == {"self.new": "K"}
    assert "self.grid.t" in str(Solver.blocks.ir(solver))


def test_private_attributes_and_parameters() -> None:
    solver = Solver()
    solver.secret(4)
    assert solver.new.tolist() == [10.0, 11.0, 12.0, 13.0, 0.0, 0.0]


def test_static_and_class_methods() -> None:
    a, b = np.arange(3.0), np.zeros(3)
    for owner in (Solver, Solver()):
        owner.static(a, b, 3)
        assert owner.of_class(a) is Solver
    assert len(recorded("static")["input"]) == len(recorded("of_class")["input"]) == 2
    assert b.tolist() == [0.0, -1.0, -2.0]


def test_methods_look_like_methods() -> None:
    solver = Solver()
    assert solver.step.__self__ is solver
    assert solver.step == solver.step
    assert functools.partial(solver.step, 1)(factor=4.0) == 4.0
    assert Solver.step.__name__ == "step"
    assert "factor" in str(inspect.signature(solver.step))


def test_threads_have_their_own_objects() -> None:
    solvers = [Solver() for _ in range(8)]

    def work(number: int) -> None:
        for call in range(20):
            solvers[number].grid.t[:] = 100 * number + call
            solvers[number].step(1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    data = recorded("step")
    assert len(data["input"]) == 160
    np.testing.assert_array_equal(data["output"], 2 * data["input"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("self.missing[0:n]", "there is no 'self.missing' in this call: 'Solver' object has no attribute 'missing'"),
        ("self.n[0:n]", "argument 'self.n' is no array"),
        ("slf.t[0:n]", "'slf' is not a parameter of step(self, n); did you mean 'self'?"),
        ("self.new[0:self.file]", "'self.file' is no number but a"),
    ],
)
def test_attributes_that_do_not_fit(target: str, message: str) -> None:
    with pytest.raises(hpacml.HpacmlError) as caught:

        @hpacml.region(POINT + f"ml(collect) in(point({target})) out(point(self.new[0:n])) database('d.h5')")
        def step(self: Solver, n: int) -> None: ...

        step(Solver(), 3)
    assert message in str(caught.value)


def test_an_output_that_the_body_assigns_is_an_error_and_records_nothing() -> None:
    @hpacml.region(POINT + "ml(collect) in(point(s.grid.t[0:6])) out(point(s.new[0:6])) database('d.h5') if(on)")
    def step(s: Solver, on: bool) -> None:
        s.new = 2 * s.grid.t

    solver = Solver()
    with pytest.raises(hpacml.MapError, match=r"'s\.new', an output of the region step, is another array"):
        step(solver, True)
    step(solver, False)
    hpacml.flush()
    assert not Path("d.h5").exists()


def test_properties_may_be_views_but_no_copies() -> None:
    class Fields:
        def __init__(self) -> None:
            self.memory = np.zeros((2, 6))

        view = property(lambda self: self.memory[1])
        copy = property(lambda self: self.memory[1].copy())

    def step(s: Fields, learned: bool, net: Any) -> None:
        s.view[:] = 1.0

    clauses = "ml(predicated: learned) in(point(s.view[0:6])) out(point(s.{}[0:6])) model(net) database('d.h5')"
    fields = Fields()
    hpacml.region(POINT + clauses.format("view"))(step)(fields, True, lambda x: x + 5)
    assert fields.memory[1].tolist() == [5.0] * 6
    for learned in (False, True):
        with pytest.raises(hpacml.MapError, match="a property that makes a new array each time"):
            hpacml.region(POINT + clauses.format("copy"))(step)(fields, learned, lambda x: x + 5)


# -- bodies that finish later --------------------------------------------------------------------

LATER = POINT + "ml(collect) in(point(a[0:3])) out(point(b[0:3])) database('d.h5')"


def test_coroutines_and_generators_are_refused_at_decoration() -> None:
    async def coroutine(a: Any, b: Any) -> None:
        b[:] = a

    def generator(a: Any, b: Any) -> Any:
        b[:] = a
        yield

    async def both(a: Any, b: Any) -> Any:
        b[:] = a
        yield

    for function in (coroutine, generator, both, functools.wraps(coroutine)(coroutine)):
        with pytest.raises(hpacml.DirectiveError, match="outputs would be recorded before the work is done"):
            hpacml.region(LATER)(function)
    for function in (functools.partial(coroutine, 1), map, Grid(3)):
        with pytest.raises(hpacml.DirectiveError, match="written with 'def'"):
            hpacml.region(LATER)(function)  # pyright: ignore


async def _fill(a: Any, b: Any) -> None:
    b[:] = a


def _fill_later(a: Any, b: Any) -> Any:
    b[:] = a
    yield


async def _fill_and_wait(a: Any, b: Any) -> Any:
    b[:] = a
    yield


_UNFINISHED: list[Callable[[Any, Any], Any]] = [
    _fill,
    _fill_later,
    lambda a, b: (b.fill(x) for x in a),
    lambda a, b: map(b.fill, a),
    lambda a, b: concurrent.futures.Future(),
    contextlib.contextmanager(_fill_later),
    contextlib.asynccontextmanager(_fill_and_wait),
]


@pytest.mark.parametrize("work", _UNFINISHED)
def test_a_body_that_returns_work_to_be_done_is_refused_and_records_nothing(work: Callable[[Any, Any], Any]) -> None:
    @hpacml.region(LATER)
    def step(a: Any, b: Any) -> Any:
        return work(a, b)

    with pytest.raises(hpacml.DirectiveError, match="whose work is still to be done"):
        step(np.ones(3), np.zeros(3))
    hpacml.flush()
    assert not Path("d.h5").exists()


def test_work_that_is_done_in_the_body_is_recorded() -> None:
    @hpacml.region(LATER)
    def awaited(a: Any, b: Any) -> None:
        asyncio.run(_fill(a, b))

    @hpacml.region(LATER)
    def pooled(a: Any, b: Any) -> Any:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(b.__setitem__, slice(None), a)

    for region in (awaited, pooled):
        region(np.ones(3), np.zeros(3))
    assert recorded("awaited")["output"].tolist() == recorded("pooled")["output"].tolist() == [[[1.0]] * 3]


# -- outputs that stay as they are ---------------------------------------------------------------


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "was not changed" in record.getMessage()]


@pytest.mark.parametrize("calls", [1, 2, 7])
def test_an_output_that_no_body_changes_is_a_warning_once(calls: int, caplog: pytest.LogCaptureFixture) -> None:
    @hpacml.region(LATER)
    def step(a: Any, b: Any) -> Any:
        b = 2 * a
        return b + 0

    with caplog.at_level(logging.WARNING, "hpacml"):
        for _ in range(calls):
            step(np.ones(3), np.zeros(3))
        hpacml.flush()
        step(np.ones(3), np.zeros(3))
        hpacml.flush()
    (warning,) = _warnings(caplog)
    assert warning.startswith("the output 'b' of the region step was not changed by its body")


def test_an_output_that_is_given_its_own_values_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    @hpacml.region(LATER)
    def step(a: Any, b: Any) -> None:
        b[:] = a

    with caplog.at_level(logging.WARNING, "hpacml"):
        step(np.ones(3), np.ones(3))
        hpacml.flush()
    (warning,) = _warnings(caplog)
    assert "in the call, or was given the very values that it had, which looks the same" in warning
    assert warning.endswith("if it wrote these values, nothing is wrong")


def test_an_output_that_changes_at_last_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    @hpacml.region(LATER)
    def step(a: Any, b: Any) -> None:
        b[:] = a

    b = np.zeros(3)
    with caplog.at_level(logging.WARNING, "hpacml"):
        for value in (0.0, 0.0, 1.0, 1.0, 1.0, 1.0):
            step(np.full(3, value), b)
        hpacml.flush()
    assert _warnings(caplog) == []


def test_each_output_is_looked_at_whatever_its_array(caplog: pytest.LogCaptureFixture) -> None:
    @hpacml.region(POINT + "ml(collect) in(point(a[0:3])) out(point(b[0:3]), point(c[0:3])) database('d.h5')")
    def step(a: Any, b: Any, c: Any) -> None:
        b[0] = 7.0

    with caplog.at_level(logging.WARNING, "hpacml"):
        step(np.ones(3), np.zeros(6)[::-2], torch.zeros(3, dtype=torch.bfloat16))
        hpacml.flush()
    assert [text.split("'")[1] for text in _warnings(caplog)] == ["c"]


# -- regions that go ---------------------------------------------------------------------------


def test_a_region_that_goes_takes_what_the_runtime_knows_of_it() -> None:
    from hpacml.runtime import sites

    def call() -> weakref.ref[Any]:
        @hpacml.region(POINT + "ml(infer) in(point(a[0:3])) out(point(b[0:3])) model(net) label('goes')")
        def step(a: Any, b: Any, net: Any) -> None: ...

        step(np.ones(3), np.zeros(3), lambda x: x)
        return weakref.ref(step)

    call()
    gc.collect()
    before = sum(map(len, sites._all))  # pyright: ignore[reportPrivateUsage]
    regions = [call() for _ in range(4)]
    gc.collect()
    assert [region() for region in regions] == [None] * 4
    assert sum(map(len, sites._all)) <= before  # pyright: ignore[reportPrivateUsage]
