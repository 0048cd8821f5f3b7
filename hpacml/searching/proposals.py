"""Which point is tried next: the one to start with, some beside it or far apart, then Bayesian optimisation by Ax.

A proposal is a function of the seed and of the trials before it, so that a search that was killed goes on as if it had
not been: nothing but its journal is needed.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch.quasirandom import SobolEngine

from hpacml.searching.domain import Domain, Point, key
from hpacml.searching.plan import Choice, Range

_logger = logging.getLogger("hpacml")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Ax and its parts use is deprecated
    from ax.adapter.registry import Generators
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
    from ax.generation_strategy.generation_node import GenerationNode
    from ax.generation_strategy.generation_strategy import GenerationStrategy
    from ax.generation_strategy.generator_spec import GeneratorSpec
    from ax.utils.common.logger import set_ax_logger_levels
    from botorch.acquisition.multi_objective import logei

# BoTorch would compile a part in C++, which takes half a minute, and waits for ever where another process was killed
# while it did. What it has in its place gives the same on all machines.
logei._load_attempted = True  # pyright: ignore[reportPrivateUsage]

_SPARE = 8
"""Points of the Sobol sequence for each that is wanted, as some may not fulfil the constraints."""

_LEAST = 1e-30
"""Below it objectives, of which Ax gets logarithms, are the same."""

_OF_MIXED = {"initialization_strategy": "random", "maxiter_alternating": 8}
_OF_NUMBERS = {"maxiter": 50, "n_burnin": 200, "n_thinning": 4}
"""Options of BoTorch's optimisers with which a proposal takes about a second: their defaults take ten of them."""


@dataclass(frozen=True)
class Tried:
    """A point and its objectives, which are None of a trial that failed."""

    point: Mapping[str, Any]
    objectives: Mapping[str, float] | None


@dataclass(frozen=True)
class Proposal:
    """A point, and what proposed it: `start`, `before`, `beside`, `sobol`, `model` or `random`."""

    point: Point
    source: str


