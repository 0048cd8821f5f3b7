"""A tensor functor as it is declared, `[lhs] = ([rhs_1], ..., [rhs_q])`: what its names mean, whether its sides agree.

A functor applied to targets (arrays with a range per dimension) says, for each point of a sweep, which elements of the
targets make up the features of a dense tensor (paper, sections III-A and IV-A): `hpacml.functors.application`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, reduce

from hpacml.errors import HpacmlError
from hpacml.functors.polynomials import Poly

ONE = Poly.constant(1)

LHS = -1
"""The `slice` of a `FunctorError` that concerns the left side."""


class FunctorError(HpacmlError):
    """A functor that contradicts itself; `slice` (`LHS` or the RHS position) and `entry` say where."""

    def __init__(self, message: str, slice: int, entry: int = 0):
        self.message = message
        self.slice = slice
        self.entry = entry
        super().__init__(message)


@dataclass(frozen=True)
class Point:
    """A slice entry without a colon."""

    index: Poly

    @property
    def polys(self) -> tuple[Poly, ...]:
        """The polynomials of the entry."""
        return (self.index,)

    @property
    def names(self) -> frozenset[str]:
        """The names that occur."""
        return self.index.names

    def __str__(self) -> str:
        return str(self.index)


@dataclass(frozen=True)
class Range:
    """A slice entry `start:stop[:step]`, half-open."""

    start: Poly
    stop: Poly
    step: Poly = ONE

    @property
    def polys(self) -> tuple[Poly, ...]:
        """The polynomials of the entry."""
        return (self.start, self.stop, self.step)

    @property
    def names(self) -> frozenset[str]:
        """The names that occur."""
        return self.start.names | self.stop.names | self.step.names

    @property
    def count(self) -> Poly | None:
        """The number of elements as a polynomial, or None where no polynomial gives it."""
        length, step = self.stop - self.start, self.step.as_int
        if step == 1:
            return length if length.as_int is None else Poly.constant(max(0, length.as_int or 0))
        if step and length.as_int is not None:
            return Poly.constant(max(0, -(-length.as_int // step)))
        return None

    def __str__(self) -> str:
        parts = [str(self.start), str(self.stop)]
        if self.step != ONE:
            parts.append(str(self.step))
        simple = all(" " not in part for part in parts)
        return (":" if simple else " : ").join(parts)


Entry = Point | Range
Slice = tuple[Entry, ...]


def format_slice(entries: Slice) -> str:
    """`[i, j - 1 : j + 2]`."""
    return f"[{', '.join(map(str, entries))}]"


def names_of(entries: Iterable[Entry]) -> frozenset[str]:
    """The names that occur in entries."""
    return frozenset[str]().union(*(entry.names for entry in entries))


@dataclass(frozen=True)
class Functor:
    """A functor whose names have meanings: those in `params` are integers, the others symbols.

    Raises `FunctorError` where the sides contradict each other or are not affine in the symbols.
    """

    lhs: Slice
    rhs: tuple[Slice, ...]
    params: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.rhs:
            raise FunctorError("the right side has no slice: give at least one, as in ([i])", LHS)
        for position, entries in enumerate(self.rhs):
            for m, entry in enumerate(entries):
                self._check_rhs(entry, position, m)
        self._check_lhs()
        declared, given = self.declared_features, self.given_features
        if declared is not None and given is not None:
            if (declared - given).as_int not in (0, None):
                raise FunctorError(self.count_message(str(declared), str(given)), LHS, (*self.feature_dims, 0)[0])

    # -- what the names mean ---------------------------------------------------------------------

    @cached_property
    def rhs_symbols(self) -> frozenset[str]:
        """The symbols that occur on the right side."""
        return frozenset[str]().union(*map(names_of, self.rhs)) - self.params

    @cached_property
    def sweep(self) -> tuple[str, ...]:
        """The sweep symbols in the order of the left side."""
        names = (e.index.as_name for e in self.lhs if isinstance(e, Point))
        return tuple(n for n in names if n is not None and n in self.rhs_symbols)

    @cached_property
    def feature_dims(self) -> tuple[int, ...]:
        """The positions of the feature dimensions on the left side."""
        return tuple(
            d for d, e in enumerate(self.lhs) if isinstance(e, Range) or e.index.as_name not in self.rhs_symbols
        )

    @cached_property
    def inferred_dim(self) -> int | None:
        """The position of the feature dimension whose size is inferred, if there is one."""
        return next((d for d in self.feature_dims if isinstance(self.lhs[d], Point)), None)

    @cached_property
    def used_params(self) -> tuple[str, ...]:
        """The parameters that occur, in alphabetical order."""
        return tuple(sorted((names_of(self.lhs) | names_of(e for s in self.rhs for e in s)) & self.params))

    @property
    def safe_bits(self) -> int:
        """The bits that sizes, bounds and parameters may have so that all numbers of a resolved map stay below 2^60."""

        def factors(entries: Slice) -> list[Poly]:
            counts = [e.stop - e.start for e in entries if isinstance(e, Range)]
            return counts + [Poly.name(s) for s in sorted(names_of(entries) - self.params - set(self.sweep))]

        polys = [p for entries in (self.lhs, *self.rhs) for e in entries for p in e.polys]
        products = [reduce(Poly.__mul__, factors(entries), ONE) for entries in (self.lhs, *self.rhs)]
        degree = max((len(monomial) for p in (*polys, *products) for monomial, _ in p.terms), default=0)
        weight = max((sum(abs(c) for _, c in p.terms) for p in (*polys, *products)), default=0)
        return max(0, 56 - weight.bit_length()) // max(1, degree)

    @property
    def declared_features(self) -> Poly | None:
        """The number of features of the left side, or None if it is inferred or not polynomial."""
        return _product_of_counts(self.lhs[d] for d in self.feature_dims)

    @property
    def given_features(self) -> Poly | None:
        """The number of features of the right side, or None if it depends on what the functor is mapped to."""
        total = Poly.constant(0)
        for entries in self.rhs:
            count = _product_of_counts(e for e in entries if isinstance(e, Range))
            if count is None or (names_of(entries) - self.params - set(self.sweep)):
                return None
            total = total + count
        return total

    def _check_lhs(self) -> None:
        seen: set[str] = set()
        for d, entry in enumerate(self.lhs):
            if isinstance(entry, Range):
                if symbols := sorted(entry.names - self.params):
                    raise FunctorError(
                        f"the feature range '{entry}' on the left depends on the symbol '{symbols[0]}': "
                        "its bounds may hold integers and integer parameters only",
                        LHS,
                        d,
                    )
                if entry.step.as_int == 0:
                    raise FunctorError(f"the step of '{entry}' is 0: leave it out, or give another", LHS, d)
                continue
            name = entry.index.as_name
            if name in self.params:
                raise FunctorError(
                    f"'{entry}' is an integer here, and so no symbol: write a range such as 0:{entry} for that many "
                    "features, or give the symbol another name",
                    LHS,
                    d,
                )
            if name is None:
                raise FunctorError(
                    f"'{entry}' on the left side is neither a symbol nor a range: "
                    "write a bare symbol for a dimension of the sweep, or a range such as 0:5 for features",
                    LHS,
                    d,
                )
            if name in seen:
                raise FunctorError(f"the symbol '{name}' stands twice on the left side", LHS, d)
            seen.add(name)
        inferred = [d for d in self.feature_dims if isinstance(self.lhs[d], Point)]
        if len(inferred) > 1:
            first, second = (str(self.lhs[d]) for d in inferred[:2])
            raise FunctorError(
                f"neither '{first}' nor '{second}' occurs on the right side, and only one dimension's size "
                "can be inferred: give one of them as a range",
                LHS,
                inferred[1],
            )

    def _check_rhs(self, entry: Entry, position: int, m: int) -> None:
        for poly in (entry.index,) if isinstance(entry, Point) else (entry.start, entry.stop, entry.step):
            for monomial, _ in poly.terms:
                symbols = [name for name in monomial if name not in self.params]
                if len(symbols) > 1:
                    what = (
                        f"squares the symbol '{symbols[0]}'"
                        if symbols[0] == symbols[1]
                        else f"multiplies the symbols '{symbols[0]}' and '{symbols[1]}'"
                    )
                    raise FunctorError(
                        f"'{entry}' {what}: indices must be affine in the symbols; a name is no symbol but an "
                        "integer parameter where an integer of that name is given",
                        position,
                        m,
                    )
        if isinstance(entry, Range):
            if symbols := sorted((entry.stop - entry.start).names - self.params):
                raise FunctorError(
                    f"the extent of '{entry}' depends on the symbol '{symbols[0]}': "
                    "a range must have the same number of elements at every point of the sweep",
                    position,
                    m,
                )
            if symbols := sorted(entry.step.names - self.params):
                raise FunctorError(
                    f"the step of '{entry}' depends on the symbol '{symbols[0]}': it must be the same at every point "
                    "of the sweep",
                    position,
                    m,
                )
            if entry.step.as_int == 0:
                raise FunctorError(f"the step of '{entry}' is 0: leave it out, or give another", position, m)

    @staticmethod
    def count_message(declared: str, given: str) -> str:
        """The error text for sides whose numbers of features differ."""
        noun = "feature" if declared == "1" else "features"
        return (
            f"the left side declares {declared} {noun}, the right side gives {given}: "
            "make the feature range on the left that long"
        )

    def __str__(self) -> str:
        return f"{format_slice(self.lhs)} = ({', '.join(map(format_slice, self.rhs))})"


def _product_of_counts(entries: Iterable[Entry]) -> Poly | None:
    total = ONE
    for entry in entries:
        count = entry.count if isinstance(entry, Range) else None
        if count is None:
            return None
        total = total * count
    return total
