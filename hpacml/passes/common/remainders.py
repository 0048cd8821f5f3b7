"""What LLVM is told of innermost loops about what is left over behind their last whole vector."""

from __future__ import annotations

from typing import cast

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import IndexType, IntegerAttr, MemRefType, UnregisteredAttr
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from hpacml.dialects.hpacml.attributes import strides_of
from hpacml.passes.common.located import Rewriter, located
from hpacml.passes.common.loops import CountingLoop

_NAME = "llvm.loop_annotation"
_Annotation = UnregisteredAttr.with_name_and_type(_NAME, False)
_ONE = IntegerAttr(1, IndexType())


def mask(loop: CountingLoop) -> None:
    """Have LLVM mask the last vector of an innermost loop: one by one, what is left over would take longer than it.

    Of a parallel loop, that is a loop of its own for the last dimension. A loop that accesses others than neighbours
    stays as it is: LLVM would gather them where it shuffles whole vectors. The backend forgets masks that vectors of
    the machine do not have.
    """
    _annotate(loop, "vectorize = <predicateEnable = true>")


def roll(loop: CountingLoop) -> None:
    """Have LLVM not unroll what is left over behind vectors of an innermost loop. It is the loop that `mask` takes."""
    _annotate(loop, "unroll = <runtimeDisable = true>")


def _annotate(loop: CountingLoop, hint: str) -> None:
    if loop.results or not _are_neighbours(loop):
        return
    inner = loop if isinstance(loop, scf.ForOp) else _part_innermost(loop)
    found = inner.attributes.get("loop_annotation")
    hints = [found.value.data] if isinstance(found, UnregisteredAttr) else []
    if not any(hint.partition(" =")[0] in each for each in hints):  # it is there after a second run, or is others'
        hints.append(hint)
    inner.attributes["loop_annotation"] = _Annotation(_NAME, False, False, ", ".join(hints))


def varies(value: SSAValue, loop: CountingLoop) -> bool:
    """Whether a value may differ between the iterations of an innermost loop's last dimension."""
    seen: set[SSAValue] = set()
    ahead = [value]
    while ahead:
        owner = (each := ahead.pop()).owner
        if each is _index(loop):
            return True
        if each in seen or isinstance(owner, Block) or not loop.is_ancestor(owner):
            continue
        if isinstance(owner, memref.LoadOp | scf.IfOp):
            return True
        seen.add(each)
        ahead += owner.operands
    return False


def _index(loop: CountingLoop) -> BlockArgument:
    return loop.body.block.args[0 if isinstance(loop, scf.ForOp) else -1]


def _are_neighbours(loop: CountingLoop) -> bool:
    """Whether a loop writes neighbours of what its iteration before wrote, and reads such, or the same at each."""
    step = loop.step if isinstance(loop, scf.ForOp) else loop.step[-1]
    return _is_one(step) and all(_is_neighbour(op, loop) for op in loop.walk())


def _is_one(value: SSAValue) -> bool:
    return isinstance(value.owner, arith.ConstantOp) and value.owner.get_attr_or_prop("value") == _ONE


def _is_neighbour(op: Operation, loop: CountingLoop) -> bool:
    if not isinstance(op, memref.LoadOp | memref.StoreOp):
        return True
    varying = [each for each in op.indices if varies(each, loop)]
    if not varying:
        return isinstance(op, memref.LoadOp)
    is_dense = strides_of(cast(MemRefType, op.memref.type))[-1] == 1
    return is_dense and varying == [op.indices[-1]] and _follows(op.indices[-1], loop)


def _follows(value: SSAValue, loop: CountingLoop) -> bool:
    """Whether a value is the loop's index and a number that does not vary."""
    match value.owner:
        case arith.AddiOp(lhs=a, rhs=b) if varies(b, loop):
            return not varies(a, loop) and _follows(b, loop)
        case arith.AddiOp(lhs=a, rhs=b) | arith.SubiOp(lhs=a, rhs=b):
            return not varies(b, loop) and _follows(a, loop)
        case _:
            return value is _index(loop)


def _part_innermost(loop: scf.ParallelOp) -> scf.ForOp:
    """Make a loop of its own of a parallel loop's last dimension, as only that can be annotated."""
    body = loop.body.block
    *others, index = body.args
    inside = Block(arg_types=[index.type])
    index.replace_all_uses_with(inside.args[0])
    body.erase_arg(index)
    *ops, end = body.ops
    for op in ops:
        op.detach()
        inside.add_op(op)
    inner = located(scf.ForOp(loop.lowerBound[-1], loop.upperBound[-1], loop.step[-1], [], inside), loop)
    inside.add_op(located(scf.YieldOp(), loop))
    if not others:
        Rewriter.replace_op(loop, inner)
        return inner
    body.insert_op_before(inner, end)
    bounds = loop.lowerBound[:-1], loop.upperBound[:-1], loop.step[:-1]
    Rewriter.replace_op(loop, scf.ParallelOp(*bounds, loop.detach_region(loop.body)))
    return inner
