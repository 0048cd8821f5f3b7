"""The arithmetic of maps on `index` values of an IR under construction.

Numbers are polynomials over values, conditions are formulas over polynomials; both are simplified as they
are made, and become `arith` operations only where an operation needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

from xdsl.dialects import arith
from xdsl.dialects.builtin import DYNAMIC_INDEX, BoolAttr, IndexType, IntegerAttr
from xdsl.ir import Operation, SSAValue

from hpacml.errors import MapError
from hpacml.functors.arithmetic import EXACT, STEP_0, Judge, OnPolynomials
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.located import Builder


@dataclass(frozen=True)
class AtLeast:
    """`number >= 0`."""

    number: Poly


@dataclass(frozen=True)
class Equal:
    """`number == 0`."""

    number: Poly


@dataclass(frozen=True)
class Any:
    """At least one condition holds."""

    conditions: frozenset[Condition]


@dataclass(frozen=True)
class All:
    """All conditions hold."""

    conditions: frozenset[Condition]


Condition: TypeAlias = bool | AtLeast | Equal | Any | All


def _simplest(conditions: Iterable[Condition], tightest: Callable[[int, int], int]) -> frozenset[Condition]:
    """Keep only the decisive one of bounds that differ by a constant: `tightest` is that of their constants."""
    bounds: dict[Poly, int] = {}
    kept: set[Condition] = set()
    for condition in conditions:
        if isinstance(condition, AtLeast):
            offset = condition.number.without(condition.number.names).as_int or 0
            varying = condition.number - Poly.constant(offset)
            bounds[varying] = tightest(bounds[varying], offset) if varying in bounds else offset
        else:
            kept.add(condition)
    return frozenset([*kept, *(AtLeast(p + Poly.constant(c)) for p, c in bounds.items())])


def _order(condition: Condition) -> str:
    """A text to sort by. Unlike the printed order of a set, it is the same in every process."""
    if isinstance(condition, Any | All):
        return f"{type(condition).__name__}({', '.join(sorted(map(_order, condition.conditions)))})"
    return str(condition)


def any_of(conditions: Iterable[Condition]) -> Condition:
    """Whether one of the conditions holds, simplified."""
    flat: set[Condition] = set()
    for condition in conditions:
        flat |= condition.conditions if isinstance(condition, Any) else {condition}
    if True in flat:
        return True
    flat = set(_simplest(flat - {False}, max))
    return Any(frozenset(flat)) if len(flat) > 1 else flat.pop() if flat else False


def all_of(conditions: Iterable[Condition]) -> Condition:
    """Whether all conditions hold, simplified."""
    flat: set[Condition] = set()
    for condition in conditions:
        flat |= condition.conditions if isinstance(condition, All) else {condition}
    if False in flat:
        return False
    flat = set(_simplest(flat - {True}, min))
    alternatives = [c.conditions for c in flat if isinstance(c, Any)]
    shared = frozenset[Condition]() if len(alternatives) < 2 else alternatives[0].intersection(*alternatives[1:])
    if shared:
        rest = all_of(any_of(each - shared) for each in alternatives)
        others = {c for c in flat if not isinstance(c, Any)}
        return all_of([*others, any_of([*shared, rest])])
    return All(frozenset(flat)) if len(flat) > 1 else flat.pop() if flat else True


class IndexArithmetic(OnPolynomials):
    """An `Arithmetic`: numbers are polynomials over the values met so far.

    A required condition that is known to fail raises `MapError`; those that only the run decides are collected in
    `conditions`.
    """

    def __init__(self, builder: Builder):
        self.builder = builder
        self.conditions: list[Condition] = []
        self._atoms: dict[str, SSAValue] = {}
        self._names: dict[SSAValue, str] = {}
        self._built: dict[tuple[object, ...], SSAValue] = {}

    def within(self, builder: Builder) -> IndexArithmetic:
        """The same numbers, with operations built in an inner block: values built there are used only there."""
        inner = IndexArithmetic(builder)
        inner._atoms, inner._names, inner._built = self._atoms, self._names, dict(self._built)
        return inner

    def apart(self, builder: Builder) -> IndexArithmetic:
        """The same numbers, with nothing built yet: a kernel gets only the values that it cannot build itself."""
        inner = IndexArithmetic(builder)
        inner._atoms, inner._names = self._atoms, self._names
        return inner

    def settled(self, number: Poly) -> Poly:
        """The number as one value, unless it is constant: inner blocks then do not compute it again."""
        return number if number.as_int is not None else self.number(self.value(number))

    # -- to and from the IR ----------------------------------------------------------------------

    def number(self, value: int | SSAValue) -> Poly:
        """The number that an integer or an `index` value stands for."""
        if isinstance(value, int):
            return Poly.constant(value)
        if value not in self._names:
            name = f"v{len(self._names):04}"
            self._names[value] = name
            self._atoms[name] = value
        return Poly.name(self._names[value])

    def value(self, number: Poly) -> SSAValue:
        """The number as an `index` value. Raises `MapError` for a known one that does not fit."""
        if (constant := number.as_int) is not None:
            if not -(1 << 63) <= constant < 1 << 63:
                raise MapError(f"the number {constant}, which follows from the map, does not fit 64 bits")
            return self._insert(("constant", constant), lambda: arith.ConstantOp(IntegerAttr(constant, IndexType())))
        if (name := number.as_name) is not None:
            return self._atoms[name]
        if ("number", number) not in self._built:
            self._built["number", number] = self._sum(number)
        return self._built["number", number]

    def mixed(self, number: Poly) -> int | SSAValue:
        """The number as an integer if it is known, else as an `index` value, and so is the one that stands for `?`."""
        constant = number.as_int
        return self.value(number) if constant in (None, DYNAMIC_INDEX) else constant

    def truth(self, condition: Condition) -> SSAValue:
        """The condition as an `i1` value."""
        match condition:
            case bool():
                return self._insert(("truth", condition), lambda: arith.ConstantOp(BoolAttr.from_bool(condition)))
            case AtLeast(number):
                return self._compare("sle", number)
            case Equal(number):
                return self._compare("eq", number)
            case Any(conditions):
                return self._join(arith.OrIOp, conditions)
            case All(conditions):
                return self._join(arith.AndIOp, conditions)

    def _insert(self, key: tuple[object, ...], build: Callable[[], Operation]) -> SSAValue:
        if key not in self._built:
            self._built[key] = self.builder.insert(build()).results[0]
        return self._built[key]

    def _binary(self, op: Callable[[SSAValue, SSAValue], Operation], a: SSAValue, b: SSAValue) -> SSAValue:
        return self._insert((op, a, b), lambda: op(a, b))

    def _sum(self, number: Poly) -> SSAValue:
        plus = [self._product(m, c) for m, c in number.terms if c > 0]
        minus = [self._product(m, -c) for m, c in number.terms if c < 0]
        total = reduce(lambda a, b: self._binary(arith.AddiOp, a, b), plus) if plus else self.value(Poly(()))
        return reduce(lambda a, b: self._binary(arith.SubiOp, a, b), minus, total)

    def _product(self, monomial: Sequence[str], coefficient: int) -> SSAValue:
        factors = [self._atoms[name] for name in monomial]
        if coefficient != 1 or not factors:
            factors.append(self.value(Poly.constant(coefficient)))
        return reduce(lambda a, b: self._binary(arith.MuliOp, a, b), factors)

    def _compare(self, predicate: str, number: Poly) -> SSAValue:
        """`smaller <= larger` or `smaller == larger`, where `number` is `larger - smaller`."""
        larger = self.value(Poly(tuple(term for term in number.terms if term[1] > 0)))
        smaller = self.value(Poly(tuple((m, -c) for m, c in number.terms if c < 0)))
        return self._insert((predicate, smaller, larger), lambda: arith.CmpiOp(smaller, larger, predicate))

    def _join(self, op: Callable[[SSAValue, SSAValue], Operation], conditions: Iterable[Condition]) -> SSAValue:
        ordered = sorted(conditions, key=_order)
        return reduce(lambda a, b: self._binary(op, a, b), [self.truth(c) for c in ordered])

    # -- hpacml.functors.arithmetic.Arithmetic ---------------------------------------------------------------

    def maximum(self, a: Poly, b: Poly) -> Poly:
        if (a - b).as_int is not None:
            return a if ((a - b).as_int or 0) >= 0 else b
        return self.number(self._binary(arith.MaxSIOp, self.value(a), self.value(b)))

    def extent(self, length: Poly, step: Poly) -> Poly:
        known_length, known_step = length.as_int, step.as_int
        if known_step == 0:
            raise MapError(STEP_0)
        if known_length is not None and known_step is not None:
            return Poly.constant(EXACT.extent(known_length, known_step))
        if known_step is None:
            zero = Equal(step)
            self.conditions.append(any_of([AtLeast(step - Poly.constant(1)), AtLeast(-step - Poly.constant(1))]))
            step = self.select(zero, Poly.constant(1), step)
        if known_step != 1:
            length = self.number(self._binary(arith.CeilDivSIOp, self.value(length), self.value(step)))
        return self.maximum(length, Poly.constant(0))

    def divide(self, a: Poly, b: Poly) -> Poly:
        known_a, known_b = a.as_int, b.as_int
        if known_a is not None and known_b is not None:
            return Poly.constant(EXACT.divide(known_a, known_b))
        if known_b == 1:
            return a
        divisor = self.value(self.maximum(b, Poly.constant(1)))
        rest = self.number(self._binary(arith.RemSIOp, self.value(a), divisor))
        exact = all_of([AtLeast(b - Poly.constant(1)), Equal(rest)])
        return self.select(exact, self.number(self._binary(arith.DivSIOp, self.value(a), divisor)), Poly(()))

    def same(self, a: Poly, b: Poly) -> bool:
        return a == b

    def le(self, a: Poly, b: Poly) -> Condition:
        difference = (b - a).as_int
        return AtLeast(b - a) if difference is None else difference >= 0

    def eq(self, a: Poly, b: Poly) -> Condition:
        difference = (b - a).as_int
        return Equal(b - a) if difference is None else difference == 0

    def any(self, conditions: Sequence[Condition]) -> Condition:
        return any_of(conditions)

    def all(self, conditions: Sequence[Condition]) -> Condition:
        return all_of(conditions)

    def select(self, condition: Condition, a: Poly, b: Poly) -> Poly:
        if isinstance(condition, bool):
            return a if condition else b
        if a == b:
            return a
        chosen, x, y = self.truth(condition), self.value(a), self.value(b)
        return self.number(self._insert(("select", chosen, x, y), lambda: arith.SelectOp(chosen, x, y)))

    def require(self, condition: Condition, message: Callable[[], str]) -> None:
        if condition is False:
            raise MapError(message())
        self.conditions.append(condition)

    def require_judged(self, condition: Condition, judge: Judge) -> None:
        self.conditions.append(condition)
