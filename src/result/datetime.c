/* Dates, times, timestamps and intervals as text. Knows nothing of columns. Runs in the worker. */
#include "result/datetime.h"
#include "result/number.h"
#include <stdbool.h>
#include <string.h>

static uint8_t *put_text(uint8_t *p, const char *s)
{
    size_t n = strlen(s);
    memcpy(p, s, n);
    return p + n;
}

static uint8_t *put_infinity(uint8_t *p, bool negative) { return put_text(p, negative ? "-infinity" : "infinity"); }

struct civil {
    int64_t year;
    unsigned month, day;
};

/* Proleptic Gregorian, year 0 = 1 BC. Counts years from March, so that the leap day is the last one of a year. */
static struct civil civil_from_days(int64_t days)
{
    days += 719468; /* from 0000-03-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * day_of_year + 2) / 153; /* month, March = 0 */
    struct civil c;
    c.day = day_of_year - (153 * shifted + 2) / 5 + 1;
    c.month = shifted < 10 ? shifted + 3 : shifted - 9;
    c.year = (int64_t)year_of_era + era * 400 + (c.month <= 2);
    return c;
}

/* The days of the years 1 to 9999, counted from 1970. */
#define FOUR_DIGITS_FIRST (-719162)
#define FOUR_DIGITS_LAST 2932896

/* The same for these, with linear functions in the place of divisions: a remainder is read off the low half of a product (C. Neri and L. Schneider,
 * "Euclidean affine functions and their application to calendar algorithms"). Ten bytes, and two behind them are written. */
static uint8_t *put_four_digit_days(uint8_t *p, int32_t days)
{
    uint32_t quarters = 4 * (uint32_t)(days + 719468) + 3; /* of days, from 0000-03-01 */
    uint32_t century = quarters / 146097;
    uint32_t in_century = (quarters % 146097) | 3;    /* quarters again: 4 * day + 3 */
    uint64_t scaled = (uint64_t)2939745 * in_century; /* 2^32 / 1461 */
    uint32_t year = (uint32_t)(scaled >> 32), day_of_year = (uint32_t)scaled / 2939745 / 4;
    uint32_t months = 2141 * day_of_year + 197913; /* March = 3, in the high half */
    uint32_t month = months >> 16, day = (months & 0xffff) / 2141 + 1;
    uint32_t next_year = day_of_year >= 306; /* January or February */
    month -= next_year ? 12 : 0;
    year += next_year;
    uint32_t years = number_fours[century * 100 + year] | (uint32_t)NUMBER_ASCII;
    uint64_t rest = number_fours[month * 100 + day] | (uint32_t)NUMBER_ASCII;
    rest = '-' | (rest & 0xffff) << 8 | '-' << 24 | (rest & 0xffff0000) << 16;
    memcpy(p, &years, 4);
    memcpy(p + 4, &rest, 8);
    return p + 10;
}

static uint8_t *put_days(uint8_t *p, int64_t days)
{
    if (days >= FOUR_DIGITS_FIRST && days <= FOUR_DIGITS_LAST)
        return put_four_digit_days(p, (int32_t)days);
    struct civil c = civil_from_days(days);
    bool bc = c.year <= 0;
    uint64_t year = (uint64_t)(bc ? 1 - c.year : c.year);
    unsigned digits = number_digits(year);
    p = number_put_padded(p, year, digits < 4 ? 4 : digits);
    *p++ = '-';
    p = number_put_two(p, c.month);
    *p++ = '-';
    p = number_put_two(p, c.day);
    return bc ? put_text(p, " (BC)") : p;
}

/* `digits` digits behind a point, without trailing zeros; nothing for 0 */
static uint8_t *put_subsecond(uint8_t *p, uint64_t fraction, unsigned digits)
{
    if (fraction == 0)
        return p;
    *p++ = '.';
    p = number_put_padded(p, fraction, digits);
    while (p[-1] == '0')
        p--;
    return p;
}

static uint8_t *put_clock(uint8_t *p, uint64_t seconds)
{
    unsigned s = (unsigned)seconds; /* of a day */
    p = number_put_two(p, s / 3600);
    *p++ = ':';
    p = number_put_two(p, s / 60 % 60);
    *p++ = ':';
    return number_put_two(p, s % 60);
}

uint8_t *datetime_put_date(uint8_t *p, int32_t days)
{
    if (days >= FOUR_DIGITS_FIRST && days <= FOUR_DIGITS_LAST)
        return put_four_digit_days(p, days);
    if (days == INT32_MAX || days == -INT32_MAX)
        return put_infinity(p, days < 0);
    return put_days(p, days);
}

