/* Floating point numbers as text: the shortest digits that read back as the same number, in the two layouts of the engine.
 * Knows nothing of columns. Runs in the worker. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum real_layout {
    REAL_JSON,   /* to_json: 0.00001, 1e-7, 100000000000000000000.0, 1e21; NaN and infinities as JSON strings */
    REAL_VARCHAR /* a cast to VARCHAR: 1e-05, 1000000000000000.0, 1e+16, nan, inf */
};

/* digits * 10^exponent, digits without trailing zeros unless 0. */
struct real_decimal {
    uint64_t digits;
    int exponent;
};

/* Of a finite number > 0. */
struct real_decimal real_shortest_double(double v);
struct real_decimal real_shortest_float(float v);

#define REAL_TEXT_MAX 40
/* Write at p (at most REAL_TEXT_MAX bytes) and return the end. */
uint8_t *real_put_double(uint8_t *p, double v, enum real_layout layout);
uint8_t *real_put_float(uint8_t *p, float v, enum real_layout layout);
/* The same layout for a number that is known as decimal; digits may have trailing zeros. */
uint8_t *real_put_decimal(uint8_t *p, bool negative, struct real_decimal d, enum real_layout layout);

/* 10^exponent, normalised so that the top bit of `high` is set; rounded up. exponent: REAL_POW10_MIN .. REAL_POW10_MAX */
#define REAL_POW10_MIN (-292)
#define REAL_POW10_MAX 324
struct real_pow10 {
    uint64_t high, low;
};
extern const struct real_pow10 real_pow10[REAL_POW10_MAX - REAL_POW10_MIN + 1];
