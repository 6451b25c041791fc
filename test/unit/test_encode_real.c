/* Floating point numbers as text (src/result/real.c): they read back as the same number, no shorter text does, and the table of powers of
 * ten is what it says. The layouts against the engine's own: test_columns.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "result/number.h"
#include "result/real.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table, by plain long arithmetic ---- */

#define LIMBS 40 /* of 32 bits: 10^324 has 1077 bits, and its double one more */

struct big {
    uint32_t limb[LIMBS]; /* least significant first */
};

static struct big big_pow10(int n)
{
    struct big b = {{1}};
    for (int i = 0; i < n; i++) {
        uint64_t carry = 0;
        for (int k = 0; k < LIMBS; k++) {
            carry += (uint64_t)b.limb[k] * 10;
            b.limb[k] = (uint32_t)carry;
            carry >>= 32;
        }
        assert_int_equal(carry, 0);
    }
    return b;
}

static int big_bits(const struct big *b)
{
    for (int k = LIMBS - 1; k >= 0; k--)
        if (b->limb[k])
            return k * 32 + 32 - __builtin_clz(b->limb[k]);
    return 0;
}

static bool big_bit(const struct big *b, int at) { return at >= 0 && b->limb[at / 32] >> at % 32 & 1; }

static int big_compare(const struct big *a, const struct big *b)
{
    for (int k = LIMBS - 1; k >= 0; k--)
        if (a->limb[k] != b->limb[k])
            return a->limb[k] < b->limb[k] ? -1 : 1;
    return 0;
}

static void big_subtract(struct big *a, const struct big *b)
{
    int64_t borrow = 0;
    for (int k = 0; k < LIMBS; k++) {
        borrow += (int64_t)a->limb[k] - b->limb[k];
        a->limb[k] = (uint32_t)borrow;
        borrow >>= 32;
    }
}

static void big_double(struct big *b)
{
    for (int k = LIMBS - 1; k > 0; k--)
        b->limb[k] = b->limb[k] << 1 | b->limb[k - 1] >> 31;
    b->limb[0] <<= 1;
}

static bool big_is_zero(const struct big *b) { return big_bits(b) == 0; }

/* The top 128 bits of 10^n, rounded up. */
static u128 expected_positive(int n)
{
    struct big b = big_pow10(n);
    int bits = big_bits(&b);
    u128 top = 0;
    bool rest = false;
    for (int i = 0; i < 128; i++)
        top = top << 1 | big_bit(&b, bits - 1 - i);
    for (int i = bits - 129; i >= 0 && !rest; i--)
        rest = big_bit(&b, i);
    return top + rest;
}

/* The first 128 bits of 1 / 10^n, rounded up. */
static u128 expected_negative(int n)
{
    struct big divisor = big_pow10(n), rest = {{0}};
    int bits = big_bits(&divisor);
    rest.limb[bits / 32] = 1u << bits % 32; /* the first power of two above: the quotient begins with a 1 */
    u128 quotient = 0;
    for (int i = 0; i < 128; i++) {
        bool one = big_compare(&rest, &divisor) >= 0;
        if (one)
            big_subtract(&rest, &divisor);
        quotient = quotient << 1 | one;
        big_double(&rest);
    }
    return quotient + !big_is_zero(&rest);
}

static void the_powers_of_ten_are_right(void **state)
{
    (void)state;
    for (int e = REAL_POW10_MIN; e <= REAL_POW10_MAX; e++) {
        struct real_pow10 p = real_pow10[e - REAL_POW10_MIN];
        u128 want = e >= 0 ? expected_positive(e) : expected_negative(-e);
        if (p.high != (uint64_t)(want >> 64) || p.low != (uint64_t)want)
            fail_msg("10^%d is %016lx %016lx, not %016lx %016lx", e, (unsigned long)(want >> 64), (unsigned long)want, (unsigned long)p.high,
                     (unsigned long)p.low);
    }
}

/* ---- texts ---- */

static const char *text_of(double v, enum real_layout layout)
{
    static char text[REAL_TEXT_MAX + 1];
    uint8_t *end = real_put_double((uint8_t *)text, v, layout);
    assert_in_range(end - (uint8_t *)text, 1, REAL_TEXT_MAX);
    *end = 0;
    return text;
}

static const char *text_of_float(float v)
{
    static char text[REAL_TEXT_MAX + 1];
    uint8_t *end = real_put_float((uint8_t *)text, v, REAL_VARCHAR);
    assert_in_range(end - (uint8_t *)text, 1, REAL_TEXT_MAX);
    *end = 0;
    return text;
}

static uint64_t bits_of(double v)
{
    uint64_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}

static double of_bits(uint64_t b)
{
    double v;
    memcpy(&v, &b, sizeof v);
    return v;
}

static unsigned digits_in(struct real_decimal d) { return number_digits(d.digits); }

