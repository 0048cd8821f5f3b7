/* The bonds of examples/bonds/app.py, in float32. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { EVALUATIONS = 100 };

struct legs {
    float *amounts, *times;
    long count;
};

static int min(int a, int b) { return a < b ? a : b; }
static int max(int a, int b) { return a > b ? a : b; }

static int length(int month, int year)
{
    if (month == 1)
        return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
    return month == 3 || month == 5 || month == 8 || month == 10 ? 30 : 31;
}

static int date_of(const int *date) { return ((12 * date[2] + date[0] - 1) << 5) + date[1]; }

static int earlier(int date, int months)
{
    int month = (date >> 5) - months, day = date & 31;
    return (month << 5) + (day <= 28 ? day : min(day, length(month % 12, month / 12)));
}

static float fraction(int first, int last)
{
    int months = (last >> 5) - (first >> 5), day1 = first & 31, day2 = last & 31;
    if (day2 == 31 && day1 < 30) {
        day2 = 1;
        months++;
    }
    return (float)(30 * (months - 1) + max(0, 30 - day1) + min(30, day2)) / 360.0f;
}

static float interest_of(float rate, int start, int end)
{
    return 100.0f * ((1.0f + rate * fraction(start, end)) - 1.0f);
}

static float remaining(int maturity, int now, float rate, struct legs legs)
{
    float accrued = 0.0f;
    for (long k = 0; k < legs.count; k++) {
        int before = legs.count - 1 - k;
        int start = earlier(maturity, 6 * before + 6), end = earlier(maturity, 6 * before);
        legs.amounts[k] = interest_of(rate, start, end);
        legs.times[k] = fraction(now, end);
        if (start < now)
            accrued += interest_of(rate, start, min(end, now));
        if (before == 0)
            legs.amounts[k] += 100.0f;
    }
    return accrued * 100.0f / 100.0f;
}

static float worth_of(struct legs legs, float y, float *duration)
{
    float growth = 1.0f + y / 2.0f, price = 0.0f, moment = 0.0f;
    for (long k = 0; k < legs.count; k++) {
        float worth = legs.amounts[k] * powf(growth, -2.0f * legs.times[k]);
        price += worth;
        moment += legs.times[k] * worth;
    }
    *duration = moment / growth / price;
    return price;
}

static float yield_of(struct legs legs, float dirty)
{
    float low = 0.05, high = 0.05 * 1.1, slope;
    float at_low = dirty - worth_of(legs, low, &slope), at_high = dirty - worth_of(legs, high, &slope);
    int count = 2;
    bool lower = true;
    while (at_low * at_high > 0.0f && count < EVALUATIONS) {
        bool equal = fabsf(at_low) == fabsf(at_high);
        if (fabsf(at_low) < fabsf(at_high) || (equal && lower)) {
            low += 1.6f * (low - high);
            if (low <= -2.0f)
                return 0.0f;
            at_low = dirty - worth_of(legs, low, &slope);
        } else {
            high += 1.6f * (high - low);
            at_high = dirty - worth_of(legs, high, &slope);
        }
        if (equal) {
            lower = !lower;
            count++;
        }
        count++;
    }
    if (at_low * at_high > 0.0f)
        return 0.0f;
    if (at_low > 0.0f) {
        float other = low;
        low = high;
        high = other;
    }
    float y = 0.5f * (low + high), step = fabsf(high - low), before = step;
    float at = dirty - worth_of(legs, y, &slope);
    while (count < EVALUATIONS) {
        bool beyond = ((y - high) * slope - at) * ((y - low) * slope - at) > 0.0f;
        if (beyond || fabsf(2.0f * at) > fabsf(before * slope)) {
            before = step;
            step = 0.5f * (high - low);
            y = low + step;
        } else {
            before = step;
            step = at / slope;
            y -= step;
        }
        count++;
        if (fabsf(step) < 1e-8f)
            break;
        at = dirty - worth_of(legs, y, &slope);
        if (at < 0.0f)
            low = y;
        else
            high = y;
    }
    return y;
}

void value(const float *rates, const int *issues, const int *maturities, float *accrued, float *dirty, float *clean,
           float *yields, long n)
{
    for (long i = 0; i < n; i++) {
        int issue = date_of(issues + 4 * i), maturity = date_of(maturities + 4 * i), now = maturity - 1;
        int periods = 0, left = 0;
        while (earlier(maturity, 6 * periods) > issue)
            periods++;
        while (left < periods && earlier(maturity, 6 * left) >= now)
            left++;
        struct legs legs = {malloc(left * sizeof(float)), malloc(left * sizeof(float)), left};
        accrued[i] = remaining(maturity, now, rates[i], legs);
        yields[i] = yield_of(legs, accrued[i] + 89.97693786f);
        float duration;
        dirty[i] = worth_of(legs, yields[i], &duration);
        clean[i] = dirty[i] - accrued[i];
        free(legs.amounts);
        free(legs.times);
    }
}
