"""What a report is made of: time stamps, bytes copied, and the record of one execution of a region."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, MemRefType, StringAttr, f64, i64
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
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.locations import PlacedOperation
from hpacml.dialects.hpacml.texts import TEXT, TextualOperation

PATHS_TAKEN = ("infer", "collect", "body")
"""What an execution of a region may run: the model, the original code with collection, the original code alone."""


@irdl_op_definition
class NowOp(PlacedOperation):
    """
    A time stamp: nanoseconds of a monotonic clock.

    Example:
    ```mlir
    %start = hpacml_rt.now
    ```
    """

    name = "hpacml_rt.now"

    nanoseconds = result_def(i64)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__(result_types=[i64])


@irdl_op_definition
class MillisecondsOp(PlacedOperation):
    """
    A time stamp in milliseconds, for what is measured of original code: in calls on a device, the number of an event.

    Example:
    ```mlir
    %start = hpacml_rt.milliseconds
    ```
    """

    name = "hpacml_rt.milliseconds"

    stamp = result_def(f64)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__(result_types=[f64])


@irdl_op_definition
class CopiedOp(PlacedOperation):
    """
    How many bytes of a dense tensor are a copy: all, or none where it is the memory of one of the arrays that its
    map is of.

    Example:
    ```mlir
    %bytes = hpacml_rt.copied %x of(%t : memref<?x?xf32>) : memref<?x?x5xf32>
    ```
    """

    name = "hpacml_rt.copied"

    tensor = operand_def(MemRefType)
    arrays = var_operand_def(MemRefType)
    bytes = result_def(i64)

    traits = traits_def(Pure())
    assembly_format = "$tensor `of` `(` ($arrays^ `:` type($arrays))? `)` attr-dict `:` type($tensor)"

    def __init__(self, tensor: SSAValue, arrays: Sequence[SSAValue]):
        super().__init__(operands=[tensor, arrays], result_types=[i64])


@irdl_op_definition
class RecordOp(TextualOperation):
    """
    Count one execution of a region in its report: the way it took ("infer", "collect" or "body"), and for each of
    its stages the time between two stamps and the bytes it copied.

    Example:
    ```mlir
    hpacml_rt.record "heat" "collect" ["gather", "body"] times(%start, %middle, %end) bytes(%bytes, %none)
    ```
    """

    name = "hpacml_rt.record"

    label = prop_def(TEXT)
    way = prop_def(StringAttr)
    stages = prop_def(ArrayAttr[StringAttr])
    times = var_operand_def(i64)
    bytes = var_operand_def(i64)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$label $way $stages `times` `(` $times `)` `bytes` `(` $bytes `)` attr-dict"

    def __init__(
        self, label: StringAttr, way: str, stages: Sequence[str], times: Sequence[SSAValue], bytes: Sequence[SSAValue]
    ):
        super().__init__(
            operands=[times, bytes],
            properties={
                "label": label,
                "way": StringAttr(way),
                "stages": ArrayAttr([StringAttr(stage) for stage in stages]),
            },
        )

    def verify_(self) -> None:
        if self.way.data not in PATHS_TAKEN:
            raise VerifyException(f"the way through a region is one of {', '.join(PATHS_TAKEN)}")
        stages = len(self.stages)
        if stages == 0 or len(self.times) != stages + 1 or len(self.bytes) != stages:
            raise VerifyException(
                f"{stages} stages need {stages + 1} times and {stages} numbers of bytes, "
                f"{len(self.times)} and {len(self.bytes)} are given"
            )
