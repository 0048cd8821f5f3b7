"""The clause `meta`: numbers of each call, and what is chosen by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx
from tests.command import run_hpacml

Vector = Float64[np.ndarray, "N"]
Run = Callable[..., tuple[int, str, str]]
CALLS = 10


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hpacml.flush()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda *arguments: run_hpacml(monkeypatch, capsys, "db", *arguments)


def region(clauses: str) -> Any:
    @hpacml.region(f"""tensor functor(one: [i, 0:1] = ([i]))
                       ml(predicated: use) in(one(x[0:n])) out(one(y[0:n])) {clauses} model(net) database("d.h5") label("r")""")
    def double(x, y, n, step, dt, use=False, net=None):
        y[:] = 2 * x
        step = None  # noqa: F841 (numbers are those before the body)

    return double


def collect(clauses: str = "meta(step: step, t: step * dt)", sizes: tuple[int, ...] = (3,)) -> None:
    double = region(clauses)
    for step in range(CALLS):
        n = sizes[step % len(sizes)]
        double(np.full(n, step * 1.0), np.zeros(n), n, step, 0.5)
    hpacml.flush()


def opened() -> Any:
    return hpacml.open_database("d.h5")["r"]


@pytest.mark.parametrize("sizes", [(3,), (3, 3, 5)], ids=["one size", "sizes"])
@pytest.mark.parametrize("precision", ["", "float32"])
def test_they_are_recorded(sizes: tuple[int, ...], precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if precision:
        monkeypatch.setenv("HPACML_DB_DTYPE", precision)
    collect("meta(step: step + 16777216, t: step * dt)", sizes)
    found = opened()
    assert list(found.meta) == ["step", "t"]
    np.testing.assert_array_equal(found.meta["step"][:], np.arange(CALLS) + 16777216.0)
    np.testing.assert_array_equal(found.meta["t"][:], np.arange(CALLS) / 2)
    assert [found.inputs[0][call].flat[0] for call in range(CALLS)] == list(range(CALLS))
    with h5py.File("d.h5") as file:
        assert list(file["r"].attrs["meta"]) == ["step", "t"]
        assert file["r/meta_t"].dtype == np.float64


@pytest.mark.parametrize("sizes", [(3,), (3, 3, 5)], ids=["one size", "sizes"])
def test_they_choose_calls(sizes: tuple[int, ...]) -> None:
    collect(sizes=sizes)
    found = opened()
    steps = np.arange(CALLS)
    chosen = (steps >= 2) & ~(steps / 2 == 3)
    assert found.calls_where("step >= 2 and not t == 3").tolist() == chosen.tolist()
    assert found.calls_where("1 < step <= 4 || step // 3 == 3").tolist() == [k in (2, 3, 4, 9) for k in range(CALLS)]
    counts = np.array([sizes[k % len(sizes)] for k in range(CALLS)])
    expected = np.repeat(steps, counts * chosen)
    points = found.dataset(rows="points", where="step >= 2 and t != 3")
    assert points[:][0].flatten().tolist() == expected.tolist()
    calls = found.dataset(where="step >= 2 and t != 3")
    assert [int(calls[k][0][0, 0]) for k in range(len(calls))] == steps[chosen].tolist()
    parts = [found.dataset("points", split=part, where="step >= 2 and t != 3") for part in ("train", "test")]  # type: ignore[arg-type]
    both = torch.cat([part[:][0].flatten() for part in parts])
    assert sorted(both.tolist()) == sorted(expected.tolist())
    assert len(found.dataset(where="step > 100")) == 0


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("stp > 1", "'stp' is no number of the calls of 'r', which has the numbers step, t"),
        ("1 > 0", "the condition '1 > 0' names no number"),
        ("step >", "expected"),
        ("step = 1", "expected"),
        ("len(step) > 1", "cannot be used in a condition"),
    ],
)
def test_conditions_that_are_none(condition: str, message: str) -> None:
    collect()
    with pytest.raises(hpacml.HpacmlError, match=message):
        opened().dataset(where=condition)


def test_without_numbers_there_is_nothing_to_choose_by() -> None:
    collect("")
    assert opened().meta == {}
    with pytest.raises(hpacml.DatabaseError, match="has none: the clause meta collects them"):
        opened().dataset(where="step > 1")


def test_a_kernel_has_them() -> None:
    @hpacml.kernel
    def double(x: Vector, y: Vector, step: int, dt: np.float32):
        N = x.shape[0]
        approx("tensor functor(one: [i, 0:1] = ([i]))")
        with approx("ml(collect) in(one(x[0:N])) out(one(y[0:N])) meta(step: step, t: step * dt) database('d.h5')"):
            for i in range(N):
                y[i] = 2 * x[i]

    for step in range(4):
        double(np.ones(2), np.zeros(2), step, np.float32(0.1))
    hpacml.flush()
    meta = hpacml.open_database("d.h5")["double"].meta
    assert meta["step"][:].tolist() == [0, 1, 2, 3]
    assert meta["t"][:].tolist() == [float(step * np.float32(0.1)) for step in range(4)]


def test_only_calls_that_collect_need_them() -> None:
    double, y = region("if(n > 0) meta(rest: step / n)"), np.zeros(1)
    double(np.ones(1), y, 0, 3, 0.5)
    double(np.ones(1), y, 1, 3, 0.5)
    double(np.ones(1), y, 1, None, 0.5, True, lambda x: -x)
    assert y.tolist() == [-1]
    hpacml.flush()
    assert opened().meta["rest"][:].tolist() == [3]
    with pytest.raises(hpacml.DirectiveError, match="'step' is no number but a NoneType"):
        double(np.ones(1), y, 1, None, 0.5)


def test_other_numbers_are_other_data() -> None:
    collect()
    with pytest.raises(
        hpacml.DatabaseError, match=r"with the numbers \(step, t\) .* gives data with the numbers \(step\)"
    ):
        collect("meta(step: step)")


@pytest.mark.parametrize(
    ("clause", "message"),
    [
        ("meta()", r"give at least one, as in meta\(step: n\)"),
        ("meta(step)", "a ':' comes after it"),
        ("meta(step: step, step: n)", "'step' is given twice"),
        ("meta(a.b: n)", "'a.b' cannot be a name"),
        ("meta(step: stp)", "'stp' is not a parameter of double"),
        ("meta(step: n) meta(t: n)", "'meta' is given twice: join the two"),
    ],
)
def test_clauses_that_are_wrong(clause: str, message: str) -> None:
    with pytest.raises(hpacml.DirectiveError, match=message):
        region(clause)


@pytest.mark.parametrize("sizes", [(3,), (3, 3, 5)], ids=["one size", "sizes"])
def test_commands(run: Run, sizes: tuple[int, ...]) -> None:
    pytest.importorskip("matplotlib")
    collect(sizes=sizes)
    status, out, _ = run("info", "d.h5", "--where", "step > 3")
    assert status == 0
    assert "numbers of 6 calls where step > 3" in out
    assert "4.5" in out
    assert run("check", "d.h5")[0] == 0
    assert run("plot", "d.h5", "r", "--out", "p.png", "--where", "step > 3")[0] == 0
    assert Path("p.png").stat().st_size > 1000
    assert "no numbers to draw where step > 99" in run("plot", "d.h5", "r", "--out", "q.png", "--where", "step > 99")[2]
    assert run("merge", "m.h5", "d.h5")[0] == 0
    with hpacml.open_database("m.h5") as merged:
        assert merged["r"].meta["step"][:].tolist() == list(range(CALLS))
    assert run("export", "d.h5", "r", "e.npz")[0] == 0
    assert np.load("e.npz")["meta_t"].tolist() == (np.arange(CALLS) / 2).tolist()
