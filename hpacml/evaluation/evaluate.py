"""`hpacml.evaluate`: a program with its models beside itself and its baselines, on the same inputs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from hpacml.clauses import ENGINES
from hpacml.errors import HpacmlError
from hpacml.evaluation import quality as qualities
from hpacml.evaluation.breakdown import Breakdown, breakdown
from hpacml.evaluation.clocks import LEAST, Spread, rounds
from hpacml.evaluation.contestants import ACCURATE, Contestant
from hpacml.evaluation.measured import Row
from hpacml.evaluation.outcome import Evaluation
from hpacml.evaluation.quality import Quality
from hpacml.runtime.databases.runs import this_run
from hpacml.runtime.reports import instruments
from hpacml.training.scores import METRICS, Metric

File = str | os.PathLike[str]

TRUTH = "the truth"

PROFILED = 3
"""The runs in which regions are measured, behind one that is not."""


def evaluate(
    run: Callable[[Any], object],
    models: Mapping[str, Any] | File | Sequence[File] = (),
    truth: object = None,
    metric: Metric = "rmse",
    baselines: Mapping[str, Callable[[], object]] | None = None,
    engines: Sequence[str] = ("torch", "compiled"),
    trials: int = 20,
    dropped: int = 2,
    seconds: float | None = None,
    threads: int = 1,
    out: File | None = None,
) -> Evaluation:
    """Run a program by its original code, by each model under each engine, and baselines in its place; compare them.

    `run(model)` does all of the program on the same inputs, and returns the quality of interest, an array or arrays by
    name; `run(None)` is the accurate program. `models` are by name what `run` is given, such as a path or a module; of
    paths alone the stems are the names. `baselines` are functions without arguments that give the quality of interest.
    They take turns, `trials` times, of which the first `dropped` do not count; a trial begins in the first `seconds`
    only, but for so many that three count. Before the trials they run some more times, in which regions are measured.
    `engines` are what HPACML_ENGINE is set to for each model, and `threads` are those of Torch and of `prange`.

    Errors are against `truth`, by default what the accurate program gave first; `metric` is the one that ranks and is
    drawn. `out` is a folder to which the evaluation is written, see `Evaluation.save`.

    A model or baseline that fails has a row that says why. Raises HpacmlError for what cannot be compared, and whatever
    the accurate program raises.
    """
    _require(trials, dropped, threads, seconds, metric)
    contestants = list(_contestants(run, models, baselines or {}, engines))
    given = None if truth is None else qualities.copied(truth, TRUTH)
    if given is not None:
        qualities.require_finite(given, TRUTH)
    with _state(threads):
        began = time.perf_counter()
        _profile(contestants, None if seconds is None else seconds / 4)
        left = None if seconds is None else seconds - (time.perf_counter() - began)
        done = _run(contestants, given, trials, dropped, left)
    ended = "" if done == trials else f"ended after {done} of {trials} trials, as {seconds:g} s were over"
    evaluation = _outcome(contestants, given, metric, trials, dropped, threads, ended)
    if out is not None:
        evaluation.save(out)
    return evaluation


def _require(trials: int, dropped: int, threads: int, seconds: float | None, metric: str) -> None:
    if metric not in METRICS:
        raise HpacmlError(f"metric is one of {', '.join(METRICS)}, and this is {metric!r}")
    if dropped < 0 or trials <= dropped:
        raise HpacmlError(f"of {trials} trials the first {dropped} are dropped, which leaves none: ask for more trials")
    if threads < 1:
        raise HpacmlError(f"threads is 1 or more, and this is {threads}")
    if seconds is not None and not seconds > 0:
        raise HpacmlError(f"seconds is more than 0, or None for no limit, and this is {seconds}")


def _contestants(
    run: Callable[[Any], object],
    models: Mapping[str, Any] | File | Sequence[File],
    baselines: Mapping[str, Callable[[], object]],
    engines: Sequence[str],
) -> Iterator[Contestant]:
    named = _named(models)
    chosen = list(dict.fromkeys([engines] if isinstance(engines, str) else engines))
    if not named and not baselines:
        raise HpacmlError("there are no models and no baselines to compare the accurate program with: give some")
    if unknown := [engine for engine in chosen if engine not in ENGINES]:
        raise HpacmlError(f"engines are {', '.join(ENGINES)}, and one is {unknown[0]!r}")
    if named and not chosen:
        raise HpacmlError("engines is empty, so that no model would run: give 'torch', 'compiled' or both")
    names = [ACCURATE, *named, *baselines]
    if clash := next((name for name in names if names.count(name) > 1), None):
        raise HpacmlError(f"'{clash}' names two of those that are compared: give one another name")
    yield Contestant(ACCURATE, "accurate", "", lambda: run(None))
    for name, model in named.items():
        if model is None:
            raise HpacmlError(f"the model '{name}' is None, by which `run` is the accurate program: leave it out")
        for engine in chosen:
            yield Contestant(name, "model", engine, lambda model=model: run(model))
    for name, function in baselines.items():
        if not callable(function):
            raise HpacmlError(f"the baseline '{name}' is a {type(function).__name__}, not a function")
        yield Contestant(name, "baseline", "", function)


def _named(models: Mapping[str, Any] | File | Sequence[File]) -> dict[str, Any]:
    if isinstance(models, Mapping):
        return dict(models)
    paths = [models] if isinstance(models, (str, os.PathLike)) else list(models)
    found: dict[str, Any] = {}
    for path in paths:
        if not isinstance(cast(object, path), (str, os.PathLike)):
            raise HpacmlError(f"a model is a {type(path).__name__}: give models by names, as in {{'mlp': module}}")
        if not os.path.exists(path):
            raise HpacmlError(f"there is no model '{os.fspath(path)}'")
        stem = Path(path).stem
        if stem in found:
            raise HpacmlError(f"two models are named '{stem}': give models by names, as in {{'{stem}': path}}")
        found[stem] = os.fspath(path)
    return found


@contextmanager
def _state(threads: int) -> Generator[None]:
    """Have so many threads, and what is set of timing and threads as it was at the end."""
    before, timing = torch.get_num_threads(), instruments.current.timing
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        instruments.timing(timing)


def _profile(contestants: Sequence[Contestant], seconds: float | None) -> None:
    """Run with regions measured: what that takes is in no trial."""
    instruments.timing(True)
    for order in rounds(contestants, 1 + PROFILED, seconds, least=2):
        for each in order:
            each.profile()


def _run(
    contestants: Sequence[Contestant], truth: Quality | None, trials: int, dropped: int, seconds: float | None
) -> int:
    """Have them take turns, and tell how many trials these were."""
    instruments.timing(False)
    for order in rounds(contestants, trials, seconds, least=dropped + LEAST):
        for each in order:
            each.take_turn()
            _check(each, contestants[0], truth)
    return len(contestants[0].turns)


def _check(contestant: Contestant, accurate: Contestant, truth: Quality | None) -> None:
    """Refuse arrays that cannot be compared as soon as they are there."""
    quality = contestant.quality
    if quality is None or len(contestant.turns) != 1:
        return
    if truth is not None:
        qualities.require_alike(quality, truth, contestant.title, TRUTH)
    elif contestant is accurate:
        qualities.require_finite(quality, "the accurate result")
    else:
        assert accurate.quality is not None
        qualities.require_alike(quality, accurate.quality, contestant.title, "the accurate result")


def _outcome(
    contestants: Sequence[Contestant],
    truth: Quality | None,
    metric: Metric,
    trials: int,
    dropped: int,
    threads: int,
    ended: str,
) -> Evaluation:
    accurate = contestants[0]
    right = truth or accurate.quality
    assert right is not None
    details = {id(each): breakdown(each.profiled[1:]) for each in contestants if each.failed is None}
    rows = tuple(
        _row(each, accurate, None if each is accurate and truth is None else right, dropped, details.get(id(each)))
        for each in contestants
    )
    notes = [note for each in contestants if each.failed is None for note in _notes(each, details[id(each)], threads)]
    told = asdict(this_run())
    return Evaluation(
        rows,
        metric,
        "accurate" if truth is None else "given",
        len(accurate.turns),
        dropped,
        threads,
        ended,
        (*filter(None, [ended]), *notes),
        {name: told[name] for name in ("command", "host", "hpacml", "torch", "python")},
    )


def _row(
    contestant: Contestant, accurate: Contestant, truth: Quality | None, dropped: int, detail: Breakdown | None
) -> Row:
    if contestant.failed is not None or detail is None:
        return Row(contestant.name, contestant.kind, contestant.engine, failed=contestant.failed)
    assert contestant.quality is not None
    mine, other = contestant.turns[dropped:], accurate.turns[dropped:]
    return Row(
        contestant.name,
        contestant.kind,
        contestant.engine,
        tuple(turn.wall for turn in mine),
        tuple(turn.cpu for turn in mine),
        sum(turn.wall for turn in other) / sum(turn.wall for turn in mine),
        Spread.of([theirs.wall / own.wall for theirs, own in zip(other, mine, strict=True)]),
        None if truth is None else qualities.score(contestant.quality, truth),
        qualities.not_finite(contestant.quality),
        detail.events,
        detail.shares,
        _engine_note(contestant, detail),
    )


def _engine_note(contestant: Contestant, detail: Breakdown) -> str:
    """What computed the regions, as the report has it, and where that was the original code."""
    if contestant.kind != "model":
        return detail.engine_note
    notes = [detail.engine_note] if detail.engine_note else []
    if detail.fallbacks:
        notes.append(f"the original code in place of the model in {detail.fallbacks} of {detail.inferred} calls")
    if detail.bodies:
        notes.append(f"the original code in {detail.bodies} of {detail.bodies + detail.inferred} calls")
    return "; ".join(notes) or "no region inferred"


def _notes(contestant: Contestant, detail: Breakdown, threads: int) -> Iterator[str]:
    """What is not as one would think."""
    title = contestant.title
    if contestant.varies:
        yield (
            f"{title} gave other results in later trials, by up to {contestant.varies:.3g}: errors are those of the "
            "first"
        )
    if detail.collected:
        yield f"{title} collects data in {detail.collected} calls of regions, which is part of its time"
    if contestant.kind == "accurate" and detail.inferred:
        yield f"{title} infers in {detail.inferred} calls of regions: it is not the original code"
    if contestant.kind == "model":
        if not detail.inferred:
            yield f"{title} infers in no call of a region: does `run` use the model that it is given?"
        if contestant.fallbacks:
            yield f"{title} failed {contestant.fallbacks} times, in which the original code ran: its time is no model's"
        if contestant.engine != "auto" and detail.engines and detail.engines != frozenset([contestant.engine]):
            yield f"{title} was computed by {' and '.join(sorted(detail.engines))}, whatever was asked for"
    if contestant.quality is not None and (count := qualities.not_finite(contestant.quality)):
        total = sum(array.size for array in contestant.quality.values())
        yield f"{title} gives {count} of {total} numbers that are NaN or infinite"
    wall, cpu = (sum(getattr(turn, clock) for turn in contestant.turns) for clock in ("wall", "cpu"))
    if cpu > 1.25 * threads * wall:
        yield f"{title} used {cpu / wall:.2g} cores, more than {threads}: limit the threads of all its libraries"
