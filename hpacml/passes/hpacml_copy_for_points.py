"""`hpacml-copy-for-points`: original code that is asked for some points runs whole, on copies of what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

from xdsl.context import Context
from xdsl.dialects import memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.gather_scatter import GatherOp, TensorOp
from hpacml.dialects.hpacml.points import BodyWhereOp, MergeOp
from hpacml.dialects.hpacml.steps import BodyOp
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import Condition, IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.mappings import functor_of, map_of
from hpacml.passes.common.points import each_point, size, sizes_of
from hpacml.passes.common.strided import address_range, metadata
from hpacml.passes.common.written_memory import written_arguments


@dataclass(frozen=True)
class HpacmlCopyForPointsPass(ModulePass):
    """
    The code runs on copies of the arrays that it may write; the outputs' maps lead to these, and what they find at the
    rejected points is taken.

    ```mlir
    hpacml.body_where "r" @r_body(%t, %u) at %mask from (%in) to (%out) into (%y)     // %out maps %u
    ```
    becomes
    ```mlir
    %copy = memref.alloc(...)                                                         // and the elements of %u
    hpacml.body "r" @r_body(%t, %copy)
    %out_1 = hpacml.map from ... (%copy[...])
    hpacml.gather %out_1 into %original
    hpacml.merge %original into %y at %mask
    ```
    Where an array that is written shares memory with another, copies would part what belongs together: there the code
    runs on the arrays themselves, and the model's results are scattered over what it has written.
    """

    name = "hpacml-copy-for-points"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for body in [each for each in op.walk() if isinstance(each, BodyWhereOp)]:
            _replace(body)


def _replace(op: BodyWhereOp) -> None:
    a = IndexArithmetic(Builder(InsertPoint.before(op)))
    positions = written_arguments(op.function)
    written = list(dict.fromkeys(op.arguments[k] for k in positions))
    others = [each for each in dict.fromkeys(op.arguments) if isinstance(each.type, MemRefType)]
    apart = _apart(written, others, a)
    if apart is True:
        _on_copies(op, written, a.builder)
    else:
        where(a.truth(apart), lambda a: _on_copies(op, written, a.builder), a, lambda a: _in_place(op, a.builder))
    Rewriter.erase_op(op)


def _apart(written: Sequence[SSAValue], arrays: Sequence[SSAValue], a: IndexArithmetic) -> Condition:
    """Whether no array that is written shares memory with another."""
    ranges = {each: address_range(each, *metadata(each, a), a) for each in arrays if len(arrays) > 1}
    conditions: list[Condition] = []
    for one, other in combinations(arrays, 2):
        if one in written or other in written:
            (low, high), (other_low, other_high) = ranges[one], ranges[other]
            conditions.append(a.any([a.le(high, other_low), a.le(other_high, low)]))
    return a.all(conditions)


def _in_place(op: BodyWhereOp, builder: Builder) -> None:
    builder.insert(BodyOp(op.label, op.callee.root_reference.data, list(op.arguments)))
    _take(op, {}, builder)


def _on_copies(op: BodyWhereOp, written: Sequence[SSAValue], builder: Builder) -> None:
    copies = {array: copied(array, builder) for array in written}
    arguments = [copies[each][0] if each in copies else each for each in op.arguments]
    builder.insert(BodyOp(op.label, op.callee.root_reference.data, arguments))
    _take(op, {array: copy for array, (copy, _) in copies.items()}, builder)
    for _, memory in copies.values():
        builder.insert(memref.DeallocOp.get(memory))


def _take(op: BodyWhereOp, copies: Mapping[SSAValue, SSAValue], builder: Builder) -> None:
    """Take the rejected points of the outputs, whose arrays may have copies in their places."""
    for mapping, tensor in zip(op.outputs, op.tensors, strict=True):
        map_op = map_of(mapping, op)
        features = functor_of(map_op, op).functor.feature_dims
        if copies:
            map_op = map_op.clone({array: copies.get(array, array) for array in map_op.arrays})
            mapping = builder.insert(map_op).mapping
        made = builder.insert(TensorOp(mapping, fresh=True)).tensor
        made.name_hint = "original"
        builder.insert(GatherOp(mapping, made))
        builder.insert(MergeOp(made, tensor, features, op.mask))


def copied(array: SSAValue, builder: Builder) -> tuple[SSAValue, SSAValue]:
    """A copy of an array, of its type, and the memory that has it."""
    array_type = cast(MemRefType, array.type)
    shape = array_type.get_shape()
    dynamic = [size(array, d, builder) for d, known in enumerate(shape) if known == DYNAMIC_INDEX]
    memory = builder.insert(memref.AllocOp(dynamic, [], MemRefType(array_type.element_type, shape))).memref
    memory.name_hint = array.name_hint

    def copy(place: Sequence[SSAValue], inner: Builder) -> None:
        element = inner.insert(memref.LoadOp.get(array, place)).res
        inner.insert(memref.StoreOp.get(element, memory, place))

    each_point(sizes_of(array, builder), copy, builder)
    if memory.type == array_type:
        return memory, memory
    return builder.insert(memref.CastOp.get(memory, array_type)).results[0], memory
