"""Sweeps visit the points of a map, and at each point the elements of its views. Loops and kernels consist of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod
from types import MappingProxyType
from typing import TypeAlias, cast

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, IntegerAttr, MemRefType, i32, i64
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import strides_of
from hpacml.dialects.hpacml.packing import (
    FusedGatherOp,
    FusedScatterOp,
    IndirectOp,
    PackOp,
    UnpackOp,
    adds,
    sweep_dims,
    view_type,
)
from hpacml.dialects.hpacml_rt.bad_indices import BadIndexOp
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.branching import where
from hpacml.passes.common.conversion import added, convert
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter, refusal

Place: TypeAlias = tuple[SSAValue, Sequence[SSAValue]]
"""Memory, and the indices of an element in it."""

Known: TypeAlias = Mapping[int, SSAValue]
"""Indices of an indirect view that have been read, by number."""

NONE_KNOWN: Known = MappingProxyType({})

UNROLL = 64
"""The most features of a view that are copied without a loop over them."""


@dataclass(frozen=True)
class Slice:
    """A view of a map: the number of its first feature, and the sizes of its own feature dimensions."""

    view: SSAValue
    first: Poly
    width: Sequence[Poly]

    @property
    def count(self) -> int | None:
        """The number of its features, or None if it is unknown."""
        sizes = [size.as_int for size in self.width]
        return None if None in sizes else prod(size for size in sizes if size is not None)


Work: TypeAlias = Callable[[Place, IndexArithmetic], None]
"""Builds the work on an element from its place in memory."""

Element: TypeAlias = Callable[[Place, Poly, IndexArithmetic], None]
"""Builds the work on an element, from its place in the view's memory and the number of its feature."""


class Sweep:
    """The copies of an operation between its views and its tensor, in numbers of `a`."""

    def __init__(self, tensor: SSAValue, features: Sequence[int], reads: bool, adds: bool, a: IndexArithmetic):
        self.tensor, self.features = tensor, features
        self.reads = reads
        """True if views are read and the tensor is written, False for the reverse."""
        self.adds = adds
        """Whether what is written is added to what is there. Points may then meet in an element."""
        self.dims = sweep_dims(self.tensor_type, features)
        self.feature_sizes = [size_of(tensor, d, a) for d in features]
        self.sizes = [size_of(tensor, d, a) for d in self.dims]
        self.slices: list[Slice] = []

    @staticmethod
    def of(op: Operation, a: IndexArithmetic) -> Sweep | None:
        """The sweep of an operation, or None if the operation does not copy."""
        match op:
            case PackOp() | UnpackOp():
                views, firsts = [op.view], [op.first]
            case FusedGatherOp() | FusedScatterOp():
                views, firsts = list(op.views), list(op.firsts)
            case _:
                return None
        sweep = Sweep(op.tensor, op.features.get_values(), isinstance(op, PackOp | FusedGatherOp), adds(op), a)
        widths = [
            [size_of(view, d, a) for d in range(len(sweep.dims), view_type(view).get_num_dims())] for view in views
        ]
        starts = [number_of(first, a) for first in firsts]
        sweep.slices = [Slice(*each) for each in zip(views, starts, widths, strict=True)]
        return sweep

    @property
    def feature_count(self) -> Poly:
        """The number of features of a point in the tensor."""
        return reduce(lambda a, b: a * b, self.feature_sizes, Poly.constant(1))

    @property
    def tensor_type(self) -> MemRefType:
        return cast(MemRefType, self.tensor.type)

    def copy(self, point: Sequence[SSAValue], a: IndexArithmetic) -> None:
        """Build the copy of all features of all views at one point of the sweep."""
        for slice in self.slices:
            self.each(slice, point, lambda place, number, a: self.move(place, self.place(point, number, a), a), a)

    def each(self, slice: Slice, point: Sequence[SSAValue], element: Element, a: IndexArithmetic) -> None:
        """Call `element` for all features of one view at one point of the sweep."""

        def features(known: Known, a: IndexArithmetic) -> None:
            def at(position: Sequence[Poly], a: IndexArithmetic) -> None:
                number = linearize(position, slice.width)
                place = [*point, *map(a.value, position)]
                visit(slice.view, place, a, lambda place, a: element(place, slice.first + number, a), known)

            if slice.count is not None and slice.count <= UNROLL:
                for position in product(*(range(size.as_int or 0) for size in slice.width)):
                    at([a.constant(index) for index in position], a)
            else:
                nest(slice.width, (), at, a)

        if slice.count and isinstance(slice.view.owner, IndirectOp):
            self._with_common_indices(slice.view.owner, len(slice.width), point, features, a)
        else:
            features({}, a)

    def one(self, slice: Slice, point: Sequence[SSAValue], number: Poly, work: Work, a: IndexArithmetic) -> None:
        """Build `work` on a view's feature at a point of the sweep; `number` counts from the view's first feature."""
        position = delinearize(number, slice.width, a)
        visit(slice.view, [*point, *map(a.value, position)], a, work)

    def place(self, point: Sequence[SSAValue], number: Poly, a: IndexArithmetic) -> Place:
        """The place of feature `number` in the tensor."""
        features, swept = iter(delinearize(number, self.feature_sizes, a)), iter(point)
        dims = range(self.tensor_type.get_num_dims())
        return self.tensor, [a.value(next(features)) if d in self.features else next(swept) for d in dims]

    def move(self, view: Place, tensor: Place, a: IndexArithmetic) -> None:
        """Build the copy of an element, with its conversion."""
        (origin, here), (target, there) = (view, tensor) if self.reads else (tensor, view)
        value = a.builder.insert(memref.LoadOp.get(origin, here)).res
        element_type: Attribute = cast(MemRefType, target.type).element_type
        value = convert(value, element_type, a.builder)
        if self.adds:
            value = added(a.builder.insert(memref.LoadOp.get(target, there)).res, value, a.builder)
        a.builder.insert(memref.StoreOp.get(value, target, there))

    def _with_common_indices(
        self,
        view: IndirectOp,
        width: int,
        point: Sequence[SSAValue],
        work: Callable[[Known, IndexArithmetic], None],
        a: IndexArithmetic,
    ) -> None:
        """Build `work` with the indices that all features of an indirect view at one point of the sweep share."""
        place = [*point, *[a.value(a.constant(0))] * width]
        features = range(len(point), len(place))
        shared = [n for n, each in enumerate(view.indices) if not _moves(each, features)]

        def read(left: Sequence[int], known: Known, a: IndexArithmetic) -> None:
            if not left:
                work(known, a)
                return
            number, *others = left
            _with_index(view, number, place, a, lambda index, a: read(others, {**known, number: index}, a))

        read(shared, {}, a)


