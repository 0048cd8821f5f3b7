"""What a search leaves: tables of its trials, the front as a picture, and the models of the front."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hpacml.disk.whole_files import whole_file
from hpacml.runtime.models import trust
from hpacml.searching.frontier import Inner, Outer, front
from hpacml.searching.nested import Nested


def written(search: Nested, folder: Path, ended: str) -> list[dict[str, Any]]:
    """Write the files of a search, as far as it came, and give the trials of its front."""
    best = front(search.trials)
    models = _models(best, folder / "models")
    rows = [{**_row(search, trial), "model": models[trial.number]} for trial in best]
    networks = [_network(search, trial, each) for trial in search.trials for each in trial.inner]
    _write(folder / "front.csv", _table(map(_flat, rows)))
    _write(folder / "trials.csv", _table(map(_flat, networks)))
    failed = [{"trial": t.number, "failed": t.failed} for t in search.trials if t.failed is not None]
    told = {
        "plan": search.plan.model_dump(mode="json"),
        "ended": ended,
        "seconds": search.elapsed,
        "front": rows,
        "failed": failed,
        "trials": [_row(search, trial) for trial in search.trials if trial.objectives is not None],
    }
    _write(folder / "search.json", json.dumps(told, indent=2))
    _draw(search, best, folder / "front.png")
    return rows


def _row(search: Nested, trial: Outer) -> dict[str, Any]:
    """A finished trial, with the best of its networks."""
    assert trial.best is not None
    assert trial.timed is not None
    told = {name: value for name, value in trial.timed.items() if name != "failed"}
    return {
        "trial": trial.number,
        "architecture": search.values(trial),
        "hyperparameters": dict(trial.best.hyperparameters),
        "error": trial.best.error,
        **told,
        **{name: trial.best.result[name] for name in ("test", "remarks") if name in trial.best.result},
    }


def _network(search: Nested, trial: Outer, inner: Inner) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "network": inner.number,
        "architecture": search.values(trial),
        "hyperparameters": dict(inner.hyperparameters),
        "source": f"{trial.source}, {inner.source}",
        "error": inner.error,
        "seconds": inner.result.get("seconds"),
        "failed": inner.failed,
        "measured": trial.best is inner and trial.timed is not None,
    }


def _models(trials: Iterable[Outer], folder: Path) -> dict[int, str]:
    """Copy the models of the front, which are trusted if they were where they have been trained."""
    folder.mkdir(parents=True, exist_ok=True)
    copies: dict[int, str] = {}
    for trial in trials:
        assert trial.best is not None
        source = Path(trial.best.result["model"])
        copy = folder / f"{trial.number:04}{source.suffix}"
        with whole_file(copy) as part:
            shutil.copyfile(source, part)
        if trust.is_trusted(source):
            trust.trust(copy)
        copies[trial.number] = str(copy)
    for other in folder.iterdir():
        if str(other) not in copies.values():
            other.unlink()
    return copies


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose groups of settings are columns of their own."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("architecture", "hyperparameters"):
            flat |= value
        elif name not in ("test", "remarks"):
            flat[name] = value
    return flat


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    content = list(rows)
    columns = dict.fromkeys(name for row in content for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns))
    writer.writeheader()
    writer.writerows(content)
    return text.getvalue()


def _draw(search: Nested, best: list[Outer], path: Path) -> None:
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(7, 5), layout="constrained")
    axes: Any = figure.subplots()
    points = [trial.objectives for trial in search.trials if trial.objectives is not None]
    steps = [trial.objectives for trial in best if trial.objectives is not None]
    axes.scatter(*_columns(points), s=18, color="tab:grey", alpha=0.6, label="architectures")
    axes.plot(*_columns(steps), "o-", drawstyle="steps-post", color="tab:orange", label="front")
    accurate = [trial.timed["accurate"] for trial in best if trial.timed is not None and trial.timed["accurate"]]
    if accurate:
        axes.axvline(sorted(accurate)[len(accurate) // 2], color="tab:blue", linestyle=":", label="original code")
    if points:
        axes.set_xscale("log")
        axes.set_yscale("log" if all(point["error"] > 0 for point in points) else "linear")
    axes.set_xlabel("time of a call of the region, ms")
    axes.set_ylabel("validation error")
    axes.legend()
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=120)


def _columns(points: list[dict[str, float]]) -> tuple[list[float], list[float]]:
    return [point["time"] for point in points], [point["error"] for point in points]


def _write(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text)
