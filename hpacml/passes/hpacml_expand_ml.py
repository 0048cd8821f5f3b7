"""`hpacml-expand-ml`: make the execution control of `hpacml.ml` explicit, as docs/directives.md tells it."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import Mode
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.gather_scatter import ScatterOp
from hpacml.dialects.hpacml.steps import CollectOp, InferOp, SampleOp
from hpacml.dialects.hpacml_rt.map_checks import CheckIndicesOp
from hpacml.passes.common.bodies import Body
from hpacml.passes.common.exchanges import require_no_exchange
from hpacml.passes.common.guarded_inference import GuardedInference
from hpacml.passes.common.located import Builder, Rewriter, refusal
from hpacml.passes.common.mappings import map_of, require_maps
from hpacml.passes.common.stages import Stages
from hpacml.passes.common.steps_of_regions import branch, gathered, is_indirect, tensor_for, texts_of, texts_of_maps


@dataclass(frozen=True)
class HpacmlExpandMlPass(ModulePass):
    """
    A region becomes gather, infer, scatter | gather, body, gather, collect | body, under `scf.if`. Its original code
    becomes a function, whose arguments are the values that it uses from outside.

    ```mlir
    hpacml.ml predicated(%c) in(%in : ...) out(%out : ...) label "r" model "m" database "d" { body }
    ```
    becomes
    ```mlir
    func.func private @r_body(%t: ...) { body }
    ...
    scf.if %c {
      %x = hpacml.tensor %in
      hpacml.gather %in into %x
      %y = hpacml.tensor %out
      %done = hpacml.infer "r" model "m" ins(%x) outs(%y)
      scf.if %done {
        hpacml.scatter %y into %out
      } else {
        hpacml.body "r" @r_body(%t : ...)
      }
    } else {
      %x = hpacml.tensor fresh %in
      hpacml.gather %in into %x
      %ms = hpacml.body "r" @r_body(%t : ...)
      %y = hpacml.tensor %out
      hpacml.gather %out into %y
      hpacml.collect "r" database "d" ins(%x) outs(%y) time %ms
    }
    ```
    With `on_error "raise"` the model writes or the function is left, so the scatter needs no `scf.if`. The maps of
    `truth` are gathered behind the body in place of the outputs.
    With `sample` what collects comes under `%sampled = hpacml.sample "r" database "d" <...>`, else only the body runs.
    With `if(%c)` all of this comes under one more `scf.if`. Maps are copied to each region that uses them, under its
    `if`, so that they are checked there, however many regions share one.

    With `collect=false` a predicated region that does not infer runs its body alone, with its maps checked as before.
    With `report` there is an `hpacml_rt.now` between these steps, and an `hpacml_rt.record` of their times at the end.
    """

    name = "hpacml-expand-ml"

    report: bool = False

    collect: bool = True

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_maps(op)
        for region in [each for each in op.walk() if isinstance(each, MlOp)]:
            if region.is_without_maps:
                raise refusal(region, f"the region '{region.label.data}' has no maps: hpacml-infer-maps comes first")
            require_no_exchange(region)
            _Expansion(region, self.report, self.collect).replace()


class _Expansion:
    """A region, and what takes its place."""

    def __init__(self, op: MlOp, report: bool, collect: bool):
        self.op, self.report, self.collect = op, report, collect
        self.body = Body(op)

    def replace(self) -> None:
        op, builder = self.op, Builder(InsertPoint.before(self.op))
        if op.if_condition is None:
            self._expand(builder)
        else:
            then, otherwise = Region(Block()), Region(Block())
            self._expand(Builder(InsertPoint.at_end(then.block)))
            self._body_alone(Builder(InsertPoint.at_end(otherwise.block)))
            builder.insert(branch(op.if_condition, then, otherwise))
        maps = dict.fromkeys(self.maps)
        Rewriter.erase_op(op)
        for map_op in maps:
            if not map_op.mapping.uses:
                Rewriter.erase_op(map_op)

    def _expand(self, builder: Builder) -> None:
        op = self.op
        self._take_maps(builder)
        match op.mode.data:
            case Mode.Infer:
                self._infer(builder)
            case Mode.Collect:
                self._collect(builder)
            case Mode.Predicated:
                if op.condition is None:
                    raise ValueError("verified: a predicated region has a condition")
                then, otherwise = Region(Block()), Region(Block())
                self._infer(Builder(InsertPoint.at_end(then.block)))
                self._collect(Builder(InsertPoint.at_end(otherwise.block)))
                builder.insert(branch(op.condition, then, otherwise))

    def _take_maps(self, builder: Builder) -> None:
        """Copy the maps to where the region runs, under its `if`: there, and only there, they are checked."""
        op = self.op
        mappings = {value: map_of(value, op) for value in (*op.inputs, *op.outputs, *op.inouts, *op.where_points)}
        self.maps = [*mappings.values(), *(map_of(value, op) for value in op.truths)]
        for value in mappings:
            own = self._take_map(value, builder)
            value.replace_uses_with_if(own, lambda use: use.operation is op)

    def _take_map(self, mapping: SSAValue, builder: Builder) -> SSAValue:
        """Copy a map, which is checked where its copy stands: that of a truth only where calls are collected."""
        return builder.insert(map_of(mapping, self.op).clone()).mapping

    def _infer(self, builder: Builder) -> None:
        if self.op.is_guarded or self.op.verify_settings is not None:
            GuardedInference(self.op, self.body, self.report, self._infer_all).build(builder)
        else:
            self._infer_all(Stages(self.op.label, "infer", builder, self.report), builder)

    def _infer_all(self, stages: Stages, builder: Builder) -> None:
        op = self.op
        inputs = [gathered(mapping, "x", builder) for mapping in op.all_inputs]
        stages.end("gather", builder, zip(inputs, op.all_inputs, strict=True))
        outputs = [tensor_for(mapping, "y", builder) for mapping in op.all_outputs]
        if len(outputs) > 1:  # before the model: a tensor that is an array's memory is written by `infer`
            for mapping in filter(is_indirect, op.all_outputs):
                builder.insert(CheckIndicesOp(mapping))
        stages.end("prepare", builder)
        done = builder.insert(InferOp(op.clauses_for(InferOp), texts_of_maps(op), inputs, outputs)).done
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
            self.body.run(original)
            stages.finish("body", original)
            builder.insert(branch(done, then, otherwise))

    def _collect(self, builder: Builder) -> None:
        op = self.op
        if not self.collect:
            self._body_alone(builder)
            return
        if op.sample is None:
            self._record(builder)
            return
        sampled = builder.insert(SampleOp(op.clauses_for(SampleOp))).sampled
        sampled.name_hint = "sampled"
        then, otherwise = Region(Block()), Region(Block())
        self._record(Builder(InsertPoint.at_end(then.block)))
        self._body_alone(Builder(InsertPoint.at_end(otherwise.block)))
        builder.insert(branch(sampled, then, otherwise))

    def _record(self, builder: Builder) -> None:
        op = self.op
        stages = Stages(op.label, "collect", builder, self.report)
        truths = [self._take_map(mapping, builder) for mapping in op.truths]
        # The body may overwrite its inputs, so they are copied even where a map is packed memory.
        inputs = [gathered(mapping, "x", builder, fresh=True) for mapping in op.all_inputs]
        stages.end("gather", builder, zip(inputs, op.all_inputs, strict=True))
        milliseconds = self.body.run(builder)
        stages.end("body", builder)
        collected = truths or op.all_outputs
        outputs = [gathered(mapping, "y", builder) for mapping in collected]
        stages.end("outputs", builder, zip(outputs, collected, strict=True))
        truth = ArrayAttr(texts_of(truths, "to", op)) if truths else None
        clauses = op.clauses_for(CollectOp)
        builder.insert(CollectOp(clauses, texts_of_maps(op), truth, inputs, outputs, op.numbers, milliseconds))
        stages.finish("enqueue", builder)

    def _body_alone(self, builder: Builder) -> None:
        stages = Stages(self.op.label, "body", builder, self.report)
        self.body.run(builder)
        stages.finish("body", builder)
