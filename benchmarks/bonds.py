"""Fixed-rate bonds as a region: nine features of a bond in, its accrued interest out.

It computes what the paper's program does: the schedule of coupons by calendar, accrued interest, the yield by a
bracketed Newton's method, and from that dirty and clean price.
"""

import numpy as np
from jaxtyping import Float32, Int32

import hpacml
from hpacml import approx

CLEAN_PRICE = 89.97693786

Numbers = Float32[np.ndarray, "n"]
Dates = Int32[np.ndarray, "m"]


@hpacml.kernel
def _length(month: int, year: int):
    """The days of a month."""
    if month == 2:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@hpacml.kernel
def _earlier(date: int, months: int):
    """A date, year * 10000 + month * 100 + day, some months before."""
    year, month, day = date // 10000, date // 100 % 100, date % 100
    month -= months
    while month < 1:
        month += 12
        year -= 1
    return year * 10000 + month * 100 + min(day, _length(month, year))


@hpacml.kernel
def _fraction(first: int, last: int):
    """The part of a year between two dates, of months of 30 days."""
    day1, day2, month2 = first % 100, last % 100, last // 100 % 100
    if day2 == 31 and day1 < 30:
        day2 = 1
        month2 += 1
    days = 360 * (last // 10000 - first // 10000) + 30 * (month2 - first // 100 % 100 - 1)
    return (days + max(0, 30 - day1) + min(30, day2)) / 360


@hpacml.kernel
def _value(now: int, maturity: int, left: int, rate: float, y: float, slope: bool):
    """What the coupons that are left, and the redemption with the last, are worth; or their duration, negative."""
    price, moment, factor, t = 0.0, 0.0, 1.0, 0.0
    last = now
    for k in range(left - 1, -1, -1):
        date = _earlier(maturity, 6 * k)
        amount = 100.0 * ((1.0 + rate * _fraction(_earlier(maturity, 6 * k + 6), date)) - 1.0)
        if k == 0:
            amount += 100.0
        dt = _fraction(last, date)
        factor *= (1.0 + y / 2.0) ** (-2.0 * dt)
        t += dt
        price += amount * factor
        moment += t * amount * factor / (1.0 + y / 2.0)
        last = date
    return -moment / price if slope else price


@hpacml.kernel
def _yield(now: int, maturity: int, left: int, rate: float, dirty: float):
    """The yield at which the payments are worth `dirty`; 0 if none is found."""
    low, high = 0.05, 0.05 * 1.1
    at_low = dirty - _value(now, maturity, left, rate, low, False)
    at_high = dirty - _value(now, maturity, left, rate, high, False)
    count = 2
    while at_low * at_high > 0.0 and count < 100:
        if abs(at_low) <= abs(at_high):
            low += 1.6 * (low - high)
            if low <= -2.0:
                return 0.0
            at_low = dirty - _value(now, maturity, left, rate, low, False)
        else:
            high += 1.6 * (high - low)
            at_high = dirty - _value(now, maturity, left, rate, high, False)
        count += 1
    if at_low * at_high > 0.0:
        return 0.0
    if at_low > 0.0:
        low, high = high, low
    y = 0.5 * (low + high)
    before = abs(high - low)
    step = before
    at = dirty - _value(now, maturity, left, rate, y, False)
    slope = -_value(now, maturity, left, rate, y, True)
    while count < 100:
        beyond = ((y - high) * slope - at) * ((y - low) * slope - at) > 0.0
        if beyond or abs(2.0 * at) > abs(before * slope):
            before = step
            step = 0.5 * (high - low)
            y = low + step
        else:
            before = step
            step = at / slope
            y -= step
        if abs(step) < 1e-8:
            break
        at = dirty - _value(now, maturity, left, rate, y, False)
        slope = -_value(now, maturity, left, rate, y, True)
        count += 1
        if at < 0.0:
            low = y
        else:
            high = y
    return y


@hpacml.kernel
def values(
    rates: Numbers,
    issues: Dates,
    maturities: Dates,
    accrued: Numbers,
    dirty: Numbers,
    clean: Numbers,
    yields: Numbers,
    record: bool,
    database: str | None,
):
    """All of each bond. A date is four numbers: month, day, year and serial number."""
    n = len(rates)
    approx("tensor functor(bond: [i, 0:9] = ([i], [4*i : 4*i+4], [4*i : 4*i+4]))")
    approx("tensor functor(amount: [i, 0:1] = ([i]))")
    with approx("""ml(collect) if(record) in(bond(rates[0:n], issues[0:n], maturities[0:n])) out(amount(accrued[0:n]))
                   label("bonds") database(database)"""):
        for i in hpacml.prange(n):
            issue = int(issues[4 * i + 2] * 10000 + issues[4 * i] * 100 + issues[4 * i + 1])
            maturity = int(maturities[4 * i + 2] * 10000 + maturities[4 * i] * 100 + maturities[4 * i + 1])
            now = maturity - 1
            rate = float(rates[i])
            periods = 0
            while _earlier(maturity, 6 * periods) > issue:
                periods += 1
            left = 0
            while left < periods and _earlier(maturity, 6 * left) >= now:
                left += 1
            amount = 0.0
            for k in range(left, 0, -1):
                start, end = _earlier(maturity, 6 * k), _earlier(maturity, 6 * k - 6)
                if start < now:
                    amount += 100.0 * ((1.0 + rate * _fraction(start, min(end, now))) - 1.0)
            accrued[i] = amount
            y = _yield(now, maturity, left, rate, CLEAN_PRICE + amount)
            yields[i] = y
            dirty[i] = _value(now, maturity, left, rate, y, False)
            clean[i] = dirty[i] - amount


def random_bonds(count, seed=123):
    """Rates, and dates of issue and of maturity, distributed as in the paper's program."""
    chance = np.random.default_rng(seed)
    rates = (0.08 + (chance.random(count) - 0.5) * 35.0).astype(np.float32)
    return rates, _dates(chance, count, 1998), _dates(chance, count, 2000)


def _dates(chance, count, year):
    months, days = chance.integers(1, 13, count), chance.integers(1, 29, count)
    years = year + chance.integers(0, 2, count)
    names = [f"{y:04}-{m:02}-{d:02}" for y, m, d in zip(years, months, days, strict=True)]
    serials = (np.array(names, "datetime64[D]") - np.datetime64("1899-12-30")).astype(int)
    return np.stack([months, days, years, serials], 1).astype(np.int32).reshape(-1)
