"""What the code of a region reads and writes, in the order of the code: each access with the loops around it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from xdsl.dialects import affine, func, memref, scf
from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.traits import MemoryEffectKind, SymbolTable, get_effects
from xdsl.transforms.canonicalization_patterns.utils import const_evaluate_operand

from hpacml.dialects.hpacml.attributes import PREFIXES
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.located import refusal
from hpacml.passes.derivation.called import HARMLESS, is_known, stays_inside, touches_nothing
from hpacml.passes.derivation.conditions import condition_of, index_in
from hpacml.passes.derivation.facts import ZERO
from hpacml.passes.derivation.integers import LOOP, Chosen, Integer, Integers, Unknown
from hpacml.passes.derivation.memory import Dims, Either, Memory, Own, Untold, View, rank_of
from hpacml.passes.derivation.nests import ADVICE, Access, Condition, Loop, told
from hpacml.passes.derivation.stencils import Stencils, Touch

_MAKERS = (memref.AllocOp, memref.AllocaOp, memref.GetGlobalOp)


@dataclass
class Accesses:
    """Goes through a region. Raises `PassFailedException` for an access that is not followed, at its place."""

    region: Region
    dims: Dims = field(default_factory=dict[SSAValue, "Sequence[str]"])
    found: list[Access] = field(default_factory=list[Access])

    def __post_init__(self) -> None:
        self.integers = Integers(self.region)
        self.memory = Memory(self.integers, self.dims)
        self.integers.sizes = self.memory
        self._loops: list[Loop] = []
        self._conditions: list[Condition] = []
        self._count = 0
        self._stencils = Stencils()
        self._block(self.region.block)

    def _block(self, block: Block) -> None:
        for op in block.ops:
            self._operation(op)

    def _regions(self, op: Operation) -> None:
        for region in op.regions:
            if len(region.blocks) > 1:  # which of them run is told by branches between blocks
                raise refusal(op, f"{op.name} has several blocks, and branches between them are not followed. {ADVICE}")
            self._block(region.block)

    def _operation(self, op: Operation) -> None:
        self._count += 1
        match op:
            case memref.LoadOp():
                self._access(op, False, op.memref, list(map(self.integers.of, op.indices)))
            case memref.StoreOp():
                self._access(op, True, op.memref, list(map(self.integers.of, op.indices)))
            case affine.LoadOp():
                self._access(op, False, op.memref, self.integers.affine_map(op.map.data, op.indices))
            case affine.StoreOp():
                self._access(op, True, op.memref, self.integers.affine_map(op.map.data, op.indices))
            case memref.CopyOp():
                self._copy(op)
            case scf.ForOp():
                step = const_evaluate_operand(op.step)
                lower, upper = self.integers.of(op.lb), self.integers.of(op.ub)
                with self._loop(op, op.body.block.args[0], lower, upper, step) as runs:
                    if runs:
                        self._regions(op)
            case affine.ForOp():
                lower = self.integers.affine_map(op.lowerBoundMap.data, op.lowerBoundOperands)
                upper = self.integers.affine_map(op.upperBoundMap.data, op.upperBoundOperands)
                ends = self.integers.extreme("max", lower), self.integers.extreme("min", upper)
                with self._loop(op, op.body.block.args[0], *ends, op.step.value.data) as runs:
                    if runs:
                        self._regions(op)
            case scf.ParallelOp():
                self._parallel(op, 0)
            case scf.IfOp():
                self._branch(op, op.cond, (op.true_region, op.false_region))
            case affine.IfOp():
                self._branch(op, None, (op.then_region, op.else_region))
            case scf.WhileOp():
                with self._under(Condition(op, True)):
                    self._regions(op)
            case scf.ReduceOp() | scf.ExecuteRegionOp():
                self._regions(op)
            case func.CallOp():
                self._call(op)
            case _ if op.name.startswith("stencil."):
                self._stencil(op)
            case _:
                self._other(op)

    # -- loops and branches ----------------------------------------------------------------------

    @contextmanager
    def _loop(
        self,
        op: Operation,
        index: SSAValue,
        lower: Integer,
        upper: Integer,
        step: int | None,
        is_parallel: bool = False,
    ) -> Generator[bool]:
        """Stand inside of a loop. Gives whether it is known to run."""
        name = index.name_hint
        if isinstance(lower, Unknown) or isinstance(upper, Unknown) or step is None or step < 1:
            unknown = next((each for each in (lower, upper) if isinstance(each, Unknown)), None)
            why = f"a bound of it {unknown.why}" if unknown else "its step is no positive constant"
            self.integers.bind(index, Unknown(f"is that of the loop{_of(name)}, and {why}"))
            with self._under(Condition(op, True)):
                yield True
            return
        loop, value = self._regular(name, lower, upper, step, is_parallel)
        self.integers.bind(index, value)
        self._loops.append(loop)
        yield loop.trips != 0
        self._loops.pop()

    def _regular(self, name: str | None, lower: Poly, upper: Poly, step: int, is_parallel: bool) -> tuple[Loop, Poly]:
        """A loop, and its index by its symbol: one that begins where another loop says is counted from 0."""
        upper = self._without_floor(lower, upper)
        symbol = f"{LOOP}{len(self._loops)}.{self._count}"
        here = Poly.name(symbol)
        depends = _loops_in(lower) or _loops_in(upper)
        extent, why = upper - lower, None
        if depends and (length := extent.as_int) is not None:
            first, scale, (lower, upper, step) = lower, step, (ZERO, Poly.constant(max(0, -(-length // step))), 1)
        elif depends and step == 1 and not _loops_in(extent):
            first, scale, (lower, upper) = lower, 1, (ZERO, extent)
        else:
            first, scale = ZERO, 1
            if depends:
                outer = next(loop for loop in reversed(self._loops) if loop.symbol in extent.names | lower.names)
                why = f"the bounds of the loop{_of(name)} depend on that{_of(outer.name)}, and no map has such points"
        self.integers.enter(here, lower, upper)
        return Loop(symbol, name, lower, upper, step, is_parallel, why), first + Poly.constant(scale) * here

    def _without_floor(self, lower: Poly, upper: Poly) -> Poly:
        """The end of a loop that is not before its beginning, as an end that may be."""
        atom = self.integers.atoms.get(upper.as_name or "")
        if isinstance(atom, Chosen) and atom.kind == "max" and lower in atom.of:
            rest = self.integers.extreme("max", [each for each in atom.of if each != lower])
            return rest if isinstance(rest, Poly) else upper
        return upper

    def _parallel(self, op: scf.ParallelOp, dim: int) -> None:
        if dim == len(op.lowerBound):
            self._regions(op)
            return
        lower, upper = self.integers.of(op.lowerBound[dim]), self.integers.of(op.upperBound[dim])
        step = const_evaluate_operand(op.step[dim])
        self._count += 1
        with self._loop(op, op.body.block.args[dim], lower, upper, step, True) as runs:
            if runs:
                self._parallel(op, dim + 1)

    @contextmanager
    def _under(self, condition: Condition) -> Generator[None]:
        self._conditions.append(condition)
        yield
        self._conditions.pop()

    def _branch(self, op: Operation, value: SSAValue | None, regions: Sequence[Region]) -> None:
        """Go through the branches of a condition, or the one that it always takes."""
        known = None if value is None else const_evaluate_operand(value)
        for holds, region in zip((True, False), regions, strict=True):
            if region.blocks and (known is None or bool(known) == holds):
                if known is not None:
                    self._block(region.block)
                    continue
                with self._under(Condition(op, holds) if value is None else condition_of(value, holds)):
                    self._block(region.block)

    # -- accesses --------------------------------------------------------------------------------

    def _access(
        self,
        op: Operation,
        is_store: bool,
        memory: SSAValue,
        indices: Sequence[Integer],
        staged: SSAValue | Operation | None = None,
    ) -> None:
        match self.memory.of(memory):
            case Own(view):
                known = [each for each in indices if isinstance(each, Poly)]
                if view is not None and len(known) == len(indices):
                    self._note(op, is_store, view, view.at(known), staged, is_own=True)
            case View() as view:
                self._note(op, is_store, view, view.at(indices), staged)
            case Either(condition, then, other):
                for holds, each in ((True, then), (False, other)):
                    assumed = condition_of(condition, holds)
                    if Condition(assumed.of, not assumed.holds) not in self._conditions:
                        with self._under(assumed):
                            is_staged = is_store and isinstance(self.memory.of(then), Own)
                            self._access(op, is_store, each, indices, condition if is_staged else staged)
            case Untold(why):
                raise refusal(op, f"{_what(op, memory)}: the array {why}. {ADVICE}")

    def _note(
        self,
        op: Operation,
        is_store: bool,
        view: View,
        index: tuple[Integer, ...],
        staged: SSAValue | Operation | None,
        is_own: bool = False,
    ) -> None:
        found = [each for each in index if isinstance(each, Poly)]
        if is_own and (len(found) < len(index) or any(loop.irregular for loop in self._loops)):
            return
        for k, each in enumerate(index):
            if isinstance(each, Unknown):
                raise refusal(op, f"{_what(op, view.array)}: index {k} {each.why}. {ADVICE}")
        for loop in self._loops:
            if loop.irregular is not None:
                raise refusal(op, f"{_what(op, view.array)}: {loop.irregular}. {ADVICE}")
        access = Access(
            op,
            is_store,
            view.array,
            tuple(found),
            tuple(self._loops),
            tuple(dict.fromkeys(self._conditions)),
            self._count,
            self.memory.sizes(view.array),
            is_own,
            staged,
        )
        symbols = [loop.symbol for loop in self._loops]
        for k, each in enumerate(found):
            if any(sum(name in symbols for name in monomial) > 1 for monomial, _ in each.terms):
                raise refusal(op, f"{_what(op, view.array)}: index {k} multiplies indices of loops. {ADVICE}")
        if not is_own and not is_store:
            for condition in access.conditions:
                self._require_free(access, condition)
        self.found.append(access)

    def _require_free(self, access: Access, condition: Condition) -> None:
        """Refuse a load under a condition of the indices: which elements it reads is then no box."""
        why = index_in(condition.of, self.integers, set())
        if why is not None:
            raise refusal(
                access.op,
                f"{_what(access.op, access.array)}: it happens under a condition of {why}, so that the elements which "
                f"are read are no ranges. {ADVICE}",
            )

    def _copy(self, op: memref.CopyOp) -> None:
        """A copy is a nest of loops that loads and stores."""
        rank = rank_of(op.source)

        def dims(k: int, indices: list[Integer]) -> None:
            if k == rank:
                self._access(op, False, op.source, indices)
                self._count += 1
                self._access(op, True, op.destination, indices)
                return
            size = self.memory.size(op.source, k)
            self._count += 1
            if isinstance(size, Unknown):
                with self._under(Condition(op, True)):
                    dims(k + 1, [*indices, Unknown(f"goes to a size, which {size.why}")])
                return
            loop, here = self._regular(None, ZERO, size, 1, False)
            self._loops.append(loop)
            if loop.trips != 0:
                dims(k + 1, [*indices, here])
            self._loops.pop()

        dims(0, [])

    def _stencil(self, op: Operation) -> None:
        """A store of stencils is a nest that loads and stores, and then, for the order of these, one that stores."""
        points = self._stencils.points(op, self._count)
        if points is not None:
            self._points(points.bounds, points.touches, True)
            self._points(points.bounds, [touch for touch in points.touches if touch.is_store], False)

    def _points(self, bounds: Sequence[tuple[int, int]], touches: Sequence[Touch], is_first: bool) -> None:
        """A nest over points. Of stores, those in the `is_first` one are not yet what orders them."""
        self._count += 1
        outer, now = list(self._loops), self._count
        indices: list[Poly] = []
        for low, end in bounds:
            loop, here = self._regular(None, Poly.constant(low), Poly.constant(end), 1, False)
            self._loops.append(loop)
            indices.append(here)
        for touch in touches:
            if touch.memory is not None and all(loop.trips != 0 for loop in self._loops):
                at = [here + Poly.constant(offset) for here, offset in zip(indices, touch.offset, strict=True)]
                self._count = now if touch.loaded_at is None else touch.loaded_at
                self._access(
                    touch.op, touch.is_store, touch.memory, at, touch.op if touch.is_store and is_first else None
                )
        self._loops, self._count = outer, now

    def _call(self, op: func.CallOp) -> None:
        """A call touches no array of the outside that it is not given, if the module has its function."""
        callee = op.callee.string_value()
        function = SymbolTable.lookup_symbol(op, op.callee)
        given = [each for each in op.arguments if isinstance(each.type, MemRefType)]
        if touches_nothing(function) or (is_known(callee, function) and not given):
            return
        outside = next((each for each in given if not isinstance(self.memory.of(each), Own)), None)
        if outside is not None:
            raise refusal(
                op, f"the call of @{callee} is given {told(outside)}, and what it does there is not followed. {ADVICE}"
            )
        if not isinstance(function, func.FuncOp) or function.is_declaration or not stays_inside(function):
            raise refusal(op, f"the call of @{callee} may touch arrays, and its code is not followed. {ADVICE}")

    def _other(self, op: Operation) -> None:
        """Any other operation must leave memory alone, that of the outside at least."""
        if op.name.startswith(PREFIXES):
            if op.name == "hpacml.ml":  # its code is a part of this code
                self._regions(op)
            elif op.name != "hpacml.map":
                raise refusal(op, f"{op.name} stands in a region whose maps are to be inferred. {ADVICE}")
            return
        if isinstance(op, (*HARMLESS, *_MAKERS)) or op.name in _ENDS:
            return
        memories = [each for each in op.operands if isinstance(each.type, MemRefType)]
        outside = next((each for each in memories if not isinstance(self.memory.of(each), Own)), None)
        if outside is not None:
            raise refusal(op, f"{op.name} of {told(outside)} is no load or store that is followed. {ADVICE}")
        if op.regions:
            raise refusal(op, f"the code in {op.name} is not followed. {ADVICE}")
        effects = get_effects(op)
        if not memories and not (effects is not None and all(_is_free(each.kind) for each in effects)):
            raise refusal(op, f"{op.name} may touch arrays. {ADVICE}")


_ENDS = ("scf.yield", "affine.yield", "scf.condition", "func.return", "scf.reduce.return")


def _is_free(kind: MemoryEffectKind) -> bool:
    return kind in (MemoryEffectKind.ALLOC, MemoryEffectKind.FREE)


def _what(op: Operation, array: SSAValue) -> str:
    return f"no map is inferred for {op.name} of {told(array)}"


def _of(name: str | None) -> str:
    return f" over '{name}'" if name else ""


def _loops_in(poly: Poly) -> bool:
    return any(name.startswith(LOOP) for name in poly.names)
