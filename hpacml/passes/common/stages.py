"""The stages of a region's execution: with a report, a time stamp at the end of each, and a record of all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, StringAttr, i64
from xdsl.ir import SSAValue

from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml_rt.measurements import CopiedOp, NowOp, RecordOp

Copy: TypeAlias = tuple[SSAValue, SSAValue]
"""A tensor, and the mapping that fills it or is written from it."""


class Stages:
    """The stages of one path through a region; without `report` no operation is inserted."""

    def __init__(self, label: StringAttr, path_taken: str, builder: Builder, report: bool):
        self._label, self._path_taken, self._report = label, path_taken, report
        self._times = [_now(builder)] if report else []
        self._stages: list[tuple[str, list[Copy]]] = []

    def branch(self) -> Stages:
        """These stages so far, for a branch in which others follow than in the rest."""
        copy = Stages.__new__(Stages)
        copy._label, copy._path_taken, copy._report = self._label, self._path_taken, self._report
        copy._times, copy._stages = [*self._times], [*self._stages]
        return copy

    def end(self, stage: str, builder: Builder, copies: Iterable[Copy] = ()) -> None:
        """End `stage`, which began at the end of the stage before, and made `copies`."""
        if self._report:
            self._times.append(_now(builder))
            self._stages.append((stage, list(copies)))

    def finish(self, stage: str, builder: Builder, copies: Iterable[Copy] = ()) -> None:
        """End the last stage, perhaps in one of several branches, and record all stages."""
        if not self._report:
            return
        times = [*self._times, _now(builder)]
        stages = [*self._stages, (stage, list(copies))]
        zero = builder.insert(arith.ConstantOp(IntegerAttr(0, i64))).result
        bytes = [_sum([_copied(*copy, builder) for copy in copies], zero, builder) for _, copies in stages]
        builder.insert(RecordOp(self._label, self._path_taken, [stage for stage, _ in stages], times, bytes))


def _now(builder: Builder) -> SSAValue:
    return builder.insert(NowOp()).nanoseconds


def _copied(tensor: SSAValue, mapping: SSAValue, builder: Builder) -> SSAValue:
    op = mapping.owner
    arrays = [op.arrays[n] for n in op.holding_elements] if isinstance(op, MapOp) else []
    return builder.insert(CopiedOp(tensor, list(dict.fromkeys(arrays)))).bytes


def _sum(numbers: list[SSAValue], zero: SSAValue, builder: Builder) -> SSAValue:
    total, *others = numbers or [zero]
    for number in others:
        total = builder.insert(arith.AddiOp(total, number)).result
    return total
