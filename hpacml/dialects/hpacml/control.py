"""Execution control: the `ml` region and the steps it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

from xdsl.dialects.builtin import (
    ArrayAttr,
    FlatSymbolRefAttrConstr,
    Float64Type,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolRefAttr,
    f64,
    i1,
    i64,
)
from xdsl.interfaces import HasCanonicalizationPatternsInterface
from xdsl.ir import Attribute, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    base,
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
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.pattern_rewriter import RewritePattern
from xdsl.printer import Printer
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from hpacml.clauses import POLICIES, Sampling, is_policy
from hpacml.dialects.hpacml.attributes import Direction, MappingType, Mode, ModeAttr, as_text
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.clauses import SampleAttr, UnitsAttr, print_clauses, verify_sample

Source = StringAttr | SymbolRefAttr
"""Where a model or database comes from: a path, or `@name` of the call's argument that holds it."""

SOURCE = base(StringAttr) | FlatSymbolRefAttrConstr


def source_attr(source: Source | str | None) -> Source | None:
    return StringAttr(source) if isinstance(source, str) else source


@irdl_op_definition
class MlOp(IRDLOperation, HasCanonicalizationPatternsInterface):
    """
    A region that a model may replace (paper, section III-C): mode, condition, maps, and the original code.

    `model` and `database` are paths, or `@name` for an argument of the call that holds one; when absent the
    environment decides. `batch` says that the model treats dimension 0 as independent rows, with a number:
    so many rows a call (0: as the runtime likes). `on_error` is "raise", or "accurate" to run the original code
    where the model fails; when absent the environment decides. `sample` says which calls are collected, when absent
    all: each `every`-th, of these a `fraction` by the random numbers of a `seed`, of these the first `most`.
    `units` are those of arrays, by their names in the maps.

    Example:
    ```mlir
    hpacml.ml predicated(%c) if(%d) in(%in) out(%out) model "m.pt2" database "d.h5" label "heat" batch 4096
        : !hpacml.mapping<?x?x5xf32>, !hpacml.mapping<?x?x1xf32> {
      func.call @step(%t) : (memref<?x?xf32>) -> ()
    }
    ```
    """

    name = "hpacml.ml"

    mode = prop_def(ModeAttr)
    model = opt_prop_def(SOURCE)
    database = opt_prop_def(SOURCE)
    label = prop_def(StringAttr)
    batch = opt_prop_def(IntegerAttr.constr(i64))
    on_error = opt_prop_def(StringAttr)
    sample = opt_prop_def(SampleAttr)
    units = opt_prop_def(UnitsAttr)

    condition = opt_operand_def(i1)
    if_condition = opt_operand_def(i1)
    inputs = var_operand_def(MappingType)
    outputs = var_operand_def(MappingType)
    inouts = var_operand_def(MappingType)

    body = region_def("single_block")

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(NoTerminator())

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
        model: Source | str | None = None,
        database: Source | str | None = None,
        batch: int | None = None,
        on_error: str | None = None,
        sample: Sampling | None = None,
        units: Mapping[str, str] | None = None,
    ):
        super().__init__(
            operands=[condition, if_condition, inputs, outputs, inouts],
            properties={
                "mode": ModeAttr(mode),
                "label": StringAttr(label),
                "model": source_attr(model),
                "database": source_attr(database),
                "batch": None if batch is None else IntegerAttr(batch, i64),
                "on_error": None if on_error is None else StringAttr(on_error),
                "sample": None if sample is None else SampleAttr(sample),
                "units": UnitsAttr.of(units or {}),
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

    def verify_(self) -> None:
        if (self.condition is None) == (self.mode.data == Mode.Predicated):
            raise VerifyException("a condition belongs to mode 'predicated', and only to it")
        if self.batch is not None and self.batch.value.data < 0:
            raise VerifyException("batch must not be negative")
        _verify_on_error(self.on_error)
        if self.sample is not None and self.mode.data == Mode.Infer:
            raise VerifyException("a region that only infers has nothing to sample")
        verify_sample(self.sample)
        if not self.all_inputs or not self.all_outputs:
            raise VerifyException("a region needs at least one input and one output")
        for mapping in self.all_inputs:
            if _direction(mapping) == Direction.From:
                raise VerifyException("an input is mapped by a 'from' map")
        for mapping in self.all_outputs:
            if _direction(mapping) == Direction.To:
                raise VerifyException("an output is mapped by a 'to' map")
        maps = [mapping.owner for mapping in self.all_outputs if isinstance(mapping.owner, MapOp)]
        for one, other in permutations(maps, 2):
            if shared := {one.arrays[n] for n in one.index_arrays} & {other.arrays[n] for n in other.holding_elements}:
                name = next(iter(shared)).name_hint or "an array"
                raise VerifyException(
                    f"'{name}' holds the indices of one output and is itself another: use a copy of it"
                )

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.mode.data}")
        if self.condition is not None:
            with printer.in_parens():
                printer.print_ssa_value(self.condition)
        clauses: list[tuple[str, Sequence[SSAValue]]] = [
            ("if", () if self.if_condition is None else (self.if_condition,)),
            ("in", self.inputs),
            ("out", self.outputs),
            ("inout", self.inouts),
        ]
        for keyword, values in clauses:
            if values:
                printer.print_string(f" {keyword}(")
                printer.print_list(values, printer.print_ssa_value)
                printer.print_string(")")
        for keyword, source in (("model", self.model), ("database", self.database), ("label", self.label)):
            if source is not None:
                printer.print_string(f" {keyword} ")
                printer.print_attribute(source)
        if self.batch is not None:
            printer.print_string(f" batch {self.batch.value.data}")
        if self.on_error is not None:
            printer.print_string(" on_error ")
            printer.print_attribute(self.on_error)
        print_clauses(printer, (("sample", self.sample), ("units", self.units)))
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" : ")
        mappings = (*self.inputs, *self.outputs, *self.inouts)
        printer.print_list(mappings, lambda mapping: printer.print_attribute(mapping.type))
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)

    @classmethod
    def parse(cls, parser: Parser) -> MlOp:
        def operands(keyword: str) -> list[UnresolvedOperand]:
            if parser.parse_optional_keyword(keyword) is None:
                return []
            return parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_unresolved_operand)

        def source(keyword: str) -> Attribute | None:
            return None if parser.parse_optional_keyword(keyword) is None else as_text(parser.parse_attribute())

        mode = parser.parse_str_enum(Mode)
        condition: list[SSAValue] = []
        if parser.parse_optional_punctuation("(") is not None:
            condition = [parser.resolve_operand(parser.parse_unresolved_operand(), i1)]
            parser.parse_punctuation(")")
        if_condition = [parser.resolve_operand(o, i1) for o in operands("if")]
        groups = [operands("in"), operands("out"), operands("inout")]
        properties: dict[str, Attribute | None] = {"mode": ModeAttr(mode)}
        for keyword in ("model", "database", "label"):
            properties[keyword] = source(keyword)
        if parser.parse_optional_keyword("batch") is not None:
            properties["batch"] = IntegerAttr(parser.parse_integer(allow_boolean=False), i64)
        if parser.parse_optional_keyword("on_error") is not None:
            properties["on_error"] = StringAttr(parser.parse_str_literal())
        if parser.parse_optional_keyword("sample") is not None:
            properties["sample"] = SampleAttr(SampleAttr.parse_parameter(parser))
        if parser.parse_optional_keyword("units") is not None:
            properties["units"] = UnitsAttr(UnitsAttr.parse_parameter(parser))
        attributes = parser.parse_optional_attr_dict_with_keyword()
        parser.parse_punctuation(":")
        types: Iterator[Attribute] = iter(parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_type))
        resolved: list[list[SSAValue]] = []
        for group in groups:
            values: list[SSAValue] = []
            for operand in group:
                if (type := next(types, None)) is None:
                    parser.raise_error("expected one type for each mapping")
                values.append(parser.resolve_operand(operand, type))
            resolved.append(values)
        if next(types, None) is not None:
            parser.raise_error("expected one type for each mapping")
        body = parser.parse_region()
        return cls.build(
            operands=[condition, if_condition, *resolved],
            properties=properties,
            attributes=attributes.data if attributes else {},
            regions=[body],
        )


