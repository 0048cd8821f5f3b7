"""CUDA graphs: a call that launched kernels and ran models, and comes again with the same memory, is replayed."""

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
"""Calls before one is captured: libraries prepare themselves in the first ones."""

MOST = 32
"""Graphs that are kept of one kernel or region."""

IDLE = 16 * MOST
"""Calls of a kernel or region without a use of a graph, after which it makes room for another.

It does not sooner: where more kinds of calls than `MOST` take turns, each would be captured again each time.
"""

_log = logging.getLogger("hpacml")


def _wanted() -> bool:
    """Whether the environment has graphs on. Raises `HpacmlError` for what says neither."""
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
    """The number of the call that it was captured for."""
    used: int
    """The number of the call that used it last."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """The driver launches no graph from two threads at once."""

    def run(self) -> None:
        with nullcontext() if self.flag is None else self.flag.used(), self.lock:
            self.replay()

    @property
    def valid(self) -> bool:
        """Whether the models are those that were captured."""
        return all(use.holds() for use in self.uses)


class Graphs:
    """The graphs of one kernel or region, by what its calls depend on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        """Of the calls."""
        self._calls: dict[Hashable, int] = {}
        """How many calls of a kind were like those that can be captured; below 0 they have to wait for longer."""
        self._graphs: dict[Hashable, _Graph] = {}
        self._given_up = False
        """Whether a call cannot be captured, and no model is to blame."""

    def run(self, device: Device, key: Hashable, execute: Callable[[Call], object]) -> object:
        """What `execute` returns, now or when it was captured; what it does is done. `key` decides what that is."""
        if self._given_up or not _wanted() or checks.chosen():  # checks need the host
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
        """A graph that was of no use has the next one wait: models may take turns, or be changed in each call."""
        self._graphs.pop(key, None)
        self._calls[key] = -IDLE if graph.used == graph.born else 0

    def _has_room(self) -> bool:
        """Whether there may be one more graph; one that is idle makes room."""
        if len(self._graphs) < MOST:
            return True
        key, oldest = min(list(self._graphs.items()), key=lambda item: item[1].used)
        if self._count - oldest.used <= IDLE:
            return False
        self._drop(key, oldest)
        return True

    def _note(self, key: Hashable, call: Call) -> None:
        """Count a call that was run."""
        if not call.repeats:
            self._calls.pop(key, None)
            return
        if key not in self._calls and len(self._calls) > 16 * MOST:
            self._calls.clear()
        self._calls[key] = self._calls.get(key, 0) + 1

    def _capture(self, device: Device, stream: int, key: Hashable, execute: Callable[[Call], object]) -> _Graph | None:
        """Keep what a call does as a graph, if that is possible. Nothing is done by it."""
        calls: list[Call] = []
        results: list[object] = []

        def run() -> None:
            calls.append(Call(device, capturing=True, home=stream))
            results.append(execute(calls[-1]))

        try:
            replay = device.capture(run)
        except Exception as error:  # whatever a model does that cannot be captured; the call is run as ever
            self._give_up(calls[-1].uses if calls else ())
            reason = error.__context__ or error  # the end of a capture fails for what has failed in it
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
        """Capture no more calls with the model that has failed to be; it is the one that ran last."""
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
        events = [events[1], events[1]]  # the time is that of one of several regions
