"""Finds what the names in directives mean: functors, arrays mapped earlier, named maps."""

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
Keyword = Literal["in", "out", "inout", "truth", "where"]

GUARDING = ("guard", "verify", "clip", "project", "pointwise")
"""The clauses about the results of a model."""

REQUIRED_MAPS: dict[Keyword, tuple[Way, ...]] = {
    "in": ("to",),
    "out": ("from",),
    "inout": ("to", "from"),
    "truth": ("to",),
    "where": ("to",),
}
"""The map directives that an array must have if a clause names it."""

READS: frozenset[Keyword] = frozenset(("in", "truth", "where"))
"""The clauses whose arrays a region does not write."""


class Use(NamedTuple, Generic[M]):
    """A tensor of an `ml` directive: its clause, its map, and the name of the array if the clause names one."""

    keyword: Keyword
    map: M
    array: Name | None = None


@dataclass(eq=False)
class _ArrayMap(Generic[M]):
    """A map directive of an array: its meaning, the owner's map, its scope, and whether a region has used it."""

    meaning: tuple[FunctorDirective, tuple[Target, ...]]
    map: M
    scope: Scope[M]
    is_used: bool = False


class Scope(Generic[M]):
    """The functors and maps declared so far. `M` is the type that the owner makes of a functor and an application.

    The name of an array in a clause stands for the tensor of its map directive. If that has several arrays, one or all
    of them name it. A later map of the array replaces a map of an outer block, and a map that a region has used;
    otherwise the two maps are ambiguous, and it is an error to use the name. A name stands for a named map if there is
    one; it is ambiguous if an array with a map directive has the same name. `inout` takes the map of either direction;
    if there are both, they must be equal.
    """

    def __init__(self, arrays: Callable[[str], str | None], numbers: Callable[[str], str | None] | None = None):
        """`arrays` returns what is wrong with a name as an array, or None; `numbers` with one that stands alone."""
        self._wrong = arrays
        self._wrong_number = numbers or arrays
        self._functors: dict[str, FunctorDirective] = {}
        self._named: dict[str, M] = {}
        self._mapped: dict[tuple[str, Way], list[_ArrayMap[M]]] = {}

    def nested(self) -> Scope[M]:
        """A scope inside of this one: it sees what is declared so far, and its own declarations end with it."""
        inner = Scope[M](self._wrong, self._wrong_number)
        inner._functors |= self._functors
        inner._named |= self._named
        inner._mapped |= self._mapped
        return inner

    def declare(self, directive: FunctorDirective) -> None:
        """Add a functor, which replaces an earlier functor of the same name."""
        self._functors[directive.name] = directive

    def add(self, directive: MapDirective, map: M) -> None:
        """Add a map directive, of which the owner has made `map`."""
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
        """The functor of an application. Raises `DirectiveError` if it, or an array in the targets, is unknown."""
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
            if (wrong := (self._wrong if target.entries else self._wrong_number)(target.array)) is not None:
                start = target.span.start
                raise DirectiveError(wrong, text, start, start + len(target.array))
        return directive

    def uses(self, ml: MlDirective, make: Callable[[Application], M]) -> list[Use[M]]:
        """The maps of the clauses `in`, `out`, `inout`, `truth`, in this order. `make` turns an application into a map.

        Raises `DirectiveError` if a name is neither a named map nor an array with one map, and if clauses contradict
        each other.
        """
        _check_maps(ml)
        check_clauses(ml)
        found: list[Use[M]] = []
        found += self._clause("in", ml.inputs, ml.text, make)
        found += self._clause("out", ml.outputs, ml.text, make)
        found += self._clause("inout", ml.inouts, ml.text, make)
        truth = self._clause("truth", ml.truth, ml.text, make)
        if truth and len(truth) != (outputs := sum(use.keyword not in READS for use in found)):
            raise DirectiveError(
                f"'truth' has {len(truth)} of the region's outputs, which are {outputs}: give one in the place of each",
                ml.text,
                *ml.clauses["truth"],
            )
        return [*found, *truth]

    def named(self, name: str) -> M | None:
        """The map that has a name."""
        return self._named.get(name)

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
                if all(other.map is not map for other in found):  # false if another array of the map has named it
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


def _check_maps(ml: MlDirective) -> None:
    """Raise `DirectiveError` unless there are an input and an output."""
    if not ml.is_mapped:
        raise DirectiveError(
            "the region has no input and no output: add in(...) and out(...). They are inferred of kernels alone "
            "(@hpacml.kernel), whose code hpacml compiles: what a function of Python touches, nothing tells",
            ml.text,
            *ml.span,
        )
    if not (ml.inputs or ml.inouts):
        raise DirectiveError("the region has no input: add in(...), or inout(...)", ml.text, *ml.span)
    if not (ml.outputs or ml.inouts):
        raise DirectiveError("the region has no output: add out(...), or inout(...)", ml.text, *ml.span)


def check_clauses(ml: MlDirective) -> None:
    """Raise `DirectiveError` if clauses contradict each other."""
    if ml.database is not None and ml.database == ml.model:
        raise DirectiveError(
            f"'{ml.database}' is the region's model and its database: these are two files",
            ml.text,
            *ml.clauses["database"],
        )
    if ml.sample is not None and not ml.may_collect:
        raise DirectiveError(
            "a region that only infers collects nothing to sample: leave 'sample' out, or collect",
            ml.text,
            *ml.clauses["sample"],
        )

    guarding = [name for name in GUARDING if name in ml.clauses]
    if guarding and ml.mode == "collect":
        raise DirectiveError(
            f"'{guarding[0]}' is about the model's results, and this region has none: it only collects",
            ml.text,
            *ml.clauses[guarding[0]],
        )
    if guarding and not ml.is_mapped:
        raise DirectiveError(
            f"'{guarding[0]}' needs maps that are written: give the region in(...) and out(...), which "
            "kernel.maps() prints",
            ml.text,
            *ml.clauses[guarding[0]],
        )
    if ml.collects_rejected and ml.database is None:
        raise DirectiveError(
            "'collect' has no database for the points that the guard rejects: add database(\"FILE\"), or leave it out",
            ml.text,
            *ml.clauses["guard"],
        )
    if ml.collects_rejected and ml.truth:
        raise DirectiveError(
            "'collect' takes what the original code makes of some points, and 'truth' has other data than that: leave "
            "one of them out",
            ml.text,
            *ml.clauses["guard"],
        )
    if ml.pointwise and ml.guarding is None:
        raise DirectiveError(
            "'pointwise' says how the original code makes the points that a guard rejects: add guard(...), or leave it "
            "out",
            ml.text,
            *ml.clauses["pointwise"],
        )


def check_units(ml: MlDirective, arrays: Iterable[str]) -> None:
    """Raise `DirectiveError` if a unit belongs to none of `arrays`, the arrays of the region's maps."""
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
