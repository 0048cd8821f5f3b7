"""The instruments of calls of regions: the measurement of times, and ranges for profilers.

Each choice of instruments has compiled code of its own, so an instrument that is off costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from time import perf_counter_ns
from typing import ParamSpec, TypeVar

from hpacml import environment
from hpacml.errors import HpacmlError
from hpacml.locks import Order, lock
from hpacml.runtime.reports import counters
from hpacml.runtime.reports.ranges import PROFILERS, Profiler, in_range, require

P = ParamSpec("P")
R = TypeVar("R")


class Instruments:
    """A choice of instruments, one object for each choice. `ranges` names the profiler for ranges, or is None."""

    __slots__ = ("ranges", "timing")

    def __init__(self, timing: bool, ranges: str | None):
        self.timing = timing
        self.ranges = ranges

    def around(self, name: Callable[P, str], function: Callable[P, R]) -> Callable[P, R]:
        """`function`, in a range if ranges are on; `name` makes the name of the range from the arguments."""
        if self.ranges is None:
            return function
        return in_range(self.ranges, name, function)

    def run_network(self, label: str, run: Callable[..., R], arguments: Sequence[object]) -> R:
        """Run the network of the region `label`, timed and in a range as chosen."""
        if self.ranges is not None:
            run = self.around(lambda *_: f"hpacml.forward {label}", run)
        if not self.timing:
            return run(*arguments)
        start = perf_counter_ns()
        returned = run(*arguments)
        counters.count_part(label, "forward", perf_counter_ns() - start)
        return returned

    def convert(self, label: str, part: str, convert: Callable[[], R], bytes: Callable[[], int]) -> R:
        """Convert tensors of an inference of the region `label` to other dtypes, timed as chosen.

        `bytes` tells how many bytes are written for another dtype; nothing is counted where that is 0.
        """
        if not self.timing or not (converted := bytes()):
            return convert()
        start = perf_counter_ns()
        returned = convert()
        counters.count_part(label, part, perf_counter_ns() - start, converted)
        return returned


_lock = lock(Order.COUNTING)
_choices: dict[tuple[bool, str | None], Instruments] = {}


def _choice(timing: bool, ranges: str | None) -> Instruments:
    return _choices.setdefault((timing, ranges), Instruments(timing, ranges))


listeners: list[Callable[[], None]] = []
"""Called when ranges are chosen, to wrap functions in them anew."""

OFF = _choice(False, None)
current = _choice(bool(environment.REPORT.text()), environment.RANGES.text() or None)
"""The instruments of the next call. Another module must read it as `instruments.current`."""

if current.timing:  # the variable may have been set since hpacml was imported
    import_module("hpacml.runtime.reports.report_file").write_at_exit()


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

    "torch" makes ranges of `torch.profiler`; "nvtx" makes those of NVIDIA's tools, by the package nvtx if that is
    installed, else by a Torch with CUDA. The environment variable HPACML_RANGES turns ranges on from the start, and
    logs an error if they are unavailable. Ranges are named `hpacml.kernel NAME` or `hpacml.region NAME`, and inside
    `hpacml.infer LABEL`, `hpacml.forward LABEL`, `hpacml.collect LABEL` and, of regions, `hpacml.body`. Gather and
    scatter have none: they are inside compiled code.

    Raises HpacmlError for an unknown or an unavailable profiler.
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
