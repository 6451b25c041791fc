/* Integers and decimals as text. Knows nothing of columns. Runs in the worker. */
#include "result/number.h"

const char number_pairs[201] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
                               "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
                               "9899";

#define ONES(n)                                                                                                                                  \
    (n), (n) + (1 << 24), (n) + (2 << 24), (n) + (3 << 24), (n) + (4 << 24), (n) + (5 << 24), (n) + (6 << 24), (n) + (7 << 24), (n) + (8 << 24), \
        (n) + (9 << 24)
#define TENS(n)                                                                                                                 \
    ONES(n), ONES((n) + (1 << 16)), ONES((n) + (2 << 16)), ONES((n) + (3 << 16)), ONES((n) + (4 << 16)), ONES((n) + (5 << 16)), \
        ONES((n) + (6 << 16)), ONES((n) + (7 << 16)), ONES((n) + (8 << 16)), ONES((n) + (9 << 16))
#define HUNDREDS(n)                                                                                                                              \
    TENS(n), TENS((n) + (1 << 8)), TENS((n) + (2 << 8)), TENS((n) + (3 << 8)), TENS((n) + (4 << 8)), TENS((n) + (5 << 8)), TENS((n) + (6 << 8)), \
        TENS((n) + (7 << 8)), TENS((n) + (8 << 8)), TENS((n) + (9 << 8))

const uint32_t number_fours[10000] = {HUNDREDS(0), HUNDREDS(1), HUNDREDS(2), HUNDREDS(3), HUNDREDS(4),
                                      HUNDREDS(5), HUNDREDS(6), HUNDREDS(7), HUNDREDS(8), HUNDREDS(9)};

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
        memcpy(w, number_pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (w > p)
        *p = (uint8_t)('0' + v % 10);
    return end;
}

/* Eight digits, zeros in front. */
static uint8_t *put_eight(uint8_t *p, uint32_t v)
{
    uint64_t digits = number_eight_digits(v) | NUMBER_ASCII;
    memcpy(p, &digits, 8);
    return p + 8;
}

uint8_t *number_put_large(uint8_t *p, uint64_t v)
{
    const uint64_t unit = powers[8];
    uint64_t high = v / unit;
    uint32_t low = (uint32_t)(v - high * unit);
    if (high < unit)
        return put_eight(number_put_small(p, (uint32_t)high), low);
    uint64_t top = high / unit;
    p = number_put_small(p, (uint32_t)top);
    return put_eight(put_eight(p, (uint32_t)(high - top * unit)), low);
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

/* Divided by a constant, the compiler multiplies. */
static inline uint64_t divide_by_power(uint64_t v, unsigned scale)
{
    switch (scale) {
    case 1: return v / 10;
    case 2: return v / 100;
    case 3: return v / 1000;
    case 4: return v / 10000;
    case 5: return v / 100000;
    case 6: return v / 1000000;
    default: return v / powers[scale];
    }
}

/* `scale` (1 to 8) digits of v < 10^scale; 8 bytes are written. Returns them, first one lowest. */
static inline uint64_t fraction_digits(uint64_t v, unsigned scale) { return number_eight_digits((uint32_t)v) >> 8 * (8 - scale); }

/* v < 10^8 with `scale` (1 to 7) places, 16 bytes are written: all digits come from one split. whole_digits: how many stand in front of the point at
 * least, 0 or 1. *ret_fraction: the places, first one lowest. Returns where the point is. */
static inline uint8_t *put_places(uint8_t *p, uint32_t v, unsigned scale, unsigned whole_digits, uint64_t *ret_fraction)
{
    uint64_t digits = number_eight_digits(v), text = digits | NUMBER_ASCII;
    unsigned zeros = (unsigned)__builtin_ctzll(digits | 1ULL << 8 * (8 - scale - whole_digits)) / 8;
    uint64_t whole = text >> 8 * zeros, fraction = text >> 8 * (8 - scale) << 8 | '.';
    memcpy(p, &whole, 8);
    p += 8 - zeros - scale;
    memcpy(p, &fraction, 8);
    *ret_fraction = digits >> 8 * (8 - scale);
    return p;
}

#define SPLIT_AT_ONCE(v, scale) ((v) < 100000000 && (scale) < 8)

uint8_t *number_put_short_decimal(uint8_t *p, int64_t v, unsigned scale)
{
    uint64_t abs = v < 0 ? -(uint64_t)v : (uint64_t)v, digits;
    *p = '-';
    p += v < 0;
    if (SPLIT_AT_ONCE(abs, scale)) {
        p = put_places(p, (uint32_t)abs, scale, 1, &digits);
    } else {
        uint64_t whole = divide_by_power(abs, scale);
        digits = fraction_digits(abs - whole * powers[scale], scale);
        uint64_t text = digits | NUMBER_ASCII;
        p = number_put_u64(p, whole);
        *p = '.';
        memcpy(p + 1, &text, 8);
    }
    unsigned last = (63 - (unsigned)__builtin_clzll(digits | 1)) / 8; /* the last digit that is not 0 */
    return p + 2 + last;
}

uint8_t *number_put_small_decimal(uint8_t *p, int64_t v, unsigned scale, bool leading_zero)
{
    uint64_t abs = v < 0 ? -(uint64_t)v : (uint64_t)v, digits;
    *p = '-';
    p += v < 0;
    if (SPLIT_AT_ONCE(abs, scale))
        return put_places(p, (uint32_t)abs, scale, leading_zero, &digits) + 1 + scale;
    uint64_t whole = divide_by_power(abs, scale);
    digits = fraction_digits(abs - whole * powers[scale], scale) | NUMBER_ASCII;
    if (whole || leading_zero)
        p = number_put_u64(p, whole);
    *p = '.';
    memcpy(p + 1, &digits, 8);
    return p + 1 + scale;
}

uint8_t *number_put_decimal(uint8_t *p, i128 v, unsigned scale, bool leading_zero)
{
    if (scale > 0 && scale <= 8 && v == (int64_t)v)
        return number_put_small_decimal(p, (int64_t)v, scale, leading_zero);
    u128 abs = v < 0 ? -(u128)v : (u128)v;
    if (v < 0)
        *p++ = '-';
    if (scale == 0)
        return number_put_u128(p, abs);
    if (abs >> 64 == 0 && scale < 20) {
        uint64_t small = (uint64_t)abs, whole = divide_by_power(small, scale);
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
