"""All that is measured of one application. Each part is a file of its own, so that a kill costs one part at most."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import hpacml
from benchmarks import kernels, machine

from ..resumable import digest, once, write
from ..workflow import Workflow
from . import collection, lines, original
from .measured import STAGES, Measured, Row

if TYPE_CHECKING:
    from hpacml.evaluation.outcome import Evaluation

MACHINE = "machine.json"


@dataclass(frozen=True)
class Effort:
    """How often things are measured.

    Each way to run has so many `trials`, of which the first are `dropped`, as long as `seconds` are not over. There are
    `pairs` of runs without and with collection, and `rounds` of kernels and C.
    """

    trials: int = 20
    dropped: int = 2
    seconds: float = 240.0
    pairs: int = 10
    rounds: int = 15


EFFORT = Effort()


def measure(work: Workflow, effort: Effort = EFFORT, fresh: bool = False) -> Measured:
    """Measure an application, with data and models that are made where they are not there; `fresh` measures anew."""
    from hpacml.evaluation.outcome import Evaluation

    experiment, models = work.experiment, work.models()
    here = {name: value for name, value in machine().items() if name in ("cpu", "cores", "torch")}
    origin = {**work.origin(), "machine": here}
    with_models = {**origin, "models": {name: digest(path) for name, path in models.items()}}

    def part(name: str, settings: Mapping[str, Any], make: Callable[[Path], object]) -> Path:
        path = work.folder / name
        once(path, settings, lambda: make(path), work.say, fresh)
        return path

    def numbers(name: str, settings: Mapping[str, Any], make: Callable[[], object]) -> Any:
        path = part(f"{name}.json", settings, lambda path: write(path, json.dumps(on_one_thread(make), indent=1)))
        return json.loads(path.read_text())

    def evaluation(path: Path) -> None:
        evaluate(work, models, effort).save(path)
        write(path / MACHINE, json.dumps(machine(), indent=1))

    settings = {**with_models, "database": digest(work.database), **asdict(effort)}
    evaluated = part("evaluation", settings, evaluation)
    found = Evaluation.load(evaluated)
    figures = experiment.figures and part("figures", with_models, lambda path: _draw(work, models, path))
    return Measured(
        name=experiment.name,
        title=experiment.title,
        quality=experiment.quality,
        metric=experiment.metric,
        networks=tuple(models),
        rows=rows(found, models),
        collection=numbers(
            "collection",
            {**origin, "pairs": effort.pairs},
            lambda: collection.measure(work.program, effort.pairs),
        ),
        original=numbers(
            "original",
            {**origin, "rounds": effort.rounds, "c": digest(kernels.SOURCES / f"{experiment.name}.c")},
            lambda: original.measure(experiment.name, effort.rounds),
        ),
        lines=lines.of(work.package / "app.py"),
        device=work.setup.device,
        machine=json.loads((evaluated / MACHINE).read_text()),
        trained=work.trained(),
        says=experiment.paper,
        verdict=found.verdict().splitlines(),
        notes=found.notes,
        figures=sorted(figures.iterdir()) if figures else (),
        has_figures=experiment.figures is not None,
    )


def evaluate(work: Workflow, models: Mapping[str, Path], effort: Effort, **options: Any) -> Evaluation:
    """Compare the accurate program with models and baselines, on inputs that no training has seen."""
    experiment = work.experiment
    return hpacml.evaluate(
        work.program,
        {name: str(path) for name, path in models.items()},
        truth=experiment.truth and experiment.truth(work.setup),
        metric=experiment.metric,
        baselines=experiment.baselines(work.setup, work.database),
        trials=effort.trials,
        dropped=effort.dropped,
        seconds=effort.seconds,
        **options,
    )


def rows(evaluation: Evaluation, models: Mapping[str, Path]) -> list[Row]:
    """The ways to run an application. Its own error is 0 where it is the truth; MAPE is in percent."""
    percent = 100 if evaluation.metric == "mape" else 1
    found = []
    for row in evaluation.rows:
        error = row.error(evaluation.metric)
        events = row.events if row.kind == "model" and row.events else {}
        found.append(
            Row(
                name=row.name,
                kind=row.kind,
                seconds=row.mean,
                speedup=row.speedup,
                paired=row.paired and row.paired.median,
                error=0.0 if row is evaluation.accurate and error is None else error and percent * error,
                engine=row.engine or None,
                note=None if row.engine_note.lower() in ("", row.engine) else row.engine_note,
                failed=row.failed,
                parameters=parameters(models[row.name]) if row.kind == "model" else None,
                stages={stage: events[stage] / 1e3 for stage in STAGES if stage in events},
            )
        )
    return found


def parameters(model: Path) -> int | None:
    """How many numbers a training has found in a model; None if it is in another format than torch.export's."""
    if model.suffix != ".pt2":
        return None
    return sum(each.numel() for each in torch.export.load(model).parameters())


def on_one_thread(call: Callable[[], Any]) -> Any:
    """Call a function while Torch and compiled loops have one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return call()
    finally:
        torch.set_num_threads(threads)


def _draw(work: Workflow, models: Mapping[str, Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    on_one_thread(lambda: work.experiment.figures(work.setup, folder, models))
