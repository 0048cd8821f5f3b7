"""`hpacml.evaluate`: a program with its models beside itself and its baselines, on the same inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from hpacml.errors import HpacmlError
from hpacml.evaluation import quality as qualities
from hpacml.evaluation.breakdown import Breakdown, breakdown
from hpacml.evaluation.clocks import LEAST, Spread, rounds
from hpacml.evaluation.contestants import Contestant
from hpacml.evaluation.lineup import File, Models, contestants_of
from hpacml.evaluation.measured import Row
from hpacml.evaluation.outcome import Evaluation
from hpacml.evaluation.quality import Quality
from hpacml.evaluation.remarks import disturbed, engine_note, general, remarks
from hpacml.runtime.databases.runs import this_run
from hpacml.runtime.reports import instruments
from hpacml.training.scores import METRICS, Metric

TRUTH = "the truth"

PROFILED = 3
"""The runs in which regions are measured, behind one that is not."""

GRAPHED = 4
"""From this call on a region on a GPU is a CUDA graph, which takes longer to make than to run."""


def evaluate(
    run: Callable[[Any], object],
    models: Models = (),
    truth: object = None,
    metric: Metric = "rmse",
    baselines: Mapping[str, Callable[..., object]] | None = None,
    engines: Sequence[str] = ("torch", "compiled"),
    trials: int = 20,
    dropped: int = 2,
    seconds: float | None = None,
    threads: int = 1,
    out: File | None = None,
    sweep: int = 1,
) -> Evaluation:
    """Run a program by its original code, by each model under each engine, and baselines in its place; compare them.

    `run(model)` does all of the program on the same inputs, and returns the quality of interest, an array or arrays by
    name; `run(None)` is the accurate program. `models` are by name what `run` is given, such as a path or a module; of
    paths alone the stems are the names. `baselines` are functions by name: one without parameters gives the quality of
    interest; one with parameters is as `hpacml.train` takes them, of the inputs of a region, arrays [rows, *shape], and
    runs in the place of a model. The rows are the first `sweep` dimensions of the region's tensors; 0 makes each tensor
    a row.

    They take turns, `trials` times, of which the first `dropped` do not count; a trial begins in the first `seconds`
    only, but for so many that three count. Before the trials they run some more times, in which regions are measured.
    `engines` are what HPACML_ENGINE is set to for each model, and `threads` are those of Torch and of `prange`.

    Errors are against `truth`, by default what the accurate program gave first; `metric` is the one that ranks and is
    drawn. `out` is a folder to which the evaluation is written, see `Evaluation.save`.

    A model or baseline that fails has a row that says why. Raises HpacmlError for what cannot be compared, and whatever
    the accurate program raises.
    """
    protocol = Protocol(metric, trials, dropped, seconds, threads, sweep)
    contestants = list(contestants_of(run, models, baselines or {}, engines, sweep))
    given = None if truth is None else qualities.copied(truth, TRUTH)
    if given is not None:
        qualities.require_finite(given, TRUTH)
    with _state(threads):
        began = time.perf_counter()
        _profile(contestants, None if seconds is None else seconds / 4)
        left = None if seconds is None else seconds - (time.perf_counter() - began)
        _run(contestants, given, protocol, left)
        is_measured = instruments.current.timing
    evaluation = _outcome(contestants, given, protocol, is_measured)
    if out is not None:
        evaluation.save(out)
    return evaluation


@dataclass(frozen=True)
class Protocol:
    """How an evaluation is done. Raises HpacmlError for what cannot be."""

    metric: Metric
    trials: int
    dropped: int
    seconds: float | None
    threads: int
    sweep: int

    def __post_init__(self) -> None:
        trials, dropped, seconds = self.trials, self.dropped, self.seconds
        if self.metric not in METRICS:
            raise HpacmlError(f"metric is one of {', '.join(METRICS)}, and this is {self.metric!r}")
        if dropped < 0 or trials <= dropped:
            raise HpacmlError(f"of {trials} trials the first {dropped} are dropped, which leaves none: have more")
        if self.threads < 1:
            raise HpacmlError(f"threads is 1 or more, and this is {self.threads}")
        if self.sweep < 0:
            raise HpacmlError(f"sweep is a number of dimensions, 0 or more, and this is {self.sweep}")
        if seconds is not None and not seconds > 0:
            raise HpacmlError(f"seconds is more than 0, or None for no limit, and this is {seconds}")


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
    _warm_up(contestants, 1)
    for order in rounds(contestants, PROFILED, seconds, least=1):
        for each in order:
            each.profile()


def _warm_up(contestants: Sequence[Contestant], least: int) -> None:
    """Run so often, and until calls on a GPU are CUDA graphs."""
    done = 0
    while done < least or (torch.cuda.is_initialized() and done < GRAPHED):
        for each in contestants:
            each.warm_up()
        done += 1


def _run(contestants: Sequence[Contestant], truth: Quality | None, protocol: Protocol, seconds: float | None) -> None:
    """Have them take turns."""
    instruments.timing(False)
    _warm_up(contestants, 0)
    for order in rounds(contestants, protocol.trials, seconds, least=protocol.dropped + LEAST):
        for each in order:
            each.take_turn()
            _check(each, contestants[0], truth)


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
    contestants: Sequence[Contestant], truth: Quality | None, protocol: Protocol, is_measured: bool
) -> Evaluation:
    accurate = contestants[0]
    details = {id(each): breakdown(each.profiled) for each in contestants if each.failed is None}
    rows = tuple(_row(each, accurate, truth, protocol.dropped, details.get(id(each))) for each in contestants)
    done = len(accurate.turns)
    notes = [note for each in contestants for note in remarks(each, details.get(id(each)), protocol.threads)]
    notes += [note for row in rows for note in disturbed(row)]
    told = asdict(this_run())
    return Evaluation(
        rows,
        protocol.metric,
        "accurate" if truth is None else "given",
        done,
        protocol.dropped,
        protocol.threads,
        (*general(done, protocol.trials, protocol.seconds, is_measured), *notes),
        {name: told[name] for name in ("command", "host", "hpacml", "torch", "python")},
    )


def _row(
    contestant: Contestant, accurate: Contestant, truth: Quality | None, dropped: int, detail: Breakdown | None
) -> Row:
    if contestant.failed is not None or detail is None:
        return Row(contestant.name, contestant.kind, contestant.engine, failed=contestant.failed)
    assert contestant.quality is not None
    assert accurate.quality is not None
    is_truth = truth is None and contestant is accurate
    mine, other = contestant.turns[dropped:], accurate.turns[dropped:]
    return Row(
        contestant.name,
        contestant.kind,
        contestant.engine,
        tuple(turn.wall for turn in mine),
        tuple(turn.cpu for turn in mine),
        sum(turn.wall for turn in other) / sum(turn.wall for turn in mine),
        Spread.of([theirs.wall / own.wall for theirs, own in zip(other, mine, strict=True)]),
        None if is_truth else qualities.score(contestant.quality, truth or accurate.quality),
        qualities.not_finite(contestant.quality),
        detail.events,
        detail.shares,
        engine_note(contestant, detail),
    )
