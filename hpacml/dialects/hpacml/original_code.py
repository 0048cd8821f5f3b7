"""Original code that is asked for some points, or runs aside, and what calls of Python take."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DenseArrayBase,
    FlatSymbolRefAttrConstr,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolRefAttr,
    UnitAttr,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue
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
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.attributes import MappingType
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.locations import PlacedOperation
from hpacml.dialects.hpacml.masks import require_mask
from hpacml.dialects.hpacml.steps import BodyIsFunction, function_of
from hpacml.dialects.hpacml.texts import TEXT, TextualOperation


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

    traits = traits_def(BodyIsFunction(), *READS_AND_WRITES)
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
        return function_of(self, self.callee)

    def verify_(self) -> None:
        if not self.outputs or len(self.outputs) != len(self.tensors):
            raise VerifyException(f"{len(self.tensors)} tensors take what {len(self.outputs)} outputs write")
        require_mask(self.mask)
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

    traits = traits_def(BodyIsFunction(), *READS_AND_WRITES)
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
        return function_of(self, self.callee)

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