def _verify_on_error(policy: StringAttr | None) -> None:
    if policy is not None and not is_policy(policy.data):
        raise VerifyException(f"on_error is one of {', '.join(POLICIES)}")


def _direction(mapping: SSAValue) -> Direction | None:
    return mapping.owner.direction.data if isinstance(mapping.owner, MapOp) else None


@irdl_op_definition
class BodyOp(IRDLOperation):
    """
    The original code of a region; the result is the time it took in milliseconds.

    Example:
    ```mlir
    %ms = hpacml.body "heat" {
      func.call @step(%t) : (memref<?x?xf32>) -> ()
    }
    ```
    """

    name = "hpacml.body"

    label = prop_def(StringAttr)
    milliseconds = result_def(Float64Type())
    body = region_def("single_block")

    traits = traits_def(NoTerminator())
    assembly_format = "$label $body attr-dict"

    def __init__(self, label: StringAttr, body: Region):
        super().__init__(properties={"label": label}, result_types=[f64], regions=[body])


@irdl_op_definition
class InferOp(IRDLOperation):
    """
    Run the model on dense tensors: `ins` are its arguments in order, `outs` take its results in order.

    `maps` holds the functors and maps of inputs and outputs as text. The result is true when `outs` are written.
    A model that fails, is missing or does not fit leaves them untouched; what follows is told by `on_error`:
    "raise" leaves the function, "accurate" gives false, and when absent the environment decides.

    Example:
    ```mlir
    %done = hpacml.infer "heat" model "m.pt2" ins(%x : memref<?x?x5xf32>) outs(%y : memref<?x?x1xf32>)
    ```
    """

    name = "hpacml.infer"

    label = prop_def(StringAttr)
    model = opt_prop_def(SOURCE)
    batch = opt_prop_def(IntegerAttr.constr(i64))
    on_error = opt_prop_def(StringAttr)
    maps = opt_prop_def(ArrayAttr[StringAttr])
    inputs = var_operand_def(MemRefType)
    outputs = var_operand_def(MemRefType)
    done = result_def(i1)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$label (`model` $model^)? (`batch` $batch^)? (`on_error` $on_error^)? (`maps` $maps^)? "
        "`ins` `(` $inputs `:` type($inputs) `)` `outs` `(` $outputs `:` type($outputs) `)` attr-dict"
    )

    def __init__(
        self,
        label: StringAttr,
        model: Attribute | None,
        batch: Attribute | None,
        on_error: Attribute | None,
        maps: ArrayAttr[StringAttr],
        inputs: Sequence[SSAValue],
        outputs: Sequence[SSAValue],
    ):
        super().__init__(
            operands=[inputs, outputs],
            properties={"label": label, "model": model, "batch": batch, "on_error": on_error, "maps": maps},
            result_types=[i1],
        )

    def verify_(self) -> None:
        _verify_on_error(self.on_error)


