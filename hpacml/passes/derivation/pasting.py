"""Derived maps as directives: text that a kernel may have in the place of a region without `in` and `out`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import IndexType, IntegerType, MemRefType
from xdsl.ir import Attribute, Operation, SSAValue

from hpacml.dialects.hpacml.attributes import Direction
from hpacml.dialects.hpacml.control import MlOp
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.located import refusal
from hpacml.passes.derivation.accesses import Accesses
from hpacml.passes.derivation.building import float_beside, functor_name, guarded_dims
from hpacml.passes.derivation.facts import ONE
from hpacml.passes.derivation.integers import Chosen, Selected, Size, Trips, Value
from hpacml.passes.derivation.maps import DerivedMap
from hpacml.passes.derivation.memory import Dims, View
from hpacml.passes.derivation.region import derive
from hpacml.passes.derivation.sweeps import Span


@dataclass
class Names:
    """What the code around a region calls its values: arrays and numbers. `is_taken` tells of other names."""

    values: dict[SSAValue, str]
    is_taken: Callable[[str], bool]
    is_number: Callable[[str], bool]
    """Whether a name is that of an integer, which no symbol of a functor may have."""
    dims: Dims = field(default_factory=dict[SSAValue, "Sequence[str]"])


@dataclass
class Directives:
    """Directives of one region. `statements` of Python make the numbers that have no names yet."""

    statements: list[str] = field(default_factory=list[str])
    functors: list[str] = field(default_factory=list[str])
    clauses: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    numbers: dict[str, Attribute | None] = field(default_factory=dict[str, "Attribute | None"])
    """The numbers in the maps by their names, with the type of floats that the arrays beside each have."""

    @property
    def mapped(self) -> str:
        """The clauses of the maps."""
        return " ".join(f"{clause}({', '.join(maps)})" for clause, maps in self.clauses.items())


def directives_of(region: MlOp, names: Names) -> Directives:
    """The directives that give a region the maps which its code tells.

    Raises `PassFailedException` for code that is not followed, and for values that have no names.
    """
    return _Texts(region, names).made


_CLAUSES = {Direction.To: "in", Direction.From: "out", Direction.Inout: "inout"}


class _Texts:
    def __init__(self, region: MlOp, names: Names):
        self._region, self._names = region, names
        self._known: dict[Poly, str] = {}
        self._arrays: dict[SSAValue, str] = {}
        self._made_of: dict[object, str] = {}
        self.made = Directives()
        self._accesses = accesses = Accesses(region.body, names.dims)
        for value, name in names.values.items():
            self._learn(accesses, value, name)
        _, maps = derive(region, accesses, names.is_number, self._name)
        for each in maps:
            self.made.clauses.setdefault(_CLAUSES[each.direction], []).append(self._map(each))

    def _learn(self, accesses: Accesses, value: SSAValue, name: str) -> None:
        """Note what a name stands for."""
        if isinstance(value.type, MemRefType):
            view = accesses.memory.of(value)
            if isinstance(view, View) and view.index == tuple(Poly.name(f"${k}") for k in range(len(view.index))):
                self._arrays.setdefault(view.array, name)
        elif isinstance(value.type, IndexType | IntegerType):
            found = accesses.integers.of(value)
            if isinstance(found, Poly) and name.isidentifier():
                self._known.setdefault(found, name)

    # -- maps ------------------------------------------------------------------------------------

    def _map(self, derived: DerivedMap) -> str:
        stem = functor_name(self._region.label.data, derived.direction)
        text = str(derived.functor)
        name = self._made_of.get(("functor", stem, text))
        if name is None:
            name = self._free(stem)
            self._made_of["functor", stem, text] = name
            self.made.functors.append(f"{name}: {text}")
        guarded = guarded_dims(derived)
        targets: list[str] = []
        for k, target in enumerate(derived.targets):
            if target.ranges is None:
                targets.append(self._number(target.array, float_beside(derived)))
                continue
            dims = [
                self._range(span, derived.guards if (k, m) in guarded else ()) for m, span in enumerate(target.ranges)
            ]
            targets.append(f"{self._array(target.array)}[{', '.join(dims)}]")
        return f"{name}({', '.join(targets)})"

    def _range(self, span: Span, guards: Sequence[Poly]) -> str:
        start, stop = self._text(span.start), self._text(span.stop)
        if guards:
            runs = " * ".join(f"min(1, {self._from_zero(each)})" for each in guards)
            distance = self._text(span.stop - span.start)
            whole = f"({distance}) * {runs}" if " " in distance else f"{distance} * {runs}"
            stop = self._statement("end", whole if start == "0" else f"{start} + {whole}")
        parts = [start, stop, *([] if span.step == 1 else [str(span.step)])]
        return (" : " if any(" " in part for part in parts) else ":").join(parts)

    def _from_zero(self, poly: Poly) -> str:
        """A number, or 0 if that is negative."""
        is_size = self._accesses.integers.facts([]).prove(poly)
        return self._text(poly) if is_size else f"max(0, {self._text(poly)})"

    def _array(self, array: SSAValue) -> str:
        if (name := self._arrays.get(array)) is None:
            raise refusal(self._region, "an array of the region has no name there: assign it to a variable before")
        return name

    def _number(self, value: SSAValue, beside: Attribute | None) -> str:
        if (name := self._names.values.get(value)) is None:
            raise refusal(
                self._region, "a number on which the region depends has no name there: assign it to a variable before"
            )
        self.made.numbers[name] = beside
        return name

    # -- numbers ---------------------------------------------------------------------------------

    def _text(self, poly: Poly) -> str:
        """A polynomial by the names that there are: what is subtracted comes last."""
        text = ""
        for monomial, coefficient in sorted(poly.terms, key=lambda term: (term[1] < 0, not term[0])):
            factors = [self._name(name) for name in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+"
            text += f" {sign} " if text else "-" * (coefficient < 0)
            text += " * ".join(factors)
        return text or "0"

    def _name(self, atom: str) -> str:
        """The name of an atom; a statement makes one for what has none."""
        if (known := self._known.get(Poly.name(atom))) is not None:
            return known
        if ("atom", atom) not in self._made_of:
            self._made_of["atom", atom] = self._new(atom)
        return self._made_of["atom", atom]

    def _new(self, atom: str) -> str:
        match self._accesses.integers.atoms[atom]:
            case Size(array, dim):
                name = self._array(array)
                return self._statement(f"{name.replace('.', '_')}_{dim}", f"{name}.shape[{dim}]")
            case Chosen(kind, of):
                return self._statement("end", f"{kind}({', '.join(map(self._text, of))})")
            case Selected(less, than, then, other):
                is_less = f"{self._text(less)} < {self._text(than)}"
                return self._statement("index", f"{self._text(then)} if {is_less} else {self._text(other)}")
            case Trips(first, end, step):
                distance = self._text(end - first + Poly.constant(step) - ONE)
                return self._statement("count", f"max(0, {distance}) // {step}")
            case Value(value):
                if (name := self._names.values.get(value)) is not None:
                    return self._statement(name.replace(".", "_"), name)
                made_by = value.owner.name if isinstance(value.owner, Operation) else "an argument of a block"
                raise refusal(
                    self._region,
                    f"the maps of the region's code cannot be written: a number in its bounds, of {made_by}, has no "
                    "name there. Assign it to a variable before (the maps themselves, by which regions run, need none)",
                )

    def _statement(self, stem: str, value: str) -> str:
        """The name of a value that a statement computes."""
        if value not in self._made_of:
            self._made_of[value] = self._free(stem)
            self.made.statements.append(f"{self._made_of[value]} = {value}")
        return self._made_of[value]

    def _free(self, stem: str) -> str:
        taken = set(self._made_of.values())
        number = 0
        while (name := f"{stem}{number or ''}") in taken or self._names.is_taken(name):
            number += 1
        return name
