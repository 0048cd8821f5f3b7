"""The setting `collect` of `guard`: what the original code makes of rejected points is in the database, and why."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtyping import Float64

import hpacml
from hpacml import approx
from hpacml.errors import DatabaseError, DirectiveError, ModelError
from hpacml.runtime.reports import guarded
from tests.command import run_hpacml

Array = np.ndarray[Any, np.dtype[Any]]
Plane = Float64[np.ndarray, "n m"]

RANGE, WHERE, BELOW = 1, 4, 8


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own for the databases."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hpacml.flush()


def linear(path: Path, inputs: int, outputs: int, dims: int) -> str:
    """A model of points with inputs from -1 to 1."""
    torch.manual_seed(7)
    domain = torch.tensor([[-1.0] * inputs, [1.0] * inputs])
    example = torch.rand(2, *[3] * (dims - 1), inputs)
    hpacml.save_model(torch.nn.Linear(inputs, outputs), path, example=(example,), domain=(domain,))
    return str(path)


class First(torch.nn.Module):
    """A linear map of features that are the first dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.movedim(0, -1)).movedim(-1, 0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    made = {
        "row": linear(folder / "row.pt2", 2, 1, 1),
        "plane": linear(folder / "plane.pt2", 5, 1, 2),
        "point": linear(folder / "point.pt2", 1, 1, 2),
        "first": str(folder / "first.pt2"),
        "inout": linear(folder / "inout.pt2", 2, 2, 1),
    }
    hpacml.save_model(First(), folder / "first.pt2", example=(torch.rand(3, 2),))
    return made


class Case:
    """Maps, the code of a region on t and u, and by hand what the points of its sweep read and write."""

    def __init__(
        self,
        name: str,
        maps: str,
        shape: Callable[[int, int], tuple[int, ...]],
        sweep: Callable[[int, int], tuple[int, ...]],
        reads: Callable[..., list[tuple[int, ...]]],
        writes: Callable[..., list[tuple[int, ...]]],
        code: Callable[[Array, Array], None],
    ):
        self.name, self.maps, self.shape, self.sweep = name, maps, shape, sweep
        self.reads, self.writes, self.code = reads, writes, code
        self.regions: dict[str, Any] = {}

    def region(self, clauses: str) -> Any:
        """The region with these clauses, of arrays t and u and of a mask."""
        if clauses not in self.regions:
            code = self.code

            @hpacml.region(f'{self.maps} {clauses} database(to) label("r")')
            def guarded(t: Any, u: Any, mask: Any, n: int, m: int, step: int, name: str, to: str) -> None:
                code(t, u)

            self.regions[clauses] = guarded
        return self.regions[clauses]


def outwards(t: Array, u: Array) -> None:
    """Original code, which writes all of u."""
    u[...] = np.sin(3 * t) + 5


def in_place(t: Array, u: Array) -> None:
    """Original code that overwrites what it reads."""
    t[:, 0] *= 2
    t[:, 1] += 7


CASES = {
    case.name: case
    for case in (
        Case(
            "row",
            """tensor functor(f: [i, 0:2] = ([i-1], [i+1]))
            tensor functor(g: [i, 0:1] = ([i]))
            ml(infer) in(f(t[1:n-1])) out(g(u[1:n-1])) model(name)""",
            lambda n, m: (n,),
            lambda n, m: (n - 2,),
            lambda i: [(i,), (i + 2,)],
            lambda i: [(i + 1,)],
            outwards,
        ),
        Case(
            "plane",
            """tensor functor(f: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))
            tensor functor(g: [i, j, 0:1] = ([i, j]))
            ml(infer) in(f(t[1:n-1, 1:m-1])) out(g(u[1:n-1, 1:m-1])) model(name)""",
            lambda n, m: (n, m),
            lambda n, m: (n - 2, m - 2),
            lambda i, j: [(i, j + 1), (i + 2, j + 1), (i + 1, j), (i + 1, j + 1), (i + 1, j + 2)],
            lambda i, j: [(i + 1, j + 1)],
            outwards,
        ),
        Case(
            "point",
            """tensor functor(f: [i, j, 0:1] = ([i, j]))
            ml(infer) in(f(t[0:n, 0:m])) out(f(u[0:n, 0:m])) model(name)""",
            lambda n, m: (n, m),
            lambda n, m: (n, m),
            lambda i, j: [(i, j)],
            lambda i, j: [(i, j)],
            outwards,
        ),
        Case(
            "first",
            """tensor functor(f: [0:3, i] = ([0:3, i]))
            tensor functor(g: [0:2, i] = ([1:3, i]))
            tensor functor(one: [i, 0:1] = ([i]))
            declare tensor(ok: one(mask[0:n]))
            ml(infer) in(f(t[0:3, 0:n])) out(g(u[0:3, 0:n])) model(name)""",
            lambda n, m: (3, n),
            lambda n, m: (n,),
            lambda i: [(c, i) for c in range(3)],
            lambda i: [(c, i) for c in (1, 2)],
            outwards,
        ),
        Case(
            "inout",
            """tensor functor(f: [i, 0:2] = ([i, 0:2]))
            ml(infer) inout(f(t[0:n, 0:2])) model(name)""",
            lambda n, m: (n, 2),
            lambda n, m: (n,),
            lambda i: [(i, 0), (i, 1)],
            lambda i: [(i, 0), (i, 1)],
            in_place,
        ),
    )
}


class Expected:
    """The rows of the database, by loops."""

    def __init__(self) -> None:
        self.inputs: list[list[float]] = []
        self.outputs: list[list[float]] = []
        self.reasons: list[int] = []
        self.steps: list[int] = []

    def add(self, case: Case, t: Array, u: Array, mask: Array, clauses: str, step: int) -> None:
        n, m = (t.shape[-1] if case.name == "first" else t.shape[0]), (t.shape[1] if t.ndim == 2 else 0)
        before, after = t.copy(), u.copy()
        other = t.copy()
        case.code(other, after)
        made = other if case.name == "inout" else after
        count = len(self.reasons)
        for point in itertools.product(*map(range, case.sweep(n, m))):
            values = [before[each] for each in case.reads(*point)]
            inside = all(-1 <= float(value) <= 1 for value in values)
            reason = RANGE * ("range" in clauses and not inside) | WHERE * ("where" in clauses and not mask[point])
            if reason:
                self.inputs.append(values)
                self.outputs.append([made[each] for each in case.writes(*point)])
                self.reasons.append(reason)
        self.steps += [step] * (len(self.reasons) > count)


def rows(path: str | Path = "d.h5", label: str = "r.rejected") -> tuple[Array, Array, Array, Array]:
    """What the database has: inputs, outputs and reasons of each point, and the step of each call."""
    with hpacml.open_database(path) as database:
        region = database[label]
        tensors = (region.inputs[0], region.outputs[0], region.reason)
        x, y, why = (region.points(each)[:] for each in tensors if each is not None)
        return x, y, why, region.meta["step"][:] if region.meta else np.empty(0)


RULES = [
    ("row", "guard(range, collect) engine(torch)"),
    ("row", "guard(range, where: mask, collect) verify(every: 2, tolerance: 1.0e9)"),
    ("plane", "guard(range, where: mask, collect)"),
    ("point", "guard(range, where: mask, collect) batch(4)"),
    ("point", "guard(where: mask, collect) pointwise"),
    ("first", "guard(where: ok, collect)"),
    ("first", "guard(where: ok, collect) pointwise"),
    ("inout", "guard(range, where: mask, collect)"),
    ("inout", "guard(range, collect) pointwise"),
    ("inout", "guard(range, collect) verify(every: 2, tolerance: 1.0e9)"),
]


@pytest.mark.parametrize(("name", "clauses"), RULES)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 999), share=st.sampled_from([0.0, 0.6, 1.0]))
def test_rows_are_the_rejected_points(models: dict[str, str], name: str, clauses: str, seed: int, share: float) -> None:
    case, wanted = CASES[name], Expected()
    region, rng = case.region(f"{clauses} meta(step: step)"), np.random.default_rng(seed)
    hpacml.flush()
    Path("d.h5").unlink(missing_ok=True)
    for step in range(4):
        n, m = int(rng.integers(3, 8)), int(rng.integers(3, 6))
        t = rng.uniform(-1.2, 1.2, case.shape(n, m)).astype(np.float32)
        u = rng.uniform(-1, 1, t.shape).astype(np.float32)
        if seed % 3 == 0 and "verify" not in clauses:  # NaN is beyond each tolerance
            t.flat[step % t.size] = np.nan
        mask = rng.random(case.sweep(n, m)) < share
        wanted.add(case, t, u, mask, clauses, step)
        region(t, u, mask, n, m, step, models[name], str(Path("d.h5").resolve()))
    hpacml.flush()
    if not wanted.reasons:
        assert not Path("d.h5").exists()
        return
    x, y, why, steps = rows()
    np.testing.assert_array_equal(x, np.array(wanted.inputs))
    np.testing.assert_array_equal(y, np.array(wanted.outputs))
    np.testing.assert_array_equal(why, wanted.reasons)
    np.testing.assert_array_equal(steps, wanted.steps)


