"""Writes assignments: of numbers, elements, parts of arrays, names of arrays, and tuples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.random_programs.arrays import Arrays
from tests.random_programs.scope import FLOATS, Array, fixed
from tests.random_programs.terms import Term, combined, fitting

RAISES = ["ValueError", "RuntimeError", "KeyError", "IndexError", "ArithmeticError", "NotImplementedError"]


class Assignments(Arrays):
    """Writes statements that have no blocks."""

    # -- numbers -------------------------------------------------------------------------------------

    def assign(self, indent: int) -> None:
        rng, scope = self.rng, self.scope
        free = [name for name in scope.integers if name not in scope.fixed]
        match rng.randrange(4):
            case 0 if free:
                name = rng.choice(free)
                self.line(indent, f"{name} = {self.small(3, scope.integers[name])}")
            case 1 if names := [name for name in scope.bools if name not in scope.fixed]:
                self.line(indent, f"{rng.choice(names)} = {self.truth(2)}")
            case 2 if scope.numbers:
                name, dtype = rng.choice(list(scope.numbers.items()))
                if name not in scope.fixed:
                    self.line(indent, f"{name} = {self.strong(dtype, 2)}")
            case _:
                names = [name for name in scope.floats if name not in scope.fixed]
                text, operator = self.float(3), rng.choice(["=", "=", "+=", "*=", "-="])
                name = rng.choice(names)
                several = f"{name} = {rng.choice(names)}" if operator == "=" and rng.random() < 0.2 else name
                self.line(indent, f"{several} {operator} {text}")

    def swap_numbers(self, indent: int) -> None:
        names = [name for name in self.scope.floats if name not in self.scope.fixed]
        if len(names) > 1:
            a, b = self.rng.sample(names, 2)
            self.line(indent, f"{a}, {b} = {b}, {self.rng.choice([a, self.float(1)])}")

    def store(self, indent: int) -> None:
        """Assign an element."""
        rng = self.rng
        names = [name for name in self.scope.with_elements() if self.scope.arrays[name].writable]
        if not names:
            return
        name = rng.choice(names)
        dtype = self.scope.arrays[name].dtype
        value = self.float(3) if dtype in FLOATS and rng.random() < 0.4 else self.strong(dtype, 3)
        operator = rng.choice(["=", "=", "+=", "*=", "-="])
        operator = "=" if dtype == "bool" else operator
        self.line(indent, f"{self.place(name, 2)} {operator} {value}")

    def fail(self, indent: int) -> None:
        """Raise an exception, or assert that there is none; both rarely happen."""
        rng = self.rng
        if rng.random() < 0.6:
            return self.assign(indent)
        text = f'f"stop {{{self.small(1, 100)}}} {{{rng.choice(self.scope.floats)}:.3f}}"'
        text = rng.choice([text, '"stop"'])
        if rng.random() < 0.5:
            return self.line(indent, f"assert {self.truth(2)} or {self.truth(2)}, {text}")
        self.line(indent, f"if {self.truth(2)} and {self.truth(1)}:")
        error = rng.choice(RAISES)
        return self.line(indent + 1, f"raise {error}({text})" if rng.random() < 0.8 else "raise NotImplementedError")

    # -- arrays --------------------------------------------------------------------------------------

    def assign_part(self, indent: int) -> None:
        """Assign an expression to a part of an array, which it may read."""
        rng, scope = self.rng, self.scope
        if not any(array.writable for array in scope.arrays.values()):
            return None
        shape = self.a_shape(writable=True)
        target = self.view(shape, writable=True)
        if target is None:
            return None
        value = self.operand(shape, 2)
        is_free = target.text not in scope.fixed
        if is_free and rng.random() < 0.4 and (operator := self.operator_in_place(target, value)):
            return self.line(indent, f"{target.text} {operator} {value.text}")
        if target.text.endswith("]"):
            return self.line(indent, f"{target.text} = {self.stored(value, target.dtype)}")
        if value.rank == 0 and rng.random() < 0.4:
            return self.line(indent, f"{target.text}.fill({self.stored(value, target.dtype)})")
        self.line(indent, f"{target.text}[{rng.choice([':', '...'])}] = {self.stored(value, target.dtype)}")

    def stored(self, value: Term, dtype: str) -> str:
        """A value that an array takes: of a number that is none of NumPy's, what does not fit is an error in Python."""
        if value.rank == 0 and value.dtype in FLOATS and dtype not in FLOATS:
            return "1" if dtype == "bool" else "3"
        return fitting(value, dtype).text

    def operator_in_place(self, target: Term, value: Term) -> str | None:
        """An operator whose result NumPy casts to the elements of the target."""
        operator = self.rng.choice(["+", "-", "*", "+", "-", "*", "/", "//", "%", "&", "|", "^"])
        found = combined(f"{{}} {operator} {{}}", target, value)
        if found is None or not np.can_cast(found.dtype, target.dtype, "same_kind") or target.text.endswith(".T"):
            return None
        return f"{operator}="

    def name_array(self, indent: int) -> None:
        """Give a name to a view, or to an array that is made."""
        rng, scope = self.rng, self.scope
        if not scope.arrays:
            return None
        if rng.random() < 0.5:
            text, array = self.made(2)
            name = self.new("c")
            scope.arrays[name] = replace(array, made=indent)
            if rng.random() < 0.15:
                self.line(indent, f"{name} = np.empty_like({text})")
                return self.line(indent, f"{name}[...] = {self.stored(self.operand(array.shape, 1), array.dtype)}")
            return self.line(indent, f"{name} = {text}")
        ways = [way for way in self.views(self.a_shape()) if not way[0].endswith(".T")]
        if not ways:
            return None
        base, entries = rng.choice(ways)
        source, text = scope.arrays[base], self.subscripted(base, entries)
        self.name_view(indent, source, text, entries)

    def name_view(self, indent: int, source: Array, text: str, entries: list[str]) -> None:
        name = self.new("v")
        kept = [size.part(how) for size, how in zip(source.shape, entries, strict=True) if how != "index"]
        shape = tuple(size for size in kept if size is not None)
        packed = source.packed and text.isidentifier()
        if packed and len(shape) > 1 and self.rng.random() < 0.5:
            text += self.rng.choice([".ravel()", ".reshape(-1)", ".reshape((-1,))"])
            steps = tuple(step for size in shape for step in (*size.steps, "*"))
            least = int(np.prod([size.least for size in shape]))
            shape = (replace(shape[0], steps=steps, least=least),)
        elif len(shape) == 2 and self.rng.random() < 0.15:
            text, shape, packed = f"{text}.T", shape[::-1], False
        elif len(shape) < 3 and self.rng.random() < 0.1:
            behind = self.rng.random() < 0.5
            text = f"{text}[{self.rng.choice(['..., None', ', '.join([':'] * len(shape) + ['None'])]) if behind else 'None'}]"
            shape, packed = ((*shape, fixed(1)) if behind else (fixed(1), *shape)), False
        self.scope.arrays[name] = replace(source, shape=shape, packed=packed)
        self.line(indent, f"{name} = {text}")

    def pairs(self) -> list[tuple[str, str]]:
        """Names that may stand for each other's arrays."""
        arrays = {n: a for n, a in self.scope.arrays.items() if a.writable and n not in self.scope.fixed}
        return [(a, b) for a in arrays for b in arrays if a != b and arrays[a] == arrays[b]]

    def swap_arrays(self, indent: int) -> None:
        if pairs := self.pairs():
            a, b = self.rng.choice(pairs)
            self.line(indent, f"{a}, {b} = {b}, {a}")

    def rename_array(self, indent: int) -> None:
        if pairs := self.pairs():
            a, b = self.rng.choice(pairs)
            self.line(indent, self.rng.choice([f"{a} = {b}", f"{a} = {a} if {self.truth(1)} else {b}"]))

    # -- tuples --------------------------------------------------------------------------------------

    def name_tuple(self, indent: int) -> None:
        """A tuple of an integer and floats, which is read by its items."""
        rng, scope, name = self.rng, self.scope, self.new("t")

        def item() -> str:
            return f"({self.small(2, 2**31)}, float({self.float(2)}), float({self.float(1)}))"

        self.line(indent, f"{name} = {item()}")
        if rng.random() < 0.4:
            self.line(indent, f"{name} = {rng.choice([name, item()])} if {self.truth(2)} else {item()}")
        match rng.randrange(3):
            case 0:
                names = self.new("j"), self.new("y"), self.new("y")
                self.line(indent, f"{', '.join(names)} = {name}")
            case 1:
                names = self.new("j"), self.new("y"), self.new("y")
                self.line(indent, f"{names[0]}, ({names[1]}, {names[2]}) = {name}[0], {name}[1:]")
            case _:
                names = f"{name}[0]", f"{name}[-2]", f"{name}[2]"
        scope.integers[names[0]] = 2**31
        scope.floats += names[1:]
        scope.fixed |= set(names)
