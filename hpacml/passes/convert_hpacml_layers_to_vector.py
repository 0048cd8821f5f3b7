"""`convert-hpacml-layers-to-vector`: layers on tiles become arithmetic on vectors of points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, memref, vector
from xdsl.dialects.builtin import AnyFloat, MemRefType, ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dialects.hpacml.networks import LayerOp
from hpacml.dtypes import SIZES
from hpacml.networks.architecture import blocks, stages, total
from hpacml.passes.common.layer_functions import applied, carry, functions_of, loop, plus, times
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.vectors import Vectors

TOGETHER = 2
"""The vectors of points that are computed at once: enough independent sums to keep two units busy."""


@dataclass(frozen=True)
class ConvertHpacmlLayersToVectorPass(ModulePass):
    """
    A linear layer becomes loops over blocks of outputs and of points, whose sums stay in registers.

    ```mlir
    hpacml.layer ["linear(5, 64)", "relu"] points %n weights(%w : ...) ins(%x : memref<5x128xf32>) outs(%h : ...)
    ```
    becomes
    ```mlir
    scf.for %block = 0 to 8 step 1 {
      scf.for %p = 0 to %n step 32 {
        %sums:16 = scf.for %i = 0 to 5 step 1 iter_args(%s = ...) {  // begins with biases
          ...
          vector.fma %weight, %points, %s : vector<16xf32>
        }
        ...
        vector.store %result, %h[%o, %p]
      }
    }
    ```
    `rows` outputs are computed at once, on vectors of `bytes`: a processor needs registers for twice as many sums.
    It is in no pipeline of regions: it comes behind `hpacml-tile-networks`.
    """

    name = "convert-hpacml-layers-to-vector"

    bytes: int = 32
    rows: int = 4

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for layer in [each for each in op.walk() if isinstance(each, LayerOp)]:
            _Lowering(layer, self.bytes, self.rows).replace()


class _Lowering:
    def __init__(self, op: LayerOp, bytes: int, rows: int):
        self.op, self.rows = op, rows
        source = cast(MemRefType, op.source.type)
        self.element = cast(AnyFloat, source.element_type)
        self.inputs = source.get_shape()[0]
        self.lanes = bytes // SIZES[dtype_name(self.element)]
        (self.stage,) = stages(op.parsed(), self.inputs)
        weights = iter(op.weights)
        self.matrix = next(weights) if self.stage.first else None
        self.functions = functions_of(self.stage, weights, op.sums)

    def replace(self) -> None:
        builder = Builder(InsertPoint.before(self.op))
        if self.matrix is None:
            self._each_feature(builder)
        else:
            self._blocks(self.matrix, builder)
        Rewriter.erase_op(self.op)

    def _points(self, builder: Builder, body: Callable[[Sequence[SSAValue], Vectors], None]) -> None:
        """Build a loop over the points, in which `body` gets the first point of each vector."""

        def block(first: SSAValue, inner: Builder) -> None:
            places = [plus(first, number * self.lanes, inner) for number in range(TOGETHER)]
            body(places, Vectors(self.element, self.lanes, inner))

        loop(self.op.points, TOGETHER * self.lanes, builder, block)

    # -- functions of each feature -------------------------------------------------------------------

    def _each_feature(self, builder: Builder) -> None:
        def feature(number: SSAValue, inner: Builder) -> None:
            def points(places: Sequence[SSAValue], v: Vectors) -> None:
                for place in places:
                    x = v.builder.insert(vector.LoadOp(self.op.source, [number, place], v.type)).result
                    self._finish(x, number, place, v)

            self._points(inner, points)

        loop(builder.index(self.inputs), 1, builder, feature)

    def _finish(self, x: SSAValue, feature: SSAValue, place: SSAValue, v: Vectors) -> None:
        """Apply the functions of the stage to the points of a feature, and store the results."""

        def load(tile: SSAValue) -> SSAValue:
            return v.builder.insert(vector.LoadOp(tile, [feature, place], v.type)).result

        x = applied(self.functions, x, feature, load, v)
        v.builder.insert(vector.StoreOp(x, self.op.target, [feature, place]))

    # -- linear layers -------------------------------------------------------------------------------

    def _blocks(self, weights: SSAValue, builder: Builder) -> None:
        """Build the blocks of outputs: one loop over those of full size, and the last one, which may be smaller."""
        outputs = total(self.stage.outputs)
        found = blocks(outputs, self.rows)
        whole = sum(count == self.rows for _, count in found)
        if whole:

            def block(number: SSAValue, inner: Builder) -> None:
                self._block(weights, times(number, self.rows, inner), self.rows, inner)

            loop(builder.index(whole), 1, builder, block)
        for first, count in found[whole:]:
            self._block(weights, builder.index(first), count, builder)

    def _block(self, weights: SSAValue, first: SSAValue, count: int, builder: Builder) -> None:
        """Build `count` outputs from `first` on, for all points."""
        start = plus(times(first, self.inputs, builder), total(self.stage.outputs), builder)
        outputs = [plus(first, row, builder) for row in range(count)]

        def points(places: Sequence[SSAValue], v: Vectors) -> None:
            biases = [v.splat(v.builder.insert(memref.LoadOp.get(weights, [output])).res) for output in outputs]

            def over_inputs(i: SSAValue, carried: Sequence[SSAValue], b: Builder) -> Sequence[SSAValue]:
                w = Vectors(self.element, self.lanes, b)
                xs = [b.insert(vector.LoadOp(self.op.source, [i, place], w.type)).result for place in places]
                row = b.insert(arith.AddiOp(start, times(i, count, b))).result
                products: list[SSAValue] = []
                for output in range(count):
                    weight = w.splat(b.insert(memref.LoadOp.get(weights, [plus(row, output, b)])).res)
                    products += [w.fma(weight, x, carried[len(products) + n]) for n, x in enumerate(xs)]
                return products

            sums = carry(self.inputs, [bias for bias in biases for _ in places], v.builder, over_inputs)
            for (output, place), value in zip(product(outputs, places), sums, strict=True):
                self._finish(value, output, place, v)

        self._points(builder, points)
