"""Who takes turns, of what `hpacml.evaluate` is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hpacml import environment
from hpacml.clauses import ENGINES
from hpacml.errors import HpacmlError
from hpacml.evaluation.contestants import ACCURATE, Contestant
from hpacml.evaluation.in_place import as_model, takes_inputs

File = str | os.PathLike[str]

Models = Mapping[str, Any] | File | Iterable[File]

Run = Callable[[Any], object]


def contestants_of(
    run: Run,
    models: Models,
    baselines: Mapping[str, Callable[..., object]],
    engines: Sequence[str],
    sweep: int,
) -> Iterator[Contestant]:
    """Yield the accurate program, each model by each engine, and baselines. Raises HpacmlError."""
    named = _named(models)
    chosen = list(dict.fromkeys([engines] if isinstance(engines, str) else engines))
    if not named and not baselines:
        raise HpacmlError("there are no models and no baselines to compare the accurate program with: give some")
    if unknown := [engine for engine in chosen if engine not in ENGINES]:
        raise HpacmlError(f"engines are {', '.join(ENGINES)}, and one is {unknown[0]!r}")
    if named and not chosen:
        raise HpacmlError("engines is empty, so that no model would run: give 'torch', 'compiled' or both")
    names = [ACCURATE, *named, *map(str, baselines)]
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
        call = _in_place(run, function, sweep) if takes_inputs(function) else function
        yield Contestant(str(name), "baseline", "", call)


def _in_place(run: Run, function: Callable[..., object], sweep: int) -> Callable[[], object]:
    """Run the program by a function of a region's inputs, which Torch's engine calls."""
    model = as_model(function, sweep)

    def call() -> object:
        with environment.ENGINE.during("torch"):
            return run(model)

    return call


def _named(models: Models) -> dict[str, Any]:
    if isinstance(models, Mapping):
        return {str(name): model for name, model in cast("Mapping[object, Any]", models).items()}
    if not isinstance(cast(object, models), (str, os.PathLike, Iterable)):
        raise HpacmlError(f"models is a {type(models).__name__}: give models by names, as in {{'mlp': module}}")
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
