"""The integers of a region's code: polynomials of the indices of loops, and of what stays the same while it runs."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from xdsl.dialects import affine, arith, memref
from xdsl.dialects.builtin import IndexType, IntegerType, i1, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineExpr, AffineMap
from xdsl.ir.affine.affine_expr import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineSymExpr,
)
from xdsl.traits import is_speculatable
from xdsl.transforms.canonicalization_patterns.utils import const_evaluate_operand

from hpacml.functors.polynomials import Poly
from hpacml.passes.derivation.facts import ONE, ZERO, Facts, substitute

LOOP = "@"
"""How the names of loops' indices begin, in polynomials."""


@dataclass(frozen=True)
class Unknown:
    """An integer that is no such polynomial; `why` follows the words "the index ..."."""

    why: str


Integer = Poly | Unknown

Extreme = Literal["min", "max"]


@dataclass(frozen=True)
class Value:
    """A value that does not change while the region runs."""

    value: SSAValue


@dataclass(frozen=True)
class Size:
    """The size of dimension `dim` of an array."""

    array: SSAValue
    dim: int


@dataclass(frozen=True)
class Chosen:
    """The least or the greatest of several integers."""

    kind: Extreme
    of: tuple[Poly, ...]


@dataclass(frozen=True)
class Trips:
    """How many integers there are from `first` before `end`, `step` apart."""

    first: Poly
    end: Poly
    step: int


@dataclass(frozen=True)
class Selected:
    """`then` where `less` is less than `than`, else `other`: indices that may count from the end are this."""

    less: Poly
    than: Poly
    then: Poly
    other: Poly


Atom = Value | Size | Chosen | Trips | Selected
"""What a name that is no index of a loop stands for."""


class Sizes(Protocol):
    """Knows the sizes of arrays."""

    def size(self, array: SSAValue, dim: int) -> Integer: ...


