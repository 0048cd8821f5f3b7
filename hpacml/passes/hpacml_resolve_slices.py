"""`hpacml-resolve-slices`: maps become strided views, gathers and scatters become packing and unpacking them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import prod
from typing import Literal, cast

from xdsl.context import Context
from xdsl.dialects import memref
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    MemRefType,
    ModuleOp,
    StringAttr,
    UnitAttr,
    i8,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.traits import IsTerminator

from hpacml.dialects.hpacml.attributes import Direction
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp, ScatterOp, TensorOp
from hpacml.dialects.hpacml.masks import CheckOfInputs
from hpacml.dialects.hpacml.packing import IndirectOp, PackOp, UnpackOp, view_type
from hpacml.dialects.hpacml_rt.bad_indices import NoneBadOp, WatchOp
from hpacml.dialects.hpacml_rt.map_checks import CheckIndicesOp, CheckMapOp, DistinctOp, InBoundsOp
from hpacml.errors import MapError
from hpacml.functors.application import resolve
from hpacml.functors.arithmetic import minimum
from hpacml.functors.polynomials import Poly
from hpacml.functors.strided_views import View
from hpacml.functors.targets import Access, accesses, bind
from hpacml.functors.tensor_functor import Functor
from hpacml.passes.common.index_arithmetic import Condition, IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter, located, refusal
from hpacml.passes.common.mappings import functor_of, require_maps
from hpacml.passes.common.strided import (
    address_range,
    apart,
    different_elements,
    metadata,
    packed_strides,
    reinterpret_cast,
)

_USERS = (TensorOp, GatherOp, ScatterOp, CheckIndicesOp, CheckOfInputs)
"""What takes mappings behind the expansion of regions."""

MAY_ALIAS = "hpacml.may_alias"
"""Marks an allocation that may be replaced by the application's memory where a map is packed already."""


@dataclass(frozen=True)
class HpacmlResolveSlicesPass(ModulePass):
    """
    The steps of the paper's section IV-A on the IR: symbolic shape extraction and resolution (extents,
    offsets and strides of each slice), tensor wrapping (a strided view per slice) and composition (the
    views packed side by side into the features of a dense tensor). One guard per map checks the ranges.

    ```mlir
    %in = hpacml.map to @f(%t[1 : %n]) : ...            // f: [i, 0:2] = ([i - 1], [i + 1])
    %x = hpacml.tensor %in
    hpacml.gather %in into %x
    ```
    becomes
    ```mlir
    hpacml_rt.check_map %fits to "f: [i, 0:2] = ([i - 1], [i + 1])" ...
    %west = memref.reinterpret_cast %t to offset: [0], sizes: [%extent], strides: [1]
    %east = memref.reinterpret_cast %t to offset: [2], sizes: [%extent], strides: [1]
    %x = memref.alloc(%extent) : memref<?x2xf32>
    hpacml.pack %west into %x at %c0 features [1]
    hpacml.pack %east into %x at %c1 features [1]
    ...
    memref.dealloc %x
    ```
    A slice of an indirect target becomes an `hpacml.indirect` view, through a strided view of each index
    array. The program may change indices at any time, so a gather looks at each in the sweep that uses it, by a view
    that is watched, and a scatter, which may write nothing if one of them is bad, uses copies that it has checked.
    """

    name = "hpacml-resolve-slices"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_maps(op)
        maps = [map_op for map_op in op.walk() if isinstance(map_op, MapOp)]
        for map_op in maps:
            users = [use.operation for use in map_op.mapping.uses]
            if all(isinstance(user, _USERS) for user in users):
                _Resolution(map_op).replace()
        used = {map_op.functor.root_reference.data for map_op in op.walk() if isinstance(map_op, MapOp)}
        for functor in [o for o in op.walk() if isinstance(o, FunctorOp)]:
            if functor.sym_name.data not in used:
                Rewriter.erase_op(functor)


@dataclass(frozen=True)
class _Memory:
    """An array, and its memory in numbers."""

    array: SSAValue
    offset: Poly
    sizes: Sequence[Poly]
    strides: Sequence[Poly]


@dataclass(frozen=True)
class _Indices:
    """How indirect views find indices: in the index arrays, perhaps watched, or in copies, by their use."""

    watch: SSAValue | None = None
    copies: Mapping[object, SSAValue] | None = None


