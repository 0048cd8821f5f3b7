"""Checks of a model by the original code: errors, the circuit breaker, and what compiled code is told."""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.clauses import Verification
from hpacml.errors import HpacmlError, ModelError
from hpacml.runtime.guards.breaker import CLOSING, FAR, Breaker, breaker
from hpacml.runtime.reports import guarded

torch = pytest.importorskip("torch")

from hpacml.runtime.guards.deviation import BLOCK, deviation  # noqa: E402

TOLERANCE = 0.1
GOOD, BAD, AWFUL = 0.5 * TOLERANCE, 2 * TOLERANCE, 1.01 * FAR * TOLERANCE


@pytest.fixture(autouse=True)
def begun_anew() -> Iterator[None]:
    guarded.read(reset=True)
    yield
    guarded.read(reset=True)


def judged(breaker: Breaker, errors: Sequence[float]) -> list[bool]:
    """Whether the breaker is open behind each check."""
    opened: list[bool] = []
    for error in errors:
        breaker.judge({"y": error})
        opened.append(breaker.is_open)
    return opened


# -- the breaker ---------------------------------------------------------------------------------------


def test_a_model_that_is_far_off_opens_it_at_once() -> None:
    assert judged(Breaker(Verification(1, TOLERANCE)), [GOOD] * 30 + [AWFUL]) == [False] * 30 + [True]
    assert judged(Breaker(Verification(1, TOLERANCE)), [GOOD, math.inf]) == [False, True]


def test_a_bad_model_opens_it_within_two_checks() -> None:
    assert judged(Breaker(Verification(1, TOLERANCE)), [0.0] * 30 + [BAD, BAD]) == [False] * 31 + [True]
    assert judged(Breaker(Verification(1, TOLERANCE)), [BAD]) == [True]  # the mean of one


def test_it_is_the_mean_of_the_window_that_counts() -> None:
    alternating = [0.0, 1.9 * TOLERANCE] * 20
    assert not any(judged(Breaker(Verification(1, TOLERANCE)), alternating))
    assert not any(judged(Breaker(Verification(1, TOLERANCE, window=2)), alternating))
    assert judged(Breaker(Verification(1, TOLERANCE, window=1)), alternating[:2]) == [False, True]
    rising = [0.0] * 3 + [1.9 * TOLERANCE, 0.9 * TOLERANCE, 1.9 * TOLERANCE, 0.9 * TOLERANCE]
    assert judged(Breaker(Verification(1, TOLERANCE, window=3)), rising) == [False] * 5 + [True] * 2
    assert not any(judged(Breaker(Verification(1, TOLERANCE, window=7)), rising))


def test_the_outputs_do_not_make_up_for_each_other() -> None:
    state = Breaker(Verification(1, TOLERANCE))
    state.judge({"y": 0.0, "z": GOOD})
    verdict = state.judge({"y": 0.0, "z": AWFUL})
    assert (verdict.output, verdict.error, verdict.event) == ("z", AWFUL, "opened")
    assert verdict.mean == pytest.approx((GOOD + AWFUL) / 2)
    assert state.is_open


def test_good_checks_in_a_row_close_it_and_the_bad_ones_are_forgotten() -> None:
    state = Breaker(Verification(1, TOLERANCE))
    assert judged(state, [math.inf] + [GOOD] * (CLOSING - 1)) == [True] * CLOSING
    assert judged(state, [BAD] + [GOOD] * (CLOSING - 1)) == [True] * CLOSING  # not in a row
    assert judged(state, [GOOD]) == [False]
    assert judged(state, [GOOD] * 5 + [BAD] + [GOOD] * 5) == [False] * 11
    assert judged(Breaker(Verification(1, TOLERANCE, window=1)), [AWFUL, GOOD]) == [True, False]


def test_a_breaker_that_warns_or_raises_does_not_open() -> None:
    for then in ("warn", "raise"):
        state = Breaker(Verification(1, TOLERANCE, then=then))
        assert not any(judged(state, [GOOD, AWFUL, AWFUL, GOOD, GOOD, GOOD]))