def visit(view: SSAValue, place: Sequence[SSAValue], a: IndexArithmetic, work: Work, known: Known = NONE_KNOWN) -> None:
    """Build `work` on the memory of a view's element at `place`.

    For indirect views this reads indices. Where one of a watched view is bad, the watch is told, and nothing else done.
    """
    if isinstance(view.type, MemRefType):
        work((view, place), a)
        return
    indirect = _indirect(view)

    def read(indices: Sequence[SSAValue], a: IndexArithmetic) -> None:
        number = len(indices)
        if number == len(indirect.indices):
            work((indirect.rows, [*place, *indices]), a)
        elif number in known:
            read([*indices, known[number]], a)
        else:
            _with_index(indirect, number, place, a, lambda index, a: read([*indices, index], a))

    read([], a)


def _with_index(
    view: IndirectOp,
    number: int,
    place: Sequence[SSAValue],
    a: IndexArithmetic,
    work: Callable[[SSAValue, IndexArithmetic], None],
) -> None:
    """Build `work` with index `number` of an indirect view, read once; if the view is watched, for good ones only."""

    def found(where_: Place, a: IndexArithmetic) -> None:
        loaded = a.builder.insert(memref.LoadOp.get(*where_)).res
        if view.watch is None:
            work(as_index(loaded, a.builder), a)
            return
        watch = view.watch
        size = a.value(size_of(view.rows, len(place) + number, a))
        inside, index, most = _below(loaded, size, a.builder)

        def tell(a: IndexArithmetic) -> None:
            a.builder.insert(BadIndexOp(index, most, watch))

        where(inside, lambda a: work(as_index(loaded, a.builder), a), a, tell)

    visit(view.indices[number], place, a, found)


def _below(loaded: SSAValue, size: SSAValue, builder: Builder) -> tuple[SSAValue, SSAValue, SSAValue]:
    """Whether an index is one of `size` elements, and both numbers as they are compared.

    In 64 bits, also in a kernel with 32-bit indices: cutting bits off must not make a bad index good.
    """
    index = convert(loaded, i64, builder)
    most = builder.insert(arith.IndexCastOp(size, i64)).result
    inside = builder.insert(arith.CmpiOp(index, most, "ult")).result  # a negative index is a huge one
    return inside, index, most


