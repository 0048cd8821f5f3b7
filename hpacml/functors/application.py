"""A functor applied to targets, in any arithmetic: views, shape and conditions of a map (paper, section IV-A)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations
from typing import Generic, Literal, cast

from hpacml.errors import MapError
from hpacml.functors.arithmetic import Arithmetic, C, Judge, V, maximum, minimum
from hpacml.functors.polynomials import Poly
from hpacml.functors.strided_views import Mapped, View
from hpacml.functors.targets import Target, TargetDim
from hpacml.functors.tensor_functor import Entry, Functor, Point, Range, Slice, format_slice

Way = Literal["to", "from"]
"""Whether a map reads its targets or writes them."""

WAYS: dict[str, tuple[Way, ...]] = {"to": ("to",), "from": ("from",), "inout": ("to", "from")}
"""What a map of each direction does; it must be valid for each of these."""


def resolve(
    functor: Functor, targets: Sequence[Target[V]], params: Mapping[str, V], way: Way, arithmetic: Arithmetic[V, C]
) -> Mapped[V]:
    """Apply a functor to `targets` (one for all slices, or one per slice); `params` are its integer parameters.

    Each condition for a valid map goes to `arithmetic.require`. Raises `MapError` for a wrong rank or number of
    targets.
    """
    return _Application(functor, _target_per_slice(functor, targets), params, way, arithmetic).resolve()


def _target_per_slice(functor: Functor, targets: Sequence[Target[V]]) -> Sequence[Target[V]]:
    if len(targets) == 1:
        targets = [targets[0]] * len(functor.rhs)
    if len(targets) != len(functor.rhs):
        raise MapError(
            f"the functor has {len(functor.rhs)} slices on its right side but is applied to {len(targets)} "
            "targets: give one target for all slices, or one per slice"
        )
    for entries, target in zip(functor.rhs, targets, strict=True):
        if len(entries) != len(target.dims):
            raise MapError(
                f"the slice {format_slice(entries)} has {len(entries)} "
                f"{'entry' if len(entries) == 1 else 'entries'}, but the target '{target.name}' has "
                f"{len(target.dims)} {'dimension' if len(target.dims) == 1 else 'dimensions'}"
            )
    return targets


@dataclass(frozen=True)
class _Application(Generic[V, C]):
    functor: Functor
    targets: Sequence[Target[V]]
    """One for each slice."""
    params: Mapping[str, V]
    way: Way
    arithmetic: Arithmetic[V, C]

    def resolve(self) -> Mapped[V]:
        a, extents = self.arithmetic, self._extents
        sweep_sizes = tuple(extents[s] for s in self.functor.sweep)
        views: list[View[V]] = []
        first = a.constant(0)
        for entries, target in zip(self.functor.rhs, self.targets, strict=True):
            features = self._slice_features(entries)
            sizes = sweep_sizes + tuple(size for _, size in features)
            keys = [key for key, _ in features]
            rows = [self._access(m, entry, target.dims[m], keys) for m, entry in enumerate(entries)]
            view = View(sizes, tuple(base for base, _ in rows), tuple(steps for _, steps in rows), first)
            views.append(view)
            self._require_bounds(entries, view, target)
            first = a.add(first, reduce(a.mul, (size for _, size in features), a.constant(1)))
        mapped = Mapped(self._shape(first), tuple(views))
        if self.way == "from":
            a.require_judged(_separate(mapped, self.targets, a), _judge(mapped, self.targets))
        return mapped

    @cached_property
    def _extents(self) -> dict[str, V]:
        """The extent of each symbol, on which all its uses agree."""
        a, targets = self.arithmetic, self.targets
        extents: dict[str, V] = {}
        origin: dict[str, str] = {}
        one = a.constant(1)
        uses = [
            (symbol, target, m)
            for entries, target in zip(self.functor.rhs, targets, strict=True)
            for m, entry in enumerate(entries)
            for symbol in sorted(entry.names - self.functor.params)
        ]
        for symbol, target, m in uses:
            extent, place = target.dims[m].extent(a), str(target.place(m))
            if symbol not in extents:
                extents[symbol], origin[symbol] = extent, place
                continue
            known = extents[symbol]
            if a.same(known, extent):
                continue

            def disagree(symbol: str = symbol, known: V = known, extent: V = extent, place: str = place) -> str:
                hint = " (an extent of 1 broadcasts in 'to' maps only)" if self.way == "from" else ""
                return (
                    f"the symbol '{symbol}' runs over {self._shown(known)} values in {origin[symbol]} but over "
                    f"{self._shown(extent)} in {place}{hint}"
                )

            equal, is_one = a.eq(known, extent), a.eq(known, one)
            if self.way == "from":
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
                        f"meets it runs over {self._shown(extent)} values: write a range"
                    ),
                )
        return extents

    def _slice_features(self, entries: Slice) -> list[tuple[str | int, V]]:
        """The slice's own feature dimensions: a symbol that the left side lacks, or a range (its position)."""
        features: dict[str | int, V] = {}
        for m, entry in enumerate(entries):
            for symbol in sorted(entry.names - self.functor.params - set(self.functor.sweep)):
                features[symbol] = self._extents[symbol]
            if isinstance(entry, Range):
                features[m] = self._count(entry)
        return list(features.items())

    def _count(self, entry: Range) -> V:
        """How many elements a range has."""
        a = self.arithmetic
        return a.extent(self._value(entry.stop - entry.start), self._value(entry.step))

    def _value(self, number: Poly) -> V:
        """The value of a number without symbols."""
        return number.evaluate(self.params, self.arithmetic)

    def _shown(self, number: V) -> str:
        """A number in a message: one that only the run knows is a `?`, as in types."""
        known = self.arithmetic.known(number)
        return "?" if known is None else str(known)

    def _access(
        self, m: int, entry: Entry, dim: TargetDim[V], features: Sequence[str | int]
    ) -> tuple[V, tuple[V, ...]]:
        """Base index and steps of entry `m` in its dimension of the target."""
        a = self.arithmetic
        zero, one = a.constant(0), a.constant(1)
        poly = entry.index if isinstance(entry, Point) else entry.start
        symbols = poly.names - self.functor.params
        base = self._value(poly.without(symbols))
        factors = {s: self._value(poly.coefficient(s)) for s in sorted(symbols)}
        for factor in factors.values():
            base = a.add(base, a.mul(factor, dim.start))

        def step(key: str | int) -> V:
            if isinstance(key, int):
                return self._value(entry.step) if key == m and isinstance(entry, Range) else zero
            if key not in factors:
                return zero
            value, extent = a.mul(factors[key], dim.step), dim.extent(a)
            if a.same(extent, self._extents[key]):
                return value
            return a.select(a.eq(extent, one), zero, value)

        return base, tuple(step(key) for key in [*self.functor.sweep, *features])

    def _require_bounds(self, entries: Slice, view: View[V], target: Target[V]) -> None:
        """Require that each element touched lies inside the array, and each entry without a symbol inside its range."""
        a = self.arithmetic
        zero, one = a.constant(0), a.constant(1)
        empty = [a.le(size, zero) for size in view.sizes]
        for m, (entry, dim) in enumerate(zip(entries, target.dims, strict=True)):
            low, high = view.reach(m, a)

            def outside(index: V, entry: Entry = entry, m: int = m, dim: TargetDim[V] = dim) -> Callable[[], str]:
                return lambda: (
                    f"the entry '{entry}' of the slice {format_slice(entries)} reaches index {self._shown(index)} in "
                    f"{target.place(m)}, which has {self._shown(dim.size)} elements"
                )

            a.require(a.any([*empty, a.le(zero, low)]), outside(low))
            a.require(a.any([*empty, a.le(a.add(high, one), dim.size)]), outside(high))
            if not entry.names - self.functor.params:
                begin, extent = dim.start, dim.extent(a)
                end = a.add(begin, a.mul(dim.step, a.sub(extent, one)))
                least, most = minimum(begin, end, a), maximum(begin, end, a)

                def not_in_range(entry: Entry = entry, m: int = m, least: V = least, most: V = most) -> str:
                    return (
                        f"the entry '{entry}' of the slice {format_slice(entries)} is an absolute index, and "
                        f"lies outside the range of {target.place(m)} ({self._shown(least)} to {self._shown(most)})"
                    )

                inside = a.all([a.le(one, extent), a.le(least, low), a.le(high, most)])
                a.require(a.any([*empty, inside]), not_in_range)

    def _shape(self, given: V) -> tuple[V, ...]:
        """The shape of the dense tensor, which holds `given` features at each point."""
        a, functor = self.arithmetic, self.functor
        sizes: dict[int, V] = {}
        for d in functor.feature_dims:
            entry = functor.lhs[d]
            if isinstance(entry, Range):
                sizes[d] = self._count(entry)
        declared = reduce(a.mul, sizes.values(), a.constant(1))
        if functor.inferred_dim is not None:
            sizes[functor.inferred_dim] = a.divide(given, declared)
            declared = a.mul(declared, sizes[functor.inferred_dim])

        def message() -> str:
            if functor.inferred_dim is not None:
                return (
                    f"the right side gives {self._shown(given)} features, which those declared on the left do not "
                    f"divide: the size of '{functor.lhs[functor.inferred_dim]}' cannot be inferred"
                )
            symbolic = functor.given_features
            detail = "" if symbolic is None or symbolic.as_int is not None else f" ({symbolic})"
            return functor.count_message(self._shown(declared), f"{self._shown(given)}{detail}")

        a.require(a.eq(declared, given), message)
        shape: list[V] = []
        for d, entry in enumerate(functor.lhs):
            name = entry.index.as_name if isinstance(entry, Point) else None
            shape.append(sizes[d] if d in sizes or name is None else self._extents[name])
        return tuple(shape)


