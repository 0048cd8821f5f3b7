"""Tiles of a tensor in shared memory: kernels copy rows of the tensor whole, and views point by point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import cast

from xdsl.dialects import arith, gpu, memref, vector
from xdsl.dialects.builtin import (
    IntegerAttr,
    MemRefType,
    ModuleOp,
    NoneAttr,
    StringAttr,
    UnitAttr,
    VectorType,
    i1,
    i64,
)
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable
from xdsl.utils.exceptions import PassFailedException

from hpacml.dialects.hpacml.attributes import dtype_name, strides_of
from hpacml.dialects.hpacml.packing import IndirectOp
from hpacml.dtypes import SIZES
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.strided import reinterpret_cast
from hpacml.passes.common.sweeps import Place, Slice, Sweep, delinearize
from hpacml.passes.gpu.launches import (
    ACCESS,
    THREADS,
    WORKGROUP,
    below,
    launch,
    loop,
    product,
    remaining,
)

SHARED = 24 << 10
"""The most bytes of shared memory for a block, so that several blocks fit beside each other."""

POINTS = (THREADS, 128, 64)
"""The points that a tile may have; the first number that fits is taken."""


@dataclass(frozen=True)
class Staging:
    """How a sweep is staged: `points` in a tile, with `features` each, and `pitch` elements apart in shared memory."""

    sweep: Sweep
    points: int
    features: int

    @staticmethod
    def of(sweep: Sweep) -> Staging | None:
        """None where the tensor has gaps or features of no view, or too many or an unknown number of features."""
        features = sweep.feature_count.as_int
        counts = [slice.count for slice in sweep.slices]
        whole = None not in counts and sum(n for n in counts if n is not None) == features
        if not features or not whole or not isinstance(sweep.tensor_type.layout, NoneAttr):
            return None
        if sweep.tensor_type.element_type == i1:  # of which a vector is packed to bits
            return None
        stagings = (Staging(sweep, points, features) for points in POINTS)
        return next((each for each in stagings if each.points * each.pitch * each.width <= SHARED), None)

    @property
    def width(self) -> int:
        """Bytes of an element."""
        return SIZES[dtype_name(self.sweep.tensor_type.element_type)]

    @property
    def lanes(self) -> int:
        """Elements in one access."""
        return ACCESS // self.width

    @property
    def pitch(self) -> int:
        """The distance of rows in shared memory: one element more if rows of whole accesses would begin in few banks.

        Other rows lie as in the tensor, so that they are copied at once; that gains more than their banks cost.
        """
        return self.features + (self.features % self.lanes == 0)

    def emit(self, name: str, a: IndexArithmetic) -> None:
        """Build the kernel `name`."""
        sweep = self.sweep
        total = a.settled(product(sweep.sizes))
        rows = reinterpret_cast(sweep.tensor, a.constant(0), [total * a.constant(self.features)], [a.constant(1)], a)
        aligned = _is_aligned(sweep.tensor, a)
        shared = _shared_memory(self.points * self.pitch, sweep.tensor, a)

        def tile(start: Poly, thread: Poly, a: IndexArithmetic) -> None:
            work = _Tile(self, start, remaining(total, start, self.points, a), thread)
            memory = a.builder.insert(memref.GetGlobalOp(shared.sym_name.data, shared.type)).memref
            steps = [lambda: work.views(memory, a), lambda: work.rows(memory, rows, aligned, a)]
            for step in steps if sweep.reads else reversed(steps):
                step()
                a.builder.insert(gpu.BarrierOp())

        launch(name, total, self.points, a, tile)


@dataclass(frozen=True)
class _Tile:
    """The work of a block on `count` points from `start`."""

    staging: Staging
    start: Poly
    count: Poly
    thread: Poly

    def views(self, memory: SSAValue, a: IndexArithmetic) -> None:
        """Build the copy between views and shared memory."""
        sweep = self.staging.sweep
        rows = [slice for slice in sweep.slices if _has_rows(slice, sweep)]
        columns = [slice for slice in sweep.slices if slice not in rows]
        if columns:
            where(below(self.thread, self.count, a), lambda a: self._columns(columns, memory, a), a)
        for slice in rows:
            self._rows(slice, memory, a)

    def _columns(self, slices: Sequence[Slice], memory: SSAValue, a: IndexArithmetic) -> None:
        """A thread copies all features of a point: neighbours in a warp are neighbours in the innermost dimension."""
        sweep = self.staging.sweep
        point = self._point(self.thread, a)
        for slice in slices:
            sweep.each(
                slice,
                point,
                lambda place, number, a: sweep.move(place, self._staged(memory, self.thread, number, a), a),
                a,
            )

    def _rows(self, slice: Slice, memory: SSAValue, a: IndexArithmetic) -> None:
        """A thread copies one feature of a point: neighbours in a warp are neighbours in a row of the view."""
        sweep, width = self.staging.sweep, a.constant(slice.count or 0)

        def copy(element: Poly, a: IndexArithmetic) -> None:
            local, number = delinearize(element, [self.count, width], a)

            def move(place: Place, a: IndexArithmetic) -> None:
                sweep.move(place, self._staged(memory, local, slice.first + number, a), a)

            sweep.one(slice, self._point(local, a), number, move, a)

        loop(self.thread, a.settled(self.count * width), a.constant(self.staging.points), copy, a)

    def _point(self, local: Poly, a: IndexArithmetic) -> list[SSAValue]:
        return [a.value(index) for index in delinearize(self.start + local, self.staging.sweep.sizes, a)]

    def _staged(
        self, memory: SSAValue, local: Poly, number: Poly, a: IndexArithmetic
    ) -> tuple[SSAValue, list[SSAValue]]:
        return memory, [a.value(local * a.constant(self.staging.pitch) + number)]

    def rows(self, memory: SSAValue, rows: SSAValue, aligned: SSAValue, a: IndexArithmetic) -> None:
        """Build the copy between shared memory and the tensor's rows: 16 bytes at once in full and aligned tiles."""
        staging, reads = self.staging, self.staging.sweep.reads
        features, threads = a.constant(staging.features), a.constant(staging.points)
        begin = a.settled(self.start * features)

        def single(element: Poly, a: IndexArithmetic) -> None:
            here, there = self._element(element, a), a.value(begin + element)
            origin, target = ((memory, here), (rows, there)) if reads else ((rows, there), (memory, here))
            value = a.builder.insert(memref.LoadOp.get(origin[0], [origin[1]])).res
            a.builder.insert(memref.StoreOp.get(value, target[0], [target[1]]))

        def several(element: Poly, a: IndexArithmetic) -> None:
            there = a.value(begin + element)
            if reads:
                _aligned(vector.StoreOp(self._read(memory, element, a), rows, [there]), a)
            else:
                self._write(_aligned(vector.LoadOp(rows, [there], self._vector(rows)), a), memory, element, a)

        full = a.builder.insert(arith.CmpiOp(a.value(self.count), a.value(threads), "eq")).result
        fast = a.builder.insert(arith.AndIOp(full, aligned)).result
        lanes = a.constant(staging.lanes)
        where(
            fast,
            lambda a: loop(a.settled(self.thread * lanes), threads * features, threads * lanes, several, a),
            a,
            lambda a: loop(self.thread, a.settled(self.count * features), threads, single, a),
        )

    def _element(self, element: Poly, a: IndexArithmetic) -> SSAValue:
        """The index in shared memory of an element, which counts along the tile's rows."""
        staging = self.staging
        if staging.pitch == staging.features:
            return a.value(element)
        local, number = delinearize(element, [self.count, a.constant(staging.features)], a)
        return a.value(local * a.constant(staging.pitch) + number)

    def _vector(self, memory: SSAValue) -> VectorType:
        return VectorType(cast(MemRefType, memory.type).element_type, [self.staging.lanes])

    def _read(self, memory: SSAValue, element: Poly, a: IndexArithmetic) -> SSAValue:
        """Read one access of elements from shared memory, from `element` on."""
        if self.staging.pitch == self.staging.features:
            return _aligned(vector.LoadOp(memory, [a.value(element)], self._vector(memory)), a)
        places = [self._element(element + a.constant(lane), a) for lane in range(self.staging.lanes)]
        values = [a.builder.insert(memref.LoadOp.get(memory, [place])).res for place in places]
        result = a.builder.insert(vector.BroadcastOp(values[0], self._vector(memory))).vector
        for lane, value in enumerate(values[1:], 1):
            result = a.builder.insert(vector.InsertOp(value, result, [lane])).result
        return result

    def _write(self, values: SSAValue, memory: SSAValue, element: Poly, a: IndexArithmetic) -> None:
        if self.staging.pitch == self.staging.features:
            _aligned(vector.StoreOp(values, memory, [a.value(element)]), a)
            return
        for lane in range(self.staging.lanes):
            value = a.builder.insert(
                vector.ExtractOp(values, [lane], cast(VectorType, values.type).element_type)
            ).result
            place = self._element(element + a.constant(lane), a)
            a.builder.insert(memref.StoreOp.get(value, memory, [place]))


