"""Execution control: the `ml` region, and its clauses."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    FlatSymbolRefAttrConstr,
    Float64Type,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    TensorType,
    UnitAttr,
    i1,
    i64,
)
from xdsl.interfaces import HasCanonicalizationPatternsInterface
from xdsl.ir import Attribute, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.irdl.declarative_assembly_format import (
    CustomDirective,
    ParsingState,
    PrintingState,
    RegionVariable,
    irdl_custom_directive,
)
from xdsl.parser import Parser
from xdsl.pattern_rewriter import RewritePattern
from xdsl.printer import Printer
from xdsl.traits import HasParent, IsTerminator, NoTerminator, Pure, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from hpacml.clauses import (
    COLLECT_ALONE,
    ENGINES,
    POLICIES,
    Bounds,
    Guard,
    Sampling,
    Verification,
    is_policy,
    label_fault,
)
from hpacml.dialects.hpacml.attributes import Direction, MappingType, Mode, ModeAttr
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.clause_attributes import (
    ClipAttr,
    GuardAttr,
    SampleAttr,
    UnitsAttr,
    VerifyAttr,
    verify_sample,
)
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.locations import PlacedOperation
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
    clip = opt_prop_def(ClipAttr)
    """What each output is clipped to, in their order."""
    project = opt_prop_def(TEXT)
    """The name of the function that changes the outputs before they are written."""

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


DIMS = "hpacml.dims"
"""The attribute of a region with the names of the dimensions of its function's arguments."""

# The text of the clauses, in assembly formats.
MODEL_CLAUSES = (
    "(`model` custom<Given>($model)^)? (`batch` $batch^)? (`on_error` custom<Given>($on_error)^)? "
    "(`engine` custom<Given>($engine)^)? (`clip` $clip^)? (`project` custom<Given>($project)^)?"
)
DATA_CLAUSES = "(`database` custom<Given>($database)^)? (`sample` $sample^)? (`units` $units^)? (`meta` $meta^)?"


