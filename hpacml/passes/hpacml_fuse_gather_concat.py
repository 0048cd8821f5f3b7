"""`hpacml-fuse-gather-concat`: one sweep for all views of a map, and no copy where there is nothing to pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, func, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, IntegerAttr, MemRefType, ModuleOp, StridedLayoutAttr
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import strides_of
from hpacml.dialects.hpacml.packing import (
    FusedGatherOp,
    FusedScatterOp,
    PackOp,
    UnpackOp,
    adds,
    view_type,
)
from hpacml.passes.common.index_arithmetic import Condition, IndexArithmetic
from hpacml.passes.common.inferences import success
from hpacml.passes.common.located import Builder, located
from hpacml.passes.common.packed import as_packed, is_packed
from hpacml.passes.hpacml_resolve_slices import MAY_ALIAS


@dataclass(frozen=True)
class HpacmlFuseGatherConcatPass(ModulePass):
    """
    Neighbouring packs into (unpacks from) one tensor become one fused gather (scatter).

    ```mlir
    hpacml.pack %west into %x at %c0 features [1]
    hpacml.pack %east into %x at %c1 features [1]
    ```
    becomes
    ```mlir
    hpacml.fused_gather %west, %east into %x at %c0, %c1 features [1]
    ```

    A tensor that would be a copy of one packed view becomes that view: at compile time where the strides
    are known, else by a test at run time (`scf.if`) that takes the view or fills the copy.
    """

    name = "hpacml-fuse-gather-concat"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(_UsePackedMemory(), apply_recursively=False).rewrite_module(op)
        PatternRewriteWalker(_Fuse(), apply_recursively=False).rewrite_module(op)


class _Fuse(RewritePattern):
    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, PackOp | UnpackOp):
            return
        run = [op]
        while (
            isinstance(following := run[-1].next_op, type(op))
            and following.tensor is op.tensor
            and following.features == op.features
            and adds(following) == adds(op)
            and not _is_zero(following.first)
        ):
            run.append(following)
        views, firsts = [each.view for each in run], [each.first for each in run]
        features = op.features.get_values()
        if isinstance(op, PackOp):
            fused = FusedGatherOp(views, op.tensor, firsts, features)
        else:
            fused = FusedScatterOp(views, op.tensor, firsts, features, op.add)
        for each in run[1:]:
            rewriter.erase(each)
        rewriter.replace(op, located(fused, op))


TYPED = (func.CallOp, func.ReturnOp, scf.YieldOp, scf.ForOp, scf.WhileOp)
"""What fixes the type of a value, so that a tensor cannot be replaced by memory of other strides."""


class _UsePackedMemory(RewritePattern):
    """Replaces a tensor that is filled from, or written to, one view that covers it, by the memory of the view."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: memref.AllocOp, rewriter: PatternRewriter) -> None:
        uses = [use.operation for use in op.memref.uses]
        copies = [use for use in uses if isinstance(use, PackOp | UnpackOp)]
        frees = [use for use in uses if isinstance(use, memref.DeallocOp)]
        if MAY_ALIAS not in op.attributes or len(copies) != 1 or len(frees) != 1:
            return
        if any(isinstance(use, TYPED) for use in uses):
            return
        (copy,), (free,) = copies, frees
        if adds(copy) or not _defined_before(copy.view, op):
            return
        if copy.parent is not op.parent and not _if_inferred(copy, op):
            return
        scratch = Block()
        a = IndexArithmetic(Builder(InsertPoint.at_end(scratch), op))
        packed = _is_packed(copy, a)
        dynamic = next((d for d, n in enumerate(op.memref.type.get_shape()) if n == DYNAMIC_INDEX), None)
        if packed is False or (packed is not True and dynamic is None):
            scratch.erase()  # what it has uses values of the module
            return
        memory = _as_tensor(copy, op, a)
        buffer: SSAValue | None = None
        if packed is not True:
            # Only one of the two memories is needed: the copy has no elements where the view is taken.
            sizes = list(op.dynamic_sizes)
            sizes[0] = a.value(a.select(packed, a.constant(0), a.number(sizes[0])))
            buffer = a.builder.insert(memref.AllocOp(sizes, [], op.memref.type)).memref
            buffer.name_hint = op.memref.name_hint
        truth = a.truth(packed)
        rewriter.inline_block(scratch, InsertPoint.before(op))
        tensor = memory
        if buffer is not None:
            tensor = self._choose(truth, memory, buffer, copy, op, rewriter)
            rewriter.insert(located(memref.DeallocOp.get(buffer), op), InsertPoint.before(free))
        rewriter.erase(free)
        rewriter.erase(copy)
        rewriter.replace(op, [], [tensor])

    def _choose(
        self,
        packed: SSAValue,
        memory: SSAValue,
        buffer: SSAValue,
        copy: PackOp | UnpackOp,
        op: memref.AllocOp,
        rewriter: PatternRewriter,
    ) -> SSAValue:
        """The view's memory where it is packed, else the buffer, filled or written back at run time."""
        copied = type(copy)(copy.view, buffer, copy.first, copy.features.get_values())
        memory_type = cast(MemRefType, memory.type)
        layout = StridedLayoutAttr(list(strides_of(memory_type)), None)
        shape, space = memory_type.get_shape(), memory_type.memory_space
        either = MemRefType(memory_type.element_type, shape, layout, space)
        located(copied, copy)
        casts = [] if memory_type == either else [memref.CastOp.get(memory, either)]
        take = Region(Block([*casts, scf.YieldOp(*casts or [memory])]))
        cast_buffer = memref.CastOp.get(buffer, either)
        if isinstance(copy, PackOp):
            fill = Region(Block([copied, cast_buffer, scf.YieldOp(cast_buffer)]))
            choice = scf.IfOp(packed, [either], take, fill)
            rewriter.insert(located(choice, op), InsertPoint.before(copy))
        else:
            choice = scf.IfOp(packed, [either], take, Region(Block([cast_buffer, scf.YieldOp(cast_buffer)])))
            rewriter.insert(located(choice, op), InsertPoint.before(op))
            write = Region(Block([copied, scf.YieldOp()]))
            nothing = Region(Block([scf.YieldOp()]))
            rewriter.insert(located(scf.IfOp(packed, [], nothing, write), copy), InsertPoint.before(copy))
        return choice.results[0]


