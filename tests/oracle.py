"""What functors and maps mean, in nested loops over Python integers: an interpreter that knows no product code.

`gather` and `scatter` follow the definition word for word: for every point of the sweep, slice after slice,
feature after feature, which element of which array is it? Nothing is computed ahead; there are no strides.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import torch

LARGEST = 1 << 15
"""Maps of more elements are not interpreted."""


class Misfit(Exception):
    """The definition makes it an error."""


class TooLarge(Exception):
    """Nothing is known to be wrong, but there are too many elements to tell."""


class Unspecified(Exception):
    """A float outside the range of the integer that it is converted to."""


# -- text ------------------------------------------------------------------------------------------

Poly = Mapping[tuple[str, ...], int]
"""A polynomial: a coefficient for each product of names."""


def poly(node: ast.expr) -> Poly:
    """The polynomial that an expression of a functor means."""
    match node:
        case ast.Constant(value=int(value)):
            return {(): value}
        case ast.Name(id=name):
            return {(name,): 1}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return times({(): -1}, poly(operand))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return plus(poly(left), poly(right))
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return plus(poly(left), times({(): -1}, poly(right)))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return times(poly(left), poly(right))
    raise Misfit(f"not affine: {ast.unparse(node)}")


def plus(a: Poly, b: Poly) -> Poly:
    total = Counter(dict(a))
    total.update(b)
    return {names: n for names, n in total.items() if n}


def times(a: Poly, b: Poly) -> Poly:
    total: dict[tuple[str, ...], int] = {}
    for (xs, n), (ys, m) in product(a.items(), b.items()):
        names = tuple(sorted(xs + ys))
        total[names] = total.get(names, 0) + n * m
    return {names: n for names, n in total.items() if n}


def names_in(p: Poly) -> set[str]:
    return {name for names in p for name in names}


def value(p: Poly, numbers: Mapping[str, int]) -> int:
    return sum(n * math.prod(numbers[name] for name in names) for names, n in p.items())


@dataclass(frozen=True)
class Entry:
    """An entry of a slice: an index, or a range if it has a stop."""

    start: Poly
    stop: Poly | None
    step: Poly

    @staticmethod
    def of(node: ast.expr) -> Entry:
        if not isinstance(node, ast.Slice):
            return Entry(poly(node), None, {(): 1})
        assert node.lower is not None
        assert node.upper is not None
        step: Poly = {(): 1} if node.step is None else poly(node.step)
        return Entry(poly(node.lower), poly(node.upper), step)

    @property
    def polys(self) -> list[Poly]:
        return [self.start, *([] if self.stop is None else [self.stop, self.step])]

    @property
    def names(self) -> set[str]:
        return set().union(*map(names_in, self.polys))

    def count(self, numbers: Mapping[str, int]) -> int:
        """The elements of a range, whose extent depends on no symbol."""
        assert self.stop is not None
        length = plus(self.stop, times({(): -1}, self.start))
        return extent(0, value(length, numbers), value(self.step, numbers))


def items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def read_functor(text: str) -> tuple[list[Entry], list[list[Entry]]]:
    """The left side and the slices of `name: [lhs] = ([rhs], ...)`; the name may be missing."""
    left, right = text[text.index("[") :].split("=")

    def read(side: str) -> list[list[Entry]]:
        tree = ast.parse(side.strip().replace("[", "_["), mode="eval").body
        slices = [node for node in items(tree) if isinstance(node, ast.Subscript)]
        return [[Entry.of(node) for node in items(s.slice)] for s in slices]

    return read(left)[0], read(right)


def extent(start: int, stop: int, step: int) -> int:
    if step == 0:
        raise Misfit("the step of a range is 0")
    return max(0, -(-(stop - start) // step))


@dataclass(frozen=True)
class Range:
    """A dimension of a (virtual) array, as far as a target names it."""

    start: int
    step: int
    extent: int
    single: bool


@dataclass(frozen=True)
class Target:
    """`array[entry, ...]`, where an entry that is itself a target is an indirection."""

    name: str
    array: np.ndarray
    entries: list[Range | Target]

    @property
    def dims(self) -> list[Range]:
        """The dimensions of the virtual array."""
        found: list[Range] = []
        for entry in self.entries:
            found += entry.dims if isinstance(entry, Target) else [entry]
        return found

    def element(self, position: Iterator[int]) -> tuple[int, ...]:
        """The place in the array of an element of the virtual array."""
        place: list[int] = []
        for entry, size in zip(self.entries, self.array.shape, strict=True):
            if isinstance(entry, Target):
                at = int(entry.array[entry.element(position)])
            else:
                at = next(position)
            if not 0 <= at < size:
                raise Misfit(f"index {at} is outside {self.name}, which has {size}")
            place.append(at)
        return tuple(place)


def read_targets(text: str, names: Mapping[str, Any]) -> list[Target]:
    numbers = integers(names)

    def number(node: ast.expr) -> int:
        p = poly(node)
        if unknown := names_in(p) - set(numbers):
            raise Misfit(f"{unknown} are not numbers")
        return value(p, numbers)

    def target(node: ast.expr) -> Target:
        assert isinstance(node, ast.Subscript)
        assert isinstance(node.value, ast.Name)
        array, entries = raw(names[node.value.id]), items(node.slice)
        if len(entries) != array.ndim:
            raise Misfit(f"{len(entries)} entries for {array.ndim} dimensions")
        found: list[Range | Target] = []
        for entry, size in zip(entries, array.shape, strict=True):
            if isinstance(entry, ast.Subscript):
                found.append(target(entry))
                if dtype_of(names[found[-1].name]) not in INTEGERS:
                    raise Misfit("indices are integers")
            elif isinstance(entry, ast.Slice):
                assert entry.lower is not None
                start = number(entry.lower)
                step = 1 if entry.step is None else number(entry.step)
                if entry.upper is None and entry.step is not None and names_in(poly(entry.step)):
                    raise Misfit("which end an open range runs to depends on its step")
                stop = number(entry.upper) if entry.upper is not None else size if step > 0 else -1
                found.append(Range(start, step, extent(start, stop, step), False))
            else:
                found.append(Range(number(entry), 1, 1, True))
        return Target(node.value.id, array, found)

    return [target(node) for node in items(ast.parse(f"({text},)", mode="eval").body)]


def integers(names: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(n) for name, n in names.items() if isinstance(n, int | np.integer)}


# -- the definition --------------------------------------------------------------------------------

Element = tuple[tuple[int, ...], Target, tuple[int, ...]]
"""A place in the tensor, and the element of an array that belongs to it."""


@dataclass(frozen=True)
class Map:
    """A functor applied to targets."""

    lhs: list[Entry]
    rhs: list[list[Entry]]
    targets: list[Target]
    numbers: Mapping[str, int]
    direction: str

    def symbols(self, entry: Entry) -> list[str]:
        """In alphabetical order, which is that of their features where one entry has several."""
        return sorted(entry.names - set(self.numbers))

    # -- what a functor must be ------------------------------------------------------------------

    def check(self) -> None:
        if len(self.targets) != len(self.rhs):
            raise Misfit(f"{len(self.rhs)} slices, {len(self.targets)} targets")
        for entries, target in zip(self.rhs, self.targets, strict=True):
            if len(entries) != len(target.dims):
                raise Misfit(f"{len(entries)} entries for {len(target.dims)} dimensions")
            for entry in entries:
                self._check_right(entry)
        self._check_left()

    def _check_right(self, entry: Entry) -> None:
        for p in entry.polys:
            if any(sum(name not in self.numbers for name in names) > 1 for names in p):
                raise Misfit("a product of symbols")
        if entry.stop is not None:
            length = plus(entry.stop, times({(): -1}, entry.start))
            if (names_in(length) | names_in(entry.step)) - set(self.numbers):
                raise Misfit("an extent or step that depends on a symbol")

    def _check_left(self) -> None:
        bare = [entry for entry in self.lhs if entry.stop is None]
        if any(entry.start != {(name,): 1} for entry in bare for name in [next(iter(entry.names), "")]):
            raise Misfit("neither a symbol nor a range")
        names = [next(iter(entry.names)) for entry in bare]
        if set(names) & set(self.numbers) or len(set(names)) != len(names):
            raise Misfit("an integer, or a symbol twice, on the left")
        if any(self.symbols(entry) for entry in self.lhs if entry.stop is not None):
            raise Misfit("a feature range that depends on a symbol")
        if sum(name not in self.on_the_right for name in names) > 1:
            raise Misfit("two sizes to infer")

    @property
    def on_the_right(self) -> set[str]:
        return {symbol for entries in self.rhs for entry in entries for symbol in self.symbols(entry)}

    @property
    def sweep(self) -> list[str]:
        return [next(iter(e.names)) for e in self.lhs if e.stop is None and e.names <= self.on_the_right]

    # -- sizes -----------------------------------------------------------------------------------

    def extents(self) -> dict[str, int]:
        """The extent of each symbol; in a `to` map, 1 gives way to any other."""
        uses: dict[str, list[Range]] = {}
        for entries, target in zip(self.rhs, self.targets, strict=True):
            for entry, dim in zip(entries, target.dims, strict=True):
                for symbol in self.symbols(entry):
                    uses.setdefault(symbol, []).append(dim)
        found: dict[str, int] = {}
        for symbol, dims in uses.items():
            sizes = {dim.extent for dim in dims}
            if self.direction == "to" and len(sizes) > 1:
                sizes -= {1}
            if len(sizes) > 1:
                raise Misfit(f"the extents {sizes} of '{symbol}'")
            (found[symbol],) = sizes
            if found[symbol] != 1 and any(dim.single for dim in dims):
                raise Misfit(f"a single index meets '{symbol}'")
        return found

    def features(self, entries: Sequence[Entry], extents: Mapping[str, int]) -> dict[str | int, int]:
        """The feature dimensions of a slice: symbols that the left side lacks, and ranges (by position)."""
        found: dict[str | int, int] = {}
        for m, entry in enumerate(entries):
            for symbol in self.symbols(entry):
                if symbol not in self.sweep:
                    found[symbol] = extents[symbol]
            if entry.stop is not None:
                found[m] = entry.count(self.numbers)
        return found

    def shape(self, extents: Mapping[str, int]) -> list[int]:
        """The tensor's shape, if the two sides agree on the number of features."""
        given = sum(math.prod(self.features(entries, extents).values()) for entries in self.rhs)
        sizes = [None if e.stop is None else e.count(self.numbers) for e in self.lhs]
        declared = math.prod(size for size in sizes if size is not None)
        names = ["" if e.stop is not None else next(iter(e.names)) for e in self.lhs]
        inferred = any(e.stop is None and name not in extents for e, name in zip(self.lhs, names, strict=True))
        rest = given // declared if inferred and declared else 1 if not inferred else 0
        if declared * rest != given:
            raise Misfit(f"{declared} features declared, {given} given")
        known = zip(sizes, names, strict=True)
        return [size if size is not None else extents.get(name, rest) for size, name in known]

    # -- elements --------------------------------------------------------------------------------

    def elements(self, extents: Mapping[str, int], shape: Sequence[int]) -> Iterator[Element]:
        """Every element of the tensor, in the order of the definition."""
        sweep = self.sweep
        swept = [e.stop is None and e.names <= set(sweep) for e in self.lhs]
        feature_sizes = [size for size, s in zip(shape, swept, strict=True) if not s]
        for point in loops([extents[symbol] for symbol in sweep]):
            number = 0
            for entries, target in zip(self.rhs, self.targets, strict=True):
                features = self.features(entries, extents)
                for own in loops(list(features.values())):
                    place = dict(zip([*sweep, *features], [*point, *own], strict=True))
                    index = [self.index(m, e, target.dims[m], place) for m, e in enumerate(entries)]
                    left, right = iter(point), iter(unravel(number, feature_sizes))
                    where = tuple(next(left) if s else next(right) for s in swept)
                    yield where, target, target.element(iter(index))
                    number += 1

    def index(self, m: int, entry: Entry, dim: Range, place: Mapping[str | int, int]) -> int:
        """What entry `m` of a slice says at a place of the sweep and of the slice's features."""
        symbols = self.symbols(entry)
        scope = dict(self.numbers)
        for symbol in symbols:
            scope[symbol] = dim.start + (dim.step * place[symbol] if dim.extent > 1 else 0)
        at = value(entry.start, scope)
        if entry.stop is not None:
            at += place[m] * value(entry.step, self.numbers)
        if not symbols:
            ends = [dim.start, dim.start + dim.step * (dim.extent - 1)]
            if dim.extent == 0 or not min(ends) <= at <= max(ends):
                raise Misfit(f"the absolute index {at} is outside its range")
        return at