@irdl_custom_directive
class Empty(CustomDirective):
    """A region without code, of which the custom form has nothing."""

    region: RegionVariable

    def parse(self, parser: Parser, state: ParsingState) -> None:
        self.region.set(state, Region())

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        pass


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
    in place of the outputs, after the original code. `guard` says at which points the model may be used, by its own
    settings and by `where`, the text of a condition on the elements at a point of the mappings, and on the numbers,
    that `names` names in their order; the original code makes the others, which is `pointwise` if it does so for any
    points alone, and with `collect` these are collected. `verify` says which inferences are compared with the original
    code, and what follows. `clip` has bounds of each output, and `project` names a function of the program that changes
    them. A region with neither inputs nor outputs gets those that its code tells by the pass `hpacml-infer-maps`,
    without which nothing lowers it.

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
    where_points = var_operand_def(MappingType)
    where_numbers = var_operand_def(Float64Type())

    guard = opt_prop_def(GuardAttr)
    where = opt_prop_def(TEXT)
    where_names = opt_prop_def(TEXTS)
    verify_settings = opt_prop_def(VerifyAttr)
    pointwise = opt_prop_def(UnitAttr)

    written = var_result_def(TensorType)
    """The tensors that outputs write, as they are then, in the order of the outputs."""

    body = region_def("single_block")
    nothing = region_def()
    """Upstream MLIR, to which the operation is unknown, finds functions from inside where regions are two."""

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(NoTerminator(), RecursiveMemoryEffect(), *READS_AND_WRITES)
    custom_directives = (Given, Empty)
    assembly_format = (
        "$mode (`(` $condition^ `)`)? (`if` `(` $if_condition^ `)`)? "
        "(`in` `(` $inputs^ `:` type($inputs) `)`)? (`out` `(` $outputs^ `:` type($outputs) `)`)? "
        "(`inout` `(` $inouts^ `:` type($inouts) `)`)? (`truth` `(` $truths^ `:` type($truths) `)`)? "
        "(`numbers` `(` $numbers^ `)`)? "
        "(`guard` $guard^)? (`where` $where^ `names` $where_names)? "
        "(`points` `(` $where_points^ `:` type($where_points) `)`)? (`at` `(` $where_numbers^ `)`)? "
        "(`verify` $verify_settings^)? (`pointwise` $pointwise^)? "
        f"`label` $label {MODEL_CLAUSES} {DATA_CLAUSES} (`->` type($written)^)? "
        "attr-dict-with-keyword $body custom<Empty>($nothing)"
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
        guard: Guard | None = None,
        where: str | None = None,
        where_points: Mapping[str, SSAValue] | None = None,
        where_numbers: Mapping[str, SSAValue] | None = None,
        verify: Verification | None = None,
        clip: Sequence[Bounds] = (),
        project: str | None = None,
        pointwise: bool = False,
    ):
        points, at = where_points or {}, where_numbers or {}
        super().__init__(
            operands=[
                condition,
                if_condition,
                inputs,
                outputs,
                inouts,
                truths,
                numbers,
                list(points.values()),
                list(at.values()),
            ],
            result_types=[[tensor.type for tensor in tensors_of([*outputs, *inouts])]],
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
                "guard": None if guard is None else GuardAttr(guard),
                "where": None if where is None else StringAttr(where),
                "where_names": None if where is None else ArrayAttr(map(StringAttr, (*points, *at))),
                "verify_settings": None if verify is None else VerifyAttr(verify),
                "clip": ClipAttr(tuple(clip)) if clip else None,
                "project": None if project is None else StringAttr(project),
                "pointwise": UnitAttr() if pointwise else None,
            },
            regions=[body, Region()],
        )

    def __post_init__(self) -> None:
        if len(self.regions) == 1:
            self.add_region(Region())
        super().__post_init__()

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        from hpacml.dialects.hpacml.canonicalization import FoldConstantConditions

        return (FoldConstantConditions(),)

    def but(
        self,
        body: Region,
        *,
        properties: Mapping[str, Attribute | None] | None = None,
        written: Sequence[Attribute] | None = None,
        **operands: Sequence[SSAValue],
    ) -> MlOp:
        """A region like this one with another body, and what is given in the place of what it has: operands by the
        names of their groups, properties, and the types of the tensors written."""
        groups = [name for name, _ in MlOp.get_irdl_definition().operands]
        given = {name: cast("SSAValue | Sequence[SSAValue] | None", getattr(self, name)) for name in groups}
        kept = {key: value for key, value in self.properties.items() if key != AttrSizedOperandSegments.attribute_name}
        op = MlOp.build(
            operands=list({**given, **operands}.values()),
            properties={**kept, **(properties or {})},
            attributes=self.attributes,
            regions=[body, Region()],
            result_types=[self.written.types if written is None else written],
        )
        op.location = self.location
        return op

    @property
    def all_inputs(self) -> tuple[SSAValue, ...]:
        """The mappings read, in the order in which the model takes them."""
        return (*self.inputs, *self.inouts)

    @property
    def all_outputs(self) -> tuple[SSAValue, ...]:
        """The mappings written, in the order in which the model gives them."""
        return (*self.outputs, *self.inouts)

    @property
    def is_guarded(self) -> bool:
        """Whether the original code may run at some points, and the model be used at others."""
        return self.guard is not None or self.where is not None

    @property
    def collects_rejected(self) -> bool:
        """Whether what the original code makes of points that guards reject goes to the database."""
        return self.guard is not None and self.guard.data.collect

    @property
    def yields(self) -> Sequence[SSAValue]:
        """What the original code makes of the tensors that outputs write."""
        end = self.body.block.last_op
        return end.tensors if isinstance(end, YieldOp) else ()

    @property
    def is_without_maps(self) -> bool:
        """Whether its maps are yet to be inferred from its code."""
        return not self.all_inputs and not self.all_outputs

    def clauses_for(self, operation: type[IRDLOperation]) -> dict[str, Attribute]:
        """The label and the clauses, as far as operations of the given type have them too."""
        known = operation.get_irdl_definition().properties.keys() - {AttrSizedOperandSegments.attribute_name}
        return {name: value for name, value in self.properties.items() if name in known}

    def verify_(self) -> None:
        if (self.condition is None) == (self.mode.data == Mode.Predicated):
            raise VerifyException("a condition belongs to mode 'predicated', and only to it")
        if self.sample is not None and self.mode.data == Mode.Infer and not self.collects_rejected:
            raise VerifyException("a region that only infers has nothing to sample")
        if (fault := label_fault(self.label.data)) is not None:
            raise VerifyException(fault)
        super().verify_()
        if any(block.ops or block.args for block in self.nothing.blocks):
            raise VerifyException("a region of the program has one region of code, and a second that is empty")
        if self.body.block.args:
            raise VerifyException("the original code of a region takes no arguments: it uses values from outside")
        if self.is_without_maps and self.truths:
            raise VerifyException(
                "truths stand for outputs, and the region's are yet to be inferred: give it `in` and `out`"
            )
        if not self.is_without_maps and not (self.all_inputs and self.all_outputs):
            raise VerifyException(
                "a region needs at least one input and one output, or neither, where hpacml-infer-maps is to find them"
            )
        for mapping in self.all_inputs:
            if _direction(mapping) == Direction.From:
                raise VerifyException("an input is mapped by a 'from' map")
        for mapping in self.all_outputs:
            if _direction(mapping) == Direction.To:
                raise VerifyException("an output is mapped by a 'to' map")
        for mapping in self.truths:
            if _direction(mapping) == Direction.From:
                raise VerifyException("a truth is mapped by a 'from' map")
        self._verify_tensors()
        self._verify_guard()
        require_names(self.meta, self.numbers)
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

    def _verify_guard(self) -> None:
        operands = len(self.where_points) + len(self.where_numbers)
        names = [] if self.where_names is None else [name.data for name in self.where_names]
        if len(names) != operands or len(set(names)) != operands or (operands and self.where is None):
            raise VerifyException(f"{operands} values of `where` have the names {', '.join(names) or 'of none'}")
        if self.guard is not None and not self.guard.data.rejects and self.where is None:
            raise VerifyException(COLLECT_ALONE)
        if self.collects_rejected and (self.database is None or self.truths):
            raise VerifyException("points that a guard rejects are collected in a database, and `truth` has other data")
        if self.clip is not None and len(self.clip.data) != len(self.all_outputs):
            raise VerifyException(f"{len(self.clip.data)} bounds are for {len(self.all_outputs)} outputs")
        if (self.is_guarded or self.verify_settings is not None) and tensors_of(self.all_outputs):
            raise VerifyException("a guarded region writes memory, not tensors: hpacml-bufferize comes first")

    def _verify_tensors(self) -> None:
        if tensors_of(self.truths):
            raise VerifyException("a truth is memory that the original code writes, and tensors are never written")
        known = all(isinstance(mapping.owner, MapOp) for mapping in self.all_outputs)
        wanted = [tensor.type for tensor in tensors_of(self.all_outputs)] if known else list(self.written.types)
        for what, values in {"gives": self.written, "yields": self.yields}.items():
            if (given := [value.type for value in values]) != wanted:
                raise VerifyException(
                    f"the outputs write tensors of the types ({', '.join(map(str, wanted))}), and the region {what} "
                    f"({', '.join(map(str, given))}): one for each tensor, in the order of the outputs"
                )


