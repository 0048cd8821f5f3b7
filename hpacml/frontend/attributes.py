"""Attributes of arguments in the directives of a region, such as `self.grid.t` in `f(self.grid.t[0:self.n])`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from hpacml.directives.expressions import Expr
from hpacml.directives.syntax import FunctorDirective, MlDirective, Name, Target, depth_first
from hpacml.errors import DirectiveError
from hpacml.frontend.maps import AppliedFunctor
from hpacml.functors.tensor_functor import names_of


@dataclass(frozen=True, slots=True)
class Attribute:
    """The attribute `path` of the argument `argument`. `get` takes the argument."""

    path: str
    argument: str
    get: Callable[[object], object]
    text: str

    @staticmethod
    def of(path: str, text: str) -> Attribute:
        argument, _, names = path.partition(".")
        return Attribute(path, argument, attrgetter(names), text)

    def value(self, arguments: Mapping[str, object]) -> object:
        """The attribute in a call with these arguments. Raises `DirectiveError` if there is none."""
        try:
            return self.get(arguments[self.argument])
        except AttributeError as error:
            start = max(self.text.find(self.path), 0)
            message = f"there is no '{self.path}' in this call: {error}"
            raise DirectiveError(message, self.text, start, start + len(self.path)) from None


def attributes_of(
    ml: MlDirective, maps: Iterable[tuple[FunctorDirective, Sequence[Target]]], text: str
) -> tuple[Attribute, ...]:
    """The attributes that the directives of a region use."""
    used = dict.fromkeys(_names(ml, maps))
    return tuple(Attribute.of(name, text) for name in used if "." in name)


def _names(ml: MlDirective, maps: Iterable[tuple[FunctorDirective, Sequence[Target]]]) -> Iterator[str]:
    for source in (ml.model, ml.database):
        if isinstance(source, Name):
            yield source.id
    where = None if ml.guarding is None else ml.guarding.where
    for expr in (ml.condition, ml.if_condition, where, *(each.value for each in ml.meta)):
        if expr is not None:
            yield from expr.names
    for directive, targets in maps:
        yield from names_of(entry for entries in (directive.lhs, *directive.rhs) for entry in entries)
        yield from (target.array for target in depth_first(targets))
        for number in AppliedFunctor(directive, tuple(targets), frozenset()).open_numbers:
            if isinstance(number, Expr):
                yield from number.names
