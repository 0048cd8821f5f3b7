"""Canonicalization patterns of the `hpacml` dialect, which `canonicalize` applies.

A map that nothing uses is removed without a pattern, since it is pure.
"""

from __future__ import annotations

from xdsl.dialects.builtin import ArrayAttr
from xdsl.ir import SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable
from xdsl.transforms.canonicalization_patterns.utils import const_evaluate_operand

from hpacml.dialects.hpacml.attributes import PREFIXES, Mode, ModeAttr, TargetAttr
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import MlOp, YieldOp
from hpacml.errors import MapError
from hpacml.functors.targets import fill


class FoldConstantRanges(RewritePattern):
    """Constant numbers of a map's ranges become part of it, and of its type where only operations of hpacml use it."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MapOp, rewriter: PatternRewriter) -> None:
        known = [const_evaluate_operand(bound) for bound in op.bounds]
        functor = SymbolTable.lookup_symbol(op, op.functor)
        users = [use.operation for use in op.mapping.uses]
        if not isinstance(functor, FunctorOp) or all(number is None for number in known):
            return
        if not all(user.name.startswith(PREFIXES) for user in users):  # a call or a return fixes the type
            return
        numbers = iter(known)
        trees = [fill(tree, numbers) for tree in op.trees]
        bounds = [bound for bound, number in zip(op.bounds, known, strict=True) if number is None]
        filled = MapOp.build(
            operands=[op.arrays, bounds, op.params],
            properties={**op.properties, "targets": ArrayAttr([TargetAttr(tree) for tree in trees])},
            attributes=op.attributes,
            result_types=[op.mapping_type],
        )
        try:
            folded = filled.typed(functor)
        except MapError:
            return  # the guard of the map says so at run time, and only if it gets there
        folded.mapping.name_hint = op.mapping.name_hint
        folded.location = op.location
        rewriter.replace(op, folded)


class ShareMaps(RewritePattern):
    """A map that stands earlier in the block already is used again.

    Not by a region with an `if`, which checks a map that only it uses where the condition holds.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MapOp, rewriter: PatternRewriter) -> None:
        if _is_conditional(op):
            return
        earlier = op.prev_op
        while earlier is not None:
            if isinstance(earlier, MapOp) and _same(earlier, op) and not _is_conditional(earlier):
                rewriter.replace(op, [], [earlier.mapping])
                return
            earlier = earlier.prev_op


class FoldConstantConditions(RewritePattern):
    """Constant conditions of a region decide its mode, or leave its body."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MlOp, rewriter: PatternRewriter) -> None:
        condition, if_condition = map(_known, (op.condition, op.if_condition))
        if if_condition == 0:
            end, yields = op.body.block.last_op, op.yields
            rewriter.inline_block(op.body.block, InsertPoint.before(op))
            if isinstance(end, YieldOp):
                rewriter.erase(end)
            rewriter.replace(op, [], yields)
        elif condition is not None or if_condition is not None:
            mode = op.mode.data if condition is None else Mode.Infer if condition else Mode.Collect
            sample = None if mode == Mode.Infer and not op.collects_rejected else op.sample
            decided = op.but(
                rewriter.move_region_contents_to_new_regions(op.body),
                properties={"mode": ModeAttr(mode), "sample": sample},
                condition=[op.condition] if condition is None and op.condition is not None else [],
                if_condition=[op.if_condition] if if_condition is None and op.if_condition is not None else [],
            )
            rewriter.replace(op, decided)


def _is_conditional(op: MapOp) -> bool:
    users = (use.operation for use in op.mapping.uses)
    return any(isinstance(user, MlOp) and user.if_condition is not None for user in users)


def _known(condition: SSAValue | None) -> int | None:
    """The value of a condition, if there is one and it is a constant: 0 for false."""
    return None if condition is None else const_evaluate_operand(condition)


def _same(a: MapOp, b: MapOp) -> bool:
    return (
        list(a.operands) == list(b.operands)
        and a.properties == b.properties
        and a.attributes == b.attributes
        and a.mapping.type == b.mapping.type
    )
