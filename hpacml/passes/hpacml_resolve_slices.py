"""`hpacml-resolve-slices`: maps become strided views, gathers and scatters become packing and unpacking them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import memref
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    ModuleOp,
    StringAttr,
    UnitAttr,
)
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import IsTerminator, SymbolTable
from xdsl.utils.exceptions import PassFailedException

from hpacml.affine import Poly
from hpacml.dialects.hpacml.bridge import FunctorOp, GatherOp, MapOp, ScatterOp, TensorOp
from hpacml.dialects.hpacml.control import CheckMapOp
from hpacml.dialects.hpacml.views import PackOp, UnpackOp
from hpacml.errors import MapError
from hpacml.functors import Functor, Mapped, View
from hpacml.passes.index_arithmetic import IndexArithmetic
from hpacml.passes.strided import metadata, reinterpret_cast
from hpacml.targets import bind

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
    hpacml.check_map %fits to "f: [i, 0:2] = ([i - 1], [i + 1])" ...
    %west = memref.reinterpret_cast %t to offset: [0], sizes: [%extent], strides: [1]
    %east = memref.reinterpret_cast %t to offset: [2], sizes: [%extent], strides: [1]
    %x = memref.alloc(%extent) : memref<?x2xf32>
    hpacml.pack %west into %x at %c0 features [1]
    hpacml.pack %east into %x at %c1 features [1]
    ...
    memref.dealloc %x
    ```
    """

    name = "hpacml-resolve-slices"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        maps = [map_op for map_op in op.walk() if isinstance(map_op, MapOp)]
        for map_op in maps:
            users = [use.operation for use in map_op.mapping.uses]
            if all(isinstance(user, TensorOp | GatherOp | ScatterOp) for user in users):
                _Resolution(map_op).replace()
        used = {map_op.functor.root_reference.data for map_op in op.walk() if isinstance(map_op, MapOp)}
        for functor in [o for o in op.walk() if isinstance(o, FunctorOp)]:
            if functor.sym_name.data not in used:
                Rewriter.erase_op(functor)


class _Resolution:
    """One map, its views, and what is read and written through it."""

    def __init__(self, map_op: MapOp):
        self.map_op = map_op
        functor = SymbolTable.lookup_symbol(map_op, map_op.functor)
        if not isinstance(functor, FunctorOp):
            raise PassFailedException(f"{map_op.functor} is not an hpacml.functor")
        self.declaration = functor.declaration
        self.functor: Functor = functor.functor
        self.arithmetic = IndexArithmetic(Builder(InsertPoint.before(map_op)))

    def replace(self) -> None:
        op = self.map_op
        users = [use.operation for use in op.mapping.uses]
        if users:
            mapped, views = self._views()
            firsts = [self.arithmetic.value(view.first) for view in mapped.views]
            for user in users:
                if isinstance(user, TensorOp):
                    self._allocate(user, mapped)
                elif isinstance(user, GatherOp | ScatterOp):
                    copy = PackOp if isinstance(user, GatherOp) else UnpackOp
                    packs = [
                        copy(view, user.tensor, first, self.functor.feature_dims)
                        for view, first in zip(views, firsts, strict=True)
                    ]
                    Rewriter.replace_op(user, packs, [])
        Rewriter.erase_op(op)

    def _views(self) -> tuple[Mapped[Poly], list[SSAValue]]:
        """Check the map and make its views, one per slice."""
        op, a = self.map_op, self.arithmetic
        memory = [metadata(array, a) for array in op.arrays]
        shapes = [sizes for _, sizes, _ in memory]
        params = dict(zip(self.functor.used_params, map(a.number, op.params), strict=True))
        try:
            targets = bind([target.data for target in op.targets], op.array_names, shapes, map(a.number, op.bounds), a)
            mapped = [self.functor.resolve(targets, params, direction, a) for direction in op.directions][-1]
        except MapError as error:
            raise PassFailedException(str(error)) from error
        self._check([size for sizes in shapes for size in sizes])
        if len(targets) == 1:
            memory = memory * len(mapped.views)
        arrays = list(op.arrays) if len(targets) > 1 else [op.arrays[0]] * len(mapped.views)
        return mapped, [
            self._wrap(array, view, offset, strides)
            for array, view, (offset, _, strides) in zip(arrays, mapped.views, memory, strict=True)
        ]

    def _check(self, sizes: Sequence[Poly]) -> None:
        op, a = self.map_op, self.arithmetic
        # Within these limits the guard's own arithmetic cannot wrap; beyond them the exact check decides.
        limit = Poly.constant(1 << 60 // (self.functor.degree + 2))
        for number in map(a.number, [*op.bounds, *op.params]):
            a.conditions += [a.le(number, limit), a.le(-limit, number)]
        fits = a.all(a.conditions)
        if fits is not True:
            check = CheckMapOp.build(
                operands=[a.truth(fits), [a.value(size) for size in sizes], op.bounds, op.params],
                properties={
                    "direction": op.direction,
                    "functor": StringAttr(self.declaration),
                    "parameters": ArrayAttr([StringAttr(p) for p in self.functor.used_params]),
                    "names": ArrayAttr([StringAttr(name) for name in op.array_names]),
                    "targets": op.targets,
                    "text": op.text,
                },
            )
            a.builder.insert(check)

    def _wrap(self, array: SSAValue, view: View[Poly], base: Poly, memory_strides: Sequence[Poly]) -> SSAValue:
        """The view as a memref over the array's memory."""
        a = self.arithmetic
        offset, strides = view.strided(memory_strides, a)
        offset = a.add(base, offset)
        return reinterpret_cast(array, offset, view.sizes, strides, a)

    def _allocate(self, op: TensorOp, mapped: Mapped[Poly]) -> None:
        """Memory for a dense tensor, which lives to the end of its block."""
        tensor_type = op.tensor.type
        sizes = [
            self.arithmetic.value(size)
            for size, known in zip(mapped.shape, tensor_type.get_shape(), strict=True)
            if known == DYNAMIC_INDEX
        ]
        alloc = memref.AllocOp(sizes, [], tensor_type)
        if op.fresh is None:
            alloc.attributes[MAY_ALIAS] = UnitAttr()
        block = op.parent_block()
        if block is None:
            raise PassFailedException("expected hpacml.tensor in a block")
        last = block.last_op
        terminated = last is not None and last.has_trait(IsTerminator)
        end = InsertPoint.before(last) if terminated and last is not None else InsertPoint.at_end(block)
        Rewriter.insert_op(memref.DeallocOp.get(alloc), end)
        alloc.memref.name_hint = op.tensor.name_hint
        Rewriter.replace_op(op, alloc)
