"""Sizes and bounds of parts of arrays."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.arith import MaxSIOp, MinSIOp

from hpacml.frontend.python.number import Number
from hpacml.frontend.python.scalars import Arithmetic
from hpacml.frontend.python.types import INT


def least(numbers: Arithmetic, a: Number, b: Number) -> Number:
    """The lesser of two numbers of the type `int`."""
    return _extremum(numbers, a, b, min, MinSIOp)


def greatest(numbers: Arithmetic, a: Number, b: Number) -> Number:
    """The greater of two numbers of the type `int`."""
    if b.constant is not None and a.least is not None and a.least >= b.constant:
        return a
    return _extremum(numbers, a, b, max, MaxSIOp)


def _extremum(
    numbers: Arithmetic,
    a: Number,
    b: Number,
    fold: Callable[[int, int], int],
    operation: type[MinSIOp] | type[MaxSIOp],
) -> Number:
    if a.constant is not None and b.constant is not None:
        return Number(INT, fold(int(a.constant), int(b.constant)))
    bounds = [number.least for number in (a, b) if number.least is not None]
    known = len(bounds) == 2 or (bounds and fold is max)
    value = numbers.emit.value(operation(numbers.ssa(a), numbers.ssa(b)))
    return Number(INT, value, bound=fold(bounds[0], bounds[-1]) if known else None)
