"""What clauses of a region mean: which calls `sample` collects, what computes a model and follows if it fails, and
where a model may be used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

OnError = Literal["raise", "accurate"]
"""What happens when a model fails: the error is raised, or the original code runs instead."""

POLICIES: tuple[OnError, ...] = get_args(OnError)


Engine = Literal["auto", "torch", "compiled"]
"""What computes a network: code compiled for it, Torch, or the first where it can."""

ENGINES: tuple[Engine, ...] = get_args(Engine)


def label_fault(label: str) -> str | None:
    """Why a text cannot be a region's label; None if it can."""
    if label in ("", ".") or "/" in label or "\0" in label:
        return f"{label!r} cannot be a region's label: it names one group of a database, so it has no '/' and no NUL"
    return None


def is_policy(value: object) -> bool:
    """Whether a value is one of `POLICIES`."""
    return isinstance(value, str) and value in POLICIES


@dataclass(frozen=True, slots=True)
class Sampling:
    """Selects the calls to collect: every `every`-th, of these the fraction `fraction`, of these the first `most`.

    A setting that is None does not apply. `seed` decides which calls are in the fraction; None means 0.
    """

    every: int | None = None
    fraction: float | None = None
    seed: int | None = None
    most: int | None = None

    @property
    def settings(self) -> dict[str, int | float]:
        """The settings that are given, by key, in the order of the fields."""
        given = ((key, getattr(self, key)) for key in KEYS)
        return {key: value for key, value in given if value is not None}

    @property
    def fault(self) -> str | None:
        """What is wrong with the settings; None if nothing is."""
        if not self.settings:
            return f"'sample' takes one or several of {', '.join(KEYS)}"
        if self.seed is not None and self.fraction is None:
            return SEED_ALONE
        return next(filter(None, (fault_of(key, value) for key, value in self.settings.items())), None)

    @staticmethod
    def of(settings: Mapping[str, int | float]) -> Sampling:
        """The sampling with these `settings`."""
        return replace(Sampling(), **settings)

    def __str__(self) -> str:
        return ", ".join(f"{key}: {_shown(value)}" for key, value in self.settings.items())


KEYS = tuple(field.name for field in fields(Sampling))
SEED_ALONE = "'seed' chooses the calls of a 'fraction': give one, as in fraction: 0.1, or leave the seed out"


def fault_of(key: str, value: float) -> str | None:
    """What is wrong with `value` for `key`, one of `KEYS`; None if nothing is."""
    if key == "fraction":
        return None if 0 < value <= 1 else "'fraction' is a number above 0 and up to 1, as in fraction: 0.1"
    least = 0 if key == "seed" else 1
    right = isinstance(value, int) and least <= value < 1 << 63
    return None if right else f"'{key}' is an integer, {least} or more, as in {key}: 10"


@dataclass(frozen=True, slots=True)
class Guard:
    """Where a model may be used: at points whose inputs it was trained for, and of which it is certain.

    `range`: each input lies within the model's ranges, which are widened at both ends by the fraction `margin` of their
    width. `distance`: the inputs' distance from those trained on, whitened, is at most this. `below`: the last output
    of the model is at most this. A setting that is None does not apply. `collect`: what the original code makes of the
    other points goes to the database.
    """

    range: bool = False
    margin: float | None = None
    distance: float | None = None
    below: float | None = None
    collect: bool = False

    @property
    def rejects(self) -> bool:
        """Whether a setting rejects points. Where it does not, a condition may."""
        return self.range or self.distance is not None or self.below is not None

    @property
    def fault(self) -> str | None:
        """What is wrong with the settings; None if nothing is."""
        if self.margin is not None and not self.range:
            return MARGIN_ALONE
        numbers = {key: getattr(self, key) for key in GUARD_NUMBERS}
        faults = (guard_fault_of(key, value) for key, value in numbers.items() if value is not None)
        return next(filter(None, faults), None)

    def __str__(self) -> str:
        shown = {key: getattr(self, key) for key in ("range", *GUARD_NUMBERS, "collect")}
        return ", ".join(
            key if value is True else f"{key}: {_shown(value)}"
            for key, value in shown.items()
            if value is not None and value is not False
        )


