"""`hpacml-tile-networks`: a network runs tile by tile, so that neither its input nor its activations are in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AnyFloat,
    IndexType,
    MemRefType,
    ModuleOp,
    StridedLayoutAttr,
    f64,
)
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dialects.hpacml.networks import LayerOp, NetworkOp
from hpacml.dialects.hpacml.packing import FusedGatherOp, FusedScatterOp, IndirectOp, view_type
from hpacml.dtypes import SIZES
from hpacml.networks.architecture import gives_f64, stages, total
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter, refusal
from hpacml.passes.common.subviews import allocated, subview
from hpacml.passes.common.sweeps import size_of


@dataclass(frozen=True)
class HpacmlTileNetworksPass(ModulePass):
    """
    A network becomes loops over tiles of its sweep: gather into a tile, a layer after the other, scatter.

    ```mlir
    hpacml.network ["linear(2, 8)", "tanh", "linear(8, 1)"] of f32 sweep 1 weights(%w1, %w2 : ...)
      ins(%west, %east : ...) outs(%centre : ...)
    ```
    becomes
    ```mlir
    scf.for %i = 0 to %n step 128 {
      hpacml.fused_gather %west_i, %east_i into %x ...               // memref<2x128xf32>, points innermost
      hpacml.layer ["linear(2, 8)", "tanh"] points %count weights(%w1 : ...) ins(%x : ...) outs(%h : ...)
      hpacml.layer ["linear(8, 1)"] points %count weights(%w2 : ...) ins(%h : ...) outs(%y : ...)
      hpacml.fused_scatter %centre_i from %y ...
    }
    ```
    A tile has points for `bytes` of each feature, which are neighbours in the last dimension of the sweep.
    It is in no pipeline of regions: the runtime makes code of networks when it has met the model.
    """

    name = "hpacml-tile-networks"

    bytes: int = 512

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for network in [each for each in op.walk() if isinstance(each, NetworkOp) and each.image is None]:
            _Tiling(network, self.bytes).replace()


class _Tiling:
    """A network, and the loops that take its place."""

    def __init__(self, op: NetworkOp, bytes: int):
        self.op = op
        self.element = cast(AnyFloat, op.element)
        self.points = bytes // SIZES[dtype_name(self.element)]
        self.inputs = sum(map(op.features, op.inputs))
        self.stages = stages(op.parsed(), self.inputs)

    def replace(self) -> None:
        op = self.op
        builder = Builder(InsertPoint.before(op))
        a = IndexArithmetic(builder)
        widths = [self.inputs, *(total(stage.outputs) for stage in self.stages)]
        elements = [self.element] * len(widths)
        if gives_f64(op.parsed()):
            elements[-1] = f64
        tiles = [
            allocated(MemRefType(*each), builder)
            for each in zip(elements, ([width, self.points] for width in widths), strict=True)
        ]
        sizes = [a.value(size_of(op.inputs[0], d, a)) for d in range(op.rank)]
        self._loop(sizes, [], tiles, builder)
        for tile in tiles:
            builder.insert(memref.DeallocOp.get(tile))
        Rewriter.erase_op(op)

    def _loop(
        self, sizes: Sequence[SSAValue], place: Sequence[SSAValue], tiles: Sequence[SSAValue], builder: Builder
    ) -> None:
        """Build loops over the dimensions of the sweep that are left, the last one in steps of a tile."""
        is_last = len(sizes) == 1
        zero, step = builder.index(0), builder.index(self.points if is_last else 1)
        block = Block(arg_types=[IndexType()])
        builder.insert(scf.ForOp(zero, sizes[0], step, [], Region(block)))
        inner, here = Builder(InsertPoint.at_end(block), self.op), [*place, block.args[0]]
        if is_last:
            left = inner.insert(arith.SubiOp(sizes[0], block.args[0])).result
            self._one(here, inner.insert(arith.MinSIOp(left, step)).result, tiles, inner)
        else:
            self._loop(sizes[1:], here, tiles, inner)
        inner.insert(scf.YieldOp())

    def _one(self, place: Sequence[SSAValue], count: SSAValue, tiles: Sequence[SSAValue], builder: Builder) -> None:
        op = self.op
        self._copy(FusedGatherOp, op.inputs, place, count, tiles[0], builder)
        weights = iter(op.weights)
        for stage, source, target in zip(self.stages, tiles, tiles[1:], strict=False):
            taken = [next(weights) for layer in stage.layers if layer.parameters]
            added = [tiles[number] for number in stage.sums]
            builder.insert(LayerOp(stage.layers, count, taken, added, source, target))
        self._copy(FusedScatterOp, op.outputs, place, count, tiles[-1], builder)

    def _copy(
        self,
        kind: type[FusedGatherOp] | type[FusedScatterOp],
        views: Sequence[SSAValue],
        place: Sequence[SSAValue],
        count: SSAValue,
        tile: SSAValue,
        builder: Builder,
    ) -> None:
        """Copy between views and a tile, seen as a tensor whose dimensions are points and features."""
        tile_type = cast(MemRefType, tile.type)
        features = tile_type.get_shape()[0]
        layout = StridedLayoutAttr([1, self.points], None)
        tensor_type = MemRefType(tile_type.element_type, [DYNAMIC_INDEX, features], layout)
        zero = builder.index(0)
        tensor = memref.ReinterpretCastOp.from_dynamic(tile, [zero], [count, features], [1, self.points], tensor_type)
        firsts = [0]
        for view in views:
            firsts.append(firsts[-1] + self.op.features(view))
        parts = [_part(view, place, count, builder) for view in views]
        numbers = [builder.index(first) for first in firsts[:-1]]
        builder.insert(kind(parts, builder.insert(tensor).result, numbers, [1]))


def _part(view: SSAValue, place: Sequence[SSAValue], count: SSAValue, builder: Builder) -> SSAValue:
    """The points of a view from `place` on in the last dimension of the sweep."""
    if isinstance(view.owner, IndirectOp):
        of = view.owner
        rows = _part(of.rows, place, count, builder)
        indices = [_part(index, place, count, builder) for index in of.indices]
        return builder.insert(IndirectOp(rows, indices, of.watch)).view
    memory = view_type(view)
    if not isinstance(memory, MemRefType):
        raise refusal(view.owner, f"a view of type {memory} must come from hpacml.indirect")
    shape = memory.get_shape()
    rest = [
        builder.insert(memref.DimOp(view, builder.index(d))).result if shape[d] == DYNAMIC_INDEX else shape[d]
        for d in range(len(place), len(shape))
    ]
    offsets: list[SSAValue | int] = [*place, *[0] * len(rest)]
    return subview(view, offsets, [*[1] * (len(place) - 1), count, *rest], len(place) - 1, builder)
