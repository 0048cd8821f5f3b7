"""Arithmetic on floats and on vectors of them, and functions as polynomials: no library is called for any of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects import arith, vector
from xdsl.dialects import math as md
from xdsl.dialects.builtin import (
    AnyFloat,
    DenseIntOrFPElementsAttr,
    Float32Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    VectorType,
    f64,
    i32,
    i64,
)
from xdsl.dialects.utils import FastMathFlag
from xdsl.ir import Attribute, Operation, SSAValue

from hpacml.passes.common.located import Builder

IntegerOperation = Callable[[SSAValue, SSAValue], Operation]


class Floats:
    """Builds arithmetic on floats, in the order and with the rounding that is written."""

    def __init__(self, element: AnyFloat, builder: Builder):
        self.element, self.builder = element, builder
        self.is_single = isinstance(element, Float32Type)

    @property
    def type(self) -> Attribute:
        return self.like(self.element)

    def like(self, element: Attribute) -> Attribute:
        """The type of as many numbers of another type."""
        return element

    def constant(self, number: float) -> SSAValue:
        return self._constant(number, self.element)

    def _constant(self, number: float, element: AnyFloat | IntegerType) -> SSAValue:
        if isinstance(element, IntegerType):
            return self.builder.insert(arith.ConstantOp(IntegerAttr(int(number), element))).result
        return self.builder.insert(arith.ConstantOp(FloatAttr(number, element))).result

    def add(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.builder.insert(arith.AddfOp(a, b)).result

    def sub(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.builder.insert(arith.SubfOp(a, b)).result

    def mul(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.builder.insert(arith.MulfOp(a, b)).result

    def div(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.builder.insert(arith.DivfOp(a, b)).result

    def fma(self, a: SSAValue, b: SSAValue, c: SSAValue) -> SSAValue:
        """`a * b + c`, rounded once where processors can."""
        product = self.builder.insert(arith.MulfOp(a, b, _FUSED)).result
        return self.builder.insert(arith.AddfOp(product, c, _FUSED)).result

    def widen(self, a: SSAValue) -> SSAValue:
        """The same numbers as f64."""
        return self.builder.insert(arith.ExtFOp(a, self.like(f64))).result

    def narrow(self, a: SSAValue) -> SSAValue:
        """Numbers of f64, rounded to the type of these vectors."""
        return self.builder.insert(arith.TruncFOp(a, self.type)).result

    def negative(self, a: SSAValue) -> SSAValue:
        return self.builder.insert(arith.NegfOp(a)).result

    def absolute(self, a: SSAValue) -> SSAValue:
        return self.builder.insert(md.AbsFOp(a)).result

    def greater(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """The greater of two numbers; NaN if one is. Which zero it is does not matter."""
        return self.builder.insert(arith.MaximumfOp(a, b, _ANY_ZERO)).result

    def less(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """The lesser of two numbers; NaN if one is."""
        return self.builder.insert(arith.MinimumfOp(a, b, _ANY_ZERO)).result

    def clamp(self, x: SSAValue, low: float, high: float) -> SSAValue:
        return self.less(self.greater(x, self.constant(low)), self.constant(high))

    def polynomial(self, x: SSAValue, coefficients: Sequence[float]) -> SSAValue:
        """The value of a polynomial, whose coefficients begin with that of the highest power."""
        value = self.constant(coefficients[0])
        for coefficient in coefficients[1:]:
            value = self.fma(value, x, self.constant(coefficient))
        return value

    # -- functions -------------------------------------------------------------------------------

    def relu(self, x: SSAValue) -> SSAValue:
        return self.greater(x, self.constant(0.0))

    def leaky_relu(self, x: SSAValue, slope: float) -> SSAValue:
        if slope == 0.0:
            return self.relu(x)  # infinity times 0 is NaN
        other = self.mul(x, self.constant(slope))  # both are NaN, or none is
        operation = arith.MaxnumfOp if slope <= 1.0 else arith.MinnumfOp
        return self.builder.insert(operation(x, other)).result

    def prelu(self, x: SSAValue, slope: SSAValue) -> SSAValue:
        return self.fma(self.less(x, self.constant(0.0)), slope, self.relu(x))

    def elu(self, x: SSAValue, alpha: float) -> SSAValue:
        return self.fma(self.expm1(self.less(x, self.constant(0.0))), self.constant(alpha), self.relu(x))

    def _expm1_and_power(self, x: SSAValue) -> tuple[SSAValue, SSAValue, SSAValue]:
        """`e` and `p` of `exp(x) = p + p * e`, where `p` is a power of 2 and `abs(e) < 0.42`; and 0, or NaN if x is."""
        mantissa, bias, low, high = (23, 127, -87.0, 88.0) if self.is_single else (52, 1023, -708.0, 709.0)
        first, second = _LN2_SINGLE if self.is_single else _LN2
        limited = self.clamp(x, low, high)
        number = self.builder.insert(arith.MaxnumfOp(limited, self.constant(low))).result  # no NaN
        # Added to a number of 1.5 * 2**mantissa, an integer stands in its last bits.
        integer = self.constant(1.5 * 2.0**mantissa)
        shifted = self.fma(number, self.constant(math.log2(math.e)), integer)
        n = self.sub(shifted, integer)
        minus = self.negative(n)
        r = self.fma(minus, self.constant(second), self.fma(minus, self.constant(first), number))
        terms = 7 if self.is_single else 14
        e = self.polynomial(r, [*(1 / math.factorial(k) for k in range(terms, 0, -1)), 0.0])
        exponent = self.integer(arith.ShLIOp, self.integer(arith.AddiOp, self.bits(shifted), bias), mantissa)
        return e, self.of_bits(exponent), self.mul(limited, self.constant(0.0))

    def integer(self, operation: IntegerOperation, bits: SSAValue, number: int) -> SSAValue:
        """An operation on integers of the size of the floats, the second of which is a constant."""
        constant = self._constant(number, i32 if self.is_single else i64)
        return self.builder.insert(operation(bits, constant)).results[0]

    def bits(self, x: SSAValue) -> SSAValue:
        """The bits of floats as integers."""
        return self._bitcast(x, self.like(i32 if self.is_single else i64))

    def of_bits(self, bits: SSAValue) -> SSAValue:
        """The floats with these bits."""
        return self._bitcast(bits, self.type)

    def _bitcast(self, value: SSAValue, type: Attribute) -> SSAValue:
        return self.builder.insert(arith.BitcastOp(value, type)).result

    def exp(self, x: SSAValue) -> SSAValue:
        """`exp(x)` to 2 units in the last place; 1e-38 and 1e-308 in the place of what is less."""
        e, power, nothing = self._expm1_and_power(x)
        return self.add(self.fma(power, e, power), nothing)

    def expm1(self, x: SSAValue) -> SSAValue:
        """`exp(x) - 1`, relative to its own size."""
        e, power, nothing = self._expm1_and_power(x)
        return self.add(self.fma(power, e, self.sub(power, self.constant(1.0))), nothing)

    def sigmoid(self, x: SSAValue) -> SSAValue:
        one = self.constant(1.0)
        return self.div(one, self.add(one, self.exp(self.negative(x))))

    def tanh(self, x: SSAValue) -> SSAValue:
        """`tanh(x)`, by `expm1` of what is not positive, which is between -1 and 0."""
        double = self.mul(self.absolute(x), self.constant(-2.0))
        e = self.expm1(double)
        positive = self.div(self.negative(e), self.add(e, self.constant(2.0)))
        return self.builder.insert(md.CopySignOp(positive, x)).result

    def gelu_tanh(self, x: SSAValue) -> SSAValue:
        """`x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`, which Torch calls an approximation of GELU."""
        cube = self.mul(self.mul(x, x), x)
        inside = self.mul(self.constant(math.sqrt(2 / math.pi)), self.fma(self.constant(0.044715), cube, x))
        return self.mul(self.mul(self.constant(0.5), x), self.add(self.constant(1.0), self.tanh(inside)))

    def normal_distribution(self, x: SSAValue) -> SSAValue:
        """The probability that a standard normal variable is below `x`."""
        z = self.mul(self.absolute(x), self.constant(math.sqrt(0.5)))
        t = self.div(self.constant(2.0), self.add(z, self.constant(2.0)))
        series = self.chebyshev(
            self.fma(t, self.constant(2.0), self.constant(-1.0)), _ERFC[: 13 if self.is_single else 28]
        )
        tail = self.mul(self.mul(t, self.exp(self.fma(self.negative(z), z, series))), self.constant(0.5))
        half = self.constant(0.5)
        return self.add(half, self.builder.insert(md.CopySignOp(self.sub(half, tail), x)).result)

    def chebyshev(self, x: SSAValue, coefficients: Sequence[float]) -> SSAValue:
        """The sum of Chebyshev's polynomials of `x` between -1 and 1, by Clenshaw's recurrence."""
        double = self.add(x, x)
        last, value = self.constant(0.0), self.constant(coefficients[-1])
        for coefficient in reversed(coefficients[1:-1]):
            last, value = value, self.add(self.fma(double, value, self.negative(last)), self.constant(coefficient))
        return self.add(self.fma(x, value, self.negative(last)), self.constant(coefficients[0] / 2))


class Vectors(Floats):
    """Builds the same on vectors."""

    def __init__(self, element: AnyFloat, lanes: int, builder: Builder):
        super().__init__(element, builder)
        self.lanes = lanes

    @property
    def type(self) -> VectorType[AnyFloat]:
        return VectorType(self.element, [self.lanes])

    def like(self, element: Attribute) -> Attribute:
        return VectorType(element, [self.lanes])

    def splat(self, scalar: SSAValue) -> SSAValue:
        return self.builder.insert(vector.BroadcastOp(scalar, self.type)).vector

    def fma(self, a: SSAValue, b: SSAValue, c: SSAValue) -> SSAValue:
        """`a * b + c`, rounded once."""
        return self.builder.insert(vector.FMAOp(a, b, c)).res

    def _constant(self, number: float, element: AnyFloat | IntegerType) -> SSAValue:
        from_list: Any = DenseIntOrFPElementsAttr.from_list  # its overloads know no choice of types
        return self.builder.insert(arith.ConstantOp(from_list(self.like(element), [number]))).result

    def _bitcast(self, value: SSAValue, type: Attribute) -> SSAValue:
        return self.builder.insert(vector.BitcastOp(value, type)).results[0]


_FUSED = arith.FastMathFlagsAttr([FastMathFlag.ALLOW_CONTRACT])
_ANY_ZERO = arith.FastMathFlagsAttr([FastMathFlag.NO_SIGNED_ZEROS])

# ln 2 in two parts, so that the first times a small integer is exact.
_LN2_SINGLE = (0.693359375, -2.12194440054690583e-4)
_LN2 = (0.6931471803691238, 1.9082149292705877e-10)
_ERFC = (
    *(-1.3026537197817094, 0.6419697923564902, 0.019476473204185836, -0.009561514786808632, -0.0009465953444820369),
    *(0.00036683949785276145, 4.252332480690777e-05, -2.0278578112534242e-05, -1.6242900046470256e-06),
    *(1.3036558355805232e-06, 1.5626441722066142e-08, -8.523809591492654e-08, 6.5290544390988515e-09),
    *(5.059343495551469e-09, -9.91364156493033e-10, -2.273651222931836e-10, 9.646791102015527e-11),
    *(2.3940380830391146e-12, -6.886027526497553e-12, 8.944879273090725e-13, 3.130921399342958e-13),
    *(-1.1270822361367252e-13, 3.810905255189232e-16, 7.106097613609237e-15, -1.5230282014571043e-15),
    *(-9.457494571291233e-17, 1.210237189224279e-16, -2.816663087747177e-17),
)
"""Chebyshev's series of `log(erfc(z) / t) + z * z` in `2 * t - 1` with `t = 2 / (2 + z)`, for z from 0 on."""