def test_who_goes_on_after_the_error_is_told_again_only_of_new_ones() -> None:
    state = Breaker(Verification(1, TOLERANCE, then="raise"))
    events = [state.judge({"y": error}).event for error in (AWFUL, GOOD, GOOD, GOOD, BAD, math.inf, GOOD)]
    assert events == ["opened", None, None, None, None, "opened", None]


@pytest.mark.parametrize("every", [1, 3, 100])
def test_each_kth_call_is_due_and_the_first(every: int) -> None:
    state = Breaker(Verification(every, TOLERANCE))
    assert [n for n in range(301) if state.is_due()] == list(range(0, 301, every))


def test_threads_count_together() -> None:
    state, due = Breaker(Verification(7, TOLERANCE)), [0] * 8
    calls: list[int] = []

    def work(thread: int) -> None:
        for _ in range(1000):
            if state.is_due():
                due[thread] += 1
                calls.append(state.judge({"y": GOOD}).call)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sum(due) == math.ceil(8000 / 7)
    assert sorted(calls) == list(range(0, 8000, 7))


def test_forked_processes_go_on_by_themselves() -> None:
    """They count from 0, and know what the model has come to before."""
    state = breaker("forked", (), Verification(3, TOLERANCE))
    assert [state.is_due(), state.is_due()] == [True, False]
    judged(state, [AWFUL])
    statuses: list[int] = []
    for errors in ([GOOD] * CLOSING, [AWFUL]):
        child = os.fork()
        if child == 0:
            seen = state.is_open, [state.is_due() for _ in range(4)], judged(state, errors)[-1]
            os._exit(0 if seen == (True, [True, False, False, True], errors == [AWFUL]) else 1)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert statuses == [0, 0]
    assert state.is_open
    assert [state.is_due(), state.is_due()] == [False, True]


def test_call_sites_of_one_region_share_a_breaker() -> None:
    settings = Verification(3, TOLERANCE)
    one = breaker("shared", ("to: f",), settings)
    assert breaker("shared", ("to: f",), Verification(3, TOLERANCE)) is one
    others = (
        ("other", ("to: f",), settings),
        ("shared", ("to: g",), settings),
        ("shared", ("to: f",), Verification(3, 1)),
    )
    assert all(breaker(*key) is not one for key in others)


# -- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (3, 5, 2), (BLOCK + 3,)])
def test_errors_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(shape)
    made = truth + 0.1 * rng.standard_normal(shape)
    error = made - truth
    expected = {
        "rmse": np.sqrt((error**2).mean()),
        "mape": np.abs(error / truth).mean(),
        "max": np.abs(error).max(),
    }
    for metric, number in expected.items():
        found = deviation(torch.from_numpy(made), torch.from_numpy(truth), metric)
        assert found.error == pytest.approx(number, rel=1e-12)
        assert found.left_out == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32])
def test_errors_of_all_dtypes(dtype: Any) -> None:
    made, truth = torch.tensor([0, 7, 250], dtype=dtype), torch.tensor([4, 7, 246], dtype=dtype)
    assert deviation(made, truth, "max") == (4.0, 0)
    assert deviation(made, truth, "rmse").error == pytest.approx(math.sqrt(32 / 3))
    assert deviation(made, truth, "mape").error == pytest.approx((1 + 4 / 246) / 3)


@pytest.mark.parametrize("metric", ["rmse", "mape", "max"])
def test_what_is_not_finite_is_infinitely_wrong_unless_the_original_is_the_same(metric: str) -> None:
    nan, inf = math.nan, math.inf
    for made, truth in itertools.product([nan, inf, -inf, 1.0], repeat=2):
        same = made == truth or (math.isnan(made) and math.isnan(truth))
        found = deviation(torch.tensor([2.0, made]), torch.tensor([2.0, truth]), metric)
        assert found.error == (0.0 if same else inf)
    large = torch.tensor([1.7e308], dtype=torch.float64)
    assert deviation(large, -large, metric).error == inf


def test_relative_errors_leave_out_truths_that_are_zero_or_rounding() -> None:
    truth = torch.tensor([2.0, 0.0, 1e-20, -4.0], dtype=torch.float64)
    assert deviation(torch.tensor([3.0, 5.0, 5.0, -4.0], dtype=torch.float64), truth, "mape") == (0.25, 2)
    assert deviation(torch.ones(3), torch.zeros(3), "mape") == (None, 3)
    assert deviation(torch.tensor([3, 1]), torch.tensor([2, 0]), "mape") == (0.5, 1)


