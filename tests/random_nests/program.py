"""A nest as data, and programs of them at random."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Name = str

RANKS = {"a": 1, "b": 1, "c": 2, "d": 2, "own": 1, "zero": 0}
"""The arrays and their dimensions. `own` is the region's own, and `zero` has a single element."""


@dataclass(frozen=True)
class Sum:
    """`constant`, and each name times its factor: names are those of loops, and `n` and `m`."""

    factors: tuple[tuple[Name, int], ...]
    constant: int

    def value(self, names: dict[Name, int]) -> int:
        return self.constant + sum(names[name] * factor for name, factor in self.factors)

    def __str__(self) -> str:
        return " + ".join([*(f"{factor} * {name}" for name, factor in self.factors), str(self.constant)])


@dataclass(frozen=True)
class Element:
    array: Name
    index: tuple[Sum, ...]


@dataclass(frozen=True)
class Assign:
    """The sum of what is read goes to an element."""

    target: Element
    reads: tuple[Element, ...]


@dataclass(frozen=True)
class Loop:
    name: Name
    lower: Sum
    upper: Sum
    step: int
    body: tuple[Statement, ...]
    kind: Literal["scf", "affine", "parallel"] = "scf"


@dataclass(frozen=True)
class If:
    """A branch by an element that is read ("data"), by `n > 2` ("number"), by the index of a loop ("index"), or by a flag.

    The flag is an argument, which all branches of one program have in common ("flag", "not flag").
    """

    kind: Literal["data", "number", "index", "flag", "not flag"]
    condition: Element | Name
    then: tuple[Statement, ...]
    other: tuple[Statement, ...]


Statement = Assign | Loop | If


def parts(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    """All statements, those inside of others too."""
    for statement in statements:
        yield statement
        match statement:
            case Loop(body=body):
                yield from parts(body)
            case If(then=then, other=other):
                yield from parts((*then, *other))
            case _:
                pass


class Writer:
    """Makes programs of one seed."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)
        self._loops: list[Name] = []
        self._depth = 0
        self._plain = self._random.random() < 0.7
        """Whether there are neither branches nor bounds that depend on loops."""
        mixed = self._random.random() < 0.35
        self._sources = ("a", "b", "c", "d", "own") if mixed else ("a", "a", "a", "a", "c", "c", "c", "zero")
        self._targets = ("a", "b", "c", "d", "own", "zero") if mixed else ("b", "d", "b", "d", "b", "d", "own")

    def program(self) -> tuple[Statement, ...]:
        if self._random.random() < 0.1:
            return self._parted()
        return tuple(self._loop() for _ in range(self._random.choice((1, 1, 2))))

    def _parted(self) -> tuple[Statement, ...]:
        """What the flag has written before it is read, or after."""
        lower, upper = self._bounds()
        self._loops.append("i0")
        assign, other = self._assign(), self._assign()
        self._loops.pop()
        reading = replace(other, reads=(*other.reads, assign.target))
        bodies = If("flag", "n", (assign,), ()), reading, If("not flag", "n", (assign,), ())
        return tuple(Loop("i0", lower, upper, 1, (body,)) for body in bodies)

    def _statement(self) -> Statement:
        chance = self._random.random()
        if chance < 0.35 and len(self._loops) < 3:
            return self._loop()
        if chance < 0.45 and not self._plain and self._depth < 2:
            return self._if()
        return self._assign()

    def _statements(self) -> tuple[Statement, ...]:
        return tuple(self._statement() for _ in range(self._random.choice((1, 1, 2))))

    def _loop(self) -> Loop:
        name = f"i{len(self._loops)}"
        lower, upper = self._bounds()
        step = self._random.choice((1, 1, 1, 1, 2, 3))
        kind = self._random.choice(("scf", "scf", "affine", "affine", "parallel"))
        self._loops.append(name)
        body = self._statements()
        self._loops.pop()
        return Loop(name, lower, upper, step, body, kind)

    def _bounds(self) -> tuple[Sum, Sum]:
        lower = Sum((), self._random.choice((0, 0, 1, 1, 2)))
        if self._loops and not self._plain and self._random.random() < 0.2:
            outer = self._random.choice(self._loops)
            return Sum(((outer, 1),), 0), Sum(
                ((outer, 1),), self._random.choice((2, 3))
            ) if self._random.random() < 0.5 else Sum((("n", 1),), 3)
        size = self._random.choice(("n", "n", "m", None))
        if size is None:
            return lower, Sum((), self._random.choice((0, 2, 3, 4)))
        return lower, Sum(((size, 1),), self._random.choice((-1, 0, 0, 1)))

    def _if(self) -> If:
        kind = self._random.choice(("data", "number", "index", "flag", "flag", "not flag", "not flag"))
        condition = self._element(self._sources) if kind == "data" else (self._loops or ["n"])[0]
        self._depth += 1
        then = self._statements()
        same = self._random.random() < 0.4
        other = then if same else self._random.choice(((), self._statements()))
        self._depth -= 1
        return If(kind, condition, then, other)

    def _assign(self) -> Assign:
        reads = tuple(self._element(self._sources) for _ in range(self._random.choice((1, 2, 3))))
        return Assign(self._element(self._targets), reads)

    def _element(self, among: tuple[Name, ...]) -> Element:
        array = self._random.choice(among)
        return Element(array, tuple(self._index(m) for m in range(RANKS[array])))

    def _index(self, m: int) -> Sum:
        chance = self._random.random()
        constant = self._random.choice((2, 2, 3, 3, 4))
        if not self._loops or chance < 0.08:
            return Sum((), constant)
        name = self._loops[m % len(self._loops)] if chance < 0.7 else self._random.choice(self._loops)
        factor = 1 if chance < 0.9 else self._random.choice((2, -1, 3))
        factors = [(name, factor)]
        if chance > 0.93 and len(self._loops) > 1:
            other = self._random.choice([each for each in self._loops if each != name])
            factors.append((other, self._random.choice((1, 2, 4))))
        if factor < 0:
            factors.append(("n", 1))
        return Sum(tuple(factors), constant)
