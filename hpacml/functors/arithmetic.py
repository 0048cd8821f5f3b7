"""The arithmetics in which maps are resolved: the protocol, and its versions on known and on partly known integers.

The lowering has a third, on values of an IR under construction: one mathematics turns text into strides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Protocol, TypeVar

from hpacml.errors import MapError
from hpacml.functors.polynomials import Ring

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


class Partial:
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

    def any(self, conditions: Sequence[bool | None]) -> bool | None:
        return True if True in conditions else None if None in conditions else False

    def all(self, conditions: Sequence[bool | None]) -> bool | None:
        return False if False in conditions else None if None in conditions else True

    def select(self, condition: bool | None, a: int | None, b: int | None) -> int | None:
        if condition is None:
            return a if self.same(a, b) else None
        return a if condition else b

    def require(self, condition: bool | None, message: Callable[[], str]) -> None:
        if condition is False:
            raise MapError(message())

    def require_judged(self, condition: bool | None, judge: Judge) -> None:
        """Judge what is known; the rest is left to the run."""
        if not condition:
            judge(early=True)


PARTIAL = Partial()