@dataclass(frozen=True)
class Proposer:
    """Proposes points of a domain, to make objectives small, with thresholds where there are some."""

    domain: Domain
    objectives: Mapping[str, float | None]
    seed: int
    initial: int
    """The points before the first that a model proposes."""
    start: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())
    """Values of the first point; the others are in the middle."""
    beside: bool = False
    """Whether points beside the first one come before those of a Sobol sequence, which are far apart."""

    def propose(self, tried: Sequence[Tried], count: int = 1, before: Sequence[Point] = ()) -> list[Proposal]:
        """Propose up to `count` points that were not tried; fewer if there are no others.

        Points of which something is known from `before` come behind the first one.
        """
        found: list[Proposal] = []
        past = {key(each.point) for each in tried}
        for proposal in self._candidates(tried, count, before):
            if len(found) < count and key(proposal.point) not in past and self.domain.holds(proposal.point):
                past.add(key(proposal.point))
                found.append(proposal)
        numbers = random.Random(f"{self.seed} {len(tried)}")
        while len(found) < count:
            seen = [each.point for each in (*tried, *found)]
            if (point := self.domain.draw(numbers, seen)) is None:
                break
            found.append(Proposal(point, "random"))
        return found

    def _candidates(self, tried: Sequence[Tried], count: int, before: Sequence[Point]) -> list[Proposal]:
        """What may be proposed, some of which may have been tried, or not fulfil the constraints."""
        if not self.domain.free:
            return [Proposal({}, "start")]
        finished = [each for each in tried if each.objectives is not None]
        if len(tried) >= self.initial and len(finished) >= 2:
            return self._asked(tried, count)
        start = self.domain.near(self.start)
        sequence: Any = SobolEngine(len(self.domain.free), scramble=True, seed=self.seed)
        parts = sequence.fast_forward(len(tried) * _SPARE).draw(count * _SPARE).tolist()
        return [
            *([] if tried else [Proposal(start, "start")]),
            *(Proposal(point, "before") for point in before),
            *(Proposal(point, "beside") for point in (self.domain.star(start) if self.beside else ())),
            *(Proposal(self.domain.at(each), "sobol") for each in parts),
        ]

    def _asked(self, tried: Sequence[Tried], count: int) -> list[Proposal]:
        """What Ax proposes. Nothing where its model cannot be fitted: the search goes on with random points."""
        seed = random.Random(f"{self.seed} {len(tried)}").randrange(1 << 31)
        with _apart():
            cast(Any, torch).manual_seed(seed)
            try:
                points = self._client(tried, seed).get_next_trials(count).values()
            except Exception as error:
                _logger.info("Ax proposes nothing: %s", error)
                return []
        return [Proposal(self._named(point), "model") for point in points]

    def _client(self, tried: Sequence[Tried], seed: int) -> Client:
        client = Client(random_seed=seed)
        client.configure_experiment(
            [_ax(f"p{k}", p) for k, p in enumerate(self.domain.free.values())], self._constraints()
        )
        client.configure_optimization(
            ", ".join(f"-{name}" for name in self.objectives),
            [f"{name} <= {_log(most)}" for name, most in self.objectives.items() if most and len(self.objectives) > 1],
        )
        generator = GeneratorSpec(
            Generators.BOTORCH_MODULAR,
            generator_gen_kwargs={"model_gen_options": {"optimizer_kwargs": self._options()}},
        )
        node = GenerationNode(name="model", generator_specs=[generator])
        client.set_generation_strategy(GenerationStrategy(name="model", nodes=[node]))
        for each in tried:
            trial = client.attach_trial({f"p{k}": each.point[name] for k, name in enumerate(self.domain.free)})
            if each.objectives is None:
                client.mark_trial_failed(trial)
            else:
                client.complete_trial(trial, {name: _log(each.objectives[name]) for name in self.objectives})
        return client

    def _options(self) -> dict[str, Any]:
        sizes = [len(p.choice) if isinstance(p, Choice) else _size(p) for p in self.domain.free.values()]
        options: dict[str, Any] = {"num_restarts": 4, "raw_samples": 128}
        if not any(sizes):
            options["options"] = _OF_NUMBERS
        elif not all(sizes):
            options["options"] = _OF_MIXED if max(sizes) > 4 else {}
        elif math.prod(sizes) > 10_000 and max(sizes) > 100:
            options["options"] = _OF_MIXED
        return options

    def _constraints(self) -> list[str]:
        """Those that Ax takes, which are between linear ranges. The others are checked when it has proposed."""
        numbers = {name: f"p{k}" for k, name in enumerate(self.domain.free)}
        texts: list[str] = []
        for constraint in self.domain.constraints:
            free = [name for name in constraint.weights if name in numbers]
            ranges = [self.domain.free[name] for name in free]
            if free and all(isinstance(each, Range) and not each.log for each in ranges):
                bound = constraint.bound - sum(
                    weight * self.domain.fixed[name] for name, weight in constraint.weights.items() if name not in free
                )
                texts.append(" + ".join(f"{constraint.weights[n]!r} * {numbers[n]}" for n in free) + f" <= {bound!r}")
        return texts

    def _named(self, point: Mapping[str, Any]) -> Point:
        """A point of Ax by the names of the domain, with numbers inside of their ranges."""
        named: Point = {}
        for k, (name, parameter) in enumerate(self.domain.free.items()):
            value = point[f"p{k}"]
            if isinstance(parameter, Range):
                value = min(max(value, parameter.range[0]), parameter.range[1])
                value = int(value) if parameter.is_integer else float(value)
            named[name] = value
        return named


@contextlib.contextmanager
def _apart() -> Generator[None]:
    """Leave the program its random numbers, warnings and threads; on one thread small models are fitted fastest."""
    threads = torch.get_num_threads()
    set_ax_logger_levels(logging.ERROR)
    with cast(Any, torch).random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _ax(name: str, parameter: Range | Choice) -> RangeParameterConfig | ChoiceParameterConfig:
    if isinstance(parameter, Range):
        low, high = parameter.range
        kind = "int" if parameter.is_integer else "float"
        return RangeParameterConfig(name, (low, high), kind, scaling="log" if parameter.log else "linear")
    values: Any = parameter.choice
    kind = {bool: "bool", int: "int", float: "float", str: "str"}[type(values[0])]
    return ChoiceParameterConfig(name, values, kind, is_ordered=kind in ("int", "float"))  # pyright: ignore[reportArgumentType]


def _size(parameter: Range) -> int:
    """The numbers of a range of integers; 0 of one of others."""
    low, high = parameter.range
    return int(high - low) + 1 if parameter.is_integer else 0


def _log(value: float) -> float:
    return math.log10(max(value, _LEAST))