def _has_rows(slice: Slice, sweep: Sweep) -> bool:
    """Whether the features of one point are neighbours in the view, and points are not."""
    if not slice.width or not sweep.dims:
        return False
    view = slice.view.owner.rows if isinstance(slice.view.owner, IndirectOp) else slice.view
    strides = strides_of(cast(MemRefType, view.type))
    return strides[len(sweep.dims) + len(slice.width) - 1] == 1 and strides[len(sweep.dims) - 1] not in (1, -1)


def _is_aligned(tensor: SSAValue, a: IndexArithmetic) -> SSAValue:
    """Whether a tensor begins at an address where 16 bytes can be read or written at once."""
    address = a.builder.insert(memref.ExtractAlignedPointerAsIndexOp.get(tensor)).aligned_pointer
    rest = a.builder.insert(arith.RemUIOp(address, a.value(a.constant(ACCESS)))).result
    return a.builder.insert(arith.CmpiOp(rest, a.value(a.constant(0)), "eq")).result


def _shared_memory(size: int, tensor: SSAValue, a: IndexArithmetic) -> memref.GlobalOp:
    """Define memory of a kernel that the threads of a block share, in the module around it."""
    op = a.builder.insertion_point.block.parent_op()
    while op is not None and not isinstance(op, ModuleOp):
        op = op.parent_op()
    if op is None:
        raise PassFailedException("a kernel needs a module around it")
    names = (f"hpacml_tile_{n}" for n in count())
    name = next(name for name in names if SymbolTable.lookup_symbol(op, name) is None)
    element_type = cast(MemRefType, tensor.type).element_type
    shared = MemRefType(element_type, [size], memory_space=WORKGROUP)
    tile = memref.GlobalOp.get(StringAttr(name), shared, UnitAttr(), alignment=ACCESS)
    return a.builder.insert(tile, InsertPoint.at_start(op.body.block))


def _aligned(access: Operation, a: IndexArithmetic) -> SSAValue:
    access.attributes["alignment"] = IntegerAttr(ACCESS, i64)
    a.builder.insert(access)
    return access.results[0] if access.results else access.operands[0]
