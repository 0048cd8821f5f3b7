"""Views of application memory, strided or through indices, packed into and unpacked from dense tensors.

A view's dimensions are the sweep in the order of the tensor, then the slice's own features in row-major
order. `features` lists the dimensions of the tensor that hold features; the features of all views, one
view after the other, fill them in row-major order.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import TypeAlias, cast

from xdsl.dialects.builtin import DYNAMIC_INDEX, DenseArrayBase, IndexType, MemRefType, UnitAttr, i1, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    base,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.attributes import INDEX_TYPES, IndirectType, dtype_name, known
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.locations import PlacedOperation

View: TypeAlias = "MemRefType | IndirectType"
WATCH = MemRefType(i32, [1])
"""Memory in which it is noted that an index was bad."""

VIEW = base(MemRefType) | base(IndirectType)
"""Memory with strides, or an array whose elements are found by indices."""


def view_type(view: SSAValue) -> View:
    return cast(View, view.type)


@irdl_op_definition
class IndirectOp(PlacedOperation):
    """
    A view through index arrays: element `[k...]` is `rows[k..., index_1[k...], ..., index_n[k...]]`, where
    each index is read from a view of the same shape. A view that is watched skips elements whose indices lead outside.

    Example:
    ```mlir
    // pos[idx[i], 0:3]: %rows has a dimension each for i and the 3 columns, and then that of pos to be indexed
    %v = hpacml.indirect %rows[%idx] : memref<?x3x?xf32, strided<[0, 1, 3]>>[memref<?x3xi32, strided<[1, 0]>>]
      -> !hpacml.indirect<?x3xf32>
    ```
    """

    name = "hpacml.indirect"

    rows = operand_def(MemRefType)
    indices = var_operand_def(VIEW)
    watch = opt_operand_def(WATCH)
    view = result_def(IndirectType)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(Pure())
    assembly_format = (
        "$rows `[` $indices `]` (`watched` `by` $watch^)? attr-dict "
        "`:` type($rows) `[` type($indices) `]` `->` type($view)"
    )

    def __init__(self, rows: SSAValue, indices: Sequence[SSAValue], watch: SSAValue | None = None):
        rows_type = cast(MemRefType, rows.type)
        shape = rows_type.get_shape()[: rows_type.get_num_dims() - len(indices)]
        sizes = [known(size) for size in shape]
        super().__init__(operands=[rows, indices, watch], result_types=[IndirectType.of(sizes, rows_type.element_type)])

    def verify_(self) -> None:
        rows, view = cast(MemRefType, self.rows.type), self.view.type
        rank = view.get_num_dims()
        if not self.indices or rows.get_num_dims() != rank + len(self.indices):
            raise VerifyException(
                f"a view of {rank} dimensions into {rows} takes an index for each dimension behind these, "
                f"not {len(self.indices)}"
            )
        if rows.get_shape()[:rank] != view.get_shape() or rows.element_type != view.element_type:
            raise VerifyException(f"a view of type {view} does not fit {rows}")
        for index in self.indices:
            sizes = view_type(index).get_shape()
            if len(sizes) != rank or any(
                DYNAMIC_INDEX not in pair and pair[0] != pair[1] for pair in zip(sizes, view.get_shape(), strict=True)
            ):
                raise VerifyException(f"an index of type {index.type} does not have the shape of the view, {view}")
            if view_type(index).element_type not in INDEX_TYPES:
                raise VerifyException(f"indices have elements of integers, not {view_type(index).element_type}")


def sweep_dims(tensor: MemRefType, features: Sequence[int]) -> list[int]:
    """The dimensions of a tensor that are not features."""
    return [d for d in range(tensor.get_num_dims()) if d not in features]


def _verify_view(view: SSAValue, tensor: SSAValue, features: Sequence[int]) -> None:
    viewed, tensor_type = view_type(view), cast(MemRefType, tensor.type)
    dtype_name(viewed.element_type)
    dtype_name(tensor_type.element_type)
    if any(not 0 <= d < tensor_type.get_num_dims() for d in features) or list(features) != sorted(set(features)):
        raise VerifyException(f"features {list(features)} are not dimensions of {tensor_type} in order")
    sweep = sweep_dims(tensor_type, features)
    if viewed.get_num_dims() < len(sweep):
        raise VerifyException(f"a view of type {viewed} lacks sweep dimensions of {tensor_type}")
    for d, size in zip(sweep, viewed.get_shape(), strict=False):
        expected = known(tensor_type.get_shape()[d])
        if expected is not None and known(size) not in (None, expected):
            raise VerifyException(f"a view of type {viewed} does not sweep over dimension {d} of {tensor_type}")


def _verify_sums(view: SSAValue) -> None:
    if view_type(view).element_type == i1:
        raise VerifyException(f"nothing can be added to the truth values of a view of type {view.type}")


class _OneView(PlacedOperation, ABC):
    view = operand_def(VIEW)
    tensor = operand_def(MemRefType)
    first = operand_def(IndexType())
    """The number of the view's first feature."""
    features = prop_def(DenseArrayBase.constr(i64))

    traits = traits_def(*READS_AND_WRITES)

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

    With `add` they are added to what is there.

    Example:
    ```mlir
    hpacml.unpack %view from %y at %first features [2]
      : memref<?x?xf32, strided<[?, 1], offset: ?>>, memref<?x?x1xf32>
    ```
    """

    name = "hpacml.unpack"

    add = opt_prop_def(UnitAttr)

    assembly_format = (
        "(`add` $add^)? $view `from` $tensor `at` $first `features` $features attr-dict "
        "`:` type($view) `,` type($tensor)"
    )

    def __init__(
        self, view: SSAValue, tensor: SSAValue, first: SSAValue, features: Sequence[int], add: UnitAttr | None = None
    ):
        super().__init__(view, tensor, first, features)
        self.add = add

    def verify_(self) -> None:
        super().verify_()
        if self.add is not None:
            _verify_sums(self.view)


class _AllViews(PlacedOperation, ABC):
    views = var_operand_def(VIEW)
    tensor = operand_def(MemRefType)
    firsts = var_operand_def(IndexType())
    """The number of each view's first feature."""
    features = prop_def(DenseArrayBase.constr(i64))

    traits = traits_def(*READS_AND_WRITES)
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

    With `add` the elements are added to what is there, one point of the sweep after the other.

    Example:
    ```mlir
    hpacml.fused_scatter %x, %y from %t at %c0, %c1 features [1]
      : memref<?xf32>, memref<?xf64> -> memref<?x2xf64>
    ```
    """

    name = "hpacml.fused_scatter"

    add = opt_prop_def(UnitAttr)

    assembly_format = (
        "(`add` $add^)? $views `from` $tensor `at` $firsts `features` $features attr-dict "
        "`:` type($views) `->` type($tensor)"
    )

    def __init__(
        self,
        views: Sequence[SSAValue],
        tensor: SSAValue,
        firsts: Sequence[SSAValue],
        features: Sequence[int],
        add: UnitAttr | None = None,
    ):
        super().__init__(views, tensor, firsts, features)
        self.add = add

    def verify_(self) -> None:
        super().verify_()
        if self.add is not None:
            for view in self.views:
                _verify_sums(view)


def adds(op: Operation) -> bool:
    """Whether an operation adds to what is in its views."""
    return isinstance(op, UnpackOp | FusedScatterOp) and op.add is not None
