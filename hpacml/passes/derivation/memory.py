"""The memory of a region's code: which elements of which array a memref has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.dialects import memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import SymbolTable

from hpacml.functors.polynomials import Poly
from hpacml.passes.common.origins import VIEWS
from hpacml.passes.derivation.facts import substitute
from hpacml.passes.derivation.integers import Integer, Integers, Size, Unknown


@dataclass(frozen=True)
class View:
    """A memref as elements of an array: `index` has the array's indices, in which `$k` is the k-th one of the view."""

    array: SSAValue
    index: tuple[Integer, ...]
    sizes: tuple[Integer, ...]

    def at(self, indices: Sequence[Integer]) -> tuple[Integer, ...]:
        """The indices in the array of an element of the view."""
        unknown = next((each for each in indices if isinstance(each, Unknown)), None)
        values = {f"${k}": each for k, each in enumerate(indices) if isinstance(each, Poly)}
        return tuple(
            each if isinstance(each, Unknown) else unknown if _misses(each, values) else substitute(each, values)
            for each in self.index
        )  # pyright: ignore[reportReturnType] (an index that misses a value is unknown)


@dataclass(frozen=True)
class Either:
    """A memref that is one of two by a condition."""

    condition: SSAValue
    then: SSAValue
    other: SSAValue


@dataclass(frozen=True)
class Own:
    """Memory that the region has for itself, or that never changes; `view` tells of elements, where that is known."""

    view: View | None = None


@dataclass(frozen=True)
class Untold:
    """A memref of which the code does not tell what memory it is."""

    why: str


Memref = View | Either | Own | Untold

Dims = Mapping[SSAValue, Sequence[str]]
"""The names of arrays' dimensions, of which those of one name have one size. Those without are empty texts."""