@hpacml.kernel
def smooth(t: Plane, u: Plane, to: str):
    n, m = t.shape
    approx("tensor functor(f: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))")
    approx("tensor functor(g: [i, j, 0:1] = ([i, j]))")
    approx("tensor map(to: f(t[1:n-1, 1:m-1]))")
    approx("tensor map(from: g(u[1:n-1, 1:m-1]))")
    with approx('ml(infer) in(t) out(u) model("plane.pt2") database(to) label("r") guard(range, collect)'):
        for i in hpacml.prange(1, n - 1):
            for j in range(1, m - 1):
                u[i, j] = 0.25 * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1]) * t[i, j]


def test_a_nest_with_the_mask(folder: Path) -> None:
    assert "@r_body_masked" in str(smooth.ir(stage="nests"))
    linear(folder / "plane.pt2", 5, 1, 2)
    rng = np.random.default_rng(3)
    expected: list[tuple[list[float], float]] = []
    for n in (5, 8):
        t, u = rng.uniform(-1.2, 1.2, (n, 6)), np.zeros((n, 6))
        smooth(t, u, "d.h5")
        for i, j in itertools.product(range(1, n - 1), range(1, 5)):
            around = [t[i - 1, j], t[i + 1, j], t[i, j - 1], t[i, j], t[i, j + 1]]
            if max(map(abs, around)) > 1:
                expected.append((around, 0.25 * (around[0] + around[1] + around[2] + around[4]) * t[i, j]))
                assert u[i, j] == expected[-1][1]
    hpacml.flush()
    x, y, why, _ = rows()
    np.testing.assert_array_equal(x, [each for each, _ in expected])
    np.testing.assert_array_equal(y[:, 0], [each for _, each in expected])
    assert set(why) == {RANGE}


