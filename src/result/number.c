/* Integers and decimals as text. Knows nothing of columns. Runs in the worker. */
#include "result/number.h"
#include <string.h>

static const char pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
    "9899";

static const uint64_t powers[20] = {1ULL,
                                    10ULL,
                                    100ULL,
                                    1000ULL,
                                    10000ULL,
                                    100000ULL,
                                    1000000ULL,
                                    10000000ULL,
                                    100000000ULL,
                                    1000000000ULL,
                                    10000000000ULL,
                                    100000000000ULL,
                                    1000000000000ULL,
                                    10000000000000ULL,
                                    100000000000000ULL,
                                    1000000000000000ULL,
                                    10000000000000000ULL,
                                    100000000000000000ULL,
                                    1000000000000000000ULL,
                                    10000000000000000000ULL};

unsigned number_digits(uint64_t v)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);
    unsigned guess = bits * 1233 >> 12; /* bits * log10(2), one too small at most */
    return guess + (v >= powers[guess < 20 ? guess : 19]) + (v == 0);
}

uint8_t *number_put_padded(uint8_t *p, uint64_t v, unsigned digits)
{
    uint8_t *end = p + digits, *w = end;
    while (w - p >= 2) {
        w -= 2;
        memcpy(w, pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (w > p)
        *p = (uint8_t)('0' + v % 10);
    return end;
}

uint8_t *number_put_u64(uint8_t *p, uint64_t v)
{
    if (v < 10) {
        *p = (uint8_t)('0' + v);
        return p + 1;
    }
    return number_put_padded(p, v, number_digits(v));
}

uint8_t *number_put_i64(uint8_t *p, int64_t v)
{
    if (v < 0) {
        *p++ = '-';
        return number_put_u64(p, -(uint64_t)v);
    }
    return number_put_u64(p, (uint64_t)v);
}

uint8_t *number_put_u128(uint8_t *p, u128 v)
{
    const uint64_t base = powers[19];
    if (v >> 64 == 0)
        return number_put_u64(p, (uint64_t)v);
    u128 high = v / base;
    uint64_t low = (uint64_t)(v % base);
    return number_put_padded(number_put_u128(p, high), low, 19);
}

uint8_t *number_put_i128(uint8_t *p, i128 v)
{
    if (v < 0) {
        *p++ = '-';
        return number_put_u128(p, -(u128)v);
    }
    return number_put_u128(p, (u128)v);
}

/* scale digits of v, which has no more */
static uint8_t *put_fraction(uint8_t *p, u128 v, unsigned scale)
{
    if (scale > 19) {
        p = number_put_padded(p, (uint64_t)(v / powers[19]), scale - 19);
        return number_put_padded(p, (uint64_t)(v % powers[19]), 19);
    }
    return number_put_padded(p, (uint64_t)v, scale);
}

uint8_t *number_put_decimal(uint8_t *p, i128 v, unsigned scale, bool leading_zero)
{
    u128 abs = v < 0 ? -(u128)v : (u128)v;
    if (v < 0)
        *p++ = '-';
    if (scale == 0)
        return number_put_u128(p, abs);
    if (abs >> 64 == 0 && scale < 20) {
        uint64_t small = (uint64_t)abs, whole = small / powers[scale];
        if (whole || leading_zero)
            p = number_put_u64(p, whole);
        *p++ = '.';
        return number_put_padded(p, small - whole * powers[scale], scale);
    }
    u128 unit = scale > 19 ? (u128)powers[19] * powers[scale - 19] : powers[scale];
    u128 whole = abs / unit;
    if (whole || leading_zero)
        p = number_put_u128(p, whole);
    *p++ = '.';
    return put_fraction(p, abs % unit, scale);
}
