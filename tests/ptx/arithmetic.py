"""What instructions compute: from arrays with an element for each thread, or one for all, to such an array."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tests.ptx import floats
from tests.ptx.floats import DTYPES, Array
from tests.ptx.text import SIZES

ROUNDINGS = {"rn", "rz", "rm", "rp"}


class Operation(NamedTuple):
    """Types are PTX's; `carry` says whether the carry flag is read (the last argument), and written (a second result)."""

    compute: Callable[..., Any]
    sources: tuple[str, ...]
    result: str
    reads_carry: bool = False
    writes_carry: bool = False


def numpy_type(kind: str) -> Any:
    """What a register of this type, or its operand, is as an array."""
    if kind == "pred":
        return np.bool_
    letter = "i" if kind[0] == "s" else "u"
    if kind in ("f16", "f32", "f64"):
        letter = "f"
    return np.dtype(f"{letter}{SIZES[kind]}").type


def bits_of(kind: str) -> str:
    """The type of as many bits, without a meaning: what registers hold."""
    return "pred" if kind == "pred" else f"b{8 * SIZES[kind]}"


@cache
def operation(opcode: str) -> Operation | None:
    """None for an opcode that is not known, or that has a modifier which is not."""
    head, *modifiers = opcode.split(".")
    if not modifiers:
        return None
    if head == "cvt":
        return _conversion(modifiers)
    if head in ("setp", "testp", "slct"):
        return {"setp": _comparison, "testp": _test, "slct": _choice}[head](modifiers)
    *modifiers, kind = modifiers
    if kind in ("f16x2", "bf16x2"):
        half = operation(".".join([head, *modifiers, kind[:-2]]))
        return half and Operation(_pairwise(half), (kind,) * len(half.sources), kind)
    if kind in DTYPES and head not in ("mov", "selp"):
        return _float_operation(head, modifiers, kind)
    if kind in SIZES:
        return _integer_operation(head, modifiers, kind)
    return None


def _pairwise(half: Operation) -> Callable[..., Array]:
    dtype = numpy_type(half.result)

    def compute(*sources: Array) -> Array:
        return half.compute(*(source.view(dtype).reshape(-1, 2) for source in sources)).reshape(-1).view(np.uint32)

    return compute


# -- integers ----------------------------------------------------------------------------------------


