"""Execution control: the `ml` region and the steps it is made of."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    FlatSymbolRefAttrConstr,
    Float64Type,
    FunctionType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolRefAttr,
    f64,
    i1,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.interfaces import HasCanonicalizationPatternsInterface
from xdsl.ir import Attribute, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    attr_def,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.pattern_rewriter import RewritePattern
from xdsl.traits import NoTerminator, RecursiveMemoryEffect, SymbolTable, SymbolUserOpInterface
from xdsl.utils.exceptions import VerifyException

from hpacml.clauses import ENGINES, POLICIES, Sampling, is_policy
from hpacml.dialects.hpacml.attributes import Direction, MappingType, Mode, ModeAttr
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.clause_attributes import SampleAttr, UnitsAttr, verify_sample
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.texts import TEXT, TEXTS, Given, TextualOperation

Source = StringAttr | SymbolRefAttr
"""Where a model or database comes from: a path, or `@name` of the call's argument that holds it."""

SOURCE = TEXT | FlatSymbolRefAttrConstr


class ModelClauses(TextualOperation, ABC):
    """The clauses about the model, which a region and its inference have."""

    model = opt_prop_def(SOURCE)
    batch = opt_prop_def(IntegerAttr.constr(i64))
    on_error = opt_prop_def(TEXT)
    engine = opt_prop_def(TEXT)

    def verify_(self) -> None:
        if self.engine is not None and self.engine.data not in ENGINES:
            raise VerifyException(f"engine is one of {', '.join(ENGINES)}")
        if self.batch is not None and self.batch.value.data < 0:
            raise VerifyException("batch must not be negative")
        if self.on_error is not None and not is_policy(self.on_error.data):
            raise VerifyException(f"on_error is one of {', '.join(POLICIES)}")
        super().verify_()


class DataClauses(TextualOperation, ABC):
    """The clauses about the data collected, which a region and its collection have."""

    database = opt_prop_def(SOURCE)
    sample = opt_prop_def(SampleAttr)
    units = opt_prop_def(UnitsAttr)
    meta = opt_prop_def(TEXTS)
    """The names of numbers that each call has."""

    def verify_(self) -> None:
        verify_sample(self.sample)
        super().verify_()


# The text of the clauses, in assembly formats.
MODEL_CLAUSES = (
    "(`model` custom<Given>($model)^)? (`batch` $batch^)? (`on_error` custom<Given>($on_error)^)? "
    "(`engine` custom<Given>($engine)^)?"
)
DATA_CLAUSES = "(`database` custom<Given>($database)^)? (`sample` $sample^)? (`units` $units^)? (`meta` $meta^)?"


