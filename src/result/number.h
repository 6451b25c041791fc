/* Integers and decimals as text. Knows nothing of columns. Runs in the worker.
 * Each function writes at p, without a terminator, and returns the end; the most bytes it needs are named. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef unsigned __int128 u128;
typedef __int128 i128;

uint8_t *number_put_u64(uint8_t *p, uint64_t v);   /* 20 */
uint8_t *number_put_i64(uint8_t *p, int64_t v);    /* 20 */
uint8_t *number_put_u128(uint8_t *p, u128 v);      /* 39 */
uint8_t *number_put_i128(uint8_t *p, i128 v);      /* 40 */
/* Exactly `digits` digits, zeros in front. */
uint8_t *number_put_padded(uint8_t *p, uint64_t v, unsigned digits);
/* v / 10^scale with all `scale` digits behind the point; "0." in front of a pure fraction only if leading_zero. 42 */
uint8_t *number_put_decimal(uint8_t *p, i128 v, unsigned scale, bool leading_zero);
/* The number of decimal digits, 1 for 0. */
unsigned number_digits(uint64_t v);
