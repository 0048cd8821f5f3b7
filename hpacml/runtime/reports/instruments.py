"""What accompanies calls of regions: the measurement of their times, and ranges for profilers.

Compiled code is made for one choice of instruments and kept for each of them, so what is off costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import ParamSpec, TypeVar

from hpacml import environment
from hpacml.errors import HpacmlError
from hpacml.runtime.reports import counters
from hpacml.runtime.reports.ranges import PROFILERS, Profiler, in_range, require

P = ParamSpec("P")
R = TypeVar("R")


class Instruments:
    """A choice; there is one object of each. `ranges` is the profiler that they are for, or None."""

    __slots__ = ("ranges", "timing")

    def __init__(self, timing: bool, ranges: str | None):
        self.timing = timing
        self.ranges = ranges

    def around(self, name: Callable[P, str], function: Callable[P, R]) -> Callable[P, R]:
        """`function` in a range, if those are on, of the name that `name` makes of the arguments."""
        if self.ranges is None:
            return function
        return in_range(self.ranges, name, function)

    def run_network(self, label: str, run: Callable[..., R], arguments: Sequence[object]) -> R:
        """Run the network of the region `label`."""
        if self.ranges is not None:
            run = self.around(lambda *_: f"hpacml.forward {label}", run)
        if not self.timing:
            return run(*arguments)
        start = perf_counter_ns()
        returned = run(*arguments)
        counters.count_forward(label, perf_counter_ns() - start)
        return returned


_lock = threading.Lock()
_choices: dict[tuple[bool, str | None], Instruments] = {}


def _choice(timing: bool, ranges: str | None) -> Instruments:
    return _choices.setdefault((timing, ranges), Instruments(timing, ranges))


listeners: list[Callable[[], None]] = []
"""Called when ranges are chosen, by whoever has functions in them."""

OFF = _choice(False, None)
current = _choice(bool(environment.REPORT.text()), environment.RANGES.text() or None)
"""What the next call goes with. Another module must read it as `instruments.current`."""


def timing(on: bool = True) -> None:
    """Measure all calls of regions from now on, or with `False` no longer; `hpacml.report()` tells what was measured.

    It holds for all threads and from each region's next call, which is compiled anew the first time. A measured call
    takes some tenths of a microsecond more, others nothing. The environment variable `HPACML_REPORT=FILE` turns
    measurement on from the start, and writes the report as JSON when the process ends.
    """
    global current
    with _lock:
        current = _choice(bool(on), current.ranges)


def ranges(profiler: Profiler | None) -> None:
    """Mark the calls of regions in the timeline of a profiler from now on, or with None no longer.

    "torch" makes ranges of `torch.profiler`; "nvtx" makes those of NVIDIA's tools, and needs a Torch with CUDA. So does
    the environment variable HPACML_RANGES from the start; where they are not to be had then, that is logged. Ranges
    are named `hpacml.kernel NAME` or `hpacml.region NAME`, and inside `hpacml.infer LABEL`, `hpacml.forward LABEL`,
    `hpacml.collect LABEL` and, of regions, `hpacml.body`. Gather and scatter have none: they are inside compiled code.

    Raises HpacmlError for another profiler, or one that is not to be had.
    """
    global current
    if profiler is not None:
        if profiler not in PROFILERS:
            raise HpacmlError(f"ranges are for 'nvtx', 'torch' or None, and this is {profiler!r}")
        require(profiler)
    with _lock:
        current = _choice(current.timing, profiler)
    for listener in listeners:
        listener()
