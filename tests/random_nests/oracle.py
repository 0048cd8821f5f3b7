"""Runs a nest in Python and notes what it reads before it writes it, and what it writes."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.random_nests.program import Assign, Element, If, Loop, Statement

Place = tuple[str, tuple[int, ...]]


class OutOfBounds(Exception):
    """The program reaches outside of an array, which no program may."""


@dataclass
class Trace:
    """What a program has touched so far. Branches that data choose are both taken, and meet."""

    numbers: dict[str, int]
    sizes: dict[str, tuple[int, ...]]
    read: set[Place] = field(default_factory=set[Place])
    """The elements that are read first on some way."""
    written: set[Place] = field(default_factory=set[Place])
    """The elements that are written on all ways."""
    maybe: set[Place] = field(default_factory=set[Place])
    """The elements that are written on some way."""
    again: set[Place] = field(default_factory=set[Place])
    """The elements that are read after they have been written."""

    def run(self, program: tuple[Statement, ...]) -> Trace:
        for statement in program:
            self._statement(statement, dict(self.numbers))
        return self

    def _statement(self, statement: Statement, names: dict[str, int]) -> None:
        match statement:
            case Assign(target, reads):
                for element in reads:
                    self._read(self._place(element, names))
                self._write(self._place(target, names))
            case Loop(name, lower, upper, step, body):
                for value in range(lower.value(names), upper.value(names), step):
                    for each in body:
                        self._statement(each, {**names, name: value})
            case If("data", condition, then, other):
                assert isinstance(condition, Element)
                self._read(self._place(condition, names))
                self._both(then, other, names)
            case If("flag" | "not flag" as kind, _, then, other):
                for each in then if bool(self.numbers["flag"]) == (kind == "flag") else other:
                    self._statement(each, names)
            case If("number", _, then, other):
                self._both(then, other, names)
            case If(_, condition, then, other):
                assert isinstance(condition, str)
                for each in then if names[condition] > 1 else other:
                    self._statement(each, names)

    def beside(self, other: Trace) -> Trace:
        """What is touched with one value of the flag or the other."""
        sets = self.read | other.read, self.written & other.written, self.maybe | other.maybe, self.again | other.again
        return Trace(self.numbers, self.sizes, *sets)

    def _both(self, then: tuple[Statement, ...], other: tuple[Statement, ...], names: dict[str, int]) -> None:
        before, after = set(self.written), []
        for way in (then, other):
            self.written = set(before)
            for each in way:
                self._statement(each, names)
            after.append(self.written)
        self.written = after[0] & after[1]

    def _place(self, element: Element, names: dict[str, int]) -> Place:
        index = tuple(each.value(names) for each in element.index)
        if not all(0 <= i < size for i, size in zip(index, self.sizes[element.array], strict=True)):
            raise OutOfBounds
        return element.array, index

    def _read(self, place: Place) -> None:
        if place[0] != "own":
            (self.again if place in self.written else self.read).add(place)

    def _write(self, place: Place) -> None:
        if place[0] != "own":
            self.written.add(place)
            self.maybe.add(place)
