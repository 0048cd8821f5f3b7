"""`hpacml-tile-images`: a network on images runs image by image, whose activations have room for their padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import AnyFloat, FloatAttr, MemRefType, ModuleOp, f64
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.networks import ImageLayerOp, NetworkOp
from hpacml.dialects.hpacml.packing import FusedGatherOp, FusedScatterOp
from hpacml.networks.architecture import Layer, Stage, gives_f64, stages
from hpacml.networks.images import Convolution, Image, Pair, Pool, Window
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.layer_functions import loop, plus
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.subviews import allocated, points, subview
from hpacml.passes.common.sweeps import size_of


@dataclass(frozen=True)
class HpacmlTileImagesPass(ModulePass):
    """
    A network on images becomes loops over its sweep: gather an image, a layer after the other, scatter.

    ```mlir
    hpacml.network ["image(4, 50, 100)", "conv(4, 4, 3x3 padding 1x1)", "relu"] of f32 sweep 1 weights(%w : ...)
      ins(%x : memref<?x4x50x100xf32>) outs(%y : memref<?x4x50x100xf32>)
    ```
    becomes
    ```mlir
    %padded = memref.alloc() : memref<4x52x102xf32>       // zeros around an image
    %inside = memref.subview %padded[0, 1, 1] [4, 50, 100] [1, 1, 1] : ...
    scf.for %i = 0 to %n step 1 {
      hpacml.fused_gather %x_i into %inside ...
      hpacml.image_layer ["conv(4, 4, 3x3)", "relu"] weights(%w : ...) ins(%padded : ...) outs(%h : ...)
      hpacml.fused_scatter %y_i from %h ...
    }
    ```
    The padding is written once: layers write inside of it. It is in no pipeline of regions, as the networks are not.
    """

    name = "hpacml-tile-images"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for network in [each for each in op.walk() if isinstance(each, NetworkOp)]:
            if network.image is not None:
                _Tiling(network, network.image).replace()


@dataclass(frozen=True)
class _Buffer:
    """The memory of an image with its padding, and the image in it."""

    padded: SSAValue
    inside: SSAValue


class _Tiling:
    """A network on images, and the loops that take its place."""

    def __init__(self, op: NetworkOp, image: Image):
        self.op, self.image = op, image
        self.stages = stages(op.parsed(), image.features)

    def replace(self) -> None:
        op = self.op
        builder = Builder(InsertPoint.before(op))
        a = IndexArithmetic(builder)
        buffers = self._buffers(builder)
        images = a.value(size_of(op.inputs[0], 0, a))
        loop(images, 1, builder, lambda image, inner: self._one(image, buffers, inner))
        for buffer in buffers:
            builder.insert(memref.DeallocOp.get(buffer.padded))
        Rewriter.erase_op(op)

    def _buffers(self, builder: Builder) -> list[_Buffer]:
        """The memory of the input and of what each stage gives, padded for the windows of the next stage."""
        images = [self.image, *(cast(Image, stage.outputs) for stage in self.stages)]
        readers = [*self.stages, None]
        elements = [cast(AnyFloat, self.op.element)] * len(images)
        if gives_f64(self.op.parsed()):
            elements[-1] = f64
        return [_buffer(*each, builder) for each in zip(images, elements, readers, strict=True)]

    def _one(self, number: SSAValue, buffers: Sequence[_Buffer], builder: Builder) -> None:
        op = self.op
        zero = builder.index(0)
        image = points(op.inputs[0], number, 1, 1, builder)
        builder.insert(FusedGatherOp([image], buffers[0].inside, [zero], []))
        weights = iter(op.weights)
        for stage, (source, target) in zip(self.stages, pairwise(buffers), strict=True):
            taken = [next(weights) for layer in stage.layers if layer.parameters]
            added = [buffers[number].inside for number in stage.sums]
            builder.insert(ImageLayerOp(_unpadded(stage), taken, added, source.padded, target.inside))
        image = points(op.outputs[0], number, 1, 1, builder)
        builder.insert(FusedScatterOp([image], buffers[-1].inside, [zero], []))


def _unpadded(stage: Stage) -> list[Layer]:
    """The layers of a stage, whose source has the padding."""
    first, *functions = stage.layers
    if isinstance(first, Convolution | Pool):
        return [replace(first, window=first.window.unpadded), *functions]
    return stage.layers


def _buffer(image: Image, element: AnyFloat, reader: Stage | None, builder: Builder) -> _Buffer:
    """Memory for an image, with the padding that the windows of its reader want."""
    first = None if reader is None else reader.first
    window = first.window if isinstance(first, Convolution | Pool) else Window((1, 1))
    around = window.around(image)
    type = MemRefType(element, [around.channels, around.height, around.width])
    padded = allocated(type, builder)
    if not window.is_padded:
        return _Buffer(padded, padded)
    is_maximum = isinstance(first, Pool) and first.kind == "max_pool"
    number = -math.inf if is_maximum else 0.0
    value = builder.insert(arith.ConstantOp(FloatAttr(number, element))).result
    (top, left), (height, width) = window.before, (image.height, image.width)
    bottom, right = top + height, left + width
    for rows, columns in (
        ((0, top), (0, around.width)),
        ((bottom, around.height), (0, around.width)),
        ((top, bottom), (0, left)),
        ((top, bottom), (right, around.width)),
    ):
        _fill(padded, value, [(0, image.channels), rows, columns], [], builder)
    sizes = [image.channels, height, width]
    return _Buffer(padded, subview(padded, [0, *window.before], sizes, 0, builder))


def _fill(memory: SSAValue, value: SSAValue, box: Sequence[Pair], place: Sequence[SSAValue], builder: Builder) -> None:
    """Store a number in each place of a box, whose dimensions have a first and a last but one."""
    if any(start == stop for start, stop in box):
        return
    if not box:
        builder.insert(memref.StoreOp.get(value, memory, place))
        return
    start, stop = box[0]

    def body(i: SSAValue, inner: Builder) -> None:
        _fill(memory, value, box[1:], [*place, plus(i, start, inner)], inner)

    loop(builder.index(stop - start), 1, builder, body)
