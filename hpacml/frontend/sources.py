"""What the targets of a map take their elements from: arrays, and numbers, which are arrays of one element."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, cast

import numpy as np

from hpacml.dtypes import BRAIN, DTYPES, common, numpy_dtypes
from hpacml.errors import MapError
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import ArrayView


def views_of(
    names: Sequence[str],
    values: Mapping[str, object],
    written: Collection[int],
    numbers: Mapping[str, int],
    elements: Collection[str] = (),
) -> list[ArrayView]:
    """The memory of the arrays of a map or a region, of which those at the positions `written` must be writable.

    `numbers` has the names that stand for numbers, and the dimensions that they have; `elements` the arrays that hold
    elements. Raises `MapError`.
    """
    if not numbers:
        return [array_view(values[name], name, write=n in written, gpu=True) for n, name in enumerate(names)]
    views = {
        name: array_view(values[name], name, write=n in written, gpu=True)
        for n, name in enumerate(names)
        if name not in numbers
    }
    beside = [views[name].dtype for name in elements if name in views]
    device = next((view.device for view in views.values() if view.device is not None), None)
    for n, name in enumerate(names):
        if name in numbers:
            views[name] = _number_view(values[name], name, numbers[name], n in written, beside, device)
    return [views[name] for name in names]


def weak_dtype(kind: str, beside: Collection[str]) -> str:
    """The element type of a number of Python, of NumPy's `kind`, beside arrays of some element types.

    As in NumPy, it takes the floating type of these, and otherwise is as wide as it is in Python.
    """
    found = common(beside) if beside else None
    if kind != "b" and found is not None and DTYPES[found].kind == "f":
        return "f32" if found == BRAIN else found
    return {"b": "bool", "i": "i64", "f": "f64"}[kind]


def _number_view(
    value: Any, name: str, rank: int, write: bool, beside: Collection[str], device: int | None
) -> ArrayView:
    shape = (1,) * rank
    if isinstance(value, Real) and write:
        raise MapError(f"argument '{name}' is a number, which cannot be written: pass an array, as numpy.zeros(())")
    found = _as_array(value, name, beside)
    if device is not None and isinstance(found, np.ndarray):
        import torch

        found = cast(Any, torch).from_numpy(found).to(f"cuda:{device}")
    view = array_view(found, name, write=write, gpu=True)
    if view.shape not in ((), shape):
        ranges = ", ".join(["0:n"] * len(view.shape))
        raise MapError(
            f"argument '{name}' has the shape {list(view.shape)}, but stands in the map as a number: say which "
            f"elements, as in {name}[{ranges}]"
        )
    return replace(view, shape=shape, strides=shape)


def _as_array(value: Any, name: str, beside: Collection[str]) -> Any:
    """A number of Python or NumPy as an array without dimensions; anything else as it is."""
    if isinstance(value, np.generic):
        return np.array(cast(Any, value))
    if not isinstance(value, Real):
        return value
    kind = "b" if isinstance(cast(Any, value), bool) else "i" if isinstance(value, Integral) else "f"
    try:
        return cast(Any, np.array(value, numpy_dtypes()[weak_dtype(kind, beside)]))
    except OverflowError:
        raise MapError(f"argument '{name}' is {value}, which does not fit 64 bits") from None
