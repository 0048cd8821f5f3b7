"""The mathematics of tensor functors and tensor maps, without text, IR or arrays.

A functor `[lhs] = ([rhs_1], ..., [rhs_q])` applied to targets (arrays with a range per dimension) says, for
each point of a sweep, which elements of the targets make up the features of a dense tensor (paper, sections
III-A and IV-A). `Functor.resolve` turns it into one strided `View` per slice. The numbers in it may be
Python integers, integers known only in part, or values of an IR under construction: they are computed in
an `Arithmetic`, of which `Exact` and `Partial` are here and the lowering brings its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations
from math import prod
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar, cast

from hpacml.errors import HpacmlError, MapError
from hpacml.functors.polynomials import Poly, Ring

V = TypeVar("V")
C = TypeVar("C")
Direction = Literal["to", "from"]
DIRECTIONS: dict[str, tuple[Direction, ...]] = {"to": ("to",), "from": ("from",), "inout": ("to", "from")}
"""In which directions a map must be valid."""

ONE = Poly.constant(1)
OVERFLOW = (1 << 63) - 1
"""What stands for a number of a map that does not fit 64 bits, in compiled code."""

STEP_0 = "the step of a range is 0"
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
        return (self.index,)

    @property
    def names(self) -> frozenset[str]:
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
        return (self.start, self.stop, self.step)

    @property
    def names(self) -> frozenset[str]:
        return self.start.names | self.stop.names | self.step.names

    @property
    def count(self) -> Poly | None:
        """The number of elements as a polynomial, or None where it is none (a step that does not divide)."""
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
    return frozenset[str]().union(*(entry.names for entry in entries))


class Arithmetic(Ring[V], Protocol[V, C]):
    """Where the numbers of a resolved map are computed: values `V`, conditions `C`."""

    def sub(self, a: V, b: V) -> V: ...
    def known(self, a: V) -> int | None:
        """The number, if it is known now."""
        ...

    def extent(self, length: V, step: V) -> V:
        """`max(0, ceil(length / step))`."""
        ...

    def divide(self, a: V, b: V) -> V:
        """`a / b` where it is exact and `b` positive, else 0."""
        ...

    def same(self, a: V, b: V) -> bool:
        """Whether both are known to be the same number."""
        ...

    def le(self, a: V, b: V) -> C: ...
    def eq(self, a: V, b: V) -> C: ...
    def any(self, conditions: Sequence[C]) -> C: ...
    def all(self, conditions: Sequence[C]) -> C: ...
    def select(self, condition: C, a: V, b: V) -> V: ...
    def require(self, condition: C, message: Callable[[], str]) -> None:
        """Demand that the condition holds; `message` tells what is wrong when it does not."""
        ...

    def require_distinct(self, condition: C, mapped: Mapped[V], targets: Sequence[Target[V]]) -> None:
        """Demand that no element is hit twice; `condition` is sufficient for that, not necessary.

        Arrays with an indirect target are left out: which of their elements are hit is not known here.
        """
        ...


@dataclass(frozen=True)
class TargetDim(Generic[V]):
    """One dimension of a target: the range `start:stop:step` over `size` elements.

    `single` marks a single index instead of a range (then `stop` is `start + 1`).
    """

    start: V
    stop: V
    step: V
    size: V
    single: bool = False


class Place(NamedTuple):
    """A dimension of an array."""

    array: str
    dim: int

    def __str__(self) -> str:
        return f"dimension {self.dim} of '{self.array}'"


@dataclass(frozen=True)
class Target(Generic[V]):
    """A target of a map: an array's name and the dimensions by which it is indexed.

    An `indirect` target is a virtual array (design: `V[x] = data[idx[x]]`): `places` says which dimension
    of which array each of its dimensions is. Elsewhere they are the dimensions of the array itself.
    """

    name: str
    dims: tuple[TargetDim[V], ...]
    places: tuple[Place, ...] = ()
    indirect: bool = False

    def place(self, m: int) -> Place:
        return self.places[m] if self.places else Place(self.name, m)


@dataclass(frozen=True)
class View(Generic[V]):
    """What one slice reads or writes: element `index[m] = base[m] + sum(steps[m][d] * k[d])`.

    `k` runs over `sizes`: the sweep dimensions in the order of the left side, then the slice's own
    features. `first` is the number of the view's first feature among all features of the map.
    """

    sizes: tuple[V, ...]
    base: tuple[V, ...]
    steps: tuple[tuple[V, ...], ...]
    first: V

    def strided(
        self, strides: Sequence[V], a: Arithmetic[V, C], dims: Sequence[int] | None = None
    ) -> tuple[V, tuple[V, ...]]:
        """Offset and strides of the view in memory, of which `dims` (all of the target's) have `strides`."""
        chosen = range(len(self.base)) if dims is None else dims

        def dot(xs: Sequence[V]) -> V:
            return _sum((a.mul(xs[m], stride) for m, stride in zip(chosen, strides, strict=True)), a)

        return dot(self.base), tuple(dot([row[d] for row in self.steps]) for d in range(len(self.sizes)))

    def moving(self, rows: Sequence[int], a: Arithmetic[V, C]) -> View[V]:
        """The view without the dimensions that move none of `rows` of the target.

        In place of those that may have no elements stands one of 0 or 1 elements, so that the view has
        elements if it had some before.
        """
        zero, one = a.constant(0), a.constant(1)
        dims = range(len(self.sizes))
        kept = [d for d in dims if not all(a.same(self.steps[m][d], zero) for m in rows)]
        nonempty = a.all([a.le(one, self.sizes[d]) for d in dims if d not in kept])
        presence = a.select(nonempty, one, zero)
        sizes, steps = tuple(self.sizes[d] for d in kept), tuple(tuple(row[d] for d in kept) for row in self.steps)
        if not a.same(presence, one):
            sizes, steps = (presence, *sizes), tuple((zero, *row) for row in steps)
        return View(sizes, self.base, steps, self.first)


@dataclass(frozen=True)
class Mapped(Generic[V]):
    """A functor applied to targets: the dense tensor's shape and one view per slice."""

    shape: tuple[V, ...]
    views: tuple[View[V], ...]


@dataclass(frozen=True)
class Functor:
    """A functor with its names told apart: those in `params` are integers, the others symbols.

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
                raise FunctorError(self._count_message(str(declared), str(given)), LHS, (*self.feature_dims, 0)[0])

    # -- what the names mean ---------------------------------------------------------------------

    @cached_property
    def rhs_symbols(self) -> frozenset[str]:
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
        """Numbers of so many bits keep the numbers of a resolved map below 2^60 (sums of a few fit 64 bits)."""

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
    def _count_message(declared: str, given: str) -> str:
        noun = "feature" if declared == "1" else "features"
        return (
            f"the left side declares {declared} {noun}, the right side gives {given}: "
            "make the feature range on the left that long"
        )

    # -- applying it -----------------------------------------------------------------------------

    def resolve(
        self,
        targets: Sequence[Target[V]],
        params: Mapping[str, V],
        direction: Direction,
        a: Arithmetic[V, C],
    ) -> Mapped[V]:
        """Apply the functor to `targets` (one for all slices, or one per slice).

        Everything that must hold is demanded through `a.require`; ranks and the number of targets
        raise `MapError` at once.
        """
        targets = self._target_per_slice(targets)
        one = a.constant(1)
        extents = self._symbol_extents(targets, direction, a)
        sweep_sizes = tuple(extents[s] for s in self.sweep)
        views: list[View[V]] = []
        first = a.constant(0)
        for entries, target in zip(self.rhs, targets, strict=True):
            features = self._slice_features(entries, params, extents, a)
            sizes = sweep_sizes + tuple(size for _, size in features)
            rows = [
                self._access(m, entry, target.dims[m], [key for key, _ in features], params, extents, a)
                for m, entry in enumerate(entries)
            ]
            view = View(sizes, tuple(base for base, _ in rows), tuple(steps for _, steps in rows), first)
            views.append(view)
            self._check_bounds(entries, view, target, a)
            first = a.add(first, reduce(a.mul, (size for _, size in features), one))
        mapped = Mapped(self._shape(params, extents, first, a), tuple(views))
        if direction == "from":
            a.require_distinct(_separate(mapped, targets, a), mapped, targets)
        return mapped

    def _target_per_slice(self, targets: Sequence[Target[V]]) -> Sequence[Target[V]]:
        if len(targets) == 1:
            targets = [targets[0]] * len(self.rhs)
        if len(targets) != len(self.rhs):
            raise MapError(
                f"the functor has {len(self.rhs)} slices on its right side but is applied to {len(targets)} "
                "targets: give one target for all slices, or one per slice"
            )
        for entries, target in zip(self.rhs, targets, strict=True):
            if len(entries) != len(target.dims):
                raise MapError(
                    f"the slice {format_slice(entries)} has {len(entries)} "
                    f"{'entry' if len(entries) == 1 else 'entries'}, but the target '{target.name}' has "
                    f"{len(target.dims)} {'dimension' if len(target.dims) == 1 else 'dimensions'}"
                )
        return targets

    def _symbol_extents(self, targets: Sequence[Target[V]], direction: Direction, a: Arithmetic[V, C]) -> dict[str, V]:
        """The extent of each symbol, agreed between all its uses."""
        extents: dict[str, V] = {}
        origin: dict[str, str] = {}
        one = a.constant(1)
        uses = [
            (symbol, target, m)
            for entries, target in zip(self.rhs, targets, strict=True)
            for m, entry in enumerate(entries)
            for symbol in sorted(entry.names - self.params)
        ]
        for symbol, target, m in uses:
            extent, place = _extent(target.dims[m], a), str(target.place(m))
            if symbol not in extents:
                extents[symbol], origin[symbol] = extent, place
                continue
            known = extents[symbol]
            if a.same(known, extent):
                continue

            def disagree(symbol: str = symbol, known: V = known, extent: V = extent, place: str = place) -> str:
                hint = " (an extent of 1 broadcasts in 'to' maps only)" if direction == "from" else ""
                return (
                    f"the symbol '{symbol}' runs over {known} values in {origin[symbol]} but over {extent} in "
                    f"{place}{hint}"
                )

            equal, is_one = a.eq(known, extent), a.eq(known, one)
            if direction == "from":
                a.require(equal, disagree)
            else:
                a.require(a.any([equal, is_one, a.eq(extent, one)]), disagree)
                extents[symbol] = a.select(is_one, extent, known)
        for symbol, target, m in uses:
            if target.dims[m].single:
                extent = extents[symbol]
                a.require(
                    a.eq(extent, one),
                    lambda symbol=symbol, target=target, m=m, extent=extent: (
                        f"{target.place(m)} is a single index, but the symbol '{symbol}' that "
                        f"meets it runs over {extent} values: write a range"
                    ),
                )
        return extents

    def _slice_features(
        self, entries: Slice, params: Mapping[str, V], extents: Mapping[str, V], a: Arithmetic[V, C]
    ) -> list[tuple[str | int, V]]:
        """The slice's own feature dimensions: a symbol that the left side lacks, or a range (its position)."""
        features: dict[str | int, V] = {}
        for m, entry in enumerate(entries):
            for symbol in sorted(entry.names - self.params - set(self.sweep)):
                features[symbol] = extents[symbol]
            if isinstance(entry, Range):
                length = (entry.stop - entry.start).evaluate(params, a)
                features[m] = a.extent(length, entry.step.evaluate(params, a))
        return list(features.items())

    def _access(
        self,
        m: int,
        entry: Entry,
        dim: TargetDim[V],
        features: Sequence[str | int],
        params: Mapping[str, V],
        extents: Mapping[str, V],
        a: Arithmetic[V, C],
    ) -> tuple[V, tuple[V, ...]]:
        """Base index and steps of entry `m` in its dimension of the target."""
        zero, one = a.constant(0), a.constant(1)
        poly = entry.index if isinstance(entry, Point) else entry.start
        symbols = poly.names - self.params
        base = poly.without(symbols).evaluate(params, a)
        factors = {s: poly.coefficient(s).evaluate(params, a) for s in sorted(symbols)}
        for factor in factors.values():
            base = a.add(base, a.mul(factor, dim.start))

        def step(key: str | int) -> V:
            if isinstance(key, int):
                return entry.step.evaluate(params, a) if key == m and isinstance(entry, Range) else zero
            if key not in factors:
                return zero
            value, extent = a.mul(factors[key], dim.step), _extent(dim, a)
            if a.same(extent, extents[key]):
                return value
            return a.select(a.eq(extent, one), zero, value)

        return base, tuple(step(key) for key in [*self.sweep, *features])

    def _check_bounds(self, entries: Slice, view: View[V], target: Target[V], a: Arithmetic[V, C]) -> None:
        """Every element touched lies inside the array; entries without a symbol inside their range."""
        zero, one = a.constant(0), a.constant(1)
        empty = [a.le(size, zero) for size in view.sizes]
        for m, (entry, dim) in enumerate(zip(entries, target.dims, strict=True)):
            low, high = _reach(view, m, a)

            def outside(index: V, entry: Entry = entry, m: int = m, dim: TargetDim[V] = dim) -> Callable[[], str]:
                return lambda: (
                    f"the entry '{entry}' of the slice {format_slice(entries)} reaches index {index} in "
                    f"{target.place(m)}, which has {dim.size} elements"
                )

            a.require(a.any([*empty, a.le(zero, low)]), outside(low))
            a.require(a.any([*empty, a.le(a.add(high, one), dim.size)]), outside(high))
            if not entry.names - self.params:
                begin, extent = dim.start, _extent(dim, a)
                end = a.add(begin, a.mul(dim.step, a.sub(extent, one)))
                least, most = minimum(begin, end, a), maximum(begin, end, a)

                def not_in_range(entry: Entry = entry, m: int = m, least: V = least, most: V = most) -> str:
                    return (
                        f"the entry '{entry}' of the slice {format_slice(entries)} is an absolute index, and "
                        f"lies outside the range of {target.place(m)} ({least} to {most})"
                    )

                inside = a.all([a.le(one, extent), a.le(least, low), a.le(high, most)])
                a.require(a.any([*empty, inside]), not_in_range)

    def _shape(self, params: Mapping[str, V], extents: Mapping[str, V], given: V, a: Arithmetic[V, C]) -> tuple[V, ...]:
        sizes: dict[int, V] = {}
        for d in self.feature_dims:
            entry = self.lhs[d]
            if isinstance(entry, Range):
                length = (entry.stop - entry.start).evaluate(params, a)
                sizes[d] = a.extent(length, entry.step.evaluate(params, a))
        declared = reduce(a.mul, sizes.values(), a.constant(1))
        if self.inferred_dim is not None:
            sizes[self.inferred_dim] = a.divide(given, declared)
            declared = a.mul(declared, sizes[self.inferred_dim])

        def message() -> str:
            if self.inferred_dim is not None:
                return (
                    f"the right side gives {given} features, which those declared on the left do not divide: "
                    f"the size of '{self.lhs[self.inferred_dim]}' cannot be inferred"
                )
            symbolic = self.given_features
            detail = "" if symbolic is None or symbolic.as_int is not None else f" ({symbolic})"
            return self._count_message(str(declared), f"{given}{detail}")

        a.require(a.eq(declared, given), message)
        shape: list[V] = []
        for d, entry in enumerate(self.lhs):
            name = entry.index.as_name if isinstance(entry, Point) else None
            shape.append(sizes[d] if d in sizes or name is None else extents[name])
        return tuple(shape)

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


def _extent(dim: TargetDim[V], a: Arithmetic[V, C]) -> V:
    return a.constant(1) if dim.single else a.extent(a.sub(dim.stop, dim.start), dim.step)


def _sum(values: Iterable[V], a: Arithmetic[V, C]) -> V:
    return reduce(a.add, values, a.constant(0))


def minimum(x: V, y: V, a: Arithmetic[V, C]) -> V:
    return x if a.same(x, y) else a.select(a.le(x, y), x, y)


def maximum(x: V, y: V, a: Arithmetic[V, C]) -> V:
    return x if a.same(x, y) else a.select(a.le(x, y), y, x)


def _reach(view: View[V], m: int, a: Arithmetic[V, C]) -> tuple[V, V]:
    """The lowest and highest index that a view which is not empty touches in dimension `m`."""
    zero, one = a.constant(0), a.constant(1)
    low = high = view.base[m]
    for step, size in zip(view.steps[m], view.sizes, strict=True):
        span, sign = a.mul(step, a.sub(size, one)), a.known(step)
        if sign is None:
            low, high = a.add(low, minimum(zero, span, a)), a.add(high, maximum(zero, span, a))
        elif sign > 0:
            high = a.add(high, span)
        elif sign < 0:
            low = a.add(low, span)
    return low, high


def directly_hit(mapped: Mapped[V], targets: Sequence[Target[V]]) -> list[tuple[View[V], Target[V]]]:
    """The views of the arrays that have no indirect target."""
    indirect = {target.name for target in targets if target.indirect}
    return [(v, t) for v, t in zip(mapped.views, targets, strict=True) if t.name not in indirect]


def _separate(mapped: Mapped[V], targets: Sequence[Target[V]], a: Arithmetic[V, C]) -> C:
    """A condition under which no element of a `from` map is hit twice (sufficient, not necessary)."""
    direct = directly_hit(mapped, targets)
    conditions = [_injective(view, a) for view, _ in direct]
    for (v, s), (w, t) in combinations(direct, 2):
        if s.name == t.name:
            apart: list[C] = []
            for m in range(len(v.base)):
                (low, high), (other_low, other_high) = _reach(v, m, a), _reach(w, m, a)
                one = a.constant(1)
                apart += [a.le(a.add(high, one), other_low), a.le(a.add(other_high, one), low)]
            conditions.append(a.any(apart))
    return a.all(conditions)


def _injective(view: View[V], a: Arithmetic[V, C]) -> C:
    """Each dimension of the view moves one dimension of the array, by steps that nest like digits."""
    zero, one = a.constant(0), a.constant(1)
    digits: list[list[tuple[V, V]]] = [[] for _ in view.base]
    conditions: list[C] = []
    for d, size in enumerate(view.sizes):
        moved = next((m for m, row in enumerate(view.steps) if not a.same(row[d], zero)), None)
        if moved is None:
            conditions.append(a.le(size, one))
        else:
            step = view.steps[moved][d]
            digits[moved].append((maximum(step, a.sub(zero, step), a), size))
    for dims in digits:
        below = zero
        for step, size in reversed(dims):
            conditions.append(a.any([a.le(size, one), a.le(a.add(below, one), step)]))
            below = a.add(below, a.mul(step, a.sub(size, one)))
    return a.all(conditions)


class Exact:
    """Arithmetic on Python integers: what must hold is checked at once, and raises `MapError`."""

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

    def require_distinct(self, condition: bool, mapped: Mapped[int], targets: Sequence[Target[int]]) -> None:
        if not condition:
            from hpacml.functors.hits import require_distinct

            require_distinct(directly_hit(mapped, targets))


EXACT = Exact()


class Partial:
    """Arithmetic on integers of which some are unknown (None): decides what can be decided early."""

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

    def require_distinct(
        self, condition: bool | None, mapped: Mapped[int | None], targets: Sequence[Target[int | None]]
    ) -> None:
        """Decided where all numbers are known and not too many; else left to the run."""
        numbers = [
            n for view in mapped.views for n in (*view.sizes, *view.base, *(s for row in view.steps for s in row))
        ]
        if condition or None in numbers:
            return
        views = cast("tuple[View[int], ...]", mapped.views)
        if sum(prod(view.sizes) for view in views) <= COUNTED_EARLY and not any(0 in view.sizes for view in views):
            from hpacml.functors.hits import require_distinct

            require_distinct(directly_hit(Mapped((), views), _with_sizes(views, targets)))


COUNTED_EARLY = 1 << 18


def _with_sizes(views: Sequence[View[int]], targets: Sequence[Target[int | None]]) -> list[Target[int]]:
    """The targets, where arrays of a size that is not known are as large as the views need."""
    found: list[Target[int]] = []
    for target in targets:
        same = [view for view, other in zip(views, targets, strict=True) if other.name == target.name]
        dims = tuple(
            TargetDim(0, 0, 1, max(_reach(view, m, EXACT)[1] for view in same) + 1 if dim.size is None else dim.size)
            for m, dim in enumerate(target.dims)
        )
        found.append(Target(target.name, dims, target.places, target.indirect))
    return found


PARTIAL = Partial()
