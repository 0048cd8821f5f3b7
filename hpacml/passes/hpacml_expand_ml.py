"""`hpacml-expand-ml`: make the execution control of `hpacml.ml` explicit, as docs/directives.md tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import scf
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable

from hpacml.dialects.hpacml.attributes import Mode
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import BodyOp, CollectOp, InferOp, MlOp, SampleOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp, ScatterOp, TensorOp
from hpacml.dialects.hpacml_rt.map_checks import CheckIndicesOp
from hpacml.passes.common.stages import Stages


@dataclass(frozen=True)
class HpacmlExpandMlPass(ModulePass):
    """
    A region becomes gather, infer, scatter | gather, body, gather, collect | body, under `scf.if`.

    ```mlir
    hpacml.ml predicated(%c) in(%in : ...) out(%out : ...) label "r" model "m" database "d" { body }
    ```
    becomes
    ```mlir
    scf.if %c {
      %x = hpacml.tensor %in
      hpacml.gather %in into %x
      %y = hpacml.tensor %out
      %done = hpacml.infer "r" model "m" ins(%x) outs(%y)
      scf.if %done {
        hpacml.scatter %y into %out
      } else {
        hpacml.body "r" { body }
      }
    } else {
      %x = hpacml.tensor fresh %in
      hpacml.gather %in into %x
      %ms = hpacml.body "r" { body }
      %y = hpacml.tensor %out
      hpacml.gather %out into %y
      hpacml.collect "r" database "d" ins(%x) outs(%y) time %ms
    }
    ```
    With `on_error "raise"` the model writes or the function is left, so the scatter needs no `scf.if`.
    With `sample` what collects comes under `%sampled = hpacml.sample "r" database "d" <...>`, else only the body runs.
    With `if(%c)` all of this, and the maps that only this region uses, come under one more `scf.if`.

    With `report` there is an `hpacml_rt.now` between these steps, and an `hpacml_rt.record` of their times at the end.
    """

    name = "hpacml-expand-ml"

    report: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(_ExpandMl(self.report)).rewrite_module(op)


@dataclass
class _ExpandMl(RewritePattern):
    report: bool

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MlOp, rewriter: PatternRewriter) -> None:
        builder = Builder(InsertPoint.before(op))
        if op.if_condition is None:
            _expand(op, builder, self.report)
        else:
            then, otherwise = Region(_own_maps(op)), Region(Block())
            _expand(op, Builder(InsertPoint.at_end(then.block)), self.report)
            _body_alone(op, Builder(InsertPoint.at_end(otherwise.block)), self.report)
            builder.insert(_branch(op.if_condition, then, otherwise))
        rewriter.erase(op)


def _own_maps(op: MlOp) -> Block:
    """Move maps that only `op` uses into its place: a map that is not used need not fit its arrays."""
    block = Block()
    for map_op in dict.fromkeys(mapping.owner for mapping in (*op.inputs, *op.outputs, *op.inouts)):
        if isinstance(map_op, MapOp) and map_op.parent == op.parent:
            if all(use.operation is op for use in map_op.mapping.uses):
                map_op.detach()
                block.add_op(map_op)
    return block


def _expand(op: MlOp, builder: Builder, report: bool) -> None:
    match op.mode.data:
        case Mode.Infer:
            _infer(op, builder, report)
        case Mode.Collect:
            _collect(op, builder, report)
        case Mode.Predicated:
            if op.condition is None:
                raise ValueError("verified: a predicated region has a condition")
            then, otherwise = Region(Block()), Region(Block())
            _infer(op, Builder(InsertPoint.at_end(then.block)), report)
            _collect(op, Builder(InsertPoint.at_end(otherwise.block)), report)
            builder.insert(_branch(op.condition, then, otherwise))


def _branch(condition: SSAValue, then: Region, otherwise: Region) -> scf.IfOp:
    for region in (then, otherwise):
        region.block.add_op(scf.YieldOp())
    return scf.IfOp(condition, [], then, otherwise)


def _infer(op: MlOp, builder: Builder, report: bool) -> None:
    stages = Stages(op.label, "infer", builder, report)
    inputs = [_gather(mapping, "x", builder) for mapping in op.all_inputs]
    stages.end("gather", builder, zip(inputs, op.all_inputs, strict=True))
    outputs = [_tensor(mapping, "y", builder) for mapping in op.all_outputs]
    if len(outputs) > 1:  # before the model: a tensor that is an array's memory is written by `infer`
        for mapping in filter(_is_indirect, op.all_outputs):
            builder.insert(CheckIndicesOp(mapping))
    stages.end("prepare", builder)
    done = builder.insert(InferOp(op.clauses_for(InferOp), _texts(op), inputs, outputs)).done
    stages.end("model", builder)
    raises = op.on_error is not None and op.on_error.data == "raise"
    then = Region(Block())
    writer = builder if raises else Builder(InsertPoint.at_end(then.block))
    copies = list(zip(outputs, op.all_outputs, strict=True))
    for tensor, mapping in copies:
        writer.insert(ScatterOp(tensor, mapping))
    stages.finish("scatter", writer, copies)
    if not raises:
        done.name_hint = "done"
        otherwise = Region(Block())
        original = Builder(InsertPoint.at_end(otherwise.block))
        _run_body(op, original)
        stages.finish("body", original)
        builder.insert(_branch(done, then, otherwise))


def _collect(op: MlOp, builder: Builder, report: bool) -> None:
    if op.sample is None:
        _record(op, builder, report)
        return
    sampled = builder.insert(SampleOp(op.clauses_for(SampleOp))).sampled
    sampled.name_hint = "sampled"
    then, otherwise = Region(Block()), Region(Block())
    _record(op, Builder(InsertPoint.at_end(then.block)), report)
    _body_alone(op, Builder(InsertPoint.at_end(otherwise.block)), report)
    builder.insert(_branch(sampled, then, otherwise))


def _record(op: MlOp, builder: Builder, report: bool) -> None:
    stages = Stages(op.label, "collect", builder, report)
    # The body may overwrite its inputs, so they are copied even where a map is packed memory.
    inputs = [_gather(mapping, "x", builder, fresh=True) for mapping in op.all_inputs]
    stages.end("gather", builder, zip(inputs, op.all_inputs, strict=True))
    milliseconds = _run_body(op, builder)
    stages.end("body", builder)
    outputs = [_gather(mapping, "y", builder) for mapping in op.all_outputs]
    stages.end("outputs", builder, zip(outputs, op.all_outputs, strict=True))
    builder.insert(CollectOp(op.clauses_for(CollectOp), _texts(op), inputs, outputs, milliseconds))
    stages.finish("enqueue", builder)


def _body_alone(op: MlOp, builder: Builder, report: bool) -> None:
    stages = Stages(op.label, "body", builder, report)
    _run_body(op, builder)
    stages.finish("body", builder)


def _is_indirect(mapping: SSAValue) -> bool:
    return isinstance(mapping.owner, MapOp) and bool(mapping.owner.index_arrays)


def _tensor(mapping: SSAValue, name: str, builder: Builder, fresh: bool = False) -> SSAValue:
    tensor = builder.insert(TensorOp(mapping, fresh)).tensor
    tensor.name_hint = name
    return tensor


def _gather(mapping: SSAValue, name: str, builder: Builder, fresh: bool = False) -> SSAValue:
    tensor = _tensor(mapping, name, builder, fresh)
    builder.insert(GatherOp(mapping, tensor))
    return tensor


def _run_body(op: MlOp, builder: Builder) -> SSAValue:
    milliseconds = builder.insert(BodyOp(op.label, op.body.clone())).milliseconds
    milliseconds.name_hint = "ms"
    return milliseconds


def _texts(op: MlOp) -> ArrayAttr[StringAttr]:
    """Functor and map of every input and output as text, for messages and for the database."""

    def text(mapping: SSAValue, direction: str) -> str:
        owner = mapping.owner
        functor = SymbolTable.lookup_symbol(op, owner.functor) if isinstance(owner, MapOp) else None
        if not isinstance(owner, MapOp) or not isinstance(functor, FunctorOp):
            return f"{direction}: {mapping.type}"
        applied = owner.text.data if owner.text is not None else str(owner.mapping.type)
        return f"{direction}: {functor.declaration} | {applied}"

    def texts(mappings: Sequence[SSAValue], direction: str) -> list[StringAttr]:
        return [StringAttr(text(mapping, direction)) for mapping in mappings]

    return ArrayAttr([*texts(op.all_inputs, "to"), *texts(op.all_outputs, "from")])
