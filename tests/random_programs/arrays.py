"""Writes views, elementwise expressions, reductions and arrays that kernels make."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.random_programs.scope import DTYPES, FLOATS, INTEGERS, SLICES, Array, Shape, Size, fixed
from tests.random_programs.terms import BINARY, TERNARY, UNARY, Term, combined, exact, fitting, of_array
from tests.random_programs.writer import Writer


class Arrays(Writer):
    """Writes what has to do with arrays."""

    unary, binary = UNARY, BINARY

    # -- views ---------------------------------------------------------------------------------------

    def parts(self, shape: Shape, wanted: Shape) -> Iterator[list[str]]:
        """The entries of subscripts that make an array of one shape one of another."""
        if not shape:
            if not wanted:
                yield []
            return
        if wanted:
            for how in SLICES:
                if shape[0].part(how) == wanted[0]:
                    yield from ([how, *rest] for rest in self.parts(shape[1:], wanted[1:]))
        if shape[0].least > 0 and len(shape) > len(wanted):
            yield from (["index", *rest] for rest in self.parts(shape[1:], wanted))

    def views(self, wanted: Shape, dtype: str | None = None, writable: bool = False) -> list[tuple[str, list[str]]]:
        """The arrays that have parts of this shape, and the entries that make them; `T` is a transposition."""
        found: list[tuple[str, list[str]]] = []
        for name, array in self.scope.arrays.items():
            if (dtype is None or array.dtype == dtype) and (array.writable or not writable):
                found += [(name, entries) for entries in self.parts(array.shape, wanted)]
                if len(array.shape) == len(wanted) == 2:
                    found += [(f"{name}.T", entries) for entries in self.parts(array.shape[::-1], wanted)]
        return found

    def view(self, wanted: Shape, dtype: str | None = None, writable: bool = False) -> Term | None:
        """A part of an array, None if no array has one of this shape and dtype."""
        ways = self.views(wanted, dtype, writable)
        if not ways:
            return None
        name, entries = self.rng.choice(ways)
        element = self.scope.arrays[name.removesuffix(".T")].dtype
        return of_array(self.subscripted(name, entries), element, len(wanted))

    def subscripted(self, name: str, entries: list[str]) -> str:
        if all(each == "same" for each in entries) and self.rng.random() < 0.6:
            return name
        texts = [self.entry(name, axis, each) for axis, each in enumerate(entries)]
        first = texts.index("...") if "..." in texts else None
        texts = [":" if text == "..." and axis != first else text for axis, text in enumerate(texts)]
        if len(texts) > 1 and texts[-1] == ":" and self.rng.random() < 0.5:
            texts.pop()
        if len(texts) > 1 and entries[0] == "index" and first is None and self.rng.random() < 0.3:
            return f"{name}[{texts[0]}][{', '.join(texts[1:])}]"
        return f"{name}[{', '.join(texts)}]"

    def entry(self, name: str, axis: int, how: str) -> str:
        if how == "index":
            inside = f"{self.name_of_integer()} % {name}.shape[{axis}]"
            return self.rng.choice([inside, f"-({inside}) - 1", "0", "-1"])
        return self.rng.choice(SLICES[how]).format(p=self.name_of_integer())

    def a_shape(self, rank: int | None = None, writable: bool = False, whole: bool = False) -> Shape:
        """The shape of a part of some array."""
        rng = self.rng
        arrays = [a for a in self.scope.arrays.values() if (a.writable or not writable) and len(a.shape) >= (rank or 1)]
        shape = rng.choice(arrays).shape
        while len(shape) > (rank or 1) and (rank or rng.random() < 0.3):
            gone = rng.randrange(len(shape))
            if shape[gone].least == 0:
                break
            shape = (*shape[:gone], *shape[gone + 1 :])
        return shape if whole else tuple(self.a_size(size) for size in shape)

    def a_size(self, size: Size) -> Size:
        how = self.rng.choice(["same", "same", "same", "- 1", "- 2", "half", "rest of half", "two", "none"])
        if how == "none" and self.rng.random() < 0.7:
            return size
        return size.part(how) or size

    # -- elementwise ---------------------------------------------------------------------------------

    def elements(self, shape: Shape, depth: int) -> Term:
        """An expression of exactly this shape, of which some array has a part."""
        rng = self.rng
        for _ in range(8):
            if depth <= 0 or rng.random() < 0.25:
                break
            terms = [self.elements(shape, depth - 1), self.operand(shape, depth - 1), self.operand(shape, depth - 1)]
            pattern = rng.choice(rng.choice([self.unary, self.binary, self.binary, self.binary, TERNARY]))
            given = terms[: pattern.count("{}")]
            rng.shuffle(given)
            if "clip" in pattern and any(term.rank not in (0, len(shape)) or "None]" in term.text for term in given):
                continue
            found = combined(pattern, *given)
            if found is not None and found.rank == len(shape) and len(found.text) < 400:
                return found
        return self.leaf(shape)

    def leaf(self, shape: Shape) -> Term:
        found = self.view(shape)
        assert found is not None
        if len(shape) == 1 and self.rng.random() < 0.15 and (helper := self.helper_of(found.dtype, shape)):
            return helper
        return found

    def helper_of(self, dtype: str, shape: Shape) -> Term | None:
        return None

    def operand(self, shape: Shape, depth: int) -> Term:
        """An array that is broadcast to a shape, or a number."""
        match self.rng.randrange(6):
            case 0 | 1:
                return self.elements(shape, depth)
            case 2 if len(shape) > 1 and self.views(shape[1:]):
                lower = self.elements(shape[1:], min(depth, 1))
                return combined("{}[None]", lower) or lower if self.rng.random() < 0.3 else lower
            case 3 if len(shape) == 2 and self.views(shape[:1]):
                column = self.elements(shape[:1], min(depth, 1))
                return combined("{}[:, None]", column) or column
            case _:
                return self.number(depth)

    def number(self, depth: int) -> Term:
        rng = self.rng
        match rng.randrange(6):
            case 0 | 1:
                return Term(rng.choice(["0", "1", "2", "3", "100"]), 1)
            case 2:
                return Term(f"({self.integer(1)[0]} % 100)", 1)
            case 3:
                return Term(f"float({self.float(min(depth, 1))})", 1.0)
            case 4:
                return Term(rng.choice(["0.5", "(-1.5)", "2.0", "1e30"]), 1.0)
            case _:
                dtype = rng.choice(DTYPES)
                return Term(
                    f"np.{'bool_' if dtype == 'bool' else dtype}({self.strong(dtype, min(depth, 1))})",
                    np.dtype(dtype).type(1),
                )

    # -- reductions ----------------------------------------------------------------------------------

    def reduced(self, depth: int, shape: Shape | None = None, axis: str = "") -> Term:
        """A number that is made of the elements of an expression, or an array of such numbers."""
        rng = self.rng
        shape = self.a_shape() if shape is None else shape
        term = self.elements(shape, depth)
        names = ["any", "all", "sum", "prod", "mean"] + ["min", "max"] * (min(size.least for size in shape) > 0)
        name = rng.choice(names)
        if name == "mean":
            term = exact(term, 8)
        elif name in ("sum", "prod") and term.dtype in FLOATS:
            term = exact(term, 8 if name == "sum" else 2)
        elif name in ("min", "max") and term.dtype in FLOATS:
            term = combined("{} + 0", term) or term  # of 0.0 and -0.0, NumPy takes any
        if name == "mean" and 0 in [size.least for size in shape]:
            name = "any"
        ways = [f"{{}}.{name}({axis})", f"np.{name}({{}}{', ' * bool(axis)}{axis})"]
        if len(shape) == 1 and not axis and name in ("sum", "min", "max"):
            ways.append(f"{name}({{}})")
        found = combined(rng.choice(ways), term)
        return found or Term(f"({term.text} == {term.text}).all()", np.bool_(True))

    def product(self, depth: int) -> Term | None:
        """`a @ b` of vectors, exact in any order."""
        shape = self.a_shape(1)
        if not self.views(shape):
            return None
        a, b = (exact(self.elements(shape, min(depth, 1)), 8) for _ in range(2))
        return combined(self.rng.choice(["{} @ {}", "{}.dot({})", "np.dot({}, {})"]), a, b)

    def summary(self, depth: int) -> Term:
        """A number of one of NumPy's types that arrays give."""
        if self.rng.random() < 0.2 and (found := self.product(depth)) is not None:
            return combined("{} + 0", found) or found  # the sign of a sum that is 0 differs
        return self.reduced(depth)

    def integer(self, depth: int) -> tuple[str, int]:
        if depth > 1 and self.scope.arrays and self.rng.random() < 0.12:
            mask = combined("{} > {}", self.elements(self.a_shape(), 1), self.number(1))
            if mask is not None:
                return f"int({mask.text}.sum())", 10**4
        return super().integer(depth)

    def float(self, depth: int) -> str:
        if depth > 1 and self.scope.arrays and self.rng.random() < 0.12:
            return f"float({self.summary(1).text})"
        return super().float(depth)

    def truth(self, depth: int) -> str:
        if depth > 1 and self.scope.arrays and self.rng.random() < 0.12:
            return f"bool({self.elements(self.a_shape(), 1).text}.{self.rng.choice(['any', 'all'])}())"
        return super().truth(depth)

    # -- arrays that are made ------------------------------------------------------------------------

    def made(self, depth: int) -> tuple[str, Array]:
        """An expression that makes an array."""
        rng = self.rng
        match rng.randrange(7):
            case 0:
                return self.counted()
            case 6:
                return self.reshaped(depth)
            case 1:
                return self.listed()
            case 2 if (found := rng.choice([self.along_an_axis, self.multiplied])(depth)) is not None:
                return found
            case 3 | 4:
                return self.filled()
            case _:
                shape = self.a_shape()
                term = self.elements(shape, depth)
                text = rng.choice([f"{term.text}.copy()", f"np.copy({term.text})", f"np.array({term.text})"])
                return self.converted(Term(text, term.sample), shape)

    def converted(self, term: Term, shape: Shape) -> tuple[str, Array]:
        dtype = self.rng.choice([term.dtype, term.dtype, *DTYPES])
        if dtype == term.dtype:
            return term.text, Array(dtype, shape, packed=True)
        return f"{fitting(term, dtype).text}.astype({self.spelled(dtype)})", Array(dtype, shape, packed=True)

    def spelled(self, dtype: str) -> str:
        plain = {"bool": ["bool", "np.bool_"], "int64": ["int", "np.int64"], "float64": ["float", "np.float64"]}
        arrays = [f"{name}.dtype" for name, array in self.scope.arrays.items() if array.dtype == dtype]
        return self.rng.choice([*plain.get(dtype, [f"np.{dtype}"]), *arrays[:1]])

    def a_dtype(self) -> str:
        """A dtype, rather one that arrays have."""
        return self.rng.choice([*DTYPES, *(array.dtype for array in self.scope.arrays.values())])

    def filled(self) -> tuple[str, Array]:
        rng, shape, dtype = self.rng, self.a_shape(), self.a_dtype()
        like = self.view(shape)
        assert like is not None
        how, value = rng.choice([("zeros", ""), ("ones", ""), ("full", ", 7"), ("full", f", {self.strong(dtype, 1)}")])
        sizes = f"len({like.text})" if len(shape) == 1 and rng.random() < 0.5 else f"{like.text}.shape"
        if rng.random() < 0.4:
            return f"np.{how}_like({like.text}{value}, dtype={self.spelled(dtype)})", Array(dtype, shape, packed=True)
        if rng.random() < 0.2 and len(shape) < 3:
            sizes = ", ".join(["2", *(f"{like.text}.shape[{axis}]" for axis in range(len(shape)))])
            shape, sizes = (fixed(2), *shape), f"({sizes})"
        keyword = "dtype=" if rng.random() < 0.3 else ""
        return f"np.{how}({sizes}{value}, {keyword}{self.spelled(dtype)})", Array(dtype, shape, packed=True)

    def counted(self) -> tuple[str, Array]:
        """`np.arange` of as many numbers as some part of an array has."""
        rng, shape = self.rng, self.a_shape(1)
        like = self.view(shape)
        assert like is not None
        size, start = f"len({like.text})", rng.choice(["2", "(-3)", f"{self.name_of_integer()} % 7"])
        bounds = [size, f"{start}, {start} + {size}", f"{start}, {start} + 2 * {size}, 2", f"{size}, 0, -1"]
        dtype = rng.choice(["", "", *INTEGERS, *FLOATS])
        if dtype.startswith("u"):
            bounds = [size]
        keyword = f", dtype={self.spelled(dtype)}" if dtype else ""
        return f"np.arange({rng.choice(bounds)}{keyword})", Array(dtype or "int64", shape, packed=True)

    def listed(self) -> tuple[str, Array]:
        rng, count = self.rng, self.rng.choice([2, 3, 3])
        rows = rng.choice([0, 0, 2])
        items = [
            rng.choice(["1", "2.5", f"({self.integer(1)[0]} % 50)", f"float({self.float(1)})"]) for _ in range(count)
        ]
        integers = not any("." in item or "float" in item for item in items)
        text = f"[{', '.join(items)}]"
        shape = (fixed(count),) if not rows else (fixed(rows), fixed(count))
        text = f"[{', '.join([text] * rows)}]" if rows else text
        dtype = rng.choice(["", "", "float32", "float64", *(INTEGERS if integers else ())])
        found = dtype or ("int64" if integers else "float64")
        return f"np.array({text}{', ' * bool(dtype)}{'np.' * bool(dtype)}{dtype})", Array(found, shape, packed=True)

    def reshaped(self, depth: int) -> tuple[str, Array]:
        """Another shape of an array without gaps."""
        rng, shape = self.rng, self.a_shape()
        term = self.elements(shape, min(depth, 1))
        if len(shape) > 1:
            how = rng.choice([".copy().reshape(-1)", ".copy().ravel()", ".flatten()", ".copy().reshape((-1,))"])
            steps = tuple(step for size in shape for step in (*size.steps, "*"))
            least = int(np.prod([size.least for size in shape]))
            return f"({term.text}){how}", Array(term.dtype, (Size(steps, least),), packed=True)
        size = f"len({term.text})"
        rows = rng.choice([f"2, {size}", f"(2, {size})", "2, -1", f"-1, {size}"]) if shape[0].least else f"2, {size}"
        return f"np.arange(2 * {size}).reshape({rows})", Array("int64", (fixed(2), *shape), packed=True)

    def multiplied(self, depth: int) -> tuple[str, Array] | None:
        """`a @ b` of a matrix and a vector, or of two matrices."""
        shape = self.a_shape()
        others = [other for other in (self.a_shape() for _ in range(4)) if len(other) < 3 and other[0] == shape[-1]]
        if len(shape) != 2 or not others:
            return None
        a, b = (exact(self.elements(each, min(depth, 1)), 8) for each in (shape, others[0]))
        found = combined(self.rng.choice(["{} @ {}", "np.dot({}, {})", "{}.dot({})"]), a, b)
        total = None if found is None else combined("{} + 0", found)
        return total and (total.text, Array(total.dtype, (*shape[:-1], *others[0][1:]), packed=True))

    def along_an_axis(self, depth: int) -> tuple[str, Array] | None:
        shapes = [shape for shape in (self.a_shape() for _ in range(4)) if len(shape) == 2]
        if not shapes:
            return None
        shape, axis = shapes[0], self.rng.randrange(2)
        term = self.reduced(min(depth, 1), shape, self.rng.choice([f"axis={axis}", f"axis={axis - 2}"]))
        if term.rank != 1:
            return None
        return term.text, Array(term.dtype, (shape[1 - axis],), packed=True)
