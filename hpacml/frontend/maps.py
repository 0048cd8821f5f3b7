"""Functors applied to targets, as the kernel compiler, regions and functors share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any

from hpacml.directives.expressions import Expr, evaluate_int
from hpacml.directives.syntax import (
    FunctorDirective,
    Target,
    TargetIndex,
    TargetRange,
    depth_first,
)
from hpacml.errors import DirectiveError, MapError
from hpacml.functors.application import Way, resolve
from hpacml.functors.arithmetic import EXACT, Exact, Judge
from hpacml.functors.strided_views import Mapped
from hpacml.functors.targets import Bounds, TargetTree, bind, heads, single
from hpacml.functors.tensor_functor import Functor

if TYPE_CHECKING:
    from hpacml.runtime.arrays.views import ArrayView


def integers_of(values: Mapping[str, object]) -> dict[str, int]:
    """The values that are integers, by name; they are the parameters of functors.

    Raises `MapError` if one does not fit 64 bits.
    """
    integers: dict[str, int] = {}
    for name, value in values.items():
        if _is_integral(type(value)):
            number = int(value)  # pyright: ignore[reportArgumentType]
            if -(1 << 63) <= number < 1 << 63:
                integers[name] = number
            elif isinstance(value, int):  # NumPy's uint64 may be a source of elements
                raise MapError(f"'{name}' is {number}, which does not fit 64 bits")
    return integers


@cache  # because checks against abstract base classes are slow
def _is_integral(kind: type) -> bool:
    return issubclass(kind, Integral)


@dataclass(frozen=True)
class End:
    """The stop of a range that has none: the size of dimension `dim` of the array."""

    array: str
    dim: int


@dataclass(frozen=True)
class AppliedFunctor:
    """A functor applied to targets; the names in `params` are its integer parameters.

    The user supplies the arrays, and the numbers that are not constant. If `unchecked`, indices are trusted to lie
    inside the arrays, and to differ where elements are written.
    """

    directive: FunctorDirective
    targets: tuple[Target, ...]
    params: frozenset[str]
    unchecked: bool = False

    @cached_property
    def _hash(self) -> int:
        return hash((self.directive, self.targets, self.params, self.unchecked))

    def __hash__(self) -> int:
        return self._hash  # stored, because every call looks this up in caches

    @cached_property
    def functor(self) -> Functor:
        """The functor with these parameters. Raises `DirectiveError` if it contradicts itself."""
        return self.directive.functor(self.params)

    @property
    def text(self) -> str:
        """The application as a directive has it, such as `f(a[0:n])`."""
        return f"{self.directive.name}({', '.join(map(str, self.targets))})"

    @cached_property
    def arrays(self) -> tuple[str, ...]:
        """The names of the arrays, depth first."""
        return tuple(target.array for target in depth_first(self.targets))

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """The positions of the arrays that hold the elements; the other arrays hold indices."""
        return tuple(heads(self.trees))

    @cached_property
    def elements(self) -> frozenset[str]:
        """The names of the arrays that hold the elements."""
        return frozenset(target.array for target in self.targets)

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """The names that stand alone in place of a target, and so for numbers, and the dimensions of their slices.

        A number is an array of one element.
        """
        rhs = self.directive.rhs
        slices = [rhs[0]] if len(self.targets) == 1 else rhs
        pairs = zip(self.targets, slices, strict=False)
        return {target.array: len(entries) for target, entries in pairs if not target.entries}

    @cached_property
    def trees(self) -> tuple[TargetTree, ...]:
        """The targets with the numbers that are constant."""
        one = Bounds(0, 1, 1)
        return tuple(_tree(each) if each.entries else (one,) * self.numbers.get(each.array, 1) for each in self.targets)

    @cached_property
    def open_numbers(self) -> tuple[Expr | End, ...]:
        """The numbers that are not constant, in the order of the IR's operands."""

        def open_in(target: Target) -> Iterator[Expr | End]:
            for dim, entry in enumerate(target.entries):
                match entry:
                    case Target():
                        yield from open_in(entry)
                    case TargetIndex(expr):
                        yield expr
                    case TargetRange(start, stop, step):
                        yield start
                        if stop is not None:
                            yield stop
                        elif not _runs_backwards(entry, target):
                            yield End(target.array, dim)
                        if step is not None:
                            yield step

        found = (number for target in self.targets for number in open_in(target))
        return tuple(n for n in found if isinstance(n, End) or n.names)

    @cached_property
    def distinct_numbers(self) -> tuple[Expr | End, ...]:
        """The open numbers, each once: code that is given `n` once knows that both ranges of `a[0:n], b[0:n]` agree."""
        return tuple(dict.fromkeys(self.open_numbers))

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Where each open number stands among the distinct ones."""
        return tuple(map(self.distinct_numbers.index, self.open_numbers))

    def resolve(
        self,
        way: Way,
        shapes: Sequence[Sequence[int]],
        numbers: Sequence[int],
        params: Mapping[str, int],
    ) -> Mapped[int]:
        """The views and the tensor shape. Raises `MapError`, with the text of the map, if the map does not fit."""
        try:
            targets = bind(self.trees, self.arrays, shapes, numbers, EXACT)
            return resolve(self.functor, targets, params, way, EXACT)
        except MapError as error:
            raise MapError(f"in the map '{self.text}': {error}") from None


def numbers_of(
    numbers: Iterable[Expr | End], values: Mapping[str, object], arrays: Sequence[str], views: Sequence[ArrayView]
) -> list[int]:
    """The values of open numbers, from the `values` of names and the views of the arrays.

    Raises `DirectiveError` and `MapError`.
    """
    found: list[int] = []
    for number in numbers:
        if isinstance(number, Expr):
            value = number.evaluation(values)
            found.append(value if type(value) is int else evaluate_int(number, values))
        elif number.dim < len(shape := views[arrays.index(number.array)].shape):
            found.append(shape[number.dim])
        else:
            name, rank = number.array, len(shape)
            raise MapError(f"the target of '{name}' has a dimension {number.dim}, but the array only {rank}")
    return found


class _Symbolic(Exact):
    """Arithmetic on integers and symbols of Torch, which makes nothing of conditions: who runs the map checks it."""

    def le(self, a: int, b: int) -> bool:
        return True

    def any(self, conditions: Sequence[bool]) -> bool:
        return True

    def all(self, conditions: Sequence[bool]) -> bool:
        return True

    def require(self, condition: bool, message: Callable[[], str]) -> None:
        pass

    def require_judged(self, condition: bool, judge: Judge) -> None:
        pass


def symbolic_shape(
    application: AppliedFunctor, shapes: Sequence[Sequence[int]], values: Mapping[str, int]
) -> tuple[int, ...]:
    """The shape of a gathered tensor, of sizes and numbers that may be symbols of Torch (`torch.SymInt`)."""
    of_arrays = dict(zip(application.arrays, shapes, strict=True))
    numbers: list[Any] = [
        number.evaluation(values) if isinstance(number, Expr) else of_arrays[number.array][number.dim]
        for number in application.open_numbers
    ]
    params = {param: values[param] for param in application.functor.used_params}
    targets = bind(application.trees, application.arrays, shapes, numbers, _Symbolic())
    return resolve(application.functor, targets, params, "to", _Symbolic()).shape


def _tree(target: Target) -> TargetTree:
    def node(entry: TargetIndex | TargetRange | Target) -> Bounds | TargetTree:
        match entry:
            case Target():
                return _tree(entry)
            case TargetIndex(expr):
                return single(_constant(expr))
            case TargetRange(start, stop, step):
                end = _constant(stop) if stop is not None else -1 if _runs_backwards(entry, target) else None
                return Bounds(_constant(start), end, 1 if step is None else _constant(step))

    return tuple(map(node, target.entries))


def _runs_backwards(entry: TargetRange, target: Target) -> bool:
    """Whether a range without a stop runs to the first element, and not to the last.

    Raises `DirectiveError` if that depends on a step that is not constant.
    """
    if entry.step is None:
        return False
    step = _constant(entry.step)
    if step is None:
        message = f"the range '{entry}' needs a stop: where it ends depends on the sign of its step"
        raise DirectiveError(message, target.text, *entry.span)
    return step < 0


def _constant(expr: Expr) -> int | None:
    return None if expr.names else evaluate_int(expr, {})
