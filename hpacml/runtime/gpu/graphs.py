"""CUDA graphs: a call that launched kernels and ran models, and comes again with the same memory, is replayed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpacml.runtime import checks, instruments
from hpacml.runtime.gpu import timing
from hpacml.runtime.gpu.call import Call, Use

if TYPE_CHECKING:
    from hpacml.runtime.gpu.device import Device
    from hpacml.runtime.gpu.flags import Flag

VARIABLE = "HPACML_CUDA_GRAPHS"

WARM = 3
"""Calls before one is captured: libraries prepare themselves in the first ones."""

MOST = 32
"""Graphs that are kept of one kernel or region, each with memory of its own; the one used longest ago goes."""

_log = logging.getLogger("hpacml")


@dataclass(frozen=True, slots=True)
class _Graph:
    replay: Callable[[], None]
    result: object
    uses: Sequence[Use]
    flag: Flag | None

    def run(self) -> None:
        with nullcontext() if self.flag is None else self.flag.used():
            self.replay()

    @property
    def valid(self) -> bool:
        """Whether the models are those that were captured."""
        return all(use.holds() for use in self.uses)


class Graphs:
    """The graphs of one kernel or region, by what its calls depend on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: dict[Hashable, int] = {}
        """How many calls of a kind were like those that can be captured; negative if that has failed."""
        self._graphs: dict[Hashable, _Graph] = {}

    def run(self, device: Device, key: Hashable, execute: Callable[[Call], object]) -> object:
        """What `execute` returns, now or when it was captured; what it does is done. `key` decides what that is."""
        # A graph that somebody makes has this call in it; and checks need the host.
        if os.environ.get(VARIABLE) == "0" or device.capturing or checks.chosen():
            return execute(Call(device))
        stream = device.stream
        key = key, stream
        if (graph := self._graphs.pop(key, None)) is not None:
            if graph.valid:
                self._graphs[key] = graph  # the last one is the one used last
                _replay(graph, device)
                return graph.result
            self._calls.pop(key, None)
        if self._calls.get(key, 0) >= WARM and self._capture(device, stream, key, execute):
            _replay(self._graphs[key], device)
            return self._graphs[key].result
        call = Call(device)
        result = execute(call)
        self._count(key, call)
        return result

    def _count(self, key: Hashable, call: Call) -> None:
        calls = self._calls.get(key, 0)
        if calls < 0:
            return
        if not call.repeats:
            self._calls.pop(key, None)
            return
        if key not in self._calls and len(self._calls) > 16 * MOST:
            self._calls.clear()
        self._calls[key] = calls + 1

    def _capture(self, device: Device, stream: int, key: Hashable, execute: Callable[[Call], object]) -> bool:
        """Keep what a call does as a graph, if that is possible. Nothing is done by it."""
        results: list[object] = []
        call: Call | None = None

        def run() -> None:
            nonlocal call
            call = Call(device, capturing=True, home=stream)
            results.append(execute(call))

        try:
            replay = device.capture(run)
        except Exception as error:  # whatever a model does that cannot be captured; the call is run as ever
            self._calls[key] = -1
            reason = error.__context__ or error  # the end of a capture fails for what has failed in it
            _log.warning("calls of %s cannot be replayed as a CUDA graph, and run as before: %s", self._name, reason)
            return False
        if call is None or not call.repeats:
            self._calls.pop(key, None)
            return False
        while len(self._graphs) >= MOST:
            self._graphs.pop(next(iter(self._graphs)))
        self._graphs[key] = _Graph(replay, results[0], tuple(call.uses), call.flagged)
        return True


def _replay(graph: _Graph, device: Device) -> None:
    if not instruments.current.timing:
        graph.run()
        return
    start = device.event()
    graph.run()
    events = [start, device.event()]
    for use in graph.uses:
        site = json.dumps({"label": use.label, "way": "infer", "stages": ["replay"]}).encode()
        timing.record(site, events, [0])
        events = [events[1], events[1]]  # the time is that of one of several regions
