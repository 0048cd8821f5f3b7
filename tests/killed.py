"""The processes of `test_kill.py`: one that has imported and compiled everything, and forks those that die.

`python -m tests.killed` reads a line of JSON for each process to be, and answers with one when it has ended:

    {"plan": "small", "path": FILE, "times": FILE, "end": "kill", "delay": 0.3, "environment": {...}, ...}

The process makes the calls of its plan as fast as it can. It writes into `times`, [regions + 1, most] float64 that it
shares with the reader, when each call has returned; the last row has when the first one began, and the end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

import hpacml
from hpacml import approx

MOST = 1_000_000
"""Calls of one region at most."""
PATIENCE = 60.0
"""Seconds after which a process that has not ended is said to hang."""

Row = Float64[np.ndarray, "N"]
State = Float64[np.ndarray, "V K L"]


@hpacml.kernel
def small(x: Row, y: Row, file: str, record: bool):
    n = len(x)
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(collect) in(one(x[0:n])) out(one(y[0:n])) database(file) label('small') if(record)"):
        for i in range(n):
            y[i] = 2.0 * x[i] + 1.0


@hpacml.kernel
def late(x: Row, y: Row, file: str, record: bool):
    n = len(x)
    approx("tensor functor(one: [i] = ([i]))")
    with approx("ml(collect) in(one(x[0:n])) out(one(y[0:n])) database(file) label('late') if(record)"):
        for i in range(n):
            y[i] = 2.0 * x[i] + 1.0


@hpacml.kernel
def ragged(x: Row, y: Row, file: str, record: bool):
    n = len(x)
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(collect) in(one(x[0:n])) out(one(y[0:n])) database(file) label('ragged') if(record)"):
        for i in range(n):
            y[i] = 2.0 * x[i] + 1.0


@hpacml.kernel
def weather(x: State, y: State, file: str, record: bool):
    V, K, L = x.shape
    approx("tensor functor(state: [v, k, i] = ([v, k, i]))")
    with approx("""ml(collect) in(state(x[0:V, 0:K, 0:L])) out(state(y[0:V, 0:K, 0:L]))
                   database(file) label('weather') if(record)"""):
        for v in range(V):
            for k in range(K):
                for i in range(L):
                    y[v, k, i] = 2.0 * x[v, k, i] + 1.0


@dataclass(frozen=True)
class Region:
    kernel: Any
    shape: tuple[int, ...]

    def inputs(self, calls: Any) -> np.ndarray:
        """The input of a call, or of an array of calls: its number, and in each element another fraction."""
        number = np.reshape(calls, (*np.shape(calls), *(1 for _ in self.shape)))
        return number + np.arange(np.prod(self.shape)).reshape(self.shape) / 2.0**20

    def rows(self, call: int) -> int:
        """How many rows of its input a call has: all, but for `ragged`, where calls differ after the first ones."""
        return self.shape[0] if self.kernel is not ragged or call < 40 else (call * 7) % 17


REGIONS = {
    "small": Region(small, (16,)),
    "late": Region(late, (300,)),
    "weather": Region(weather, (4, 54, 104)),
    "ragged": Region(ragged, (16,)),
}

PLANS = {
    "small": ("small",),
    "weather": ("weather",),
    "several": ("small", "weather", "late"),
    "ragged": ("ragged", "small"),
}
"""The regions of each plan, which take turns; `late` comes when the others have made as many calls as `late_after`."""


def times_of(path: str, mode: str) -> np.memmap:
    return np.memmap(path, np.float64, mode, shape=(len(REGIONS) + 1, MOST))


def work(order: dict[str, Any]) -> None:
    """Make calls until the end that was ordered, or until there are `calls` of each region."""
    os.environ.update(order["environment"])
    regions = [(row, name, REGIONS[name]) for row, name in enumerate(PLANS[order["plan"]])]
    outputs = {name: np.zeros(region.shape) for _, name, region in regions}
    inputs = {name: region.inputs(0) for _, name, region in regions}
    times = times_of(order["times"], "r+")
    first, most, late_after = order.get("first", {}), order["calls"], order.get("late_after", 0)
    made = dict.fromkeys(outputs, 0)
    times[-1, 0] = time.monotonic()
    end = time.monotonic() + order["delay"]
    while min(made.values()) < most:
        for row, name, region in regions:
            if name == "late" and made["small"] < late_after:
                continue
            number = first.get(name, 0) + made[name]
            rows = region.rows(number)
            x, y = inputs[name][:rows], outputs[name][:rows]
            x[...] = region.inputs(number)[:rows]
            region.kernel(x, y, order["path"], True)
            times[row, made[name]] = time.monotonic()
            made[name] += 1
            if rows and y.flat[-1] != 2.0 * x.flat[-1] + 1.0:
                raise AssertionError(f"{name} computes {y.flat[-1]} of {x.flat[-1]}")
        if order["end"] in ("exit", "raise") and time.monotonic() > end:
            break
    if order["end"] == "kill":
        time.sleep(60)  # until it comes
    times[-1, 1] = time.monotonic()
    if order["end"] == "exit":
        os._exit(0)
    if order["end"] == "raise":
        raise RuntimeError("an error of the application")


def wait_for(condition: Callable[[], Any]) -> Any:
    """What the condition gives when it is met; None if it is not within `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.0005)


def kill(child: int, times: np.ndarray, delay: float) -> None:
    """Kill a process, `delay` after its first call began."""
    wait_for(lambda: times[-1, 0])
    time.sleep(delay)
    times[-1, 1] = time.monotonic()
    os.kill(child, signal.SIGKILL)


def status_of(child: int) -> int | str:
    """The exit code of a process, whose end it waits for."""

    def ended() -> tuple[int, ...]:
        process, status = os.waitpid(child, os.WNOHANG)
        return (os.waitstatus_to_exitcode(status),) if process else ()

    if status := wait_for(ended):
        return status[0]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "it hangs"


def main() -> None:
    for region in REGIONS.values():
        region.kernel(np.zeros(region.shape), np.zeros(region.shape), "none.h5", False)
    import h5py  # noqa: F401

    while line := sys.stdin.readline():
        order = json.loads(line)
        times = times_of(order["times"], "w+")
        if not (child := os.fork()):
            if order["end"] == "raise":
                sys.excepthook = lambda *_: None
            work(order)
            return
        if order["end"] == "kill":
            kill(child, times, order["delay"])
        print(json.dumps({"status": status_of(child)}), flush=True)


if __name__ == "__main__":
    main()
