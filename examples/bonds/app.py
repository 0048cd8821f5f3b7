"""The application: fixed-rate bonds, their accrued interest, yield, and dirty and clean price, with directives.

Each bond is valued one day before its maturity. A date is int32[4]: month, day, year and serial number. In the program
it is one number, of months in the upper bits and the day in the lowest five, so that dates compare as numbers.
"""

import numpy as np
from jaxtyping import Float32, Float64, Int32

import hpacml
from hpacml import approx

from .. import glibc
from ..devices import zeros

CLEAN_PRICE = 89.97693786
GUESS, GROWTH, ACCURACY, EVALUATIONS = 0.05, 1.6, 1e-8, 100
MOST_LEFT = 1
"""The coupons that a bond can have left one day before its maturity."""

Rates = Float32[np.ndarray, "n"]
Dates = Int32[np.ndarray, "n 4"]


def _program(real, Numbers):
    """The program in numbers of the type `real`, with results in arrays `Numbers`."""

    @hpacml.kernel
    def value(
        rates: Rates,
        issues: Dates,
        maturities: Dates,
        accrued: Numbers,
        dirty: Numbers,
        clean: Numbers,
        yields: Numbers,
        multiplier: int,
        use_model: bool,
        record: bool,
        model: str | None,
        database: str | None,
    ):
        """All of each bond. The model takes `multiplier` bonds at once, and gives their accrued interest."""
        n, m = len(rates), multiplier
        ni = n // m  # noqa: F841 (the directives use it)
        approx("""tensor functor(bond_functor: [i, 0:9*m] = ([i*m : i*m+m], [i*m : i*m+m, 0:4], [i*m : i*m+m, 0:4]))
                  tensor functor(opt_functor: [i, 0:m] = ([i*m : i*m+m]))""")
        with approx("""ml(predicated: use_model) if(use_model or record) label("bonds")
                       in(bond_functor(rates[0:ni], issues[0:ni, 0:4], maturities[0:ni, 0:4]))
                       out(opt_functor(accrued[0:ni])) model(model) database(database)"""):
            for i in hpacml.prange(n):
                issue, maturity, rate = _date(issues[i]), _date(maturities[i]), real(rates[i])
                now = maturity - 1
                periods = 0
                while _earlier(maturity, 6 * periods) > issue:
                    periods += 1
                left = 0
                while left < min(periods, MOST_LEFT) and _earlier(maturity, 6 * left) >= now:
                    left += 1
                amounts, times = np.empty(MOST_LEFT, real), np.empty(MOST_LEFT, real)
                interest = _remaining(maturity, now, rate, left, amounts, times)
                accrued[i] = interest
                yields[i] = _yield(left, amounts, times, interest + CLEAN_PRICE)
                dirty[i] = _worth(left, amounts, times, yields[i])[0]
                clean[i] = dirty[i] - interest

    def _remaining(maturity, now, rate, left, amounts, times):
        """Write what remaining coupons pay, and when, with the redemption in the last. Returns accrued interest."""
        accrued = real(0.0)
        for k in range(left):
            before = left - 1 - k
            start, end = _earlier(maturity, 6 * before + 6), _earlier(maturity, 6 * before)
            amounts[k] = _interest(rate, start, end)
            times[k] = _fraction(now, end)
            if start < now:
                accrued += _interest(rate, start, min(end, now))
            if before == 0:
                amounts[k] += 100.0
        return accrued * 100.0 / 100.0

    def _interest(rate, start, end):
        return 100.0 * ((1.0 + rate * _fraction(start, end)) - 1.0)

    def _fraction(first, last):
        """The part of a year between two dates, of months of 30 days."""
        months, day1, day2 = (last >> 5) - (first >> 5), first & 31, last & 31
        if day2 == 31 and day1 < 30:
            day2 = 1
            months += 1
        return real(30 * (months - 1) + max(0, 30 - day1) + min(30, day2)) / real(360.0)

    def _worth(left, amounts, times, y):
        """What the remaining payments are worth at a yield, and their modified duration."""
        growth, price, moment = 1.0 + y / 2.0, real(0.0), real(0.0)
        for k in range(left):
            worth = amounts[k] * growth ** (-2.0 * times[k])
            price += worth
            moment += times[k] * worth
        return price, moment / growth / price

    def _yield(left, amounts, times, dirty):
        """The yield at which the payments are worth `dirty`; 0 if none is found."""
        low, high = real(GUESS), real(GUESS * 1.1)
        at_low, at_high = dirty - _worth(left, amounts, times, low)[0], dirty - _worth(left, amounts, times, high)[0]
        count = 2
        lower = True  # which end moves next where both are as good
        while at_low * at_high > 0.0 and count < EVALUATIONS:
            equal = abs(at_low) == abs(at_high)
            if abs(at_low) < abs(at_high) or (equal and lower):
                low += GROWTH * (low - high)
                if low <= -2.0:
                    return real(0.0)  # there is no discount there
                at_low = dirty - _worth(left, amounts, times, low)[0]
            else:
                high += GROWTH * (high - low)
                at_high = dirty - _worth(left, amounts, times, high)[0]
            if equal:
                lower = not lower
                count += 1
            count += 1
        if at_low * at_high > 0.0:
            return real(0.0)
        if at_low > 0.0:
            low, high = high, low
        y = 0.5 * (low + high)
        step = before = abs(high - low)
        worth, slope = _worth(left, amounts, times, y)
        at = dirty - worth
        while count < EVALUATIONS:
            # The slope is relative to the worth, as in the original program, so that most steps are bisections.
            beyond = ((y - high) * slope - at) * ((y - low) * slope - at) > 0.0
            if beyond or abs(2.0 * at) > abs(before * slope):
                before, step = step, 0.5 * (high - low)
                y = low + step
            else:
                before, step = step, at / slope
                y -= step
            count += 1
            if abs(step) < ACCURACY:
                break
            worth, slope = _worth(left, amounts, times, y)
            at = dirty - worth
            if at < 0.0:
                low = y
            else:
                high = y
        return y

    return value


