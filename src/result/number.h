/* Integers and decimals as text. Knows nothing of columns. Runs in the worker.
 * Each function writes at p, without a terminator, and returns the end; the most bytes it needs are named. What lies between the end and that bound
 * may have been overwritten: most stores are of eight bytes. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef unsigned __int128 u128;
typedef __int128 i128;

extern const char number_pairs[201]; /* "000102...99" */

/* Two digits, v < 100. */
static inline uint8_t *number_put_two(uint8_t *p, unsigned v)
{
    memcpy(p, number_pairs + 2 * v, 2);
    return p + 2;
}

/* Four digits in the bytes of a word, the first one in the lowest, each 0 to 9. 40 KB, of which a column uses little. */
extern const uint32_t number_fours[10000];

/* Eight digits of v < 10^8 likewise. */
static inline uint64_t number_eight_digits(uint32_t v)
{
    uint32_t high = v / 10000;
    return number_fours[high] | (uint64_t)number_fours[v - high * 10000] << 32;
}

#define NUMBER_ASCII 0x3030303030303030

/* v < 10^8. Needs 8 bytes. */
static inline uint8_t *number_put_small(uint8_t *p, uint32_t v)
{
    if (v < 10) {
        *p = (uint8_t)('0' + v);
        return p + 1;
    }
    uint64_t digits = number_eight_digits(v);
    unsigned zeros = (unsigned)__builtin_ctzll(digits) / 8;
    digits = (digits | NUMBER_ASCII) >> 8 * zeros;
    memcpy(p, &digits, 8);
    return p + 8 - zeros;
}

uint8_t *number_put_large(uint8_t *p, uint64_t v); /* v >= 10^8 */

static inline uint8_t *number_put_u64(uint8_t *p, uint64_t v) /* 20 */
{
    return v < 100000000 ? number_put_small(p, (uint32_t)v) : number_put_large(p, v);
}

static inline uint8_t *number_put_i64(uint8_t *p, int64_t v) /* 20 */
{
    uint64_t negative = v < 0;
    *p = '-'; /* overwritten unless it is one */
    return number_put_u64(p + negative, negative ? -(uint64_t)v : (uint64_t)v);
}

uint8_t *number_put_u128(uint8_t *p, u128 v); /* 39 */
uint8_t *number_put_i128(uint8_t *p, i128 v); /* 40 */
/* Exactly `digits` digits, zeros in front, and nothing behind them. */
uint8_t *number_put_padded(uint8_t *p, uint64_t v, unsigned digits);
/* v / 10^scale with all `scale` digits behind the point; "0." in front of a pure fraction only if leading_zero. 42 */
uint8_t *number_put_decimal(uint8_t *p, i128 v, unsigned scale, bool leading_zero);
/* The same for a scale of 1 to 8. 30 */
uint8_t *number_put_small_decimal(uint8_t *p, int64_t v, unsigned scale, bool leading_zero);
/* The same without the zeros at the end, but for one: 1.5, 2.0. Scale 1 to 8. 30 */
uint8_t *number_put_short_decimal(uint8_t *p, int64_t v, unsigned scale);
/* The number of decimal digits, 1 for 0. */
unsigned number_digits(uint64_t v);
