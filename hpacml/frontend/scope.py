"""What the names in directives mean: functors, arrays mapped earlier, named maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, Literal, NamedTuple, TypeVar

from hpacml.directives.syntax import (
    Application,
    FunctorDirective,
    MapDirective,
    MlDirective,
    Name,
    Target,
    depth_first,
)
from hpacml.errors import DirectiveError
from hpacml.functors.application import Way

M = TypeVar("M")
Keyword = Literal["in", "out", "inout"]

REQUIRED_MAPS: dict[Keyword, tuple[Way, ...]] = {
    "in": ("to",),
    "out": ("from",),
    "inout": ("to", "from"),
}
"""The map directives that an array named in a clause must have."""


class Use(NamedTuple, Generic[M]):
    """A tensor of an `ml` directive: the clause, its map, and the array's name if that is how it was given."""

    keyword: Keyword
    map: M
    array: Name | None = None


@dataclass(eq=False)
class _ArrayMap(Generic[M]):
    """A map directive of an array: what it says, what the owner made of it, where, and whether a region used it."""

    meaning: tuple[FunctorDirective, tuple[Target, ...]]
    map: M
    scope: Scope[M]
    is_used: bool = False


class Scope(Generic[M]):
    """The functors and maps declared so far. `M` is what the owner makes of a functor and an application.

    An array's name in a clause stands for the tensor of its map directive, which may be of several arrays: one or
    all of them name it. A later map of the array takes the place of one in an outer block, or of one that a region
    has used; else the two would be ambiguous, and using the name is an error. A named map is meant where there is
    one of that name; that and a map directive of an array of that name are ambiguous, too. `inout` takes the map
    of either direction, but both must be the same if there are both.
    """

    def __init__(self, arrays: Callable[[str], str | None]):
        """`arrays` says what is wrong with a name as an array, or None."""
        self._wrong = arrays
        self._functors: dict[str, FunctorDirective] = {}
        self._named: dict[str, M] = {}
        self._mapped: dict[tuple[str, Way], list[_ArrayMap[M]]] = {}

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
        application = directive.application
        mapped = _ArrayMap((self._functors[application.functor], application.targets), map, self)
        for array in dict.fromkeys(target.array for target in application.targets):
            before = self._mapped.get((array, directive.direction), [])
            rivals = [other for other in before if other.scope is self and not other.is_used]
            self._mapped[array, directive.direction] = [*rivals, mapped]

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
        for target in depth_first(application.targets):
            if (wrong := self._wrong(target.array)) is not None:
                start = target.span.start
                raise DirectiveError(wrong, text, start, start + len(target.array))
        return directive

    def uses(self, ml: MlDirective, make: Callable[[Application], M]) -> list[Use[M]]:
        """The maps of the clauses `in`, `out`, `inout`, in this order; `make` makes one of an application in place.

        Raises `DirectiveError` for a name that is neither a named map nor an array with one map, and for clauses
        that contradict each other.
        """
        _check(ml)
        found: list[Use[M]] = []
        found += self._clause("in", ml.inputs, ml.text, make)
        found += self._clause("out", ml.outputs, ml.text, make)
        found += self._clause("inout", ml.inouts, ml.text, make)
        return found

    def _clause(
        self, keyword: Keyword, items: Iterable[Application | Name], text: str, make: Callable[[Application], M]
    ) -> list[Use[M]]:
        found: list[Use[M]] = []
        given: set[Application | Name] = set()
        for item in items:
            if item in given and (isinstance(item, Name) or keyword != "in"):
                raise DirectiveError(f"'{item}' is given twice in '{keyword}': leave one out", text, *item.span)
            given.add(item)
            if isinstance(item, Application):
                found.append(Use(keyword, make(item)))
            elif item.id in self._named:
                self._refuse_two_meanings(item, keyword, text)
                found.append(Use(keyword, self._named[item.id]))
            else:
                map = self._map_of_array(item, keyword, text)
                if all(other.map is not map for other in found):  # else another of its arrays has named it
                    found.append(Use(keyword, map, item))
        return found

    def _refuse_two_meanings(self, name: Name, keyword: Keyword, text: str) -> None:
        for direction in REQUIRED_MAPS[keyword]:
            if (name.id, direction) in self._mapped:
                raise DirectiveError(
                    f"'{name}' is a named map, and an array that has a 'tensor map({direction}: ...)': "
                    "give the named map another name",
                    text,
                    *name.span,
                )

    def _map_of_array(self, name: Name, keyword: Keyword, text: str) -> M:
        directions = REQUIRED_MAPS[keyword]
        found = [mapped for direction in directions for mapped in self._mapped.get((name.id, direction), ())]
        if not found:
            raise self._no_map(name, keyword, text)
        for mapped in found:
            mapped.is_used = True
        if any(mapped.meaning != found[0].meaning for mapped in found):
            raise DirectiveError(
                f"'{name}' has several maps, so {keyword}({name}) could mean each of them: name them with "
                f"'declare tensor(name: functor({name}[...]))', or apply functors in place, "
                f"{keyword}(functor({name}[...]))",
                text,
                *name.span,
            )
        return found[-1].map

    def _no_map(self, name: Name, keyword: Keyword, text: str) -> DirectiveError:
        direction = REQUIRED_MAPS[keyword][0]
        other = "from" if direction == "to" else "to"
        wrong = self._wrong(name.id)
        if (name.id, other) in self._mapped:
            message = (
                f"'{name}' has a 'tensor map({other}: ...)', but {keyword}({name}) needs a "
                f"'tensor map({direction}: ...)' of it"
            )
        elif wrong is not None:
            known = sorted({*self._named, *(array for array, _ in self._mapped)})
            message = f"{wrong}{_suggest(name.id, known)}"
        else:
            message = (
                f"the array '{name}' has no map: put 'tensor map({direction}: functor({name}[...]))' before the "
                f"region, or apply a functor in place, {keyword}(functor({name}[...]))"
            )
        return DirectiveError(message, text, *name.span)


def _check(ml: MlDirective) -> None:
    """Refuse an `ml` directive that makes no sense whatever is declared."""
    if not (ml.inputs or ml.inouts):
        raise DirectiveError("the region has no input: add in(...), or inout(...)", ml.text, *ml.span)
    if not (ml.outputs or ml.inouts):
        raise DirectiveError("the region has no output: add out(...), or inout(...)", ml.text, *ml.span)
    if ml.database is not None and ml.database == ml.model:
        raise DirectiveError(
            f"'{ml.database}' is the region's model and its database: these are two files",
            ml.text,
            *ml.clauses["database"],
        )
    if ml.sample is not None and ml.mode == "infer":
        raise DirectiveError(
            "a region that only infers collects nothing to sample: leave 'sample' out, or collect",
            ml.text,
            *ml.clauses["sample"],
        )


def check_units(ml: MlDirective, arrays: Iterable[str]) -> None:
    """Raise `DirectiveError` for a unit of what is none of `arrays`, those of the region's maps."""
    known = sorted(set(arrays))
    for unit in ml.units:
        if unit.array.id not in known:
            raise DirectiveError(
                f"'{unit.array}' is no array of the region's maps{_suggest(unit.array.id, known)}",
                ml.text,
                *unit.array.span,
            )


def _suggest(name: str, known: list[str]) -> str:
    if close := get_close_matches(name, known, 1):
        return f"; did you mean '{close[0]}'?"
    return f"; known are {', '.join(known)}" if known else ""
