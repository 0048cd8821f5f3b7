"""What is said of arguments whose memory cannot be used."""

from __future__ import annotations

from inspect import isroutine

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


def tracer_of(kind: type) -> str | None:
    """The tracer that puts values of a class in place of those that a program has later, else None."""
    return "torch.fx" if any(base.__module__ == "torch.fx.proxy" for base in kind.__mro__) else None


def unit_of(value: object) -> object | None:
    """The unit of a number or an array that has one, as those of astropy, pint, unyt and OpenMM do, else None.

    What has no dimension is its numbers alone.
    """
    if type(value).__module__.partition(".")[0] in _WITHOUT_UNITS:
        return None
    for attribute in ("unit", "units"):
        try:
            unit = getattr(value, attribute, None)
        except Exception:  # that of a foreign object may raise anything
            continue
        if unit is not None and not isroutine(unit) and str(unit) not in ("", "dimensionless"):
            return unit
    return None


_WITHOUT_UNITS = ("builtins", "numpy", "torch", "cupy", "jax", "jaxlib", "array", "ctypes", "mmap")


def with_unit(name: str, kind: str, unit: object) -> MapError:
    """The error for a quantity: its memory has the numbers alone, whose unit nobody would know any more."""
    return refusal(
        name,
        f"is a {kind} of the unit '{unit}', which its memory does not have: pass its numbers in the unit that is meant "
        f"(astropy: {name}.to_value('m'), pint: {name}.m_as('m'), unyt: {name}.to_value('m'), OpenMM: "
        f"{name}.value_in_unit(meter)), and write that into units({name}: 'm')",
    )


def unsupported_dtype(name: str, dtype: object) -> MapError:
    supported = ", ".join(SIZES)
    return refusal(name, f"has dtype {dtype}; maps and kernels work on {supported}: pass it converted to one of these")
