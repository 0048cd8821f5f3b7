"""What the functions of a random program may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hpacml.frontend.python.types import ARRAY_DTYPES

LAST = 2**63 - 1
EXACT = 2**53
FREE = 2**62
"""Bounds of Python's integers: what 64 bits hold, what a float holds, what a sum of two may have."""

INTEGERS = [name for name, type in ARRAY_DTYPES.items() if type.kind in "iu"]
FLOATS = ["float32", "float64"]
DTYPES = [*INTEGERS, *FLOATS, "bool"]

SLICES = {
    "same": (":", "...", "::-1", "0:", ":100", "-100:"),
    "- 1": ("1:", ":-1", "-2::-1", ":0:-1"),
    "- 2": ("1:-1", "2:", ":-2", "-2:0:-1"),
    "half": ("::2", "::-2"),
    "rest of half": ("1::2", ":-1:2", "-2::-2"),
    "two": (":2", "1:3", "-2:", "2:0:-1", "-1:-3:-1", "{p} % 2:{p} % 2 + 2"),
    "none": ("2:2", "2:1", ":0"),
}
"""Slices by how many elements they take, which are as many for all sizes that `Size.part` allows."""


@dataclass(frozen=True)
class Size:
    """A size of an array: the name of a dimension, the parts of it that are taken, and how many there are at least."""

    steps: tuple[str, ...]
    least: int

    def part(self, how: str) -> Size | None:
        """The size of a slice of a dimension of this size, None if it depends on how it is written."""
        match how:
            case "same":
                return self
            case "two":
                return Size(("2",), 2) if self.least >= 3 else None
            case "none":
                return Size(("0",), 0) if self.least >= 2 else None
            case _:
                least = {"- 1": self.least - 1, "- 2": self.least - 2, "half": (self.least + 1) // 2}
                return Size((*self.steps, how), max(0, least.get(how, self.least // 2)))


def fixed(size: int) -> Size:
    """A size that is known."""
    return Size((str(size),), size)


Shape = tuple[Size, ...]


@dataclass(frozen=True)
class Array:
    """An array that has a name."""

    dtype: str
    shape: Shape
    writable: bool = True
    packed: bool = False
    made: int = 0
    """The indentation of the block that makes it, 0 if none does."""

    @property
    def least(self) -> int:
        return min(size.least for size in self.shape)


@dataclass(frozen=True)
class Bundle:
    """A dataclass or a named tuple, with what its fields are, as `Parameter` has it."""

    name: str
    fields: Mapping[str, str]
    is_tuple: bool


@dataclass(frozen=True)
class Helper:
    """A function that others call: its parameters in order, and what it returns.

    A parameter is "int" (below 2**31), "far" (any), "float", "bool", a dtype, a dtype and dimensions, as "float64 P Q",
    with "float64?" if it may be None, or "bundle NAME".
    """

    name: str
    parameters: Mapping[str, str]
    result: str
    keywords: bool = True
    defaults: tuple[str, ...] = ()
    """The parameters that have a default value."""


@dataclass
class Scope:
    """Names by what they are. Names may also be fields, as `g.dx`."""

    integers: dict[str, int] = field(default_factory=dict[str, int])
    """With bounds of their absolute values."""
    floats: list[str] = field(default_factory=list[str])
    bools: list[str] = field(default_factory=list[str])
    numbers: dict[str, str] = field(default_factory=dict[str, str])
    """Numbers of NumPy's types, by dtype."""
    arrays: dict[str, Array] = field(default_factory=dict[str, Array])
    optionals: dict[str, Array] = field(default_factory=dict[str, Array])
    records: dict[str, Bundle] = field(default_factory=dict[str, Bundle])
    helpers: list[Helper] = field(default_factory=list[Helper])
    methods: dict[str, list[Helper]] = field(default_factory=dict[str, list[Helper]])
    """Methods of bundles by the names of these."""
    fixed: set[str] = field(default_factory=set[str])
    """What is not assigned: parameters near the ends of 64 bits, variables of loops, fields."""

    def inner(self) -> Scope:
        """A scope for a block, whose new names end with it."""
        return replace(
            self,
            integers=dict(self.integers),
            floats=list(self.floats),
            bools=list(self.bools),
            numbers=dict(self.numbers),
            arrays=dict(self.arrays),
            records=dict(self.records),
            helpers=list(self.helpers),
            fixed=set(self.fixed),
        )

    def with_elements(self, dtype: str | None = None) -> list[str]:
        """The arrays that are known to have elements, of a dtype or of any."""
        return [n for n, a in self.arrays.items() if a.least > 0 and dtype in (None, a.dtype)]

    def add_record(self, name: str, bundle: Bundle) -> None:
        """Add a bundle and its fields."""
        self.records[name] = bundle
        for each, text in bundle.fields.items():
            self.add_parameter(f"{name}.{each}", text)
            self.fixed.add(f"{name}.{each}")

    def add_parameter(self, name: str, text: str) -> None:
        """Add what a parameter, or a field, gives."""
        kind, *dims = text.split()
        if dims:
            found = Array(kind, tuple(size_of(dim) for dim in dims))
            (self.optionals if kind.endswith("?") else self.arrays)[name] = replace(found, dtype=kind.rstrip("?"))
        elif kind in ("int", "far"):
            self.integers[name] = 2**31 if kind == "int" else LAST + 1
            self.fixed |= {name} if kind == "far" else set()
        elif kind == "float":
            self.floats.append(name)
        elif kind == "bool":
            self.bools.append(name)
        else:
            self.numbers[name] = kind


def size_of(dim: str) -> Size:
    """The size of a dimension of a parameter: a number, `N`, ... of at least 3, or `P`, ... of any but 0."""
    return fixed(int(dim)) if dim.isdecimal() else Size((dim,), 3 if dim in "NMK" else 1)
