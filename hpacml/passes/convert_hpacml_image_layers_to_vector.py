"""`convert-hpacml-image-layers-to-vector`: layers on images become arithmetic on vectors of columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, cast

from xdsl.context import Context
from xdsl.dialects import arith, memref, vector
from xdsl.dialects.builtin import (
    AnyFloat,
    DenseIntOrFPElementsAttr,
    MemRefType,
    ModuleOp,
    VectorType,
    i1,
)
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dialects.hpacml.networks import ImageLayerOp
from hpacml.dtypes import SIZES
from hpacml.networks.architecture import blocks, stages
from hpacml.networks.images import Convolution, Pool, Window
from hpacml.passes.common.layer_functions import applied, carry, functions_of, loop, plus, times
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.subviews import allocated
from hpacml.passes.common.vectors import Vectors


@dataclass(frozen=True)
class ConvertHpacmlImageLayersToVectorPass(ModulePass):
    """
    A convolution becomes loops over blocks of its outputs, over rows and over columns, whose sums stay in registers.

    ```mlir
    hpacml.image_layer ["conv(4, 8, 3x3)", "relu"] weights(%w : ...) ins(%x : memref<4x52x102xf32>) outs(%y : ...)
    ```
    becomes
    ```mlir
    scf.for %block = 0 to 2 step 1 {
      scf.for %row = 0 to 50 step 1 {
        scf.for %column = 0 to 96 step 16 {
          %sums:8 = scf.for %i = 0 to 4 step 1 iter_args(%s = ...) {  // begins with biases
            scf.for %k = 0 to 3 step 1 iter_args(...) {
              ...                                                     // the columns of the window, one by one
              vector.fma %weight, %pixels, %s : vector<8xf32>
          ...
          vector.store %result, %y[%o, %row, %column]
    ```
    The last columns of a row are masked. Where windows are some columns apart, the columns of the source are sorted
    first, by what is left when they are divided by that, so that those of neighbouring windows are neighbours.
    `rows` outputs are computed at once, on vectors of `bytes`: a processor needs registers for twice as many sums.
    It is in no pipeline of regions: it comes behind `hpacml-tile-images`.
    """

    name = "convert-hpacml-image-layers-to-vector"

    bytes: int = 32
    rows: int = 4

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for layer in [each for each in op.walk() if isinstance(each, ImageLayerOp)]:
            _Lowering(layer, self.bytes, self.rows).replace()


class Columns(NamedTuple):
    """Columns of a row that are in one vector: the first, and how many there are."""

    first: SSAValue
    number: int


class _Lowering:
    def __init__(self, op: ImageLayerOp, bytes: int, rows: int):
        self.op, self.rows = op, rows
        self.element = cast(AnyFloat, cast(MemRefType, op.source.type).element_type)
        self.lanes = bytes // SIZES[dtype_name(self.element)]
        self.source, self.target = op.images
        (stage,) = stages(op.parsed(), self.source)
        self.layer = stage.first
        self.window = self.layer.window if isinstance(self.layer, Convolution | Pool) else Window((1, 1))
        weights = iter(op.weights)
        self.matrix = next(weights) if isinstance(self.layer, Convolution) else None
        self.functions = functions_of(stage, weights, op.sums)
        self.apart = self.window.stride[1] if self.target.width > 1 else 1
        """How many columns windows are apart."""

    def replace(self) -> None:
        builder = Builder(InsertPoint.before(self.op))
        self.pixels = self._sorted(builder) if self.apart > 1 else self.op.source
        if isinstance(self.layer, Convolution):
            self._groups(self.layer, builder)
        else:
            loop(builder.index(self.target.channels), 1, builder, self._channel)
        if self.apart > 1:
            builder.insert(memref.DeallocOp.get(self.pixels))
        Rewriter.erase_op(self.op)

    # -- memory --------------------------------------------------------------------------------------

    def _sorted(self, builder: Builder) -> SSAValue:
        """A copy of the source, where column `q` of `r` is column `apart * q + r`, of those that windows take.

        What a row has of a `q` is copied together, which LLVM makes loads of vectors and shuffles of.
        """
        source, apart = self.source, self.apart
        whole, left = divmod(source.width, apart)
        type = MemRefType(self.element, [source.channels, source.height, apart, whole + bool(left)])
        memory = allocated(type, builder)
        taken = sorted({tap % apart for tap in self._taps})

        def row(place: Sequence[SSAValue], inner: Builder) -> None:
            def columns(q: SSAValue, count: int, inmost: Builder) -> None:
                x = times(q, apart, inmost)
                for r in [r for r in taken if r < count]:
                    pixel = inmost.insert(memref.LoadOp.get(self.op.source, [*place, plus(x, r, inmost)])).res
                    inmost.insert(memref.StoreOp.get(pixel, memory, [*place, inmost.index(r), q]))

            loop(inner.index(whole), 1, inner, lambda q, inmost: columns(q, apart, inmost))
            if left:
                columns(inner.index(whole), left, inner)

        nest([source.channels, source.height], builder, row)
        return memory

    def _load(self, c: SSAValue, y: SSAValue, columns: Columns, tap: int, v: Vectors) -> SSAValue:
        """The pixels of windows at `columns` that are `tap` columns from their first ones, in row `y` of the source."""
        b = v.builder
        far, near = divmod(tap, self.apart)
        place = [c, y, *([b.index(near)] if self.apart > 1 else []), plus(columns.first, far, b)]
        return self._vector(self.pixels, place, columns, v)

    def _vector(self, memory: SSAValue, place: Sequence[SSAValue], columns: Columns, v: Vectors) -> SSAValue:
        if columns.number == self.lanes:
            return v.builder.insert(vector.LoadOp(memory, place, v.type)).result
        mask = self._mask(columns, v.builder)
        return v.builder.insert(vector.MaskedLoadOp(memory, place, mask, v.constant(0.0))).result

    def _finish(self, x: SSAValue, c: SSAValue, y: SSAValue, columns: Columns, v: Vectors) -> None:
        """Apply the functions of the stage, and store the results."""
        place = [c, y, columns.first]
        x = applied(self.functions, x, c, lambda image: self._vector(image, place, columns, v), v)
        if columns.number == self.lanes:
            v.builder.insert(vector.StoreOp(x, self.op.target, place))
        else:
            v.builder.insert(vector.MaskedStoreOp(self.op.target, place, self._mask(columns, v.builder), x))

    def _mask(self, columns: Columns, builder: Builder) -> SSAValue:
        lanes = [number < columns.number for number in range(self.lanes)]
        mask = DenseIntOrFPElementsAttr.from_list(VectorType(i1, [self.lanes]), lanes)
        return builder.insert(arith.ConstantOp(mask)).result

    def _each(
        self, together: int, builder: Builder, body: Callable[[SSAValue, Sequence[Columns], Vectors], None]
    ) -> None:
        """Build loops over rows, and over columns, of which `body` gets some vectors at a time."""
        whole, left = divmod(self.target.width, self.lanes)
        step = together * self.lanes

        def row(y: SSAValue, inner: Builder) -> None:
            def columns(first: SSAValue, counts: Sequence[int], inmost: Builder) -> None:
                places = [Columns(plus(first, n * self.lanes, inmost), count) for n, count in enumerate(counts)]
                body(y, places, Vectors(self.element, self.lanes, inmost))

            if whole >= together:
                end = inner.index(whole // together * step)
                loop(end, step, inner, lambda first, inmost: columns(first, [self.lanes] * together, inmost))
            rest = [*[self.lanes] * (whole % together), *([left] if left else [])]
            begin = whole // together * step
            for n in range(0, len(rest), together):
                columns(inner.index(begin + n * self.lanes), rest[n : n + together], inner)

        loop(builder.index(self.target.height), 1, builder, row)

    def _row(self, y: SSAValue, k: SSAValue, builder: Builder) -> SSAValue:
        """The row of the source that is the `k`th in the windows of row `y`."""
        begin = times(y, self.window.stride[0], builder)
        return builder.insert(arith.AddiOp(begin, times(k, self.window.dilation[0], builder))).result

    # -- pools and functions -------------------------------------------------------------------------

    def _channel(self, c: SSAValue, builder: Builder) -> None:
        def columns(y: SSAValue, places: Sequence[Columns], v: Vectors) -> None:
            for value, place in zip(self._pooled(c, y, places, v), places, strict=True):
                self._finish(value, c, y, place, v)

        self._each(2 * self.rows, builder, columns)

    def _pooled(self, c: SSAValue, y: SSAValue, places: Sequence[Columns], v: Vectors) -> Sequence[SSAValue]:
        if not isinstance(self.layer, Pool):
            return [self._load(c, y, place, 0, v) for place in places]
        is_maximum = self.layer.kind == "max_pool"

        def row(k: SSAValue, carried: Sequence[SSAValue], inner: Builder) -> Sequence[SSAValue]:
            w, source_row = Vectors(self.element, self.lanes, inner), self._row(y, k, inner)
            for tap in self._taps:
                found = [self._load(c, source_row, place, tap, w) for place in places]
                both = zip(carried, found, strict=True)
                carried = [w.greater(*each) if is_maximum else w.add(*each) for each in both]
            return carried

        nothing = v.constant(-math.inf if is_maximum else 0.0)
        found = carry(self.window.size[0], [nothing] * len(places), v.builder, row)
        return found if is_maximum else [v.div(each, v.constant(self.window.count)) for each in found]

    @property
    def _taps(self) -> range:
        """The columns of a window, counted from its first one."""
        return range(0, self.window.dilation[1] * self.window.size[1], self.window.dilation[1])

    # -- convolutions --------------------------------------------------------------------------------

    def _groups(self, layer: Convolution, builder: Builder) -> None:
        """Build loops over groups and blocks of outputs: one over those of full size, and the last one."""
        outputs = layer.outputs // layer.groups
        found = blocks(outputs, self.rows)
        whole = sum(count == self.rows for _, count in found)

        def group(number: SSAValue, inner: Builder) -> None:
            channel = times(number, layer.inputs // layer.groups, inner)
            output = times(number, outputs, inner)
            if whole:

                def block(number: SSAValue, inmost: Builder) -> None:
                    first = inmost.insert(arith.AddiOp(output, times(number, self.rows, inmost))).result
                    self._block(layer, channel, first, self.rows, inmost)

                loop(inner.index(whole), 1, inner, block)
            for first, count in found[whole:]:
                self._block(layer, channel, plus(output, first, inner), count, inner)

        loop(builder.index(layer.groups), 1, builder, group)

    def _block(self, layer: Convolution, channel: SSAValue, first: SSAValue, count: int, builder: Builder) -> None:
        """Build `count` outputs from `first` on, which are sums over channels from `channel` on."""
        start = plus(times(first, layer.taps, builder), layer.outputs, builder)
        outputs = [plus(first, row, builder) for row in range(count)]
        height, width = self.window.size

        def columns(y: SSAValue, places: Sequence[Columns], v: Vectors) -> None:
            biases = [v.splat(self._weight(output, v.builder)) for output in outputs]

            def over_channels(c: SSAValue, carried: Sequence[SSAValue], b: Builder) -> Sequence[SSAValue]:
                source = b.insert(arith.AddiOp(channel, c)).result

                def over_rows(k: SSAValue, carried: Sequence[SSAValue], b: Builder) -> Sequence[SSAValue]:
                    w = Vectors(self.element, self.lanes, b)
                    row = self._row(y, k, b)
                    tap = b.insert(arith.AddiOp(times(c, height, b), k)).result
                    weights = b.insert(arith.AddiOp(start, times(tap, width * count, b))).result
                    for number, tap in enumerate(self._taps):
                        xs = [self._load(source, row, place, tap, w) for place in places]
                        own = [w.splat(self._weight(plus(weights, number * count + r, b), b)) for r in range(count)]
                        pairs = zip(product(own, xs), carried, strict=True)
                        carried = [w.fma(weight, x, sum) for (weight, x), sum in pairs]
                    return carried

                return carry(height, carried, b, over_rows)

            sums = [bias for bias in biases for _ in places]
            sums = carry(layer.inputs // layer.groups, sums, v.builder, over_channels)
            for (output, place), value in zip(product(outputs, places), sums, strict=True):
                self._finish(value, output, y, place, v)

        self._each(max(1, 2 * self.rows // count), builder, columns)

    def _weight(self, place: SSAValue, builder: Builder) -> SSAValue:
        return builder.insert(memref.LoadOp.get(cast(SSAValue, self.matrix), [place])).res


def nest(
    sizes: Sequence[int], builder: Builder, body: Callable[[Sequence[SSAValue], Builder], None], *place: SSAValue
) -> None:
    """Build loops up to each of `sizes`, one in the other."""
    if not sizes:
        body(place, builder)
        return
    loop(builder.index(sizes[0]), 1, builder, lambda i, inner: nest(sizes[1:], inner, body, *place, i))