@irdl_op_definition
class SampleOp(IRDLOperation):
    """
    Count a call of a region that collects: is it one of those that `sample` takes?

    Example:
    ```mlir
    %sampled = hpacml.sample "heat" database "d.h5" <every: 10, most: 1000>
    ```
    """

    name = "hpacml.sample"

    label = prop_def(StringAttr)
    database = opt_prop_def(SOURCE)
    sample = prop_def(SampleAttr)
    sampled = result_def(i1)

    assembly_format = "$label (`database` $database^)? $sample attr-dict"

    def __init__(self, label: StringAttr, database: Attribute | None, sample: SampleAttr):
        super().__init__(
            properties={"label": label, "database": database, "sample": sample},
            result_types=[i1],
        )

    def verify_(self) -> None:
        verify_sample(self.sample)


@irdl_op_definition
class CollectOp(IRDLOperation):
    """
    Append inputs, outputs and the time of the original code to the region's group in the database.

    `maps` holds their functors and maps as text; `sample` and `units` are those of the region, which are recorded.

    Example:
    ```mlir
    hpacml.collect "heat" database "d.h5" ins(%x : memref<?x?x5xf32>) outs(%y : memref<?x?x1xf32>) time %ms
    ```
    """

    name = "hpacml.collect"

    label = prop_def(StringAttr)
    database = opt_prop_def(SOURCE)
    sample = opt_prop_def(SampleAttr)
    units = opt_prop_def(UnitsAttr)
    maps = opt_prop_def(ArrayAttr[StringAttr])
    inputs = var_operand_def(MemRefType)
    outputs = var_operand_def(MemRefType)
    milliseconds = operand_def(Float64Type())

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$label (`database` $database^)? (`sample` $sample^)? (`units` $units^)? (`maps` $maps^)? "
        "`ins` `(` $inputs `:` type($inputs) `)` `outs` `(` $outputs `:` type($outputs) `)` "
        "`time` $milliseconds attr-dict"
    )

    def __init__(
        self,
        label: StringAttr,
        database: Attribute | None,
        maps: ArrayAttr[StringAttr],
        inputs: Sequence[SSAValue],
        outputs: Sequence[SSAValue],
        milliseconds: SSAValue,
        sample: SampleAttr | None = None,
        units: UnitsAttr | None = None,
    ):
        super().__init__(
            operands=[inputs, outputs, milliseconds],
            properties={"label": label, "database": database, "maps": maps, "sample": sample, "units": units},
        )

    def verify_(self) -> None:
        verify_sample(self.sample)
