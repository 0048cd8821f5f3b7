"""Derived maps as operations, before the region whose they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from typing import cast

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import IndexType, MemRefType, bf16, f32, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable

from hpacml.dialects.hpacml.attributes import ELEMENT_TYPES, FLOATS, Direction, promote
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.errors import MapError
from hpacml.functors.polynomials import Poly
from hpacml.functors.targets import Bounds, TargetTree
from hpacml.passes.common.bodies import module_of
from hpacml.passes.common.conversion import convert
from hpacml.passes.common.located import Builder, refusal
from hpacml.passes.derivation.facts import ONE
from hpacml.passes.derivation.integers import Chosen, Integers, Selected, Size, Trips, Value
from hpacml.passes.derivation.maps import DerivedMap
from hpacml.passes.derivation.sweeps import Span

_ONE = Bounds(0, 1, 1)
_Binary = arith.MuliOp | arith.AndIOp | arith.MinSIOp | arith.MaxSIOp


class Building:
    """Makes the operations of the maps of a region."""

    def __init__(self, region: MlOp, integers: Integers):
        self._region = region
        self._integers = integers
        self._builder = Builder(InsertPoint.before(region))
        self._made: dict[object, SSAValue] = {}
        self._memory: list[SSAValue] = []

    def build(self, derived: Sequence[DerivedMap]) -> dict[Direction, list[SSAValue]]:
        """Insert functors and maps; the mappings. Raises `PassFailedException` for a map that does not fit."""
        found: dict[Direction, list[SSAValue]] = {direction: [] for direction in Direction}
        for each in derived:
            found[each.direction].append(self._map(each))
        for memory in self._memory:
            Builder(InsertPoint.after(self._region)).insert(memref.DeallocOp.get(memory))
        return found

    def _map(self, derived: DerivedMap) -> SSAValue:
        functor = self._functor(derived)
        beside = float_beside(derived)
        arrays = [
            each.array if each.ranges is not None else self._number(each.array, beside) for each in derived.targets
        ]
        bounds: list[SSAValue] = []
        trees = [self._tree(k, derived, bounds) for k in range(len(derived.targets))]
        params = [self._atom(derived.params[name]) for name in derived.functor.used_params]
        try:
            op = MapOp.infer(functor, derived.direction, trees, arrays, bounds, params)
        except MapError as error:
            raise refusal(self._region, f"an inferred map does not fit: {error}") from error
        mapping = self._builder.insert(op).mapping
        mapping.name_hint = {"to": "in", "from": "out"}.get(derived.direction, str(derived.direction))
        return mapping

    def _functor(self, derived: DerivedMap) -> FunctorOp:
        """The functor's operation, at the start of the module; one that is there already is taken."""
        module = module_of(self._region)
        stem = functor_name(self._region.label.data, derived.direction)
        number = 0
        while isinstance(there := SymbolTable.lookup_symbol(module, name := f"{stem}{number or ''}"), Operation):
            if isinstance(there, FunctorOp) and there.functor == derived.functor:
                return there
            number += 1
        op = FunctorOp(name, derived.functor)
        first = module.body.block.first_op
        (
            Builder(InsertPoint.before(first), self._region)
            if first
            else Builder(InsertPoint.at_end(module.body.block))
        ).insert(op)
        return op

    def _tree(self, k: int, derived: DerivedMap, bounds: list[SSAValue]) -> TargetTree:
        """Target `k` of a map, whose open numbers are added to `bounds`."""
        target = derived.targets[k]
        if target.ranges is None:
            return (_ONE,)

        def number(poly: Poly) -> int | None:
            if (constant := poly.as_int) is None:
                bounds.append(self.number(poly))
            return constant

        guarded = guarded_dims(derived)
        found: list[Bounds] = []
        for m, span in enumerate(target.ranges):
            start = number(span.start)
            if (k, m) in guarded:
                bounds.append(self._guarded(span, derived.guards))
                stop = None
            else:
                stop = number(span.stop)
            found.append(Bounds(start, stop, span.step))
        return tuple(found)

    def _guarded(self, span: Span, guards: Sequence[Poly]) -> SSAValue:
        """The end of a range that is empty unless all guards are positive."""
        insert = self._builder.insert
        zero = self.number(Poly.constant(0))
        runs: list[SSAValue] = [insert(arith.CmpiOp(self.number(guard), zero, "sgt")).result for guard in guards]
        all_run = self._folded(arith.AndIOp, runs)
        return insert(arith.SelectOp(all_run, self.number(span.stop), self.number(span.start))).result

    # -- numbers ---------------------------------------------------------------------------------

    def number(self, poly: Poly) -> SSAValue:
        """The value of a polynomial."""
        if poly not in self._made:
            self._made[poly] = self._sum(poly)
        return self._made[poly]

    def _sum(self, poly: Poly) -> SSAValue:
        """The value, by as few operations as a person writes: what is subtracted comes last."""
        insert = self._builder.insert
        total: SSAValue | None = None
        for monomial, coefficient in sorted(poly.terms, key=lambda term: (term[1] < 0, not term[0])):
            factors = [self._atom(name) for name in monomial]
            size = abs(coefficient) if total is not None else coefficient
            if size != 1 or not factors:
                factors.append(self._constant(size))
            part = self._folded(arith.MuliOp, factors)
            if total is None:
                total = part
            else:
                total = insert((arith.SubiOp if coefficient < 0 else arith.AddiOp)(total, part)).result
        return self._constant(0) if total is None else total

    def _folded(self, kind: type[_Binary], values: Sequence[SSAValue]) -> SSAValue:
        """What an operation makes of all values, one after the other."""

        def both(a: SSAValue, b: SSAValue) -> SSAValue:
            return self._builder.insert(kind(a, b)).result

        return reduce(both, values)

    def _constant(self, value: int) -> SSAValue:
        if value not in self._made:
            self._made[value] = self._builder.index(value)
        return self._made[value]

    def _atom(self, name: str) -> SSAValue:
        """The value of an atom, of the type `index`."""
        if name not in self._made:
            self._made[name] = self._value_of(name)
        return self._made[name]

    def _value_of(self, name: str) -> SSAValue:
        insert = self._builder.insert
        match self._integers.atoms[name]:
            case Value(value):
                return self._indexed(self._outside(value))
            case Size(array, dim):
                return insert(memref.DimOp(array, self._constant(dim))).result
            case Chosen(kind, of):
                choose = arith.MinSIOp if kind == "min" else arith.MaxSIOp
                return self._folded(choose, [self.number(each) for each in of])
            case Selected(less, than, then, other):
                is_less = insert(arith.CmpiOp(self.number(less), self.number(than), "slt")).result
                return insert(arith.SelectOp(is_less, self.number(then), self.number(other))).result
            case Trips(first, end, step):
                distance = self.number(end - first + Poly.constant(step) - ONE)
                positive = insert(arith.MaxSIOp(distance, self._constant(0))).result
                return insert(arith.DivUIOp(positive, self._constant(step))).result

    def _outside(self, value: SSAValue) -> SSAValue:
        """A value that is the same before the region: what computes it in there is computed before it as well."""
        if not isinstance(op := value.owner, Operation) or not self._integers.is_inside(op):
            return value
        if value in self._made:
            return self._made[value]
        if isinstance(found := self._integers.of(value), Poly) and not self._is_own_atom(found, value):
            self._made[value] = self._as_type(self.number(found), value.type)
        else:
            operands = {operand: self._outside(operand) for operand in op.operands}
            self._made[value] = self._builder.insert(op.clone(operands)).results[0]
        return self._made[value]

    def _is_own_atom(self, poly: Poly, value: SSAValue) -> bool:
        atom = self._integers.atoms.get(poly.as_name or "")
        return isinstance(atom, Value) and atom.value is value

    def _indexed(self, value: SSAValue) -> SSAValue:
        return self._as_type(value, IndexType())

    def _as_type(self, value: SSAValue, type: Attribute) -> SSAValue:
        return value if value.type == type else self._builder.insert(arith.IndexCastOp(value, type)).result

    def _number(self, value: SSAValue, beside: Attribute | None) -> SSAValue:
        """A number in memory of one element. It takes the floating type of the arrays beside it, if they have one."""
        number = self._as_element(value, beside)
        number.name_hint = value.name_hint
        if number.type not in ELEMENT_TYPES.values():
            raise refusal(self._region, f"the region depends on a number of the type {value.type}, which no map has")
        memory = self._builder.insert(memref.AllocOp.get(number.type, shape=[1])).memref
        memory.name_hint = value.name_hint
        self._fill(memory, number)
        self._memory.append(memory)
        return memory

    def _fill(self, memory: SSAValue, number: SSAValue) -> None:
        """Store a number by a parallel loop of one iteration, which is a kernel where memory is a GPU's."""
        block = Block(arg_types=[IndexType()])
        block.add_ops([memref.StoreOp.get(number, memory, [block.args[0]]), scf.ReduceOp()])
        zero, one = self._constant(0), self._constant(1)
        self._builder.insert(scf.ParallelOp([zero], [one], [one], Region(block)))

    def _as_element(self, value: SSAValue, beside: Attribute | None) -> SSAValue:
        """A number as a float of the type `beside`, if that is one, and else as it is."""
        if isinstance(value.type, IndexType):
            value = self._builder.insert(arith.IndexCastOp(value, i64)).result
        return convert(value, beside, self._builder) if isinstance(beside, FLOATS) else value


def functor_name(label: str, direction: Direction) -> str:
    """The name of a derived functor: that of the region, and what the map does."""
    stem = re.sub(r"\W", "_", label)
    clause = {Direction.To: "in", Direction.From: "out", Direction.Inout: "inout"}[direction]
    return f"{'_' * stem[:1].isdigit()}{stem}_{clause}"


def float_beside(derived: DerivedMap) -> Attribute | None:
    """The type of floats that numbers take beside the arrays of a map, if these have one."""
    arrays = [each.array for each in derived.targets if each.ranges is not None]
    widest = promote(cast(MemRefType, array.type).element_type for array in arrays) if arrays else None
    return f32 if widest == bf16 else widest if isinstance(widest, FLOATS) else None


def guarded_dims(derived: DerivedMap) -> set[tuple[int, int]]:
    """The targets and dimensions whose ranges are empty unless the guards are positive: of the first symbol."""
    if not derived.guards:
        return set()
    symbol, single = derived.functor.sweep[0], len(derived.targets) == 1
    return {
        (0 if single else k, m)
        for k, entries in enumerate(derived.functor.rhs)
        for m, entry in enumerate(entries)
        if symbol in entry.names and derived.targets[0 if single else k].ranges is not None
    }
