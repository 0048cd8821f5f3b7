"""`hpacml-split-networks`: what follows a `flatten` becomes a network of its own, which many images share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.networks import NetworkOp
from hpacml.networks.architecture import Layer, outputs
from hpacml.networks.images import Flatten, Image
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.layer_functions import loop
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.subviews import allocated, points
from hpacml.passes.common.sweeps import size_of


@dataclass(frozen=True)
class HpacmlSplitNetworksPass(ModulePass):
    """
    A network that flattens images becomes two, which take some images at a time: one on images, one on features.

    ```mlir
    hpacml.network ["image(1, 28, 28)", "conv(1, 4, 5x5)", "flatten", "relu", "linear(2304, 10)"] of f32 sweep 1
      weights(%w1, %w2 : ...) ins(%x : memref<?x1x28x28xf32>) outs(%y : memref<?x10xf32>)
    ```
    becomes
    ```mlir
    scf.for %i = 0 to %n step 64 {
      hpacml.network ["image(1, 28, 28)", "conv(1, 4, 5x5)"] of f32 sweep 1 weights(%w1 : ...)
        ins(%x_i : memref<?x1x28x28xf32, ...>) outs(%images : memref<?x4x24x24xf32>)
      hpacml.network ["relu", "linear(2304, 10)"] of f32 sweep 1 weights(%w2 : ...)
        ins(%features : memref<?x2304xf32>) outs(%y_i : memref<?x10xf32, ...>)
    }
    ```
    `%images` and `%features` are one memory. `images` says how many are taken at a time.
    It is in no pipeline of regions: it comes before `hpacml-tile-images`.
    """

    name = "hpacml-split-networks"

    images: int = 64

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for network in [each for each in op.walk() if isinstance(each, NetworkOp)]:
            layers = network.parsed()
            if Flatten() in layers:
                _split(network, layers, layers.index(Flatten()), self.images)


def _split(op: NetworkOp, layers: list[Layer], at: int, most: int) -> None:
    before, behind = layers[:at], layers[at + 1 :]
    image = cast(Image, outputs(before, op.features(op.inputs[0])))
    builder = Builder(InsertPoint.before(op))
    a = IndexArithmetic(builder)
    type = MemRefType(op.element, [most, image.channels, image.height, image.width])
    memory = allocated(type, builder)
    count = sum(bool(layer.parameters) for layer in before)

    def some(first: SSAValue, inner: Builder) -> None:
        left = inner.insert(arith.SubiOp(number, first)).result
        taken = inner.insert(arith.MinSIOp(left, inner.index(most))).result
        x, y = (points(view, first, taken, 0, inner) for view in (op.inputs[0], op.outputs[0]))
        images = points(memory, 0, taken, 0, inner)
        flat = MemRefType(op.element, [DYNAMIC_INDEX, image.features])
        features = inner.insert(
            memref.ReinterpretCastOp.from_dynamic(memory, [0], [taken, image.features], [image.features, 1], flat)
        ).result
        inner.insert(NetworkOp(before, op.element, 1, op.weights[:count], [x], [images]))
        inner.insert(NetworkOp(behind, op.element, 1, op.weights[count:], [features], [y]))

    number = a.value(size_of(op.inputs[0], 0, a))
    loop(number, most, builder, some)
    builder.insert(memref.DeallocOp.get(memory))
    Rewriter.erase_op(op)
