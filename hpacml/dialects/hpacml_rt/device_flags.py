"""Flags that kernels raise at a bad index, so that the host needs not wait for them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, IndexType, MemRefType, StringAttr, i1, i32, i64
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def

from hpacml.dialects.hpacml.effects import READS_AND_WRITES, MakesItsResults
from hpacml.dialects.hpacml.locations import PlacedOperation
from hpacml.dialects.hpacml.texts import TEXT, TEXTS, TextualOperation

FLAG = MemRefType(i32, [1])
RECORD = MemRefType(i64, [3])

REPEATED = -1
"""In a record in place of the size: the check was for indices that repeat."""


@irdl_op_definition
class FlagOp(TextualOperation):
    """
    The flag of a call on a device: memory of the device, not 0 once a kernel has raised it. From then on kernels that
    follow indices do nothing. The kernel that raises it also writes to the `record`, which the host can read: the
    number of its check, the index, and the size of the dimension that it lies outside of, or -1 where an index repeats.
    The numbers count from `first`, one for each of `maps`, the texts of the maps that are checked.

    Example:
    ```mlir
    %flag, %record, %first = hpacml_rt.flag "heat" ["f: [i] = ([i]) of t[idx[0:n]]"]
    ```
    """

    name = "hpacml_rt.flag"

    label = prop_def(TEXT)
    maps = prop_def(TEXTS)
    flag = result_def(FLAG)
    record = result_def(RECORD)
    first = result_def(IndexType())

    traits = traits_def(MakesItsResults())
    assembly_format = "$label $maps attr-dict"

    def __init__(self, label: StringAttr, maps: Sequence[str]):
        super().__init__(
            properties={"label": label, "maps": ArrayAttr([StringAttr(text) for text in maps])},
            result_types=[FLAG, RECORD, IndexType()],
        )


@irdl_op_definition
class FlagDownOp(PlacedOperation):
    """
    Whether a flag is down, as far as the host knows. It does not wait for the device (unless `HPACML_CHECK=sync` has it
    do so), and says yes; a flag that is found raised later is an error then.

    Example:
    ```mlir
    %fits = hpacml_rt.flag_down %flag
    ```
    """

    name = "hpacml_rt.flag_down"

    flag = operand_def(FLAG)
    down = result_def(i1)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$flag attr-dict"

    def __init__(self, flag: SSAValue):
        super().__init__(operands=[flag], result_types=[i1])