def _is_zero(value: SSAValue) -> bool:
    """Whether a feature is the first of its map, so that packs before it belong to another map."""
    owner = value.owner
    return isinstance(owner, arith.ConstantOp) and owner.value == IntegerAttr(0, IndexType())


def _defined_before(value: SSAValue, op: Operation) -> bool:
    owner, block = value.owner, op.parent
    holder = owner if isinstance(owner, Operation) else owner.parent_op()
    inside = None if holder is None or block is None else block.find_ancestor_op_in_block(holder)
    return inside is None or (inside is owner and inside.is_before_in_block(op))


def _if_inferred(copy: PackOp | UnpackOp, op: memref.AllocOp) -> bool:
    """Whether `copy` depends on nothing but an inference, which leaves the tensor as it is where it fails."""
    found = success(copy)
    return found is not None and found.branch.parent is op.parent and op.memref in found.infer.outputs


def _is_packed(copy: PackOp | UnpackOp, a: IndexArithmetic) -> Condition:
    """Whether the view's memory can be the tensor."""
    tensor_type = cast(MemRefType, copy.tensor.type)
    if view_type(copy.view).element_type != tensor_type.element_type:
        return False
    return is_packed(copy.view, tensor_type, copy.features.get_values(), a)


def _as_tensor(copy: PackOp | UnpackOp, op: memref.AllocOp, a: IndexArithmetic) -> SSAValue:
    """The view's memory with the shape of the tensor, row-major."""
    given = iter(op.dynamic_sizes)
    sizes = [a.number(next(given) if n == DYNAMIC_INDEX else n) for n in op.memref.type.get_shape()]
    return as_packed(copy.view, sizes, a)
