"""Inferences in which the original code makes some points, or is compared with the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects import arith, memref
from xdsl.ir import Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.clause_attributes import VerifyAttr
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp, ScatterOp
from hpacml.dialects.hpacml.masks import MergeOp
from hpacml.dialects.hpacml.steps import InferOp
from hpacml.dialects.hpacml.verifying import CountInferenceOp, VerifyOp
from hpacml.dialects.hpacml_rt.map_checks import CheckIndicesOp
from hpacml.passes.common.bodies import Body
from hpacml.passes.common.branching import boolean, choose
from hpacml.passes.common.guarded import Mask, Tensor, tensor_of
from hpacml.passes.common.located import Builder
from hpacml.passes.common.rejected_points import RejectedPoints
from hpacml.passes.common.stages import Stages
from hpacml.passes.common.steps_of_regions import branch, gathered, is_indirect, tensor_for, texts_of_maps


@dataclass(frozen=True)
class _Made:
    """What the model makes in a call: its outputs, and the mask of the points at which they may not be used."""

    outputs: Sequence[Tensor]
    mask: Mask | None
    uncertainty: Tensor | None
    rejected: SSAValue | None

    @property
    def tensors(self) -> list[SSAValue]:
        return [each.value for each in self.outputs]


class GuardedInference:
    """The inference of a region with guards or checks; `plain` builds that of a region without."""

    def __init__(self, op: MlOp, body: Body, report: bool, plain: Callable[[Stages, Builder], None]):
        self._op, self._body, self._report, self._plain = op, body, report, plain

    def build(self, builder: Builder) -> None:
        """Build it: with checks, those that are due, the original code where the breaker is open, and all others."""
        if (settings := self._op.verify_settings) is None:
            self._use(builder)
            return
        due, opened = builder.insert(CountInferenceOp(self._op.label, settings, texts_of_maps(self._op))).results
        check, other, alone, use = (Region(Block()) for _ in range(4))
        self._check(settings, opened, Builder(InsertPoint.at_end(check.block)))
        inner = Builder(InsertPoint.at_end(other.block))
        self._original(Builder(InsertPoint.at_end(alone.block)))
        self._use(Builder(InsertPoint.at_end(use.block)))
        inner.insert(branch(opened, alone, use))
        builder.insert(branch(due, check, other))

    def _original(self, builder: Builder) -> None:
        stages = Stages(self._op.label, "body", builder, self._report)
        self._body.run(builder)
        stages.finish("body", builder)

    def _gather(self, stages: Stages, builder: Builder) -> list[SSAValue]:
        x = [gathered(mapping, "x", builder) for mapping in self._op.all_inputs]
        stages.end("gather", builder, zip(x, self._op.all_inputs, strict=True))
        return x

    def _prepare(self, x: Sequence[SSAValue] | None, stages: Stages, builder: Builder) -> _Made:
        """Look at the guards, by the tensors of inputs or, where nothing is gathered, by what their maps lead to."""
        op = self._op
        # Tensors that nobody fills tell sizes alone, and are removed with these.
        tensors = x or [tensor_for(mapping, "x", builder) for mapping in op.all_inputs]
        y = [tensor_for(mapping, "y", builder, fresh=True) for mapping in op.all_outputs]
        inputs, outputs = (
            [tensor_of(*pair, op) for pair in zip(*pairs, strict=True)]
            for pairs in ((tensors, op.all_inputs), (y, op.all_outputs))
        )
        if not op.is_guarded:
            return _Made(outputs, None, None, None)
        if x is None:
            inputs = [replace(each, mapping=mapping) for each, mapping in zip(inputs, op.all_inputs, strict=True)]
        points = [tensor_of(gathered(mapping, "at", builder), mapping, op) for mapping in op.where_points]
        mask = Mask(op, outputs[0], builder)
        mask.require_one_sweep([*inputs, *points, *outputs[1:]], builder)
        mask.check(inputs, points, builder)
        uncertainty = None if mask.guard.below is None else mask.uncertainty(builder)
        rejected = None if uncertainty is not None else mask.count(builder)
        stages.end("guard", builder)
        return _Made(outputs, mask, uncertainty, rejected)

    def _run(self, made: _Made, x: Sequence[SSAValue], stages: Stages, builder: Builder) -> SSAValue:
        """Run the model, unless all points are rejected before; whether its outputs are there."""
        op = self._op
        for mapping in filter(is_indirect, op.all_outputs):
            builder.insert(CheckIndicesOp(mapping))
        taken = [*made.tensors, *([] if made.uncertainty is None else [made.uncertainty.value])]

        def model(builder: Builder) -> SSAValue:
            return builder.insert(InferOp(op.clauses_for(InferOp), texts_of_maps(op), x, taken)).done

        if made.rejected is None or made.mask is None:
            done = model(builder)
        else:
            some = builder.insert(arith.CmpiOp(made.rejected, made.mask.total(builder), "ult")).result
            done = choose(some, model, boolean(True), builder)
        done.name_hint = "done"
        stages.end("model", builder)
        return done

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
        if not self._op.is_guarded:
            self._plain(stages, builder)
            return
        x = None if self._reads_maps else self._gather(stages, builder)
        made = self._prepare(x, stages, builder)
        if x is not None:
            self._use_some(made, x, stages, builder)
        elif made.rejected is not None:
            at_some, at_none = Region(Block()), Region(Block())
            inner, others = Builder(InsertPoint.at_end(at_some.block)), stages.branch()
            self._use_some(made, self._gather(others, inner), others, inner)
            self._plain(stages.branch(), Builder(InsertPoint.at_end(at_none.block)))
            builder.insert(branch(_is_some(made.rejected, builder), at_some, at_none))
        self._free(made, builder)

    @property
    def _reads_maps(self) -> bool:
        """Whether the guards are looked at before anything is gathered: then calls without rejected points are those of
        a region without guards. Maps with indices are slow to read twice."""
        guard = self._op.guard
        return (guard is None or guard.data.below is None) and not any(map(is_indirect, self._op.all_inputs))

    def _use_some(self, made: _Made, x: Sequence[SSAValue], stages: Stages, builder: Builder) -> None:
        done = self._run(made, x, stages, builder)
        then, otherwise = Region(Block()), Region(Block())
        writer = Builder(InsertPoint.at_end(then.block))
        if (rejected := self._settle(made, writer)) is not None and made.mask is not None:
            at_some, at_none = Region(Block()), Region(Block())
            inner = Builder(InsertPoint.at_end(at_some.block))
            collection = self._collection(made, x, rejected, inner)
            self._body.run_where(inner, made.mask.value, made.tensors)
            if collection is not None:
                collection.append(made.outputs, inner)
            writer.insert(branch(_is_some(rejected, writer), at_some, at_none))
        written = stages.branch()
        written.end("body", writer)
        self._scatter(made.tensors, written, writer)
        self._run_whole(made, x, stages, Builder(InsertPoint.at_end(otherwise.block)))
        builder.insert(branch(done, then, otherwise))

    def _collection(
        self, made: _Made, x: Sequence[SSAValue], rejected: SSAValue | None, builder: Builder
    ) -> RejectedPoints | None:
        """What collects the points that guards reject, before the original code makes these."""
        if not self._op.collects_rejected or made.mask is None or rejected is None:
            return None
        inputs = [tensor_of(*pair, self._op) for pair in zip(x, self._op.all_inputs, strict=True)]
        return RejectedPoints(self._op, made.mask, inputs, rejected, builder)

    def _run_whole(self, made: _Made, x: Sequence[SSAValue], stages: Stages, builder: Builder) -> None:
        """Run the original code in place, since all points are rejected, or since the model has failed."""
        rejected = made.rejected
        if rejected is None and made.mask is not None and self._op.collects_rejected:
            rejected = made.mask.count(builder, again=True)
        collection = self._collection(made, x, rejected, builder)
        self._body.run(builder)
        if collection is not None:
            collection.append(made.outputs, builder, self._op.all_outputs)
        stages.finish("body", builder)

    def _check(self, settings: VerifyAttr, opened: SSAValue, builder: Builder) -> None:
        """Compare the model with the original code, which runs aside unless the breaker is open."""
        op = self._op
        stages = Stages(op.label, "infer", builder, self._report)
        x = self._gather(stages, builder)
        made = self._prepare(x, stages, builder)
        done = self._run(made, x, stages, builder)
        then, otherwise, at_open, at_closed, good, bad = (Region(Block()) for _ in range(6))
        writer = Builder(InsertPoint.at_end(then.block))
        collection = self._collection(made, x, self._settle(made, writer), writer)
        truths = [tensor_for(mapping, "truth", writer, fresh=True) for mapping in op.all_outputs]
        real = Builder(InsertPoint.at_end(at_open.block))
        self._body.run(real)
        for mapping, truth in zip(op.all_outputs, truths, strict=True):
            real.insert(GatherOp(mapping, truth))
        self._body.run_aside(Builder(InsertPoint.at_end(at_closed.block)), truths)
        writer.insert(branch(opened, at_open, at_closed))
        if collection is not None:
            collection.append([replace(each, value=y) for each, y in zip(made.outputs, truths, strict=True)], writer)
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
        self._run_whole(made, x, stages, Builder(InsertPoint.at_end(otherwise.block)))
        builder.insert(branch(done, then, otherwise))
        self._free(made, builder)


def _is_some(points: SSAValue, builder: Builder) -> SSAValue:
    return builder.insert(arith.CmpiOp(points, builder.index(0), "ne")).result
