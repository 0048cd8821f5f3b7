"""The arithmetics in which maps are resolved: the protocol, and its versions on known, partly known and named integers.

The lowering has another one, on values of an IR under construction: one mathematics turns text into strides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Protocol, TypeVar

from hpacml.errors import MapError
from hpacml.functors.polynomials import Poly, Ring

V = TypeVar("V")
C = TypeVar("C")

OVERFLOW = (1 << 63) - 1
"""Compiled code passes it for a number of a map that does not fit 64 bits."""

STEP_0 = "the step of a range is 0"


class Judge(Protocol):
    """Decides exactly what a sufficient condition leaves open."""

    def __call__(self, *, early: bool = False) -> None:
        """Raise `MapError` if the map is wrong; with `early`, only if that is quickly known before the run."""
        ...


class Arithmetic(Ring[V], Protocol[V, C]):
    """Computes the numbers of a resolved map: values `V` and conditions `C`."""

    def sub(self, a: V, b: V) -> V: ...
    def known(self, a: V) -> int | None:
        """The number if it is known, else None."""
        ...

    def extent(self, length: V, step: V) -> V:
        """`max(0, ceil(length / step))`."""
        ...

    def divide(self, a: V, b: V) -> V:
        """`a / b` where it is exact and `b` positive, else 0."""
        ...

    def same(self, a: V, b: V) -> bool:
        """Whether `a` and `b` are known to be the same number."""
        ...

    def le(self, a: V, b: V) -> C: ...
    def eq(self, a: V, b: V) -> C: ...
    def any(self, conditions: Sequence[C]) -> C: ...
    def all(self, conditions: Sequence[C]) -> C: ...
    def select(self, condition: C, a: V, b: V) -> V: ...
    def require(self, condition: C, message: Callable[[], str]) -> None:
        """Require that the condition holds; `message` says what is wrong when it does not."""
        ...

    def require_judged(self, condition: C, judge: Judge) -> None:
        """Require that the condition holds, or else that `judge` raises nothing."""
        ...


def total(values: Iterable[V], a: Arithmetic[V, C]) -> V:
    """The sum of `values`."""
    return reduce(a.add, values, a.constant(0))


def minimum(x: V, y: V, a: Arithmetic[V, C]) -> V:
    """The smaller of two values."""
    return x if a.same(x, y) else a.select(a.le(x, y), x, y)


def maximum(x: V, y: V, a: Arithmetic[V, C]) -> V:
    """The larger of two values."""
    return x if a.same(x, y) else a.select(a.le(x, y), y, x)


class Exact:
    """Arithmetic on Python integers, which checks requirements at once and raises `MapError`."""

    def constant(self, value: int) -> int:
        return value

    def add(self, a: int, b: int) -> int:
        return a + b

    def sub(self, a: int, b: int) -> int:
        return a - b

    def mul(self, a: int, b: int) -> int:
        return a * b

    def known(self, a: int) -> int | None:
        return a

    def extent(self, length: int, step: int) -> int:
        if step == 0:
            raise MapError(STEP_0)
        return max(0, -(-length // step))

    def divide(self, a: int, b: int) -> int:
        return a // b if b > 0 and a % b == 0 else 0

    def same(self, a: int, b: int) -> bool:
        return a == b

    def le(self, a: int, b: int) -> bool:
        return a <= b

    def eq(self, a: int, b: int) -> bool:
        return a == b

    def any(self, conditions: Sequence[bool]) -> bool:
        return any(conditions)

    def all(self, conditions: Sequence[bool]) -> bool:
        return all(conditions)

    def select(self, condition: bool, a: int, b: int) -> int:
        return a if condition else b

    def require(self, condition: bool, message: Callable[[], str]) -> None:
        if not condition:
            raise MapError(message())

    def require_judged(self, condition: bool, judge: Judge) -> None:
        if not condition:
            judge()


EXACT = Exact()


class _Doubtful:
    """Conditions that are None where unknown. Raises `MapError` for those that are known not to hold."""

    def any(self, conditions: Sequence[bool | None]) -> bool | None:
        return True if True in conditions else None if None in conditions else False

    def all(self, conditions: Sequence[bool | None]) -> bool | None:
        return False if False in conditions else None if None in conditions else True

    def require(self, condition: bool | None, message: Callable[[], str]) -> None:
        if condition is False:
            raise MapError(message())


class Partial(_Doubtful):
    """Arithmetic on integers, None where unknown, which checks early what is known and raises `MapError`."""

    def constant(self, value: int) -> int | None:
        return value

    def add(self, a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else a + b

    def sub(self, a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else a - b

    def mul(self, a: int | None, b: int | None) -> int | None:
        if a == 0 or b == 0:
            return 0
        return None if a is None or b is None else a * b

    def known(self, a: int | None) -> int | None:
        return a

    def extent(self, length: int | None, step: int | None) -> int | None:
        if step == 0:
            raise MapError(STEP_0)
        return None if length is None or step is None else EXACT.extent(length, step)

    def divide(self, a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else EXACT.divide(a, b)

    def same(self, a: int | None, b: int | None) -> bool:
        return a is not None and a == b

    def le(self, a: int | None, b: int | None) -> bool | None:
        return None if a is None or b is None else a <= b

    def eq(self, a: int | None, b: int | None) -> bool | None:
        return None if a is None or b is None else a == b

    def select(self, condition: bool | None, a: int | None, b: int | None) -> int | None:
        if condition is None:
            return a if self.same(a, b) else None
        return a if condition else b

    def require_judged(self, condition: bool | None, judge: Judge) -> None:
        """Judge what is known; the rest is left to the run."""
        if not condition:
            judge(early=True)


PARTIAL = Partial()


class OnPolynomials:
    """The part of arithmetic on polynomials that is the same whatever their names stand for."""

    def constant(self, value: int) -> Poly:
        return Poly.constant(value)

    def add(self, a: Poly, b: Poly) -> Poly:
        return a + b

    def sub(self, a: Poly, b: Poly) -> Poly:
        return a - b

    def mul(self, a: Poly, b: Poly) -> Poly:
        return a * b

    def known(self, a: Poly) -> int | None:
        return a.as_int


class Named(OnPolynomials, _Doubtful):
    """Arithmetic on polynomials of names that stand for integers: equal ones are the same whatever the names stand for.

    What is no polynomial has a name of its own, made of what it is computed from. One with names is taken for another
    number than any constant: an extent `n` is not 1, which would broadcast.
    """

    def extent(self, length: Poly, step: Poly) -> Poly:
        """The length itself, where the step is 1: a length that is negative is an extent of 0, with the same name."""
        known = PARTIAL.extent(length.as_int, step.as_int)
        if known is not None:
            return Poly.constant(known)
        return length if step.as_int == 1 else Poly.name(f"extent({length}, {step})")

    def divide(self, a: Poly, b: Poly) -> Poly:
        known = PARTIAL.divide(a.as_int, b.as_int)
        return Poly.name(f"divide({a}, {b})") if known is None else Poly.constant(known)

    def same(self, a: Poly, b: Poly) -> bool:
        return a == b

    def le(self, a: Poly, b: Poly) -> bool | None:
        return PARTIAL.le(0, (b - a).as_int)

    def eq(self, a: Poly, b: Poly) -> bool | None:
        is_constant = a.as_int is not None or b.as_int is not None
        return a == b if is_constant else PARTIAL.eq(0, (b - a).as_int)

    def select(self, condition: bool | None, a: Poly, b: Poly) -> Poly:
        if condition is None:
            return a if a == b else Poly.name(f"either({a}, {b})")
        return a if condition else b

    def require_judged(self, condition: bool | None, judge: Judge) -> None:
        """Leave it to the run, which knows the numbers."""


NAMED = Named()
