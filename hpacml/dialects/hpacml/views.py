"""Strided views of application memory, packed into and unpacked from dense tensors.

A view's dimensions are the sweep in the order of the tensor, then the slice's own features in row-major
order. `features` lists the dimensions of the tensor that hold features; the features of all views, one
view after the other, fill them in row-major order.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import DenseArrayBase, IndexType, MemRefType, i64
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    prop_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.attributes import dtype_name, known


def sweep_dims(tensor: MemRefType, features: Sequence[int]) -> list[int]:
    """The dimensions of a tensor that are not features."""
    return [d for d in range(tensor.get_num_dims()) if d not in features]


def _verify_view(view: SSAValue, tensor: SSAValue, features: Sequence[int]) -> None:
    view_type, tensor_type = cast(MemRefType, view.type), cast(MemRefType, tensor.type)
    dtype_name(view_type.element_type)
    dtype_name(tensor_type.element_type)
    if any(not 0 <= d < tensor_type.get_num_dims() for d in features) or list(features) != sorted(set(features)):
        raise VerifyException(f"features {list(features)} are not dimensions of {tensor_type} in order")
    sweep = sweep_dims(tensor_type, features)
    if view_type.get_num_dims() < len(sweep):
        raise VerifyException(f"a view of type {view_type} lacks sweep dimensions of {tensor_type}")
    for d, size in zip(sweep, view_type.get_shape(), strict=False):
        expected = known(tensor_type.get_shape()[d])
        if expected is not None and known(size) not in (None, expected):
            raise VerifyException(f"a view of type {view_type} does not sweep over dimension {d} of {tensor_type}")


class _OneView(IRDLOperation, ABC):
    view = operand_def(MemRefType)
    tensor = operand_def(MemRefType)
    first = operand_def(IndexType())
    """The number of the view's first feature."""
    features = prop_def(DenseArrayBase.constr(i64))

    def __init__(self, view: SSAValue, tensor: SSAValue, first: SSAValue, features: Sequence[int]):
        super().__init__(
            operands=[view, tensor, first],
            properties={"features": DenseArrayBase.from_list(i64, features)},
        )

    def verify_(self) -> None:
        _verify_view(self.view, self.tensor, self.features.get_values())


@irdl_op_definition
class PackOp(_OneView):
    """
    Copy one view into its features of a dense tensor, converting the elements if the types differ.

    Example:
    ```mlir
    hpacml.pack %view into %x at %first features [2]
      : memref<?x?x3xf32, strided<[?, 1, 1], offset: ?>>, memref<?x?x5xf32>
    ```
    """

    name = "hpacml.pack"

    assembly_format = (
        "$view `into` $tensor `at` $first `features` $features attr-dict `:` type($view) `,` type($tensor)"
    )


@irdl_op_definition
class UnpackOp(_OneView):
    """
    Copy a dense tensor's features of one view to the view's memory, converting if the types differ.

    Example:
    ```mlir
    hpacml.unpack %view from %y at %first features [2]
      : memref<?x?xf32, strided<[?, 1], offset: ?>>, memref<?x?x1xf32>
    ```
    """

    name = "hpacml.unpack"

    assembly_format = (
        "$view `from` $tensor `at` $first `features` $features attr-dict `:` type($view) `,` type($tensor)"
    )


class _AllViews(IRDLOperation, ABC):
    views = var_operand_def(MemRefType)
    tensor = operand_def(MemRefType)
    firsts = var_operand_def(IndexType())
    """The number of each view's first feature."""
    features = prop_def(DenseArrayBase.constr(i64))

    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    def __init__(
        self, views: Sequence[SSAValue], tensor: SSAValue, firsts: Sequence[SSAValue], features: Sequence[int]
    ):
        super().__init__(
            operands=[views, tensor, firsts],
            properties={"features": DenseArrayBase.from_list(i64, features)},
        )

    def verify_(self) -> None:
        if not self.views or len(self.views) != len(self.firsts):
            raise VerifyException(
                f"expected views and as many first features, got {len(self.views)} and {len(self.firsts)}"
            )
        for view in self.views:
            _verify_view(view, self.tensor, self.features.get_values())


@irdl_op_definition
class FusedGatherOp(_AllViews):
    """
    Fill a dense tensor from all views of a map in one sweep, which writes it in order.

    Example:
    ```mlir
    hpacml.fused_gather %north, %south, %row into %x at %c0, %c1, %c2 features [2]
      : memref<?x?xf32, strided<[?, 1], offset: ?>>, memref<?x?xf32, strided<[?, 1], offset: ?>>,
        memref<?x?x3xf32, strided<[?, 1, 1], offset: ?>> -> memref<?x?x5xf32>
    ```
    """

    name = "hpacml.fused_gather"

    assembly_format = (
        "$views `into` $tensor `at` $firsts `features` $features attr-dict `:` type($views) `->` type($tensor)"
    )


@irdl_op_definition
class FusedScatterOp(_AllViews):
    """
    Write all views of a map from a dense tensor in one sweep, which reads it in order.

    Example:
    ```mlir
    hpacml.fused_scatter %x, %y from %t at %c0, %c1 features [1]
      : memref<?xf32>, memref<?xf64> -> memref<?x2xf64>
    ```
    """

    name = "hpacml.fused_scatter"

    assembly_format = (
        "$views `from` $tensor `at` $firsts `features` $features attr-dict `:` type($views) `->` type($tensor)"
    )
