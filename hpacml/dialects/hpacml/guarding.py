"""Operations of regions with guards, which leave some points of a call to the original code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

from xdsl.dialects.builtin import FloatAttr, IndexType, MemRefType, NoneAttr, StringAttr, UnitAttr, f32, f64, i1
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from hpacml.clauses import POLICIES, is_policy
from hpacml.dialects.hpacml.control import SOURCE
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.masks import require_mask, require_positions
from hpacml.dialects.hpacml.texts import TEXT, Given, TextualOperation


@irdl_op_definition
class CountPointsOp(TextualOperation):
    """
    Count the points of a call that guards reject, for the report, too; the result is how many there are.

    The mask has the dimensions of the sweep, and is 0 where the model may be used, else the bits of the reasons.
    `positions` takes where the rejected points are, in ascending order, row-major; it has an element for each point.
    With `again` the report has these points already.

    Example:
    ```mlir
    %rejected = hpacml.count_points "heat" %mask : memref<?x?xi8> positions %at : memref<?xi64>
    ```
    """

    name = "hpacml.count_points"

    label = prop_def(TEXT)
    mask = operand_def(MemRefType)
    positions = opt_operand_def(MemRefType)
    again = opt_prop_def(UnitAttr)
    rejected = result_def(IndexType())

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = (
        "(`again` $again^)? $label $mask `:` type($mask) (`positions` $positions^ `:` type($positions))? attr-dict"
    )

    def __init__(self, label: StringAttr, mask: SSAValue, positions: SSAValue | None = None, again: bool = False):
        properties = {"label": label, "again": UnitAttr() if again else None}
        super().__init__(operands=[mask, positions], properties=properties, result_types=[IndexType()])

    def verify_(self) -> None:
        require_mask(self.mask)
        if self.positions is not None:
            require_positions(self.positions)


@irdl_op_definition
class DomainOp(TextualOperation):
    """
    Fill memory with the domain of the model of a call: where the inputs lie that it was trained with.

    `into` takes for each input `low` and `high`, which have an element for each feature of a point, row-major. Each
    range is wider by `margin` of its width at both ends; ends in f32 are the outermost such numbers inside. `distance`
    takes the `mean` of the features of all inputs, one input after the other, and the lower-triangular `whitening`:
    the distance of a point x is the 2-norm of `whitening @ (x - mean)`. The result is true when the memory is filled. A
    model that is missing, has no domain or one of other features gives false, if `on_error` says "accurate", or without
    it the environment: no point is in the ranges then, and each distance is NaN. With "raise" it leaves the function.

    Example:
    ```mlir
    %known = hpacml.domain "heat" model "m.pt2" margin 1.000000e-01 into(%low, %high : memref<?xf64>, memref<?xf64>)
        distance(%mean, %whitening : memref<?xf64>, memref<?x?xf64>)
    ```
    """

    name = "hpacml.domain"

    label = prop_def(TEXT)
    model = opt_prop_def(SOURCE)
    on_error = opt_prop_def(TEXT)
    margin = opt_prop_def(FloatAttr.constr(f64))
    ranges = var_operand_def(MemRefType)
    distance = var_operand_def(MemRefType)
    known = result_def(i1)

    traits = traits_def(*READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (Given,)
    assembly_format = (
        "$label (`model` custom<Given>($model)^)? (`on_error` custom<Given>($on_error)^)? "
        "(`margin` custom<Given>($margin)^)? `into` `(` $ranges `:` type($ranges) `)` "
        "(`distance` `(` $distance^ `:` type($distance) `)`)? attr-dict"
    )

    def __init__(
        self,
        clauses: Mapping[str, Attribute],
        ranges: Sequence[SSAValue],
        distance: Sequence[SSAValue] = (),
        margin: float | None = None,
    ):
        properties = {**clauses, "margin": None if margin is None else FloatAttr(margin, f64)}
        super().__init__(operands=[ranges, distance], properties=properties, result_types=[i1])

    def verify_(self) -> None:
        margin = 0.0 if self.margin is None else self.margin.value.data
        if not (math.isfinite(margin) and margin >= 0):
            raise VerifyException(f"a margin is a part of each range's width, and this is {margin}")
        if self.on_error is not None and not is_policy(self.on_error.data):
            raise VerifyException(f"on_error is one of {', '.join(POLICIES)}")
        if not self.ranges or len(self.ranges) % 2:
            raise VerifyException(f"each input has a low and a high, and there are {len(self.ranges)} arrays for these")
        if len(self.distance) not in (0, 2):
            raise VerifyException(f"a distance takes a mean and a whitening, and has {len(self.distance)} arrays")
        for low, high in zip(self.ranges[::2], self.ranges[1::2], strict=True):
            element = f32 if cast(MemRefType, low.type).element_type == f32 else f64
            _require_dense(low, "?", element)
            _require_dense(high, "?", element)
        for array, shape in zip(self.distance, ("?", "?x?"), strict=False):
            _require_dense(array, shape, f64)
        super().verify_()


def _require_dense(array: SSAValue, shape: str, element: Attribute) -> None:
    array_type = cast(MemRefType, array.type)
    fits = array_type.element_type == element and array_type.get_num_dims() == shape.count("?")
    if not fits or array_type.layout != NoneAttr():
        raise VerifyException(f"the array is a dense memref<{shape}x{element}>, and this is a {array_type}")
