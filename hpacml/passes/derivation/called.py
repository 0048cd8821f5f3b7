"""What functions that the code of a region calls may touch."""

from __future__ import annotations

import math

from xdsl.dialects import func, memref
from xdsl.ir import Operation
from xdsl.traits import SymbolTable

from hpacml.passes.common.origins import VIEWS
from hpacml.passes.common.runtime_calls import C_FUNCTIONS

HARMLESS = (memref.DimOp, memref.DeallocOp, memref.ExtractAlignedPointerAsIndexOp, *VIEWS)
"""Operations that touch no element of their memref."""

_MATH = {*C_FUNCTIONS, *vars(math), *(f"{name}f" for name in vars(math))}
"""Functions of C that touch no memory."""

_RUNTIME = "hpacml_"
"""How the names of functions begin that the front end calls: they touch no array."""


def is_known(name: str, function: Operation | None) -> bool:
    """Whether a function of numbers is known that touches no array: of C, or what the front end calls."""
    is_elsewhere = not isinstance(function, func.FuncOp) or function.is_declaration
    return is_elsewhere and (name in _MATH or name.startswith(_RUNTIME))


def touches_nothing(function: Operation | None) -> bool:
    """Whether a function is known to look at no element of any memory."""
    if not isinstance(function, func.FuncOp) or function.is_declaration:
        return False
    return all(
        op.name.startswith("arith.") or isinstance(op, (*HARMLESS, func.ReturnOp)) for op in function.body.walk()
    )


def stays_inside(function: func.FuncOp) -> bool:
    """Whether a function only touches memory that it is given or makes."""
    seen: set[func.FuncOp] = set()

    def stays(function: func.FuncOp) -> bool:
        if function in seen:
            return True
        seen.add(function)
        return all(map(harmless, function.body.walk()))

    def harmless(op: Operation) -> bool:
        if isinstance(op, func.CallOp):
            callee = SymbolTable.lookup_symbol(op, op.callee)
            if is_known(op.callee.string_value(), callee):
                return True
            return isinstance(callee, func.FuncOp) and not callee.is_declaration and stays(callee)
        return op.name.partition(".")[0] in ("arith", "math", "scf", "affine", "memref", "func", "cf")

    return stays(function)
