"""What is said of arguments whose memory cannot be used."""

from __future__ import annotations

from hpacml.dtypes import SIZES
from hpacml.errors import MapError


def refusal(name: str, text: str) -> MapError:
    return MapError(f"argument {name!r} {text}")


def elsewhere(name: str, place: str, instead: str) -> MapError:
    return refusal(name, f"lies in {place}, where this cannot reach it: pass {instead}")


def misaligned(name: str, address: int, dtype: str) -> MapError:
    size = SIZES[dtype]
    return refusal(
        name, f"starts at address {address:#x}, which is not aligned to its {size}-byte elements: pass a copy"
    )


def no_memory(name: str, shape: tuple[int, ...]) -> MapError:
    return refusal(name, f"has the shape {list(shape)}, but its memory is at address 0: pass an array that has memory")


def complex_pairs(name: str, dtype: object, pairs: str) -> MapError:
    return refusal(
        name,
        f"has dtype {dtype}: pass its pairs of real numbers, {pairs}, which are the same memory, or map {name}.real "
        f"and {name}.imag",
    )


def unsupported_dtype(name: str, dtype: object) -> MapError:
    supported = ", ".join(SIZES)
    return refusal(name, f"has dtype {dtype}; maps and kernels work on {supported}: pass it converted to one of these")
