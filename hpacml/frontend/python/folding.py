"""Constants of a kernel, which are computed when it is compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hpacml.frontend.python.number import Number, as_number
from hpacml.frontend.python.types import Constant, Refusal, ScalarType


def fold(operation: Callable[[Any, Any], Any], a: Constant, b: Constant) -> Number:
    """The number that an operation makes of constants. Raises `Refusal` where Python raises."""
    try:
        result: Any = operation(a, b)
    except (ArithmeticError, ValueError, TypeError) as error:
        raise Refusal(str(error)) from None
    number = as_number(result)
    if number is not None:
        return number
    raise Refusal(f"this is {result}, and kernels have no {type(result).__name__} numbers")


def convert(value: Constant, source: ScalarType, target: ScalarType) -> Constant:
    """Convert a constant as NumPy does. Raises `Refusal` for what does not fit."""
    if target.kind == "b":
        return bool(value)
    if target.is_float:
        try:
            with np.errstate(all="ignore"):
                return float(target.python(float(value)))
        except OverflowError:
            raise Refusal(f"{article(source)} of {len(str(value))} digits does not fit {article(target)}") from None
    if not math.isfinite(value):
        raise Refusal(f"{value} is no integer")
    whole = int(value)
    if target.weak:
        return whole
    low, high = target.limits
    if low <= whole <= high:
        return whole
    if source.weak:
        raise Refusal(f"{whole} does not fit {article(target)} ({low} to {high})")
    return (whole - low) % (1 << target.bits) + low


def article(type: ScalarType) -> str:
    """The name of a type with its article."""
    return f"an {type}" if str(type)[0] in "aiou" and not str(type).startswith("uint") else f"a {type}"
