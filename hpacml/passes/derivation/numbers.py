"""The numbers of a region: values from outside, no elements of arrays, on which what it writes depends."""

from __future__ import annotations

from xdsl.dialects import affine, memref, scf, stencil
from xdsl.dialects.builtin import IndexType, IntegerType, MemRefType, i1
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import IRDLOperation
from xdsl.traits import ConstantLike

from hpacml.dialects.hpacml.attributes import FLOATS

_STORES = (memref.StoreOp, affine.StoreOp)
_LOADS = (memref.LoadOp, affine.LoadOp, memref.DimOp, affine.ApplyOp, stencil.AccessOp)


def numbers_of(region: Region) -> list[SSAValue]:
    """The numbers that go into what is stored, by arithmetic; in bounds, indices and conditions they do not count."""
    return _Numbers(region).found


class _Numbers:
    def __init__(self, region: Region):
        self._region = region
        self._seen: set[SSAValue] = set()
        self.found: list[SSAValue] = []
        for op in region.walk():
            if isinstance(op, _STORES):
                self._follow(op.value)
            elif isinstance(op, stencil.ReturnOp):
                for value in op.arg:
                    self._follow(value)

    def _follow(self, value: SSAValue) -> None:
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if each in self._seen:
                continue
            self._seen.add(each)
            if self._region.is_ancestor(each.owner):
                waiting += reversed(_comes_of(each))
            elif _is_number(each):
                self.found.append(each)


def _comes_of(value: SSAValue) -> list[SSAValue]:
    """What a value of a region is made of."""
    owner = value.owner
    if isinstance(owner, Block):
        return _given(owner.parent_op(), owner.args.index(value), owner)  # pyright: ignore[reportArgumentType]
    if isinstance(owner, _LOADS):
        return []
    if owner.regions:
        position = owner.results.index(value)  # pyright: ignore[reportArgumentType]
        ends = [block.last_op for each in owner.regions for block in each.blocks]
        inits = _inits(owner)
        found = [
            end.operands[_place(end, position)]
            for end in ends
            if end is not None and _place(end, position) < len(end.operands)
        ]
        return [*found, *inits[position : position + 1]]
    return [each for each in owner.operands if not isinstance(each.type, MemRefType)]


def _place(end: Operation, position: int) -> int:
    """Where a terminator has a result: `scf.condition` has its condition first."""
    return position + 1 if isinstance(end, scf.ConditionOp) else position


def _given(op: Operation | None, position: int, block: Block) -> list[SSAValue]:
    """What an argument of a loop's block is made of; the index of a loop is no number."""
    match op:
        case scf.ForOp() | affine.ForOp() if position:
            end = block.last_op
            back = [] if end is None else [end.operands[position - 1]]
            return [*back, *_inits(op)[position - 1 : position]]
        case stencil.ApplyOp():
            return [op.args[position]]
        case scf.WhileOp() if block is op.before_region.block:
            end = op.after_region.block.last_op
            return [op.arguments[position], *([] if end is None else [end.operands[position]])]
        case scf.WhileOp():
            end = op.before_region.block.last_op
            return [] if end is None else [end.operands[position + 1]]
        case _:
            return []


def _inits(op: Operation) -> list[SSAValue]:
    match op:
        case scf.ForOp():
            return list(op.iter_args)
        case affine.ForOp():
            return list(op.inits)
        case scf.ParallelOp():
            return list(op.initVals)
        case _:
            return []


def _is_number(value: SSAValue) -> bool:
    owner = value.owner
    if isinstance(owner, IRDLOperation) and owner.has_trait(ConstantLike):
        return False
    return _has_number_type(value.type)


def _has_number_type(type: Attribute) -> bool:
    return isinstance(type, (*FLOATS, IndexType)) or (isinstance(type, IntegerType) and type != i1)
