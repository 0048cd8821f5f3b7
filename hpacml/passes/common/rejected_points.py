"""Points that guards reject, on their way to the database."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, StringAttr, i64
from xdsl.ir import Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.clauses import rejected_label
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp
from hpacml.dialects.hpacml.masks import TakePointsOp
from hpacml.dialects.hpacml.steps import CollectOp, SampleOp
from hpacml.dialects.hpacml_rt.measurements import MillisecondsOp
from hpacml.passes.common.branching import boolean, choose
from hpacml.passes.common.guarded import Mask, Tensor
from hpacml.passes.common.located import Builder
from hpacml.passes.common.point_loops import size
from hpacml.passes.common.steps_of_regions import branch, texts_of_maps


class RejectedPoints:
    """The points of a call that guards reject: their inputs are taken before the original code runs, which makes the
    outputs, and may overwrite the inputs."""

    def __init__(self, op: MlOp, mask: Mask, inputs: Sequence[Tensor], rejected: SSAValue, builder: Builder):
        self._op, self._mask = op, mask
        self._taken = self._is_taken(rejected, builder)
        self._at = builder.insert(memref.AllocOp([mask.total(builder)], [], MemRefType(i64, [DYNAMIC_INDEX]))).memref
        self._at.name_hint = "at"
        self._count = self._counted(builder)
        self._memory = [self._at]
        self._inputs = [self._rows(each, builder) for each in inputs]
        self._start = builder.insert(MillisecondsOp()).stamp

    def _is_taken(self, rejected: SSAValue, builder: Builder) -> SSAValue:
        """Whether points are rejected in this call, and it is one of those that `sample` takes."""
        some = builder.insert(arith.CmpiOp(rejected, builder.index(0), "ne")).result
        if self._op.sample is None:
            return some
        label = StringAttr(rejected_label(self._op.label.data))
        sample = SampleOp({**self._op.clauses_for(SampleOp), "label": label})
        taken = choose(some, lambda inner: inner.insert(sample).sampled, boolean(False), builder)
        taken.name_hint = "taken"
        return taken

    def _counted(self, builder: Builder) -> SSAValue:
        """How many points are taken."""
        count = choose(
            self._taken,
            lambda inner: self._mask.count(inner, self._at, again=True),
            lambda inner: inner.index(0),
            builder,
        )
        count.name_hint = "k"
        return count

    def _rows(self, tensor: Tensor, builder: Builder) -> SSAValue:
        """The points of a tensor, in the first dimension of its sweep; the others have length 1."""
        sweep, shape = tensor.sweep, list(tensor.type.get_shape())
        dynamic: list[SSAValue] = []
        for d, known in enumerate(shape):
            if d in sweep:
                shape[d] = 1 if d != sweep[0] else DYNAMIC_INDEX
                dynamic += [self._count] * (d == sweep[0])
            elif known == DYNAMIC_INDEX:
                dynamic.append(size(tensor.value, d, builder))
        made = MemRefType(tensor.type.element_type, shape)
        rows = builder.insert(memref.AllocOp(dynamic, [], made)).memref
        rows.name_hint = "rows"
        self._memory.append(rows)
        builder.insert(TakePointsOp(tensor.value, tensor.features, self._at, self._count, rows))
        return rows

    def append(self, outputs: Sequence[Tensor], builder: Builder, mappings: Sequence[SSAValue] = ()) -> None:
        """Append the points with what the original code has made, which is in the outputs, or where `mappings` lead."""
        op, then, otherwise = self._op, Region(Block()), Region(Block())
        stop = builder.insert(MillisecondsOp()).stamp
        inner = Builder(InsertPoint.at_end(then.block))
        passed = inner.insert(arith.SubfOp(stop, self._start)).result
        for mapping, output in zip(mappings, outputs, strict=False):
            inner.insert(GatherOp(mapping, output.value))
        before = len(self._memory)
        made = [self._rows(each, inner) for each in outputs]
        reasons = self._rows(Tensor(self._mask.value, [], "mask"), inner)
        reasons.name_hint = "reasons"
        clauses = op.clauses_for(CollectOp)
        inner.insert(CollectOp(clauses, texts_of_maps(op), None, self._inputs, made, op.numbers, passed, reasons))
        _free(self._memory[before:], inner)
        builder.insert(branch(self._taken, then, otherwise))
        _free(self._memory[:before], builder)


def _free(memory: Sequence[SSAValue], builder: Builder) -> None:
    for each in memory:
        builder.insert(memref.DeallocOp.get(each))