class Integers:
    """What the integers of one region are. `sizes` must be set before it is asked."""

    sizes: Sizes

    def __init__(self, region: Region):
        self._region = region
        self._found: dict[SSAValue, Integer] = {}
        self._names: dict[Hashable, str] = {}
        self._in_loops: list[Poly] = []
        """What is not negative in the loops of the region."""
        self.atoms: dict[str, Atom] = {}

    def is_inside(self, owner: Operation | Block) -> bool:
        """Whether something stands in the region."""
        return self._region.is_ancestor(owner)

    def bind(self, value: SSAValue, integer: Integer) -> None:
        """Say what an argument of a block is."""
        self._found[value] = integer

    def enter(self, index: Poly, lower: Poly, upper: Poly) -> None:
        """Say between what the index of a loop is, inside of which its name occurs."""
        self._in_loops += [index - lower, upper - ONE - index]

    def of(self, value: SSAValue) -> Integer:
        """What an integer is."""
        if value not in self._found:
            found = self._of(value)
            if isinstance(found, Unknown) and not self.is_inside(value.owner):
                found = self.atom(value, Value(value))
            self._found[value] = found
        return self._found[value]

    def atom(self, key: Hashable, atom: Atom) -> Poly:
        """The name of an atom, which is that of an equal one."""
        if key not in self._names:
            self._names[key] = f"%{len(self._names)}"
            self.atoms[self._names[key]] = atom
        return Poly.name(self._names[key])

    def extreme(self, kind: Extreme, of: Iterable[Integer]) -> Integer:
        """The least or the greatest of integers."""
        parts: list[Poly] = []
        for each in of:
            if isinstance(each, Unknown):
                return each
            inner = self.atoms.get(each.as_name or "")
            parts += inner.of if isinstance(inner, Chosen) and inner.kind == kind else [each]
        kept: list[Poly] = []
        for part in parts:
            differences = [(part - other).as_int for other in kept]
            if any(d is not None and (d >= 0 if kind == "min" else d <= 0) for d in differences):
                continue
            kept = [o for o, d in zip(kept, differences, strict=True) if d is None] + [part]
        if len(kept) == 1:
            return kept[0]
        if any(name.startswith(LOOP) for part in kept for name in part.names):
            sign = ONE if kind == "max" else -ONE
            facts = self.facts(self._in_loops)
            for part in kept:
                if all(facts.prove(sign * (part - other)) for other in kept):
                    return part
            return Unknown(f"is the {'least' if kind == 'min' else 'greatest'} of several, of which loops change some")
        kept.sort(key=str)
        return self.atom((kind, *kept), Chosen(kind, tuple(kept)))

    def is_size(self, name: str) -> bool:
        """Whether what a name stands for is never negative."""
        match self.atoms.get(name):
            case Size() | Trips():
                return True
            case Chosen("max", of):
                return any((part.as_int or -1) >= 0 or part == ZERO for part in of)
            case Value(value):
                return isinstance(value.owner, memref.DimOp)
            case _:
                return False

    def facts(self, known: Sequence[Poly]) -> Facts:
        """These facts, and those that extremes in them imply."""
        implied: list[Poly] = []
        for name in {name for poly in known for name in poly.names}:
            if isinstance(atom := self.atoms.get(name), Chosen):
                sign = ONE if atom.kind == "max" else -ONE
                implied += [sign * (Poly.name(name) - part) for part in atom.of]
        return Facts([*known, *implied], self.is_size)

    def simplify(self, poly: Poly, facts: Facts) -> Poly:
        """The polynomial with each extreme that is known to be one of its parts as that."""
        values: dict[str, Poly] = {}
        for name in poly.names:
            atom = self.atoms.get(name)
            if isinstance(atom, Chosen):
                sign = ONE if atom.kind == "max" else -ONE
                parts = [self.simplify(part, facts) for part in atom.of]
                found = [p for p in parts if all(facts.prove(sign * (p - other)) for other in parts)]
                if not found:  # which it is not, since it is known to be beyond
                    here = Poly.name(name)
                    found = [p for p in parts if not facts.prove(sign * (here - p) - ONE)]
                    found = found if len(found) == 1 else []
                if found:
                    values[name] = found[0]
            if isinstance(atom, Selected):
                less, than = self.simplify(atom.less, facts), self.simplify(atom.than, facts)
                if facts.at_least(less, than):
                    values[name] = self.simplify(atom.other, facts)
                elif facts.at_least(than, less + ONE):
                    values[name] = self.simplify(atom.then, facts)
        return substitute(poly, values)

    def affine_map(self, map: AffineMap, operands: Sequence[SSAValue]) -> list[Integer]:
        """The results of an affine map."""
        given = [self.of(operand) for operand in operands]
        return [self._affine(expr, given, map.num_dims) for expr in map.results]

    # -- values ----------------------------------------------------------------------------------

    def _of(self, value: SSAValue) -> Integer:
        owner = value.owner
        if isinstance(owner, Block):
            if self.is_inside(owner):
                return Unknown(f"is carried from one iteration to the next{_named(value)}")
            return self.atom(value, Value(value))
        if (constant := const_evaluate_operand(value)) is not None and value.type != i1:
            return Poly.constant(constant)
        match owner:
            case arith.AddiOp() | arith.SubiOp() | arith.MuliOp() if _is_exact(value.type):
                return self._arithmetic(owner)
            case arith.XOrIOp() if _is_exact(value.type) and const_evaluate_operand(owner.rhs) == -1:
                given = self.of(owner.lhs)
                return given if isinstance(given, Unknown) else -given - ONE
            case arith.IndexCastOp() if _is_exact(value.type) and _is_exact(owner.input.type):
                return self.of(owner.input)
            case memref.DimOp() if (dim := const_evaluate_operand(owner.index)) is not None:
                return self.sizes.size(owner.source, dim)
            case affine.ApplyOp():
                return self.affine_map(owner.map.data, owner.mapOperands)[0]
            case affine.MinOp():
                return self.extreme("min", self.affine_map(owner.map.data, owner.arguments))
            case arith.MinSIOp() | arith.MaxSIOp():
                return self.extreme("min" if isinstance(owner, arith.MinSIOp) else "max", map(self.of, owner.operands))
            case arith.SelectOp() if (found := self._selected(owner)) is not None:
                return found
            case _:
                return self._computed(owner, value)

    def _arithmetic(self, op: arith.AddiOp | arith.SubiOp | arith.MuliOp) -> Integer:
        a, b = self.of(op.lhs), self.of(op.rhs)
        if isinstance(a, Unknown) or isinstance(b, Unknown):
            return a if isinstance(a, Unknown) else b
        return a + b if isinstance(op, arith.AddiOp) else a - b if isinstance(op, arith.SubiOp) else a * b

    def _selected(self, op: arith.SelectOp) -> Integer | None:
        """A choice that is the least or greatest of two integers, or how often a loop runs."""
        compare = op.cond.owner
        if not isinstance(compare, arith.CmpiOp) or not _is_exact(compare.lhs.type):
            return None
        a, b, then, other = map(self.of, (compare.lhs, compare.rhs, op.lhs, op.rhs))
        predicate = compare.predicate.value.data
        if predicate in (4, 5):  # a > b is b < a
            a, b, predicate = b, a, predicate - 2
        if predicate not in (2, 3):
            return None
        if (then, other) == (a, b):
            return self.extreme("min", (a, b))
        if (then, other) == (b, a):
            return self.extreme("max", (a, b))
        step = _stride_of(op.lhs)
        if predicate == 2 and other == ZERO and step is not None and isinstance(a, Poly) and isinstance(b, Poly):
            if self.of(step.distance) != b - a - ONE:
                return None
            if any(name.startswith(LOOP) for name in (b - a).names):
                return Unknown("is in a loop whose bounds other loops change")
            return self.atom(("trips", a, b, step.length), Trips(a, b, step.length))
        return self._either(a, b if predicate == 2 or isinstance(b, Unknown) else b + ONE, then, other)

    def _either(self, less: Integer, than: Integer, then: Integer, other: Integer) -> Integer | None:
        polys = [each for each in (less, than, then, other) if isinstance(each, Poly)]
        if len(polys) < 4:
            return None
        if any(name.startswith(LOOP) for each in polys for name in each.names):
            facts = self.facts(self._in_loops)
            if facts.at_least(polys[0], polys[1]):
                return other
            if facts.at_least(polys[1], polys[0] + ONE):
                return then
            return Unknown("is another where a condition of the index of a loop holds, as that it is negative")
        return self.atom(("selected", *polys), Selected(*polys))

    def _computed(self, op: Operation, value: SSAValue) -> Integer:
        """A value that is no sum or product: the same in all iterations, or unknown."""
        if not self.is_inside(op):
            key = self._structure(op, value)
            return self.atom(value if key is None else key, Value(value))
        if not isinstance(value.type, IndexType | IntegerType) or not op.name.startswith("arith."):
            return Unknown(f"depends on what {_origin(op)} gives")
        for operand in op.operands:
            if isinstance(operand.type, IndexType | IntegerType):
                given = self.of(operand)
                if isinstance(given, Unknown):
                    return given
                if any(name.startswith(LOOP) for name in given.names):
                    return Unknown(f"is no affine function of the indices of loops: there is {op.name}")
            elif self.is_inside(operand.owner):
                return Unknown(f"is computed from floats by {op.name}")
        if not _is_harmless(op):
            return Unknown(f"depends on {op.name} by what may be 0: compute that before the region")
        key = self._structure(op, value)
        return self.atom(value if key is None else key, Value(value))

    def _structure(self, op: Operation, value: SSAValue) -> Hashable:
        """What tells a computation from others, if that is the operation and what it takes."""
        if not op.name.startswith("arith.") or op.regions or any(not _is_integer(each.type) for each in op.operands):
            return None
        given = tuple(self.of(operand) for operand in op.operands)
        if any(isinstance(each, Unknown) for each in given):
            return None
        return op.name, tuple(sorted(op.properties.items())), value.type, given

    def _affine(self, expr: AffineExpr, given: Sequence[Integer], dims: int) -> Integer:
        match expr:
            case AffineConstantExpr(value):
                return Poly.constant(value)
            case AffineBinaryOpExpr(kind, lhs, rhs):
                a, b = self._affine(lhs, given, dims), self._affine(rhs, given, dims)
                if isinstance(a, Unknown) or isinstance(b, Unknown):
                    return a if isinstance(a, Unknown) else b
                if kind == AffineBinaryOpKind.Add:
                    return a + b
                if kind == AffineBinaryOpKind.Mul:
                    return a * b
                return Unknown(f"is no affine function: there is {expr} of an affine map")
            case AffineDimExpr(position):
                return given[position]
            case AffineSymExpr(position):
                return given[dims + position]
            case _:
                return Unknown(f"is no affine function: there is {expr} of an affine map")