def _date(date):
    return ((12 * int(date[2]) + int(date[0]) - 1) << 5) + int(date[1])


def _earlier(date, months):
    month, day = (date >> 5) - months, date & 31
    return (month << 5) + (day if day <= 28 else min(day, _length(month % 12, month // 12)))


def _length(month, year):
    """The days of a month; January is 0."""
    if month == 1:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 if month == 3 or month == 5 or month == 8 or month == 10 else 31


value32 = _program(np.float32, Float32[np.ndarray, "n"])
value64 = _program(np.float64, Float64[np.ndarray, "n"])


def accurate(rate, start, maturity, dtype=np.float32):
    """Accrued interest, dirty and clean price, and yield of bonds: a dictionary of arrays `dtype`[n].

    Rates are float32[n], dates of issue and maturity int32[n, 4], of NumPy or, on a GPU, of Torch, and so are the
    results; the program computes in `dtype`, float32 or float64.
    """
    return values(rate, start, maturity, dtype)


def values(rate, start, maturity, dtype=np.float32, multiplier=1, model=None, database=None):
    """`accurate`, with accrued interest by the file `model`, `multiplier` bonds at once, which leaves the rest at 0.

    The accrued interest of the program goes to the file `database`.
    """
    n = len(rate)
    if multiplier < 1 or n % multiplier:
        raise ValueError(f"{n} bonds are no multiple of multiplier={multiplier}, the bonds that a model takes at once")
    results = {name: zeros(n, dtype, rate) for name in ("accrued", "dirty", "clean", "forward_yield")}
    program = {np.dtype(np.float32): value32, np.dtype(np.float64): value64}.get(np.dtype(dtype))
    if program is None:
        raise ValueError(f"dtype is {np.dtype(dtype)}: the program computes in float32 or float64")
    files = model is not None, database is not None, model, database
    program(rate, start, maturity, *results.values(), multiplier, *files)
    return results


def random_bonds(count, first=0, seed=123):
    """Rates, and dates of issue and of maturity, of bonds `first` to `first + count` of the paper's program.

    Raises ValueError for a negative number.
    """
    r = glibc.rows(7, count, first, seed)
    share = r[:, 6].astype(np.float32) / np.float32(2147483647)
    rates = (0.08 + (share.astype(float) - 0.5) * 35.0).astype(np.float32)
    return rates, _dates(r[:, 0], r[:, 1], 1999 - r[:, 2] % 2), _dates(r[:, 3], r[:, 4], 2000 + r[:, 5] % 2)


def _dates(days, months, years):
    """Dates int32[n, 4] of random numbers; the serial number counts days since the end of 1899."""
    days, months = days % 28 + 1, months % 12 + 1
    since = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (months - 1)
    serials = since.astype("datetime64[D]") + (days - 1) - np.datetime64("1899-12-30")
    return np.stack([months, days, years, serials.astype(int)], 1).astype(np.int32)
