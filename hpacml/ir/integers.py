"""Integers of the IR that are computed with `+ - *`: bounds of targets, and parameters of functors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr, IntegerType, i1
from xdsl.ir import SSAValue

from hpacml.errors import MapError
from hpacml.ir.given import described, type_of
from hpacml.ir.sums import Sign, Summand

_OPERATIONS: dict[Sign, type[arith.AddiOp | arith.SubiOp | arith.MuliOp]] = {
    "+": arith.AddiOp,
    "-": arith.SubiOp,
    "*": arith.MuliOp,
}


@dataclass(frozen=True, eq=False)
class Index(Summand["Index | int | SSAValue"]):
    """An integer that is known (`value` is an int), or an `index` of the IR; sums are built by `builder`.

    They are those of `arith`, in 64 bits; of known integers they are known. `name` is how maps are recorded with it.
    """

    value: int | SSAValue
    builder: Builder
    name: str | None = None

    def _combine(self, sign: Sign, left: Index | int | SSAValue, right: Index | int | SSAValue) -> Index:
        a, b = (known_or_index(each, self.builder) for each in (left, right))
        named = any(isinstance(each, Index) and each.name is not None for each in (left, right))
        name = _sum(sign, left, right) if named else None
        if isinstance(a, int) and isinstance(b, int):
            return Index(a + b if sign == "+" else a - b if sign == "-" else a * b, self.builder, name)
        if b == 0 and sign != "*":
            return Index(a, self.builder, name)
        made = _OPERATIONS[sign](as_value(a, self.builder), as_value(b, self.builder))
        return Index(self.builder.insert(made).result, self.builder, name)

    def __neg__(self) -> Index:
        return 0 - self

    @property
    def ssa(self) -> SSAValue:
        """The value in the IR, of type `index`."""
        return as_value(self.value, self.builder)


Integer: TypeAlias = Index | int | SSAValue
"""An integer: one that is known, a value of the IR of type `index` or of integers, or what is computed of them."""


def known_or_index(value: Integer, builder: Builder) -> int | SSAValue:
    """A number, or a value of type `index`, to which integers of the IR are cast. Raises `MapError` for others."""
    number = value.value if isinstance(value, Index) else value
    type = type_of(number)
    if isinstance(type, IndexType):
        return number
    if isinstance(number, int) and not isinstance(number, bool):
        _require_64_bits(number)
        return number
    if isinstance(number, SSAValue) and isinstance(type, IntegerType) and type != i1:
        return builder.insert(arith.IndexCastOp(number, IndexType())).result
    raise MapError(
        f"{described(number)} is given as an integer: bounds and parameters are int, Index, or values of type index "
        "or of integers"
    )


def written(value: Integer) -> str:
    """An integer as text, `?` where it has no name."""
    if isinstance(value, Index):
        return value.name if value.name is not None else written(value.value)
    if isinstance(value, SSAValue):
        return value.name_hint or "?"
    return str(value)


def _sum(sign: Sign, left: Integer, right: Integer) -> str:
    a, b = written(left), written(right)
    if sign == "*" and " " in a:
        a = f"({a})"
    if sign != "+" and " " in b:
        b = f"({b})"
    return f"{a} {sign} {b}"


def as_value(value: int | SSAValue, builder: Builder) -> SSAValue:
    """The value in the IR. Raises `MapError` for a number that no `index` holds."""
    if isinstance(value, SSAValue):
        return value
    _require_64_bits(value)
    return builder.insert(arith.ConstantOp(IntegerAttr(value, IndexType()))).result


def require_name(name: str | None) -> None:
    """Raise `MapError` for what directives cannot have as a name."""
    if name is not None and not name.isidentifier():
        raise MapError(f"'{name}' cannot be the name of an integer")


def _require_64_bits(value: int) -> None:
    if not -(1 << 63) <= value < 1 << 63:
        raise MapError(f"the number {value} does not fit 64 bits")