def test_nothing_is_compared_in_empty_tensors() -> None:
    assert all(
        deviation(torch.zeros(0, 3), torch.zeros(0, 3), metric).error is None for metric in ("rmse", "mape", "max")
    )


# -- compiled code -------------------------------------------------------------------------------------

MAPS = (
    '["to: f: [i, 0:1] = ([i]) | f(x[0:n])", "from: g: [i, 0:1] = ([i]) | g(y[0:n])", '
    '"from: h: [i] = ([i]) | h(z[0:n])"]'
)

REGION = """
func.func @count(%found: memref<2xi1>) {{
  %due, %open = hpacml.count_inference "{label}" <{settings}> maps {maps}
  %zero = arith.constant 0 : index
  memref.store %due, %found[%zero] : memref<2xi1>
  %one = arith.constant 1 : index
  memref.store %open, %found[%one] : memref<2xi1>
  func.return
}}
func.func @good(%y: memref<?x1xf32>, %z: memref<?xi64>, %u: memref<?x1xf32>, %v: memref<?xi64>) -> i1 {{
  %good = hpacml.verify "{label}" <{settings}> maps {maps} ins(%y, %z : memref<?x1xf32>, memref<?xi64>)
    against(%u, %v : memref<?x1xf32>, memref<?xi64>)
  func.return %good : i1
}}
func.func @some(%y: memref<?x1xf32>, %z: memref<?xi64>, %u: memref<?x1xf32>, %v: memref<?xi64>, %mask: memref<?xi8>) -> i1 {{
  %good = hpacml.verify "{label}" <{settings}> maps {maps} ins(%y, %z : memref<?x1xf32>, memref<?xi64>)
    against(%u, %v : memref<?x1xf32>, memref<?xi64>) where(%mask : memref<?xi8>)
  func.return %good : i1
}}
"""


class Region:
    """A region of this label, whose original code makes zeros, and its model what `verify` is given."""

    def __init__(self, label: str, settings: str) -> None:
        text = REGION.format(label=label, settings=settings, maps=MAPS)
        self.label = label
        self._count, self._good, self._some = (hpacml.compile(text, name) for name in ("count", "good", "some"))

    def count(self) -> tuple[bool, bool]:
        """Whether an inference is due, and whether the original code is to run."""
        found = np.zeros(2, bool)
        self._count(found)
        due, is_open = found.tolist()
        return due, is_open

    def due(self) -> bool:
        return self.count()[0]

    def open(self) -> bool:
        return self.count()[1]

    def verify(self, y: Sequence[float], z: Sequence[int] | None = None, mask: Sequence[int] | None = None) -> bool:
        made = np.array(y, np.float32)[:, None], np.array([0] * len(y) if z is None else z, np.int64)
        truths = np.zeros_like(made[0]), np.zeros_like(made[1])
        return self._good(*made, *truths) if mask is None else self._some(*made, *truths, np.array(mask, np.uint8))

    @property
    def counts(self) -> guarded.Guarded:
        return guarded.read()[self.label]


@pytest.fixture
def region(request: pytest.FixtureRequest) -> Callable[[str], Region]:
    return lambda settings: Region(request.node.name, settings)


def test_a_region_asks_for_its_checks(region: Callable[[str], Region], caplog: pytest.LogCaptureFixture) -> None:
    run = region("every: 3, tolerance: 0.1, metric: max")
    assert [run.due() for _ in range(6)] == [True, False, False, True, False, False]
    assert run.verify([0.0, 0.05])
    assert run.count() == (True, False)
    assert not run.verify([0.0, 0.6])
    assert [run.count() for _ in range(4)] == [(False, True), (False, True), (True, True), (False, True)]
    for closed in (False, False, True):
        assert run.verify([0.0, 0.05]) is closed
    assert not run.open()
    counts = run.counts
    assert (counts.open_calls, counts.checks.count, counts.checks.opened, counts.checks.closed) == (4, 5, 1, 1)
    assert counts.checks.largest == pytest.approx({"y": 0.6, "z": 0.0})
    assert [check.call for check in counts.checks.history[:2]] == [3, 6]
    assert [check.event for check in counts.checks.history] == [None, "opened", None, None, "closed"]
    assert [check.is_open for check in counts.checks.history] == [False, True, True, True, False]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert re.search("original code takes over .* inference 6 .* the max of 'y' is 0.6 .* metric: max", said[0])
    assert "right again" in said[1]


