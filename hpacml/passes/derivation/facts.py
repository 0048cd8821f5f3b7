"""What is known of the signs of polynomials, and what else deriving maps asks of them: parts in the place of names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hpacml.functors.arithmetic import OnPolynomials
from hpacml.functors.polynomials import Poly

ZERO, ONE = Poly.constant(0), Poly.constant(1)


def substitute(poly: Poly, values: Mapping[str, Poly]) -> Poly:
    """The polynomial with others in the places of names."""
    if not poly.names & values.keys():
        return poly
    return poly.evaluate({name: values.get(name, Poly.name(name)) for name in poly.names}, OnPolynomials())


def constant_part(poly: Poly) -> int:
    """The term without names."""
    return dict(poly.terms).get((), 0)


def divided(poly: Poly, divisor: int) -> Poly | None:
    """The polynomial divided by a number, None where a coefficient is no multiple of it."""
    if any(coefficient % divisor for _, coefficient in poly.terms):
        return None
    return Poly(tuple((monomial, coefficient // divisor) for monomial, coefficient in poly.terms))


class Facts:
    """What is known: polynomials that are not negative, and names of such."""

    def __init__(self, known: Sequence[Poly], is_size: Callable[[str], bool]):
        self._known = tuple(dict.fromkeys(known))
        self._is_size = is_size

    def and_(self, more: Sequence[Poly]) -> Facts:
        """These facts and more."""
        return Facts([*self._known, *more], self._is_size)

    def prove(self, poly: Poly) -> bool:
        """Whether the polynomial is known not to be negative: it, or it less one or two of the facts, is seen to be."""
        if self._plain(poly):
            return True
        rests = [poly - fact for fact in self._about(poly)]
        return any(map(self._plain, rests)) or any(
            self._plain(rest - fact) for rest in rests for fact in self._about(rest)
        )

    def _about(self, poly: Poly) -> list[Poly]:
        return [fact for fact in self._known if fact.names & poly.names]

    def at_least(self, a: Poly, b: Poly) -> bool:
        """Whether `a >= b` is known."""
        return self.prove(a - b)

    def _plain(self, poly: Poly) -> bool:
        return all(
            coefficient >= 0 and all(self._is_size(name) for name in monomial) for monomial, coefficient in poly.terms
        )
