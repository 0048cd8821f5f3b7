"""`hpacml-compact-points`: pointwise original code that is asked for some points runs on arrays of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, MemRefType, ModuleOp, i8, i64
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.comparing import ComparePointsOp, IsComparedOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp, TensorOp
from hpacml.dialects.hpacml.guarding import CountPointsOp
from hpacml.dialects.hpacml.original_code import BodyWhereOp, KeepRandomOp
from hpacml.dialects.hpacml.steps import BodyOp
from hpacml.dtypes import SIZES
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter, refusal
from hpacml.passes.common.mappings import functor_of, map_of
from hpacml.passes.common.origins import origins
from hpacml.passes.common.point_dims import PointsOfMap, Size, points_of_map, size_of
from hpacml.passes.common.point_loops import Point, each_point, places, point_at, product, size, sizes_of
from hpacml.passes.common.strided import are_apart


@dataclass(frozen=True)
class HpacmlCompactPointsPass(ModulePass):
    """
    Of the arrays in the maps those points are copied that are rejected, one behind the other; the code runs on these,
    with their number in place of the sizes that the ranges name, and the outputs' tensors take what it has made.

    ```mlir
    hpacml.body_where pointwise "r" @r_body(%t, %u, %n) at %mask from (%in) to (%out) into (%y)  // %out maps %u[0 : %n]
    ```
    becomes
    ```mlir
    %k = hpacml.count_points "r" %mask positions %at
    %t_1 = memref.view ...                                    // k elements: those of %t at the positions
    %u_1 = memref.view ...
    hpacml.body "r" @r_body(%t_1, %u_1, %k)
    %out_1 = hpacml.map from @f(%u_1[0 : %k])
    hpacml.gather %out_1 into %part
    scf.parallel (%i) = (0) to (%k) step (1) { ... }          // %part[%i] to %y[%at[%i]]
    %due = hpacml.is_compared "r" %mask
    scf.if %due {                                             // random numbers are kept around the next line
      hpacml.body_where "r" @r_body(%t, %u, %n) at %mask from (%in) to (%out) into (%whole)
      hpacml.compare_points "r" ins(%y) against(%whole) where %mask
    }
    ```
    In calls in which an array that the code writes shares memory with another one it runs whole, as copies would not.
    Of a sweep of several dimensions, the first one has all k points, and the others one. The memory of a copy has room
    for each index that the array has, as the code may use one that is none of the sizes that it is given.
    """

    name = "hpacml-compact-points"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for body in [each for each in op.walk() if isinstance(each, BodyWhereOp)]:
            if body.pointwise is not None:
                _Compaction(body).replace()


class _Compaction:
    """The code of a region on arrays of some points."""

    def __init__(self, op: BodyWhereOp):
        self.op, self.builder = op, Builder(InsertPoint.before(op))
        self.outputs = [points_of_map(map_of(mapping, op), op) for mapping in op.outputs]
        inputs = [points_of_map(map_of(mapping, op), op) for mapping in op.inputs]
        self.moved = self._moved([*inputs, *self.outputs])
        self.sizes = self._sizes([*inputs, *self.outputs])
        self._require_own_memory()

    def _moved(self, maps: Sequence[PointsOfMap]) -> dict[SSAValue, dict[int, int]]:
        """The dimensions of each array that points have one index of."""
        moved: dict[SSAValue, dict[int, int]] = {}
        for each in maps:
            for array, dims in each.moved.items():
                if moved.setdefault(array, dims) != dims:
                    raise self._refusal(f"'{each.map.applied}' has its points elsewhere in an array than another map")
        return {array: dims for array, dims in moved.items() if dims}

    def _sizes(self, maps: Sequence[PointsOfMap]) -> dict[Size, int]:
        """The numbers that are sizes of the sweep, and of which of its dimensions."""
        sizes: dict[Size, int] = {(array, d): dim for array, dims in self.moved.items() for d, dim in dims.items()}
        for each in maps:
            for position, dim in each.stops.items():
                if sizes.setdefault(size_of(each.map.bounds[position]), dim) != dim:
                    raise self._refusal(f"'{each.map.applied}' names one size for two dimensions of the sweep")
        for each in maps:
            others = [value for position, value in enumerate(each.map.bounds) if position not in each.stops]
            if any(size_of(value) in sizes for value in (*others, *each.map.params)):
                raise self._refusal(f"'{each.map.applied}' uses a size of the sweep for more than that")
        return sizes

    def _require_own_memory(self) -> None:
        """Refuse code that would write other arrays than the compacted ones."""
        op = self.op
        # Few programs have guards, and all others do not load the dialects of what may write.
        from hpacml.passes.common.written_memory import written_arguments

        written = written_arguments(op.function)
        self.written = {op.arguments[k] for k in written}
        mapped = {origin for array in self.moved for origin in origins(array)}
        for k, value in enumerate(op.arguments):
            if not isinstance(value.type, MemRefType) or value in self.moved:
                continue
            if k in written or not mapped.isdisjoint(origins(value)):
                name = value.name_hint or f"array {k}"
                why = "writes" if k in written else "reads by another view"
                raise self._refusal(f"its code {why} '{name}', of which no map has the points")

    def _refusal(self, why: str) -> Exception:
        return refusal(self.op, f"the region '{self.op.label.data}' is pointwise, and {why}: leave the clause out")

    def replace(self) -> None:
        """Put the code in the place of the operation; in calls whose arrays share memory it runs whole."""
        a = IndexArithmetic(self.builder)
        arrays = list(self.moved)
        pairs = [(one, other) for k, one in enumerate(arrays) for other in arrays[:k]]
        apart = a.all([are_apart(*pair, a) for pair in pairs if not self.written.isdisjoint(pair)])

        def compacted(inner: IndexArithmetic) -> None:
            self.builder = inner.builder
            self._run()

        if apart is True:
            compacted(a)
        else:
            where(a.truth(apart), compacted, a, lambda inner: self._whole(self.op.tensors, inner.builder))
        Rewriter.erase_op(self.op)

    def _whole(self, tensors: Sequence[SSAValue], builder: Builder) -> None:
        """Have the code run on all points."""
        op, name = self.op, self.op.callee.root_reference.data
        operands = list(op.arguments), op.mask, list(op.inputs), list(op.outputs)
        builder.insert(BodyWhereOp(op.label, name, *operands, tensors))

    def _run(self) -> None:
        op, builder = self.op, self.builder
        self.lengths = sizes_of(op.mask, builder)
        count = product(self.lengths, builder)
        self.at = builder.insert(memref.AllocOp([count], [], MemRefType(i64, [DYNAMIC_INDEX]))).memref
        self.at.name_hint = "at"
        self.count = builder.insert(CountPointsOp(op.label, op.mask, self.at, again=True)).rejected
        self.count.name_hint = "k"
        self.one = builder.index(1)
        rooms: list[SSAValue] = []
        parts = {array: self._part(array, rooms) for array in self.moved}
        arguments = [parts[value] if value in parts else self._number(value) for value in op.arguments]
        builder.insert(BodyOp(op.label, op.callee.root_reference.data, arguments))
        for points, tensor in zip(self.outputs, op.tensors, strict=True):
            self._take(points, parts, tensor)
        for room in (*rooms, self.at):
            builder.insert(memref.DeallocOp.get(room))
        self._compare()

    def _extent(self, dim: int) -> SSAValue:
        """How many indices a dimension of the sweep has."""
        return self.one if dim else self.count

    def _number(self, value: SSAValue) -> SSAValue:
        """An argument of the code, or what stands for it if it is a size of the sweep."""
        if isinstance(value.type, MemRefType) or (dim := self.sizes.get(size_of(value))) is None:
            return value
        extent = self._extent(dim)
        if value.type == IndexType():
            return extent
        return self.builder.insert(arith.IndexCastOp(extent, value.type)).result

    def _part(self, array: SSAValue, rooms: list[SSAValue]) -> SSAValue:
        """The elements of an array at the rejected points, as memory of its type."""
        builder, array_type, dims = self.builder, cast(MemRefType, array.type), self.moved[array]
        own = sizes_of(array, builder)
        sizes = [self._extent(dims[d]) if d in dims else each for d, each in enumerate(own)]
        room = builder.insert(
            memref.AllocOp([self._bytes(own, sizes, array_type)], [], MemRefType(i8, [DYNAMIC_INDEX]))
        )
        rooms.append(room.memref)
        shape = array_type.get_shape()
        packed = MemRefType(array_type.element_type, shape)
        dynamic = [each for each, known in zip(sizes, shape, strict=True) if known == DYNAMIC_INDEX]
        part = builder.insert(memref.ViewOp(room, builder.index(0), dynamic, packed)).result
        part.name_hint = array.name_hint
        others = [each for d, each in enumerate(own) if d not in dims]

        def copy(place: Point, inner: Builder) -> None:
            point, rest = self._point(place[0], inner), list(place[1:])
            zero = inner.index(0)
            source = places(len(shape), {d: point[dim] for d, dim in dims.items()}, rest)
            target = places(len(shape), {d: zero if dim else place[0] for d, dim in dims.items()}, rest)
            inner.insert(memref.StoreOp.get(inner.insert(memref.LoadOp.get(array, source)).res, part, target))

        each_point([self.count, *others], copy, builder)
        return part if packed == array_type else builder.insert(memref.CastOp.get(part, array_type)).dest

    def _bytes(self, own: Sequence[SSAValue], sizes: Sequence[SSAValue], array_type: MemRefType) -> SSAValue:
        """How many bytes the part of an array takes that has room for each index of the array."""
        builder, stride = self.builder, self.one
        last = builder.index(0)
        for mine, each in zip(reversed(own), reversed(sizes), strict=True):
            most = builder.insert(arith.MaxSIOp(builder.insert(arith.MaxSIOp(mine, each)).result, self.one)).result
            reach = builder.insert(arith.MuliOp(builder.insert(arith.SubiOp(most, self.one)).result, stride)).result
            last = builder.insert(arith.AddiOp(last, reach)).result
            stride = builder.insert(arith.MuliOp(stride, each)).result
        elements = builder.insert(arith.AddiOp(last, self.one)).result
        return product([elements, builder.index(SIZES[dtype_name(array_type.element_type)])], builder)

    def _point(self, number: SSAValue, builder: Builder) -> list[SSAValue]:
        """Where a rejected point is in the sweep."""
        return point_at(self.at, number, self.lengths, builder)

    def _take(self, points: PointsOfMap, parts: dict[SSAValue, SSAValue], tensor: SSAValue) -> None:
        """Write what the code has made of the rejected points to a tensor of all."""
        builder, map_op = self.builder, points.map
        functor = functor_of(map_op, self.op)
        arrays = [parts[array] for array in map_op.arrays]
        bounds = [self._extent(points.stops[k]) if k in points.stops else v for k, v in enumerate(map_op.bounds)]
        unchecked = map_op.unchecked is not None
        made = MapOp.infer(
            functor,
            map_op.direction.data,
            map_op.trees,
            arrays,
            bounds,
            list(map_op.params),
            None if map_op.text is None else map_op.text.data,
            map_op.mapping_type.element_type,
            unchecked,
        )
        mapping = builder.insert(made).mapping
        part = builder.insert(TensorOp(mapping, fresh=True)).tensor
        part.name_hint = "part"
        builder.insert(GatherOp(mapping, part))
        features = functor.functor.feature_dims
        rank = cast(MemRefType, tensor.type).get_num_dims()
        sweep = [d for d in range(rank) if d not in features]

        def copy(place: Point, inner: Builder) -> None:
            point, rest = self._point(place[0], inner), list(place[1:])
            zero = inner.index(0)
            source = places(rank, {d: zero if dim else place[0] for dim, d in enumerate(sweep)}, rest)
            target = places(rank, {d: point[dim] for dim, d in enumerate(sweep)}, rest)
            inner.insert(memref.StoreOp.get(inner.insert(memref.LoadOp.get(part, source)).res, tensor, target))

        each_point([self.count, *(size(tensor, d, builder) for d in features)], copy, builder)

    def _compare(self) -> None:
        """In some calls, compare with what the code makes of all points."""
        op = self.op
        due = self.builder.insert(IsComparedOp(op.label, op.mask)).due
        block = Block()
        inner = Builder(InsertPoint.at_end(block), op)
        whole = [inner.insert(TensorOp(mapping, fresh=True)).tensor for mapping in op.outputs]
        for each in whole:
            each.name_hint = "whole"
        inner.insert(KeepRandomOp())
        self._whole(whole, inner)
        inner.insert(KeepRandomOp(restore=True))
        maps = [points.map for points in self.outputs]
        features = [functor_of(each, op).functor.feature_dims for each in maps]
        texts = [each.applied for each in maps]
        inner.insert(ComparePointsOp(op.label, texts, list(op.tensors), whole, features, op.mask))
        inner.insert(scf.YieldOp())
        self.builder.insert(scf.IfOp(due, [], Region(block)))
