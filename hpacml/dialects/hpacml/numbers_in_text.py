"""The numbers of maps as text."""

from __future__ import annotations

from xdsl.dialects import arith, memref
from xdsl.ir import SSAValue
from xdsl.transforms.canonicalization_patterns.utils import const_evaluate_operand


def number_text(number: SSAValue, is_factor: bool = False) -> str:
    """A number of a map as text: what it is made of as far as that has values or names, else `?`."""
    if (constant := const_evaluate_operand(number)) is not None:
        return f"({constant})" if is_factor and constant < 0 else str(constant)
    if number.name_hint is not None:
        return number.name_hint
    match number.owner:
        case arith.MuliOp() as op:
            return f"{number_text(op.lhs, True)} * {number_text(op.rhs, True)}"
        case arith.AddiOp() | arith.SubiOp() as op:
            is_minus = isinstance(op, arith.SubiOp)
            text = f"{number_text(op.lhs)} {'-' if is_minus else '+'} {number_text(op.rhs, is_minus)}"
            return f"({text})" if is_factor else text
        case memref.DimOp(source=source) as op if (dim := const_evaluate_operand(op.index)) is not None:
            return "?" if source.name_hint is None else f"{source.name_hint}_{dim}"
        case _:
            return "?"