def loops(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Nested loops; unlike `itertools.product` they begin at once, however long they are."""
    if 0 in sizes:
        return
    if not sizes:
        yield ()
        return
    at = 0
    while at < sizes[0]:
        for rest in loops(sizes[1:]):
            yield (at, *rest)
        at += 1


def unravel(number: int, sizes: Sequence[int]) -> list[int]:
    position: list[int] = []
    for size in reversed(sizes):
        position.insert(0, number % size)
        number //= size
    return position


def meaning(
    functor: str, targets: str, names: Mapping[str, Any], direction: str, unchecked: bool = False
) -> tuple[list[int], list[Element]]:
    """The shape of the tensor, and its elements. Raises `Misfit`."""
    lhs, rhs = read_functor(functor)
    read = read_targets(targets, names)
    m = Map(lhs, rhs, read * len(rhs) if len(read) == 1 else read, integers(names), direction)
    m.check()
    extents = m.extents()
    shape = m.shape(extents)
    found: list[Element] = []
    for element in m.elements(extents, shape):
        if len(found) == LARGEST:
            raise TooLarge
        found.append(element)
    if direction == "from" and not unchecked:
        hits = Counter((target.name, place) for _, target, place in found)
        if any(count > 1 for count in hits.values()):
            raise Misfit("an element is written twice")
    return shape, found


# -- elements and their types ----------------------------------------------------------------------

INTEGERS = {
    f"{'i' if signed else 'u'}{width}": (width, signed) for width in (8, 16, 32, 64) for signed in (False, True)
}
"""Bits, and whether there is a sign; from narrow to wide."""
FLOATS = {"f16": (11, -14, 15), "bf16": (8, -126, 127), "f32": (24, -126, 127), "f64": (53, -1022, 1023)}
"""Bits of the significand, smallest and largest exponent."""

NUMPY = {"bool": "bool", "f16": "float16", "f32": "float32", "f64": "float64"}
NUMPY |= {name: f"{'int' if signed else 'uint'}{width}" for name, (width, signed) in INTEGERS.items()}


def dtype_of(array: Any) -> str:
    if isinstance(array, torch.Tensor):
        if array.dtype == torch.bfloat16:
            return "bf16"
        array = array.numpy()
    return {name: short for short, name in NUMPY.items()}[str(array.dtype)]


def raw(array: Any) -> np.ndarray:
    """The memory as a NumPy array; bfloat16 as its 16 bits."""
    if isinstance(array, torch.Tensor):
        array = array.detach()
        return array.view(torch.int16).numpy().view(np.uint16) if array.dtype == torch.bfloat16 else array.numpy()
    return array


def promote(dtypes: Sequence[str]) -> str:
    """The dtype of a tensor gathered from arrays of these."""
    floats = [name for name in FLOATS if name in dtypes]
    if floats == ["f16", "bf16"]:
        return "f32"
    if floats:
        return floats[-1]
    integers = [INTEGERS[name] for name in dtypes if name in INTEGERS]
    if not integers:
        return "bool"
    signed = any(sign for _, sign in integers)
    digits = max(width - sign for width, sign in integers)
    found = [name for name, (width, sign) in INTEGERS.items() if sign == signed and width - sign >= digits]
    if not found:
        raise Misfit("no integer type has the numbers of both")
    return found[0]


def convert(bits: Any, source: str, target: str) -> Any:
    """An element of a `raw` array of one dtype as one of another."""
    if source == target:
        return bits
    exact = source == "bool" or source in INTEGERS
    number: int | float = int(bits) if exact else as_float(bits, source)
    if target == "bool":
        return np.bool_(number != 0)
    if target == "bf16" and exact:
        # docs/limits.md: as in Torch, which has no other way. Near the middle between two numbers it is another one.
        number = rounding(number, "f32")
    if target in FLOATS:
        rounded = rounding(number, target)
        if target == "bf16":
            return np.uint16(int(np.float32(rounded).view(np.uint32)) >> 16)
        return np.dtype(NUMPY[target]).type(rounded)
    width, signed = INTEGERS[target]
    low, high = (-(1 << (width - 1)), 1 << (width - 1)) if signed else (0, 1 << width)
    if isinstance(number, float):
        if not math.isfinite(number) or not low <= math.trunc(number) < high:
            raise Unspecified
        number = math.trunc(number)
    wrapped = number % (1 << width)
    return np.dtype(NUMPY[target]).type(wrapped - (1 << width) if wrapped >= high else wrapped)


def as_float(bits: Any, dtype: str) -> float:
    if dtype == "bf16":
        return float(np.uint32(int(bits) << 16).view(np.float32))
    return float(bits)


def rounding(number: int | float, dtype: str) -> float:
    """The nearest number of a floating dtype, of two the even one."""
    if isinstance(number, float) and (number == 0 or not math.isfinite(number)):
        return number
    digits, least, most = FLOATS[dtype]
    x = Fraction(number)
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    if abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, least) - digits + 1)
    nearest = round(x / unit) * unit
    if abs(nearest) >= Fraction(2) ** (most + 1):
        return math.copysign(math.inf, number)
    return math.copysign(float(nearest), number)


def empty(shape: Sequence[int], dtype: str) -> Any:
    if 8 * math.prod(size or 1 for size in shape) >= 1 << 63:
        raise TooLarge  # even without elements
    if dtype == "bf16":
        return torch.zeros(tuple(shape), dtype=torch.bfloat16)
    return np.zeros(shape, NUMPY[dtype])


# -- maps of arrays --------------------------------------------------------------------------------


def gather(functor: str, targets: str, names: Mapping[str, Any], dtype: str | None = None) -> Any:
    """The dense tensor: a NumPy array, or a Torch tensor if it is of bfloat16. Raises `Misfit`."""
    shape, elements = meaning(functor, targets, names, "to")
    dtypes = {t.name: dtype_of(names[t.name]) for t in read_targets(targets, names)}
    dtype = dtype or promote(list(dtypes.values()))
    tensor = empty(shape, dtype)
    for where, target, place in elements:
        raw(tensor)[where] = convert(target.array[place], dtypes[target.name], dtype)
    return tensor


def scatter(tensor: Any, functor: str, targets: str, names: Mapping[str, Any], unchecked: bool = False) -> None:
    """Write a dense tensor into the arrays. Raises `Misfit` before anything is written."""
    shape, elements = meaning(functor, targets, names, "from", unchecked)
    if tuple(tensor.shape) != tuple(shape):
        raise Misfit(f"a tensor of {tuple(tensor.shape)} for {shape}")
    source, dtype = raw(tensor), dtype_of(tensor)
    writes = [(t.array, at, convert(source[where], dtype, dtype_of(names[t.name]))) for where, t, at in elements]
    for array, at, bits in writes:
        array[at] = bits
