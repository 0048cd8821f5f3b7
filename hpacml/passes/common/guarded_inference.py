"""Inferences in which the original code makes some points, or is compared with the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, memref
from xdsl.ir import Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.clause_attributes import VerifyAttr
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp, ScatterOp
from hpacml.dialects.hpacml.masks import MergeOp
from hpacml.dialects.hpacml.steps import InferOp
from hpacml.dialects.hpacml.verifying import IsDueOp, IsOpenOp, VerifyOp
from hpacml.dialects.hpacml_rt.map_checks import CheckIndicesOp
from hpacml.passes.common.bodies import Body
from hpacml.passes.common.branching import choose
from hpacml.passes.common.guarded import Mask, Tensor, tensor_of
from hpacml.passes.common.located import Builder
from hpacml.passes.common.stages import Stages
from hpacml.passes.common.steps_of_regions import branch, gathered, is_indirect, tensor_for, texts_of_maps


@dataclass(frozen=True)
class _Made:
    """What the model makes in a call: its outputs, and the mask of the points at which they may not be used."""

    outputs: Sequence[Tensor]
    mask: Mask | None
    uncertainty: Tensor | None
    rejected: SSAValue | None
    done: SSAValue

    @property
    def tensors(self) -> list[SSAValue]:
        return [each.value for each in self.outputs]


class GuardedInference:
    """The inference of a region with guards or checks."""

    def __init__(self, op: MlOp, body: Body, report: bool):
        self._op, self._body, self._report = op, body, report

    def build(self, builder: Builder) -> None:
        """Build it: with checks, those that are due, the original code where the breaker is open, and all others."""
        if (settings := self._op.verify_settings) is None:
            self._use(builder)
            return
        opened, due = self._asked(IsOpenOp, settings, builder), self._asked(IsDueOp, settings, builder)
        check, other, alone, use = (Region(Block()) for _ in range(4))
        self._check(settings, opened, Builder(InsertPoint.at_end(check.block)))
        inner = Builder(InsertPoint.at_end(other.block))
        self._original(Builder(InsertPoint.at_end(alone.block)))
        self._use(Builder(InsertPoint.at_end(use.block)))
        inner.insert(branch(opened, alone, use))
        builder.insert(branch(due, check, other))

    def _asked(self, question: type[IsOpenOp | IsDueOp], settings: VerifyAttr, builder: Builder) -> SSAValue:
        return builder.insert(question(self._op.label, settings, texts_of_maps(self._op))).results[0]

    def _original(self, builder: Builder) -> None:
        stages = Stages(self._op.label, "body", builder, self._report)
        self._body.run(builder)
        stages.finish("body", builder)

    def _make(self, stages: Stages, builder: Builder) -> _Made:
        """Gather, look at the guards, and run the model unless all points are rejected before."""
        op = self._op
        x = [gathered(mapping, "x", builder) for mapping in op.all_inputs]
        at = [gathered(mapping, "at", builder) for mapping in op.where_points]
        stages.end("gather", builder, zip(x, op.all_inputs, strict=True))
        y = [tensor_for(mapping, "y", builder, fresh=True) for mapping in op.all_outputs]
        inputs, points, outputs = (
            [tensor_of(*pair, op) for pair in zip(*pairs, strict=True)]
            for pairs in ((x, op.all_inputs), (at, op.where_points), (y, op.all_outputs))
        )
        mask: Mask | None = None
        uncertainty: Tensor | None = None
        rejected: SSAValue | None = None
        if op.is_guarded:
            mask = Mask(op, outputs[0], builder)
            mask.require_one_sweep([*inputs, *points, *outputs[1:]], builder)
            mask.check(inputs, points, builder)
            uncertainty = None if mask.guard.below is None else mask.uncertainty(builder)
            rejected = None if uncertainty is not None else mask.count(builder)
        for mapping in filter(is_indirect, op.all_outputs):
            builder.insert(CheckIndicesOp(mapping))
        stages.end("guard", builder)
        taken = [*y, *([] if uncertainty is None else [uncertainty.value])]

        def model(builder: Builder) -> SSAValue:
            return builder.insert(InferOp(op.clauses_for(InferOp), texts_of_maps(op), x, taken)).done

        if rejected is None or mask is None:
            done = model(builder)
        else:
            done = choose(builder.insert(arith.CmpiOp(rejected, mask.total(builder), "ult")).result, model, builder)
        done.name_hint = "done"
        stages.end("model", builder)
        return _Made(outputs, mask, uncertainty, rejected, done)

    def _settle(self, made: _Made, builder: Builder) -> SSAValue | None:
        """Reject points by what the model says of itself; the number of points that are rejected."""
        if made.mask is None or made.uncertainty is None:
            return made.rejected
        made.mask.check_uncertainty(made.uncertainty, builder)
        return made.mask.count(builder)

    def _free(self, made: _Made, builder: Builder) -> None:
        memory = [] if made.mask is None else [made.mask.value]
        for each in (*memory, *([] if made.uncertainty is None else [made.uncertainty.value])):
            builder.insert(memref.DeallocOp.get(each))

    def _scatter(self, tensors: Sequence[SSAValue], stages: Stages, builder: Builder) -> None:
        copies = list(zip(tensors, self._op.all_outputs, strict=True))
        for tensor, mapping in copies:
            builder.insert(ScatterOp(tensor, mapping))
        stages.finish("scatter", builder, copies)

    def _use(self, builder: Builder) -> None:
        """The model's results where the guards pass, and the original code's elsewhere."""
        stages = Stages(self._op.label, "infer", builder, self._report)
        made = self._make(stages, builder)
        then, otherwise = Region(Block()), Region(Block())
        writer = Builder(InsertPoint.at_end(then.block))
        if (rejected := self._settle(made, writer)) is not None and made.mask is not None:
            some = writer.insert(arith.CmpiOp(rejected, writer.index(0), "ne")).result
            at_some, at_none = Region(Block()), Region(Block())
            self._body.run_where(Builder(InsertPoint.at_end(at_some.block)), made.mask.value, made.tensors)
            writer.insert(branch(some, at_some, at_none))
        written = stages.branch()
        written.end("body", writer)
        self._scatter(made.tensors, written, writer)
        original = Builder(InsertPoint.at_end(otherwise.block))
        self._body.run(original)
        stages.finish("body", original)
        builder.insert(branch(made.done, then, otherwise))
        self._free(made, builder)

    def _check(self, settings: VerifyAttr, opened: SSAValue, builder: Builder) -> None:
        """Compare the model with the original code, which runs aside unless the breaker is open."""
        op = self._op
        stages = Stages(op.label, "infer", builder, self._report)
        made = self._make(stages, builder)
        then, otherwise, at_open, at_closed, good, bad = (Region(Block()) for _ in range(6))
        writer = Builder(InsertPoint.at_end(then.block))
        self._settle(made, writer)
        truths = [tensor_for(mapping, "truth", writer, fresh=True) for mapping in op.all_outputs]
        real = Builder(InsertPoint.at_end(at_open.block))
        self._body.run(real)
        for mapping, truth in zip(op.all_outputs, truths, strict=True):
            real.insert(GatherOp(mapping, truth))
        self._body.run_aside(Builder(InsertPoint.at_end(at_closed.block)), truths)
        writer.insert(branch(opened, at_open, at_closed))
        written = stages.branch()
        written.end("body", writer)
        mask = None if made.mask is None else made.mask.value
        verify = VerifyOp(op.label, settings, texts_of_maps(op), made.tensors, truths, mask)
        use = Builder(InsertPoint.at_end(good.block))
        if mask is not None:
            for output, truth in zip(made.outputs, truths, strict=True):
                use.insert(MergeOp(truth, output.value, output.features, mask))
        verified = writer.insert(verify).good
        written.end("check", writer)
        self._scatter(made.tensors, written, use)
        self._scatter(truths, written, Builder(InsertPoint.at_end(bad.block)))
        writer.insert(branch(verified, good, bad))
        original = Builder(InsertPoint.at_end(otherwise.block))
        self._body.run(original)
        stages.finish("body", original)
        builder.insert(branch(made.done, then, otherwise))
        self._free(made, builder)
