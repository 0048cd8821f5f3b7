"""Networks between views of memory, and their stages on tiles: some points of a sweep, features outermost.

In a tile, `tile[f, p]` is feature `f` of point `p`, so that what is done for neighbouring points is done by vectors.
Where the features of a point are an image, the tile is that image, and its columns are the neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AnyFloat,
    ArrayAttr,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    f64,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    base,
    irdl_op_definition,
    operand_def,
    prop_def,
    traits_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.attributes import strides_of
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.packing import VIEW, view_type
from hpacml.dialects.hpacml.texts import TEXTS, TextualOperation
from hpacml.networks.architecture import Layer, Linear, Residual, gives_f64, outputs, parse, stages, total
from hpacml.networks.images import Convolution, Flatten, Image, Pool

FLOAT = base(Float32Type) | base(Float64Type)


class _OfLayers(TextualOperation):
    layers = prop_def(TEXTS)

    def parsed(self) -> list[Layer]:
        """The layers. Raises `VerifyException` for text that is none."""
        try:
            return [parse(text.data) for text in self.layers]
        except ValueError as error:
            raise VerifyException(str(error)) from None


def _texts(layers: Sequence[Layer]) -> ArrayAttr[StringAttr]:
    return ArrayAttr([StringAttr(str(layer)) for layer in layers])


def _verify_sums(sums: Sequence[SSAValue], layers: Sequence[Layer], shape: Sequence[int], element: Attribute) -> None:
    added = [layer for layer in layers if isinstance(layer, Residual)]
    types = [cast(MemRefType, each.type) for each in sums]
    if any(layer.back for layer in added) or len(added) != len(types):
        raise VerifyException(f"each residual adds what is in plus, and there are {len(added)} and {len(types)}")
    if any(
        type.get_shape() != (*shape,) or type.element_type != element or strides_of(type)[-1] != 1 for type in types
    ):
        raise VerifyException(f"what is added has the shape {list(shape)}, elements of {element}, and a stride of 1")


def _verify_weights(weights: Sequence[SSAValue], layers: Sequence[Layer]) -> None:
    wanted = [layer.parameters for layer in layers if layer.parameters]
    given = [cast(MemRefType, each.type).get_shape() for each in weights]
    if given != [(count,) for count in wanted]:
        raise VerifyException(f"the layers take weights of {wanted} elements, not {list(map(list, given))}")


@irdl_op_definition
class NetworkOp(_OfLayers):
    """
    Apply a network to each point of a sweep: the features of all `ins`, one view after the other, are what its first
    layer takes, and what the last one gives goes to the features of all `outs`. It computes in `element`.

    `sweep` is the number of dimensions that views have before their own features. Each layer that has weights has an
    array of them, in the order of `hpacml.networks.architecture`. Memory that is written at one point is read at
    others nowhere.

    If the first layer is an image, the sweep has one dimension, and the only view of `ins` has besides it channels,
    rows and columns; so has that of `outs` where the last layer gives an image.

    Example:
    ```mlir
    hpacml.network ["linear(2, 8)", "tanh", "linear(8, 1)"] of f32 sweep 1
      weights(%w1, %w2 : memref<24xf32>, memref<9xf32>)
      ins(%west, %east : memref<?xf32>, memref<?xf32>) outs(%centre : memref<?xf32>)
    ```
    """

    name = "hpacml.network"

    element = prop_def(FLOAT)
    sweep = prop_def(IntegerAttr.constr(i64))
    weights = var_operand_def(MemRefType)
    inputs = var_operand_def(VIEW)
    outputs = var_operand_def(VIEW)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(*READS_AND_WRITES)
    assembly_format = (
        "$layers `of` $element `sweep` $sweep (`weights` `(` $weights^ `:` type($weights) `)`)? "
        "`ins` `(` $inputs `:` type($inputs) `)` `outs` `(` $outputs `:` type($outputs) `)` attr-dict"
    )

    def __init__(
        self,
        layers: Sequence[Layer],
        element: AnyFloat,
        sweep: int,
        weights: Sequence[SSAValue],
        inputs: Sequence[SSAValue],
        outputs: Sequence[SSAValue],
    ):
        super().__init__(
            operands=[weights, inputs, outputs],
            properties={
                "layers": _texts(layers),
                "element": element,
                "sweep": IntegerAttr(sweep, i64),
            },
        )

    @property
    def rank(self) -> int:
        """The number of dimensions of the sweep."""
        return self.sweep.value.data

    @property
    def image(self) -> Image | None:
        """The image that the features of a point are, None if they are none."""
        layers = self.parsed()
        return layers[0] if layers and isinstance(layers[0], Image) else None

    def features(self, view: SSAValue) -> int:
        """The number of features of a view. Raises `VerifyException` if it is unknown."""
        shape = view_type(view).get_shape()[self.rank :]
        if DYNAMIC_INDEX in shape:
            raise VerifyException(f"the number of features of {view.type} is unknown")
        return prod(shape)

    def verify_(self) -> None:
        if self.rank < 1:
            raise VerifyException("a network sweeps over at least one dimension")
        for view in (*self.inputs, *self.outputs):
            if view_type(view).get_num_dims() < self.rank:
                raise VerifyException(f"a view of type {view.type} lacks dimensions of the sweep")
        if not self.inputs or not self.outputs:
            raise VerifyException("a network has at least one input and one output")
        layers = self.parsed()
        _verify_weights(self.weights, layers)
        if Residual() in layers:
            raise VerifyException("residual is of so many layers, as in residual(2)")
        given, wanted = (sum(map(self.features, views)) for views in (self.inputs, self.outputs))
        try:
            last = outputs(layers, given)
            gives_f64(layers)
        except ValueError as error:
            raise VerifyException(str(error)) from None
        if total(last) != wanted:
            raise VerifyException(f"the network gives {total(last)} features, and its outputs have {wanted}")
        if self.image is not None:
            self._verify_image(self.image, self.inputs)
        if isinstance(last, Image):
            self._verify_image(last, self.outputs)

    def _verify_image(self, image: Image, views: Sequence[SSAValue]) -> None:
        wanted = (image.channels, image.height, image.width)
        if self.rank != 1 or [view_type(view).get_shape()[1:] for view in views] != [wanted]:
            raise VerifyException(f"{image} is in one view, which has these dimensions behind one of the sweep")


@irdl_op_definition
class LayerOp(_OfLayers):
    """
    Compute the first points of a tile from those of another: a linear layer, or none, and functions of its results.
    Each `residual` of these adds a tile of `plus`.

    Example:
    ```mlir
    hpacml.layer ["linear(5, 64)", "leaky_relu(0.01)"] points %n weights(%w : memref<384xf32>)
      ins(%x : memref<5x128xf32>) outs(%y : memref<64x128xf32>)
    ```
    """

    name = "hpacml.layer"

    points = operand_def(IndexType())
    weights = var_operand_def(MemRefType)
    sums = var_operand_def(MemRefType)
    source = operand_def(MemRefType)
    target = operand_def(MemRefType)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(*READS_AND_WRITES)
    assembly_format = (
        "$layers `points` $points (`weights` `(` $weights^ `:` type($weights) `)`)? "
        "(`plus` `(` $sums^ `:` type($sums) `)`)? "
        "`ins` `(` $source `:` type($source) `)` `outs` `(` $target `:` type($target) `)` attr-dict"
    )

    def __init__(
        self,
        layers: Sequence[Layer],
        points: SSAValue,
        weights: Sequence[SSAValue],
        sums: Sequence[SSAValue],
        source: SSAValue,
        target: SSAValue,
    ):
        super().__init__(
            operands=[points, weights, sums, source, target],
            properties={"layers": _texts(layers)},
        )

    def verify_(self) -> None:
        layers = self.parsed()
        _verify_weights(self.weights, layers)
        source, target = (cast(MemRefType, each.type) for each in (self.source, self.target))
        if any(isinstance(layer, Linear) for layer in layers[1:]):
            raise VerifyException("a linear layer is the first of a stage")
        if source.get_num_dims() != 2 or target.get_num_dims() != 2 or DYNAMIC_INDEX in source.get_shape():
            raise VerifyException("tiles have two dimensions of known sizes: features and points")
        try:
            wanted = f64 if gives_f64(layers) else source.element_type
            if source.get_shape()[1] != target.get_shape()[1] or target.element_type != wanted:
                raise VerifyException(f"tiles of type {source} and {target} do not fit: there must be as many points")
            found = stages(layers, source.get_shape()[0])
        except ValueError as error:
            raise VerifyException(str(error)) from None
        if not found or found[0].outputs != target.get_shape()[0]:
            raise VerifyException(f"the layers do not give the features of {target}")
        _verify_sums(self.sums, layers, target.get_shape(), source.element_type)


@irdl_op_definition
class ImageLayerOp(_OfLayers):
    """
    Compute an image from another one: a convolution or pool, or none, and functions of its results.

    The source has the padding of the windows, which themselves have none. The columns of images are neighbours in
    memory. Each `residual` adds an image of `plus`.

    Example:
    ```mlir
    hpacml.image_layer ["conv(4, 8, 3x3)", "leaky_relu(0.01)"] weights(%w : memref<296xf32>)
      ins(%x : memref<4x52x102xf32>) outs(%y : memref<8x50x100xf32>)
    ```
    """

    name = "hpacml.image_layer"

    weights = var_operand_def(MemRefType)
    sums = var_operand_def(MemRefType)
    source = operand_def(MemRefType)
    target = operand_def(MemRefType)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(*READS_AND_WRITES)
    assembly_format = (
        "$layers (`weights` `(` $weights^ `:` type($weights) `)`)? (`plus` `(` $sums^ `:` type($sums) `)`)? "
        "`ins` `(` $source `:` type($source) `)` `outs` `(` $target `:` type($target) `)` attr-dict"
    )

    def __init__(
        self,
        layers: Sequence[Layer],
        weights: Sequence[SSAValue],
        sums: Sequence[SSAValue],
        source: SSAValue,
        target: SSAValue,
    ):
        super().__init__(operands=[weights, sums, source, target], properties={"layers": _texts(layers)})

    @property
    def images(self) -> tuple[Image, Image]:
        """The source and the target. Raises `VerifyException` for memory that is no image."""
        types = [cast(MemRefType, each.type) for each in (self.source, self.target)]
        if any(each.get_num_dims() != 3 or DYNAMIC_INDEX in each.get_shape() for each in types):
            raise VerifyException("images have channels, rows and columns of known sizes")
        if any(strides_of(each)[-1] != 1 for each in types):
            raise VerifyException("the columns of an image are neighbours in memory")
        source, target = (Image(*each.get_shape()) for each in types)
        return source, target

    def verify_(self) -> None:
        layers = self.parsed()
        _verify_weights(self.weights, layers)
        source, target = self.images
        elements = [cast(MemRefType, each.type).element_type for each in (self.source, self.target)]
        if any(isinstance(layer, Convolution | Pool) and layer.window.is_padded for layer in layers):
            raise VerifyException("the source of an image layer has the padding")
        try:
            wanted = f64 if gives_f64(layers) else elements[0]
            found = stages(layers, source)
        except ValueError as error:
            raise VerifyException(str(error)) from None
        if len(found) != 1 or any(isinstance(layer, Linear | Flatten | Image) for layer in layers):
            raise VerifyException("an image layer has a convolution or a pool at most, which is its first")
        if found[0].outputs != target or elements[1] != wanted:
            raise VerifyException(f"the layers do not give {self.target.type}")
        _verify_sums(self.sums, layers, (target.channels, target.height, target.width), elements[0])
