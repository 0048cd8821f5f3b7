"""Division, remainders, shifts and truncation of values of the IR, by the rules of NumPy.

Python, processors and LLVM have other rules. Here no operation traps, and no result is undefined.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import IndexType, IntegerType, i64
from xdsl.ir import SSAValue

from hpacml.frontend.python.emitter import Emitter


class _Divisor(NamedTuple):
    """A divisor of integers that no processor traps on: 1 instead of 0, and instead of -1, which may overflow."""

    value: SSAValue
    is_zero: SSAValue | None = None
    is_minus_one: SSAValue | None = None


def floor_divide_integers(emit: Emitter, a: SSAValue, b: SSAValue, signed: bool, known: int | None) -> SSAValue:
    """`a // b`, or 0 if `b` is 0. `known` is the value of `b` if that is known and not 0."""
    zero = emit.constant(0, a.type)
    if known == -1:
        return emit.value(arith.SubiOp(zero, a))
    if signed and known is not None and known > 0:
        return _floor(emit, a, b, known)
    divisor = _safe(emit, b, signed, known)
    quotient = emit.value((arith.FloorDivSIOp if signed else arith.DivUIOp)(a, divisor.value))
    if divisor.is_minus_one is not None:
        quotient = _select(emit, divisor.is_minus_one, emit.value(arith.SubiOp(zero, a)), quotient)
    return quotient if divisor.is_zero is None else _select(emit, divisor.is_zero, zero, quotient)


def modulo_integers(emit: Emitter, a: SSAValue, b: SSAValue, signed: bool, known: int | None) -> SSAValue:
    """`a % b` with the sign of `b`, or 0 if `b` is 0."""
    zero = emit.constant(0, a.type)
    if known == -1:
        return zero
    if signed and known is not None and known > 0:
        if known & (known - 1) == 0:
            return emit.value(arith.AndIOp(a, emit.constant(known - 1, a.type)))
        return emit.value(arith.SubiOp(a, emit.value(arith.MuliOp(_floor(emit, a, b, known), b))))
    divisor = _safe(emit, b, signed, known).value
    if not signed:
        return emit.value(arith.RemUIOp(a, divisor))
    remainder = emit.value(arith.RemSIOp(a, divisor))
    other_sign = emit.value(arith.CmpiOp(emit.value(arith.XOrIOp(remainder, divisor)), zero, "slt"))
    wrong = emit.value(arith.AndIOp(emit.value(arith.CmpiOp(remainder, zero, "ne")), other_sign))
    return _select(emit, wrong, emit.value(arith.AddiOp(remainder, divisor)), remainder)


def _floor(emit: Emitter, a: SSAValue, b: SSAValue, known: int) -> SSAValue:
    """`a // b` for a positive constant: of a negative `a`, which is `~n`, it is `~(n // b)`."""
    if known & (known - 1) == 0:
        return emit.value(arith.ShRSIOp(a, emit.constant(known.bit_length() - 1, a.type)))
    bits = 64 if isinstance(a.type, IndexType) else cast("IntegerType[int]", a.type).width.data
    sign = emit.value(arith.ShRSIOp(a, emit.constant(bits - 1, a.type)))
    quotient = emit.value(arith.DivUIOp(emit.value(arith.XOrIOp(a, sign)), b))
    return emit.value(arith.XOrIOp(quotient, sign))


def shift_left(emit: Emitter, a: SSAValue, b: SSAValue, bits: int) -> SSAValue:
    """`a << b` in `bits` bits, or 0 if `b` is negative or at least `bits`."""
    zero, fits = emit.constant(0, a.type), _fits(emit, b, bits)
    return _select(emit, fits, emit.value(arith.ShLIOp(a, _select(emit, fits, b, zero))), zero)


def shift_right(emit: Emitter, a: SSAValue, b: SSAValue, bits: int, signed: bool) -> SSAValue:
    """`a >> b` in `bits` bits. If `b` is negative or at least `bits`, only the sign remains."""
    zero, fits = emit.constant(0, a.type), _fits(emit, b, bits)
    if signed:
        return emit.value(arith.ShRSIOp(a, _select(emit, fits, b, emit.constant(bits - 1, a.type))))
    return _select(emit, fits, emit.value(arith.ShRUIOp(a, _select(emit, fits, b, zero))), zero)


def truncate(emit: Emitter, a: SSAValue) -> SSAValue:
    """A float without its fraction as i64, or the least i64 if it does not fit or is NaN."""
    fits = emit.value(arith.CmpfOp(emit.value(math.AbsFOp(a)), emit.constant(2.0**63, a.type), "olt"))
    whole = emit.value(arith.FPToSIOp(_select(emit, fits, a, emit.constant(0.0, a.type)), i64))
    return _select(emit, fits, whole, emit.constant(-(1 << 63), i64))


def truncate_unsigned(emit: Emitter, a: SSAValue) -> SSAValue:
    """A float without its fraction as an unsigned i64, or any if it does not fit."""
    half = emit.constant(2.0**63, a.type)
    high = emit.value(arith.CmpfOp(a, half, "oge"))
    low = truncate(emit, _select(emit, high, emit.value(arith.SubfOp(a, half)), a))
    return emit.value(arith.XOrIOp(low, _select(emit, high, emit.constant(-(1 << 63), i64), emit.constant(0, i64))))


def _safe(emit: Emitter, b: SSAValue, signed: bool, known: int | None) -> _Divisor:
    if known is not None:
        return _Divisor(b)
    is_zero = unsafe = emit.value(arith.CmpiOp(b, emit.constant(0, b.type), "eq"))
    is_minus_one = None
    if signed:
        is_minus_one = emit.value(arith.CmpiOp(b, emit.constant(-1, b.type), "eq"))
        unsafe = emit.value(arith.OrIOp(is_zero, is_minus_one))
    return _Divisor(_select(emit, unsafe, emit.constant(1, b.type), b), is_zero, is_minus_one)


def _fits(emit: Emitter, shift: SSAValue, bits: int) -> SSAValue:
    return emit.value(arith.CmpiOp(shift, emit.constant(bits, shift.type), "ult"))


def _select(emit: Emitter, condition: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
    return emit.value(arith.SelectOp(condition, a, b))
