"""Predictors that need no network. A network that is no better than these has learned nothing.

They are fitted in one pass over the training rows, which come in blocks and need not fit into memory, in float64.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from hpacml.errors import ModelError, summary
from hpacml.training.least_squares import LeastSquares, Linear
from hpacml.training.rows import Matrix, Rows, Sample, Shapes, flat, pieces, size, unflat
from hpacml.training.scores import Scores

if TYPE_CHECKING:
    import torch

    from hpacml.training.rows import Tensors

    Predict = Callable[[Tensors], Tensors]
    """Takes inputs [rows, *shape] of the stored dtypes, returns outputs [rows, *shape] of any dtype."""

Function = Callable[..., Any]

MODEL = "network"
"""The name of the model beside the baselines."""

FEATURES = 512
"""Least squares are fitted on up to so many features, and to up to so many numbers of outputs."""

EACH = 16
"""Up to so many features, least squares are fitted on each by itself; of more, on the best."""

SHOWN = 3
"""So many single features a table shows, the best."""

KEPT = 1 << 24
"""The median is taken of so many numbers of outputs: if there are more, of those of a random sample of the rows."""

TRIED = 16
"""Functions of the user are tried on so many rows."""


class Unchanged(NamedTuple):
    """Numbers of an output that are the same elements of an array as numbers of an input.

    `features` are pairs: which of the features of the input is which of those of the output, or None if all are, in
    their order. `lead` is the number of dimensions before features in tensors [rows, *shape].
    """

    input: int
    output: int
    features: tuple[tuple[int, int], ...] | None = None
    lead: int = 1


@dataclass(frozen=True)
class Baselines:
    """Fitted predictors by their names, from the simplest on, and a sentence for each that could not be fitted."""

    predictors: dict[str, Predict]
    notes: tuple[str, ...] = ()
    minor: frozenset[str] = frozenset()
    """Those that a table leaves out, since others like them are better."""


def fit(
    train: Rows,
    persistence: Sequence[tuple[int, int] | Unchanged] = (),
    functions: Mapping[str, Function] | None = None,
) -> Baselines:
    """Fit mean, median, persistence and least squares to the rows of `train`.

    `persistence` has pairs (input, output) of one array, of which a row has the same shape, or says which features of
    both are the same elements: these are predicted to stay as they were, and others to be their mean. Least squares are
    fitted on all features, and on each by itself, the best first; of more than `EACH`, on the best. `functions` by
    their names are other predictors: each takes the inputs as read-only float64 arrays [rows, *shape], and returns the
    output, or a tuple of all. They are tried on some rows, so that one that fails does so before a network is trained.

    Raises DatabaseError if there are no rows, or if one is NaN or infinite, and ModelError for a function that fails.
    """
    features, outputs = size(train.inputs), size(train.outputs)
    given = {name: _calling(name, function, train.outputs) for name, function in (functions or {}).items()}
    singles: dict[str, Predict] = {}
    mean, median = np.zeros(outputs), _Median(len(train), outputs)
    linear = LeastSquares(features, outputs) if 0 < features <= FEATURES and outputs <= FEATURES else None
    seen = 0
    for x, y in pieces(train, "training"):
        if not seen:
            _try(given, x, y, train)
        truth = flat(y)
        seen += len(truth)
        mean += ((truth - mean) / seen).sum(0)
        median.update(truth)
        if linear is not None:
            linear.update(flat(x), truth)
    notes = median.notes()
    found = {"mean": _constant(mean, train.outputs), "median": _constant(median.value(), train.outputs)}
    if persistence:
        known = [each if isinstance(each, Unchanged) else Unchanged(*each) for each in persistence]
        found["persistence"] = _persistence(known, found["mean"])
    if linear is None:
        limit = f"{features} features and {outputs} numbers of outputs, where each may be 1 to {FEATURES}"
        notes.append(f"there are no least squares, with {limit}")
    else:
        singles, everything = _least_squares(linear, train, notes)
        found |= {**singles, **everything}
    if clash := next((name for name in given if name in (*found, MODEL)), None):
        raise ModelError(f"'{clash}' is already the name of a baseline: give the function another one")
    return Baselines({**found, **given}, tuple(notes), frozenset([*singles][SHOWN:]))


class _Median:
    """The median of each of the outputs."""

    def __init__(self, rows: int, outputs: int):
        self._sample = Sample(rows, KEPT // max(1, outputs))
        self._kept: list[Matrix] = []

    def update(self, y: Matrix) -> None:
        self._kept.append(y[self._sample.choose(len(y))])

    def value(self) -> Matrix:
        return np.median(np.concatenate(self._kept), axis=0)

    def notes(self) -> list[str]:
        return [] if self._sample.is_all else [f"the median is that of {self._sample} training rows"]


def _constant(values: Matrix, shapes: Shapes) -> Predict:
    return lambda x: unflat(np.broadcast_to(values, (len(x[0]), len(values))), shapes)


def _persistence(known: Sequence[Unchanged], mean: Predict) -> Predict:
    """Predict numbers that are those of inputs to stay as they are, and the others by `mean`."""

    def predict(x: Tensors) -> Tensors:
        found = list(mean(x))
        for input, output, features, lead in known:
            if features is None:
                found[output] = x[input]
                continue
            y = found[output] = found[output].clone()
            sources, places = ([*each] for each in zip(*features, strict=True))
            _vectors(y, lead)[..., places] = _vectors(x[input], lead)[..., sources].to(y.dtype)
        return found

    return predict


def _vectors(tensor: torch.Tensor, lead: int) -> torch.Tensor:
    """Join the dimensions from number `lead` on, which may be none."""
    return tensor.reshape(*tensor.shape[:lead], math.prod(tensor.shape[lead:]))


def _least_squares(
    linear: LeastSquares, train: Rows, notes: list[str]
) -> tuple[dict[str, Predict], dict[str, Predict]]:
    """Predict by single features, the best first, and by all."""

    def predict(fitted: Linear) -> Predict:
        return lambda x: unflat(fitted(flat(x)), train.outputs)

    features = size(train.inputs)
    everything, singles = linear.fit(), linear.fit_singles(features if features <= EACH else SHOWN)
    if everything is None:
        notes.append("there are no least squares: numbers are too large for float64")
        return {}, {}
    if not singles:
        notes.append("there are no least squares on a single feature: none varies")
    names = Counter(_feature(number, train) for number, _ in singles)
    by_one: dict[str, Predict] = {}
    for number, fitted in singles:
        name = _feature(number, train)
        place = f" (feature {number})" if names[name] > 1 else ""
        by_one[f"least squares on {name}{place}"] = predict(fitted)
    return by_one, {"least squares on all features": predict(everything)}


def _feature(number: int, train: Rows) -> str:
    """Name one of the features of all inputs."""
    for name, shape in zip(train.names[0], train.inputs, strict=True):
        count = math.prod(shape)
        if number < count:
            arrays = name.split(", ")
            if len(arrays) == count > 1:  # one map of as many arrays
                return arrays[number]
            return name if count == 1 else f"{name}{[int(i) for i in np.unravel_index(number, shape)]}"
        number -= count
    raise IndexError(number)


def _calling(name: str, function: Function, shapes: Shapes) -> Predict:
    """Make a predictor of a function of arrays."""
    import torch

    if not callable(function):
        raise ModelError(f"the baseline '{name}' is a {type(function).__name__}, not a function")

    def predict(x: Tensors) -> Tensors:
        arrays = called(function, x)
        if len(shapes) == 1 and math.prod(shapes[0]) == 1 and arrays[0].shape == (len(x[0]),):
            arrays[0] = arrays[0].reshape(-1, *shapes[0])
        return [torch.as_tensor(array, device="cpu") for array in arrays]

    return predict


def called(function: Function, x: Tensors) -> list[Matrix]:
    """Give a function of the user inputs [rows, *shape], and copy its outputs. Raises ModelError where it fails."""
    try:
        return [np.array(each, np.float64) for each in _all(function(*map(_read_only, x)))]
    except Exception as error:
        raise ModelError(f"the function fails: {summary(error)}") from error


def _all(answer: object) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", answer) if isinstance(answer, tuple) else (answer,)


def _read_only(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Make a float64 array, which may be the memory that other predictors are given, too."""
    array: np.ndarray[Any, Any] = tensor.detach().cpu().double().numpy()
    array.flags.writeable = False
    return array


def _try(functions: Mapping[str, Predict], x: Tensors, y: Tensors, train: Rows) -> None:
    few, truth = [tensor[:TRIED] for tensor in x], [tensor[:TRIED] for tensor in y]
    for name, predict in functions.items():
        Scores(train.outputs, train.names[1]).update_by(name, predict, few, truth)
