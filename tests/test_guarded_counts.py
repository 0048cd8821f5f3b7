"""The counters of guards, checks, bounds and projections, by themselves."""

import itertools
import logging
import math
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from hpacml.runtime.reports import guarded
from hpacml.runtime.reports.guarded import Check, Checks

OUTSIDE, FAR, ELSEWHERE, UNSURE = guarded.REASONS


@pytest.fixture(autouse=True)
def begun_anew() -> Iterator[None]:
    guarded.read(reset=True)
    yield
    guarded.read(reset=True)


def test_points_by_reason() -> None:
    guarded.note_points("r", 10, {})
    guarded.note_points("r", 10, {OUTSIDE: 2, OUTSIDE | ELSEWHERE: 3, UNSURE: 1})
    guarded.note_points("r", 4, {FAR: 4})
    region = guarded.read()["r"]
    assert (region.calls, region.points, region.rejected, region.whole_calls) == (3, 24, 10, 1)
    assert region.reasons == {"range": 5, "where": 3, "below": 1, "distance": 4}


def test_points_that_pass_and_are_not_used() -> None:
    guarded.note_points("r", 10, {OUTSIDE: 2})
    guarded.note_points("other", 10, {})
    guarded.note_unused("r", "failure")
    guarded.note_unused("r", "failure")  # a region without another look at its points
    guarded.note_points("r", 5, {})
    thread = threading.Thread(target=guarded.note_unused, args=("r", "check"))
    thread.start()
    thread.join()
    assert guarded.read()["r"].rejected == 10
    guarded.note_unused("r", "check")
    region = guarded.read()["r"]
    assert (region.points, region.rejected) == (15, 15)
    assert region.reasons == {"range": 2, "failure": 8, "check": 5}
    assert guarded.read()["other"].rejected == 0
    guarded.note_unused("unknown", "check")
    assert "unknown" not in guarded.read()


def test_what_is_read_does_not_change_and_reset_begins_anew() -> None:
    guarded.note_points("r", 10, {OUTSIDE: 1})
    before = guarded.read()["r"]
    guarded.note_points("r", 10, {OUTSIDE: 1})
    guarded.note_check("r", Check(0, {"y": 1.0}), "rmse", 0.1)
    assert (before.points, before.checks.count) == (10, 0)
    assert guarded.read(reset=True)["r"].points == 20
    assert guarded.read() == {}


def test_no_thread_loses_a_count() -> None:
    def work() -> None:
        for _ in range(500):
            guarded.note_points("r", 3, {OUTSIDE: 1})
            guarded.note_clipped("r", "y", 2)
            guarded.note_open_call("r")
            guarded.note_projected("r")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    region = guarded.read()["r"]
    assert (region.points, region.rejected, region.open_calls, region.projected) == (12000, 4000, 4000, 4000)
    assert region.clipped == {"y": 8000}


def test_a_child_counts_from_zero() -> None:
    guarded.note_points("r", 3, {OUTSIDE: 1})
    child = os.fork()
    if child == 0:
        guarded.note_points("r", 5, {})
        os._exit(guarded.read()["r"].points)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    assert guarded.read()["r"].points == 3


def test_the_log_has_one_line_for_the_first_of_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hpacml"):
        for _ in range(3):
            guarded.note_points("once", 10, {})
            guarded.note_points("once", 10, {OUTSIDE: 2})
            guarded.note_points("once", 10, {OUTSIDE | UNSURE: 2})
            guarded.note_clipped("once", "y", 0)
            guarded.note_clipped("once", "y", 1)
            guarded.note_projected("once")
            guarded.read(reset=True)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4
    assert "guard(range) of the region 'once'" in said[0]
    assert "2 of 10" in said[0]
    assert "guard(below)" in said[1]
    assert "clip(...)" in said[2]
    assert "1 number of the output 'y'" in said[2]
    assert "project(...)" in said[3]


@pytest.mark.parametrize("count", [1, guarded.MOST_CHECKS, guarded.MOST_CHECKS + 1, 10 * guarded.MOST_CHECKS + 7])
def test_a_long_history_keeps_the_worst_checks(count: int) -> None:
    checks = Checks()
    worst, opening = count // 3, count // 2
    for n in range(count):
        event = "opened" if n == opening and n != worst else None
        checks.add(Check(n, {"y": 99.0 if n == worst else 1 / (2 + n)}, event=event))
    assert checks.count == count
    assert len(checks.history) <= guarded.MOST_CHECKS
    assert checks.each * guarded.MOST_CHECKS >= count > (checks.each // 2) * guarded.MOST_CHECKS - checks.each
    calls = [check.call for check in checks.history]
    assert calls == sorted(calls)
    assert worst in calls
    assert opening in calls
    assert all(b - a < 2 * checks.each for a, b in itertools.pairwise(calls))
    assert math.ceil(count / checks.each) == len(calls)
    assert checks.last is not None
    assert checks.last.call == count - 1
    assert checks.largest == {"y": 99.0}
