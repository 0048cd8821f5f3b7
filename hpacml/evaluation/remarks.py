"""What is to be said of those that took turns, so that nothing is compared that is not what it seems."""

from __future__ import annotations

from collections.abc import Iterator

from hpacml.evaluation import quality as qualities
from hpacml.evaluation.breakdown import Breakdown
from hpacml.evaluation.contestants import ACCURATE, Contestant
from hpacml.evaluation.measured import Row

FAR = 1.1
"""Means that are so much beyond the quartiles of the ratios are those of few trials."""

BRIEF = 1e-3
"""Runs of fewer seconds tell nothing of the cores that they use: reading the clocks is a part of them."""


def engine_note(contestant: Contestant, detail: Breakdown) -> str:
    """What computed the regions, as the report has it, and where that was the original code."""
    if contestant.kind != "model":
        return detail.engine_note
    notes = [detail.engine_note] if detail.engine_note else []
    if detail.fallbacks:
        notes.append(f"the original code in place of the model in {detail.fallbacks} of {detail.inferred} calls")
    if detail.bodies:
        notes.append(f"the original code in {detail.bodies} of {detail.bodies + detail.inferred} calls")
    return "; ".join(notes) or "no region inferred"


def general(done: int, trials: int, seconds: float | None, is_measured: bool) -> Iterator[str]:
    """What is to be said of all."""
    if done < trials:
        yield f"it ended after {done} of {trials} trials, as {seconds:g} s were over"
    if is_measured:
        yield "`run` turns hpacml.timing on, so that times are those of measured regions: leave that to this function"


def disturbed(row: Row) -> Iterator[str]:
    """What is to be said of a speed-up of means that most trials do not show."""
    if row.speedup is None or row.paired is None or row.kind == ACCURATE:
        return
    low, median, high = row.paired
    if not low / FAR <= row.speedup <= high * FAR:
        yield (
            f"{row.title} has a speed-up of {row.speedup:.3g}x of mean times, but {median:.3g}x in the median trial "
            f"({low:.3g} to {high:.3g}): something has disturbed single trials, so measure again"
        )


def remarks(contestant: Contestant, detail: Breakdown | None, threads: int) -> Iterator[str]:
    """What is not as one would think."""
    title = contestant.title
    if detail is None:
        yield f"{title} failed: {contestant.failed}"
        return
    if contestant.varies:
        yield (
            f"{title} gave other results in later trials, by up to {contestant.varies:.3g}: errors are of the first, "
            "and tell nothing if runs do not begin with the same inputs and random numbers"
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
    if cpu > 1.25 * threads * wall and wall > BRIEF * len(contestant.turns):
        yield f"{title} used {cpu / wall:.2g} cores, more than {threads}: limit the threads of all its libraries"
