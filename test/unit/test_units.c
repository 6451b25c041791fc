/* Durations and sizes: what is read, what is refused and why, and that what is written is read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/units.h"

typedef const char *parse_fn(const char *text, int64_t *ret);

struct good {
    const char *text;
    int64_t value;
};

struct bad {
    const char *text, *phrase; /* how the refusal begins */
};

static void expect(parse_fn *parse, const struct good *good, const struct bad *bad)
{
    for (; good->text; good++) {
        int64_t v = -7;
        const char *why = parse(good->text, &v);
        if (why || v != good->value)
            fail_msg("\"%s\" gives %lld, %s", good->text, (long long)v, why ? why : "accepted");
    }
    for (; bad->text; bad++) {
        int64_t v = -7;
        const char *why = parse(bad->text, &v);
        if (!why || strncmp(why, bad->phrase, strlen(bad->phrase)))
            fail_msg("\"%s\": %s", bad->text, why ? why : "accepted");
        assert_int_equal(v, -7);
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const struct good good[] = {
        {"250ms", 250},
        {"30s", 30000},
        {"15m", 900000},
        {"8h", 28800000},
        {"1d", 86400000},
        {"0", 0},
        {"0s", 0},
        {"000", 0},
        {"007s", 7000},
        {"9223372036854775807ms", INT64_MAX},
        {0},
    };
    static const struct bad bad[] = {
        {"", "is empty"},
        {"30", "has no unit"},
        {"-5s", "is negative"},
        {"-0", "is negative"},
        {"30 s", "does not end in a unit"},
        {" 30s", "is not a duration"},
        {"30s ", "does not end"},
        {"30S", "does not end"},
        {"30sec", "does not end"},
        {"1.5s", "does not end"},
        {"s", "is not a duration"},
        {"+5s", "is not a duration"},
        {"0x10s", "does not end"},
        {"1h30m", "does not end"},
        {"512MB", "does not end"},
        {"9223372036854775808ms", "is too large"},
        {"9223372036854775807s", "is too large"},
        {"99999999999999999999999999999d", "is too large"},
        {"auto", "is not a duration"},
        {0},
    };
    expect(units_parse_duration, good, bad);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct good good[] = {
        {"512MB", 512000000},
        {"2GB", 2000000000},
        {"64KB", 64000},
        {"1TB", 1000000000000},
        {"512MiB", 536870912},
        {"1GiB", 1073741824},
        {"64KiB", 65536},
        {"2TiB", 2199023255552},
        {"100B", 100},
        {"0", 0},
        {"0MB", 0},
        {0},
    };
    static const struct bad bad[] = {
        {"", "is empty"},
        {"512", "has no unit"},
        {"512mb", "does not end"},
        {"512M", "does not end"},
        {"-1MB", "is negative"},
        {"1.5GB", "does not end"},
        {"MB", "is not a size"},
        {"512MBx", "does not end"},
        {"512 MB", "does not end"},
        {"30s", "does not end"},
        {"10000000000TB", "is too large"},
        {"9223372036854775807KB", "is too large"},
        {"18446744073709551616B", "is too large"},
        {0},
    };
    expect(units_parse_size, good, bad);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct good good[] = {{"0", 0}, {"42", 42}, {"9223372036854775807", INT64_MAX}, {0}};
    static const struct bad bad[] = {
        {"", "is empty"},          {"-1", "is negative"},
        {"4s", "is not a whole"},  {"4.0", "is not a whole"},
        {"1e3", "is not a whole"}, {"9223372036854775808", "is too large"},
        {" 1", "is not a whole"},  {0},
    };
    expect(units_parse_int, good, bad);
}

static void test_exact_texts(void **state)
{
    (void)state;
    char out[UNITS_TEXT_MAX];
    static const struct good sizes[] = {
        {"512MB", 512000000},
        {"64KiB", 65536},
        {"1GiB", 1073741824},
        {"1000MiB", 1048576000},
        {"0", 0},
        {"1234567B", 1234567},
        {"2TB", 2000000000000},
        {"9223372036854775807B", INT64_MAX},
        {0},
    };
    for (const struct good *g = sizes; g->text; g++) {
        units_format_size(g->value, out);
        assert_string_equal(out, g->text);
    }
    static const struct good durations[] = {
        {"250ms", 250}, {"90s", 90000}, {"5m", 300000}, {"8h", 28800000}, {"2d", 172800000}, {"0", 0}, {0},
    };
    for (const struct good *g = durations; g->text; g++) {
        units_format_duration(g->value, out);
        assert_string_equal(out, g->text);
    }
}

static void test_written_is_read_back(void **state)
{
    (void)state;
    char out[UNITS_TEXT_MAX];
    uint64_t x = 88172645463325252ULL;
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        int64_t v = (int64_t)(x >> (1 + i % 62)), back = -1;
        units_format_size(v, out);
        assert_null(units_parse_size(out, &back));
        assert_true(back == v);
        units_format_duration(v, out);
        assert_null(units_parse_duration(out, &back));
        assert_true(back == v);
    }
}

static void test_sizes_for_people(void **state)
{
    (void)state;
    static const struct good rows[] = {
        {"0B", 0},
        {"999B", 999},
        {"64.0KB", 64000},
        {"128.0MB", 128000000},
        {"1073.7MB", 1073741824},
        {"16.1GB", 16106127360},
        {"-54.3MB", -54300000},
        {"9223372.0TB", INT64_MAX},
        {0},
    };
    char out[UNITS_TEXT_MAX];
    for (const struct good *g = rows; g->text; g++) {
        units_human_size(g->value, out);
        assert_string_equal(out, g->text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_exact_texts),
        cmocka_unit_test(test_written_is_read_back),
        cmocka_unit_test(test_sizes_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
