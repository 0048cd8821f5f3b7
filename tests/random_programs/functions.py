"""Writes functions: kernels, plain functions, functions inside of kernels, lambdas and methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.random_programs.scope import Helper, Shape, Size, size_of
from tests.random_programs.statements import Statements
from tests.random_programs.terms import Term, fitting, of_array

NOTHING = {"int": "1", "float": "1.0"}


class Function(Statements):
    """Writes one function.

    It returns `results`: "int", "float", "bool", a text, "number DTYPE", "part DTYPE RANK" of an argument, "made NAME"
    of an array that it makes, "like DTYPE NAME" as large as another, or "record NAME".
    """

    def statement(self, indent: int, depth: int, loops: int) -> None:
        if self.scope.records and self.rng.random() < 0.1:
            return self.rng.choice([self.name_record, self.name_record, self.take_apart])(indent)
        if (pair := self.helper("pair")) and self.rng.random() < 0.2:
            return self.name_pair(indent, pair)
        if self.rng.random() < 0.05 and self.scope.helpers:
            helper = self.rng.choice(self.scope.helpers)
            if self.can_call(helper):
                return self.line(indent, self.call(helper, 2))
        return super().statement(indent, depth, loops)

    # -- results -------------------------------------------------------------------------------------

    def leave(self, indent: int) -> None:
        texts = [self.result(each) for each in self.results]
        if len(texts) > 2 and self.results[0] == "int":
            texts = [f"({texts[0]}, {texts[1]})", *texts[2:]]
        self.line(indent, f"return {', '.join(texts)}")

    def result(self, what: str) -> str:
        kind, *more = what.split()
        match kind:
            case "int":
                return self.small(3, 2**31)
            case "float":
                return f"float({self.float(2)})"
            case "bool":
                return f"bool({self.truth(2)})"
            case "number":
                return self.number_of(more[0])
            case "part":
                return self.part(more[0], int(more[1]))
            case "made":
                shape = self.scope.arrays[more[0]].shape
                entries = next(self.parts(shape, tuple(self.a_size(size) for size in shape)))
                return self.subscripted(more[0], entries)
            case "pair":
                return f"({self.small(2, 2**31)}, float({self.float(2)}))"
            case "like":
                term = fitting(self.elements(self.scope.arrays[more[1]].shape, 2), more[0])
                return f"({term.text}).astype(np.{more[0]})"
            case "record":
                return self.record(more[0])
            case _:
                return what

    def number_of(self, dtype: str) -> str:
        name = "bool_" if dtype == "bool" else dtype
        return f"np.{name}({self.strong(dtype, 2)})"

    def part(self, dtype: str, rank: int) -> str:
        """A part of an argument."""
        arguments = {n: a for n, a in self.scope.arrays.items() if a.made == 0 and a.writable and len(a.shape) >= rank}
        name = self.rng.choice([n for n, a in arguments.items() if a.dtype == dtype])
        shape = self.narrowed(arguments[name].shape, rank)
        return self.subscripted(name, self.rng.choice(list(self.parts(arguments[name].shape, shape))))

    def narrowed(self, shape: Shape, rank: int) -> Shape:
        """A shape of fewer dimensions, of parts of an array."""
        kept = sorted(self.rng.sample(range(len(shape)), rank))
        return tuple(self.a_size(shape[axis]) for axis in kept)

    # -- bundles -------------------------------------------------------------------------------------

    def record(self, bundle_name: str) -> str:
        names = [name for name, bundle in self.scope.records.items() if bundle.name == bundle_name]
        name = self.rng.choice(names)
        bundle = self.scope.records[name]
        if self.rng.random() < 0.4:
            return name
        values = {each: self.field(what) for each, what in bundle.fields.items()}
        if not all(values.values()):
            return name
        if self.rng.random() < 0.5 and not bundle.is_tuple:
            changed = self.rng.choice(list(values))
            return f"dataclasses.replace({name}, {changed}={values[changed]})"
        given = list(values.items())
        few = self.rng.randrange(len(given) + 1)
        arguments = [value for _, value in given[:few]] + [f"{each}={value}" for each, value in given[few:]]
        return f"{bundle.name}({', '.join(arguments)})"

    def field(self, what: str) -> str:
        """A value for a field, empty if there is none."""
        kind, *dims = what.split()
        if dims:
            found = self.arguments_of(tuple(map(size_of, dims)), kind)
            return found.text if found else ""
        return self.argument(what, {}) or ""

    def arguments_of(self, shape: Shape, dtype: str) -> Term | None:
        """A part of an argument with this shape."""
        outside, self.scope = self.scope, self.scope.inner()
        self.scope.arrays = {n: a for n, a in self.scope.arrays.items() if a.made == 0}
        found = self.view(shape, dtype, writable=True)
        self.scope = outside
        return found

    def name_record(self, indent: int) -> None:
        name = self.new("r")
        bundle = self.rng.choice(list(self.scope.records.values()))
        self.line(indent, f"{name} = {self.record(bundle.name)}")
        self.scope.add_record(name, bundle)

    def take_apart(self, indent: int) -> None:
        """Give names to the fields of a named tuple."""
        tuples = [name for name, bundle in self.scope.records.items() if bundle.is_tuple]
        if not tuples:
            return self.name_record(indent)
        name = self.rng.choice(tuples)
        new: list[str] = []
        for what in self.scope.records[name].fields.values():
            new.append(self.new("d"))
            self.scope.add_parameter(new[-1], what)
        self.scope.fixed |= set(new)
        return self.line(indent, f"{', '.join(new)} = {name}")

    def name_pair(self, indent: int, helper: Helper) -> None:
        """Give names to the two results of a helper."""
        call = self.call(helper, 2)
        names = self.new("j"), self.new("y")
        if not call.startswith(helper.name):
            return
        self.line(indent, f"{', '.join(names)} = {call}")
        self.scope.integers[names[0]] = 2**31
        self.scope.floats.append(names[1])
        self.scope.fixed |= set(names)

    # -- calls ---------------------------------------------------------------------------------------

    def callable_ones(self) -> list[Helper]:
        """Helpers and the methods of records."""
        methods = [
            replace(method, name=f"{name}.{method.name}")
            for name, bundle in self.scope.records.items()
            for method in self.scope.methods.get(bundle.name, ())
        ]
        return [*self.scope.helpers, *methods]

    def helper(self, result: str) -> Helper | None:
        found = [h for h in self.callable_ones() if h.result == result and self.can_call(h)]
        return self.rng.choice(found) if found else None

    def can_call(self, helper: Helper) -> bool:
        return all(self.sources(what) for what in helper.parameters.values())

    def sources(self, what: str) -> Sequence[str]:
        """The names that an argument may come from."""
        kind, *dims = what.split()
        if kind == "bundle":
            return [name for name, bundle in self.scope.records.items() if bundle.name == dims[0]]
        if not dims:
            return [kind]
        arrays = self.scope.arrays.items()
        return [n for n, a in arrays if a.dtype == kind and a.writable and len(a.shape) >= len(dims) and a.least > 0]

    def call(self, helper: Helper, depth: int) -> str:
        for _ in range(5):
            sizes: dict[str, Size] = {}
            given = {name: self.argument(what, sizes) for name, what in helper.parameters.items()}
            if all(given.values()):
                return f"{helper.name}({', '.join(self.passed(helper, given))})"
        return NOTHING.get(helper.result, "1")

    def passed(self, helper: Helper, given: Mapping[str, str | None]) -> list[str]:
        """The texts of arguments, the last of which may be keywords, in any order, or left out."""
        rng = self.rng
        few = rng.randrange(len(given) + 1) if helper.keywords and rng.random() < 0.4 else len(given)
        names = list(given)
        while names and names[-1] in helper.defaults and rng.random() < 0.5:
            names.pop()
        behind = names[few:]
        rng.shuffle(behind)
        return [f"{given[name]}" for name in names[:few]] + [f"{name}={given[name]}" for name in behind]

    def argument(self, what: str, sizes: dict[str, Size]) -> str | None:
        """The text of an argument; `sizes` has what the dimensions of the parameters before are."""
        kind, *dims = what.split()
        match kind:
            case "bundle":
                return self.record(dims[0]) if self.sources(what) else None
            case _ if dims:
                return self.array_argument(kind, dims, sizes)
            case "int":
                return self.small(1, 2**31)
            case "float":
                return f"float({self.float(1)})"
            case "bool":
                return self.truth(1)
            case _:
                return self.number_of(kind)

    def array_argument(self, dtype: str, dims: Sequence[str], sizes: dict[str, Size]) -> str | None:
        sources = self.sources(f"{dtype} {' '.join(dims)}")
        if not sources:
            return None
        wanted = self.narrowed(self.scope.arrays[self.rng.choice(sources)].shape, len(dims))
        wanted = tuple(sizes.get(dim, size) for dim, size in zip(dims, wanted, strict=True))
        if min(size.least for size in wanted) == 0 or (found := self.view(wanted, dtype, writable=True)) is None:
            return None
        sizes.update(zip(dims, wanted, strict=True))
        return f"{found.text}.copy()" if self.rng.random() < 0.1 else found.text

    def helper_of(self, dtype: str, shape: Shape) -> Term | None:
        """A call of a helper that returns an array of this shape, of which there is one of this dtype."""
        found = [h for h in self.scope.helpers if h.result.startswith(f"like {dtype} ") and self.can_call(h)]
        if not found or min(size.least for size in shape) == 0:
            return None
        helper = self.rng.choice(found)
        sizes = {"P": shape[0]}
        given: dict[str, str | None] = {}
        for name, what in helper.parameters.items():
            kind, *dims = what.split()
            view = self.view(shape, kind, writable=True) if dims else None
            given[name] = (view.text if view else None) if dims == ["P"] else self.argument(what, sizes)
        if not all(given.values()):
            return None
        return of_array(f"{helper.name}({', '.join(self.passed(helper, given))})", dtype, 1)