def _judge(mapped: Mapped[V], targets: Sequence[Target[V]]) -> Judge:
    """Make a judge that looks at each element of a `from` map, and refuses a map that hits one twice.

    It ignores arrays with an indirect target: which of their elements are hit is not known here.
    """

    def judge(*, early: bool = False) -> None:
        if early and None in mapped.numbers:
            return
        from hpacml.functors import hits  # it imports NumPy, which most maps do not need

        known = cast("Mapped[int]", mapped)
        if early:
            hits.require_distinct_early(known, cast("Sequence[Target[int | None]]", targets))
        else:
            hits.require_distinct(known.directly_hit(cast("Sequence[Target[int]]", targets)))

    return judge


def _separate(mapped: Mapped[V], targets: Sequence[Target[V]], a: Arithmetic[V, C]) -> C:
    """A sufficient, not necessary condition for a `from` map to hit no element twice."""
    direct = mapped.directly_hit(targets)
    conditions = [_injective(view, a) for view, _ in direct]
    for (v, s), (w, t) in combinations(direct, 2):
        if s.name == t.name:
            apart: list[C] = []
            for m in range(len(v.base)):
                (low, high), (other_low, other_high) = v.reach(m, a), w.reach(m, a)
                one = a.constant(1)
                apart += [a.le(a.add(high, one), other_low), a.le(a.add(other_high, one), low)]
            conditions.append(a.any(apart))
    return a.all(conditions)


def _injective(view: View[V], a: Arithmetic[V, C]) -> C:
    """A condition: each dimension of the view moves one dimension of the array, and its steps nest like digits."""
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
