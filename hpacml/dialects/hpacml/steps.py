"""The steps that a region is made of: the original code, the inference, what is collected."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    FlatSymbolRefAttrConstr,
    Float64Type,
    FunctionType,
    MemRefType,
    StringAttr,
    SymbolRefAttr,
    f64,
    i1,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    attr_def,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import SymbolTable, SymbolUserOpInterface
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.clause_attributes import SampleAttr, verify_sample
from hpacml.dialects.hpacml.control import DATA_CLAUSES, MODEL_CLAUSES, SOURCE, DataClauses, ModelClauses, require_names
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.masks import require_mask
from hpacml.dialects.hpacml.texts import TEXT, TEXTS, Given, TextualOperation


class CallsBody(Protocol):
    """An operation that runs the original code of a region, a function."""

    @property
    def callee(self) -> SymbolRefAttr: ...
    @property
    def arguments(self) -> Sequence[SSAValue]: ...
    @property
    def function(self) -> FuncOp: ...


def function_of(op: Operation, callee: SymbolRefAttr) -> FuncOp:
    """The function of a name, where an operation stands. Raises `VerifyException` if there is none."""
    function = SymbolTable.lookup_symbol(op, callee)
    if not isinstance(function, FuncOp):
        raise VerifyException(f"{callee} is not a function")
    return function


class BodyIsFunction(SymbolUserOpInterface):
    """The code is a function without results, which takes the arguments."""

    def verify(self, op: Operation) -> None:
        body = cast(CallsBody, op)
        taken = body.function.function_type
        given = FunctionType.from_lists([value.type for value in body.arguments], [])
        if taken != given:
            raise VerifyException(f"{body.callee} has the type {taken}, and is called as {given}")


@irdl_op_definition
class BodyOp(TextualOperation):
    """
    Run the original code of a region, a function; the result is the time it took in milliseconds.

    Example:
    ```mlir
    %ms = hpacml.body "heat" @step(%t : memref<?x?xf32>)
    ```
    """

    name = "hpacml.body"

    label = prop_def(TEXT)
    callee = attr_def(FlatSymbolRefAttrConstr)
    """Upstream MLIR, to which the operation is unknown, finds uses of symbols in attributes only."""
    arguments = var_operand_def()
    milliseconds = result_def(Float64Type())

    traits = traits_def(BodyIsFunction(), *READS_AND_WRITES)
    assembly_format = "$label $callee `(` ($arguments^ `:` type($arguments))? `)` attr-dict"

    def __init__(self, label: StringAttr, callee: str, arguments: Sequence[SSAValue]):
        super().__init__(
            operands=[arguments],
            properties={"label": label},
            attributes={"callee": SymbolRefAttr(callee)},
            result_types=[f64],
        )

    @property
    def function(self) -> FuncOp:
        """The function that has the code. Raises `VerifyException` if there is none of its name."""
        return function_of(self, self.callee)


class _Inference(ModelClauses, ABC):
    """A run of the model of a region."""

    label = prop_def(TEXT)
    maps = opt_prop_def(TEXTS)
    inputs = var_operand_def(MemRefType)
    outputs = var_operand_def(MemRefType)
    done = result_def(i1)

    traits = traits_def(*READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (Given,)


@irdl_op_definition
class InferOp(_Inference):
    """
    Run the model on dense tensors: `ins` are its arguments in order, `outs` take its results in order.

    `maps` holds the functors and maps of inputs and outputs as text. The result is true when `outs` are written.
    A model that fails, is missing or does not fit leaves them untouched; `on_error` says what follows:
    "raise" leaves the function, "accurate" gives false, and when absent the environment decides, as for `engine`.

    Example:
    ```mlir
    %done = hpacml.infer "heat" model "m.pt2" ins(%x : memref<?x?x5xf32>) outs(%y : memref<?x?x1xf32>)
    ```
    """

    name = "hpacml.infer"

    assembly_format = (
        f"$label {MODEL_CLAUSES} (`maps` $maps^)? "
        "`ins` `(` $inputs `:` type($inputs) `)` `outs` `(` $outputs `:` type($outputs) `)` attr-dict"
    )

    def __init__(
        self,
        clauses: Mapping[str, Attribute],
        maps: ArrayAttr[StringAttr],
        inputs: Sequence[SSAValue],
        outputs: Sequence[SSAValue],
    ):
        super().__init__(operands=[inputs, outputs], properties={**clauses, "maps": maps}, result_types=[i1])


@irdl_op_definition
class InferOnViewsOp(_Inference):
    """
    Run the model of an inference from views to views, if it is a network that compiled code computes for them.

    `tensors` are the types of what that inference has: of its input and of its output, whose last dimension is that of
    the features. Views have the dimensions of the sweep, then features of their own. The result is true when `outs`
    are written. False leaves them untouched, and the inference is to follow, which raises what there is to raise.

    Example:
    ```mlir
    %done = hpacml.infer_on_views "heat" model "m.pt2" tensors [memref<?x2xf32>, memref<?x1xf32>]
      ins(%west, %east : memref<?xf32>, memref<?xf32>) outs(%centre : memref<?xf32>)
    ```
    """

    name = "hpacml.infer_on_views"

    tensors = prop_def(ArrayAttr[MemRefType])

    assembly_format = (
        f"$label {MODEL_CLAUSES} (`maps` $maps^)? `tensors` $tensors "
        "`ins` `(` $inputs `:` type($inputs) `)` `outs` `(` $outputs `:` type($outputs) `)` attr-dict"
    )

    def __init__(self, infer: InferOp, inputs: Sequence[SSAValue], outputs: Sequence[SSAValue]):
        tensors = [cast(MemRefType, each.type) for each in (*infer.inputs, *infer.outputs)]
        clauses = {
            name: infer.properties[name] for name in infer.properties.keys() - {AttrSizedOperandSegments.attribute_name}
        }
        properties = {**clauses, "tensors": ArrayAttr(tensors)}
        super().__init__(operands=[inputs, outputs], properties=properties, result_types=[i1])

    @property
    def sweep(self) -> int:
        """The number of dimensions that views have before their own features."""
        return self.tensors.data[0].get_num_dims() - 1

    def verify_(self) -> None:
        super().verify_()
        if len(self.tensors) != 2 or not self.inputs or not self.outputs:
            raise VerifyException("an inference on views has one input and one output, and views of both")
        for view in (*self.inputs, *self.outputs):
            if cast(MemRefType, view.type).get_num_dims() < self.sweep:
                raise VerifyException(f"a view of type {view.type} lacks dimensions of the sweep")


@irdl_op_definition
class SampleOp(TextualOperation):
    """
    Count a call of a region that collects: is it one of those that `sample` takes?

    Example:
    ```mlir
    %sampled = hpacml.sample "heat" database "d.h5" <every: 10, most: 1000>
    ```
    """

    name = "hpacml.sample"

    label = prop_def(TEXT)
    database = opt_prop_def(SOURCE)
    sample = prop_def(SampleAttr)
    sampled = result_def(i1)

    traits = traits_def(*READS_AND_WRITES)
    custom_directives = (Given,)
    assembly_format = "$label (`database` custom<Given>($database)^)? $sample attr-dict"

    def __init__(self, clauses: Mapping[str, Attribute]):
        super().__init__(properties=clauses, result_types=[i1])

    def verify_(self) -> None:
        verify_sample(self.sample)


@irdl_op_definition
class CollectOp(DataClauses):
    """
    Append inputs, outputs and the time of the original code to the region's group in the database.

    `maps` holds functors and maps of the region as text, and `truth` those of `outs` if these are not the region's
    outputs; `sample` and `units` are those of the region, which are recorded, and `numbers` those of the call.
    With `reasons`, the bits of a mask (docs/guards.md), the tensors have the points that guards have rejected, one in
    each row, and go to the group beside the region's for these.

    Example:
    ```mlir
    hpacml.collect "heat" database "d.h5" ins(%x : memref<?x?x5xf32>) outs(%y : memref<?x?x1xf32>) time %ms
    ```
    """

    name = "hpacml.collect"

    label = prop_def(TEXT)
    maps = opt_prop_def(TEXTS)
    truth = opt_prop_def(TEXTS)
    inputs = var_operand_def(MemRefType)
    outputs = var_operand_def(MemRefType)
    reasons = opt_operand_def(MemRefType)
    numbers = var_operand_def(Float64Type())
    milliseconds = operand_def(Float64Type())

    traits = traits_def(*READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (Given,)
    assembly_format = (
        f"$label {DATA_CLAUSES} (`maps` $maps^)? (`truth` $truth^)? "
        "`ins` `(` $inputs `:` type($inputs) `)` `outs` `(` $outputs `:` type($outputs) `)` "
        "(`reasons` `(` $reasons^ `:` type($reasons) `)`)? "
        "(`numbers` `(` $numbers^ `)`)? `time` $milliseconds attr-dict"
    )

    def __init__(
        self,
        clauses: Mapping[str, Attribute],
        maps: ArrayAttr[StringAttr],
        truth: ArrayAttr[StringAttr] | None,
        inputs: Sequence[SSAValue],
        outputs: Sequence[SSAValue],
        numbers: Sequence[SSAValue],
        milliseconds: SSAValue,
        reasons: SSAValue | None = None,
    ):
        super().__init__(
            operands=[inputs, outputs, reasons, numbers, milliseconds],
            properties={**clauses, "maps": maps, "truth": truth},
        )

    def verify_(self) -> None:
        super().verify_()
        if self.reasons is not None:
            require_mask(self.reasons)
        require_names(self.meta, self.numbers)
