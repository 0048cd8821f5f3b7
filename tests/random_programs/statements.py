"""Writes statements with blocks: branches and loops."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from tests.random_programs.assignments import Assignments
from tests.random_programs.scope import LAST, Array, Scope

TICKS = 40
"""The most iterations of a loop whose number of them is not known to be small."""


class Statements(Assignments):
    """Writes the statements of one function, which returns `results`."""

    def __init__(self, rng: random.Random, scope: Scope, results: list[str]):
        super().__init__(rng, scope)
        self.results = results
        self.may_leave = bool(results) and not any(each.startswith("like") for each in results)
        """Whether paths may return: an array that a path makes ends with it."""
        self.budget = rng.choice([4, 8, 12])

    def leave(self, indent: int) -> None:
        raise NotImplementedError

    def block(self, indent: int, depth: int, loops: int) -> None:
        """Write a block, whose names end with it."""
        outside, self.scope = self.scope, self.scope.inner()
        start = len(self.lines)
        for _ in range(self.rng.choice([1, 2, 2, 3, 4])):
            self.budget -= 1
            self.statement(indent, depth if self.budget > 0 else 0, loops)
            if self.budget < 0:
                break
        if len(self.lines) == start:
            self.line(indent, "pass")
        self.scope = outside

    def statement(self, indent: int, depth: int, loops: int) -> None:
        simple = [self.assign, self.assign, self.store, self.swap_numbers, self.fail]
        simple += (
            [self.assign_part] * 4 + [self.name_array] * 3 + [self.rename_array, self.swap_arrays, self.name_tuple]
        )
        if self.rng.random() < 0.45 and depth:
            blocks: list[Callable[[int, int, int], None]] = [self.branch, self.branch, self.if_given]
            blocks += [self.counting, self.conditional, self.over_arrays, self.over_tuples, self.over_indices] * (
                loops < 2
            )
            self.rng.choice(blocks)(indent, depth, loops)
        elif loops and self.rng.random() < 0.15:
            self.line(indent, f"if {self.truth(2)}:")
            self.line(indent + 1, self.rng.choice(["break", "continue"]))
        elif self.may_leave and self.rng.random() < 0.06:
            self.line(indent, f"if {self.truth(2)}:")
            self.leave(indent + 1)
        else:
            self.rng.choice(simple)(indent)

    # -- branches ------------------------------------------------------------------------------------

    def branch(self, indent: int, depth: int, loops: int) -> None:
        rng = self.rng
        self.line(indent, f"if {self.truth(3)}:")
        self.block(indent + 1, depth - 1, loops)
        for _ in range(rng.choice([0, 0, 1, 2])):
            self.line(indent, f"elif {self.truth(2)}:")
            self.block(indent + 1, depth - 1, loops)
        if rng.random() < 0.5:
            self.line(indent, "else:")
            self.block(indent + 1, depth - 1, loops)

    def if_given(self, indent: int, depth: int, loops: int) -> None:
        """Use an array that may be missing."""
        if not self.scope.optionals:
            return self.branch(indent, depth, loops)
        name, array = self.rng.choice(list(self.scope.optionals.items()))
        given = self.rng.random() < 0.7
        self.line(indent, f"if {name} is {'not ' * given}None:")
        self.with_names(indent + 1, depth, loops, arrays={name: array} if given else {})
        self.line(indent, "else:")
        return self.with_names(indent + 1, depth, loops, arrays={} if given else {name: array})

    def with_names(
        self,
        indent: int,
        depth: int,
        loops: int,
        arrays: dict[str, Array] | None = None,
        integers: dict[str, int] | None = None,
        numbers: dict[str, str] | None = None,
        floats: tuple[str, ...] = (),
    ) -> None:
        """Write a block in which there are more names, to read."""
        outside, self.scope = self.scope, self.scope.inner()
        self.scope.arrays |= arrays or {}
        self.scope.integers |= integers or {}
        self.scope.numbers |= numbers or {}
        self.scope.floats += floats
        self.scope.fixed |= {*(integers or {}), *(numbers or {}), *floats}
        self.block(indent, depth - 1, loops)
        self.scope = outside

    # -- loops ---------------------------------------------------------------------------------------

    def counting(self, indent: int, depth: int, loops: int) -> None:
        name = self.new("i")
        numbers, most = self.range()
        self.line(indent, f"for {name} in range({numbers}):")
        if most > 2**10:
            self.line(indent + 1, "ticks += 1")
            self.line(indent + 1, f"if ticks > {TICKS}:")
            self.line(indent + 2, "break")
        self.with_names(indent + 1, depth, loops + 1, integers={name: most})
        self.otherwise(indent)

    def range(self) -> tuple[str, int]:
        """The arguments of a `range`, and a bound of its numbers."""
        rng = self.rng
        far = [each for each in ("low", "high") if each in self.scope.integers]
        step = rng.choice(["1", "2", "3", "(-1)", "(-2)", str(2**62), f"({self.small(1, 5)} | 1)"])
        if far and rng.random() < 0.3:
            ends = [
                f"max({far[0]}, {50 - LAST}) - 7, {far[0]}, {step}",
                f"{far[0]}, min({far[0]}, {LAST - 50}) + 7, {step}",
                f"{far[0]}, {far[-1]}, {step}",
                f"{far[-1]}, {far[0]}, {step}",
            ]
            return rng.choice(ends), LAST
        simple = [(f"{rng.randrange(6)}", 6), (f"{self.small(1, 9)}, {self.small(1, 9)}, {step}", LAST)]
        if self.scope.arrays:
            array = rng.choice(list(self.scope.arrays))
            simple += [(f"len({array})", 2**10), (f"len({array}) - 1, -1, -1", 2**10)]
        return rng.choice(simple)

    def conditional(self, indent: int, depth: int, loops: int) -> None:
        name = self.new("w")
        self.line(indent, f"{name} = 0")
        self.line(indent, f"while {name} < {self.rng.choice([1, 3, 5])} and {self.truth(2)}:")
        self.line(indent + 1, f"{name} += 1")
        self.block(indent + 1, depth - 1, loops + 1)
        self.otherwise(indent)

    def otherwise(self, indent: int) -> None:
        if self.rng.random() < 0.2:
            self.line(indent, "else:")
            self.block(indent + 1, 0, 0)

    def over_arrays(self, indent: int, depth: int, loops: int) -> None:
        """A loop over the elements or the rows of one or two arrays."""
        rng = self.rng
        if not self.scope.arrays:
            return
        arrays: dict[str, Array] = {}
        numbers: dict[str, str] = {}
        texts: list[str] = []
        for _ in range(rng.choice([1, 1, 2])):
            text, found = self.iterated()
            texts.append(text)
            name = self.new("e")
            if len(found.shape) == 1:
                numbers[name] = found.dtype
            else:
                arrays[name] = replace(found, shape=found.shape[1:], packed=False)
        target, over = ", ".join([*numbers, *arrays]), ", ".join(texts)
        order = sorted([*numbers, *arrays], key=lambda each: int(each[1:]))
        target = ", ".join(order)
        over = f"zip({over})" if len(order) > 1 or rng.random() < 0.1 else over
        target = f"{target}," if over.startswith("zip") and len(order) == 1 else target
        integers: dict[str, int] = {}
        if rng.random() < 0.4:
            position = self.new("i")
            integers[position] = 2**10
            target = f"{position}, ({target})" if over.startswith("zip") else f"{position}, {target}"
            over = f"enumerate({over}{rng.choice(['', ', 1', ', start=-2'])})"
        self.line(indent, f"for {target} in {over}:")
        self.with_names(indent + 1, depth, loops + 1, arrays, integers, numbers)
        self.otherwise(indent)

    def iterated(self) -> tuple[str, Array]:
        """What a loop runs over: a part of an array, or an expression."""
        shape = self.a_shape()
        ways = [way for way in self.views(shape) if not way[0].endswith(".T")]
        if not ways or self.rng.random() < 0.2:
            term = self.elements(shape, 1)
            return term.text, Array(term.dtype, shape, writable=False)
        base, entries = self.rng.choice(ways)
        text = self.subscripted(base, entries)
        return self.rng.choice([text, text, f"reversed({text})"]), replace(self.scope.arrays[base], shape=shape)

    def over_tuples(self, indent: int, depth: int, loops: int) -> None:
        """A loop over a tuple of numbers, of pairs, or of arrays."""
        rng, name, other = self.rng, self.new("q"), self.new("q")
        names = [a for a in self.scope.arrays if self.scope.arrays[a].writable]
        match rng.randrange(4):
            case 0 if names:
                first = self.scope.arrays[rng.choice(names)]
                alike = [
                    n
                    for n in names
                    if self.scope.arrays[n].dtype == first.dtype and self.scope.arrays[n].shape == first.shape
                ]
                self.line(indent, f"for {name} in ({', '.join(rng.choices(alike, k=2))}):")
                self.with_names(indent + 1, depth, 2, {name: replace(first, packed=False)})
            case 1:
                self.line(
                    indent,
                    f"for {name}, {other} in {rng.choice(['PAIRS', 'reversed(PAIRS)', 'zip((1, 2), WEIGHTS)'])}:",
                )
                self.with_names(indent + 1, depth, 2, integers={name: 10}, floats=(other,))
            case 2:
                self.line(indent, f"for {name}, {other} in enumerate((0.5, {rng.choice(self.scope.floats)}, -1.0)):")
                self.with_names(indent + 1, depth, 2, integers={name: 10}, floats=(other,))
            case _:
                self.line(indent, f"for {name} in {rng.choice(['WEIGHTS', 'reversed(WEIGHTS)', '(0.25, 2.0)'])}:")
                self.with_names(indent + 1, depth, 2, floats=(name,))
        self.otherwise(indent)

    def over_indices(self, indent: int, depth: int, loops: int) -> None:
        """A loop over the indices of an array, `np.ndindex`."""
        names = self.scope.with_elements()
        if not names:
            return
        name = self.rng.choice(names)
        indices = [self.new("i") for _ in self.scope.arrays[name].shape]
        shape = f"{name}.shape" if len(indices) > 1 or self.rng.random() < 0.5 else f"len({name})"
        self.line(indent, f"for {', '.join(indices)}{',' * (len(indices) == 1)} in np.ndindex({shape}):")
        self.with_names(indent + 1, depth, 2, integers=dict.fromkeys(indices, 2**10))
        self.otherwise(indent)
