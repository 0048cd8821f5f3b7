"""Measures the time of a region that a model computes, beside that of its original code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from hpacml.errors import ModelError, summary
from hpacml.evaluation.breakdown import difference
from hpacml.evaluation.clocks import rounds, timed
from hpacml.frontend.region import region
from hpacml.runtime.databases.reader import open_database
from hpacml.runtime.models.described import module_of
from hpacml.runtime.models.model import load
from hpacml.runtime.reports import instruments
from hpacml.runtime.reports.report import report
from hpacml.searching.places import imported, region_of

Call = Callable[[str | None], object]


@dataclass(frozen=True)
class Stopwatch:
    """Measures models, in the application if it has one, else in a region over recorded inputs.

    `application` is the place of a function that runs a region once, by the model in the file that it is given, or by
    the original code for None.
    """

    databases: str | list[str]
    region: str | None
    application: str | None
    repeats: int
    seconds: float
    threads: int

    def __call__(self, model: str) -> dict[str, Any]:
        """Measure a model: `time` and `accurate` are medians in milliseconds, `speedup` is that of pairs of calls.

        Without an application `accurate` is the median of the recorded times. `failed` is the error of what fails.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            return {**self._measured(model), "failed": None}
        except Exception as error:
            return {"failed": summary(error)}
        finally:
            torch.set_num_threads(threads)

    def _measured(self, model: str) -> dict[str, Any]:
        if self.application is None:
            run, recorded = recorded_region(self.databases, self.region, model)
            (times,) = self._interleaved(run)
            accurate, ratio = recorded, None if recorded is None else recorded / (1000 * median(times))
        else:
            call: Call = imported(self.application)
            _require_inference(lambda: call(model), self.application)
            times, others = self._interleaved(lambda: call(model), lambda: call(None))
            accurate = 1000 * median(others)
            ratio = median(other / mine for mine, other in zip(times, others, strict=True))
        return {"time": 1000 * median(times), "accurate": accurate, "speedup": ratio, "calls": len(times)}

    def _interleaved(self, *calls: Callable[[], object]) -> list[list[float]]:
        """The seconds of calls, which take turns."""
        for call in (*calls, calls[0]):  # what only the first calls do is not measured
            call()
        times: list[list[float]] = [[] for _ in calls]
        for order in rounds(range(len(calls)), self.repeats, self.seconds):
            for each in order:
                times[each].append(timed(calls[each])[1].wall)
        return times


def _require_inference(call: Callable[[], object], application: str) -> None:
    """Run once. Raises ModelError if no region has inferred, so that the time would be that of something else."""
    timing = instruments.current.timing
    instruments.timing(True)
    try:
        before = report()
        call()
        if not any(region.calls["infer"] for _, region in difference(report(), before)):
            raise ModelError(
                f"no region infers in the application {application}(model): have it run the region once by the model "
                "that it is given"
            )
    finally:
        instruments.timing(timing)


def recorded_region(
    databases: str | list[str], label: str | None, model: str
) -> tuple[Callable[[], object], float | None]:
    """A region that a model computes from the tensors of the first recorded call, and the median recorded milliseconds.

    Its functors are identities: it gathers and scatters tensors such as the model was trained with, but not from the
    arrays of the program.
    """
    with open_database(databases) as database:
        data = region_of(database, label)
        x, y = ([np.array(each.read(0, 1)[0]) for each in side] for side in (data.inputs, data.outputs))
        recorded = None if data.runtime is None else float(np.median(data.runtime.read(0, len(data))))
    network = load(model).network
    arrays = {**{f"x{k}": each for k, each in enumerate(x)}, **{f"y{k}": each for k, each in enumerate(y)}}
    function = _region_over(arrays)
    module = module_of(network)
    net = network.run if module is None else module
    return lambda: function(*arrays.values(), net), recorded


def _region_over(arrays: dict[str, Any]) -> Any:
    """A region that infers all arrays y0, y1 ... from all arrays x0, x1 ..., whole."""
    lines: list[str] = []
    applied: dict[str, list[str]] = {"x": [], "y": []}
    for name, array in arrays.items():
        symbols = ", ".join(f"i{k}" for k in range(array.ndim))
        lines.append(f"tensor functor(all_{name}: [{symbols}] = ([{symbols}]))")
        applied[name[0]].append(f"all_{name}({name}[{', '.join(f'0:{size}' for size in array.shape)}])")
    lines.append(f"ml(infer) in({', '.join(applied['x'])}) out({', '.join(applied['y'])}) model(net)")

    names: dict[str, Any] = {}
    exec(f"def recorded({', '.join(arrays)}, net): ...", names)
    return region("\n".join(lines))(names["recorded"])
