"""What maps mean, without the names in which they say it: whether a model fits the maps of another region.

A name of a functor says nothing. Names of symbols, arrays, sizes and parameters say only where the same one stands
again, symbols within their map and all others in all of them: they are numbered, in a way that does not depend on them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from hpacml.directives.expressions import Expr, affine
from hpacml.directives.map_texts import Maps
from hpacml.directives.recorded import read_map
from hpacml.directives.syntax import FunctorDirective, Target, TargetIndex, TargetRange, depth_first
from hpacml.dtypes import DTYPES
from hpacml.errors import DirectiveError
from hpacml.functors.polynomials import Poly
from hpacml.functors.tensor_functor import Entry, Point, Range, names_of


class Name(NamedTuple):
    """A name in map number `map`, if it is a symbol; None for a name that means the same in all maps."""

    id: str
    map: int | None = None


class Bag(NamedTuple):
    """Parts in any order."""

    parts: tuple[Structure, ...]


Structure: TypeAlias = str | int | Name | Bag | tuple["Structure", ...]


def canonical(maps: Sequence[str]) -> str:
    """Write maps, of a model or a region and in their order, so that those of the same meaning are the same text.

    What is no map that hpacml records means itself. The kinds of elements are part of it where they are known.
    """
    structure = _structure(maps)
    types = maps.dtypes if isinstance(maps, Maps) else ()
    kinds = " ".join(DTYPES[name].kind if name in DTYPES else "?" for name in types)
    return f"{_written(structure, _numbers(structure))}{kinds and f' of {kinds}'}"


def difference(recorded: Sequence[str], given: Sequence[str]) -> str | None:
    """Say why maps do not mean the same as others that were recorded before; None if they do.

    Names do not matter, but where the same arrays are read, or written, at each other's places, they were exchanged
    rather than renamed.
    """
    if tuple(recorded) == tuple(given):
        return None
    before, now = _structure(recorded), _structure(given)
    alike = _written(before, {}) == _written(now, {})  # which costs little, whatever a file says
    if not alike or _written(before, _numbers(before)) != _written(now, _numbers(now)):
        return "They differ in more than names"
    for direction in ("to", "from"):
        pairs = dict.fromkeys(zip(_arrays(recorded, direction), _arrays(given, direction), strict=True))
        places = {name for name, _ in pairs}
        for old, new in pairs:
            if old != new and new in places:
                return f"'{new}' stands where '{old}' did"
    return None


@lru_cache(maxsize=256)
def is_same(recorded: Sequence[str], given: Sequence[str]) -> bool:
    """Whether maps mean the same of arrays of the same names; other names, blanks and parentheses do not matter."""
    if tuple(recorded) == tuple(given):
        return True
    arrays = ([list(_arrays(maps, direction)) for direction in ("to", "from")] for maps in (recorded, given))
    return difference(recorded, given) is None and next(arrays) == next(arrays)


def _arrays(maps: Sequence[str], direction: str) -> Iterator[str]:
    """List the names of arrays and numbers that the maps of a direction name, in their order."""
    for text in maps:
        if (known := read_map(text)) is not None and known.direction == direction:
            yield from (target.array for target in depth_first(known.target_of_each_slice))


# -- structures --------------------------------------------------------------------------------------------


def _structure(maps: Sequence[str]) -> Structure:
    return tuple(_of_map(number, text) for number, text in enumerate(maps))


def _of_map(number: int, text: str) -> Structure:
    known = read_map(text)
    if known is None or known.targets is None:
        return text
    directive = known.functor
    moving = names_of(entry for entries in directive.rhs for entry in entries)
    points = {entry.index.as_name for entry in directive.lhs if isinstance(entry, Point)}
    symbols = points & moving

    def name(id: str) -> Name:
        return Name(id, number if id in symbols else None)

    slices = tuple(tuple(_of_entry(entry, name) for entry in entries) for entries in directive.rhs)
    targets = tuple(map(_of_target, known.target_of_each_slice))
    return (known.direction, _of_lhs(directive, name, symbols), slices, targets)


def _of_lhs(directive: FunctorDirective, name: Callable[[str], Name], symbols: set[str | None]) -> Structure:
    def dimension(entry: Entry) -> Structure:
        if isinstance(entry, Point):
            symbol = entry.index.as_name
            return ("sweep", _of_entry(entry, name)) if symbol in symbols else "inferred"
        return _of_entry(entry, name) if entry.count is None else ("features", _of_poly(entry.count, name))

    return tuple(map(dimension, directive.lhs))


def _of_entry(entry: Entry, name: Callable[[str], Name]) -> Structure:
    kind = "range" if isinstance(entry, Range) else "at"
    return (kind, *(_of_poly(poly, name) for poly in entry.polys))


def _of_poly(poly: Poly, name: Callable[[str], Name] = Name) -> Structure:
    return Bag(tuple((factor, Bag(tuple(map(name, monomial)))) for monomial, factor in poly.terms))


def _of_target(target: Target) -> Structure:
    def entry(entry: TargetIndex | TargetRange | Target) -> Structure:
        match entry:
            case Target():
                return _of_target(entry)
            case TargetIndex(expr):
                return ("at", _of_expr(expr))
            case TargetRange(start, stop, step):
                last = "end" if stop is None else _of_expr(stop)
                return ("range", _of_expr(start), last, _of_poly(Poly.constant(1)) if step is None else _of_expr(step))

    return ("array", Name(target.array), *map(entry, target.entries))


def _of_expr(expr: Expr) -> Structure:
    try:
        return _of_poly(affine(expr))
    except DirectiveError:
        return _of_node(expr.node)


def _of_node(node: ast.AST) -> Structure:
    """Of an expression that is no polynomial."""
    if isinstance(node, ast.Name):
        return Name(node.id)
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if isinstance(node, ast.Call):
        return ("len", *map(_of_node, node.args))
    return (type(node).__name__, *map(_of_node, ast.iter_child_nodes(node)))


# -- numbers in the place of names -------------------------------------------------------------------------


def _written(structure: Structure, numbers: Mapping[Name, int], marked: Name | None = None) -> str:
    match structure:
        case str() | int():
            return repr(structure)
        case Name():
            return f"{'@' if structure == marked else '%'}{numbers.get(structure, 0)}"
        case Bag(parts):
            return f"{{{', '.join(sorted(_written(part, numbers, marked) for part in parts))}}}"
        case _:
            return f"({', '.join(_written(part, numbers, marked) for part in structure)})"


def _numbers(structure: Structure) -> dict[Name, int]:
    """Number the names by what is said of each: names that all else tells apart have other numbers.

    Names of which the same is said are exchangeable. One of them is told apart from the others, whichever it is, and
    what is said of all others is looked at again.
    """
    numbers = dict.fromkeys(_names(structure), 0)
    kinds = 1
    while kinds < len(numbers):
        said = {name: _written(structure, numbers, name) for name in numbers}
        ranks = {text: 2 * rank + 1 for rank, text in enumerate(sorted(set(said.values())))}
        numbers = {name: ranks[said[name]] for name in numbers}
        if len(ranks) == kinds:
            numbers[_first_of_several(numbers)] -= 1
        kinds = max(len(ranks), kinds + 1)
    order = sorted(numbers, key=numbers.__getitem__)
    return {name: number for number, name in enumerate(order)}


def _first_of_several(numbers: Mapping[Name, int]) -> Name:
    """Find a name whose number others have, too: of the lowest such number."""
    taken: dict[int, Name] = {}
    for name, number in sorted(numbers.items(), key=lambda item: item[1]):
        if number in taken:
            return taken[number]
        taken[number] = name
    raise ValueError("all names have numbers of their own")


def _names(structure: Structure) -> Iterator[Name]:
    match structure:
        case str() | int():
            return
        case Name():
            yield structure
        case Bag(parts):
            for part in parts:
                yield from _names(part)
        case _:
            for part in structure:
                yield from _names(part)