MAPS = "tensor functor(f: [i, 0:1] = ([i]))\n"


def ten(path: Path) -> str:
    """A model that makes ten times its input, and knows inputs from -1 to 1."""
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(10.0)
    hpacml.save_model(net, path, example=(torch.rand(3, 1),), domain=(torch.tensor([[-1.0], [1.0]]),))
    return str(path)


@hpacml.region(
    MAPS
    + """ml(predicated: use) in(f(a[0:n])) out(f(c[0:n])) model(name) database(to) label("r") guard(range, collect)
    sample(every: 2)"""
)
def sampled(a: Array, c: Array, n: int, use: bool, name: str, to: str) -> None:
    c[:n] = -a[:n]


def test_sampling_takes_calls_that_have_rejected_points(folder: Path) -> None:
    name = ten(folder / "m.pt2")
    for k in range(6):
        sampled(np.full(4, k + 2.0), np.zeros(4), 4, False, name, str(folder / "d.h5"))
        sampled(np.zeros(4), np.zeros(4), 4, True, name, str(folder / "d.h5"))  # of which no point is rejected
        sampled(np.array([0, k + 2.0, 0, k + 3.0]), np.zeros(4), 4, True, name, str(folder / "d.h5"))
    hpacml.flush()
    x, y, why, _ = rows()
    np.testing.assert_array_equal(x[:, 0], [2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(y, -x)
    assert why.tolist() == [RANGE] * 6
    with hpacml.open_database("d.h5") as database:
        np.testing.assert_array_equal(database["r"].inputs[0][:, 0, 0], [2, 4, 6])
        assert sorted(database) == ["r", "r.rejected"]


@hpacml.region(
    MAPS
    + """ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(name) database(to) label("r") guard(below: 0.5, where: a > 0, collect)"""
)
def unsure(a: Array, c: Array, n: int, name: str, to: str) -> None:
    c[:n] = -a[:n]


class Unsure(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 10 * x, x.abs()


def test_what_the_model_says_of_itself(folder: Path) -> None:
    hpacml.save_model(Unsure(), folder / "m.pt2", example=(torch.rand(3, 1),))
    a = np.array([-2, -0.25, 0.25, 2], np.float32)
    unsure(a, np.zeros(4, np.float32), 4, str(folder / "m.pt2"), str(folder / "d.h5"))
    hpacml.flush()
    x, y, why, _ = rows()
    np.testing.assert_array_equal(x[:, 0], [-2, -0.25, 2])
    np.testing.assert_array_equal(y, -x)
    assert why.tolist() == [WHERE | BELOW, WHERE, BELOW]


def test_a_model_that_fails_leaves_its_points_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_ON_ERROR", "accurate")
    torch.save(torch.rand(2), folder / "m.pt2")
    a, c = np.array([-1.0, 1.0, 2.0]), np.zeros(3)
    unsure(a, c, 3, str(folder / "m.pt2"), str(folder / "d.h5"))
    hpacml.flush()
    np.testing.assert_array_equal(c, -a)
    x, _, why, _ = rows()
    assert (x.tolist(), why.tolist()) == ([[-1.0]], [WHERE])


@hpacml.region(
    MAPS + 'ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(name) database(to) label("r") guard(range, collect) pointwise'
)
def plain(a: Array, c: Array, n: int, name: str, to: str) -> None:
    c[:n] = -a[:n]


def test_threads(folder: Path) -> None:
    name = ten(folder / "m.pt2")
    before = guarded.read()["r"].collected if "r" in guarded.read() else 0
    calls = [np.random.default_rng(k).uniform(-2, 2, 5 + k % 7) for k in range(64)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda a: plain(a, np.zeros(len(a)), len(a), name, str(folder / "d.h5")), calls))
    hpacml.flush()
    x, y, _, _ = rows()
    wanted = np.concatenate([a[abs(a) > 1] for a in calls])
    np.testing.assert_array_equal(np.sort(x[:, 0]), np.sort(wanted))
    np.testing.assert_array_equal(y, -x)
    assert guarded.read()["r"].collected == before + len(wanted)
    assert "points collected" in str(hpacml.report())


def test_all_tools_read_them(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    name = ten(folder / "m.pt2")
    for k in range(3):
        plain(np.linspace(0, 2 + k, 9 + k), np.zeros(9 + k), 9 + k, name, str(folder / "d.h5"))
    hpacml.flush()
    x, y, why, _ = rows()

    def hpacml_db(*arguments: str) -> str:
        status, out, error = run_hpacml(monkeypatch, capsys, "db", *arguments)
        assert status == 0, error
        return out

    assert "r.rejected" in hpacml_db("ls", "d.h5")
    assert "reason" in hpacml_db("info", "d.h5")
    assert "no problems" in hpacml_db("check", "d.h5")
    hpacml_db("merge", "both.h5", "d.h5", "d.h5")
    hpacml_db("check", "both.h5")
    for one, two in zip((x, y, why), rows("both.h5"), strict=False):
        np.testing.assert_array_equal(np.concatenate([one, one]), two)
    hpacml_db("export", "d.h5", "r.rejected", "d.npz")
    with np.load("d.npz") as arrays:
        np.testing.assert_array_equal(arrays["reason"], why)
        np.testing.assert_array_equal(arrays["input"], x)


def test_a_process_that_is_killed_loses_none(folder: Path) -> None:
    ten(folder / "m.pt2")
    program = """
        import os, signal, numpy as np, hpacml
        @hpacml.region('''tensor functor(f: [i, 0:1] = ([i]))
            ml(infer) in(f(a[0:n])) out(f(c[0:n])) model("m.pt2") database("d.h5") label("r") guard(range, collect)''')
        def region(a, c, n):
            c[:n] = -a[:n]
        for k in range(5):
            region(np.array([0.0, k + 2.0]), np.zeros(2), 2)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    x, _, _, _ = rows()
    assert x[:, 0].tolist() == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        ('database("d.h5") guard(collect)', "say which, as in guard\\(range, collect\\)"),
        ("guard(range, collect)", "has no database for the points that the guard rejects"),
        ('database("d.h5") guard(range, collect: 1)', "'collect' takes no value"),
        ('database("d.h5") guard(range, colect)', "did you mean 'collect'"),
        ('database("d.h5") truth(f(a[0:n])) guard(range, collect)', "'truth' has other data"),
        ('database("d.h5") guard(range) sample(every: 2)', "collects nothing to sample"),
    ],
)
def test_clauses_that_make_no_sense(clauses: str, message: str) -> None:
    with pytest.raises(DirectiveError, match=message) as error:

        @hpacml.region(MAPS + f"ml(infer) in(f(a[0:n])) out(f(c[0:n])) model('m.pt2') {clauses}")
        def region(a: Array, c: Array, n: int) -> None: ...

    assert "^" in str(error.value)


def test_a_group_of_calls_takes_no_rejected_points(folder: Path) -> None:
    @hpacml.region(MAPS + 'ml(collect) in(f(a[0:n])) out(f(c[0:n])) database("d.h5") label("r.rejected")')
    def calls(a: Array, c: Array, n: int) -> None:
        c[:n] = a[:n]

    calls(np.ones(3), np.ones(3), 3)
    with pytest.raises(DatabaseError, match="of points that guards have rejected"):
        plain(np.full(3, 5.0), np.zeros(3), 3, ten(folder / "m.pt2"), str(folder / "d.h5"))


def test_without_a_model_nothing_is_collected(folder: Path) -> None:
    with pytest.raises(ModelError):
        plain(np.full(3, 5.0), np.zeros(3), 3, "none.pt2", str(folder / "d.h5"))
    hpacml.flush()
    assert not Path("d.h5").exists()