@irdl_op_definition
class YieldOp(PlacedOperation):
    """
    The end of original code that works on tensors: what it makes of those that the region's outputs write.

    Example:
    ```mlir
    %new = hpacml.ml collect in(%in : !hpacml.mapping<?x?x5xf32>) out(%out : !hpacml.mapping<?x?x1xf32>)
        label "step" -> tensor<?x?xf32> {
      hpacml.yield %next : tensor<?x?xf32>
    }
    ```
    """

    name = "hpacml.yield"

    tensors = var_operand_def(TensorType)

    traits = traits_def(IsTerminator(), HasParent(MlOp), Pure())
    assembly_format = "($tensors^ `:` type($tensors))? attr-dict"

    def __init__(self, tensors: Sequence[SSAValue]):
        super().__init__(operands=[tensors])


def tensors_of(mappings: Sequence[SSAValue]) -> list[SSAValue]:
    """The tensors that hold the elements of mappings, each once, in their order."""
    maps = [mapping.owner for mapping in mappings if isinstance(mapping.owner, MapOp)]
    arrays = (each.arrays[number] for each in maps for number in each.holding_elements)
    return list(dict.fromkeys(array for array in arrays if isinstance(array.type, TensorType)))


def _source(source: Source | str | None) -> Source | None:
    return StringAttr(source) if isinstance(source, str) else source


def require_names(meta: ArrayAttr[StringAttr] | None, numbers: Sequence[SSAValue]) -> None:
    """Raise `VerifyException` unless numbers have a name each, which differ."""
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