/* Reads back as itself in both layouts, and no text of fewer digits does. */
static void check_double(double v)
{
    for (int layout = REAL_JSON; layout <= REAL_VARCHAR; layout++) {
        const char *text = text_of(v, (enum real_layout)layout);
        if (bits_of(strtod(text, NULL)) != bits_of(v))
            fail_msg("%a is written as %s", v, text);
    }
    double a = v < 0 ? -v : v;
    if (a == 0)
        return;
    unsigned n = digits_in(real_shortest_double(a));
    assert_in_range(n, 1, 17);
    char other[64];
    /* The nearest number of one digit less. (At a power of two the nearest may miss the narrow side and a farther one hit the wide side.) */
    bool power_of_two = (bits_of(a) & ((1ULL << 52) - 1)) == 0;
    snprintf(other, sizeof other, "%.*e", (int)n - 2, a);
    if (n > 1 && !power_of_two && strtod(other, NULL) == a)
        fail_msg("%a is written as %s, and %s is shorter", v, text_of(v, REAL_VARCHAR), other);
}

static void check_float(float v)
{
    const char *text = text_of_float(v);
    uint32_t a, b;
    float back = strtof(text, NULL);
    memcpy(&a, &v, sizeof a);
    memcpy(&b, &back, sizeof b);
    if (a != b)
        fail_msg("%a is written as %s", (double)v, text);
}

/* A fixed sequence: a failure comes again. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void random_bits_read_back_as_the_same_number(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 300000; i++) {
        double v = of_bits(next_random(&seed));
        if (__builtin_isfinite(v))
            check_double(v);
        float f = (float)(int64_t)next_random(&seed);
        uint32_t fb = (uint32_t)next_random(&seed);
        check_float(f);
        memcpy(&f, &fb, sizeof f);
        if (__builtin_isfinite(f))
            check_float(f);
    }
}

static void edges_read_back_as_the_same_number(void **state)
{
    (void)state;
    for (int e = -1074; e <= 1023; e++) /* every power of two, and its neighbours; 2^91 is one that the engine itself writes as another number */
        for (int d = e < -1072 ? 0 : -2; d <= 2; d++)
            check_double(of_bits(bits_of(__builtin_ldexp(1, e)) + (uint64_t)(int64_t)d));
    for (int e = -149; e <= 127; e++)
        check_float((float)__builtin_ldexp(1, e));
    for (int e = -323; e <= 308; e++) {
        char text[16];
        snprintf(text, sizeof text, "1e%d", e);
        double v = strtod(text, NULL);
        check_double(v);
        check_double(of_bits(bits_of(v) + 1));
        check_double(of_bits(bits_of(v) - 1));
    }
    for (uint64_t b = 1; b < 2000; b++)
        check_double(of_bits(b)); /* the smallest numbers */
    check_double(of_bits(0x7fefffffffffffff));
    check_double(-0.0);
    check_double(9007199254740993.0);
}

static void the_layouts_are_those_of_the_header(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *json, *varchar;
    } rows[] = {
        {0, "0.0", "0.0"},
        {-0.0, "-0.0", "-0.0"},
        {1, "1.0", "1.0"},
        {-1.5, "-1.5", "-1.5"},
        {0.1, "0.1", "0.1"},
        {100000, "100000.0", "100000.0"},
        {0.0001, "0.0001", "0.0001"},
        {0.00001, "0.00001", "1e-05"},
        {0.000001, "0.000001", "1e-06"},
        {0.0000001, "1e-7", "1e-07"},
        {1e15, "1000000000000000.0", "1000000000000000.0"},
        {1e16, "10000000000000000.0", "1e+16"},
        {1e20, "100000000000000000000.0", "1e+20"},
        {1e21, "1e21", "1e+21"},
        {1.7976931348623157e308, "1.7976931348623157e308", "1.7976931348623157e+308"},
        {5e-324, "5e-324", "5e-324"},
        {0.3, "0.3", "0.3"},
        {2.0 / 3, "0.6666666666666666", "0.6666666666666666"},
        {123456789.125, "123456789.125", "123456789.125"},
        {2475880078570760549798248448.0, "2.4758800785707605e27", "2.4758800785707605e+27"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(text_of(rows[i].v, REAL_JSON), rows[i].json);
        assert_string_equal(text_of(rows[i].v, REAL_VARCHAR), rows[i].varchar);
    }
    assert_string_equal(text_of(__builtin_inf(), REAL_JSON), "\"Infinity\"");
    assert_string_equal(text_of(-__builtin_inf(), REAL_JSON), "\"-Infinity\"");
    assert_string_equal(text_of(__builtin_nan(""), REAL_JSON), "\"NaN\"");
    assert_string_equal(text_of(-__builtin_inf(), REAL_VARCHAR), "-inf");
    assert_string_equal(text_of_float(0.1f), "0.1");
    assert_string_equal(text_of_float(16777216.0f), "16777216.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_powers_of_ten_are_right),
        cmocka_unit_test(random_bits_read_back_as_the_same_number),
        cmocka_unit_test(edges_read_back_as_the_same_number),
        cmocka_unit_test(the_layouts_are_those_of_the_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
