/* Floating point numbers as text. The digits come from the Schubfach method (R. Giulietti, "The Schubfach way to render
 * doubles"): scale the number and the ends of its rounding interval by one 128-bit power of ten, then choose among the at
 * most four integers nearby. Knows nothing of columns. Runs in the worker. */
#include "result/real.h"
#include "result/number.h"
#include <string.h>

static int floor_log10_pow2(int e) { return e * 1262611 >> 22; }
/* floor(log10(3/4 * 2^e)): the interval below a power of two is half as wide */
static int floor_log10_three_quarters_pow2(int e) { return (e * 1262611 - 524031) >> 22; }
static int floor_log2_pow10(int e) { return e * 1741647 >> 19; }

/* floor(g * cp / 2^128) with the lowest bit set if anything was cut off. */
static uint64_t multiply_round_to_odd(struct real_pow10 g, uint64_t cp)
{
    u128 low = (u128)g.low * cp;
    u128 high = (u128)g.high * cp + (uint64_t)(low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

static struct real_decimal strip_zeros(uint64_t digits, int exponent)
{
    while (digits % 100000000 == 0 && digits) {
        digits /= 100000000;
        exponent += 8;
    }
    while (digits % 10 == 0 && digits) {
        digits /= 10;
        exponent++;
    }
    return (struct real_decimal){digits, exponent};
}

/* Of c * 2^q; lower_is_closer: c is the smallest significand of its binade. */
static struct real_decimal shortest(uint64_t c, int q, bool lower_is_closer)
{
    bool odd = c & 1;
    int k = lower_is_closer ? floor_log10_three_quarters_pow2(q) : floor_log10_pow2(q);
    int shift = q + floor_log2_pow10(-k) + 1;
    struct real_pow10 g = real_pow10[-k - REAL_POW10_MIN];
    uint64_t lower = multiply_round_to_odd(g, (4 * c - 2 + lower_is_closer) << shift) + odd;
    uint64_t v = multiply_round_to_odd(g, (4 * c) << shift);
    uint64_t upper = multiply_round_to_odd(g, (4 * c + 2) << shift) - odd;

    uint64_t s = v / 4;
    if (s >= 10) {
        uint64_t tens = s / 10;
        bool down_fits = lower <= 40 * tens, up_fits = 40 * tens + 40 <= upper;
        if (down_fits != up_fits)
            return strip_zeros(tens + up_fits, k + 1);
    }
    bool down_fits = lower <= 4 * s, up_fits = 4 * s + 4 <= upper;
    if (down_fits != up_fits)
        return strip_zeros(s + up_fits, k);
    uint64_t middle = 4 * s + 2;
    return strip_zeros(s + (v > middle || (v == middle && (s & 1))), k);
}

struct real_decimal real_shortest_double(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, 8);
    uint64_t fraction = bits & ((1ULL << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7ff);
    if (exponent == 0)
        return shortest(fraction, -1074, false);
    uint64_t c = fraction | 1ULL << 52;
    int q = exponent - 1075;
    if (q <= 0 && q > -53 && (c & ((1ULL << -q) - 1)) == 0)
        return strip_zeros(c >> -q, 0);
    return shortest(c, q, fraction == 0 && exponent > 1);
}

struct real_decimal real_shortest_float(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, 4);
    uint32_t fraction = bits & ((1U << 23) - 1);
    int exponent = (int)(bits >> 23 & 0xff);
    if (exponent == 0)
        return shortest(fraction, -149, false);
    uint32_t c = fraction | 1U << 23;
    int q = exponent - 150;
    if (q <= 0 && q > -24 && (c & ((1U << -q) - 1)) == 0)
        return strip_zeros(c >> -q, 0);
    return shortest(c, q, fraction == 0 && exponent > 1);
}

static uint8_t *put_zeros(uint8_t *p, int n)
{
    memset(p, '0', (size_t)n);
    return p + n;
}

/* `point` digits stand in front of the decimal point (may be <= 0). */
static uint8_t *put_fixed(uint8_t *p, uint64_t digits, int count, int point)
{
    if (point <= 0) {
        *p++ = '0';
        *p++ = '.';
        return number_put_padded(put_zeros(p, -point), digits, (unsigned)count);
    }
    if (point >= count) {
        p = put_zeros(number_put_padded(p, digits, (unsigned)count), point - count);
        memcpy(p, ".0", 2);
        return p + 2;
    }
    number_put_padded(p + 1, digits, (unsigned)count);
    memmove(p, p + 1, (size_t)point);
    p[point] = '.';
    return p + count + 1;
}

static uint8_t *put_scientific(uint8_t *p, uint64_t digits, int count, int exponent, enum real_layout layout)
{
    number_put_padded(p + 1, digits, (unsigned)count);
    p[0] = p[1];
    p[1] = '.';
    p += count > 1 ? count + 1 : 1;
    *p++ = 'e';
    if (exponent < 0)
        *p++ = '-';
    else if (layout == REAL_VARCHAR)
        *p++ = '+';
    unsigned abs = (unsigned)(exponent < 0 ? -exponent : exponent);
    if (layout == REAL_VARCHAR && abs < 10)
        *p++ = '0';
    return number_put_u64(p, abs);
}

uint8_t *real_put_decimal(uint8_t *p, bool negative, struct real_decimal d, enum real_layout layout)
{
    d = strip_zeros(d.digits, d.exponent);
    if (negative)
        *p++ = '-';
    if (d.digits == 0) {
        memcpy(p, "0.0", 3);
        return p + 3;
    }
    int count = (int)number_digits(d.digits), point = count + d.exponent;
    bool fixed = layout == REAL_JSON ? point > -6 && point <= 21 : point > -4 && point <= 16;
    if (fixed)
        return put_fixed(p, d.digits, count, point);
    return put_scientific(p, d.digits, count, point - 1, layout);
}

static uint8_t *put_special(uint8_t *p, bool negative, bool nan, enum real_layout layout)
{
    static const char *const names[2][4] = {{"\"Infinity\"", "\"-Infinity\"", "\"NaN\"", "\"NaN\""}, {"inf", "-inf", "nan", "-nan"}};
    const char *s = names[layout == REAL_VARCHAR][2 * nan + negative];
    size_t n = strlen(s);
    memcpy(p, s, n);
    return p + n;
}

uint8_t *real_put_double(uint8_t *p, double v, enum real_layout layout)
{
    bool negative = __builtin_signbit(v);
    if (!__builtin_isfinite(v))
        return put_special(p, negative, __builtin_isnan(v), layout);
    struct real_decimal d = v == 0 ? (struct real_decimal){0, 0} : real_shortest_double(negative ? -v : v);
    return real_put_decimal(p, negative, d, layout);
}

uint8_t *real_put_float(uint8_t *p, float v, enum real_layout layout)
{
    if (layout == REAL_JSON || !__builtin_isfinite(v))
        return real_put_double(p, (double)v, layout); /* to_json widens first: 0.1 comes out as 0.10000000149011612 */
    bool negative = __builtin_signbit(v);
    struct real_decimal d = v == 0 ? (struct real_decimal){0, 0} : real_shortest_float(negative ? -v : v);
    return real_put_decimal(p, negative, d, layout);
}
