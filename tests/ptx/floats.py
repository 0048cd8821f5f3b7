"""Floating point as PTX rounds it: exact sums and products, the directed roundings, and the formats of 16 bits."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DTYPES: dict[str, Any] = {"f16": np.float16, "bf16": np.float32, "f32": np.float32, "f64": np.float64}
"""What values of a format are computed in."""

_libm = ctypes.CDLL("libm.so.6")
_libm.fma.argtypes, _libm.fma.restype = [ctypes.c_double] * 3, ctypes.c_double
_libm_fma = np.frompyfunc(_libm.fma, 3, 1)


def two_sum(x: Array, y: Array) -> tuple[Array, Array]:
    """The rounded sum, and what it lacks."""
    total = x + y
    other = total - x
    return total, (x - (total - other)) + (y - other)


def two_product(x: Array, y: Array) -> tuple[Array, Array]:
    """The rounded product, and what it lacks; for factors far from overflow and underflow."""

    def halves(value: Array) -> tuple[Array, Array]:
        scaled = 134217729.0 * value
        high = scaled - (scaled - value)
        return high, value - high

    product = x * y
    (xh, xl), (yh, yl) = halves(x), halves(y)
    return product, ((xh * yh - product) + xh * yl + xl * yh) + xl * yl


def odd_sum(x: Array, y: Array) -> Array:
    """The sum, rounded to odd: rounding it again, to a format two bits narrower, is as rounding the exact sum."""
    total, error = two_sum(x, y)
    bits = total.view(np.int64)
    inexact = (error != 0) & np.isfinite(total) & (bits & 1 == 0)
    return (bits + np.where(inexact, np.where((error > 0) == (total > 0), 1, -1), 0)).view(np.float64)


def fma64(x: Array, y: Array, z: Array) -> Array:
    x, y, z = np.broadcast_arrays(x, y, z)
    product, low = two_product(x, y)
    high, rest = two_sum(z, low)
    total, other = two_sum(product, high)
    result = total + odd_sum(rest, other)
    factors = np.isfinite(x) & np.isfinite(y)
    simple = (x == 0) | (y == 0) | ~(factors & np.isfinite(z))
    result = np.where(simple, np.where(factors & np.isinf(z), z, product + z), result)
    sizes = np.abs(x), np.abs(y)
    far = ~simple & ((np.maximum(*sizes) > 2.0**450) | (np.minimum(*sizes) < 2.0**-450) | (np.abs(z) > 2.0**1000))
    if far.any():
        result[far] = _libm_fma(x[far], y[far], z[far]).astype(np.float64)
    return result


def rounded(value: Array, kind: str, mode: str = "rn") -> Array:
    """Doubles, exact or rounded to odd, to a narrower format."""
    if kind == "f64":
        return value
    if kind == "bf16":
        return _to_bf16(_odd32(value), mode)
    result = value.astype(DTYPES[kind])
    return directed(result, value - result.astype(np.float64), mode)


def directed(result: Array, error: Array, mode: str) -> Array:
    """What was rounded to nearest, rounded by another mode; only the sign of what it lacks counts."""
    if mode == "rn":
        return result
    down, up = error < 0, error > 0
    if mode == "rz":
        down, up = down & (result > 0), up & (result < 0)
    infinity = result.dtype.type(np.inf)
    if mode in ("rm", "rz"):
        result = np.where(down, np.nextafter(result, -infinity), result)
    if mode in ("rp", "rz"):
        result = np.where(up, np.nextafter(result, infinity), result)
    return result


def _odd32(value: Array) -> Array:
    result = value.astype(np.float32)
    toward_zero = directed(result, value - result.astype(np.float64), "rz")
    inexact = (toward_zero.astype(np.float64) != value) & ~np.isnan(value)
    return (toward_zero.view(np.uint32) | inexact).view(np.float32)


def _to_bf16(value: Array, mode: str) -> Array:
    """Floats, exact or rounded to odd, to floats whose lower half is 0."""
    bits = value.view(np.uint32)
    negative = bits >> 31 == 1
    half = {
        "rn": 0x7FFF + (bits >> 16 & 1),
        "rz": np.uint32(0),
        "rm": np.where(negative, np.uint32(0xFFFF), np.uint32(0)),
        "rp": np.where(negative, np.uint32(0), np.uint32(0xFFFF)),
    }[mode]
    bits = np.where(np.isfinite(value), bits + half, bits | np.isnan(value) * np.uint32(0x400000))
    return (bits.astype(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def flushed(value: Array) -> Array:
    """Subnormal floats are zeros, to instructions that say .ftz."""
    return np.where(np.abs(value) < 2.0**-126, np.copysign(value.dtype.type(0), value), value)


def from_integer(value: Array, kind: str, mode: str) -> Array:
    high, low = (
        value >> value.dtype.type(value.dtype.itemsize * 4),
        value & value.dtype.type((1 << value.dtype.itemsize * 4) - 1),
    )
    parts = high.astype(np.float64) * 2.0 ** (value.dtype.itemsize * 4), low.astype(np.float64)
    if kind != "f64":
        return rounded(odd_sum(*parts), kind, mode)
    return directed(*two_sum(*parts), mode)


def to_integer(value: Array, dtype: Any, mode: str) -> Array:
    """Rounded, then the nearest integer that there is; of NaN, 0, or the top bit where one of the types has 64."""
    whole = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[mode](value.astype(np.float64))
    limits = np.iinfo(dtype)
    high, low = whole >= float(limits.max), whole <= float(limits.min)
    result = np.where(high | low | np.isnan(whole), 0, whole).astype(dtype)
    result = np.where(high, dtype(limits.max), np.where(low, dtype(limits.min), result))
    wide = value.dtype == np.float64 or np.dtype(dtype).itemsize == 8
    nan = np.array(1 << limits.bits - 1 if wide else 0, np.uint64).astype(dtype)
    return np.where(np.isnan(whole), nan, result)
