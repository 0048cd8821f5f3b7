"""Operations of regions with guards, which leave some points of a call to the original code."""

from __future__ import annotations

from typing import cast

from xdsl.dialects.builtin import IndexType, MemRefType, StringAttr, i8, i64
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, prop_def, result_def, traits_def
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.texts import TEXT, TextualOperation


@irdl_op_definition
class CountPointsOp(TextualOperation):
    """
    Count the points of a call that guards reject, for the report, too; the result is how many there are.

    The mask has the dimensions of the sweep, and is 0 where the model may be used, else the bits of the reasons.
    `positions` takes where the rejected points are, in ascending order, row-major; it has an element for each point.

    Example:
    ```mlir
    %rejected = hpacml.count_points "heat" %mask : memref<?x?xi8> positions %at : memref<?xi64>
    ```
    """

    name = "hpacml.count_points"

    label = prop_def(TEXT)
    mask = operand_def(MemRefType)
    positions = opt_operand_def(MemRefType)
    rejected = result_def(IndexType())

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$label $mask `:` type($mask) (`positions` $positions^ `:` type($positions))? attr-dict"

    def __init__(self, label: StringAttr, mask: SSAValue, positions: SSAValue | None = None):
        super().__init__(operands=[mask, positions], properties={"label": label}, result_types=[IndexType()])

    def verify_(self) -> None:
        mask = cast(MemRefType, self.mask.type)
        if mask.element_type != i8:
            raise VerifyException(f"a mask has elements of i8, and this is a {mask}")
        if self.positions is not None:
            positions = cast(MemRefType, self.positions.type)
            if positions.get_num_dims() != 1 or positions.element_type != i64:
                raise VerifyException(f"positions are a memref<?xi64>, and these are a {positions}")
