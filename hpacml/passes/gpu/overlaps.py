"""Assignments in parallel loops that compute in other memory where arrays may share theirs.

Whether they may is asked before the loop, of the arrays as they are then. A kernel for where none do has no other
memory, and often nothing between its loops.

```mlir
scf.parallel (%i) = (%c0) to (%n) step (%c1) {
  %x = memref.subview %a[%i, 0] [1, %m] [1, 1]
  %y = memref.subview %b[%i, 0] [1, %m] [1, 1]
  %meet = func.call @hpacml_meet_1xf64_1xf64(%x, %y)
  %to = scf.if %meet { memref.alloc(%m) } else { %x }
  ...
}
```
becomes
```mlir
scf.if %meet {                                        // of the addresses of %a and %b
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %to = memref.alloc(%m)
    ...
  }
} else {
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %to = memref.subview %a[%i, 0] [1, %m] [1, 1]
    ...
  }
}
```
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from xdsl.dialects import arith, func, memref, scf
from xdsl.dialects.builtin import BoolAttr, StringAttr
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml_rt.map_checks import RefuseOp
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import Condition, IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.origins import MEET, origins
from hpacml.passes.common.strided import address_range, metadata
from hpacml.passes.gpu.launches import no_kernel
from hpacml.passes.gpu.local_arrays import local_arrays, most_sizes, no_size

_FOLDED = (scf.IfOp, arith.OrIOp, arith.AndIOp)


def is_question(op: Operation) -> bool:
    """Whether an operation asks if two arrays share memory."""
    return isinstance(op, func.CallOp) and op.callee.string_value().startswith(MEET)


def versions(loop: scf.ParallelOp) -> list[scf.ParallelOp]:
    """A loop for arrays that share memory and one for others, or one loop if that is known before.

    Where no kernel can have the other memory, arrays that share memory are an error of the call.
    """
    a = IndexArithmetic(Builder(InsertPoint.before(loop)))
    answers = [_may_meet(question, loop, a) for question in _questions(loop)]
    open = [answer for answer in answers if not isinstance(answer, bool)]
    if not open:
        _answer(loop, [answer is True for answer in answers])
        return [loop]
    shared, apart = loop.clone(), loop.clone()
    where(a.truth(a.any(open)), lambda a: _insert(shared, a), a, lambda a: _insert(apart, a))
    Rewriter.erase_op(loop)
    _answer(shared, [answer is not False for answer in answers])
    _answer(apart, [answer is True for answer in answers])
    unknown = next((array for array in local_arrays(shared) if most_sizes(array, shared) is None), None)
    if unknown is None:
        return [shared, apart]
    error = no_kernel(shared, no_size(unknown), "on a GPU for arrays that share memory")
    Rewriter.replace_op(shared, RefuseOp(StringAttr(error.why)))
    return [apart]


def _questions(loop: scf.ParallelOp) -> list[Operation]:
    return [each for each in loop.walk() if is_question(each)]


def _insert(loop: scf.ParallelOp, a: IndexArithmetic) -> None:
    a.builder.insert(loop)


def _may_meet(question: Operation, loop: scf.ParallelOp, a: IndexArithmetic) -> Condition:
    """Whether the arrays of which these are views may share memory."""
    one, other = (origins(memory, loop) for memory in question.operands)
    return a.any([_share(x, y, loop, a) for x, y in product(one, other)])


def _share(x: SSAValue, y: SSAValue, loop: scf.ParallelOp, a: IndexArithmetic) -> Condition:
    if x is y:
        return True
    if all(_are_apart(*pair) for pair in product(origins(x), origins(y))):
        return False
    if loop.is_ancestor(x.owner) or loop.is_ancestor(y.owner):
        return True
    (first, end), (other_first, other_end) = (address_range(each, *metadata(each, a), a) for each in (x, y))
    one = a.constant(1)
    return a.all([a.le(first + one, other_end), a.le(other_first + one, end)])


def _are_apart(x: SSAValue, y: SSAValue) -> bool:
    """Whether two arrays that are no views are known to lie in different memory: all but two arguments do."""
    made = [isinstance(each.owner, memref.AllocOp | memref.GetGlobalOp) for each in (x, y)]
    given = [isinstance(each.owner.parent_op(), func.FuncOp) and isinstance(each.owner, Block) for each in (x, y)]
    return x is not y and any(made) and all(m or g for m, g in zip(made, given, strict=True))


def _answer(loop: scf.ParallelOp, answers: Sequence[bool]) -> None:
    """Replace the questions of a loop, and remove what depends on them."""
    for question, answer in zip(_questions(loop), answers, strict=True):
        constant = arith.ConstantOp(BoolAttr.from_bool(answer))
        Rewriter.replace_op(question, constant)
        known = constant.result
        while users := [use.operation for use in known.uses if isinstance(use.operation, _FOLDED)]:
            _fold(users[0], known, answer)
        if not known.uses:
            Rewriter.erase_op(constant)


def _fold(user: scf.IfOp | arith.OrIOp | arith.AndIOp, known: SSAValue, answer: bool) -> None:
    if isinstance(user, scf.IfOp):
        _take(user, answer)
    else:
        other = user.rhs if user.lhs is known else user.lhs
        decides = answer is isinstance(user, arith.OrIOp)
        Rewriter.replace_op(user, [], [known if decides else other])


def _take(branch: scf.IfOp, truth: bool) -> None:
    """Put the code of a branch in the place of the choice."""
    region = branch.true_region if truth else branch.false_region
    if not region.blocks:
        Rewriter.erase_op(branch)
        return
    end = region.block.last_op
    assert isinstance(end, scf.YieldOp)
    results = list(end.operands)
    Rewriter.inline_block(region.block, InsertPoint.before(branch))
    Rewriter.replace_op(branch, [], results)
    Rewriter.erase_op(end)
