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

    They are those of `arith`, in 64 bits; of known integers they are known.
    """

    value: int | SSAValue
    builder: Builder

    def _combine(self, sign: Sign, left: Index | int | SSAValue, right: Index | int | SSAValue) -> Index:
        a, b = (known_or_index(each, self.builder) for each in (left, right))
        if isinstance(a, int) and isinstance(b, int):
            return Index(a + b if sign == "+" else a - b if sign == "-" else a * b, self.builder)
        if b == 0 and sign != "*":
            return Index(a, self.builder)
        made = _OPERATIONS[sign](as_value(a, self.builder), as_value(b, self.builder))
        return Index(self.builder.insert(made).result, self.builder)

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


def as_value(value: int | SSAValue, builder: Builder) -> SSAValue:
    """The value in the IR. Raises `MapError` for a number that no `index` holds."""
    if isinstance(value, SSAValue):
        return value
    _require_64_bits(value)
    return builder.insert(arith.ConstantOp(IntegerAttr(value, IndexType()))).result


def _require_64_bits(value: int) -> None:
    if not -(1 << 63) <= value < 1 << 63:
        raise MapError(f"the number {value} does not fit 64 bits")
