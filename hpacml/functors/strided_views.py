"""What a functor applied to targets reads or writes: one strided view per slice, and the shape of the dense tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from hpacml.functors.arithmetic import Arithmetic, C, V, maximum, minimum, total
from hpacml.functors.targets import Target


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
        """Offset and strides of the view in memory whose dimensions `dims` (default: all) have `strides`."""
        chosen = range(len(self.base)) if dims is None else dims

        def dot(xs: Sequence[V]) -> V:
            return total((a.mul(xs[m], stride) for m, stride in zip(chosen, strides, strict=True)), a)

        return dot(self.base), tuple(dot([row[d] for row in self.steps]) for d in range(len(self.sizes)))

    def moving_dims(self, rows: Sequence[int], a: Arithmetic[V, C]) -> list[int]:
        """The dimensions that move a dimension of the target in `rows`."""
        zero = a.constant(0)
        return [d for d in range(len(self.sizes)) if not all(a.same(self.steps[m][d], zero) for m in rows)]

    def moving(self, rows: Sequence[int], a: Arithmetic[V, C]) -> View[V]:
        """The view without the dimensions that move no dimension of the target in `rows`.

        Where a dropped dimension may be empty, one of 0 or 1 elements replaces it, so that the view stays empty if it
        was.
        """
        zero, one = a.constant(0), a.constant(1)
        dims, kept = range(len(self.sizes)), self.moving_dims(rows, a)
        nonempty = a.all([a.le(one, self.sizes[d]) for d in dims if d not in kept])
        presence = a.select(nonempty, one, zero)
        sizes, steps = tuple(self.sizes[d] for d in kept), tuple(tuple(row[d] for d in kept) for row in self.steps)
        if not a.same(presence, one):
            sizes, steps = (presence, *sizes), tuple((zero, *row) for row in steps)
        return View(sizes, self.base, steps, self.first)

    def reach(self, m: int, a: Arithmetic[V, C]) -> tuple[V, V]:
        """The lowest and the highest index in dimension `m`; the view must have elements."""
        zero, one = a.constant(0), a.constant(1)
        low = high = self.base[m]
        for step, size in zip(self.steps[m], self.sizes, strict=True):
            span, sign = a.mul(step, a.sub(size, one)), a.known(step)
            if sign is None:
                low, high = a.add(low, minimum(zero, span, a)), a.add(high, maximum(zero, span, a))
            elif sign > 0:
                high = a.add(high, span)
            elif sign < 0:
                low = a.add(low, span)
        return low, high


@dataclass(frozen=True)
class Mapped(Generic[V]):
    """A functor applied to targets: the dense tensor's shape and one view per slice."""

    shape: tuple[V, ...]
    views: tuple[View[V], ...]

    @property
    def numbers(self) -> list[V]:
        """The numbers of all views."""
        return [n for v in self.views for n in (*v.sizes, *v.base, *(step for row in v.steps for step in row))]

    def directly_hit(self, targets: Sequence[Target[V]]) -> list[tuple[View[V], Target[V]]]:
        """The views of arrays without an indirect target, each with its target; `targets` has one per slice."""
        indirect = {target.name for target in targets if target.indirect}
        return [(v, t) for v, t in zip(self.views, targets, strict=True) if t.name not in indirect]
