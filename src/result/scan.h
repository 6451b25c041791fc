/* Looking for the few bytes that a text format has to escape, many at a time. A mark is the top bit of a byte in a word of eight, or a bit in a mask of
 * sixteen; the lowest mark is always exact. Knows nothing but bytes. Runs in the worker. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define SCAN_INLINE static inline __attribute__((always_inline))
#define SCAN_ONES 0x0101010101010101ULL
#define SCAN_TOPS 0x8080808080808080ULL

/* Bytes that are c: marks above the lowest one may be wrong. */
#define SCAN_EQUAL(x, c) ((((x) ^ SCAN_ONES * (c)) - SCAN_ONES) & ~((x) ^ SCAN_ONES * (c)))

enum scan_for { SCAN_JSON, SCAN_CSV, SCAN_QUOTE };

/* JSON: control characters, quote, backslash. CSV: comma, quote, line ends. QUOTE: that alone. */
SCAN_INLINE uint64_t scan_eight(uint64_t x, enum scan_for what)
{
    if (what == SCAN_JSON)
        return (((x - SCAN_ONES * 0x20) & ~x) | SCAN_EQUAL(x, '"') | SCAN_EQUAL(x, '\\')) & SCAN_TOPS;
    if (what == SCAN_QUOTE)
        return SCAN_EQUAL(x, '"') & SCAN_TOPS;
    return (SCAN_EQUAL(x, ',') | SCAN_EQUAL(x, '"') | SCAN_EQUAL(x, '\n') | SCAN_EQUAL(x, '\r')) & SCAN_TOPS;
}

#ifdef __SSE2__
SCAN_INLINE unsigned scan_vector(__m128i x, enum scan_for what)
{
    __m128i m = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    if (what == SCAN_JSON) {
        m = _mm_or_si128(m, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
        m = _mm_or_si128(m, _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x));
    } else if (what == SCAN_CSV) {
        m = _mm_or_si128(m, _mm_cmpeq_epi8(x, _mm_set1_epi8(',')));
        m = _mm_or_si128(m, _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('\n')), _mm_cmpeq_epi8(x, _mm_set1_epi8('\r'))));
    }
    return (unsigned)_mm_movemask_epi8(m);
}
#endif

SCAN_INLINE unsigned scan_sixteen(const uint8_t *s, enum scan_for what)
{
#ifdef __SSE2__
    return scan_vector(_mm_loadu_si128((const __m128i *)(const void *)s), what);
#else
    uint64_t low, high;
    memcpy(&low, s, 8);
    memcpy(&high, s + 8, 8);
    low = scan_eight(low, what);
    high = scan_eight(high, what);
    unsigned first = low ? (unsigned)__builtin_ctzll(low) / 8 : 8 + (unsigned)__builtin_ctzll(high | 1ULL << 63) / 8;
    return low || high ? 1u << first : 0;
#endif
}

/* The same for 4 to 7 bytes, as two words of four that overlap. */
SCAN_INLINE size_t scan_copy_four(uint8_t *p, const uint8_t *s, size_t n, enum scan_for what)
{
    uint32_t a, b;
    memcpy(&a, s, 4);
    memcpy(&b, s + n - 4, 4);
    memcpy(p, &a, 4);
    memcpy(p + n - 4, &b, 4);
    uint64_t marks = scan_eight(a | (uint64_t)b << 32, what);
    size_t at = marks ? (size_t)__builtin_ctzll(marks) / 8 : 0;
    return !marks ? n : at < 4 ? at : n - 8 + at;
}

SCAN_INLINE size_t scan_copy_eight(uint8_t *p, const uint8_t *s, size_t n, enum scan_for what)
{
    uint64_t a, b;
    memcpy(&a, s, 8);
    memcpy(&b, s + n - 8, 8);
    memcpy(p, &a, 8);
    memcpy(p + n - 8, &b, 8);
    a = scan_eight(a, what);
    b = scan_eight(b, what);
    if (a)
        return (size_t)__builtin_ctzll(a) / 8;
    return b ? n - 8 + (size_t)__builtin_ctzll(b) / 8 : n;
}

/* Copies to p up to the first byte that is looked for, and maybe what follows it: how many bytes are clean. Reads and writes n bytes at most. */
SCAN_INLINE size_t scan_copy(uint8_t *p, const uint8_t *s, size_t n, enum scan_for what)
{
    size_t i = 0;
    for (; n > 16 + i; i += 16) {
        unsigned marks = scan_sixteen(s + i, what);
        memcpy(p + i, s + i, 16);
        if (marks)
            return i + (size_t)__builtin_ctz(marks);
    }
    if (n >= 16) { /* the last one overlaps what is known as clean */
        unsigned marks = scan_sixteen(s + n - 16, what);
        memcpy(p + n - 16, s + n - 16, 16);
        return marks ? n - 16 + (size_t)__builtin_ctz(marks) : n;
    }
    if (n >= 8)
        return scan_copy_eight(p, s, n, what);
    if (n >= 4)
        return scan_copy_four(p, s, n, what);
    for (; i < n; i++) {
        p[i] = s[i];
        if (scan_eight(s[i] | SCAN_ONES * 'x' << 8, what))
            return i;
    }
    return n;
}

/* n <= 12 bytes of a string that lies inside its descriptor, where 12 may be read whatever n is, and the 4 in front. Writes 16. False: there is
 * something to escape. */
SCAN_INLINE int scan_copy_inlined(uint8_t *p, const uint8_t *s, size_t n, enum scan_for what)
{
#ifdef __SSE2__
    __m128i x = _mm_srli_si128(_mm_loadu_si128((const __m128i *)(const void *)(s - 4)), 4);
    _mm_storeu_si128((__m128i *)(void *)p, x);
    return (scan_vector(x, what) & ((1u << n) - 1)) == 0;
#else
    uint64_t a, b = 0;
    memcpy(&a, s, 8);
    memcpy(&b, s + 8, 4);
    memcpy(p, &a, 8);
    memcpy(p + 8, &b, 8);
    if (n < 8)
        return (scan_eight(a, what) & ((1ULL << 8 * n) - 1)) == 0;
    return (scan_eight(a, what) | (scan_eight(b, what) & ((1ULL << 8 * (n - 8)) - 1))) == 0;
#endif
}
