"""The quality of interest: what a program is run for, as arrays by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch

from hpacml.errors import HpacmlError, summary
from hpacml.training.scores import Result, Scores

Quality = dict[str, np.ndarray[Any, Any]]

WHOLE = "quality"
"""The name of an array that has none."""


def copied(answer: object, who: str) -> Quality:
    """Copy what a run gave, an array or arrays by name: the next run may use the memory.

    Raises HpacmlError, which names `who` gave it, for what is no array of real numbers.
    """
    named = cast("Mapping[object, object]", answer) if isinstance(answer, Mapping) else {WHOLE: answer}
    if not named:
        raise HpacmlError(f"{who} gives no arrays: return the quality of interest")
    return {str(name): _array(value, f"{who} gives '{name}'") for name, value in named.items()}


def _array(value: Any, what: str) -> np.ndarray[Any, Any]:
    if value is None:
        raise HpacmlError(f"{what}, which is None: return the quality of interest, an array or arrays by name")
    if not isinstance(value, torch.Tensor) and hasattr(value, "__cuda_array_interface__"):
        value = torch.as_tensor(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype is torch.bfloat16 else value).resolve_conj().resolve_neg().numpy()
    if np.ma.is_masked(value):
        raise HpacmlError(f"{what} with masked numbers: return those that are not masked alone")
    try:
        array = np.array(value)
    except (TypeError, ValueError) as error:
        raise HpacmlError(f"{what}, of which there is no array: {summary(error)}") from error
    if array.dtype.kind not in "biuf":
        raise HpacmlError(f"{what} of dtype {array.dtype}: return real numbers")
    if not array.size:
        raise HpacmlError(f"{what} of shape {list(array.shape)}, which has no numbers to compare")
    return array


def require_alike(quality: Quality, other: Quality, who: str, whose: str) -> None:
    """Raise HpacmlError if the arrays of two runs have other names or shapes."""
    if quality.keys() != other.keys():
        raise HpacmlError(f"{who} gives {_listed(quality)}, but {whose} has {_listed(other)}: return the same arrays")
    for name, array in quality.items():
        if array.shape != other[name].shape:
            raise HpacmlError(
                f"{who} gives '{name}' of shape {list(array.shape)}, but {whose} has {list(other[name].shape)}: "
                "return arrays of the same shapes from each run"
            )


def require_finite(truth: Quality, whose: str) -> None:
    """Raise HpacmlError if numbers that others are scored against are NaN or infinite."""
    for name, array in truth.items():
        if count := _not_finite(array):
            at = [int(index) for index in np.argwhere(~np.isfinite(array))[0]]
            raise HpacmlError(
                f"{whose} has {count} of {array.size} numbers of '{name}' that are NaN or infinite, the first at {at}, "
                "and there are no errors from these: return the finite numbers alone, or give another `truth`"
            )


def not_finite(quality: Quality) -> int:
    """How many numbers are NaN or infinite."""
    return sum(map(_not_finite, quality.values()))


def _not_finite(array: np.ndarray[Any, Any]) -> int:
    return int(np.count_nonzero(~np.isfinite(array)))


def difference(quality: Quality, other: Quality) -> float:
    """The largest difference of two results, 0 where they are equal. What is NaN in one alone is infinitely far."""
    return max(_difference(array, other[name]) for name, array in quality.items())


def _difference(array: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    if np.array_equal(array, other, equal_nan=True):
        return 0.0
    here, there = array.astype(np.float64), other.astype(np.float64)
    same = (here == there) | (np.isnan(here) & np.isnan(there))
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.nan_to_num(np.abs(here - there), nan=np.inf)[~same].max(initial=0.0))


def score(quality: Quality, truth: Quality) -> Result:
    """The errors over all numbers, and of each array, or each number if there are few. NaN makes them NaN."""
    names = list(truth)
    scores = Scores([truth[name].shape for name in names], names)
    # One row is one run.
    predicted, right = (
        [torch.as_tensor(side[name].astype(np.float64)[None], device="cpu") for name in names]
        for side in (quality, truth)
    )
    with np.errstate(over="ignore"):
        scores.update(predicted, right)
        return scores.result()


def _listed(quality: Quality) -> str:
    return ", ".join(f"'{name}'" for name in quality)
