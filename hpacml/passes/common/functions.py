"""Functions of all floats as polynomials, for code that becomes vectors: NaN, infinity and zeros are as in libraries.

They are as accurate as libraries of vectors, within 4 units in the last place, and have no branches.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from xdsl.dialects import arith
from xdsl.dialects import math as md
from xdsl.ir import Operation, SSAValue

from hpacml.passes.common.vectors import Floats


class Functions:
    """Builds functions of floats."""

    def __init__(self, floats: Floats):
        self.f = floats
        self._format = _SINGLE if floats.is_single else _DOUBLE

    def exp(self, x: SSAValue) -> SSAValue:
        return self._exp(x, None)

    def exp2(self, x: SSAValue) -> SSAValue:
        """`2 ** x`."""
        f, form = self.f, self._format
        x = self._clamped(x, form.least, form.greatest)
        n = self._rounded(x, 1.0)
        return self._scaled(f.mul(f.sub(x, n), f.constant(math.log(2))), n)

    def log(self, x: SSAValue) -> SSAValue:
        return self._log(x, math.e)

    def log2(self, x: SSAValue) -> SSAValue:
        return self._log(x, 2.0)

    def log10(self, x: SSAValue) -> SSAValue:
        return self._log(x, 10.0)

    def tanh(self, x: SSAValue) -> SSAValue:
        return self.f.tanh(x)

    def pow(self, x: SSAValue, y: SSAValue) -> SSAValue:
        """`x ** y` by the logarithm in two parts, so that a large `y` does not make its error large."""
        f, size = self.f, self.f.absolute(x)
        high, low = self._log_in_two(size)
        product = f.mul(y, high)
        rest = f.add(self._rest(y, high, product), f.mul(y, low))
        small = self._compare("olt", f.absolute(product), f.constant(2.0**20))
        power = self._exp(product, self._select(small, rest, f.constant(0.0)))
        one, zero, infinity = (f.constant(number) for number in (1.0, 0.0, math.inf))
        # What has no logarithm, and what infinity times 0 is.
        of_ends = self._select(self._compare("ogt", y, zero), size, f.div(one, size))
        is_end = self._any(self._compare("oeq", size, zero), self._compare("oeq", size, infinity))
        power = self._select(is_end, of_ends, power)
        # Negative numbers have powers with whole exponents, which are negative if the exponent is odd.
        half, fraction = f.mul(y, f.constant(0.5)), self._compare("one", y, self._truncated(y))
        odd = self._all(self._compare("oeq", y, self._truncated(y)), self._compare("one", half, self._truncated(half)))
        power = self._select(odd, self._insert(md.CopySignOp(power, x)), power)
        negative = self._all(self._compare("olt", x, zero), self._compare("olt", size, infinity))
        invalid = self._any(self._all(negative, fraction), self._compare("uno", x, y))
        power = self._select(invalid, f.constant(math.nan), power)
        is_one = self._all(self._compare("oeq", size, one), self._compare("oeq", f.absolute(y), infinity))
        is_one = self._any(self._any(is_one, self._compare("oeq", y, zero)), self._compare("oeq", x, one))
        return self._select(is_one, one, power)

    # -- parts -----------------------------------------------------------------------------------

    def _exp(self, x: SSAValue, rest: SSAValue | None) -> SSAValue:
        """`exp(x + rest)`, where the rest is small."""
        f, form = self.f, self._format
        x = self._clamped(x, form.least * math.log(2), form.greatest * math.log(2))
        n = self._rounded(x, math.log2(math.e))
        minus = f.negative(n)
        first, second = form.ln2
        r = f.fma(minus, f.constant(second), f.fma(minus, f.constant(first), x))
        return self._scaled(r if rest is None else f.add(r, rest), n)

    def _rounded(self, x: SSAValue, factor: float) -> SSAValue:
        """`x * factor` rounded to an integer."""
        f, magic = self.f, self.f.constant(self._format.magic)
        return f.sub(f.fma(x, f.constant(factor), magic), magic)

    def _scaled(self, r: SSAValue, n: SSAValue) -> SSAValue:
        """`exp(r) * 2 ** n`, with denormal numbers and infinity."""
        f, form = self.f, self._format
        half = self._rounded(n, 0.5)
        terms = [1 / math.factorial(k) for k in range(form.terms, -1, -1)]
        value = f.polynomial(r, terms)
        return f.mul(f.mul(value, self._power_of_two(half)), self._power_of_two(f.sub(n, half)))

    def _power_of_two(self, n: SSAValue) -> SSAValue:
        """`2 ** n` of a whole number, which a normal number holds."""
        f, form = self.f, self._format
        bits = f.bits(f.add(n, f.constant(form.magic)))  # an integer stands in the last bits
        return f.of_bits(f.integer(arith.ShLIOp, f.integer(arith.AddiOp, bits, form.bias), form.mantissa))

    def _log(self, x: SSAValue, base: float) -> SSAValue:
        f, form = self.f, self._format
        k, above = self._split(x)
        s = f.div(above, f.add(above, f.constant(2.0)))  # of which the logarithm is twice the artanh
        square = f.mul(s, s)
        double = f.add(s, s)
        per = 1 / math.log(base)
        high = _leading(math.log(2) * per, form.mantissa - 11) if base != 2.0 else 1.0
        low = _LN2 * Fraction(per) - Fraction(high) if base != 2.0 else Fraction(0)
        tail = f.mul(f.mul(double, square), f.polynomial(square, self._series()))
        if base == math.e:
            part = f.add(double, f.fma(k, f.constant(float(low)), tail))
        else:
            part = f.fma(f.add(double, tail), f.constant(per), f.mul(k, f.constant(float(low))))
        return self._of_positive(x, f.fma(k, f.constant(high), part))

    def _log_in_two(self, x: SSAValue) -> tuple[SSAValue, SSAValue]:
        """The natural logarithm of a positive number as a sum of two."""
        f, (k, above) = self.f, self._split(x)
        two = f.constant(2.0)
        divisor = f.add(above, two)
        s = f.div(above, divisor)
        lost = f.sub(above, f.sub(divisor, two))  # of the divisor
        rest = self._exact_fma(f.negative(s), divisor, above, f.negative(f.mul(s, lost)))
        error = f.div(rest, divisor)
        square, double = f.mul(s, s), f.add(s, s)
        first, others = _leading(1 / 3, self._format.mantissa), self._series()[:-1]
        # The terms of the series, of which the second in two parts as well.
        cube = f.mul(double, square)
        rest_of_cube = self._exact_fma(double, square, f.negative(cube), f.mul(double, self._rest(s, s, square)))
        third, part = f.mul(cube, f.constant(first)), f.mul(rest_of_cube, f.constant(first))
        part = self._exact_fma(cube, f.constant(first), f.negative(third), part)
        part = f.fma(cube, f.constant(float(Fraction(1, 3) - Fraction(first))), part)
        part = f.fma(f.mul(cube, square), f.polynomial(square, others), part)
        part = f.add(f.fma(f.add(error, error), square, f.add(error, error)), part)
        high = _leading(math.log(2), self._format.mantissa - 11)
        total = f.mul(k, f.constant(high))
        for term in double, third, f.mul(k, f.constant(float(_LN2 - Fraction(high)))):
            before, total = total, f.add(total, term)
            part = f.add(part, f.add(f.sub(before, total), term))
        logarithm = f.add(total, part)
        return logarithm, f.add(f.sub(total, logarithm), part)

    def _rest(self, a: SSAValue, b: SSAValue, product: SSAValue) -> SSAValue:
        """What rounding takes from a product."""
        return self._insert(md.FmaOp(a, b, self.f.negative(product)))

    def _split(self, x: SSAValue) -> tuple[SSAValue, SSAValue]:
        """`k` and `a`, where `x` is `2 ** k * (1 + a)` and `1 + a` is between the root of 0.5 and that of 2."""
        f, form = self.f, self._format
        tiny = self._compare("olt", x, f.constant(form.smallest))
        x = self._select(tiny, f.mul(x, f.constant(2.0**form.mantissa)), x)
        offset = form.root_of_half
        biased = f.integer(arith.AddiOp, f.bits(x), -offset)
        exponent = f.integer(arith.AndIOp, biased, -(1 << form.mantissa))
        m = f.of_bits(self._insert(arith.SubiOp(f.bits(x), exponent)))
        # An exponent that is not negative, as the last bits of a number whose other bits are known.
        positive = f.integer(arith.AddiOp, biased, (form.bias + 1) << form.mantissa)
        last = f.integer(arith.OrIOp, f.integer(arith.ShRUIOp, positive, form.mantissa), form.whole_bits)
        k = f.sub(f.of_bits(last), f.constant(2.0**form.mantissa + form.bias + 1))
        k = self._select(tiny, f.sub(k, f.constant(form.mantissa)), k)
        return k, f.sub(m, f.constant(1.0))

    def _series(self) -> list[float]:
        """Coefficients of `(artanh(s) / s - 1) / s ** 2` in the square of `s`."""
        return [1 / (2 * k + 1) for k in range(self._format.series, 0, -1)]

    def _of_positive(self, x: SSAValue, logarithm: SSAValue) -> SSAValue:
        """The logarithm of a positive number; what it is of others."""
        f, zero, infinity = self.f, self.f.constant(0.0), self.f.constant(math.inf)
        positive = self._compare("ogt", x, zero)
        other = self._select(self._compare("oeq", x, zero), f.negative(infinity), f.constant(math.nan))
        finite = self._select(self._compare("olt", x, infinity), logarithm, x)
        return self._select(positive, finite, other)

    def _exact_fma(self, a: SSAValue, b: SSAValue, c: SSAValue, d: SSAValue) -> SSAValue:
        """`a * b + c + d`, where `a * b + c` is exact."""
        return self.f.add(self._insert(md.FmaOp(a, b, c)), d)

    def _clamped(self, x: SSAValue, low: float, high: float) -> SSAValue:
        """A number between two bounds, or NaN."""
        least, most = self.f.constant(low), self.f.constant(high)
        x = self._select(self._compare("olt", x, least), least, x)
        return self._select(self._compare("ogt", x, most), most, x)

    def _truncated(self, x: SSAValue) -> SSAValue:
        return self._insert(md.TruncOp(x))

    def _compare(self, predicate: str, a: SSAValue, b: SSAValue) -> SSAValue:
        return self._insert(arith.CmpfOp(a, b, predicate))

    def _select(self, condition: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
        return self._insert(arith.SelectOp(condition, a, b))

    def _any(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self._insert(arith.OrIOp(a, b))

    def _all(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self._insert(arith.AndIOp(a, b))

    def _insert(self, operation: Operation) -> SSAValue:
        return self.f.builder.insert(operation).results[0]


class _Format(NamedTuple):
    """What is to know of a type of floats."""

    mantissa: int
    bias: int
    terms: int
    """The degree of the polynomial of `exp`."""
    series: int
    """The terms of that of `log`."""
    root_of_half: int
    """The bits of the square root of 0.5."""
    whole_bits: int
    """The bits of `2 ** mantissa`."""
    ln2: tuple[float, float]
    """ln 2 in two parts, so that the first times an exponent is exact."""

    @property
    def magic(self) -> float:
        """Added to this, an integer stands in the last bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def smallest(self) -> float:
        """The least normal number."""
        return 2.0 ** (1 - self.bias)

    @property
    def least(self) -> float:
        """An exponent below that of all numbers."""
        return -self.bias - self.mantissa - 2.0

    @property
    def greatest(self) -> float:
        """An exponent above that of all numbers."""
        return self.bias + 2.0


def _leading(number: float, bits: int) -> float:
    """The first bits of a number."""
    mantissa, exponent = math.frexp(number)
    return math.ldexp(math.floor(mantissa * 2.0**bits), exponent - bits)


_LN2 = Fraction(0.6931471805599453) + Fraction(2.3190468138462996e-17)

_SINGLE = _Format(23, 127, 7, 5, 0x3F3504F3, 0x4B000000, (0.693359375, -2.12194440054690583e-4))
_DOUBLE = _Format(
    52, 1023, 13, 11, 0x3FE6A09E667F3BCD, 0x4330000000000000, (0.6931471803691238, 1.9082149292705877e-10)
)
