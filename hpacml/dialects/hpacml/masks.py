"""Operations on single points of a sweep: where a model may be used, and what stands where it may not.

A mask has the dimensions of the sweep, those of a tensor that are no `features`. It is 0 at a point where the model may
be used, and else has the bits of the reasons why not: 1 its range, 2 its distance, 4 `where`, 8 `below`.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from enum import IntFlag
from typing import Self, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    Float64Type,
    FloatAttr,
    IndexType,
    IntegerType,
    MemRefType,
    StringAttr,
    f32,
    f64,
    i8,
    i64,
)
from xdsl.ir import SSAValue
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

from hpacml.dialects.hpacml.attributes import MappingType
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.locations import PlacedOperation
from hpacml.dialects.hpacml.texts import TEXT, TEXTS, TextualOperation


class Reason(IntFlag):
    """Why the model may not be used at a point."""

    RANGE = 1
    DISTANCE = 2
    WHERE = 4
    BELOW = 8


def require_mask(mask: SSAValue) -> MemRefType:
    """The type of a mask. Raises `VerifyException` for memory that is none."""
    mask_type = cast(MemRefType, mask.type)
    if mask_type.element_type != i8:
        raise VerifyException(f"a mask has elements of i8, and this is a {mask_type}")
    return mask_type


def require_positions(positions: SSAValue) -> None:
    """Raise `VerifyException` for memory that holds no positions of points."""
    positions_type = cast(MemRefType, positions.type)
    if positions_type.get_num_dims() != 1 or positions_type.element_type != i64:
        raise VerifyException(f"positions are a memref<?xi64>, and these are a {positions_type}")


def require_features(tensor: MemRefType | MappingType, features: Sequence[int]) -> None:
    """Raise `VerifyException` for what are no dimensions of a tensor in order."""
    if any(not 0 <= d < tensor.get_num_dims() for d in features) or list(features) != sorted(set(features)):
        raise VerifyException(f"features {list(features)} are not dimensions of {tensor} in order")


def as_one(features: Sequence[Sequence[int]]) -> DenseArrayBase[IntegerType]:
    """The feature dimensions of several tensors in one array, -1 behind those of each."""
    return DenseArrayBase.from_list(i64, [d for each in features for d in (*each, -1)])


def of_each(features: DenseArrayBase[IntegerType]) -> list[list[int]]:
    """The feature dimensions of each tensor."""
    found: list[list[int]] = [[]]
    for d in features.get_values():
        if d < 0:
            found.append([])
        else:
            found[-1].append(d)
    return found[:-1]


def _verify_mask(mask: SSAValue, tensor: SSAValue, features: Sequence[int]) -> None:
    mask_type, tensor_type = require_mask(mask), cast("MemRefType | MappingType", tensor.type)
    require_features(tensor_type, features)
    if (sweep := tensor_type.get_num_dims() - len(features)) != mask_type.get_num_dims():
        raise VerifyException(
            f"a mask of {mask_type.get_num_dims()} dimensions is no mask of the {sweep} of the sweep of {tensor_type}"
        )


class CheckOfInputs(PlacedOperation, ABC):
    """A check of the features of all tensors, one tensor after the other, those of each row-major.

    A mapping is checked in place of its tensor, where it lies in the application's memory.
    """

    tensors = var_operand_def(base(MemRefType) | base(MappingType))
    mask = operand_def(MemRefType)
    features = prop_def(DenseArrayBase.constr(i64))
    """The feature dimensions of each tensor, -1 behind those of each."""

    traits = traits_def(*READS_AND_WRITES)

    @property
    def features_of_each(self) -> list[list[int]]:
        """The feature dimensions of each tensor."""
        return of_each(self.features)

    def of(self, tensors: Sequence[SSAValue], features: Sequence[Sequence[int]]) -> Self:
        """The same check of other tensors."""
        numbers = self.operands[: -1 - len(self.tensors)]
        properties = {**self.properties, "features": as_one(features)}
        return type(self).create(operands=[*numbers, *tensors, self.mask], properties=properties)

    def verify_(self) -> None:
        if not self.tensors or len(self.features_of_each) != len(self.tensors):
            raise VerifyException(f"features of {len(self.features_of_each)} tensors for {len(self.tensors)}")
        for tensor, features in zip(self.tensors, self.features_of_each, strict=True):
            _verify_mask(self.mask, tensor, features)


@irdl_op_definition
class CheckRangeOp(CheckOfInputs):
    """
    Reject the points of tensors of which a feature is not within its range. NaN is within none.

    `low` and `high` have an element for each feature of a point, of all tensors. Elements are compared in the type of
    these, to which they are converted.

    Example:
    ```mlir
    hpacml.check_range (%x : memref<?x?x5xf32>) features [2, -1] low %low high %high into %mask
      : memref<?xf32>, memref<?xf32>, memref<?x?xi8>
    ```
    """

    name = "hpacml.check_range"

    low = operand_def(MemRefType)
    high = operand_def(MemRefType)

    assembly_format = (
        "`(` $tensors `:` type($tensors) `)` `features` $features `low` $low `high` $high `into` $mask attr-dict "
        "`:` type($low) `,` type($high) `,` type($mask)"
    )

    def __init__(
        self,
        tensors: Sequence[SSAValue],
        features: Sequence[Sequence[int]],
        low: SSAValue,
        high: SSAValue,
        mask: SSAValue,
    ):
        super().__init__(operands=[low, high, tensors, mask], properties={"features": as_one(features)})

    def verify_(self) -> None:
        super().verify_()
        low, high = (cast(MemRefType, each.type).element_type for each in (self.low, self.high))
        if low != high or low not in (f32, f64):
            raise VerifyException(f"a range has ends of f32 or of f64, and this one of {low} and {high}")


@irdl_op_definition
class CheckBelowOp(PlacedOperation):
    """
    Reject the points of a tensor of which a feature is not at most `limit`. NaN is not.

    Example:
    ```mlir
    hpacml.check_below %y features [2] limit 1.000000e-01 into %mask : memref<?x?x1xf32>, memref<?x?xi8>
    ```
    """

    name = "hpacml.check_below"

    tensor = operand_def(MemRefType)
    mask = operand_def(MemRefType)
    features = prop_def(DenseArrayBase.constr(i64))
    limit = prop_def(FloatAttr.constr(f64))

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = (
        "$tensor `features` $features `limit` $limit `into` $mask attr-dict `:` type($tensor) `,` type($mask)"
    )

    def __init__(self, tensor: SSAValue, features: Sequence[int], limit: float, mask: SSAValue):
        super().__init__(
            operands=[tensor, mask],
            properties={"features": DenseArrayBase.from_list(i64, features), "limit": FloatAttr(limit, f64)},
        )

    def verify_(self) -> None:
        _verify_mask(self.mask, self.tensor, self.features.get_values())


@irdl_op_definition
class CheckDistanceOp(CheckOfInputs):
    """
    Reject the points whose distance from `mean`, the 2-norm of `whitening @ (x - mean)`, is not at most `limit`.

    x has the features of all tensors. NaN is too far.

    Example:
    ```mlir
    hpacml.check_distance (%x : memref<?x?x5xf32>) features [2, -1] mean %mean whitening %w limit 4.000000e+00
      into %mask : memref<?xf64>, memref<?x?xf64>, memref<?x?xi8>
    ```
    """

    name = "hpacml.check_distance"

    mean = operand_def(MemRefType)
    whitening = operand_def(MemRefType)
    limit = prop_def(FloatAttr.constr(f64))

    assembly_format = (
        "`(` $tensors `:` type($tensors) `)` `features` $features `mean` $mean `whitening` $whitening `limit` $limit "
        "`into` $mask attr-dict `:` type($mean) `,` type($whitening) `,` type($mask)"
    )

    def __init__(
        self,
        tensors: Sequence[SSAValue],
        features: Sequence[Sequence[int]],
        mean: SSAValue,
        whitening: SSAValue,
        limit: float,
        mask: SSAValue,
    ):
        super().__init__(
            operands=[mean, whitening, tensors, mask],
            properties={"features": as_one(features), "limit": FloatAttr(limit, f64)},
        )


@irdl_op_definition
class CheckWhereOp(TextualOperation):
    """
    Reject the points at which a condition does not hold.

    The condition is text, in which `names` name the element at a point of each tensor, then the numbers. It is computed
    in double precision; a truth value is 0 or 1, and what is not 0 is true.

    Example:
    ```mlir
    hpacml.check_where "t > limit" names ["t", "limit"] of (%y : memref<?x?x1xf32>) numbers (%limit) into %mask
      : memref<?x?xi8>
    ```
    """

    name = "hpacml.check_where"

    where = prop_def(TEXT)
    names = prop_def(TEXTS)
    tensors = var_operand_def(MemRefType)
    numbers = var_operand_def(Float64Type())
    mask = operand_def(MemRefType)

    traits = traits_def(*READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$where `names` $names (`of` `(` $tensors^ `:` type($tensors) `)`)? (`numbers` `(` $numbers^ `)`)? "
        "`into` $mask attr-dict `:` type($mask)"
    )

    def __init__(
        self,
        where: StringAttr,
        names: ArrayAttr[StringAttr],
        tensors: Sequence[SSAValue],
        numbers: Sequence[SSAValue],
        mask: SSAValue,
    ):
        super().__init__(operands=[tensors, numbers, mask], properties={"where": where, "names": names})

    def verify_(self) -> None:
        if len(self.names) != len(self.tensors) + len(self.numbers):
            raise VerifyException(
                f"{len(self.tensors)} tensors and {len(self.numbers)} numbers have {len(self.names)} names"
            )
        mask = cast(MemRefType, self.mask.type)
        for tensor in self.tensors:
            tensor_type = cast(MemRefType, tensor.type)
            _verify_mask(self.mask, tensor, range(mask.get_num_dims(), tensor_type.get_num_dims()))
        super().verify_()


@irdl_op_definition
class MergeOp(PlacedOperation):
    """
    Copy the rejected points of one tensor to another.

    Example:
    ```mlir
    hpacml.merge %original into %y features [2] at %mask : memref<?x?x1xf32>, memref<?x?x1xf32>, memref<?x?xi8>
    ```
    """

    name = "hpacml.merge"

    source = operand_def(MemRefType)
    tensor = operand_def(MemRefType)
    mask = operand_def(MemRefType)
    features = prop_def(DenseArrayBase.constr(i64))

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = (
        "$source `into` $tensor `features` $features `at` $mask attr-dict "
        "`:` type($source) `,` type($tensor) `,` type($mask)"
    )

    def __init__(self, source: SSAValue, tensor: SSAValue, features: Sequence[int], mask: SSAValue):
        super().__init__(
            operands=[source, tensor, mask], properties={"features": DenseArrayBase.from_list(i64, features)}
        )

    def verify_(self) -> None:
        _verify_mask(self.mask, self.tensor, self.features.get_values())
        one, other = (cast(MemRefType, each.type) for each in (self.source, self.tensor))
        if one.element_type != other.element_type or one.get_num_dims() != other.get_num_dims():
            raise VerifyException(f"a {one} is merged into a {other}")


@irdl_op_definition
class TakePointsOp(PlacedOperation):
    """
    Copy some points of a tensor to another one, whose sweep has them in the first dimension; its others have length 1.

    `positions` are where these points are in the sweep of the tensor, row-major, of which the first `count` are taken.

    Example:
    ```mlir
    hpacml.take_points %x features [2] at %at count %k into %rows
      : memref<?x?x5xf32>, memref<?xi64>, memref<?x1x5xf32>
    ```
    """

    name = "hpacml.take_points"

    tensor = operand_def(MemRefType)
    positions = operand_def(MemRefType)
    count = operand_def(IndexType())
    rows = operand_def(MemRefType)
    features = prop_def(DenseArrayBase.constr(i64))

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = (
        "$tensor `features` $features `at` $positions `count` $count `into` $rows attr-dict "
        "`:` type($tensor) `,` type($positions) `,` type($rows)"
    )

    def __init__(self, tensor: SSAValue, features: Sequence[int], positions: SSAValue, count: SSAValue, rows: SSAValue):
        super().__init__(
            operands=[tensor, positions, count, rows],
            properties={"features": DenseArrayBase.from_list(i64, features)},
        )

    def verify_(self) -> None:
        tensor, rows = (cast(MemRefType, each.type) for each in (self.tensor, self.rows))
        require_features(tensor, self.features.get_values())
        require_positions(self.positions)
        if tensor.element_type != rows.element_type or tensor.get_num_dims() != rows.get_num_dims():
            raise VerifyException(f"points of a {tensor} are taken into a {rows}")