class _Resolution:
    """One map, its views, and what is read and written through it."""

    def __init__(self, map_op: MapOp):
        self.op = map_op
        functor = functor_of(map_op, map_op)
        self.declaration = functor.declaration
        self.functor: Functor = functor.functor
        self.arithmetic = IndexArithmetic(Builder(InsertPoint.before(map_op)))

    def replace(self) -> None:
        """Raises `PassFailedException`, caused by a `MapError`, if the map cannot be right."""
        try:
            self._replace()
        except MapError as error:
            place = "" if self.op.text is None else f"in the map '{self.op.text.data}': "
            refused = refusal(self.op, f"{place}{error}")
            raise refused from MapError(str(refused))

    def _replace(self) -> None:
        users = dict.fromkeys(use.operation for use in self.op.mapping.uses)
        if users:
            self._resolve()
            for user in users:
                match user:
                    case TensorOp():
                        self._allocate(user)
                    case GatherOp() | ScatterOp():
                        self._copy(user)
                    case CheckOfInputs():
                        self._check_points(user)
                    case _:
                        a = self.arithmetic.within(Builder(InsertPoint.before(user)))
                        self._free(self._checked_copies(a), a)
                        Rewriter.erase_op(user)
        Rewriter.erase_op(self.op)

    def _resolve(self) -> None:
        """Check the map and make its views, one per slice."""
        op, a = self.op, self.arithmetic
        self.memory = [_Memory(array, *metadata(array, a)) for array in op.arrays]
        shapes = [memory.sizes for memory in self.memory]
        params = dict(zip(self.functor.used_params, map(a.number, op.params), strict=True))
        targets = bind(op.trees, op.array_names, shapes, map(a.number, op.bounds), a)
        mapped = [resolve(self.functor, targets, params, way, a) for way in op.directions][-1]
        self._check_ranges(mapped.shape)
        self.mapped = mapped
        self.accesses = accesses(op.trees, len(mapped.views))
        self.trusted = not op.index_arrays or op.unchecked is not None
        self.views = self._views(a, _Indices()) if self.trusted else []
        self.firsts = [a.value(view.first) for view in mapped.views]

    def _views(self, a: IndexArithmetic, indices: _Indices) -> list[SSAValue]:
        views = zip(self.mapped.views, self.accesses, strict=True)
        return [self._wrap(view, access, self.memory[access.array], a, indices) for view, access in views]

    def _wrap(
        self, view: View[Poly], access: Access, memory: _Memory, a: IndexArithmetic, indices: _Indices
    ) -> SSAValue:
        """The view over the memory of an array."""
        strides = [memory.strides[m] for m, _ in access.direct]
        offset, steps = view.strided(strides, a, [d for _, d in access.direct])
        indexed = [m for m, _ in access.indirect]
        rows = reinterpret_cast(
            memory.array,
            a.add(memory.offset, offset),
            [*view.sizes, *(memory.sizes[m] for m in indexed)],
            [*steps, *(memory.strides[m] for m in indexed)],
            a,
        )
        if not indexed:
            return rows
        read = [self._indices(view, inner, a, indices) for _, inner in access.indirect]
        indirect = a.builder.insert(IndirectOp(rows, read, indices.watch)).view
        indirect.name_hint = memory.array.name_hint
        return indirect

    def _indices(self, view: View[Poly], access: Access, a: IndexArithmetic, indices: _Indices) -> SSAValue:
        """The view of the indices by which `view` finds its elements: of the index array, or of the copy of it."""
        if indices.copies is None:
            return self._wrap(view, access, self.memory[access.array], a, indices)
        moved = view.moving(access.target_dims, a)
        dims = view.moving_dims(access.target_dims, a)
        strides = [a.constant(0)] * len(view.sizes)
        for d, stride in zip(reversed(dims), reversed(packed_strides(moved.sizes, a)), strict=False):
            strides[d] = stride
        return reinterpret_cast(indices.copies[self._use(moved, access)], a.constant(0), view.sizes, strides, a)

    def _allocate(self, op: TensorOp) -> None:
        """Allocate a dense tensor, which is freed at the end of its block."""
        tensor_type = op.tensor.type
        sizes = [
            self.arithmetic.value(size)
            for size, known in zip(self.mapped.shape, tensor_type.get_shape(), strict=True)
            if known == DYNAMIC_INDEX
        ]
        alloc = memref.AllocOp(sizes, [], tensor_type)
        if op.fresh is None:
            alloc.attributes[MAY_ALIAS] = UnitAttr()
        block = op.parent_block()
        if block is None:
            raise refusal(op, "expected hpacml.tensor in a block")
        last = block.last_op
        terminated = last is not None and last.has_trait(IsTerminator)
        end = InsertPoint.before(last) if terminated and last is not None else InsertPoint.at_end(block)
        for user in (use.operation for use in op.tensor.uses):
            inside = block.find_ancestor_op_in_block(user)
            if inside is None or (terminated and inside is last):
                why = (
                    f"{user.name} takes the tensor out of its block, which frees it at its end: copy it to other memory"
                )
                raise refusal(op, why)
        Rewriter.insert_op(located(memref.DeallocOp.get(alloc), op), end)
        alloc.memref.name_hint = op.tensor.name_hint
        Rewriter.replace_op(op, alloc)

    def _copy(self, op: GatherOp | ScatterOp) -> None:
        a = self.arithmetic.within(Builder(InsertPoint.before(op)))
        if self.trusted:
            self._pack(op, self.views, a)
        elif self.op.direction.data == Direction.To:
            watch = a.builder.insert(WatchOp()).watch
            self._pack(op, self._views(a, _Indices(watch)), a)
            self._stop_unless(a.builder.insert(NoneBadOp(watch)).none, a, self.op.arrays, "indices")
        else:
            copies = self._checked_copies(a)
            self._pack(op, self._views(a, _Indices(copies=copies)), a)
            self._free(copies, a)
        Rewriter.erase_op(op)

    def _pack(self, op: GatherOp | ScatterOp, views: Sequence[SSAValue], a: IndexArithmetic) -> None:
        features = self.functor.feature_dims
        for view, first in zip(views, self.firsts, strict=True):
            if isinstance(op, GatherOp):
                a.builder.insert(PackOp(view, op.tensor, first, features))
            else:
                a.builder.insert(UnpackOp(view, op.tensor, first, features, op.add))

    def _check_points(self, op: CheckOfInputs) -> None:
        """Have a check read the views, whose features, one view after the other, are those of the mapping."""
        if not self.trusted:
            raise refusal(op, f"{op.name} reads a map with indices, which a gather checks: give it the gathered tensor")
        sweep = len(self.mapped.shape) - len(self.functor.feature_dims)
        tensors: list[SSAValue] = []
        features: list[Sequence[int]] = []
        for tensor, own in zip(op.tensors, op.features_of_each, strict=True):
            is_mapped = tensor is self.op.mapping
            tensors += self.views if is_mapped else [tensor]
            features += [range(sweep, view_type(v).get_num_dims()) for v in self.views] if is_mapped else [own]
        Rewriter.replace_op(op, op.of(tensors, features))

    def _free(self, copies: Mapping[object, SSAValue], a: IndexArithmetic) -> None:
        for copy in copies.values():
            a.builder.insert(memref.DeallocOp.get(copy))

    # -- checks ----------------------------------------------------------------------------------

    def _check_ranges(self, shape: Sequence[Poly]) -> None:
        op, a = self.op, self.arithmetic
        # Within these limits no arithmetic can wrap, nor the size of the tensor; beyond them the exact check decides.
        limit = Poly.constant(1 << self.functor.safe_bits)
        for number in map(a.number, [*op.bounds, *op.params]):
            a.conditions += [a.le(number, limit), a.le(-limit, number)]
        sizes = [size for size in shape if size.as_int is None]
        bits = max(0, 59 - prod(size.as_int or 1 for size in shape).bit_length()) // max(1, len(sizes))
        if bits <= self.functor.safe_bits:  # a size is the difference of two numbers
            a.conditions += [a.le(size, Poly.constant(1 << bits)) for size in sizes]
        apart = True if op.index_arrays else self._apart(a)
        fits = a.all([*a.conditions, apart])
        if fits is not True:
            self._stop_unless(a.truth(fits), a, () if apart is True else op.arrays)

    def _apart(self, a: IndexArithmetic) -> Condition:
        """Whether the layouts alone show that the elements written share no memory with each other or with indices."""
        if self.op.direction.data == Direction.To:
            return True
        op = self.op
        if {op.arrays[n] for n in op.holding_elements} & {op.arrays[n] for n in op.index_arrays}:
            return False
        memory = list({m.array: m for m in self.memory}.values())
        written = list({m.array: m for m in (self.memory[n] for n in op.holding_elements)}.values())
        found = [different_elements(m.array, m.sizes, m.strides, a) for m in written]
        ranges = {m.array: address_range(m.array, m.offset, m.sizes, m.strides, a) for m in memory if len(memory) > 1}
        for one, other in combinations(memory, 2):
            if one in written or other in written:
                found.append(apart(ranges[one.array], ranges[other.array], a))
        return a.all(found)

    def _checked_copies(self, a: IndexArithmetic) -> dict[object, SSAValue]:
        """Copies of the indices of a map that is written through. They lie inside, and lead to different elements."""
        op = self.op
        if self.trusted:
            return {}
        writes = op.direction.data != Direction.To
        if writes and (room := self._room(a)) is not True:
            self._stop_unless(a.truth(room), a, op.arrays)  # first, since what follows takes a time for each element
        copies = self._copies_inside(a)
        if writes:
            if (apart := self._apart(a)) is not True:
                self._stop_unless(a.truth(apart), a, op.arrays, "sharing")
            for different in self._distinct(a, _Indices(copies=copies)):
                self._stop_unless(different, a, op.arrays, "indices")
        return copies

    def _copies_inside(self, a: IndexArithmetic) -> dict[object, SSAValue]:
        """Copies of the indices, by their use. They are checked in an order in which each is checked before it is used.

        An index array that several slices read is checked once, against the smallest array that it indexes.
        """
        found: dict[object, tuple[View[Poly], Access, Poly]] = {}

        def collect(view: View[Poly], access: Access) -> None:
            for m, inner in access.indirect:
                moved = view.moving(inner.target_dims, a)
                collect(moved, inner)
                use = self._use(moved, inner)
                size = self.memory[access.array].sizes[m]
                smallest = size if use not in found else minimum(size, found[use][2], a)
                found[use] = moved, inner, smallest

        for view, access in zip(self.mapped.views, self.accesses, strict=True):
            collect(view, access)
        copies: dict[object, SSAValue] = {}
        for use, (view, access, size) in found.items():
            array = self.memory[access.array].array
            index = self._wrap(view, access, self.memory[access.array], a, _Indices(copies=copies))
            copies[use] = self._memory_of(view.sizes, cast(MemRefType, array.type).element_type, a)
            copies[use].name_hint = array.name_hint
            inside = a.builder.insert(InBoundsOp(index, a.value(size), copies[use])).inside
            self._stop_unless(inside, a, self.op.arrays, "indices")
        return copies

    def _use(self, view: View[Poly], access: Access) -> object:
        """What tells indices apart: the arrays, and which of their elements are read."""

        def key(access: Access) -> object:
            return self.op.arrays[access.array], tuple(key(d) if isinstance(d, Access) else d for d in access.dims)

        base, steps = ([rows[d] for d in access.target_dims] for rows in (view.base, view.steps))
        return key(access), view.sizes, tuple(base), tuple(steps)

    def _room(self, a: IndexArithmetic) -> Condition:
        """Whether no array gets more elements than it has: if one does, some are written twice."""
        one = a.constant(1)
        return a.all(
            [
                a.le(
                    reduce(a.add, (reduce(a.mul, view.sizes, one) for view, _ in views)),
                    reduce(a.mul, self.memory[views[0][1].array].sizes, one),
                )
                for views in self._written_indirectly()
            ]
        )

    def _distinct(self, a: IndexArithmetic, indices: _Indices) -> Iterator[SSAValue]:
        """The conditions that no element is written twice, for each array with an indirect target."""
        for views in self._written_indirectly():
            marks = self._marks(self.memory[views[0][1].array].sizes, a)
            distinct = DistinctOp([self._wrap(view, access, marks, a, indices) for view, access in views], marks.array)
            a.builder.insert(distinct)
            a.builder.insert(memref.DeallocOp.get(marks.array))
            yield distinct.different

    def _written_indirectly(self) -> list[list[tuple[View[Poly], Access]]]:
        """The views of each array that has an indirect target."""
        written: dict[SSAValue, list[tuple[View[Poly], Access]]] = {}
        for view, access in zip(self.mapped.views, self.accesses, strict=True):
            written.setdefault(self.op.arrays[access.array], []).append((view, access))
        return [views for views in written.values() if any(access.indirect for _, access in views)]

    def _marks(self, sizes: Sequence[Poly], a: IndexArithmetic) -> _Memory:
        """Allocate a byte for each element of an array, without filling it, so that untouched elements cost nothing."""
        marks = self._memory_of([reduce(a.mul, sizes, a.constant(1))], i8, a)
        marks.name_hint = "marks"
        return _Memory(marks, a.constant(0), sizes, packed_strides(sizes, a))

    def _memory_of(self, sizes: Sequence[Poly], element_type: Attribute, a: IndexArithmetic) -> SSAValue:
        shape = [DYNAMIC_INDEX if size.as_int is None else size.as_int for size in sizes]
        dynamic = [a.value(size) for size in sizes if size.as_int is None]
        return a.builder.insert(memref.AllocOp(dynamic, [], MemRefType(element_type, shape))).memref

    def _stop_unless(
        self,
        fits: SSAValue,
        a: IndexArithmetic,
        arrays: Sequence[SSAValue],
        doubt: Literal["sharing", "indices"] | None = None,
    ) -> None:
        op = self.op
        check = CheckMapOp.build(
            operands=[
                fits,
                [a.value(size) for memory in self.memory for size in memory.sizes],
                op.bounds,
                op.params,
                arrays,
            ],
            properties={
                "direction": op.direction,
                "functor": StringAttr(self.declaration),
                "parameters": ArrayAttr([StringAttr(p) for p in self.functor.used_params]),
                "names": ArrayAttr([StringAttr(name) for name in op.array_names]),
                "targets": op.targets,
                **({} if doubt is None else {doubt: UnitAttr()}),
                "text": op.text,
            },
        )
        a.builder.insert(check)
