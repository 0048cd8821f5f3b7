"""The arithmetic of Python and NumPy as operations of arith, math and llvm.

Results equal those of Python and NumPy to the last bit. Where Python raises an exception (a division by zero, the
square root of a negative number) the result is NumPy's: inf, nan, or 0 for integers.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any, cast

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, Float32Type, IndexType, IntegerType, f32, f64, i1, i64
from xdsl.dialects.math import AbsFOp, PowFOp, RoundEvenOp, SqrtOp
from xdsl.ir import Attribute, Operation, SSAValue

from hpacml.frontend.python import division
from hpacml.frontend.python.emitter import Emitter
from hpacml.frontend.python.folding import article, convert, fold
from hpacml.frontend.python.number import PYTHON, Kind, Number, Operator, decided, least_of
from hpacml.frontend.python.types import (
    BOOL,
    FLOAT,
    INT,
    NP_BOOL,
    Constant,
    Refusal,
    ScalarType,
    common_type,
    result_type,
    weak_as,
)
from hpacml.passes.common.float_division import floor_divide_floats

UnaryOp = Callable[[SSAValue], Operation]
BinaryOp = Callable[[SSAValue, SSAValue], Operation]

_INTEGER: dict[Operator, BinaryOp] = {
    ast.Add: arith.AddiOp,
    ast.Sub: arith.SubiOp,
    ast.Mult: arith.MuliOp,
    ast.BitAnd: arith.AndIOp,
    ast.BitOr: arith.OrIOp,
    ast.BitXor: arith.XOrIOp,
}
_FLOATING: dict[Operator, BinaryOp] = {
    ast.Add: arith.AddfOp,
    ast.Sub: arith.SubfOp,
    ast.Mult: arith.MulfOp,
    ast.Div: arith.DivfOp,
}
_BOOLEAN: dict[Operator, BinaryOp] = {
    ast.Add: arith.OrIOp,
    ast.Mult: arith.AndIOp,
    ast.BitAnd: arith.AndIOp,
    ast.BitOr: arith.OrIOp,
    ast.BitXor: arith.XOrIOp,
}
_LARGEST_PRODUCT = 16
"""The greatest exponent for which a product is about as accurate as a power."""

_PREDICATES: dict[Operator, str] = {
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
    ast.Eq: "eq",
    ast.NotEq: "ne",
}


class Arithmetic:
    """Emits arithmetic. Methods raise `Refusal` for operations that Python, NumPy or kernels do not have."""

    def __init__(self, emitter: Emitter):
        self.emit = emitter
        self.choices = 0
        """The number of times that `common` has given a literal another type."""

    # -- values and conversions ------------------------------------------------------------------

    def ssa(self, number: Number) -> SSAValue:
        """The number as a value of the IR."""
        if isinstance(number.value, SSAValue):
            return number.value
        _check_size(number)
        return self.emit.constant(number.value, number.type.ir)

    def convert(self, number: Number, type: ScalarType) -> Number:
        """Convert a number as NumPy does: floats lose their fraction, integers wrap around.

        A float that does not fit an integer type becomes any integer.
        """
        if number.type is type:
            return number
        if number.constant is not None:
            return Number(type, convert(number.constant, number.type, type))
        bound = number.least if type is INT else None
        return Number(type, self._cast(self.ssa(number), number.type, type), bound=bound)

    def integer(self, number: Number, what: str) -> Number:
        """Convert an integer to Python's `int`. `what` names it in the refusal of other numbers."""
        if number.type.kind not in "iu":
            raise Refusal(f"{what} must be an integer, and this is a {number.type}: write int(...)")
        _check_size(number)
        return self.convert(number, INT)

    def common(self, a: Kind, b: Kind) -> Kind | None:
        """The kind of a number that is `a` on one path and `b` on another, None if there is no such kind.

        Python numbers widen. A literal takes the type of a NumPy number on the other path: `total = 0.0` may become a
        sum of float32. Other Python numbers take it only if that preserves their value.
        """
        type = common_type(a.type, b.type)
        if type is None:
            return None
        types: set[ScalarType] = set()
        for kind in (a, b):
            if kind.type.weak and not type.weak and kind.literals is not None:
                if not all(_fits(constant, type) for constant in kind.literals):
                    return None
                self.choices += 1
            elif kind.type.weak and kind.type is not BOOL and not _holds_all(type, kind.least):
                return None
            else:
                types |= {weak_as(type) if t.weak else t for t in kind.types}
        least = None if a.least is None or b.least is None else min(a.least, b.least)
        literals = None
        if a.literals is not None and b.literals is not None:
            literals = min(a.literals[0], b.literals[0]), max(a.literals[1], b.literals[1])
        return Kind(type, literals, frozenset(types) or frozenset([type]), least)

    def bits(self, number: Number) -> SSAValue:
        """An integer or a bool as 64 bits."""
        wide = number if number.type is INT else self.convert(number, INT)
        return self.emit.value(arith.IndexCastOp(self.ssa(wide), i64))

    def truth(self, number: Number) -> Number:
        """`bool(number)`."""
        if number.type is NP_BOOL and number.constant is None:
            return Number(BOOL, number.value)
        return self.convert(number, BOOL)

    def _cast(self, value: SSAValue, source: ScalarType, target: ScalarType) -> SSAValue:
        emit = self.emit.value
        if source.ir == target.ir and source.kind == target.kind:
            return value
        if target.kind == "b":
            return self._compare("ne", value, self.emit.constant(0, source.ir), source)
        if source.is_float:
            if target.is_float:
                return emit((arith.ExtFOp if target.bits > source.bits else arith.TruncFOp)(value, target.ir))
            wide = target.kind == "u" and target.bits == 64
            whole = (division.truncate_unsigned if wide else division.truncate)(self.emit, value)
            return self._resize(whole, True, target.ir)
        if not target.is_float:
            return self._resize(value, source.kind == "i", target.ir)
        if source is INT and target.ir == f32:  # by way of float, as NumPy does
            return emit(arith.TruncFOp(self._cast(value, INT, FLOAT), f32))
        value = emit(arith.IndexCastOp(value, i64)) if isinstance(value.type, IndexType) else value
        return emit((arith.SIToFPOp if source.kind == "i" else arith.UIToFPOp)(value, cast(AnyFloat, target.ir)))

    def _resize(self, value: SSAValue, signed: bool, target: Attribute) -> SSAValue:
        """Convert an integer to another width."""
        emit, source = self.emit.value, value.type
        if source == target:
            return value
        if isinstance(source, IndexType) or (isinstance(target, IndexType) and signed):
            return emit(arith.IndexCastOp(value, target))
        if isinstance(target, IndexType):
            wide = value if source == i64 else emit(arith.ExtUIOp(value, i64))
            return emit(arith.IndexCastOp(wide, target))
        if _width(target) < _width(source):
            return emit(arith.TruncIOp(value, cast(IntegerType, target)))
        return emit((arith.ExtSIOp if signed else arith.ExtUIOp)(value, cast(IntegerType, target)))

    # -- operators -------------------------------------------------------------------------------

    def binary(self, operation: Operator, a: Number, b: Number) -> Number:
        """`a + b` and the like."""
        if operation not in PYTHON:
            raise Refusal("'@' cannot be compiled: write the loops")
        if a.constant is not None and b.constant is not None and a.type.weak and b.type.weak:
            if operation in (ast.Pow, ast.LShift) and {a.type, b.type} == {INT} and b.constant > 1 << 12:
                raise Refusal(f"{b.constant} is too much here: a kernel's integers have 64 bits")
            return fold(PYTHON[operation], a.constant, b.constant)
        if operation is ast.Pow:
            return self._power(a, b)
        type, types = _result(PYTHON[operation], a, b)
        x, y = self.convert(a, type), self.convert(b, type)
        operations = _FLOATING if type.is_float else _BOOLEAN if type.kind == "b" else _INTEGER
        if operation in operations:
            value = self.emit.value(operations[operation](self.ssa(x), self.ssa(y)))
        else:
            value = self._divide_or_shift(operation, x, y)
        return Number(type, value, types=types, bound=least_of(operation, a, b) if type is INT else None)

    def _divide_or_shift(self, operation: Operator, a: Number, b: Number) -> SSAValue:
        x, y, signed, bits = self.ssa(a), self.ssa(b), a.type.kind == "i", a.type.bits
        if operation is ast.LShift:
            return division.shift_left(self.emit, x, y, bits)
        if operation is ast.RShift:
            return division.shift_right(self.emit, x, y, bits, signed)
        if a.type.is_float:
            quotient, remainder = floor_divide_floats(self.emit.value, self.emit.constant, x, y)
            return quotient if operation is ast.FloorDiv else remainder
        if b.constant == 0:
            raise Refusal("division by zero")
        known = None if b.constant is None else int(b.constant)
        divide = division.floor_divide_integers if operation is ast.FloorDiv else division.modulo_integers
        return divide(self.emit, x, y, signed, known)

    def negative(self, a: Number) -> Number:
        """`-a`."""
        if a.constant is not None and a.type.weak:
            return fold(PYTHON[ast.Sub], -0.0 if a.type is FLOAT else 0, a.constant)
        type, types = _result(_negated, a)
        value = self.ssa(self.convert(a, type))
        if type.is_float:
            return Number(type, self.emit.value(arith.NegfOp(value)), types=types)
        return Number(type, self.emit.value(arith.SubiOp(self.emit.constant(0, type.ir), value)), types=types)

    def positive(self, a: Number) -> Number:
        """`+a`."""
        return self.convert(a, INT) if a.type is BOOL else a

    def invert(self, a: Number) -> Number:
        """`~a`."""
        if a.type is BOOL:
            raise Refusal("'~' of a bool: write 'not'")
        type, types = _result(_inverted, a)
        ones = self.emit.constant(1 if type.kind == "b" else -1, type.ir)
        return Number(type, self.emit.value(arith.XOrIOp(self.ssa(a), ones)), types=types)

    def invert_truth(self, a: Number) -> Number:
        """`not a`."""
        truth = self.truth(a)
        if truth.constant is not None:
            return Number(BOOL, not truth.constant)
        return Number(BOOL, self.emit.value(arith.XOrIOp(self.ssa(truth), self.emit.constant(True, i1))))

    def absolute(self, a: Number, function: Callable[[Any], Any] = abs) -> Number:
        """`abs(a)`. `function`, of Python or NumPy, determines the type of the result."""
        type, types = _result(function, a)
        value = self.ssa(self.convert(a, type))
        if type.is_float:
            value = self.emit.value(AbsFOp(value))
        elif type.kind == "i":
            zero = self.emit.constant(0, type.ir)
            is_negative = self.emit.value(arith.CmpiOp(value, zero, "slt"))
            value = self._select(is_negative, self.emit.value(arith.SubiOp(zero, value)), value)
        return Number(type, value, types=types, bound=0 if type is INT else None)

    def rounded(self, a: Number) -> Number:
        """`round(a)`: the nearest integer, or the even one of two."""
        return self.convert(self.unary(RoundEvenOp, a, a.type) if a.type.is_float else a, INT)

    def compare(self, operation: Operator, a: Number, b: Number) -> Number:
        """`a < b` and the like."""
        weak = a.type.weak and b.type.weak
        if weak and a.constant is not None and b.constant is not None:
            return fold(PYTHON[operation], a.constant, b.constant)
        if (answer := decided(operation, a, b)) is not None:
            return Number(BOOL if weak else NP_BOOL, answer)
        if a.type.is_float or b.type.is_float:
            type, _ = _result(PYTHON[ast.Add], a, b)
        elif exceeds_int(a.type) != exceeds_int(b.type):
            return Number(NP_BOOL, self._compare_with_unsigned(operation, a, b))
        elif a.type.weak == b.type.weak:
            type, _ = _result(PYTHON[ast.Add], a, b)
        else:  # exact, as NumPy compares its integers with Python's
            type = INT
        x, y = self.ssa(self.convert(a, type)), self.ssa(self.convert(b, type))
        return Number(BOOL if weak else NP_BOOL, self._compare(_PREDICATES[operation], x, y, type))

    def _compare_with_unsigned(self, operation: Operator, a: Number, b: Number) -> SSAValue:
        """Compare a uint64 with another integer exactly, as NumPy does."""
        unsigned, other = (a, b) if exceeds_int(a.type) else (b, a)

        def known(sign: int) -> SSAValue:
            sides = (0, sign) if other is b else (sign, 0)
            return self.emit.constant(PYTHON[operation](*sides), i1)

        if other.constant is not None and not 0 <= other.constant < 1 << 64:
            return known(1 if other.constant > 0 else -1)
        x, y = (self.ssa(self.convert(number, unsigned.type)) for number in (a, b))
        compared = self._compare(_PREDICATES[operation], x, y, unsigned.type)
        if other.constant is not None or other.type.kind != "i":
            return compared
        number = self.ssa(other)
        negative = self.emit.value(arith.CmpiOp(number, self.emit.constant(0, number.type), "slt"))
        return self._select(negative, known(-1), compared)

    def select(self, condition: Number, a: Number, b: Number) -> Number:
        """`a if condition else b` of numbers that are computed already."""
        if condition.constant is not None:
            return a if condition.constant else b
        kind = self.common(a.kind, b.kind)
        if kind is None:
            raise Refusal(f"this is {disagreement(a.kind, b.kind)}")
        x, y = self.ssa(self.convert(a, kind.type)), self.ssa(self.convert(b, kind.type))
        return Number.of(kind, self._select(self.ssa(self.truth(condition)), x, y))

    def classify(self, predicate: str, a: Number, type: ScalarType) -> Number:
        """How `abs(a)` compares with infinity: `uno` for `isnan`, `olt` for `isfinite`, `oeq` for `isinf`."""
        x = self.emit.value(AbsFOp(self.ssa(a if a.type.is_float else self.convert(a, FLOAT))))
        infinity = self.emit.constant(math.inf, x.type)
        return Number(type, self.emit.value(arith.CmpfOp(x, infinity, predicate)))

    def _compare(self, predicate: str, a: SSAValue, b: SSAValue, type: ScalarType) -> SSAValue:
        if type.is_float:
            return self.emit.value(arith.CmpfOp(a, b, "une" if predicate == "ne" else f"o{predicate}"))
        sign = "" if predicate in ("eq", "ne") else "s" if type.kind == "i" else "u"
        return self.emit.value(arith.CmpiOp(a, b, sign + predicate))

    def _select(self, condition: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.emit.value(arith.SelectOp(condition, a, b))

    def _power(self, a: Number, b: Number) -> Number:
        exponent = b.constant
        if not a.type.is_float and not b.type.is_float:
            if exponent is None:
                raise Refusal(
                    "an integer to the power of a variable integer may be an integer or a fraction: "
                    "write float(...) around one of them, or a loop"
                )
            if exponent >= 0:
                type = result_type(PYTHON[ast.Pow], a.type, b.type)
                self.convert(b, type)  # which refuses an exponent that does not fit, as NumPy does
                return self._integer_power(self.convert(a, type), int(exponent))
            if not a.type.weak:
                raise Refusal("NumPy does not raise integers to negative powers: write float(...)")
            return self.power(self.convert(a, FLOAT), Number(FLOAT, float(exponent)), FLOAT)
        type, types = _result(PYTHON[ast.Pow], a, b)
        if not type.weak and type not in (a.type, b.type):
            raise Refusal(
                f"the last bits of NumPy's power of {a.type} and {b.type} differ between machines: "
                "write float(...) around one of them"
            )
        return replace(self.power(a, b, type), types=types)

    def array_power(self, a: Number, exponent: Number) -> Number:
        """An element of NumPy's power of arrays, whose exponents 2, 1, 0, 0.5 and -1 are other functions of NumPy."""
        type, power = result_type(PYTHON[ast.Pow], a.type, exponent.type), exponent.constant
        if not type.is_float:
            return self._power(a, exponent)
        x = self.convert(a, type)
        match power:
            case 2:
                return self.binary(ast.Mult, x, x)
            case 1:
                return x
            case 0:
                return self.convert(Number(INT, 1), type)
            case 0.5:
                return self.unary(SqrtOp, x, type)
            case -1:
                return self.binary(ast.Div, self.convert(Number(INT, 1), type), x)
            case _:
                return self.power(x, exponent, type)

    def power(self, a: Number, b: Number, type: ScalarType) -> Number:
        """`a ** b` of floats: the C library's `pow`, as in Python and NumPy, or products with `fastmath`."""
        if self.emit.fastmath:
            return self._fast_power(self.convert(a, type), self.convert(b, type))
        return self.call_numpy("pow", type, a, b)

    def _fast_power(self, a: Number, b: Number) -> Number:
        exponent = b.constant
        if exponent is None or not (float(exponent).is_integer() and abs(exponent) <= _LARGEST_PRODUCT):
            return Number(a.type, self.emit.value(PowFOp(self.ssa(a), self.ssa(b))))
        product = self._integer_power(a, abs(int(exponent)))
        return product if exponent >= 0 else self.binary(ast.Div, self.convert(Number(INT, 1), a.type), product)

    def _integer_power(self, base: Number, exponent: int) -> Number:
        result = self.convert(Number(INT, 1), base.type)
        while exponent:
            if exponent & 1:
                result = base if result.constant is not None else self.binary(ast.Mult, result, base)
            exponent >>= 1
            base = self.binary(ast.Mult, base, base) if exponent else base
        return result

    # -- functions -------------------------------------------------------------------------------

    def unary(self, operation: UnaryOp, a: Number, type: ScalarType) -> Number:
        """An operation of the math dialect on floats of `type`."""
        return Number(type, self.emit.value(operation(self.ssa(self.convert(a, type)))))

    def call_c(self, name: str, a: Number) -> Number:
        """Call a function `double f(double)` of the C library."""
        return Number(FLOAT, self.emit.call_c(name, [self.ssa(self.convert(a, FLOAT))], f64))

    def call_numpy(self, name: str, type: ScalarType, *numbers: Number) -> Number:
        """Call a function of the C library for `type`, as NumPy does."""
        arguments = [self.ssa(self.convert(number, type)) for number in numbers]
        suffix = "f" if isinstance(arguments[0].type, Float32Type) else ""
        return Number(type, self.emit.call_c(f"{name}{suffix}", arguments, type.ir))

    def square(self, a: Number) -> Number:
        """`np.square(a)`."""
        x = self.convert(a, result_type(np.square, a.type))
        return self.binary(ast.Mult, x, x)

    def numpy_extremum(self, function: Callable[[Any, Any], Any], a: Number, b: Number) -> Number:
        """`np.minimum` and `np.maximum`: the result is NaN if one number is, and the second of equal numbers."""
        type = result_type(function, a.type, b.type)
        x, y = self.ssa(self.convert(a, type)), self.ssa(self.convert(b, type))
        first = self._compare("lt" if function is np.minimum else "gt", x, y, type)
        if type.is_float:
            first = self.emit.value(arith.OrIOp(first, self.emit.value(arith.CmpfOp(x, x, "uno"))))
        return Number(type, self._select(first, x, y))


def _fits(constant: Constant, type: ScalarType) -> bool:
    """Whether NumPy's type has a finite number, or one next to it."""
    if type.is_float:
        return abs(constant) <= float(np.finfo(type.dtype).max)
    return type.kind == "b" or type.limits[0] <= constant <= type.limits[1]


def _holds_all(type: ScalarType, least: int | None) -> bool:
    """Whether a type has all of Python's numbers from `least` on that a kernel has; None is for no bound."""
    return type.bits == 64 and (not exceeds_int(type) or (least is not None and least >= 0))


def exceeds_int(type: ScalarType) -> bool:
    """Whether it has integers that a kernel's `int` has not."""
    return type.kind == "u" and type.bits == 64


def _check_size(number: Number) -> None:
    if number.type is INT and number.constant is not None and not -(1 << 63) <= number.constant < 1 << 63:
        raise Refusal(f"{number.constant} does not fit the 64 bits of a kernel's integers")


def _result(operation: Callable[..., Any], *numbers: Number) -> tuple[ScalarType, frozenset[ScalarType]]:
    """The type of a result, and its possible types in Python. Raises `Refusal` if they differ in kind or width."""
    type = result_type(operation, *(number.type for number in numbers))
    types = {result_type(operation, *each) for each in product(*(number.kind.types for number in numbers))}
    if any((t.kind, t.bits) != (type.kind, type.bits) for t in types):
        shown = " or ".join(sorted(map(str, types)))
        variable = next(number for number in numbers if len(number.types) > 1)
        which = " or ".join(sorted(t.spelling for t in variable.types))
        raise Refusal(f"this is {shown}, depending on whether a variable in it is {which} on this path: convert that")
    return type, frozenset(types)


def disagreement(a: Kind, b: Kind, here: str = "on one path", there: str = "on the other") -> str:
    """For errors: why two kinds of numbers have no common kind, and how to convert."""
    text = f"{article(a.type)} {here} and {article(b.type)} {there}"
    text += f": convert with {a.type.spelling}(...) or {b.type.spelling}(...)"
    strong = b.type if a.type.weak else a.type
    for constant in (a.literals or ()) + (b.literals or ()):
        if common_type(a.type, b.type) is strong and not _fits(constant, strong):
            return f"{text}, since {constant} does not fit {article(strong)}"
    return text


def _negated(a: Any) -> Any:
    return -a


def _inverted(a: Any) -> Any:
    return ~a


def _width(type: Attribute) -> int:
    return cast("IntegerType[int]", type).width.data
