"""The ranges of loops: a counter for scf, and the loop's variable of a counter."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from xdsl.dialects.arith import (
    AddiOp,
    AndIOp,
    CmpiOp,
    DivUIOp,
    ExtSIOp,
    ExtUIOp,
    IndexCastOp,
    MaxUIOp,
    MinUIOp,
    MuliOp,
    OrIOp,
    SelectOp,
    ShLIOp,
    ShRUIOp,
    SubiOp,
    TruncIOp,
)
from xdsl.dialects.builtin import IndexType, IntegerType, i64
from xdsl.ir import SSAValue

from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.scalars import Arithmetic, exceeds_int
from hpacml.frontend.python.types import INT

_MOST = (1 << 63) - 1
"""The most iterations. A loop of more never ends, as one of these."""

_WIDE = IntegerType(128)
"""Integers that hold the numbers of `int64` and `uint64`, and their distances."""


@dataclass(frozen=True)
class Range:
    """The numbers of a `for`. Each is an `int`, or a `uint64` that may be too large for one."""

    start: Number
    stop: Number
    step: Number

    @property
    def is_wide(self) -> bool:
        return any(number.type is not INT for number in (self.start, self.stop, self.step))

    @property
    def unit(self) -> int | None:
        """1 or -1 if that is the step, and 64 bits with a sign hold all numbers."""
        return None if self.is_wide or self.step.constant not in (1, -1) else int(self.step.constant)

    @property
    def least(self) -> int | None:
        """A lower bound of the numbers, None if none is known."""
        if self.step.least is not None and self.step.least >= 0:
            return self.start.least
        descends = self.step.constant is not None
        return self.stop.least + 1 if descends and self.stop.least is not None else None


def range_of(context: Context, node: ast.Call) -> Range:
    """The range that a call of `range` or `prange` makes. Raises `CompileError`."""
    if node.keywords or not 1 <= len(node.args) <= 3:
        raise context.error(node, "a range has one to three numbers: range([start,] stop[, step])")
    numbers = [_bound(context, argument) for argument in node.args]
    start, stop = (Number(INT, 0), numbers[0]) if len(numbers) == 1 else numbers[:2]
    step = numbers[2] if len(numbers) == 3 else Number(INT, 1)
    if step.constant == 0:
        raise context.error(node.args[2], "the step of a range is 0")
    return Range(start, stop, step)


def _bound(context: Context, node: ast.expr) -> Number:
    """A bound or a step: an `int`, or a `uint64` unless it is known to fit one."""
    number = context.number(node)
    fits = number.constant is not None and number.constant <= INT.limits[1]
    if exceeds_int(number.type) and not fits:
        return number
    with context.at(node):
        return context.numbers.integer(number, "a bound or step of a range")


class Counters:
    """Emits bounds of counters, and the numbers of a range."""

    def __init__(self, numbers: Arithmetic):
        self._numbers = numbers
        self._emit = numbers.emit

    def bounds(self, range: Range) -> tuple[SSAValue, SSAValue, SSAValue]:
        """Bounds and step of a counter for scf, which neither leaves 64 bits nor passes its upper bound.

        With a step of 1 it is the loop's variable, and with -1 its complement, since `~i` turns the order of all
        integers round. With another step it counts the iterations from 0, because the number after the last one may
        be too large.
        """
        ssa, one = self._numbers.ssa, self._emit.index(1)
        match range.unit:
            case 1:
                return ssa(range.start), ssa(range.stop), one
            case -1:
                return ssa(self._complement(range.start)), ssa(self._complement(range.stop)), one
            case _:
                return self._emit.index(0), self.count(range), one

    def count(self, range: Range) -> SSAValue:
        """The number of iterations, 0 for a step of 0."""
        return self._wide_count(range) if range.is_wide else self._count(range)

    def length(self, found: Range) -> Number:
        """The same as a number, a constant if all numbers of the range are."""
        bounds = [number.constant for number in (found.start, found.stop, found.step)]
        known = [int(bound) for bound in bounds if bound is not None]
        if len(known) < len(bounds) or not all(known[2:]):
            return Number(INT, self.count(found), bound=0)
        start, stop, step = known
        return Number(INT, min(_MOST, max(0, -((start - stop) // step))))

    def number(self, range: Range, counter: SSAValue) -> Number:
        """The loop's variable. An `int`, it wraps around beyond 64 bits."""
        number = Number(INT, counter)
        if range.unit == -1:
            number = self._complement(number)
        elif range.unit is None:
            start = self._numbers.convert(range.start, INT)
            distance = self._numbers.binary(ast.Mult, number, self._wrapped(range.step))
            number = self._numbers.binary(ast.Add, start, distance)
        return replace(number, bound=range.least)

    def _complement(self, number: Number) -> Number:
        return self._numbers.invert(number) if number.constant is None else Number(INT, ~int(number.constant))

    def _wrapped(self, number: Number) -> Number:
        if number.constant is None:
            return self._numbers.convert(number, INT)
        whole = int(number.constant)
        return Number(INT, whole - (1 << 64) if whole >> 63 > 0 else whole)

    def _count(self, range: Range) -> SSAValue:
        value, constant = self._emit.value, self._emit.index
        start, stop, step = map(self._numbers.ssa, (range.start, range.stop, range.step))
        if range.step.constant is None:
            ascends = value(CmpiOp(step, constant(0), "sgt"))
            low, high = (value(SelectOp(ascends, *ends)) for ends in ((start, stop), (stop, start)))
            size = value(SelectOp(ascends, step, value(SubiOp(constant(0), step))))
            divisor = value(MaxUIOp(size, constant(1)))
        else:
            low, high = (start, stop) if range.step.constant > 0 else (stop, start)
            size = abs(int(range.step.constant))
            divisor = constant(size if size < 1 << 63 else -size)
        # Without a sign, both the distance and the size of the step fit 64 bits.
        rest = value(SubiOp(value(SubiOp(high, low)), constant(1)))
        last = value(DivUIOp(rest, divisor))
        count = value(AddiOp(value(MinUIOp(last, constant(_MOST - 1))), constant(1)))
        some = value(CmpiOp(low, high, "slt"))
        if range.step.constant is None:
            some = value(AndIOp(some, value(CmpiOp(step, constant(0), "ne"))))
        return value(SelectOp(some, count, constant(0)))

    def _wide_count(self, range: Range) -> SSAValue:
        """The same where numbers are those of Python, with a sign or without."""
        value = self._emit.value
        start, stop, step = map(self._wide, (range.start, range.stop, range.step))
        zero, one = (self._emit.constant(number, _WIDE) for number in (0, 1))
        ascends = value(CmpiOp(step, zero, "sgt"))
        low, high = (value(SelectOp(ascends, *ends)) for ends in ((start, stop), (stop, start)))
        size = value(SelectOp(ascends, step, value(SubiOp(zero, step))))
        rest = value(SubiOp(value(SubiOp(high, low)), one))
        count = value(AddiOp(value(MinUIOp(self._quotient(rest, size), self._emit.constant(_MOST - 1, _WIDE))), one))
        some = value(AndIOp(value(CmpiOp(low, high, "slt")), value(CmpiOp(step, zero, "ne"))))
        return value(IndexCastOp(value(TruncIOp(value(SelectOp(some, count, zero)), i64)), IndexType()))

    def _quotient(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """`a // b` of 65 and 64 bits, by a division of 64 bits: processors have no wider one. Any number for b = 0."""
        value, one = self._emit.value, self._emit.constant(1, _WIDE)
        divisor = value(MaxUIOp(value(TruncIOp(b, i64)), self._emit.constant(1, i64)))
        half = value(TruncIOp(value(ShRUIOp(a, one)), i64))
        quotient = value(DivUIOp(half, divisor))
        rest = value(SubiOp(half, value(MuliOp(quotient, divisor))))

        def doubled(number: SSAValue) -> SSAValue:
            return value(ShLIOp(value(ExtUIOp(number, _WIDE)), one))

        rest = value(OrIOp(doubled(rest), value(AndIOp(a, one))))
        one_more = value(CmpiOp(rest, value(ExtUIOp(divisor, _WIDE)), "uge"))
        return value(OrIOp(doubled(quotient), value(ExtUIOp(one_more, _WIDE))))

    def _wide(self, number: Number) -> SSAValue:
        """A number of 64 bits in more."""
        if number.constant is not None:
            return self._emit.constant(number.constant, _WIDE)
        value = self._numbers.ssa(number)
        if number.type is INT:
            return self._emit.value(ExtSIOp(self._emit.value(IndexCastOp(value, i64)), _WIDE))
        return self._emit.value(ExtUIOp(value, _WIDE))
