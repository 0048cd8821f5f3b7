"""Integer polynomials over names: the index expressions of functors (`i * m + 1`).

Names are the functor's symbolic constants and its integer parameters; `hpacml.functors.tensor_functor` decides which
is which. The printed form is canonical and parses back to the same polynomial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Protocol, TypeVar

V = TypeVar("V")

Monomial = tuple[str, ...]
"""The names multiplied in one term, sorted; `()` is the constant term."""


class Ring(Protocol[V]):
    """The arithmetic in which a polynomial is evaluated (see `hpacml.functors.arithmetic.Arithmetic`)."""

    def constant(self, value: int) -> V: ...
    def add(self, a: V, b: V) -> V: ...
    def mul(self, a: V, b: V) -> V: ...


@dataclass(frozen=True)
class Poly:
    """A polynomial with integer coefficients, in canonical order."""

    terms: tuple[tuple[Monomial, int], ...]

    @staticmethod
    def of(terms: Iterable[tuple[Monomial, int]]) -> Poly:
        """The polynomial that is the sum of `terms`."""
        total: dict[Monomial, int] = {}
        for monomial, coefficient in terms:
            key = tuple(sorted(monomial))
            total[key] = total.get(key, 0) + coefficient
        kept = ((m, c) for m, c in total.items() if c)
        return Poly(tuple(sorted(kept, key=lambda term: (-len(term[0]), term[0]))))

    @staticmethod
    def constant(value: int) -> Poly:
        """The polynomial that is a number."""
        return Poly.of([((), value)])

    @staticmethod
    def name(name: str) -> Poly:
        """The polynomial that is a name."""
        return Poly.of([((name,), 1)])

    def __add__(self, other: Poly) -> Poly:
        return Poly.of([*self.terms, *other.terms])

    def __neg__(self) -> Poly:
        return Poly(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Poly) -> Poly:
        return self + -other

    def __mul__(self, other: Poly) -> Poly:
        return Poly.of((m + n, c * d) for m, c in self.terms for n, d in other.terms)

    @property
    def names(self) -> frozenset[str]:
        """The names that occur."""
        return frozenset(name for monomial, _ in self.terms for name in monomial)

    @property
    def as_int(self) -> int | None:
        """The value of a constant polynomial, else None."""
        if not self.terms:
            return 0
        ((monomial, coefficient), *rest) = self.terms
        return coefficient if not monomial and not rest else None

    @property
    def as_name(self) -> str | None:
        """The name if the polynomial is just one name, else None."""
        if len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1:
            return self.terms[0][0][0]
        return None

    def coefficient(self, symbol: str) -> Poly:
        """The factor of `symbol` in a polynomial of degree at most one in it."""
        found: list[tuple[Monomial, int]] = []
        for monomial, c in self.terms:
            if symbol in monomial:
                rest = list(monomial)
                rest.remove(symbol)
                found.append((tuple(rest), c))
        return Poly.of(found)

    def without(self, symbols: Iterable[str]) -> Poly:
        """The terms in which none of `symbols` occurs."""
        gone = set(symbols)
        return Poly(tuple((m, c) for m, c in self.terms if not gone.intersection(m)))

    def evaluate(self, values: Mapping[str, V], ring: Ring[V]) -> V:
        """The value under `values`, computed in `ring`. Raises KeyError for a name without a value."""
        terms: list[V] = []
        for monomial, coefficient in self.terms:
            factors = [values[name] for name in monomial]
            if coefficient != 1 or not factors:
                factors.append(ring.constant(coefficient))
            terms.append(reduce(ring.mul, factors))
        return reduce(ring.add, terms) if terms else ring.constant(0)

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            factors = [*monomial]
            if abs(coefficient) != 1 or not monomial:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+"
            if text:
                text += f" {sign} "
            elif coefficient < 0:
                text += "-"
            text += " * ".join(factors)
        return text or "0"
