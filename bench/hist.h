/*
 * Buckets for a histogram of latencies: log-linear, so with a constant relative error and without keeping
 * every sample. Knows only numbers. Used by bench_load.
 */
#pragma once

#include <stdint.h>

#define HIST_BITS 8 /* 256 steps for each power of two: 0.4 % */
#define HIST_SIZE ((64 - HIST_BITS + 1) << HIST_BITS)

/* The bucket of a value; always below HIST_SIZE. */
static inline unsigned hist_index(uint64_t v)
{
    unsigned shift;

    if (v < 1u << HIST_BITS)
        return (unsigned)v;
    shift = 63u - (unsigned)__builtin_clzll(v) - HIST_BITS;
    return ((shift + 1) << HIST_BITS) + (unsigned)((v >> shift) - (1u << HIST_BITS));
}

/* The middle of a bucket, in the unit of the values. */
static inline double hist_value(unsigned i)
{
    unsigned shift = i >> HIST_BITS;

    if (shift == 0)
        return i;
    shift--;
    return ((double)((i & ((1u << HIST_BITS) - 1)) + (1u << HIST_BITS)) + 0.5) * (double)(1ull << shift);
}
