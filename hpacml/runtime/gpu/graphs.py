"""CUDA graphs: a call that only launches kernels and runs models is replayed when it repeats with the same memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpacml import environment
from hpacml.abi.records import RecordSite
from hpacml.runtime import checks
from hpacml.runtime.gpu import timing
from hpacml.runtime.gpu.device_call import Call, Use
from hpacml.runtime.reports import instruments

if TYPE_CHECKING:
    from hpacml.runtime.gpu.devices import Device
    from hpacml.runtime.gpu.flags import Flag

WARM = 3
"""The calls before one is captured: libraries initialise themselves in the first calls."""

MOST = 32
"""The most graphs that are kept of one kernel or region."""

IDLE = 16 * MOST
"""The calls of a kernel or region without a use of a graph, after which another graph may replace it.

Not sooner: if more kinds of calls than `MOST` took turns, each would be captured again each time.
"""

_log = logging.getLogger("hpacml")


def _wanted() -> bool:
    """Whether the environment turns graphs on. Raises `HpacmlError` for a value other than 0 and 1."""
    text = environment.CUDA_GRAPHS.text()
    if text not in ("0", "1"):
        raise environment.CUDA_GRAPHS.wrong(text, "it is 0, for no graphs, or 1")
    return text != "0"


@dataclass(slots=True)
class _Graph:
    replay: Callable[[], None]
    result: object
    uses: Sequence[Use]
    flag: Flag | None
    born: int
    """The number of the call for which it was captured."""
    used: int
    """The number of the call that used it last."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held in a replay: the driver launches no graph from two threads at once."""

    def run(self) -> None:
        with nullcontext() if self.flag is None else self.flag.used(), self.lock:
            self.replay()

    @property
    def valid(self) -> bool:
        """Whether the models are still those that were captured."""
        return all(use.holds() for use in self.uses)


class Graphs:
    """The graphs of one kernel or region, by everything on which its calls depend."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        """The number of calls so far."""
        self._calls: dict[Hashable, int] = {}
        """The calls of each kind that a graph could have replayed; a negative number delays the next capture."""
        self._graphs: dict[Hashable, _Graph] = {}
        self._given_up = False
        """Whether calls cannot be captured for another reason than a model."""

    def run(self, device: Device, key: Hashable, execute: Callable[[Call], object]) -> object:
        """Do the work of `execute`, by a graph if possible, and return its result. `key` is all on which it depends."""
        if self._given_up or not _wanted() or checks.chosen():  # checks use the host
            return execute(Call(device))
        self._count += 1
        stream = device.stream
        key = key, stream
        graph = self._graphs.get(key)
        if graph is not None and not graph.valid:
            self._drop(key, graph)
            graph = None
        if graph is None and self._calls.get(key, 0) >= WARM and self._has_room():
            graph = self._capture(device, stream, key, execute)
        if graph is not None:
            graph.used = self._count
            _replay(graph, device)
            return graph.result
        call = Call(device)
        result = execute(call)
        self._note(key, call)
        return result

    def _drop(self, key: Hashable, graph: _Graph) -> None:
        """Drop a graph. One that was never reused delays the next: models may take turns, or change in each call."""
        self._graphs.pop(key, None)
        self._calls[key] = -IDLE if graph.used == graph.born else 0

    def _has_room(self) -> bool:
        """Whether there is room for one more graph; an idle one makes room."""
        if len(self._graphs) < MOST:
            return True
        key, oldest = min(list(self._graphs.items()), key=lambda item: item[1].used)
        if self._count - oldest.used <= IDLE:
            return False
        self._drop(key, oldest)
        return True

    def _note(self, key: Hashable, call: Call) -> None:
        """Count a call that ran without a graph."""
        if not call.repeats:
            self._calls.pop(key, None)
            return
        if key not in self._calls and len(self._calls) > 16 * MOST:
            self._calls.clear()
        self._calls[key] = self._calls.get(key, 0) + 1

    def _capture(self, device: Device, stream: int, key: Hashable, execute: Callable[[Call], object]) -> _Graph | None:
        """Capture a call as a graph, without doing its work, and keep it; return None if that is impossible."""
        calls: list[Call] = []
        results: list[object] = []

        def run() -> None:
            calls.append(Call(device, capturing=True, home=stream))
            results.append(execute(calls[-1]))

        try:
            replay = device.capture(run)
        except Exception as error:  # a model may do anything; the call then runs as before
            self._give_up(calls[-1].uses if calls else ())
            reason = error.__context__ or error  # what failed inside the capture makes its end fail, too
            _log.warning("calls of %s cannot be replayed as a CUDA graph, and run as before: %s", self._name, reason)
            return None
        call = calls[-1]
        if not call.repeats:
            self._calls.pop(key, None)
            return None
        for use in call.uses:
            use.remember()
        now = self._count
        graph = self._graphs[key] = _Graph(replay, results[-1], tuple(call.uses), call.flagged, now, now)
        return graph

    def _give_up(self, uses: Sequence[Use]) -> None:
        """Capture no more calls with the model that cannot be captured, which is the one that ran last."""
        if uses:
            uses[-1].give_up()
        else:
            self._given_up = True


def _replay(graph: _Graph, device: Device) -> None:
    if not instruments.current.timing:
        graph.run()
        return
    start = device.event()
    graph.run()
    events = [start, device.event()]
    for use in graph.uses:
        site = RecordSite(use.label, "infer", ("replay",)).to_json().encode()
        timing.record(site, events, [0])
        events = [events[1], events[1]]  # all the time goes to the first of several regions
