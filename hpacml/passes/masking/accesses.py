"""The accesses of a nest of loops: those of arrays from outside, as far as their indices are polynomials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.dialects import affine, func, memref, scf
from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.traits import MemoryEffectKind, SymbolTable, get_effects, is_side_effect_free
from xdsl.transforms.canonicalization_patterns.utils import const_evaluate_operand

from hpacml.functors.polynomials import Poly
from hpacml.passes.common.origins import VIEWS
from hpacml.passes.derivation.called import is_known, stays_inside, touches_nothing
from hpacml.passes.derivation.facts import ONE, Facts
from hpacml.passes.derivation.integers import LOOP, Integer, Integers
from hpacml.passes.derivation.memory import Either, Memory, Own, View

Loop = scf.ForOp | scf.ParallelOp

_AROUND = (
    scf.IfOp,
    scf.ForOp,
    scf.ParallelOp,
    scf.WhileOp,
    scf.ExecuteRegionOp,
    scf.IndexSwitchOp,
    affine.ForOp,
    affine.IfOp,
    affine.ParallelOp,
)
"""Operations that touch what the operations inside of them do."""

_ENDS = (scf.YieldOp, scf.ReduceOp, scf.ConditionOp, affine.YieldOp, func.ReturnOp)

_LOADS, _STORES = (memref.LoadOp, affine.LoadOp), (memref.StoreOp, affine.StoreOp)

_HARMLESS = (memref.DimOp, memref.GetGlobalOp, *VIEWS)


class NotFollowed(Exception):
    """Code, or a map, that is not understood well enough to run it for some points alone. It runs on copies then."""


@dataclass(frozen=True)
class Touched:
    """An element of an array from outside that is loaded or stored. Unknown indices are none."""

    array: SSAValue
    index: tuple[Poly, ...] | None
    facts: Facts
    """What is known of the indices of the loops around it."""


class Nest:
    """The accesses of a region, once it is read."""

    def __init__(self, region: Region):
        self.integers = Integers(region)
        self.memory = Memory(self.integers, {})
        self.integers.sizes = self.memory
        self.loads: list[Touched] = []
        self.stores: list[Touched] = []
        self.made: list[Operation] = []
        """The operations that allocate."""
        self.indices: dict[str, SSAValue] = {}
        """The indices of loops by their names in polynomials."""
        self.facts_in: dict[Operation, Facts] = {}
        """What is known of the indices of loops, in the body of each."""
        self._known: list[Poly] = []
        self._region = region

    def read(self) -> list[Loop]:
        """Go through the region; the loops around one another beside which nothing is written, the outer ones first.

        Raises `NotFollowed` for code that may write memory in other ways than by stores.
        """
        self._block(self._region.block)
        return _chain(self._region.block)

    def is_before(self, value: SSAValue) -> bool:
        """Whether a value is known before the loops of the region."""
        owner = value.owner
        outside = not self.integers.is_inside(owner)
        return outside or (isinstance(owner, Operation) and owner.parent_block() is self._region.block)

    def names_of(self, loop: Loop) -> set[str]:
        """The names of a loop's indices."""
        own = loop.body.block.args
        return {name for name, index in self.indices.items() if index in own}

    def _block(self, block: Block) -> None:
        for op in block.ops:
            self._operation(op)

    def _operation(self, op: Operation) -> None:
        match op:
            case memref.LoadOp() | memref.StoreOp():
                self._touch(op, op.memref, list(map(self.integers.of, op.indices)))
            case affine.LoadOp() | affine.StoreOp():
                self._touch(op, op.memref, self.integers.affine_map(op.map.data, op.indices))
            case memref.CopyOp():
                self._require_own(op, op.destination)
                self._touch_any(op.source)
            case memref.AllocOp() | memref.AllocaOp():
                self.made.append(op)
            case memref.DeallocOp():
                self._require_own(op, op.memref)
            case func.CallOp():
                self._call(op)
            case _ if isinstance(op, _AROUND):
                self._around(op)
            case _ if isinstance(op, (*_ENDS, *_HARMLESS)) or (is_side_effect_free(op) and not op.regions):
                pass
            case _:
                effects = get_effects(op)
                silent = effects is not None and all(each.kind is MemoryEffectKind.ALLOC for each in effects)
                if op.regions or not silent or any(isinstance(each.type, MemRefType) for each in op.operands):
                    raise NotFollowed(f"{op.name} may write memory")

    def _around(self, op: Operation) -> None:
        if any(len(region.blocks) > 1 for region in op.regions):
            raise NotFollowed(f"{op.name} has branches between blocks")
        outside = len(self._known)
        match op:
            case scf.ForOp():
                self._bind(op.body.block.args[0], op.lb, op.ub, op.step)
            case scf.ParallelOp():
                for each in zip(op.body.block.args, op.lowerBound, op.upperBound, op.step, strict=True):
                    self._bind(*each)
            case _:
                pass
        self.facts_in[op] = self.integers.facts(self._known)
        for region in op.regions:
            if region.blocks:
                self._block(region.block)
        del self._known[outside:]

    def _bind(self, index: SSAValue, lower: SSAValue, upper: SSAValue, step: SSAValue) -> None:
        """Name the index of a loop, if it is known between what it runs."""
        low, end = self.integers.of(lower), self.integers.of(upper)
        if isinstance(low, Poly) and isinstance(end, Poly) and (const_evaluate_operand(step) or 0) >= 1:
            name = f"{LOOP}{len(self.indices)}"
            self.indices[name] = index
            here = Poly.name(name)
            self.integers.bind(index, here)
            self.integers.enter(here, low, end)
            self._known += [here - low, end - ONE - here]

    def _touch(self, op: Operation, memory: SSAValue, indices: Sequence[Integer]) -> None:
        match self.memory.of(memory):
            case Own():
                pass
            case View(array=array) as view:
                self._require_outside(array)
                index = view.at(indices)
                known = all(isinstance(each, Poly) for each in index)
                found = self.stores if isinstance(op, _STORES) else self.loads
                facts = self.integers.facts(self._known)
                found.append(Touched(array, cast("tuple[Poly, ...]", index) if known else None, facts))
            case Either(then=then, other=other):
                self._touch(op, then, indices)
                self._touch(op, other, indices)
            case _:
                raise NotFollowed(f"{op.name} is of memory that is not told")

    def _touch_any(self, memory: SSAValue) -> None:
        """Note that any element of an array may be loaded."""
        match self.memory.of(memory):
            case Own():
                pass
            case View(array=array):
                self._require_outside(array)
                self.loads.append(Touched(array, None, self.integers.facts(self._known)))
            case _:
                raise NotFollowed("a copy is of memory that is not told")

    def _require_outside(self, array: SSAValue) -> None:
        if self.integers.is_inside(array.owner):
            raise NotFollowed("a global array may change")

    def _require_own(self, op: Operation, memory: SSAValue) -> None:
        if not isinstance(self.memory.of(memory), Own):
            raise NotFollowed(f"{op.name} writes or frees memory from outside")

    def _call(self, op: func.CallOp) -> None:
        function = SymbolTable.lookup_symbol(op, op.callee)
        given = [each for each in op.arguments if isinstance(each.type, MemRefType)]
        if touches_nothing(function) or (is_known(op.callee.string_value(), function) and not given):
            return
        if not all(isinstance(self.memory.of(each), Own) for each in given):
            raise NotFollowed(f"the call of {op.callee} may write what it is given")
        if not isinstance(function, func.FuncOp) or function.is_declaration or not stays_inside(function):
            raise NotFollowed(f"the call of {op.callee} may write memory")


def _chain(block: Block) -> list[Loop]:
    """The loops around one another of a block, each of which alone writes in the block that it stands in."""
    writing = [op for op in block.ops if not _only_reads(op)]
    match writing:
        case [scf.ForOp(iter_args=()) | scf.ParallelOp(initVals=()) as loop]:
            return [loop, *_chain(loop.body.block)]
        case _:
            return []


def _only_reads(op: Operation) -> bool:
    """Whether an operation, with all that is inside of it, leaves memory as it is."""
    return all(
        isinstance(each, (*_LOADS, *_ENDS, *_HARMLESS, *_AROUND)) or (is_side_effect_free(each) and not each.regions)
        for each in op.walk()
    )