GUARD_WORDS = ("range", "collect")
GUARD_NUMBERS = ("margin", "distance", "below")
MARGIN_ALONE = "'margin' widens the ranges of 'range': write guard(range, margin: 0.1), or leave it out"
COLLECT_ALONE = "'collect' is about the points that a guard rejects: say which, as in guard(range, collect)"


def guard_fault_of(key: str, value: float) -> str | None:
    """What is wrong with `value` for `key`, one of `GUARD_NUMBERS`; None if nothing is."""
    least = {"margin": "0 or more", "distance": "above 0"}.get(key)
    right = math.isfinite(value) and (key == "below" or value > 0 or (key == "margin" and value == 0))
    return None if right else f"'{key}' is a number{f', {least}' * (least is not None)}, as in {key}: 0.1"


REJECTED = ".rejected"


def rejected_label(label: str) -> str:
    """The label under which points that the guards of a region reject are collected."""
    return label + REJECTED


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an output is clipped to, or all outputs if `array` is None. A bound that is None does not apply."""

    array: str | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        low, high = ("" if bound is None else _shown(bound) for bound in (self.low, self.high))
        return f"{self.array}: {low}:{high}" if self.array else f"{low}:{high}"


def _shown(value: float) -> str:
    """Write a number as directives and MLIR both read it: MLIR requires a point before an exponent."""
    mantissa, e, exponent = repr(value).partition("e")
    return repr(value) if not e or "." in mantissa else f"{mantissa}.0e{exponent}"


Metric = Literal["rmse", "mape", "max"]
"""What the error of an output is: the root of the mean square, the mean of relative errors, the largest error."""

Remedy = Literal["accurate", "raise", "warn"]
"""What follows if a model's errors are beyond the tolerance: the original code runs, an error, a line on the log."""

METRICS: tuple[Metric, ...] = get_args(Metric)
REMEDIES: tuple[Remedy, ...] = get_args(Remedy)


@dataclass(frozen=True, slots=True)
class Verification:
    """Compares a model with the original code in every `every`-th inference.

    Its errors by the `metric`, of the last `window` checks, should stay within the `tolerance`, else `then` follows.
    """

    every: int
    tolerance: float
    metric: str = "rmse"
    window: int = 20
    then: str = "accurate"

    @property
    def settings(self) -> dict[str, int | float | str]:
        """All settings, by key, in the order of the fields."""
        return {key: getattr(self, key) for key in VERIFICATION_KEYS}

    @property
    def fault(self) -> str | None:
        """What is wrong with the settings; None if nothing is."""
        faults = (verification_fault_of(key, value) for key, value in self.settings.items())
        return next(filter(None, faults), None)

    def __str__(self) -> str:
        return ", ".join(f"{key}: {_setting(value)}" for key, value in self.settings.items())


VERIFICATION_KEYS = tuple(each.name for each in fields(Verification))


def verification_fault_of(key: str, value: float | str) -> str | None:
    """What is wrong with `value` for `key`, one of `VERIFICATION_KEYS`; None if nothing is."""
    match key:
        case "metric" | "then":
            known = METRICS if key == "metric" else REMEDIES
            return None if value in known else f"'{key}' is one of {', '.join(known)}, as in {key}: {known[0]}"
        case "tolerance":
            right = isinstance(value, int | float) and 0 < value < math.inf
            return None if right else "'tolerance' is a number above 0, as in tolerance: 0.01"
        case _:
            right = isinstance(value, int) and 1 <= value < 1 << 63
            return None if right else f"'{key}' is an integer, 1 or more, as in {key}: 10"


def _setting(value: float | str) -> str:
    return value if isinstance(value, str) else _shown(value)
