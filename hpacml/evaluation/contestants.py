"""What takes turns: the accurate program, a model by an engine, or a baseline."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from hpacml import environment
from hpacml.errors import summary
from hpacml.evaluation import quality as qualities
from hpacml.evaluation.breakdown import difference
from hpacml.evaluation.clocks import Turn, synchronize, timed
from hpacml.evaluation.quality import Quality
from hpacml.runtime.models.fallback import fallbacks
from hpacml.runtime.reports.report import RegionReport, report

T = TypeVar("T")

Kind = Literal["accurate", "model", "baseline"]

ACCURATE = "accurate"
"""The name of the accurate program, and its kind."""


@dataclass
class Contestant:
    """One of them. `turns` and `failed` are what it has done; `profiled` are regions and seconds of measured runs."""

    name: str
    kind: Kind
    engine: str
    call: Callable[[], object]
    turns: list[Turn] = field(default_factory=lambda: list[Turn]())
    profiled: list[tuple[list[tuple[str, RegionReport]], float]] = field(
        default_factory=lambda: list[tuple[list[tuple[str, RegionReport]], float]]()
    )
    quality: Quality | None = None
    """What its first turn gave."""
    varies: float = 0.0
    """How much later turns have differed from it, at most."""
    fallbacks: int = 0
    failed: str | None = None

    @property
    def title(self) -> str:
        """Its name, and the engine, for messages."""
        return f"{self.name} ({self.engine})" if self.engine else self.name

    def take_turn(self) -> None:
        """Run once, with the clocks alone. Raises HpacmlError if it gives other arrays than before."""
        before = sum(fallbacks().values())
        done = self._attempt(lambda: timed(self.call))
        if done is None:
            return
        answer, turn = done
        self.turns.append(turn)
        self.fallbacks += sum(fallbacks().values()) - before
        given = qualities.copied(answer, self.title)
        if self.quality is None:
            self.quality = given
        else:
            qualities.require_alike(given, self.quality, self.title, "its first run")
            self.varies = max(self.varies, qualities.difference(given, self.quality))

    def warm_up(self) -> None:
        """Run once, for what only first runs do."""
        self._attempt(self.call)

    def profile(self) -> None:
        """Run once, while regions are measured."""
        before = report()
        synchronize()
        start = time.perf_counter()
        done = self._attempt(lambda: (self.call(), synchronize()))
        seconds = time.perf_counter() - start
        if done is not None:
            self.profiled.append((difference(report(), before), seconds))

    def _attempt(self, attempt: Callable[[], T]) -> T | None:
        """Do something by the engine. A failure, of anything but the accurate program, is the last that it does."""
        if self.failed is not None:
            return None
        try:
            with environment.ENGINE.during(self.engine) if self.engine else contextlib.nullcontext():
                return attempt()
        except Exception as error:
            if self.kind == ACCURATE:
                raise
            self.failed = summary(error)
            return None
