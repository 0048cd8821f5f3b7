"""`hpacml-version-in-place`: loops that write what they read in some calls have a version for these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import TypeAlias

from xdsl.context import Context
from xdsl.dialects import func, memref
from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.ir import Block, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.traits import is_side_effect_free

from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder
from hpacml.passes.common.loops import CountingLoop, calls_of, give_version, loops_of_vectors
from hpacml.passes.common.origins import origins
from hpacml.passes.common.strided import metadata

_Access: TypeAlias = memref.LoadOp | memref.StoreOp


@dataclass(frozen=True)
class HpacmlVersionInPlacePass(ModulePass):
    """
    In functions that are called with one array in the place of two, an innermost loop that writes the one and reads the
    other at the same indices alone gets a version where both are the same. LLVM makes vectors of that. Its own check
    tells that arrays are apart, and fails there.

    ```mlir
    scf.for %i = %0 to %n step %1 {
      %x = memref.load %a[%i] : memref<?xf64>
      ...
      memref.store %y, %b[%i] : memref<?xf64>
    ```
    becomes
    ```mlir
    scf.if %is_same {
      scf.for %i = %0 to %n step %1 {
        %x = memref.load %b[%i] : memref<?xf64>
        ...
        memref.store %y, %b[%i] : memref<?xf64>
      }
    } else {
      scf.for %i = %0 to %n step %1 {
        %x = memref.load %a[%i] : memref<?xf64>
        ...
        memref.store %y, %b[%i] : memref<?xf64>
    ```
    """

    name = "hpacml-version-in-place"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in [each for each in op.walk() if isinstance(each, func.FuncOp) and each.body.blocks]:
            if twice := _given_twice(function):
                for loop in loops_of_vectors(function):
                    pairs = list(_in_place(loop, twice))
                    # Two arrays that may be the written one would need four versions.
                    if len(pairs) == 1:
                        _version(loop, *pairs[0])


def _given_twice(function: func.FuncOp) -> set[frozenset[SSAValue]]:
    """The pairs of a function's arguments that are one array in a call."""
    twice: set[frozenset[SSAValue]] = set()
    for call in calls_of(function):
        found: dict[SSAValue, list[SSAValue]] = defaultdict(list)
        for given, argument in zip(call.operands, function.args, strict=True):
            if isinstance(given.type, MemRefType):
                for origin in origins(given):
                    found[origin].append(argument)
        twice |= {frozenset(pair) for arguments in found.values() for pair in combinations(arguments, 2)}
    return twice


def _in_place(loop: CountingLoop, twice: set[frozenset[SSAValue]]) -> Iterator[tuple[SSAValue, SSAValue]]:
    """The pairs of arrays that a loop reads and writes at the same indices alone, and that may be the same."""
    of: dict[SSAValue, list[_Access]] = defaultdict(list)
    for op in loop.walk():
        if isinstance(op, _Access) and not loop.is_ancestor(op.memref.owner):
            of[op.memref].append(op)
    written = [array for array in of if any(isinstance(each, memref.StoreOp) for each in of[array])]
    for array, target in product(of, written):
        may_be_same = array.type == target.type and frozenset([*origins(array), *origins(target)]) in twice
        if may_be_same and array not in written and _are_at_one_place([*of[array], *of[target]]):
            yield array, target


def _are_at_one_place(accesses: list[_Access]) -> bool:
    first, *others = (each.indices for each in accesses)
    return all(_is_same(a, b) for other in others for a, b in zip(first, other, strict=True))


def _is_same(a: SSAValue, b: SSAValue) -> bool:
    """Whether values are one, or computed alike from the same values."""
    seen: set[tuple[SSAValue, SSAValue]] = set()
    ahead = [(a, b)]
    while ahead:
        a, b = pair = ahead.pop()
        if a is b or pair in seen:
            continue
        x, y = a.owner, b.owner
        if isinstance(x, Block) or isinstance(y, Block):
            return False
        alike = x.name == y.name and x.properties == y.properties and len(x.operands) == len(y.operands)
        if not alike or x.regions or not is_side_effect_free(x):
            return False
        seen.add(pair)
        ahead += zip(x.operands, y.operands, strict=True)
    return True


def _version(loop: CountingLoop, array: SSAValue, target: SSAValue) -> None:
    give_version(loop, _are_one(array, target, Builder(InsertPoint.before(loop))))
    for read in loop.walk():
        if isinstance(read, memref.LoadOp) and read.memref is array:
            read.operands[0] = target


def _are_one(x: SSAValue, y: SSAValue, builder: Builder) -> SSAValue:
    """Whether two arrays of one type have their elements at the same addresses, or false where that is not seen."""
    a = IndexArithmetic(builder)
    memory = [builder.insert(memref.ExtractAlignedPointerAsIndexOp.get(each)).aligned_pointer for each in (x, y)]
    (offset, _, strides), (other_offset, _, other_strides) = metadata(x, a), metadata(y, a)
    pairs = [map(a.number, memory), (offset, other_offset), *zip(strides, other_strides, strict=True)]
    return a.truth(a.all([a.eq(*each) for each in pairs]))