uint8_t *datetime_put_time(uint8_t *p, int64_t micros)
{
    return put_subsecond(put_clock(p, (uint64_t)micros / 1000000), (uint64_t)micros % 1000000, 6);
}

uint8_t *datetime_put_time_ns(uint8_t *p, int64_t nanos)
{
    return put_subsecond(put_clock(p, (uint64_t)nanos / 1000000000), (uint64_t)nanos % 1000000000, 9);
}

uint8_t *datetime_put_time_tz(uint8_t *p, uint64_t packed)
{
    /* the offset is stored as 16 hours less one second minus itself, so that it sorts by instant */
    const int32_t max_offset = 16 * 3600 - 1;
    int32_t offset = max_offset - (int32_t)(packed & 0xffffff);
    unsigned abs = (unsigned)(offset < 0 ? -offset : offset);
    p = datetime_put_time(p, (int64_t)(packed >> 24));
    *p++ = offset < 0 ? '-' : '+';
    p = number_put_padded(p, abs / 3600, abs / 3600 < 100 ? 2 : number_digits(abs / 3600));
    if (abs / 60 % 60) {
        *p++ = ':';
        p = number_put_padded(p, abs / 60 % 60, 2);
    }
    if (abs % 60) {
        *p++ = ':';
        p = number_put_padded(p, abs % 60, 2);
    }
    return p;
}

static uint8_t *put_instant(uint8_t *p, int64_t seconds, uint64_t fraction, unsigned digits)
{
    int64_t days = seconds / 86400, clock = seconds % 86400;
    if (clock < 0) {
        clock += 86400;
        days--;
    }
    p = put_days(p, days);
    *p++ = ' ';
    return put_subsecond(put_clock(p, (uint64_t)clock), fraction, digits);
}

uint8_t *datetime_put_timestamp(uint8_t *p, int64_t value, enum datetime_unit unit)
{
    static const int64_t per_second[] = {1, 1000, 1000000, 1000000000};
    if (value == INT64_MAX || value == -INT64_MAX)
        return put_infinity(p, value < 0);
    int64_t seconds = value / per_second[unit], fraction = value % per_second[unit];
    if (fraction < 0) {
        fraction += per_second[unit];
        seconds--;
    }
    return put_instant(p, seconds, (uint64_t)fraction, 3 * (unsigned)unit);
}

uint8_t *datetime_put_timestamp_utc(uint8_t *p, int64_t micros)
{
    p = datetime_put_timestamp(p, micros, UNIT_MICROS);
    return micros == INT64_MAX || micros == -INT64_MAX ? p : put_text(p, "+00");
}

uint8_t *datetime_put_timestamp_utc_parts(uint8_t *p, int64_t millis, int64_t micros)
{
    int64_t seconds = millis / 1000, fraction = millis % 1000;
    if (fraction < 0) {
        fraction += 1000;
        seconds--;
    }
    return put_text(put_instant(p, seconds, (uint64_t)(fraction * 1000 + micros), 6), "+00");
}

static uint8_t *put_unit(uint8_t *p, const uint8_t *start, int32_t n, const char *name)
{
    if (n == 0)
        return p;
    if (p > start)
        *p++ = ' ';
    p = put_text(number_put_i64(p, n), name);
    if (n != 1 && n != -1)
        *p++ = 's';
    return p;
}

uint8_t *datetime_put_interval(uint8_t *p, int32_t months, int32_t days, int64_t micros)
{
    const uint8_t *start = p;
    p = put_unit(p, start, months / 12, " year");
    p = put_unit(p, start, months % 12, " month");
    p = put_unit(p, start, days, " day");
    if (micros == 0)
        return p > start ? p : put_text(p, "00:00:00");
    if (p > start)
        *p++ = ' ';
    if (micros < 0)
        *p++ = '-';
    uint64_t abs = micros < 0 ? -(uint64_t)micros : (uint64_t)micros;
    uint64_t hours = abs / 3600000000ULL;
    p = hours < 100 ? number_put_padded(p, hours, 2) : number_put_u64(p, hours);
    *p++ = ':';
    p = number_put_padded(p, abs / 60000000 % 60, 2);
    *p++ = ':';
    p = number_put_padded(p, abs / 1000000 % 60, 2);
    return put_subsecond(p, abs % 1000000, 6);
}
