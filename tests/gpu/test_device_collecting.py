"""Collection of calls whose arrays are on a GPU."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from tests.gpu import stencil
from tests.machines import Machine

COLLECT = f"ml(collect) {stencil.CLAUSES} database(net) label('heat')"


def averaged(machine: Machine) -> stencil.Body:
    """Original code for arrays on the device."""

    def body(t: Any, new: Any) -> None:
        result = machine.host(new).copy()
        stencil.averaged(machine.host(t), result)
        machine.fill(new, result)

    return body


def contents(path: str) -> dict[str, Any]:
    with h5py.File(path) as file:
        return {name: file["heat"][name][...] for name in ("input", "output", "runtime")}


def test_the_same_is_collected_as_on_the_host(machine: Machine) -> None:
    there, here = stencil.region(averaged(machine), COLLECT), stencil.region(stencil.averaged, COLLECT)
    for call in range(5):
        t, new = stencil.grids()
        t += call
        there(machine.there(t), machine.there(new.copy()), *t.shape, "there.h5")
        here(t, new, *t.shape, "here.h5")
    hpacml.flush()
    found, expected = contents("there.h5"), contents("here.h5")
    for name in ("input", "output"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert found["runtime"].shape == expected["runtime"].shape == (5,)
    assert (found["runtime"] >= 0).all()


def test_calls_differ_in_their_points_as_on_the_host(machine: Machine) -> None:
    there, here = stencil.region(averaged(machine), COLLECT), stencil.region(stencil.averaged, COLLECT)
    sizes = [(9, 11), (9, 11), (5, 4), (2, 8), (12, 3)]
    for n, m in sizes:
        t, new = stencil.grids(n, m)
        there(machine.there(t), machine.there(new.copy()), n, m, "there.h5")
        here(t, new, n, m, "here.h5")
    with hpacml.open_database("there.h5") as found, hpacml.open_database("here.h5") as expected:
        for name in ("inputs", "outputs"):
            pairs = zip(*(getattr(each["heat"], name)[0] for each in (found, expected)), strict=True)
            shapes = [np.testing.assert_array_equal(a, b) or a.shape[:2] for a, b in pairs]
            assert shapes == [(n - 2, m - 2) for n, m in sizes]
        assert found["heat"].calls == 5


def test_calls_are_in_order_whatever_the_buffer_holds(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    heat = stencil.region(lambda t, new: None, COLLECT)
    t, new = stencil.grids()
    there = machine.there(t), machine.there(new)
    for size in "1", "3K", "256M":
        monkeypatch.setenv("HPACML_DB_BUFFER", size)
        for call in range(20):
            machine.fill(there[0], np.full_like(t, call))
            heat(*there, *t.shape, "heat.h5")
        hpacml.flush()
    assert contents("heat.h5")["input"][:, 0, 0, 0].tolist() == [*range(20)] * 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves(machine: Machine, dtype: torch.dtype) -> None:
    directives = (
        "tensor functor(one: [i, 0:1] = ([i]))\nml(collect) in(one(a[0:4])) out(one(a[0:4])) database('heat.h5')"
    )

    @hpacml.region(directives)
    def heat(a: Any) -> None:
        pass

    a = torch.arange(8).to(dtype)[::2]
    heat(machine.there(a))
    hpacml.flush()
    with h5py.File("heat.h5") as file:
        np.testing.assert_array_equal(file["heat/input"][0, :, 0], a.float().numpy())


def test_one_call_in_so_many(machine: Machine) -> None:
    heat = stencil.region(lambda t, new: None, COLLECT + " sample(every: 3)")
    t, new = stencil.grids()
    for call in range(7):
        heat(machine.there(np.full_like(t, call)), machine.there(new), *t.shape, "heat.h5")
    hpacml.flush()
    assert contents("heat.h5")["input"][:, 0, 0, 0].tolist() == [0, 3, 6]


def test_errors_come_out_of_the_next_call_or_flush(machine: Machine) -> None:
    heat = stencil.region(lambda t, new: None, COLLECT)
    there = [machine.there(grid) for grid in stencil.grids()]
    Path("file").touch()
    heat(*there, 9, 11, "file/heat.h5")
    with pytest.raises(hpacml.DatabaseError, match=r"heat\.h5"):
        hpacml.flush()
    hpacml.flush()
    heat(*there, 9, 11, "heat.h5")
    hpacml.flush()
    assert len(contents("heat.h5")["input"]) == 1


def test_no_database_is_an_error_of_the_call(machine: Machine) -> None:
    there = [machine.there(grid) for grid in stencil.grids()]
    with pytest.raises(hpacml.DatabaseError, match="has no database"):
        stencil.region(lambda t, new: None, COLLECT)(*there, 9, 11, None)


def test_the_report_of_a_collection(machine: Machine) -> None:
    heat = stencil.region(averaged(machine), COLLECT)
    there = [machine.there(grid) for grid in stencil.grids()]
    hpacml.report(reset=True)
    hpacml.timing()
    try:
        for _ in range(3):
            heat(*there, 9, 11, "heat.h5")
        report: Any = hpacml.report(reset=True)["heat"]
    finally:
        hpacml.timing(False)
    assert report.calls == {"infer": 0, "collect": 3, "body": 0}
    assert report.gathered == 3 * 7 * 9 * 6 * 4
    assert report.events["Body"].count == 3
    assert report.events["Body"].total_ms > 0


def test_times_are_taken_of_calls_that_collect_and_infer_in_turn(machine: Machine) -> None:
    heat, net = stencil.region(lambda t, new: None), machine.network(stencil.network())
    there = [machine.there(grid) for grid in stencil.grids()]
    hpacml.report(reset=True)
    hpacml.timing()
    try:
        for call in range(10):
            heat(*there, 9, 11, net, call % 3 != 0)
        hpacml.flush()
        report: Any = hpacml.report(reset=True)["heat"]
    finally:
        hpacml.timing(False)
    assert report.calls == {"infer": 6, "collect": 4, "body": 0}
    assert len(contents("heat.h5")["runtime"]) == 4


@pytest.mark.parametrize("on", [False, True])
def test_the_time_of_a_body_is_its_own(machine: Machine, on: bool) -> None:
    heat = stencil.region(lambda t, new: time.sleep(0.05), COLLECT)
    there = [machine.there(grid) for grid in stencil.grids()]
    hpacml.timing(on)
    try:
        for _ in range(2):
            heat(*there, 9, 11, "heat.h5")
    finally:
        hpacml.timing(False)
    hpacml.flush()
    found = contents("heat.h5")["runtime"]
    assert ((found >= 50) & (found < 5000)).all()


Vector = Float64[np.ndarray, "N"]


@hpacml.kernel
def nested(a: Vector):
    N = a.shape[0]
    hpacml.approx("tensor functor(one: [i, 0:1] = ([i]))")
    with hpacml.approx("ml(collect) in(one(a[0:N])) out(one(a[0:N])) database('nested.h5') label('outer')"):
        for i in hpacml.prange(N):
            a[i] = a[i] + 1.0
        with hpacml.approx("ml(collect) in(one(a[0:N])) out(one(a[0:N])) database('nested.h5') label('inner')"):
            for i in hpacml.prange(N):
                a[i] = 2.0 * a[i]


def test_the_time_of_a_body_has_that_of_one_inside(machine: Machine) -> None:
    for _ in range(3):
        nested(machine.there(np.ones(1000)))
    hpacml.flush()
    with h5py.File("nested.h5") as file:
        inner, outer = (file[name]["runtime"][...] for name in ("inner", "outer"))
    assert ((inner > 0) & (inner < outer)).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_has_nothing_on_its_way(machine: Machine) -> None:
    if machine.real:
        pytest.skip("a GPU does not survive a fork")
    heat = stencil.region(lambda t, new: None, COLLECT)
    heat(*(machine.there(grid) for grid in stencil.grids()), 9, 11, "heat.h5")
    assert os.waitpid(_fork(), 0)[1] == 0
    hpacml.flush()
    assert len(contents("heat.h5")["input"]) == 1


def _fork() -> int:
    if (child := os.fork()) == 0:
        try:
            hpacml.flush()
            os._exit(0)
        finally:
            os._exit(1)
    return child
