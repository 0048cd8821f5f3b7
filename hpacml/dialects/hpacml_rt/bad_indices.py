"""Watched views: indices are looked at where they are used, in one sweep with the copy, so that nothing comes between.

`hpacml.indirect ... watched by %watch` makes such a view. Where an index leads outside, nothing is read or written, and
the watch is told.
"""

from __future__ import annotations

from xdsl.dialects.builtin import i1, i64
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, result_def, traits_def

from hpacml.dialects.hpacml.effects import READS_AND_WRITES, MakesItsResults
from hpacml.dialects.hpacml.locations import PlacedOperation
from hpacml.dialects.hpacml.packing import WATCH


@irdl_op_definition
class WatchOp(PlacedOperation):
    """
    The memory of a watch, which is 0 until an index is found to be bad. On a GPU it is the flag of the call.

    Example:
    ```mlir
    %watch = hpacml_rt.watch
    ```
    """

    name = "hpacml_rt.watch"

    watch = result_def(WATCH)

    traits = traits_def(MakesItsResults())
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__(result_types=[WATCH])


@irdl_op_definition
class BadIndexOp(PlacedOperation):
    """
    Tell a watch of an index that lies outside of a dimension of `size` elements.

    Example:
    ```mlir
    hpacml_rt.bad_index %index of %size to %watch
    ```
    """

    name = "hpacml_rt.bad_index"

    index = operand_def(i64)
    size = operand_def(i64)
    watch = operand_def(WATCH)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$index `of` $size `to` $watch attr-dict"

    def __init__(self, index: SSAValue, size: SSAValue, watch: SSAValue):
        super().__init__(operands=[index, size, watch])


@irdl_op_definition
class NoneBadOp(PlacedOperation):
    """
    Whether no index was found to be bad. On a GPU the host does not wait: see `hpacml_rt.flag_down`.

    Example:
    ```mlir
    %ok = hpacml_rt.none_bad %watch
    ```
    """

    name = "hpacml_rt.none_bad"

    watch = operand_def(WATCH)
    none = result_def(i1)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$watch attr-dict"

    def __init__(self, watch: SSAValue):
        super().__init__(operands=[watch], result_types=[i1])
