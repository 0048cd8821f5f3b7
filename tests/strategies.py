"""Programs by chance: a functor applied to targets, with several bindings of numbers and arrays for each.

A `Program` is text and dtypes, which is what the product compiles for; a `Binding` is what a call brings. Most
are valid: numbers and shapes are solved for, and one thing is then made wrong in some.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from random import Random
from typing import Any, TypeVar

import numpy as np
import torch
from hypothesis import strategies as st

T = TypeVar("T")
INTEGERS = ("u8", "i32", "i64", "i8", "u16", "i16", "u32", "u64")
DTYPES = (*INTEGERS, "bool", "f16", "bf16", "f32", "f64")
KERNEL_DTYPES = (*INTEGERS, "bool", "f32", "f64")
NUMPY = {
    "u8": "uint8",
    "i32": "int32",
    "i64": "int64",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "i8": "int8",
    "u16": "uint16",
    "i16": "int16",
    "u32": "uint32",
    "u64": "uint64",
    "bool": "bool",
}
STRIDED = ("F", "reversed", "backwards", "window", "sub", "fortran sub")
HUGE = (1 << 62, -(1 << 62), (1 << 62) + 1, (1 << 63) - 1, -(1 << 63), 3074457345618258603, 1 << 32, (1 << 31) - 1)
BINDINGS = 8


# -- what is drawn ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """What is compiled. `packed` names the arrays that lie in C order, and `tensor` if the one scattered does."""

    functor: str
    targets: str
    direction: str
    dtypes: tuple[tuple[str, str], ...]
    packed: frozenset[str]
    tensor_dtype: str


@dataclass(frozen=True)
class Binding:
    """What a call brings: numbers, and for each array its shape, layout and, for indices, its elements."""

    numbers: tuple[tuple[str, int], ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    layouts: tuple[tuple[str, str], ...]
    indices: tuple[tuple[str, tuple[int, ...]], ...]
    seed: int
    wrong_tensor: bool = False


New = Callable[[Sequence[int], Any], Any]


def lay(values: Any, layout: str, new: New) -> Any:
    """`values` in a layout, in memory that `new(shape, dtype)` makes."""
    shape = values.shape
    if layout in ("F", "fortran sub"):
        pad = layout == "fortran sub"
        base = new([n + 3 * pad for n in reversed(shape)], values.dtype)
        base = base.permute(*reversed(range(len(shape)))) if isinstance(base, torch.Tensor) else base.T
        array = base[tuple(slice(pad, pad + n) for n in shape)]
    elif layout == "window":
        base = new([2 * n + 1 for n in shape], values.dtype)
        array = base[tuple(slice(1, 1 + 2 * n, 2) for n in shape)]
    elif layout == "sub":
        base = new([n + 3 for n in shape], values.dtype)
        array = base[tuple(slice(2, 2 + n) for n in shape)]
    elif layout == "zero" and 0 not in shape:
        base = new([1, *shape[1:]], values.dtype)
        base[...] = values[:1]
        return np.broadcast_to(base, shape)
    else:
        array = new(shape, values.dtype)
        if layout == "reversed":
            array = array[tuple(slice(None, None, -1) for _ in shape)]
        elif layout == "backwards":
            array = array[..., ::-1]
    array[...] = values
    return array


def new(shape: Sequence[int], dtype: Any) -> Any:
    return torch.zeros(list(shape), dtype=dtype) if isinstance(dtype, torch.dtype) else np.zeros(shape, dtype)


def arrays_of(program: Program, binding: Binding, memory: New = new) -> dict[str, Any]:
    """The arrays of a call, newly made."""
    shapes, layouts, indices = dict(binding.shapes), dict(binding.layouts), dict(binding.indices)
    found: dict[str, Any] = {}
    for k, (name, dtype) in enumerate(program.dtypes):
        if name in indices:
            limits = np.iinfo(NUMPY[dtype])
            held = [min(max(n, limits.min), limits.max) for n in indices[name]]
            values = np.array(held, NUMPY[dtype]).reshape(shapes[name])
        else:
            values = contents(shapes[name], dtype, Random(binding.seed + k), True)
        found[name] = lay(values, layout_of(values, layouts[name]), memory)
    return found


def layout_of(values: Any, layout: str) -> str:
    """The layout, or one that Torch has."""
    return "window" if isinstance(values, torch.Tensor) and layout in ("reversed", "backwards", "zero") else layout


def tensor_layout(program: Program, binding: Binding, tensor: Any) -> str:
    """How the tensor that is scattered lies in memory."""
    layout = "C" if "tensor" in program.packed or not tensor.shape else STRIDED[binding.seed % len(STRIDED)]
    return layout_of(tensor, layout)


def tensor_of(program: Program, binding: Binding, shape: Sequence[int], dtype: str | None = None) -> Any:
    """The tensor that is scattered, of numbers that every integer dtype of the arrays holds."""
    integers = [np.iinfo(NUMPY[d]) for _, d in program.dtypes if d in INTEGERS]
    low = max([-255, *(int(each.min) for each in integers)])
    high = min([255, *(int(each.max) for each in integers)])
    values = contents(shape, dtype or program.tensor_dtype, Random(binding.seed), not integers, low, high)
    if binding.wrong_tensor:
        return values.reshape(1, 1, *shape)  # one dimension of 1 more is no difference for models
    return values


def contents(shape: Sequence[int], dtype: str, random: Random, special: bool, low: int = -255, high: int = 255) -> Any:
    """Elements by chance, of all magnitudes and kinds if `special`, else from `low` to `high`."""
    count = prod(shape)
    if dtype == "bool":
        return np.array([random.random() < 0.5 for _ in range(count)], bool).reshape(shape)
    if dtype in INTEGERS:
        info = np.iinfo(NUMPY[dtype])
        least, most, less = int(info.min), int(info.max), (0, 0, info.bits // 2)
        held = [random.randint(least, most) >> random.choice(less) for _ in range(count)]
        return np.array(held, NUMPY[dtype]).reshape(shape)
    kinds: list[Callable[[], float]] = [lambda: random.uniform(low, high), lambda: random.randint(low, high)]
    if special:
        kinds += [
            lambda: random.choice((float("nan"), float("inf"), -float("inf"), -0.0, 65504.0, 65520.0, 3.4e38, 1e-45)),
            lambda: random.uniform(-1, 1) * 10.0 ** random.randint(-50, 50),
            lambda: (
                (1 + random.randint(0, 1 << 12) / (1 << random.choice((8, 9, 11, 12)))) * 2.0 ** random.randint(-26, 17)
            ),
            lambda: (1 + (2 * random.randint(0, 1 << 7) + 1) / (1 << 8)) * (1 + random.choice((0, 2**-40, -(2**-40)))),
        ]
    held = [float(random.choice(kinds)()) for _ in range(count)]
    if dtype == "bf16":
        return torch.tensor(held, dtype=torch.float64).to(torch.bfloat16).reshape(list(shape))
    with np.errstate(over="ignore", under="ignore"):
        return np.array(held, np.float64).astype(NUMPY[dtype]).reshape(shape)


def reproducer(program: Program, binding: Binding, tensor: Any = None) -> str:
    """A script that makes the call."""
    arrays = arrays_of(program, replace(binding, layouts=tuple((n, "C") for n, _ in binding.layouts)))
    used = dict(binding.layouts)
    lines = ["import numpy as np, torch, hpacml", "from numpy import inf, nan", "from typing import Any", "New = Any"]
    lines += [inspect.getsource(lay), inspect.getsource(new).replace("Sequence[int]", "Any")]
    for name, array in arrays.items():
        lines.append(f"{name} = lay({source(array)}, {layout_of(array, used[name])!r}, new)")
    numbers = [f"{name}={n}" for name, n in binding.numbers]
    names = ", ".join([*(f"{name}={name}" for name in arrays), *numbers])
    lines.append(f"f = hpacml.functor({'f: ' + program.functor!r})")
    if program.direction == "to":
        lines.append(f"print(f.gather({program.targets!r}, {names}))")
    else:
        lines.append(f"tensor = lay({source(tensor)}, {tensor_layout(program, binding, tensor)!r}, new)")
        lines.append(f"f.scatter(tensor, {program.targets!r}, {names})")
        lines.append(f"print({', '.join(arrays)})")
    return "\n".join(lines)


def source(array: Any) -> str:
    if array is None:
        return "..."
    shape = tuple(array.shape)
    if isinstance(array, torch.Tensor):
        return f"torch.tensor({array.flatten().tolist()}, dtype={array.dtype}).reshape({shape})"
    return f"np.array({array.ravel().tolist()}, {str(array.dtype)!r}).reshape({shape})"


# -- how it is drawn -------------------------------------------------------------------------------


@dataclass
class Choose:
    draw: st.DrawFn

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def of(self, *options: T) -> T:
        return options[self.draw(st.integers(0, len(options) - 1))]

    def chance(self, one_in: int) -> bool:
        """True rarely; hypothesis shrinks towards False."""
        return self.draw(st.integers(0, one_in - 1)) == one_in - 1


@dataclass
class Entry:
    """An entry of a slice as texts; `own` is a number that only it uses, bound where the range is known."""

    start: str
    stop: str | None = None
    step: str | None = None
    own: str | None = None
    inside: bool = False
    """Whether `own` is an index within the range, rather than one to subtract from."""

    def __str__(self) -> str:
        return " : ".join(part for part in (self.start, self.stop, self.step) if part is not None)

    def symbols(self, symbols: Sequence[str]) -> list[str]:
        return [s for s in symbols if re.search(rf"\b{s}\b", str(self))]

    def reach(self, values: dict[str, int], symbols: Sequence[str], ends: tuple[int, int]) -> list[int]:
        """Its lowest and highest index, where the symbols run between `ends`."""
        found: list[int] = []
        here = self.symbols(symbols)
        for corner in product(ends, repeat=len(here)):
            scope = values | dict(zip(here, corner, strict=True))
            found += self.range(scope)[:: max(1, len(self.range(scope)) - 1)]
        return [min(found), max(found)] if found else []

    def range(self, scope: dict[str, int]) -> range:
        start = eval(self.start, {}, scope)
        if self.stop is None:
            return range(start, start + 1)
        return range(start, eval(self.stop, {}, scope), 1 if self.step is None else eval(self.step, {}, scope))


@dataclass
class Leaf:
    """A range in a target, with the names of its numbers and the entries that meet it."""

    start: str
    stop: str
    step: str
    kind: str = "range"
    entries: list[Entry] = field(default_factory=list)
    after: Leaf | None = None
    """A range of the same array, behind whose elements those of this one lie."""
    reached: int = -1
    size: int = 0

    def __str__(self) -> str:
        if self.kind == "single":
            return self.start
        stop = "" if self.kind == "open" else self.stop
        return f"{self.start}:{stop}:{self.step}"


@dataclass
class Node:
    """An array in a target; an axis of it is a range, or the target of an index array."""

    name: str
    axes: list[Leaf | Node]

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.axes))}]"

    @property
    def leaves(self) -> list[Leaf]:
        found: list[Leaf] = []
        for axis in self.axes:
            found += [axis] if isinstance(axis, Leaf) else axis.leaves
        return found

    @property
    def nodes(self) -> list[Node]:
        """This array and those of its indices, the innermost first."""
        return [node for axis in self.axes if isinstance(axis, Node) for node in axis.nodes] + [self]


class Draft:
    """A program in the making."""

    def __init__(self, choose: Choose, dtypes: Sequence[str]):
        self.choose = choose
        self.direction = choose.of("to", "to", "from")
        self.symbols = ["i", "j", "k"][: choose.of(1, 1, 2, 2, 3)]
        self.limits: dict[str, tuple[int, int]] = {}
        """The numbers that entries share, and between what they are."""
        self.count = 0
        self.arrays: dict[str, int] = {}
        self.frozen: dict[str, int] = {}
        self.extents: dict[str, int] = {}
        self.careful = self.direction == "from" and not choose.chance(6)
        self.slices: list[list[Entry]] = []
        self.targets: list[Node] = []
        self._draw_slices()
        used = [s for s in self.symbols if any(e.symbols([s]) for entries in self.slices for e in entries)]
        self.sweep = [s for s in used if not choose.chance(8)]
        self.features: list[str] = []
        self.dtypes = {name: choose.of(*dtypes) for name in self.data}
        if choose.chance(2):
            self.dtypes = dict.fromkeys(self.data, choose.of(*dtypes))
        if {"u64"} < set(self.dtypes.values()):  # with signed integers it has no common type
            self.dtypes = {name: "u32" if dtype == "u64" else dtype for name, dtype in self.dtypes.items()}
        self.dtypes |= {name: choose.of(*INTEGERS) for name in self.arrays if name not in self.dtypes}

    @property
    def data(self) -> list[str]:
        return list(dict.fromkeys(target.name for target in self.targets))

    def number(self) -> str:
        self.count += 1
        return f"n{self.count - 1}"

    def parameter(self, low: int, high: int) -> str:
        """A number in entries: a name of its own, one that others use too, or a literal."""
        choose = self.choose
        if choose.chance(2):
            return str(choose.integer(max(low, 1), high))
        known = [name for name, limits in self.limits.items() if limits == (low, high)]
        if known and choose.chance(2):
            return choose.of(*known)
        name = self.number()
        self.limits[name] = (low, high)
        return name

    # -- slices and targets ----------------------------------------------------------------------

    def _draw_slices(self) -> None:
        choose = self.choose
        count = choose.of(1, 1, 2, 2, 3)
        if choose.chance(5):
            self._plain()
        elif choose.chance(2):
            self._one_target(count)
        else:
            for number in range(count):
                entries = self._slice() if self.careful else self._free_slice(choose.integer(1, 3))
                target = self._target([[entry] for entry in entries])
                self._share(target, number)
                self.targets.append(target)
                self.slices.append(entries)

    def _plain(self) -> None:
        """One array in its own order: what needs no copy where it is packed."""
        choose = self.choose
        entries = [Entry(symbol) for symbol in self.symbols]
        match choose.integer(0, 4):
            case 1:
                entries.append(Entry("0", self.parameter(1, 3)))
            case 2:
                m, last = self.parameter(1, 3), self.symbols[-1]
                entries[-1] = Entry(f"{last}*{m}", f"{last}*{m}+{m}")
            case 3:
                entries.insert(choose.integer(0, len(entries)), Entry("0"))
            case 4 if self.direction == "to":
                entries[-1] = Entry(self.symbols[-1], f"{self.symbols[-1]}+2")
        self.slices = [entries]
        self.targets = [self._target([[entry] for entry in entries])]

    def _one_target(self, count: int) -> None:
        choose = self.choose
        if self.careful:
            first = self._slice()
            self.slices = [first]
            place = choose.integer(0, len(first))
            width = choose.of(1, 1, 2)
            by_range = width > 1 or choose.chance(3)
            for number in range(count):
                at = number * width
                apart = Entry(str(at), str(at + width)) if by_range else Entry(str(at))
                self.slices[number:] = [[*first[:place], apart, *first[place:]]]
        else:
            rank = choose.integer(1, 3)
            absolute = [choose.chance(5) for _ in range(rank)]
            self.slices = [[self._absolute() if a else self._entry() for a in absolute] for _ in range(count)]
        self.targets = [self._target(list(map(list, zip(*self.slices, strict=True))))]

    def _slice(self) -> list[Entry]:
        """A slice that hits nothing twice."""
        choose = self.choose
        entries = [self._injective(symbol) for symbol in self.symbols]
        if choose.chance(5):
            entries.append(self._absolute())
        if choose.chance(8):
            entries.append(Entry(choose.of(*self.symbols)))
        return list(choose.draw(st.permutations(entries))) if len(entries) > 1 else entries

    def _free_slice(self, rank: int) -> list[Entry]:
        return [self._absolute() if self.choose.chance(5) else self._entry() for _ in range(rank)]

    def _absolute(self) -> Entry:
        choose = self.choose
        start = choose.integer(0, 3)
        match choose.integer(0, 4):
            case 0 | 1:
                return Entry(str(start))
            case 2:
                return Entry(self.parameter(0, 2))
            case 3:
                # Beyond some number of features, compiled code has a loop over them.
                return Entry(str(start), str(start + (65 if choose.chance(10) else choose.integer(1, 3))))
            case _:
                return (
                    Entry(str(start + 4), str(start), "-2")
                    if choose.chance(2)
                    else Entry(str(start), f"{start}+4", "2")
                )

    def _injective(self, symbol: str) -> Entry:
        choose = self.choose
        match choose.integer(0, 7):
            case 0 | 1:
                return Entry(symbol)
            case 2:
                return self._shifted(symbol)
            case 3:
                return Entry(choose.of(f"2*{symbol}", f"2*{symbol}+1", f"{symbol}*3-1"))
            case 4:
                return self._subtracted(symbol)
            case 5:
                m = self.parameter(1, 3)
                return Entry(f"{symbol}*{m}", f"{symbol}*{m}+{m}")
            case 6:
                return Entry(f"3*{symbol}+2", f"3*{symbol}-1", "-1")
            case _:
                return Entry(f"4*{symbol}", f"4*{symbol}+4", "2")

    def _shifted(self, symbol: str) -> Entry:
        p, choose = self.parameter(0, 2), self.choose
        return Entry(choose.of(f"{symbol}+{p}", f"{symbol}-{p}", f"{p}+{symbol}"))

    def _subtracted(self, symbol: str) -> Entry:
        own = self.number()
        factor = self.choose.of("", "2*")
        return Entry(f"{own}-{factor}{symbol}", own=own)

    def _entry(self) -> Entry:
        """Any entry that has a symbol."""
        choose = self.choose
        symbol, other = choose.of(*self.symbols), choose.of(*self.symbols)
        match choose.integer(0, 7):
            case 0 | 1:
                return Entry(symbol)
            case 2:
                return self._shifted(symbol)
            case 3:
                return self._injective(symbol)
            case 4 if symbol != other:
                return Entry(choose.of(f"{symbol}+{other}", f"2*{symbol}+{other}", f"2*{symbol}-{other}"))
            case 4 | 5:
                p, q = choose.integer(0, 2), choose.integer(1, 3)
                return Entry(f"{symbol}-{p}", f"{symbol}+{q}")
            case 6:
                m, step = self.parameter(0, 3), self.parameter(1, 2)
                return Entry(symbol, f"{symbol}+{m}*{step}", step)
            case _:
                if choose.chance(2):
                    return Entry(f"{symbol}+2", f"{symbol}-1", "-1")
                own = self.number()
                return Entry(own, own=own, inside=True)

    def _target(self, columns: list[list[Entry]]) -> Node:
        """A target whose dimensions meet these entries."""
        leaves = [self._leaf(column) for column in columns]
        name = "abc"[len(self.targets)]
        node = Node(name, self._axes(leaves, 0))
        self.arrays[name] = len(node.axes)
        return node

    def _axes(self, leaves: list[Leaf], depth: int) -> list[Leaf | Node]:
        choose = self.choose
        axes: list[Leaf | Node] = []
        rest = list(leaves)
        while rest:
            if depth < 3 and choose.chance(4):
                taken = choose.of(1, 1, 2)
                name = self.number().replace("n", "r")
                self.arrays[name] = 0
                inner = self._axes(rest[:taken], depth + 1)
                self.arrays[name] = len(inner)
                axes.append(Node(name, inner))
                rest = rest[taken:]
            else:
                axes.append(rest.pop(0))
        return axes

    def _leaf(self, entries: list[Entry]) -> Leaf:
        choose = self.choose
        leaf = Leaf(self.number(), self.number(), self.number(), entries=entries)
        symbols = {s for entry in entries for s in entry.symbols(self.symbols)}
        if not symbols and len(set(map(str, entries))) == 1 and entries[0].stop is None and choose.chance(2):
            leaf.kind = "single"
        elif len(symbols) == 1 and choose.chance(8):
            leaf.kind = "single"
            self.extents[symbols.pop()] = 1
        elif all(str(entry) in symbols for entry in entries) and choose.chance(4):
            leaf.kind = "open"
        if choose.chance(2) or leaf.kind == "open":
            self.frozen[leaf.step] = 1
        return leaf

    def _share(self, target: Node, number: int) -> None:
        """Make it a target of an array that an earlier one has, apart from that where it is written."""
        choose = self.choose
        same = [t for t in self.targets if len(t.axes) == len(target.axes)]
        if not same or not choose.chance(3):
            return
        other = same[-1]
        pairs = list(zip(other.axes, target.axes, strict=True))
        separable = [(a, b) for a, b in pairs if isinstance(a, Leaf) and isinstance(b, Leaf) and b.kind == "range"]
        if self.careful:
            if not separable:
                return
            a, b = separable[0]
            if not any(entry.symbols(self.symbols) for entry in b.entries) or any(e.own for e in b.entries):
                return
            b.after = a
        del self.arrays[target.name]
        target.name = other.name

    # -- numbers and shapes ----------------------------------------------------------------------

    @property
    def leaves(self) -> list[Leaf]:
        return [leaf for target in self.targets for leaf in target.leaves]

    def groups(self) -> dict[str, str]:
        """For each symbol the first of those that must have its extent."""
        group = {s: s for s in self.symbols}
        for leaf in self.leaves:
            here = [s for s in self.symbols if any(e.symbols([s]) for e in leaf.entries)]
            for s in here[1:]:
                old, kept = group[s], group[here[0]]
                group = {name: kept if g == old else g for name, g in group.items()}
        return group

    def bind(self) -> tuple[dict[str, int], dict[str, tuple[int, ...]], dict[str, tuple[int, ...]], int]:
        """Numbers, shapes, index arrays and the number of features: a valid call, as far as it is easy to see."""
        choose = self.choose
        values = dict(self.frozen)
        for name, (low, high) in self.limits.items():
            values.setdefault(name, choose.integer(low, high))
        groups = self.groups()
        fixed = {groups[s]: n for s, n in self.extents.items()}
        extents = {g: fixed.get(g, choose.of(2, 3, 1, 4, 3, 2, 3, 1, 2, 4, 0)) for g in set(groups.values())}
        found = {s: extents[groups[s]] for s in self.symbols}
        for leaf in self.leaves:
            self._bind_leaf(leaf, values, found)
        shapes: dict[str, list[int]] = {}
        indices: dict[str, tuple[int, ...]] = {}
        for target in self.targets:
            for node in target.nodes:
                self._bind_shape(node, shapes, indices)
        return values, {name: tuple(shape) for name, shape in shapes.items()}, indices, self._features(values, found)

    def _bind_leaf(self, leaf: Leaf, values: dict[str, int], extents: dict[str, int]) -> None:
        choose = self.choose
        symbols = [s for s in self.symbols if any(e.symbols([s]) for e in leaf.entries)]
        for entry in leaf.entries:
            if entry.own is not None:
                values.setdefault(entry.own, 0)
        if not symbols:
            self._bind_absolute(leaf, values)
            return
        extent = extents[symbols[0]]
        if self.direction == "to" and choose.chance(10):
            extent = 1
        step = values.setdefault(leaf.step, choose.of(1, 1, 2, -1, 3, -2))
        if leaf.kind == "single":
            extent = step = 1
        span = step * (max(extent, 1) - 1)
        least = 0 if leaf.after is None else leaf.after.reached + 1
        start = values.get(leaf.start, choose.integer(0, 2) + max(0, -span))
        for entry in leaf.entries:
            own = entry.own is not None
            while leaf.start not in values and not own and extent and start < 40:
                low = entry.reach(values, symbols, (start, start + span))
                if not low or low[0] >= least:
                    break
                start += 1
        values.setdefault(leaf.start, start)
        start = values[leaf.start]
        slack = choose.integer(0, abs(step) - 1) if abs(step) > 1 and extent else 0
        stop = values.setdefault(leaf.stop, start + step * extent - (slack if step > 0 else -slack))
        leaf.reached = -1
        for entry in leaf.entries:
            self._bind_own(entry, values, symbols, start, step, extent)
            leaf.reached = max([leaf.reached, *(entry.reach(values, symbols, (start, start + span)) if extent else [])])
        if leaf.kind == "open":
            leaf.size = max(0, stop)
        else:
            leaf.size = max(0, leaf.reached + 1) + choose.of(0, 0, 1, 2)

    def _bind_own(
        self, entry: Entry, values: dict[str, int], symbols: list[str], start: int, step: int, extent: int
    ) -> None:
        if entry.own is None or entry.own in self.frozen:
            return
        if entry.inside:
            values[entry.own] = start + step * self.choose.integer(0, max(0, extent - 1))
            return
        values[entry.own] = 0
        reach = entry.reach(values, symbols, (start, start + step * (max(extent, 1) - 1)))
        values[entry.own] = -reach[0] + self.choose.integer(0, 1)

    def _bind_absolute(self, leaf: Leaf, values: dict[str, int]) -> None:
        choose = self.choose
        reached = [n for entry in leaf.entries for n in entry.reach(values, (), (0, 0))]
        low, high = min(reached, default=0), max(reached, default=0)
        if leaf.kind == "single":
            values[leaf.start] = low
        elif choose.chance(5) and leaf.step not in values:
            values.setdefault(leaf.start, high)
            values.setdefault(leaf.step, -1)
            values.setdefault(leaf.stop, low - 1)
        else:
            values.setdefault(leaf.step, 1)
            values.setdefault(leaf.start, low if values[leaf.step] < 0 else choose.integer(0, low))
            values.setdefault(leaf.stop, high + 1 + choose.of(0, 0, 1))
        leaf.reached = high
        leaf.size = high + 1 + choose.of(0, 0, 1)

    def _bind_shape(self, node: Node, shapes: dict[str, list[int]], indices: dict[str, tuple[int, ...]]) -> None:
        """Sizes as large as the ranges need; what an index array names is different everywhere."""
        choose = self.choose
        sizes: list[int] = []
        for axis in node.axes:
            if isinstance(axis, Leaf):
                sizes.append(axis.size)
                continue
            count = prod(shapes[axis.name])
            size = count + choose.of(0, 1, 3) if count else choose.integer(0, 2)
            sizes.append(size)
            order = list(range(size))
            Random(choose.integer(0, 99)).shuffle(order)
            indices[axis.name] = tuple(order[:count])
        known = shapes.setdefault(node.name, sizes)
        shapes[node.name] = [max(pair) for pair in zip(known, sizes, strict=True)]

    def _features(self, values: dict[str, int], extents: dict[str, int]) -> int:
        total = 0
        for entries in self.slices:
            own = {s for entry in entries for s in entry.symbols(self.symbols) if s not in self.sweep}
            scope = values | dict.fromkeys(self.symbols, 0)
            ranges = [len(entry.range(scope)) for entry in entries if entry.stop is not None]
            total += prod(extents[s] for s in own) * prod(ranges)
        return total

    # -- the left side ---------------------------------------------------------------------------

    def left(self, features: int) -> str:
        """The left side; `features` is how many the first call has."""
        choose = self.choose
        divisor = choose.of(*[n for n in (1, 2, 3) if features % n == 0])
        dims: list[str]
        match choose.integer(0, 6):
            case 0:
                dims = ["z"]
            case 1:
                dims = [f"0:{divisor}", "z"]
            case 2:
                dims = [f"0:{features}"]
            case 3:
                dims = [f"1:{divisor}+1", f"0:{features // divisor}"]
            case 4:
                dims = [self._counted("0", "{}")]
            case 5:
                dims = [self._counted("{}", "{}+{}"), "0:1"]
            case _:
                dims = [] if features == 1 else [self._counted("0", "2*{}", "2")]
        return f"[{', '.join(choose.draw(st.permutations([*self.sweep, *dims])))}]" if self.sweep or dims else "[0:1]"

    def _counted(self, start: str, stop: str, step: str = "") -> str:
        name = self.number()
        self.features.append(name)
        text = f"{start}:{stop}".replace("{}+{}", f"{name}+{name}").replace("{}", name)
        return text + (f":{step}" if step else "")

    def freeze(self, values: dict[str, int], extents_known: bool) -> None:
        """Make literals of some numbers, with the values of the first call."""
        choose = self.choose
        for leaf in self.leaves:
            if leaf.kind != "open" and choose.chance(2):
                self.frozen[leaf.start] = values[leaf.start]
            if leaf.kind == "range" and choose.chance(4):
                self.frozen[leaf.step] = values[leaf.step]
            if leaf.kind == "range" and {leaf.start, leaf.step} <= set(self.frozen) and extents_known:
                self.frozen[leaf.stop] = values[leaf.stop]


@st.composite
def cases(draw: st.DrawFn, dtypes: Sequence[str] = DTYPES, bindings: int = BINDINGS) -> tuple[Program, list[Binding]]:
    """A program and calls of it."""
    choose = Choose(draw)
    draft = Draft(choose, dtypes)
    fixed = choose.chance(4)
    if fixed:  # so that whole ranges may be literals
        draft.extents |= {s: choose.integer(1, 3) for s in draft.symbols if s not in draft.extents}
    first = draft.bind()
    left = draft.left(first[3])
    draft.freeze(first[0], fixed)
    right = ", ".join(f"[{', '.join(map(str, entries))}]" for entries in draft.slices)
    literals = {name: str(n) for name, n in draft.frozen.items()}

    def text(written: str) -> str:
        return re.sub(r"\bn\d+\b", lambda name: literals.get(name[0], name[0]), written)

    targets = text(", ".join(map(str, draft.targets))).replace(":1,", ",").replace(":1]", "]")
    functor = text(f"{left} = ({right})")
    if choose.chance(20):
        functor, targets = mistaken(choose, functor, targets)
    packed = frozenset(name for name in [*draft.arrays, "tensor"] if choose.chance(2))
    program = Program(functor, targets, draft.direction, tuple(draft.dtypes.items()), packed, choose.of(*dtypes))
    calls = [first] + [draft.bind() for _ in range(bindings - 1)]
    return program, [binding_of(choose, draft, program, *call) for call in calls]


def binding_of(
    choose: Choose,
    draft: Draft,
    program: Program,
    values: dict[str, int],
    shapes: dict[str, tuple[int, ...]],
    indices: dict[str, tuple[int, ...]],
    features: int,
) -> Binding:
    text = f"{program.functor} {program.targets}"
    values = values | dict.fromkeys(draft.features, features)
    numbers = {name: n for name, n in values.items() if re.search(rf"\b{name}\b", text)}
    wrong = False
    if choose.chance(6):
        wrong = spoil(choose, numbers, shapes, indices)
    layouts = STRIDED if draft.direction == "from" else (*STRIDED, "zero")
    return Binding(
        tuple(numbers.items()),
        tuple(shapes.items()),
        tuple((name, "C" if name in program.packed else choose.of(*layouts)) for name in shapes),
        tuple(indices.items()),
        choose.integer(0, 1000),
        wrong,
    )


def spoil(
    choose: Choose,
    numbers: dict[str, int],
    shapes: dict[str, tuple[int, ...]],
    indices: dict[str, tuple[int, ...]],
) -> bool:
    """Make something wrong, in most cases. Returns whether it is to be the shape of the tensor."""
    kind = choose.of("number", "size", "number", "huge", "index", "duplicate", "zero", "tensor")
    if kind in ("index", "duplicate"):
        full = [name for name, elements in indices.items() if elements]
        if full:
            name = choose.of(*full)
            elements = list(indices[name])
            other = choose.of(-1, 1, *HUGE) if kind == "index" else elements[0]
            at = choose.integer(0, len(elements) - 1)
            elements[at] = max(elements) + 1 if kind == "index" and other == 1 else other
            indices[name] = tuple(elements)
            return False
        kind = "size"
    if kind == "tensor":
        return True
    if kind == "size" or not numbers:
        name = choose.of(*shapes)
        axis = choose.integer(0, len(shapes[name]) - 1)
        shape = list(shapes[name])
        if name not in indices and shape[axis]:
            shape[axis] -= 1
            shapes[name] = tuple(shape)
        return False
    name = choose.of(*numbers)
    numbers[name] = {
        "number": lambda: numbers[name] + choose.of(1, -1),
        "huge": lambda: choose.of(*HUGE),
        "zero": lambda: 0,
    }[kind]()
    return False


def mistaken(choose: Choose, functor: str, targets: str) -> tuple[str, str]:
    """Text that is wrong for any numbers, in most cases."""
    left, right = functor.split(" = ")
    match choose.integer(0, 8):
        case 0:
            return f"{left} = {right.replace('i', 'i*i', 1)}", targets
        case 1:
            return f"{left} = {right.replace('[i', '[i*j', 1)}", targets
        case 2:
            return f"{left} = {right.replace('[', '[0:i, ', 1)}", targets
        case 3:
            return f"{left} = {right[:-1]}, [i])", targets
        case 4:
            return functor.replace("[", "[i, ", 1), targets
        case 5:
            return functor.replace("[", "[x, y, ", 1), targets
        case 6:
            return functor, targets.replace("[", "[0, ", 1)
        case 7:
            return functor, f"{targets}, {targets}"
        case _:
            return f"{left} = {right.replace('i', '(i/2)', 1)}", targets
