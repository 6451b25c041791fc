/* BLOB, BIT and BIGNUM as text. Runs in the worker. */
#include "result/bytes.h"
#include "core/errors.h"
#include "result/number.h"
#include <stdlib.h>

int bytes_put_blob(struct text *t, const uint8_t *s, size_t n)
{
    static const char hex[] = "0123456789ABCDEF";
    uint8_t out[256];
    while (n > 0) {
        size_t used = 0;
        for (; n > 0 && used <= sizeof(out) - 4; s++, n--) {
            if (bytes_is_plain(*s)) {
                out[used++] = *s;
                continue;
            }
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = (uint8_t)hex[*s >> 4];
            out[used++] = (uint8_t)hex[*s & 15];
        }
        if (text_put(t, out, used) < 0)
            return -1;
    }
    return 0;
}

int bytes_put_bit(struct text *t, const uint8_t *s, size_t n)
{
    uint8_t out[256];
    size_t used = 0, bit = n > 0 ? 8 + s[0] : 0, bits = n * 8;
    for (; bit < bits; bit++) {
        out[used++] = (uint8_t)('0' + (s[bit / 8] >> (7 - bit % 8) & 1));
        if (used == sizeof(out) || bit + 1 == bits) {
            if (text_put(t, out, used) < 0)
                return -1;
            used = 0;
        }
    }
    return 0;
}

#define LIMB_BASE 10000000000000000000ULL /* 10^19, the largest power in 64 bits */

/* Divides the limbs (most significant first) by 10^19 and returns the remainder. */
static uint64_t divide_limbs(uint64_t *limbs, size_t count)
{
    u128 rest = 0;
    for (size_t i = 0; i < count; i++) {
        rest = rest << 64 | limbs[i];
        limbs[i] = (uint64_t)(rest / LIMB_BASE);
        rest %= LIMB_BASE;
    }
    return (uint64_t)rest;
}

/* Work space: `count` limbs and, behind them, at least count + count / 64 + 1 groups of 19 digits. */
static int put_limbs(struct text *t, uint64_t *limbs, size_t count, uint64_t *groups)
{
    size_t used = 0;
    while (count > 0 && limbs[0] == 0)
        limbs++, count--;
    while (count > 0) {
        groups[used++] = divide_limbs(limbs, count);
        while (count > 0 && limbs[0] == 0)
            limbs++, count--;
    }
    uint8_t out[24];
    if (used == 0)
        return text_put(t, "0", 1);
    if (text_put(t, out, (size_t)(number_put_u64(out, groups[used - 1]) - out)) < 0)
        return -1;
    while (--used > 0)
        if (text_put(t, out, (size_t)(number_put_padded(out, groups[used - 1], 19) - out)) < 0)
            return -1;
    return 0;
}

int bytes_put_bignum(struct text *t, const uint8_t *s, size_t n)
{
    if (n <= 3)
        return text_put(t, "0", 1);
    uint8_t invert = s[0] & 0x80 ? 0 : 0xff;
    s += 3;
    n -= 3;
    size_t count = (n + 7) / 8, room = 2 * count + count / 64 + 2;
    uint64_t small[64]; /* numbers to 10^590; the longer ones are rare enough to allocate for, and slow for the engine too */
    uint64_t *limbs = room <= sizeof(small) / sizeof(small[0]) ? small : malloc(room * sizeof(*limbs));
    CHECK(limbs);
    for (size_t i = 0; i < count; i++)
        limbs[i] = 0;
    for (size_t i = 0; i < n; i++) {
        size_t from_end = n - 1 - i;
        limbs[count - 1 - from_end / 8] |= (uint64_t)(uint8_t)(s[i] ^ invert) << 8 * (from_end % 8);
    }
    int r = invert && text_put(t, "-", 1) < 0 ? -1 : put_limbs(t, limbs, count, limbs + count);
    if (limbs != small)
        free(limbs);
    return r;
}