def _quotient(x: Array, y: Array) -> Array:
    """Toward zero; by 0 it is all ones, as on the hardware."""
    return np.where(y == 0, x.dtype.type(0) - x.dtype.type(1), (x - np.fmod(x, y)) // y)


def _high(x: Array, y: Array) -> Array:
    bits = x.dtype.itemsize * 8
    if bits < 64:
        return (_wide(x, y) >> bits).astype(x.dtype)
    half, mask = x.dtype.type(32), x.dtype.type(0xFFFFFFFF)
    xh, xl, yh, yl = x >> half, x & mask, y >> half, y & mask
    middle = xh * yl + ((xl.view(np.uint64) * yl.view(np.uint64)) >> np.uint64(32)).view(x.dtype)
    return xh * yh + (middle >> half) + ((xl * yh + (middle & mask)) >> half)


def _wide(x: Array, y: Array) -> Array:
    dtype = np.dtype(f"{x.dtype.kind}{2 * x.dtype.itemsize}")
    return x.astype(dtype) * y.astype(dtype)


def _amount(value: Array, by: Array) -> Array:
    return np.minimum(by, value.dtype.itemsize * 8).astype(value.dtype)


def _bits_of(value: Array, start: Array, length: Array) -> Array:
    bits = value.dtype.itemsize * 8
    start, length = np.minimum(start & 255, bits), np.minimum(length & 255, bits)
    top = np.minimum(start + length, bits) if value.dtype.kind == "u" else np.clip(start + length, 1, bits)
    field = np.left_shift(value, (bits - top).astype(value.dtype))
    if value.dtype.kind == "u":
        return np.right_shift(np.right_shift(field, (bits - top).astype(value.dtype)), start.astype(value.dtype))
    # A field beyond the top is filled with the sign, and so is one of nothing.
    width = np.where(length == 0, 0, np.clip(top - start.astype(np.int64), 0, bits))
    field = np.right_shift(field, (bits - np.maximum(width, 1)).astype(value.dtype))
    sign = np.right_shift(np.left_shift(value, (bits - top).astype(value.dtype)), value.dtype.type(bits - 1))
    return np.where(length == 0, 0, np.where(width == 0, sign, field)).astype(value.dtype)


def _inserted(field: Array, value: Array, start: Array, length: Array) -> Array:
    start, length = _amount(value, start & 255), _amount(value, length & 255)
    one = value.dtype.type(1)
    mask = np.left_shift(np.left_shift(one, length) - one, start)
    return (value & ~mask) | (np.left_shift(field, start) & mask)


def _permuted(x: Array, y: Array, selector: Array) -> Array:
    both = x.astype(np.uint64) | y.astype(np.uint64) << np.uint64(32)
    result = np.uint32(0)
    for k in range(4):
        nibble = selector >> np.uint32(4 * k) & np.uint32(15)
        byte = both >> (nibble & np.uint32(7)).astype(np.uint64) * np.uint64(8) & np.uint64(255)
        byte = np.where(nibble & 8 == 0, byte, (byte >> np.uint64(7)) * np.uint64(255))
        result = result | byte.astype(np.uint32) << np.uint32(8 * k)
    return result


def _leading_zeros(value: Array) -> Array:
    for k in (1, 2, 4, 8, 16, 32):
        value = value | np.right_shift(value, value.dtype.type(k))
    return (value.dtype.itemsize * 8 - np.bitwise_count(value)).astype(np.uint32)


def _reversed(value: Array) -> Array:
    bits = np.unpackbits(value.view(np.uint8).reshape(len(value), -1), axis=1)
    return np.packbits(bits, axis=1, bitorder="little")[:, ::-1].copy().view(value.dtype).reshape(-1)


def _funnel(left: bool, wrap: bool) -> Callable[..., Array]:
    def compute(low: Array, high: Array, by: Array) -> Array:
        by = (by & np.uint32(31) if wrap else np.minimum(by, 32)).astype(np.uint64)
        both = low.astype(np.uint64) | high.astype(np.uint64) << np.uint64(32)
        return (both << by >> np.uint64(32) if left else both >> by).astype(np.uint32)

    return compute


def _with_carry(head: str, part: str) -> Callable[..., tuple[Array, Array]]:
    """add, sub and mad on longer integers; the flag of a difference is that of its borrow."""
    product = {"lo": operator.mul, "hi": _high}.get(part)

    def compute(*sources: Array) -> tuple[Array, Array]:
        *sources, carry = sources
        x, y = sources if product is None else (product(*sources[:2]), sources[2])
        if head == "sub":
            first = x - y
            return first - carry, (x < y) | (first < carry)
        first = x + y
        total = first + carry
        return total, (first < x) | (total < first)

    return compute


_INTEGERS: dict[str, tuple[Callable[..., Array], int]] = {
    "add": (operator.add, 2),
    "sub": (operator.sub, 2),
    "mul.lo": (operator.mul, 2),
    "mul.hi": (_high, 2),
    "mul.wide": (_wide, 2),
    "mad.lo": (lambda x, y, z: x * y + z, 3),
    "mad.hi": (lambda x, y, z: _high(x, y) + z, 3),
    "mad.wide": (lambda x, y, z: _wide(x, y) + z, 3),
    "div": (_quotient, 2),
    "rem": (lambda x, y: np.where(y == 0, x, np.fmod(x, y)), 2),
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
    "abs": (np.abs, 1),
    "neg": (operator.neg, 1),
    "and": (operator.and_, 2),
    "or": (operator.or_, 2),
    "xor": (operator.xor, 2),
    "not": (operator.invert, 1),
    "mov": (lambda x: x, 1),
    "brev": (_reversed, 1),
    "cnot": (lambda x: (x == 0).astype(x.dtype), 1),
}
_PREDICATES = {"and", "or", "xor", "not", "mov"}


def _integer_operation(head: str, modifiers: list[str], kind: str) -> Operation | None:
    name = ".".join([head, *modifiers])
    if head in ("add", "addc", "sub", "subc", "mad", "madc") and (head[-1] == "c" or modifiers[-1:] == ["cc"]):
        part = ".".join(modifiers).removesuffix(".cc").removesuffix("cc")
        if part not in (("lo", "hi") if head.startswith("mad") else ("",)) or kind not in ("u32", "s32", "u64", "s64"):
            return None
        unsigned = f"u{kind[1:]}"
        arguments = 3 if head.startswith("mad") else 2
        return Operation(
            _with_carry(head[:3], part),
            (unsigned,) * arguments,
            unsigned,
            reads_carry=head[-1] == "c",
            writes_carry="cc" in modifiers,
        )
    if kind == "pred" and head not in _PREDICATES:
        return None
    match name:
        case "shl":
            return Operation(lambda x, by: np.left_shift(x, _amount(x, by)), (kind, "u32"), kind)
        case "shr":
            return Operation(lambda x, by: np.right_shift(x, _amount(x, by)), (kind, "u32"), kind)
        case "selp":
            return Operation(lambda x, y, chosen: np.where(chosen, x, y), (kind, kind, "pred"), kind)
        case "bfe":
            return Operation(_bits_of, (kind, "u32", "u32"), kind)
        case "bfi":
            return Operation(_inserted, (kind, kind, "u32", "u32"), kind)
        case "prmt":
            return Operation(_permuted, ("b32",) * 3, "b32")
        case "popc":
            return Operation(lambda x: np.bitwise_count(x).astype(np.uint32), (kind,), "u32")
        case "clz":
            return Operation(_leading_zeros, (kind,), "u32")
        case "shf.l.wrap" | "shf.r.wrap" | "shf.l.clamp" | "shf.r.clamp":
            return Operation(_funnel(modifiers[0] == "l", modifiers[1] == "wrap"), ("b32",) * 3, "b32")
        case _ if name in _INTEGERS:
            compute, count = _INTEGERS[name]
            if "wide" not in modifiers:
                return Operation(compute, (kind,) * count, kind)
            wide = f"{kind[0]}{16 * SIZES[kind]}"
            return Operation(compute, (kind, kind, wide)[:count], wide)
        case _:
            return None


# -- floats ------------------------------------------------------------------------------------------


def _smaller(x: Array, y: Array) -> Array:
    """Of -0 and +0 it is -0; of a number and NaN, the number."""
    return np.where(x == y, np.where(np.signbit(x), x, y), np.fmin(x, y))


def _larger(x: Array, y: Array) -> Array:
    return np.where(x == y, np.where(np.signbit(x), y, x), np.fmax(x, y))


def _with_nan(choose: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda x, y: np.where(np.isnan(x) | np.isnan(y), x.dtype.type(np.nan), choose(x, y))


def _top_half(value: Array) -> Array:
    """The approximate reciprocals of doubles have 20 bits of fraction."""
    return (value.view(np.uint64) & np.uint64(0xFFFFFFFF00000000)).view(np.float64)


_APPROXIMATE: dict[str, tuple[Callable[..., Array], int]] = {
    "rcp": (lambda x: 1 / x, 1),
    "sqrt": (np.sqrt, 1),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1),
    "ex2": (np.exp2, 1),
    "lg2": (np.log2, 1),
    "sin": (np.sin, 1),
    "cos": (np.cos, 1),
    "tanh": (np.tanh, 1),
    "div": (operator.truediv, 2),
}
_CHOICES = {"min": _smaller, "max": _larger}
_SIGNS: dict[str, tuple[Callable[..., Array], int]] = {
    "abs": (np.abs, 1),
    "neg": (operator.neg, 1),
    "copysign": (lambda sign, size: np.copysign(size, sign), 2),
}
_ROUNDED: dict[str, tuple[Callable[..., Array], int]] = {
    "add": (operator.add, 2),
    "sub": (operator.sub, 2),
    "mul": (operator.mul, 2),
    "div": (operator.truediv, 2),
    "rcp": (lambda x: 1 / x, 1),
    "sqrt": (np.sqrt, 1),
}


def _float_operation(head: str, modifiers: list[str], kind: str) -> Operation | None:
    known, flags = ROUNDINGS | {"ftz", "sat", "approx", "full", "NaN"}, set(modifiers)
    mode = next((flag for flag in modifiers if flag in ROUNDINGS), "rn")
    if flags - known:
        return None
    if head in _CHOICES and flags <= {"ftz", "NaN"}:
        compute, count = _CHOICES[head], 2
        compute = _with_nan(compute) if "NaN" in flags else compute
    elif head in _SIGNS and flags <= {"ftz"}:
        compute, count = _SIGNS[head]
    elif flags & {"approx", "full"} or head in ("ex2", "tanh"):
        if head not in _APPROXIMATE:
            return None
        approximate, count = _APPROXIMATE[head]
        if kind == "f64" and "ftz" not in flags:
            compute = approximate
        elif kind == "f64":
            compute = lambda *sources: _top_half(approximate(*sources))  # noqa: E731
        else:
            compute = lambda *sources: floats.rounded(approximate(*_doubles(sources)), kind)  # noqa: E731
    elif head == "fma":
        compute, count = _fused(kind, mode), 3
    elif head in _ROUNDED:
        compute, count = _ROUNDED[head][0], _ROUNDED[head][1]
        if mode != "rn":
            if head not in ("add", "sub", "mul"):
                return None
            compute = _directed(head, kind, mode)
        elif kind in ("f16", "bf16"):
            exact = compute
            compute = lambda *sources: floats.rounded(exact(*_doubles(sources)), kind)  # noqa: E731
    else:
        return None
    return Operation(_wrapped(compute, flags, kind), (kind,) * count, kind)


def _wrapped(compute: Callable[..., Array], flags: set[str], kind: str) -> Callable[..., Array]:
    """Around what computes on values: .ftz, .sat, and for bf16 the way from bits and back."""
    if kind == "bf16":
        inner = compute
        compute = lambda *sources: _bf16_bits(inner(*map(_bf16_values, sources)))  # noqa: E731
    if "ftz" in flags and kind == "f32":
        unflushed = compute
        compute = lambda *sources: floats.flushed(unflushed(*map(floats.flushed, sources)))  # noqa: E731
    if "sat" in flags:
        unbounded = compute
        compute = lambda *sources: _saturated(unbounded(*sources))  # noqa: E731
    return compute


def _saturated(value: Array) -> Array:
    return np.where(value > 0, np.minimum(value, value.dtype.type(1)), value.dtype.type(0))


def _doubles(sources: tuple[Array, ...]) -> list[Array]:
    return [source.astype(np.float64) for source in sources]


def _bf16_values(bits: Array) -> Array:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _bf16_bits(value: Array) -> Array:
    return (value.view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def _fused(kind: str, mode: str) -> Callable[..., Array]:
    if kind == "f64":
        return floats.fma64

    def compute(*sources: Array) -> Array:
        x, y, z = _doubles(sources)
        return floats.rounded(floats.odd_sum(x * y, z), kind, mode)

    return compute


def _directed(head: str, kind: str, mode: str) -> Callable[[Array, Array], Array]:
    def compute(*sources: Array) -> Array:
        x, y = _doubles(sources)
        y = -y if head == "sub" else y
        if kind == "f64":
            return floats.directed(*(floats.two_product if head == "mul" else floats.two_sum)(x, y), mode)
        return floats.rounded(x * y if head == "mul" else floats.odd_sum(x, y), kind, mode)

    return compute


# -- comparisons and conversions ---------------------------------------------------------------------


_ORDERED: dict[str, Callable[[Array, Array], Array]] = {
    "eq": operator.eq,
    "ne": lambda x, y: (x < y) | (x > y),
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_FLOAT_COMPARISONS = {
    **_ORDERED,
    **{f"{name}u": lambda x, y, c=c: c(x, y) | np.isnan(x) | np.isnan(y) for name, c in _ORDERED.items()},
    "num": lambda x, y: ~(np.isnan(x) | np.isnan(y)),
    "nan": lambda x, y: np.isnan(x) | np.isnan(y),
}
_INTEGER_COMPARISONS = {
    **_ORDERED,
    "ne": operator.ne,
    "lo": operator.lt,
    "ls": operator.le,
    "hi": operator.gt,
    "hs": operator.ge,
}
_COMBINATIONS = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}


def _comparison(modifiers: list[str]) -> Operation | None:
    """`setp.lt.and.s32`; its second result, if there is one, is the machine's business."""
    name, *rest, kind = modifiers
    flush, combine = "ftz" in rest, [flag for flag in rest if flag in _COMBINATIONS]
    compare = (_FLOAT_COMPARISONS if kind in DTYPES else _INTEGER_COMPARISONS).get(name)
    if compare is None or kind not in SIZES or len(rest) != flush + len(combine):
        return None
    if kind == "bf16":
        values = compare
        compare = lambda x, y: values(_bf16_values(x), _bf16_values(y))  # noqa: E731
    if flush:
        unflushed = compare
        compare = lambda x, y: unflushed(floats.flushed(x), floats.flushed(y))  # noqa: E731
    if not combine:
        return Operation(compare, (kind, kind), "pred")
    both = _COMBINATIONS[combine[0]]
    return Operation(lambda x, y, p: both(compare(x, y), p), (kind, kind, "pred"), "pred")


_TESTS: dict[str, Callable[[Array], Array]] = {
    "finite": np.isfinite,
    "infinite": np.isinf,
    "number": lambda x: ~np.isnan(x),
    "notanumber": np.isnan,
    "normal": lambda x: np.isfinite(x) & (np.abs(x) >= np.finfo(x.dtype).tiny),
    "subnormal": lambda x: (x != 0) & (np.abs(x) < np.finfo(x.dtype).tiny),
}


def _test(modifiers: list[str]) -> Operation | None:
    if len(modifiers) != 2 or modifiers[0] not in _TESTS or modifiers[1] not in ("f32", "f64"):
        return None
    return Operation(_TESTS[modifiers[0]], (modifiers[1],), "pred")


def _choice(modifiers: list[str]) -> Operation | None:
    if len(modifiers) != 2 or modifiers[0] not in SIZES or modifiers[1] not in ("s32", "f32"):
        return None
    kind, by = modifiers
    return Operation(lambda x, y, z: np.where(z >= 0, x, y), (kind, kind, by), kind)


def _conversion(modifiers: list[str]) -> Operation | None:
    *flags, to, source = modifiers
    if to in ("f16x2", "bf16x2") and source == "f32":
        half = _conversion([*flags, to[:-2], source])
        return half and Operation(_paired(half.compute), (source, source), to)
    modes = [flag for flag in flags if flag in ROUNDINGS or flag.removesuffix("i") in ROUNDINGS]
    if {to, source} - SIZES.keys() or set(flags) - {"ftz", "sat", *modes} or len(modes) > 1:
        return None
    mode = modes[0] if modes else "rn"
    convert = _converter(to, source, mode, "sat" in flags)
    if convert is None:
        return None
    if "ftz" in flags and source == "f32":
        unflushed = convert
        convert = lambda x: unflushed(floats.flushed(x))  # noqa: E731
    if "ftz" in flags and to == "f32":
        subnormal = convert
        convert = lambda x: floats.flushed(subnormal(x))  # noqa: E731
    return Operation(convert, (source,), to)


def _paired(convert: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """Two results in one register, the first in its upper half."""

    def compute(upper: Array, lower: Array) -> Array:
        return np.stack([convert(lower), convert(upper)], axis=-1).reshape(-1).view(np.uint32)

    return compute


def _converter(to: str, source: str, mode: str, saturate: bool) -> Callable[[Array], Array] | None:
    dtype = numpy_type(to)
    decode = _bf16_values if source == "bf16" else lambda x: x
    if to not in DTYPES:
        if source in DTYPES:
            return (lambda x: floats.to_integer(decode(x), dtype, mode)) if mode.endswith("i") else None
        if not saturate:
            return lambda x: x.astype(dtype)
        limits = np.iinfo(dtype)
        given = np.iinfo(numpy_type(source))
        low, high = max(limits.min, given.min), min(limits.max, given.max)
        return lambda x: np.clip(x, x.dtype.type(low), x.dtype.type(high)).astype(dtype)
    if source not in DTYPES:
        return _finished(lambda x: floats.from_integer(x, to, mode), to, saturate)
    if mode.endswith("i"):
        whole = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[mode]
        return _finished(lambda x: floats.rounded(whole(decode(x).astype(np.float64)), to), to, saturate)
    return _finished(lambda x: floats.rounded(decode(x).astype(np.float64), to, mode), to, saturate)


def _finished(convert: Callable[[Array], Array], to: str, saturate: bool) -> Callable[[Array], Array]:
    bounded = (lambda x: _saturated(convert(x))) if saturate else convert
    return (lambda x: _bf16_bits(bounded(x))) if to == "bf16" else bounded
