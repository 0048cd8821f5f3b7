"""`hpacml-expand-ml`: make the execution control of `hpacml.ml` explicit, as docs/directives.md tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import Mode
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp, ScatterOp, TensorOp
from hpacml.dialects.hpacml.steps import CollectOp, InferOp, SampleOp
from hpacml.dialects.hpacml_rt.map_checks import CheckIndicesOp
from hpacml.passes.common.bodies import Body
from hpacml.passes.common.branching import choose
from hpacml.passes.common.exchanges import require_no_exchange
from hpacml.passes.common.guarded import Mask, tensor_of
from hpacml.passes.common.located import Builder, Rewriter, refusal
from hpacml.passes.common.mappings import functor_of, map_of, require_maps
from hpacml.passes.common.stages import Stages


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

    With `report` there is an `hpacml_rt.now` between these steps, and an `hpacml_rt.record` of their times at the end.
    """

    name = "hpacml-expand-ml"

    report: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_maps(op)
        for region in [each for each in op.walk() if isinstance(each, MlOp)]:
            if region.is_without_maps:
                raise refusal(region, f"the region '{region.label.data}' has no maps: hpacml-infer-maps comes first")
            require_no_exchange(region)
            _Expansion(region, self.report).replace()


class _Expansion:
    """A region, and what takes its place."""

    def __init__(self, op: MlOp, report: bool):
        self.op, self.report = op, report
        self.body = Body(op)

    def replace(self) -> None:
        op, builder = self.op, Builder(InsertPoint.before(self.op))
        if op.if_condition is None:
            self._expand(builder)
        else:
            then, otherwise = Region(Block()), Region(Block())
            self._expand(Builder(InsertPoint.at_end(then.block)))
            self._body_alone(Builder(InsertPoint.at_end(otherwise.block)))
            builder.insert(_branch(op.if_condition, then, otherwise))
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
                builder.insert(_branch(op.condition, then, otherwise))

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
        if self.op.is_guarded:
            self._infer_guarded(builder)
        else:
            self._infer_all(builder)

    def _infer_guarded(self, builder: Builder) -> None:
        """The model's results where the guards pass, and the original code's elsewhere."""
        op = self.op
        stages = Stages(op.label, "infer", builder, self.report)
        x = [_gather(mapping, "x", builder) for mapping in op.all_inputs]
        at = [_gather(mapping, "at", builder) for mapping in op.where_points]
        stages.end("gather", builder, zip(x, op.all_inputs, strict=True))
        y = [_tensor(mapping, "y", builder, fresh=True) for mapping in op.all_outputs]
        outputs = [tensor_of(*pair, op) for pair in zip(y, op.all_outputs, strict=True)]
        inputs = [tensor_of(*pair, op) for pair in zip(x, op.all_inputs, strict=True)]
        points = [tensor_of(*pair, op) for pair in zip(at, op.where_points, strict=True)]
        mask = Mask(op, outputs[0], builder)
        mask.require_one_sweep([*inputs, *points, *outputs[1:]], builder)
        mask.check(inputs, points, builder)
        for mapping in filter(_is_indirect, op.all_outputs):
            builder.insert(CheckIndicesOp(mapping))
        stages.end("guard", builder)
        uncertainty = None if mask.guard.below is None else mask.uncertainty(builder)
        rejected = None if uncertainty is not None else mask.count(builder)
        taken = [*y, *([] if uncertainty is None else [uncertainty.value])]

        def model(builder: Builder) -> SSAValue:
            return builder.insert(InferOp(op.clauses_for(InferOp), _texts(op), x, taken)).done

        if rejected is None:
            done = model(builder)
        else:
            done = choose(builder.insert(arith.CmpiOp(rejected, mask.total(builder), "ult")).result, model, builder)
        done.name_hint = "done"
        stages.end("model", builder)
        then, otherwise = Region(Block()), Region(Block())
        writer = Builder(InsertPoint.at_end(then.block))
        if uncertainty is not None:
            mask.check_uncertainty(uncertainty, writer)
            rejected = mask.count(writer)
        some = writer.insert(arith.CmpiOp(rejected or writer.index(0), writer.index(0), "ne")).result
        at_some, at_none = Region(Block()), Region(Block())
        self.body.run_where(Builder(InsertPoint.at_end(at_some.block)), mask.value, y)
        writer.insert(_branch(some, at_some, at_none))
        stages.end("body", writer)
        copies = list(zip(y, op.all_outputs, strict=True))
        for tensor, mapping in copies:
            writer.insert(ScatterOp(tensor, mapping))
        stages.finish("scatter", writer, copies)
        original = Builder(InsertPoint.at_end(otherwise.block))
        self.body.run(original)
        stages.finish("body", original)
        builder.insert(_branch(done, then, otherwise))
        for memory in (mask.value, *([] if uncertainty is None else [uncertainty.value])):
            builder.insert(memref.DeallocOp.get(memory))

    def _infer_all(self, builder: Builder) -> None:
        op = self.op
        stages = Stages(op.label, "infer", builder, self.report)
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
            self.body.run(original)
            stages.finish("body", original)
            builder.insert(_branch(done, then, otherwise))

    def _collect(self, builder: Builder) -> None:
        op = self.op
        if op.sample is None:
            self._record(builder)
            return
        sampled = builder.insert(SampleOp(op.clauses_for(SampleOp))).sampled
        sampled.name_hint = "sampled"
        then, otherwise = Region(Block()), Region(Block())
        self._record(Builder(InsertPoint.at_end(then.block)))
        self._body_alone(Builder(InsertPoint.at_end(otherwise.block)))
        builder.insert(_branch(sampled, then, otherwise))

    def _record(self, builder: Builder) -> None:
        op = self.op
        stages = Stages(op.label, "collect", builder, self.report)
        truths = [self._take_map(mapping, builder) for mapping in op.truths]
        # The body may overwrite its inputs, so they are copied even where a map is packed memory.
        inputs = [_gather(mapping, "x", builder, fresh=True) for mapping in op.all_inputs]
        stages.end("gather", builder, zip(inputs, op.all_inputs, strict=True))
        milliseconds = self.body.run(builder)
        stages.end("body", builder)
        collected = truths or op.all_outputs
        outputs = [_gather(mapping, "y", builder) for mapping in collected]
        stages.end("outputs", builder, zip(outputs, collected, strict=True))
        truth = ArrayAttr(_texts_of(truths, "to", op)) if truths else None
        clauses = op.clauses_for(CollectOp)
        builder.insert(CollectOp(clauses, _texts(op), truth, inputs, outputs, op.numbers, milliseconds))
        stages.finish("enqueue", builder)

    def _body_alone(self, builder: Builder) -> None:
        stages = Stages(self.op.label, "body", builder, self.report)
        self.body.run(builder)
        stages.finish("body", builder)


def _branch(condition: SSAValue, then: Region, otherwise: Region) -> scf.IfOp:
    for region in (then, otherwise):
        region.block.add_op(scf.YieldOp())
    return scf.IfOp(condition, [], then, otherwise)


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


def _texts(op: MlOp) -> ArrayAttr[StringAttr]:
    """Functor and map of every input and output as text, for messages and for the database."""
    return ArrayAttr([*_texts_of(op.all_inputs, "to", op), *_texts_of(op.all_outputs, "from", op)])


def _texts_of(mappings: Sequence[SSAValue], direction: str, op: MlOp) -> list[StringAttr]:
    maps = [map_of(mapping, op) for mapping in mappings]
    return [StringAttr(f"{direction}: {functor_of(each, op).declaration} | {each.applied}") for each in maps]
