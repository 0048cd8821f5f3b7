"""The functions of Python, `math` and NumPy that a kernel may call. Results are equal to theirs.

The last bits of NumPy's `exp`, `sin`, ... differ between machines: a kernel has those of the C library for the dtype.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinFunctionType
from typing import Any

import numpy as np
from xdsl.dialects import llvm
from xdsl.dialects import math as md

from hpacml.frontend.python.number import Number
from hpacml.frontend.python.scalars import Arithmetic, BinaryOp, UnaryOp
from hpacml.frontend.python.types import (
    ARRAY_DTYPES,
    BOOL,
    FLOAT,
    INT,
    NP_BOOL,
    SCALARS,
    Refusal,
    ScalarType,
    result_type,
)


@dataclass(frozen=True)
class Function:
    """Compiles calls of a function. `emit` takes the arithmetic and `least` to `most` arguments."""

    emit: Callable[..., Number]
    least: int = 1
    most: int | None = 1

    def __call__(self, arithmetic: Arithmetic, spelled: str, arguments: list[Number]) -> Number:
        given = len(arguments)
        if given < self.least or (self.most is not None and given > self.most):
            wanted = f"{self.least}" if self.least == self.most else f"{self.least} or more"
            if spelled == "round" and given == 2:
                raise Refusal("round takes 1 argument, not 2: write round(x * 100) / 100 for round(x, 2)")
            raise Refusal(f"{spelled} takes {wanted} argument{'s' * (wanted != '1')}, not {given}")
        return self.emit(arithmetic, *arguments)


def _one(emit: Callable[[Arithmetic, Number], Number]) -> Function:
    return Function(emit)


def _two(emit: Callable[[Arithmetic, Number, Number], Number]) -> Function:
    return Function(emit, 2, 2)


def _convert(target: ScalarType) -> Function:
    return _one(lambda a, x: a.truth(x) if target is BOOL else a.convert(x, target))


def _extremum(better: type[ast.cmpop]) -> Function:
    def emit(a: Arithmetic, best: Number, *others: Number) -> Number:
        for other in others:
            best = a.select(a.compare(better, other, best), other, best)
        return best

    return Function(emit, 2, None)


def _unary(operation: UnaryOp) -> Function:
    return _one(lambda a, x: a.unary(operation, x, FLOAT))


def _binary(operation: BinaryOp) -> Function:
    def emit(a: Arithmetic, x: Number, y: Number) -> Number:
        second = a.ssa(a.convert(y, FLOAT))
        return a.unary(lambda first: operation(first, second), x, FLOAT)

    return _two(emit)


def _from_c(name: str) -> Function:
    return _one(lambda a, x: a.call_c(name, x))


def _log(a: Arithmetic, x: Number, base: Number | None = None) -> Number:
    logarithm = a.unary(md.LogOp, x, FLOAT)
    return logarithm if base is None else a.binary(ast.Div, logarithm, _log(a, base))


def _rounded(operation: UnaryOp) -> Function:
    return _one(lambda a, x: a.convert(a.unary(operation, x, x.type) if x.type.is_float else x, INT))


def _classified(predicate: str, answer: ScalarType) -> Function:
    return _one(lambda a, x: a.classify(predicate, x, answer))


def _numpy(function: Callable[..., Any], operation: UnaryOp) -> Function:
    """A NumPy function that rounds correctly, and returns integers unchanged unless their result is a float."""

    def emit(a: Arithmetic, x: Number) -> Number:
        type = result_type(function, x.type)
        return a.unary(operation, x, type) if type.is_float else a.convert(x, type)

    return _one(emit)


def _inexact(function: np.ufunc, operation: UnaryOp | BinaryOp) -> Function:
    """A NumPy function whose last bits are those of the C library here."""

    def emit(a: Arithmetic, *numbers: Number) -> Number:
        type = result_type(function, *(x.type for x in numbers))
        return Number(type, a.emit.value(operation(*(a.ssa(a.convert(x, type)) for x in numbers))))

    return Function(emit, function.nin, function.nin)


def _sign(a: Arithmetic, x: Number) -> Number:
    type = result_type(np.sign, x.type)
    x, zero = a.convert(x, type), a.convert(Number(INT, 0), type)
    positive = a.convert(a.compare(ast.Gt, x, zero), type)
    if type.kind == "u":
        return positive
    sign = a.binary(ast.Sub, positive, a.convert(a.compare(ast.Lt, x, zero), type))
    return a.select(a.compare(ast.NotEq, x, x), x, sign) if type.is_float else sign


def _clip(a: Arithmetic, x: Number, low: Number, high: Number) -> Number:
    """Of an element and a bound that are equal, 0.0 and -0.0, NumPy takes the element."""
    type = result_type(np.clip, x.type, low.type, high.type)
    x, low, high = (a.convert(number, type) for number in (x, low, high))
    return a.numpy_extremum(np.minimum, high, a.numpy_extremum(np.maximum, low, x))


def _clip_by_arrays(a: Arithmetic, x: Number, low: Number, high: Number) -> Number:
    """Of an element and a bound that are equal, NumPy takes the bound."""
    type = result_type(np.clip, x.type, low.type, high.type)
    x, low, high = (a.convert(number, type) for number in (x, low, high))
    return a.numpy_extremum(np.minimum, a.numpy_extremum(np.maximum, x, low), high)


def _where(a: Arithmetic, condition: Number, x: Number, y: Number) -> Number:
    dtype = np.result_type(*(np.asarray(n.type.sample) if not n.type.weak else n.type.sample for n in (x, y)))
    type = ARRAY_DTYPES[dtype.name]
    return a.select(a.truth(condition), a.convert(x, type), a.convert(y, type))


def _hypot(a: Arithmetic, x: Number, y: Number) -> Number:
    type = result_type(np.hypot, x.type, y.type)
    return a.call_numpy("hypot", type, x, y)


def _logical(operation: type[ast.operator]) -> Function:
    return _two(lambda a, x, y: a.binary(operation, a.convert(x, NP_BOOL), a.convert(y, NP_BOOL)))


def _scaled(factor: float) -> Function:
    return _one(lambda a, x: a.binary(ast.Mult, a.convert(x, FLOAT), Number(FLOAT, factor)))


def _numpy_extremum(function: Callable[..., Any]) -> Function:
    return _two(lambda a, x, y: a.numpy_extremum(function, x, y))


_INEXACT: dict[np.ufunc, UnaryOp | BinaryOp] = {
    np.arccos: md.AcosOp,
    np.arccosh: md.AcoshOp,
    np.arcsin: md.AsinOp,
    np.arcsinh: md.AsinhOp,
    np.arctan: md.AtanOp,
    np.arctan2: md.Atan2Op,
    np.arctanh: md.AtanhOp,
    np.cbrt: md.CbrtOp,
    np.cos: md.CosOp,
    np.cosh: md.CoshOp,
    np.exp: md.ExpOp,
    np.exp2: md.Exp2Op,
    np.log: md.LogOp,
    np.log10: md.Log10Op,
    np.log1p: md.Log1pOp,
    np.log2: md.Log2Op,
    np.sin: md.SinOp,
    np.sinh: md.SinhOp,
    np.tan: md.TanOp,
    np.tanh: md.TanhOp,
}

FUNCTIONS: dict[Callable[..., Any], Function] = {
    **{python: _convert(type) for python, type in SCALARS.items()},
    abs: _one(lambda a, x: a.absolute(x)),
    min: _extremum(ast.Lt),
    max: _extremum(ast.Gt),
    round: _one(lambda a, x: a.rounded(x)),
    math.acos: _unary(md.AcosOp),
    math.acosh: _unary(md.AcoshOp),
    math.asin: _unary(md.AsinOp),
    math.asinh: _unary(md.AsinhOp),
    math.atan: _unary(md.AtanOp),
    math.atan2: _binary(md.Atan2Op),
    math.atanh: _unary(md.AtanhOp),
    math.cbrt: _unary(md.CbrtOp),
    math.ceil: _rounded(md.CeilOp),
    math.copysign: _binary(md.CopySignOp),
    math.cos: _unary(md.CosOp),
    math.cosh: _unary(md.CoshOp),
    math.degrees: _scaled(180.0 / math.pi),
    math.erf: _from_c("erf"),
    math.erfc: _from_c("erfc"),
    math.exp: _unary(md.ExpOp),
    math.exp2: _unary(md.Exp2Op),
    math.expm1: _from_c("expm1"),  # MLIR's own expm1 becomes exp(x) - 1
    math.fabs: _unary(md.AbsFOp),
    math.floor: _rounded(md.FloorOp),
    math.fmod: _binary(llvm.FRemOp),
    math.isfinite: _classified("olt", BOOL),
    math.isinf: _classified("oeq", BOOL),
    math.isnan: _classified("uno", BOOL),
    math.log: Function(_log, 1, 2),
    math.log10: _unary(md.Log10Op),
    math.log1p: _unary(md.Log1pOp),
    math.log2: _unary(md.Log2Op),
    math.radians: _scaled(math.pi / 180.0),
    math.pow: _two(lambda a, x, y: a.power(x, y, FLOAT)),
    math.sin: _unary(md.SinOp),
    math.sinh: _unary(md.SinhOp),
    math.sqrt: _unary(md.SqrtOp),
    math.tan: _unary(md.TanOp),
    math.tanh: _unary(md.TanhOp),
    math.trunc: _rounded(md.TruncOp),
    np.abs: _one(lambda a, x: a.absolute(x, np.abs)),
    np.clip: Function(_clip, 3, 3),
    np.hypot: _two(_hypot),
    np.logical_and: _logical(ast.BitAnd),
    np.logical_not: _one(lambda a, x: a.invert(a.convert(x, NP_BOOL))),
    np.logical_or: _logical(ast.BitOr),
    np.sign: _one(_sign),
    np.square: _one(lambda a, x: a.square(x)),
    np.where: Function(_where, 3, 3),
    np.ceil: _numpy(np.ceil, md.CeilOp),
    np.fabs: _numpy(np.fabs, md.AbsFOp),
    np.floor: _numpy(np.floor, md.FloorOp),
    np.isfinite: _classified("olt", NP_BOOL),
    np.isinf: _classified("oeq", NP_BOOL),
    np.isnan: _classified("uno", NP_BOOL),
    np.maximum: _numpy_extremum(np.maximum),
    np.minimum: _numpy_extremum(np.minimum),
    np.rint: _numpy(np.rint, md.RoundEvenOp),
    np.sqrt: _numpy(np.sqrt, md.SqrtOp),
    np.trunc: _numpy(np.trunc, md.TruncOp),
    np.expm1: _one(lambda a, x: a.convert(a.call_c("expm1", x), result_type(np.expm1, x.type))),
    **{function: _inexact(function, operation) for function, operation in _INEXACT.items()},
}
"""The functions by the function that Python calls."""

CLIP_BY_ARRAYS = Function(_clip_by_arrays, 3, 3)
"""`np.clip` where a bound is an array."""

OF_ARRAYS = frozenset(function for function in FUNCTIONS if getattr(np, function.__name__, None) is function) | {abs}
"""The functions that NumPy applies to the elements of arrays."""


def is_pure(callee: object) -> bool:
    """Whether a call of this object, or of a method of an array (`MISSING`), writes no array."""
    return isinstance(callee, type | np.ufunc | BuiltinFunctionType) or getattr(callee, "__module__", "") == "numpy"
