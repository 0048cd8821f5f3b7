"""Operations of regions whose original code makes any points alone, which is seen from calls in which it makes all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, MemRefType, StringAttr, i1, i64
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.masks import as_one, of_each, require_mask
from hpacml.dialects.hpacml.packing import sweep_dims
from hpacml.dialects.hpacml.texts import TEXT, TEXTS, TextualOperation


@irdl_op_definition
class IsComparedOp(TextualOperation):
    """
    Count a call in which the original code of a region makes the points alone where the mask is not 0: is it one to
    compare?

    Example:
    ```mlir
    %due = hpacml.is_compared "heat" %mask : memref<?x?xi8>
    ```
    """

    name = "hpacml.is_compared"

    label = prop_def(TEXT)
    mask = operand_def(MemRefType)
    due = result_def(i1)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$label $mask attr-dict `:` type($mask)"

    def __init__(self, label: StringAttr, mask: SSAValue):
        super().__init__(operands=[mask], properties={"label": label}, result_types=[i1])

    def verify_(self) -> None:
        require_mask(self.mask)
        super().verify_()


@irdl_op_definition
class ComparePointsOp(TextualOperation):
    """
    Refuse a call with a `MapError` where original code makes other numbers of a point alone than among all points.

    `ins` has what it makes alone, `against` what it makes of all points; both count to the last bit, where the mask is
    not 0. `maps` are those of the tensors, and `features` their feature dimensions, -1 behind those of each.

    Example:
    ```mlir
    hpacml.compare_points "heat" maps ["heat(u[0:n, 0:m])"] ins(%y : memref<?x?x1xf32>)
        against(%whole : memref<?x?x1xf32>) features [2, -1] where %mask : memref<?x?xi8>
    ```
    """

    name = "hpacml.compare_points"

    label = prop_def(TEXT)
    maps = prop_def(TEXTS)
    tensors = var_operand_def(MemRefType)
    whole = var_operand_def(MemRefType)
    features = prop_def(DenseArrayBase.constr(i64))
    mask = operand_def(MemRefType)

    traits = traits_def(*READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$label `maps` $maps `ins` `(` $tensors `:` type($tensors) `)` `against` `(` $whole `:` type($whole) `)` "
        "`features` $features `where` $mask attr-dict `:` type($mask)"
    )

    def __init__(
        self,
        label: StringAttr,
        maps: Sequence[str],
        tensors: Sequence[SSAValue],
        whole: Sequence[SSAValue],
        features: Sequence[Sequence[int]],
        mask: SSAValue,
    ):
        super().__init__(
            operands=[tensors, whole, mask],
            properties={
                "label": label,
                "maps": ArrayAttr(map(StringAttr, maps)),
                "features": as_one(features),
            },
        )

    @property
    def features_of_each(self) -> list[list[int]]:
        """The feature dimensions of each tensor."""
        return of_each(self.features)

    def verify_(self) -> None:
        counts = {len(self.tensors), len(self.whole), len(self.maps), len(self.features_of_each)}
        if counts != {len(self.tensors)} or not self.tensors:
            raise VerifyException(f"tensors, those that they are compared with, maps and features are {sorted(counts)}")
        mask = require_mask(self.mask)
        for tensor, whole, features in zip(self.tensors, self.whole, self.features_of_each, strict=True):
            made, other = cast(MemRefType, tensor.type), cast(MemRefType, whole.type)
            if (made.element_type, made.get_num_dims()) != (other.element_type, other.get_num_dims()):
                raise VerifyException(f"a tensor of type {made} is compared with a {other}")
            outside = any(not 0 <= d < made.get_num_dims() for d in features)
            if outside or len(sweep_dims(made, features)) != mask.get_num_dims():
                raise VerifyException(f"a mask of type {mask} is none of a {made} with the features {features}")
        super().verify_()
