"""What the names in directives mean: functors, arrays mapped earlier, named maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Generic, Literal, NamedTuple, TypeVar

from hpacml.errors import DirectiveError
from hpacml.frontend.directives import Application, FunctorDirective, Item, MapDirective, MlDirective, Target
from hpacml.frontend.expressions import Span

M = TypeVar("M")
Keyword = Literal["in", "out", "inout"]

DIRECTIONS: dict[Keyword, tuple[Literal["to", "from"], ...]] = {
    "in": ("to",),
    "out": ("from",),
    "inout": ("to", "from"),
}
"""The map directives that an array named in a clause must have."""


class Use(NamedTuple, Generic[M]):
    """An item of a clause of an `ml` directive: a map of its own kind, and the clause it stands in."""

    keyword: Keyword
    map: M


class Scope(Generic[M]):
    """The functors and maps declared so far. `M` is what the owner makes of a functor and an application."""

    def __init__(self, arrays: Callable[[str], str | None]):
        """`arrays` says what is wrong with a name as an array, or None."""
        self._wrong = arrays
        self._functors: dict[str, FunctorDirective] = {}
        self._named: dict[str, M] = {}
        self._mapped: dict[tuple[str, Literal["to", "from"]], M] = {}

    def nested(self) -> Scope[M]:
        """A scope inside this one: it sees what is declared so far, and adds nothing to it."""
        inner = Scope[M](self._wrong)
        inner._functors |= self._functors
        inner._named |= self._named
        inner._mapped |= self._mapped
        return inner

    def declare(self, directive: FunctorDirective) -> None:
        """A functor; a later one of the same name takes its place."""
        self._functors[directive.name] = directive

    def add(self, directive: MapDirective, map: M) -> None:
        """A map directive that was made a `map`."""
        if directive.direction is None:
            self._named[directive.name or ""] = map
            return
        for target in directive.application.targets:
            self._mapped[target.array, directive.direction] = map

    def functor(self, application: Application, text: str) -> FunctorDirective:
        """The functor that is applied. Raises `DirectiveError` if it, or an array in the targets, is unknown."""
        directive = self._functors.get(application.functor)
        if directive is None:
            known = sorted(self._functors)
            raise DirectiveError(
                f"there is no functor '{application.functor}'{_suggest(application.functor, known)}: "
                "declare it with 'tensor functor(...)' before it is used",
                text,
                application.span.start,
                application.span.start + len(application.functor),
            )
        for target in _all_targets(application.targets):
            if (wrong := self._wrong(target.array)) is not None:
                start = target.span.start
                raise DirectiveError(wrong, text, start, start + len(target.array))
        return directive

    def uses(self, ml: MlDirective, make: Callable[[Application], M]) -> list[Use[M]]:
        """The maps of the clauses `in`, `out`, `inout`, in this order; `make` makes one of an application in place.

        Raises `DirectiveError` for a name that is neither a named map nor an array with a map.
        """
        clauses: tuple[tuple[Keyword, tuple[Item, ...]], ...] = (
            ("in", ml.inputs),
            ("out", ml.outputs),
            ("inout", ml.inouts),
        )
        found: list[Use[M]] = []
        for keyword, items in clauses:
            for item in items:
                if isinstance(item, Application):
                    found.append(Use(keyword, make(item)))
                else:
                    found.append(Use(keyword, self._lookup(item.id, keyword, ml.text, item.span)))
        if not (ml.inputs or ml.inouts):
            raise DirectiveError("the region has no input: add in(...), or inout(...)", ml.text, *ml.span)
        if not (ml.outputs or ml.inouts):
            raise DirectiveError("the region has no output: add out(...), or inout(...)", ml.text, *ml.span)
        return found

    def _lookup(self, name: str, keyword: Keyword, text: str, span: Span) -> M:
        if name in self._named:
            return self._named[name]
        directions = DIRECTIONS[keyword]
        for direction in directions:
            if (name, direction) in self._mapped:
                return self._mapped[name, direction]
        other = "from" if directions == ("to",) else "to"
        if (name, other) in self._mapped:
            raise DirectiveError(
                f"'{name}' has a 'tensor map({other}: ...)', but {keyword}({name}) needs a "
                f"'tensor map({directions[0]}: ...)' of it",
                text,
                *span,
            )
        if (wrong := self._wrong(name)) is not None:
            known = sorted({*self._named, *(array for array, _ in self._mapped)})
            raise DirectiveError(f"{wrong}{_suggest(name, known)}", text, *span)
        raise DirectiveError(
            f"the array '{name}' has no map: put 'tensor map({directions[0]}: functor({name}[...]))' before the "
            f"region, or apply a functor in place, {keyword}(functor({name}[...]))",
            text,
            *span,
        )


def _all_targets(targets: Iterable[Target]) -> Iterable[Target]:
    for target in targets:
        yield target
        yield from _all_targets(entry for entry in target.entries if isinstance(entry, Target))


def _suggest(name: str, known: list[str]) -> str:
    if close := get_close_matches(name, known, 1):
        return f"; did you mean '{close[0]}'?"
    return f"; known are {', '.join(known)}" if known else ""
