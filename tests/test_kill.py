"""A process that collects dies at any moment; what it had committed is whole.

Each round starts a process of `tests/killed.py`, which makes calls as fast as it can, and ends it after a random time:
by SIGKILL, by `os._exit`, or by an exception that nothing catches. Then its file opens with plain h5py, passes
`hpacml db check`, and holds the first calls of each region in order; those that are missing returned less than
HPACML_DB_FLUSH and `SLACK` before the end, or after an exception there are none. Another process goes on with the file.

HPACML_KILL_ROUNDS sets the number of rounds.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.tools.check import check_region
from tests import killed

h5py = pytest.importorskip("h5py")

ROUNDS = int(os.environ.get("HPACML_KILL_ROUNDS", "20"))

SLACK = 1.0
"""Seconds that a call may be missing beyond HPACML_DB_FLUSH: the commit itself, and processors that others use."""

FLUSHES = ("0.2", "50 calls", "0.05", "1 calls")
ENDS = ("kill", "kill", "kill", "exit", "raise")
DELAYS = (0.002, 0.02, 0.2, 1.2)
"""The longest of each kind of round; the first are to hit the making of the file."""

CALLS = {"small": 200_000, "weather": 400, "several": 200, "ragged": 100_000}
"""So many calls make some 100 MB at most. A process that has made them is idle until its end."""


class Zygote:
    """The process that forks the others."""

    def __init__(self, folder: Path):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._times = folder / "times"

    def run(self, **order: Any) -> tuple[int, np.ndarray]:
        """The exit code of a process, and the times that it told."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**order, "times": str(self._times)}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks has died"
        return json.loads(answer)["status"], killed.times_of(str(self._times), "r")

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("killed"))
    yield zygote
    zygote.close()


def returned(times: np.ndarray) -> int:
    """How many calls of a region have returned."""
    return int(np.argmin(times != 0))


def open_when_committed(path: Path) -> Any:
    """The file opened by plain h5py. A commit in which the process was killed is finished first, with a lock."""
    end = time.monotonic() + SLACK
    while True:
        try:
            return h5py.File(path)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.002)


def require_whole(path: Path) -> None:
    """Plain h5py opens the file, and `hpacml db check` has no complaint."""
    with open_when_committed(path) as file:
        for group in file.values():
            calls = {name: len(dataset) for name, dataset in group.items() if name not in ("runs", "varying")}
            later = len(group["varying/input_shapes"]) if "varying" in group else 0
            assert len({count + later * (name != "runtime") for name, count in calls.items()}) == 1
    with hpacml.open_database(path) as database:
        for region in database.values():
            problems, _ = check_region(database, region, False)
            assert not problems


def collected(path: Path) -> dict[str, int]:
    """The number of calls of each region, which are the first ones in order, each with its own output."""
    counts = {}
    with h5py.File(path) as file:
        for label, group in file.items():
            region, count = killed.REGIONS[label], len(group["runtime"])
            for start in range(0, len(group["input"]), 256):
                x, y = (group[name][start : start + 256].reshape(-1, *region.shape) for name in ("input", "output"))
                np.testing.assert_array_equal(x, region.inputs(np.arange(start, start + len(x))))
                np.testing.assert_array_equal(y, 2.0 * x + 1.0)
            if "varying" in group:
                require_varying(group["varying"], region, len(group["input"]), count)
            runtime = group["runtime"][()]
            assert np.isfinite(runtime).all()
            assert (runtime >= 0).all()
            counts[label] = count
    return counts


def require_varying(group: Any, region: killed.Region, first: int, last: int) -> None:
    """The calls from `first` on, which differ in their rows, are those with these numbers."""
    rows = [region.rows(call) for call in range(first, last)]
    for name in ("input", "output"):
        assert group[f"{name}_offsets"][()].tolist() == [0, *itertools.accumulate(rows)]
        assert group[f"{name}_shapes"][()].tolist() == [[each, 1] for each in rows]
    x, y = (group[name][:, 0] for name in ("input", "output"))
    numbers = zip(range(first, last), rows, strict=True)
    np.testing.assert_array_equal(x, np.concatenate([region.inputs(call)[:each] for call, each in numbers]))
    np.testing.assert_array_equal(y, 2.0 * x + 1.0)


def missing_since(flush: str, times: np.ndarray, end: float) -> int:
    """The first of the calls that may be missing at the end."""
    count = returned(times)
    number, _, calls = flush.partition(" ")
    seconds = SLACK if calls else SLACK + float(number)
    recent = int(np.searchsorted(times[:count], end - seconds))
    return min(recent, count - int(number)) if calls else recent


def orders() -> Iterator[dict[str, Any]]:
    """What the rounds do. All plans, ends and delays meet each other in time."""
    plans = list(killed.PLANS)
    for number in itertools.count():
        chance = random.Random(number)
        plan = plans[number % len(plans)]
        yield {
            "plan": plan,
            "end": ENDS[number % len(ENDS)],
            "delay": chance.uniform(0, DELAYS[number % len(DELAYS)]),
            "calls": CALLS[plan],
            "late_after": chance.randrange(100),
            "flush": chance.choice(FLUSHES),
        }


ORDERS = list(itertools.islice(orders(), ROUNDS))


@pytest.mark.slow
@pytest.mark.parametrize(
    "order", ORDERS, ids=[f"{number}-{order['plan']}-{order['end']}" for number, order in enumerate(ORDERS)]
)
def test_what_was_committed_is_whole(order: dict[str, Any], zygote: Zygote, tmp_path: Path) -> None:
    path, flush = tmp_path / "d.h5", order["flush"]
    common = {"plan": order["plan"], "path": str(path), "environment": {"HPACML_DB_FLUSH": flush}}
    status, times = zygote.run(**{**order, **common})
    assert status == {"kill": -9, "exit": 0, "raise": 1}[order["end"]]
    names = killed.PLANS[order["plan"]]
    told = {name: times[row] for row, name in enumerate(names) if returned(times[row])}
    counts = {}
    if path.exists() or told:
        require_whole(path)
        counts = collected(path)
    for name, row in told.items():
        count = counts.get(name, 0)
        # One more has been collected if its process died before it could tell.
        assert count <= returned(row) + 1
        if order["end"] == "raise":
            assert count == returned(row)
        else:
            assert count >= missing_since(flush, row, times[-1, 1])

    status, _ = zygote.run(**common, end="none", delay=0, calls=3, first=counts)
    assert status == 0
    require_whole(path)
    assert collected(path) == {name: counts.get(name, 0) + 3 for name in names}
    with hpacml.open_database(path) as database:
        for name in names:
            assert database[name].runs[-1].first_call == counts.get(name, 0)
    path.unlink()