def test_what_is_wrong_in_one_check_is_not_used_in_that_call(region: Callable[[str], Region]) -> None:
    run = region("every: 1, tolerance: 0.1, metric: max")
    assert [run.verify([error]) for error in (0.0, 0.0, 0.15, 0.0)] == [True, True, False, True]
    assert not run.open()


def test_rejected_points_are_not_compared(region: Callable[[str], Region]) -> None:
    run = region("every: 1, tolerance: 0.1")
    assert run.verify([0.0, math.nan, 9.0], [0, 0, 7], mask=[0, 1, 4])
    assert run.counts.checks.largest == {"y": 0.0, "z": 0.0}
    assert run.verify([0.0, 0.05, 0.0], mask=[0, 0, 0])
    assert not run.verify([0.0, 0.0, 9.0], mask=[0, 1, 0])
    assert run.counts.checks.largest["y"] == pytest.approx(math.sqrt(81 / 2))
    with pytest.raises(HpacmlError, match=re.escape("output 'y' has the shape [3], and what it is compared with [2]")):
        run.verify([0.0, 0.0, 9.0], mask=[0, 1])


def test_a_check_without_points_says_nothing(region: Callable[[str], Region]) -> None:
    run = region("every: 1, tolerance: 0.1")
    assert run.verify([])
    assert run.verify([9.0], mask=[2])
    assert guarded.read() == {}
    assert not run.verify([9.0])
    assert not run.verify([])
    assert not run.verify([9.0], mask=[2])
    assert run.open()


def test_integers_that_are_not_finite_do_not_exist_and_floats_do(region: Callable[[str], Region]) -> None:
    run = region("every: 1, tolerance: 0.1, metric: max")
    assert run.verify([0.0], [0])
    assert not run.verify([0.0], [1])
    assert run.counts.checks.largest == {"y": 0.0, "z": 1.0}
    assert not run.verify([math.nan])
    assert run.counts.checks.largest["y"] == math.inf


def test_an_error_is_raised(region: Callable[[str], Region]) -> None:
    run = region("every: 1, tolerance: 0.1, metric: max, then: raise")
    assert run.verify([0.05])
    with pytest.raises(
        ModelError, match=r"the max of 'y' is 0.75 .*tolerance of verify\(.*then: raise\) 0.1; train it"
    ):
        run.verify([0.75])
    assert not run.open()
    assert run.verify([0.05])
    assert run.counts.checks.opened == 1


def test_a_warning_is_logged_once(region: Callable[[str], Region], caplog: pytest.LogCaptureFixture) -> None:
    run = region("every: 1, tolerance: 0.1, metric: max, then: warn")
    with caplog.at_level(logging.INFO, "hpacml"):
        assert [run.verify([error]) for error in (0.0, 9.0, 9.0, 0.0, 0.0, 0.0, 9.0)] == [True] * 7
    assert not run.open()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "the model is wrong, and stays in use" in said[0]
    assert "right again" in said[1]
    assert (run.counts.checks.opened, run.counts.checks.closed) == (2, 1)


def test_what_relative_errors_leave_out_is_said(
    region: Callable[[str], Region], caplog: pytest.LogCaptureFixture
) -> None:
    run = region("every: 1, tolerance: 0.1, metric: mape")
    assert run.verify([1.0, 2.0])  # all truths are 0: there is nothing to say of the model
    assert run.verify([1.0, 2.0])
    assert guarded.read() == {}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "leaves out 2 of 2 elements of 'y'" in said[0]
    assert "elements of 'z'" in said[1]


def test_checks_of_many_threads(region: Callable[[str], Region]) -> None:
    run, due = region("every: 5, tolerance: 0.1"), [0] * 8

    def work(thread: int) -> None:
        for _ in range(50):
            if run.due():
                due[thread] += 1
                run.verify([0.01 * thread])

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(due) == run.counts.checks.count == 80
    assert sorted(check.call for check in run.counts.checks.history) == list(range(0, 400, 5))