def as_index(loaded: SSAValue, builder: Builder) -> SSAValue:
    """An element of an index array as an index."""
    number = loaded if loaded.type == i32 else convert(loaded, i64, builder)
    return builder.insert(arith.IndexCastOp(number, IndexType())).result


def _indirect(view: SSAValue) -> IndirectOp:
    if not isinstance(view.owner, IndirectOp):
        raise refusal(view.owner, f"a view of type {view.type} must come from hpacml.indirect")
    return view.owner


def locate(view: SSAValue, place: Sequence[SSAValue], builder: Builder) -> Place:
    """The memory of a view that is not watched, and the place there of its element at `place`."""
    if isinstance(view.type, MemRefType):
        return view, place
    indirect = _indirect(view)
    indices = [index_at(each, place, builder) for each in indirect.indices]
    return indirect.rows, [*place, *indices]


def index_at(view: SSAValue, place: Sequence[SSAValue], builder: Builder) -> SSAValue:
    """Read an element of a view as an index."""
    return as_index(builder.insert(memref.LoadOp.get(*locate(view, place, builder))).res, builder)


def _moves(view: SSAValue, dims: range) -> bool:
    """Whether a step in one of the dimensions `dims` may lead to another element."""
    if isinstance(view.owner, IndirectOp):
        return any(_moves(each, dims) for each in (view.owner.rows, *view.owner.indices))
    return any(strides_of(cast(MemRefType, view.type))[d] != 0 for d in dims)


def nest(
    sizes: Sequence[Poly],
    position: tuple[Poly, ...],
    element: Callable[[Sequence[Poly], IndexArithmetic], None],
    a: IndexArithmetic,
) -> None:
    """Build loops over `sizes` around `element`."""
    if not sizes:
        element(position, a)
        return
    first, *others = sizes
    loop(a.constant(0), first, a.constant(1), lambda at, a: nest(others, (*position, at), element, a), a)


def loop(first: Poly, end: Poly, step: Poly, work: Callable[[Poly, IndexArithmetic], None], a: IndexArithmetic) -> None:
    """Build a loop around `work`, which gets the loop's index."""
    low, high, by = (a.value(each) for each in (first, end, step))
    body = Block(arg_types=[low.type])
    a.builder.insert(scf.ForOp(low, high, by, [], body))
    inner = a.within(Builder(InsertPoint.at_end(body)))
    work(inner.number(body.args[0]), inner)
    inner.builder.insert(scf.YieldOp())


def linearize(position: Sequence[Poly], sizes: Sequence[Poly]) -> Poly:
    """The row-major number of the element at `position` in dimensions of `sizes`."""
    number = Poly(())
    for index, size in zip(position, sizes, strict=True):
        number = number * size + index
    return number


def delinearize(number: Poly, sizes: Sequence[Poly], a: IndexArithmetic) -> list[Poly]:
    """The row-major position of element `number` in dimensions of `sizes`."""
    position: list[Poly] = []
    for size in reversed(sizes[1:]):
        known, divisor = number.as_int, size.as_int
        if known is not None and divisor:
            position.insert(0, a.constant(known % divisor))
            number = a.constant(known // divisor)
        else:
            dividend, by = a.value(number), a.value(size)
            position.insert(0, a.number(a.builder.insert(arith.RemUIOp(dividend, by)).result))
            number = a.number(a.builder.insert(arith.DivUIOp(dividend, by)).result)
    return [number, *position] if sizes else []


def size_of(array: SSAValue, d: int, a: IndexArithmetic) -> Poly:
    """The size of dimension `d` of an array or of a view."""
    if isinstance(array.owner, IndirectOp):
        return size_of(array.owner.rows, d, a)
    size = cast(MemRefType, array.type).get_shape()[d]
    if size != DYNAMIC_INDEX:
        return a.constant(size)
    dim = memref.DimOp(array, a.value(a.constant(d)))
    return a.number(a.builder.insert(dim).result)


def number_of(value: SSAValue, a: IndexArithmetic) -> Poly:
    """The number of an `index` value, which is known if the value is a constant."""
    if isinstance(owner := value.owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return a.constant(owner.value.value.data)
    return a.number(value)


def erase_unused_views(module: Operation) -> None:
    """Erase the indirect views that no sweep uses any more."""
    for view in [each for each in module.walk(reverse=True) if isinstance(each, IndirectOp)]:
        if not view.view.uses:
            Rewriter.erase_op(view)