@irdl_op_definition
class MlOp(ModelClauses, DataClauses, HasCanonicalizationPatternsInterface):
    """
    A region that a model may replace (paper, section III-C): mode, condition, maps, and the original code.

    `model` and `database` are paths, or `@name` for an argument of the call that holds one; when absent the
    environment decides. `batch` says that the model treats dimension 0 as independent rows, with a number:
    so many rows a call (0: as the runtime likes). `on_error` is "raise", or "accurate" to run the original code
    where the model fails, and `engine` says what computes it: "auto", "torch" or "compiled"; when absent the
    environment decides. `sample` says which calls are collected, when absent all: each `every`-th, of these a
    `fraction` by the random numbers of a `seed`, of these the first `most`. `units` are those of arrays, by their
    names in the maps. `meta` names the `numbers` of the call, which are collected; `truth` has maps that are collected
    in place of the outputs, after the original code.

    Example:
    ```mlir
    hpacml.ml predicated(%c) if(%d) in(%in : !hpacml.mapping<?x?x5xf32>) out(%out : !hpacml.mapping<?x?x1xf32>)
        label "heat" model "m.pt2" batch 4096 on_error "raise" database "d.h5" sample <every: 10> units <t: "K"> {
      func.call @step(%t) : (memref<?x?xf32>) -> ()
    }
    ```
    """

    name = "hpacml.ml"

    mode = prop_def(ModeAttr)
    label = prop_def(TEXT)

    condition = opt_operand_def(i1)
    if_condition = opt_operand_def(i1)
    inputs = var_operand_def(MappingType)
    outputs = var_operand_def(MappingType)
    inouts = var_operand_def(MappingType)
    truths = var_operand_def(MappingType)
    numbers = var_operand_def(Float64Type())

    body = region_def("single_block")

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(NoTerminator(), RecursiveMemoryEffect(), *READS_AND_WRITES)
    custom_directives = (Given,)
    assembly_format = (
        "$mode (`(` $condition^ `)`)? (`if` `(` $if_condition^ `)`)? "
        "(`in` `(` $inputs^ `:` type($inputs) `)`)? (`out` `(` $outputs^ `:` type($outputs) `)`)? "
        "(`inout` `(` $inouts^ `:` type($inouts) `)`)? (`truth` `(` $truths^ `:` type($truths) `)`)? "
        "(`numbers` `(` $numbers^ `)`)? "
        f"`label` $label {MODEL_CLAUSES} {DATA_CLAUSES} attr-dict-with-keyword $body"
    )

    def __init__(
        self,
        mode: Mode,
        label: str,
        body: Region,
        *,
        condition: SSAValue | None = None,
        if_condition: SSAValue | None = None,
        inputs: Sequence[SSAValue] = (),
        outputs: Sequence[SSAValue] = (),
        inouts: Sequence[SSAValue] = (),
        truths: Sequence[SSAValue] = (),
        numbers: Sequence[SSAValue] = (),
        model: Source | str | None = None,
        batch: int | None = None,
        on_error: str | None = None,
        engine: str | None = None,
        database: Source | str | None = None,
        sample: Sampling | None = None,
        units: Mapping[str, str] | None = None,
        meta: Sequence[str] = (),
    ):
        super().__init__(
            operands=[condition, if_condition, inputs, outputs, inouts, truths, numbers],
            properties={
                "mode": ModeAttr(mode),
                "label": StringAttr(label),
                "model": _source(model),
                "batch": None if batch is None else IntegerAttr(batch, i64),
                "on_error": None if on_error is None else StringAttr(on_error),
                "engine": None if engine is None else StringAttr(engine),
                "database": _source(database),
                "sample": None if sample is None else SampleAttr(sample),
                "units": UnitsAttr.of(units or {}),
                "meta": ArrayAttr(map(StringAttr, meta)) if meta else None,
            },
            regions=[body],
        )

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        from hpacml.dialects.hpacml.canonicalization import FoldConstantConditions

        return (FoldConstantConditions(),)

    @property
    def all_inputs(self) -> tuple[SSAValue, ...]:
        """The mappings read, in the order in which the model takes them."""
        return (*self.inputs, *self.inouts)

    @property
    def all_outputs(self) -> tuple[SSAValue, ...]:
        """The mappings written, in the order in which the model gives them."""
        return (*self.outputs, *self.inouts)

    def clauses_for(self, operation: type[IRDLOperation]) -> dict[str, Attribute]:
        """The label and the clauses, as far as operations of the given type have them too."""
        known = operation.get_irdl_definition().properties.keys() - {AttrSizedOperandSegments.attribute_name}
        return {name: value for name, value in self.properties.items() if name in known}

    def verify_(self) -> None:
        if (self.condition is None) == (self.mode.data == Mode.Predicated):
            raise VerifyException("a condition belongs to mode 'predicated', and only to it")
        if self.sample is not None and self.mode.data == Mode.Infer:
            raise VerifyException("a region that only infers has nothing to sample")
        super().verify_()
        if self.body.block.args:
            raise VerifyException("the original code of a region takes no arguments: it uses values from outside")
        if not self.all_inputs or not self.all_outputs:
            raise VerifyException("a region needs at least one input and one output")
        for mapping in self.all_inputs:
            if _direction(mapping) == Direction.From:
                raise VerifyException("an input is mapped by a 'from' map")
        for mapping in self.all_outputs:
            if _direction(mapping) == Direction.To:
                raise VerifyException("an output is mapped by a 'to' map")
        for mapping in self.truths:
            if _direction(mapping) == Direction.From:
                raise VerifyException("a truth is mapped by a 'from' map")
        _require_names(self.meta, self.numbers)
        if self.truths and len(self.truths) != len(self.all_outputs):
            raise VerifyException(f"{len(self.truths)} truths stand for {len(self.all_outputs)} outputs")
        for truth, output in zip(self.truths, self.all_outputs, strict=False):
            _require_same_rank(truth, output)
        maps = [mapping.owner for mapping in self.all_outputs if isinstance(mapping.owner, MapOp)]
        for one, other in permutations(maps, 2):
            if shared := {one.arrays[n] for n in one.index_arrays} & {other.arrays[n] for n in other.holding_elements}:
                name = next(iter(shared)).name_hint or "an array"
                raise VerifyException(
                    f"'{name}' holds the indices of one output and is itself another: use a copy of it"
                )


def _source(source: Source | str | None) -> Source | None:
    return StringAttr(source) if isinstance(source, str) else source


def _require_names(meta: ArrayAttr[StringAttr] | None, numbers: Sequence[SSAValue]) -> None:
    names = [] if meta is None else [name.data for name in meta]
    if len(names) != len(numbers) or len(set(names)) != len(names):
        raise VerifyException(f"{len(numbers)} numbers have the names {', '.join(names) or 'of none'}")


def _require_same_rank(truth: SSAValue, output: SSAValue) -> None:
    given, wanted = (len(cast(MappingType, mapping.type).get_shape()) for mapping in (truth, output))
    if given != wanted:
        raise VerifyException(
            f"a truth of {given} dimension{'s' * (given != 1)} stands for an output of {wanted}: map it as that"
        )


def _direction(mapping: SSAValue) -> Direction | None:
    return mapping.owner.direction.data if isinstance(mapping.owner, MapOp) else None


class BodyIsFunction(SymbolUserOpInterface):
    """The code is a function without results, which takes the arguments."""

    def verify(self, op: Operation) -> None:
        body = cast(BodyOp, op)
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
        function = SymbolTable.lookup_symbol(self, self.callee)
        if not isinstance(function, FuncOp):
            raise VerifyException(f"{self.callee} is not a function")
        return function


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
    numbers = var_operand_def(Float64Type())
    milliseconds = operand_def(Float64Type())

    traits = traits_def(*READS_AND_WRITES)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (Given,)
    assembly_format = (
        f"$label {DATA_CLAUSES} (`maps` $maps^)? (`truth` $truth^)? "
        "`ins` `(` $inputs `:` type($inputs) `)` `outs` `(` $outputs `:` type($outputs) `)` "
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
    ):
        super().__init__(
            operands=[inputs, outputs, numbers, milliseconds], properties={**clauses, "maps": maps, "truth": truth}
        )

    def verify_(self) -> None:
        super().verify_()
        _require_names(self.meta, self.numbers)