@dataclass(frozen=True)
class _Stride:
    distance: SSAValue
    length: int


def _stride_of(value: SSAValue) -> _Stride | None:
    """`d // k + 1` as Python's ranges with steps are compiled: `d`, and k."""
    add = value.owner
    if not isinstance(add, arith.AddiOp) or const_evaluate_operand(add.rhs) != 1:
        return None
    inner = add.lhs.owner
    if isinstance(inner, arith.MinUIOp):
        inner = inner.lhs.owner
    if not isinstance(inner, arith.DivUIOp) or not (length := const_evaluate_operand(inner.rhs)) or length < 1:
        return None
    return _Stride(inner.lhs, length)


def _is_exact(type: Attribute) -> bool:
    """Whether arithmetic of a type is that of indices."""
    return isinstance(type, IndexType) or type == i64


def _is_integer(type: Attribute) -> bool:
    return isinstance(type, IndexType | IntegerType)


def _is_harmless(op: Operation) -> bool:
    """Whether an operation may also run where the program would not have run it."""
    if isinstance(op, arith.DivSIOp | arith.DivUIOp | arith.RemSIOp | arith.RemUIOp | arith.FloorDivSIOp):
        return bool(const_evaluate_operand(op.rhs)) and const_evaluate_operand(op.rhs) != -1
    return not isinstance(op, arith.CeilDivSIOp | arith.CeilDivUIOp) and is_speculatable(op)


def _named(value: SSAValue) -> str:
    return f", as '{value.name_hint}' is" if value.name_hint else ""


def _origin(op: Operation) -> str:
    array = op.operands[0].name_hint if op.operands else None
    return f"{op.name} of '{array}'" if array else op.name
