"""Operations of regions whose model is checked: by the original code, in some of its inferences."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, MemRefType, StringAttr, i1
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.clause_attributes import VerifyAttr
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.masks import require_mask
from hpacml.dialects.hpacml.texts import TEXT, TEXTS, TextualOperation


class CheckedInference(TextualOperation, ABC):
    """A question about the checks of a region, whose state is that of its label, its `maps` and the settings."""

    label = prop_def(TEXT)
    settings = prop_def(VerifyAttr)
    maps = opt_prop_def(TEXTS)

    traits = traits_def(*READS_AND_WRITES)


@irdl_op_definition
class CountInferenceOp(CheckedInference):
    """
    Count an inference of a region: is it one of those that are checked, and has the circuit breaker opened?

    One that is due runs the model, also if the breaker is open, and the original code on copies, and is then told by
    `hpacml.verify` what to use. Of the others the original code runs in place of the model where the breaker is open.

    Example:
    ```mlir
    %due, %open = hpacml.count_inference "heat" <every: 100, tolerance: 0.01>
    ```
    """

    name = "hpacml.count_inference"

    due = result_def(i1)
    opened = result_def(i1)

    assembly_format = "$label $settings (`maps` $maps^)? attr-dict"

    def __init__(self, label: StringAttr, settings: VerifyAttr, maps: ArrayAttr[StringAttr] | None):
        super().__init__(properties={"label": label, "settings": settings, "maps": maps}, result_types=[i1, i1])


@irdl_op_definition
class VerifyOp(CheckedInference):
    """
    Compare what the model has made, `ins`, with what the original code makes, `against`, tensor by tensor.

    `maps` are those of the region, of which the last are those of the tensors. Points where the mask is not 0 are left
    out. The result is true if what the model has made may be used. With `then: raise` the call may end here.

    Example:
    ```mlir
    %good = hpacml.verify "heat" <every: 100, tolerance: 0.01> ins(%y : memref<?x?x1xf32>)
      against(%truth : memref<?x?x1xf32>) where(%mask : memref<?x?xi8>)
    ```
    """

    name = "hpacml.verify"

    outputs = var_operand_def(MemRefType)
    truths = var_operand_def(MemRefType)
    mask = opt_operand_def(MemRefType)
    good = result_def(i1)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$label $settings (`maps` $maps^)? `ins` `(` $outputs `:` type($outputs) `)` "
        "`against` `(` $truths `:` type($truths) `)` (`where` `(` $mask^ `:` type($mask) `)`)? attr-dict"
    )

    def __init__(
        self,
        label: StringAttr,
        settings: VerifyAttr,
        maps: ArrayAttr[StringAttr] | None,
        outputs: Sequence[SSAValue],
        truths: Sequence[SSAValue],
        mask: SSAValue | None = None,
    ):
        super().__init__(
            operands=[outputs, truths, mask],
            properties={"label": label, "settings": settings, "maps": maps},
            result_types=[i1],
        )

    def verify_(self) -> None:
        if len(self.outputs) != len(self.truths):
            raise VerifyException(f"{len(self.truths)} tensors are compared with {len(self.outputs)} outputs")
        mask = None if self.mask is None else require_mask(self.mask)
        for output, truth in zip(self.outputs, self.truths, strict=True):
            made, other = cast(MemRefType, output.type), cast(MemRefType, truth.type)
            if (made.element_type, made.get_num_dims()) != (other.element_type, other.get_num_dims()):
                raise VerifyException(f"an output of type {made} is compared with a {other}")
            if mask is not None and mask.get_num_dims() > made.get_num_dims():
                raise VerifyException(f"a mask of type {mask} has more dimensions than an output of type {made}")
