"""Which rows of a region are for training, for validation and for the test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hpacml.errors import ConfigError
from hpacml.training.config import Split

Numbers = NDArray[np.int64]
PARTS = ("train", "validation", "test")
FEWEST_CALLS = 10
"""From as many calls on, these are what is split without being told, so that none is on two sides."""


@dataclass(frozen=True)
class Splits:
    """The numbers of the rows of each part, ascending; `text` says how they were chosen, `warning` what to think of."""

    train: Numbers
    validation: Numbers
    test: Numbers
    text: str
    by_calls: bool
    warning: str | None = None


def split(settings: Split, counts: Sequence[int] | Numbers, seed: int, ends: Sequence[int] = ()) -> Splits:
    """Split the rows of calls, of which `counts` has the number in each.

    `ends` are the numbers of calls behind which others came later, after a training: calls that are split one after
    the other are so in each of these parts, so that each call stays on its side, and new ones are on all.

    Raises ConfigError for parts that are empty, overlap, or are not there.
    """
    given = [getattr(settings, part) for part in PARTS]
    starts: Numbers = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.asarray(counts, np.int64))])
    calls, rows = len(starts) - 1, int(starts[-1])
    ranged = [isinstance(each, str) for each in given]
    if any(ranged) and not all(ranged):
        raise ConfigError(
            "a split has three ranges or three fractions, and this has "
            + ", ".join(f"{part}: {each}" for part, each in zip(PARTS, given, strict=True))
        )
    by = settings.by or ("calls" if calls >= FEWEST_CALLS or (all(ranged) and calls > 1) else "rows")
    total = calls if by == "calls" else rows
    warning = None
    if all(ranged):
        if settings.shuffle:
            raise ConfigError("ranges are not shuffled: give fractions, or leave out 'shuffle'")
        parts = [_range(part, str(each), by, total) for part, each in zip(PARTS, given, strict=True)]
        text = f"by {by}: " + ", ".join(f"{part} {each}" for part, each in zip(PARTS, given, strict=True))
    else:
        fractions = [float(each) for each in given]
        if sum(fractions) > 1 + 1e-9:
            raise ConfigError(f"the fractions of a split are {' + '.join(map(str, fractions))}, which is more than 1")
        edges = [round(total * sum(fractions[:k])) for k in range(4)]
        drawn = settings.shuffle or (by == "rows" and settings.by is None)
        order = np.random.default_rng(seed).permutation(total) if drawn else np.arange(total)
        parts = [np.sort(order[a:b]) for a, b in pairwise(edges)]
        apart = by == "calls" and not drawn and len(ends) > 1
        if apart:
            parts = _in_each(fractions, ends)
        shares = ", ".join(f"{part} {len(rows)}" for part, rows in zip(PARTS, parts, strict=True))
        how = f"one after the other in each of {len(ends)} collections" if apart else "one after the other"
        text = f"{by} " + (f"drawn with seed {seed}: " if drawn else f"{how}: ") + shares
        if drawn and not settings.shuffle:
            warning = (
                f"there {'is 1 call' if calls == 1 else f'are {calls} calls'}, fewer than {FEWEST_CALLS}, so that rows "
                "are split at random: rows of one call, which may be alike, are on both sides, and the test is milder "
                "than new calls will be. Collect more calls, or give ranges"
            )
    for part, numbers in zip(PARTS, parts, strict=True):
        if not len(numbers):
            raise ConfigError(f"the split leaves no {by} for '{part}': {text}, of {total} {by}")
    _require_apart(parts, by)
    if by == "calls":
        parts = [np.concatenate([np.arange(int(starts[c]), int(starts[c + 1])) for c in part]) for part in parts]
        for part, numbers in zip(PARTS, parts, strict=True):
            if not len(numbers):
                raise ConfigError(f"the calls for '{part}' have no rows: {text}")
    return Splits(parts[0], parts[1], parts[2], text, by == "calls", warning)


def _in_each(fractions: Sequence[float], ends: Sequence[int]) -> list[Numbers]:
    """The numbers of each part, of calls that came in several times and end there."""
    edges = [
        [first + round((last - first) * sum(fractions[:k])) for k in range(4)] for first, last in pairwise([0, *ends])
    ]
    return [np.concatenate([np.arange(each[k], each[k + 1]) for each in edges]) for k in range(3)]


def _range(part: str, text: str, by: str, total: int) -> Numbers:
    """The numbers of a range such as `0:480`, `480:` or `-100:`."""
    found = re.fullmatch(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*", text)
    if not found or "-" in found.groups():
        raise ConfigError(f"{part}: '{text}' is no range of {by}, such as 0:480 or 480:")
    first, last = (int(each) if each else None for each in found.groups())
    for bound in (first, last):
        if bound is not None and not -total <= bound <= total:
            raise ConfigError(f"{part}: '{text}' is beyond the {total} {by} that there are")
    return np.arange(total)[first:last]


def _require_apart(parts: Sequence[Numbers], by: str) -> None:
    for k, part in enumerate(PARTS):
        for other in range(k):
            if len(shared := np.intersect1d(parts[k], parts[other])):
                raise ConfigError(
                    f"'{PARTS[other]}' and '{part}' share {len(shared)} {by}, the first of them {shared[0]}: "
                    "what a network was trained with cannot test it"
                )
