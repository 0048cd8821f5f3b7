"""Operations on single points of a sweep: where a model may be used, and what stands where it may not.

A mask has the dimensions of the sweep, those of a tensor that are no `features`. It is 0 at a point where the model may
be used, and else has the bits of the reasons why not: 1 its range, 2 its distance, 4 `where`, 8 `below`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag
from typing import cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FlatSymbolRefAttrConstr,
    Float64Type,
    FloatAttr,
    FunctionType,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolRefAttr,
    UnitAttr,
    f64,
    i8,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    attr_def,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import SymbolTable, SymbolUserOpInterface
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.attributes import MappingType
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.locations import PlacedOperation
from hpacml.dialects.hpacml.packing import sweep_dims
from hpacml.dialects.hpacml.texts import TEXT, TEXTS, TextualOperation


class Reason(IntFlag):
    """Why the model may not be used at a point."""

    RANGE = 1
    DISTANCE = 2
    WHERE = 4
    BELOW = 8


def _verify_mask(mask: SSAValue, tensor: SSAValue, features: Sequence[int]) -> None:
    mask_type, tensor_type = cast(MemRefType, mask.type), cast(MemRefType, tensor.type)
    if mask_type.element_type != i8:
        raise VerifyException(f"a mask has elements of i8, and this is a {mask_type}")
    if any(not 0 <= d < tensor_type.get_num_dims() for d in features) or list(features) != sorted(set(features)):
        raise VerifyException(f"features {list(features)} are not dimensions of {tensor_type} in order")
    if (sweep := len(sweep_dims(tensor_type, features))) != mask_type.get_num_dims():
        raise VerifyException(
            f"a mask of {mask_type.get_num_dims()} dimensions is no mask of the {sweep} of the sweep of {tensor_type}"
        )


@irdl_op_definition
class CheckRangeOp(PlacedOperation):
    """
    Reject the points of a tensor of which a feature is not within its range. NaN is within none.

    `low` and `high` have an element for each feature of a point, row-major.

    Example:
    ```mlir
    hpacml.check_range %x features [2] low %low high %high into %mask
      : memref<?x?x5xf32>, memref<?xf64>, memref<?xf64>, memref<?x?xi8>
    ```
    """

    name = "hpacml.check_range"

    tensor = operand_def(MemRefType)
    mask = operand_def(MemRefType)
    low = operand_def(MemRefType)
    high = operand_def(MemRefType)
    features = prop_def(DenseArrayBase.constr(i64))

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = (
        "$tensor `features` $features `low` $low `high` $high `into` $mask attr-dict "
        "`:` type($tensor) `,` type($low) `,` type($high) `,` type($mask)"
    )

    def __init__(self, tensor: SSAValue, features: Sequence[int], low: SSAValue, high: SSAValue, mask: SSAValue):
        super().__init__(
            operands=[tensor, mask, low, high], properties={"features": DenseArrayBase.from_list(i64, features)}
        )

    def verify_(self) -> None:
        _verify_mask(self.mask, self.tensor, self.features.get_values())


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
class CheckDistanceOp(PlacedOperation):
    """
    Reject the points whose distance from `mean`, the 2-norm of `whitening @ (x - mean)`, is not at most `limit`.

    x has the features of all tensors, one tensor after the other, those of each row-major. NaN is too far.

    Example:
    ```mlir
    hpacml.check_distance (%x : memref<?x?x5xf32>) features [2, -1] mean %mean whitening %w limit 4.000000e+00
      into %mask : memref<?xf64>, memref<?x?xf64>, memref<?x?xi8>
    ```
    """

    name = "hpacml.check_distance"

    tensors = var_operand_def(MemRefType)
    mean = operand_def(MemRefType)
    whitening = operand_def(MemRefType)
    mask = operand_def(MemRefType)
    features = prop_def(DenseArrayBase.constr(i64))
    """The feature dimensions of each tensor, -1 behind those of each."""
    limit = prop_def(FloatAttr.constr(f64))

    traits = traits_def(*READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
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
        flat = [d for each in features for d in (*each, -1)]
        super().__init__(
            operands=[tensors, mean, whitening, mask],
            properties={"features": DenseArrayBase.from_list(i64, flat), "limit": FloatAttr(limit, f64)},
        )

    @property
    def features_of_each(self) -> list[list[int]]:
        """The feature dimensions of each tensor."""
        found: list[list[int]] = [[]]
        for d in self.features.get_values():
            if d < 0:
                found.append([])
            else:
                found[-1].append(d)
        return found[:-1]

    def verify_(self) -> None:
        if not self.tensors or len(self.features_of_each) != len(self.tensors):
            raise VerifyException(f"features of {len(self.features_of_each)} tensors for {len(self.tensors)}")
        for tensor, features in zip(self.tensors, self.features_of_each, strict=True):
            _verify_mask(self.mask, tensor, features)


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


def _function(op: Operation, callee: SymbolRefAttr) -> FuncOp:
    function = SymbolTable.lookup_symbol(op, callee)
    if not isinstance(function, FuncOp):
        raise VerifyException(f"{callee} is not a function")
    return function


class _BodyIsFunction(SymbolUserOpInterface):
    """The code is a function without results, which takes the arguments."""

    def verify(self, op: Operation) -> None:
        body = cast("BodyWhereOp | BodyAsideOp", op)
        given = FunctionType.from_lists([value.type for value in body.arguments], [])
        if body.function.function_type != given:
            raise VerifyException(f"{body.callee} has the type {body.function.function_type}, and is called as {given}")


@irdl_op_definition
class BodyWhereOp(TextualOperation):
    """
    Fill the rejected points of tensors with what the original code of a region writes there.

    `to` are the mappings of the outputs, which lead to what it writes, one for each tensor; `from` are those of what it
    reads. No other point of the tensors changes. Memory that the maps do not lead to stays as it is. With `pointwise`
    the code makes any points alone, of arrays that have only these.

    Example:
    ```mlir
    hpacml.body_where "heat" @step(%t : memref<?x?xf32>) at %mask : memref<?x?xi8>
      from (%in : !hpacml.mapping<?x?x5xf32>) to (%out : !hpacml.mapping<?x?x1xf32>) into (%y : memref<?x?x1xf32>)
    ```
    """

    name = "hpacml.body_where"

    label = prop_def(TEXT)
    pointwise = opt_prop_def(UnitAttr)
    callee = attr_def(FlatSymbolRefAttrConstr)
    arguments = var_operand_def()
    mask = operand_def(MemRefType)
    inputs = var_operand_def(MappingType)
    outputs = var_operand_def(MappingType)
    tensors = var_operand_def(MemRefType)

    traits = traits_def(_BodyIsFunction(), *READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "(`pointwise` $pointwise^)? $label $callee `(` ($arguments^ `:` type($arguments))? `)` "
        "`at` $mask `:` type($mask) "
        "`from` `(` $inputs `:` type($inputs) `)` `to` `(` $outputs `:` type($outputs) `)` "
        "`into` `(` $tensors `:` type($tensors) `)` attr-dict"
    )

    def __init__(
        self,
        label: StringAttr,
        callee: str,
        arguments: Sequence[SSAValue],
        mask: SSAValue,
        inputs: Sequence[SSAValue],
        outputs: Sequence[SSAValue],
        tensors: Sequence[SSAValue],
        pointwise: bool = False,
    ):
        super().__init__(
            operands=[arguments, mask, inputs, outputs, tensors],
            properties={"label": label, "pointwise": UnitAttr() if pointwise else None},
            attributes={"callee": SymbolRefAttr(callee)},
        )

    @property
    def function(self) -> FuncOp:
        """The function that has the code. Raises `VerifyException` if there is none of its name."""
        return _function(self, self.callee)

    def verify_(self) -> None:
        if not self.outputs or len(self.outputs) != len(self.tensors):
            raise VerifyException(f"{len(self.tensors)} tensors take what {len(self.outputs)} outputs write")
        if cast(MemRefType, self.mask.type).element_type != i8:
            raise VerifyException(f"a mask has elements of i8, and this is a {self.mask.type}")
        super().verify_()


@irdl_op_definition
class BodyAsideOp(TextualOperation):
    """
    Fill tensors with what the original code of a region would write, and leave all memory as it is.

    `to` are the mappings of the outputs, one for each tensor. The random numbers of the program stay where they are.

    Example:
    ```mlir
    hpacml.body_aside "heat" @step(%t : memref<?x?xf32>)
      to (%out : !hpacml.mapping<?x?x1xf32>) into (%truth : memref<?x?x1xf32>)
    ```
    """

    name = "hpacml.body_aside"

    label = prop_def(TEXT)
    callee = attr_def(FlatSymbolRefAttrConstr)
    arguments = var_operand_def()
    outputs = var_operand_def(MappingType)
    tensors = var_operand_def(MemRefType)

    traits = traits_def(_BodyIsFunction(), *READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$label $callee `(` ($arguments^ `:` type($arguments))? `)` `to` `(` $outputs `:` type($outputs) `)` "
        "`into` `(` $tensors `:` type($tensors) `)` attr-dict"
    )

    def __init__(
        self,
        label: StringAttr,
        callee: str,
        arguments: Sequence[SSAValue],
        outputs: Sequence[SSAValue],
        tensors: Sequence[SSAValue],
    ):
        super().__init__(
            operands=[arguments, outputs, tensors],
            properties={"label": label},
            attributes={"callee": SymbolRefAttr(callee)},
        )

    @property
    def function(self) -> FuncOp:
        """The function that has the code. Raises `VerifyException` if there is none of its name."""
        return _function(self, self.callee)

    def verify_(self) -> None:
        if not self.outputs or len(self.outputs) != len(self.tensors):
            raise VerifyException(f"{len(self.tensors)} tensors take what {len(self.outputs)} outputs write")
        super().verify_()


@irdl_op_definition
class KeepRandomOp(PlacedOperation):
    """
    Keep the state of the program's random numbers, or with `restore` make it again what was kept last.

    Example:
    ```mlir
    hpacml.keep_random
    hpacml.keep_random restore
    ```
    """

    name = "hpacml.keep_random"

    restore = opt_prop_def(UnitAttr)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "(`restore` $restore^)? attr-dict"

    def __init__(self, restore: bool = False):
        super().__init__(properties={"restore": UnitAttr() if restore else None})


@irdl_op_definition
class CallPythonOp(PlacedOperation):
    """
    Run code of Python, number `index` of the call: on `arrays`, which stand for those of the call in their order, and
    with `numbers` in the place of its sizes. It may write the arrays at the positions `written`.

    Example:
    ```mlir
    hpacml.call_python 0 (%a, %b : memref<?xf32>, memref<?xf32>) writes [1] (%n)
    ```
    """

    name = "hpacml.call_python"

    index = prop_def(IntegerAttr.constr(i64))
    written = prop_def(DenseArrayBase.constr(i64))
    arrays = var_operand_def(MemRefType)
    numbers = var_operand_def(IndexType())

    traits = traits_def(*READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = "$index `(` $arrays `:` type($arrays) `)` `writes` $written (`(` $numbers^ `)`)? attr-dict"

    def __init__(self, index: int, arrays: Sequence[SSAValue], written: Sequence[int], numbers: Sequence[SSAValue]):
        super().__init__(
            operands=[arrays, numbers],
            properties={"index": IntegerAttr(index, i64), "written": DenseArrayBase.from_list(i64, written)},
        )

    def verify_(self) -> None:
        if any(not 0 <= k < len(self.arrays) for k in self.written.get_values()):
            raise VerifyException(f"{len(self.arrays)} arrays have no positions {list(self.written.get_values())}")


@irdl_op_definition
class RequireEqualOp(TextualOperation):
    """
    Refuse the call with a `MapError` unless two sizes are equal. `text` is for `str.format`, with `given` and `wanted`.

    Example:
    ```mlir
    hpacml.require_equal %points, %wanted "the mask has {given} points, and the region {wanted}"
    ```
    """

    name = "hpacml.require_equal"

    given = operand_def(IndexType())
    wanted = operand_def(IndexType())
    text = prop_def(TEXT)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$given `,` $wanted $text attr-dict"

    def __init__(self, given: SSAValue, wanted: SSAValue, text: str):
        super().__init__(operands=[given, wanted], properties={"text": StringAttr(text)})
