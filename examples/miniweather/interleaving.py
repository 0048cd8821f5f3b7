"""Figure 9 of the paper: what becomes of the collision where a model takes the place of all steps, or of some."""

import copy
import csv
import json
from statistics import median
from time import perf_counter

import numpy as np

from ..devices import on_host
from . import plot

PATTERNS = {f"{original}:{model}": (original, model) for original, model in ((0, 1), (1, 3), (1, 1), (2, 1), (4, 1))}
"""Steps of the program, and those of the model behind them, over and over."""

ACCURATE, SURROGATE, HALF, PERSISTENCE = "accurate", "0:1", "1:1", "persistence"
SKIPPED = "1:1, every other step left out"
"""What 1:1 has to be better than: a model that changes nothing."""
SHOWN = {ACCURATE: "accurate", SURROGATE: "0:1, the surrogate alone", HALF: "1:1, every other step by the surrogate"}
"""The fields at the last step, and their titles."""
COMPARED = 1, 10
"""After so many steps of the model alone relative errors are shown."""
TURNS = 3
"""Each pattern is timed so often."""


def draw(begun, steps, folder, models):
    """Write the parts of the figure for the model that is best after a step: PNG, points as CSV, and figure9.json.

    All runs begin where the simulation `begun` is, which stays there. `models` are paths by names.
    """
    firsts = first_errors(begun, models)
    best = min(firsts, key=firsts.__getitem__)
    curves, fields, relative = follow(begun, steps, str(models[best]))
    seconds = times(begun, steps, str(models[best]))
    speedups = {name: seconds[ACCURATE] / seconds[name] for name in PATTERNS}
    quantiles = np.linspace(0, 1, 1001)
    parts = {
        "fields": {title: fields[name][plot.HEAT] for name, title in SHOWN.items()},
        "interleaving": {"step": range(1, steps + 1), **curves},
        "relative_error": {
            "part": quantiles,
            **{name: np.quantile(each, quantiles) for name, each in relative.items()},
        },
        "patterns": {
            "pattern": [*PATTERNS],
            "speed-up": [*speedups.values()],
            "rmse": [curves[name][-1] for name in PATTERNS],
        },
    }
    told = {
        "model": best,
        "rmse after a step": {**firsts, PERSISTENCE: curves[PERSISTENCE][0]},
        f"rmse after {steps} steps": {name: curve[-1] for name, curve in curves.items()},
        "speed-up": speedups,
        "80 % and 90 % of relative errors are below": {
            name: np.percentile(errors, [80, 90]).tolist() for name, errors in relative.items()
        },
        "finite": {name: bool(np.isfinite(field).all()) for name, field in fields.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "figure9.json"]
    files[0].write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for name, columns in parts.items():
        files += [folder / f"{name}.csv", folder / f"{name}.png"]
        _table(columns, files[-2])
        getattr(plot, name)(columns, files[-1])
    return files


def first_errors(begun, models):
    """The RMSE of each model after one step."""
    truth = Run(begun).step()
    return {name: rmse(Run(begun, str(path)).step(), truth) for name, path in models.items()}


def follow(begun, steps, model):
    """Take steps by all patterns. Gives RMSE after each of them, last states, and relative errors after `COMPARED`."""
    accurate, still = Run(begun), on_host(begun.state)
    runs = {name: Run(begun, model, pattern) for name, pattern in PATTERNS.items()}
    runs[SKIPPED] = Run(begun, unchanged, PATTERNS[HALF])
    curves = {name: [] for name in (*runs, PERSISTENCE)}
    relative = {}
    for step in range(1, steps + 1):
        truth = accurate.step()
        states = {**{name: run.step() for name, run in runs.items()}, PERSISTENCE: still}
        for name, state in states.items():
            curves[name].append(rmse(state, truth))
        if step in COMPARED:
            for name, state in (("surrogate", states[SURROGATE]), (PERSISTENCE, still)):
                relative[f"{name} after {step}"] = relative_errors(state, truth)
    return curves, {ACCURATE: truth, **states}, relative


def unchanged(state):
    """A model by which nothing ever changes."""
    return state.clone()


class Run:
    """A simulation that goes on from where another one is, by itself."""

    def __init__(self, begun, model=None, pattern=(0, 1)):
        self._simulation, self._model, self._pattern = copy.deepcopy(begun), model, pattern

    def step(self, steps=1):
        """Take steps; returns the state, [4, K, L], which the next ones change."""
        self._simulation.step(steps, self._model, pattern=self._pattern)
        return on_host(self._simulation.state)


def times(begun, steps, model):
    """The median seconds of so many steps, of the program alone and by all patterns, which take turns."""
    ways = {ACCURATE: (), **{name: (model, pattern) for name, pattern in PATTERNS.items()}}
    for way in ways.values():
        Run(begun, *way).step(2)
    seconds = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            run, start = Run(begun, *way), perf_counter()
            run.step(steps)
            seconds[name].append(perf_counter() - start)
    return {name: median(each) for name, each in seconds.items()}


def rmse(state, truth):
    """The root of the mean square of errors over all variables and cells, halos too: NaN where a state is."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean((state - truth) ** 2)))


def relative_errors(state, truth):
    """Errors by what is true, of all variables and cells in which that is not 0."""
    known = truth != 0
    with np.errstate(over="ignore", invalid="ignore"):
        return np.abs((state[known] - truth[known]) / truth[known])


def _table(columns, path):
    """Write columns as CSV; before those that are fields stand the numbers of row and column."""
    first = next(iter(columns.values()))
    if np.ndim(first) == 2:
        rows, places = np.indices(first.shape)
        columns = {"row": rows.ravel(), "column": places.ravel()} | {n: each.ravel() for n, each in columns.items()}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(each) for each in row] for row in zip(*columns.values(), strict=True))


def _cell(value):
    return f"{value:.6g}" if isinstance(value, float) else value