class Memory:
    """What the memrefs of one region are."""

    def __init__(self, integers: Integers, dims: Dims):
        self._integers = integers
        self._dims = dims
        self._found: dict[SSAValue, Memref] = {}

    def of(self, value: SSAValue) -> Memref:
        """What a memref is."""
        if value not in self._found:
            self._found[value] = self._of(value)
        return self._found[value]

    def size(self, array: SSAValue, dim: int) -> Integer:
        """The size of a dimension of a memref."""
        match self.of(array):
            case View(sizes=sizes) | Own(View(sizes=sizes)):
                return sizes[dim]
            case Either(then=then):
                return self.size(then, dim)
            case _:
                return self._size_of_type(array, dim)

    def sizes(self, array: SSAValue) -> tuple[Integer, ...]:
        """The sizes of a memref."""
        return tuple(self.size(array, dim) for dim in range(rank_of(array)))

    def _of(self, value: SSAValue) -> Memref:
        owner = value.owner
        if isinstance(owner, Block):
            if self._integers.is_inside(owner):
                return Untold("changes from one iteration to the next")
            return self._whole(value)
        match owner:
            case memref.CastOp(source=source) if isinstance(source.type, MemRefType):
                return self.of(source)
            case memref.SubviewOp():
                return self._part(owner)
            case memref.GetGlobalOp() if _is_constant(owner):
                return Own(self._whole(value))
            case memref.AllocOp() | memref.AllocaOp():
                return Own(self._whole(value)) if self._integers.is_inside(owner) else self._whole(value)
            case scf.IfOp() if self._integers.is_inside(owner):
                return self._chosen(owner, value)
            case _ if self._integers.is_inside(owner):
                if isinstance(owner, VIEWS) and isinstance(self.of(owner.operands[0]), Own):
                    return Own()
                return Untold(f"is what {owner.name} gives, whose elements are not followed")
            case _:
                return self._whole(value)

    def _whole(self, value: SSAValue) -> View:
        rank = len(_shape(value))
        return View(
            value,
            tuple(Poly.name(f"${k}") for k in range(rank)),
            tuple(self._size_of_type(value, k) for k in range(rank)),
        )

    def _size_of_type(self, value: SSAValue, dim: int) -> Integer:
        size = _shape(value)[dim]
        if size != DYNAMIC_INDEX:
            return Poly.constant(size)
        if isinstance(owner := value.owner, memref.AllocOp | memref.AllocaOp):
            position = sum(each == DYNAMIC_INDEX for each in _shape(value)[:dim])
            return self._integers.of(owner.dynamic_sizes[position])
        named = self._dims.get(value, ())
        key = named[dim] if dim < len(named) and named[dim] else (value, dim)
        return self._integers.atom(("size", key), Size(value, dim))

    def _part(self, op: memref.SubviewOp) -> Memref:
        source = self.of(op.source)
        if isinstance(source, Own):
            return Own()
        if not isinstance(source, View):
            return source if isinstance(source, Untold) else Untold("is a part of one of two arrays")
        offsets = self._mixed(op.static_offsets.get_values(), op.offsets)
        strides = self._mixed(op.static_strides.get_values(), op.strides)
        sizes = self._mixed(op.static_sizes.get_values(), op.sizes)
        kept = _kept(op.static_sizes.get_values(), _shape(op.result))
        if kept is None:
            return Untold("is a part whose dimensions are not told apart")
        places = {dim: k for k, dim in enumerate(kept)}
        indices = [
            offset if dim not in places else _moved(offset, stride, places[dim])
            for dim, (offset, stride) in enumerate(zip(offsets, strides, strict=True))
        ]
        return View(source.array, source.at(indices), tuple(sizes[dim] for dim in kept))

    def _mixed(self, static: Sequence[int], dynamic: Sequence[SSAValue]) -> list[Integer]:
        values = iter(dynamic)
        return [self._integers.of(next(values)) if n == DYNAMIC_INDEX else Poly.constant(n) for n in static]

    def _chosen(self, op: scf.IfOp, value: SSAValue) -> Memref:
        position = op.results.index(value)
        ends = [region.block.last_op for region in (op.true_region, op.false_region) if region.blocks]
        if len(ends) != 2 or any(end is None for end in ends):
            return Untold("is one of several arrays")
        then, other = (end.operands[position] for end in ends if end is not None)
        return Either(op.cond, then, other)


def _moved(offset: Integer, stride: Integer, place: int) -> Integer:
    if isinstance(offset, Unknown) or isinstance(stride, Unknown):
        return offset if isinstance(offset, Unknown) else stride
    return offset + stride * Poly.name(f"${place}")


def _misses(poly: Poly, values: dict[str, Poly]) -> bool:
    return any(name.startswith("$") and name not in values for name in poly.names)


def _kept(sizes: Sequence[int], shape: Sequence[int], first: int = 0) -> list[int] | None:
    """The dimensions that a view keeps of those it is cut from: of several of size 1, whichever are as many."""
    if not sizes:
        return None if shape else []
    if sizes[0] == 1 and len(sizes) > len(shape):
        if (kept := _kept(sizes[1:], shape, first + 1)) is not None:
            return kept
    if not shape or sizes[0] != shape[0]:
        return None
    kept = _kept(sizes[1:], shape[1:], first + 1)
    return None if kept is None else [first, *kept]


def _shape(value: SSAValue) -> tuple[int, ...]:
    return tuple(cast("MemRefType", value.type).get_shape())


def rank_of(value: SSAValue) -> int:
    """How many dimensions a memref has."""
    return len(_shape(value))


def _is_constant(op: memref.GetGlobalOp) -> bool:
    found = SymbolTable.lookup_symbol(op, op.name_)
    return isinstance(found, memref.GlobalOp) and found.constant is not None


def origin_of(array: SSAValue) -> SSAValue:
    """The memory that an array from outside of a region is a part of, as far as the code tells."""
    owner: Operation | Block = array.owner
    while isinstance(owner, VIEWS):
        array = owner.operands[0]
        owner = array.owner
    return array
