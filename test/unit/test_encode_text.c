/* The text under the encoders, byte by byte against a slow way of saying the same: digits, decimals, and escaping at every length and place. The scan
 * is here the portable one; the vectors' is reached through the encoders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#undef __SSE2__
#include "result/scan.h"

#include "result/encoder.h"
#include "result/number.h"
#include "test_encode_sink.h"

#include <inttypes.h>
#include <stdio.h>

#define LENGTH_MAX 70
static const char specials[] = {',', '"', '\n', '\r', '\\', 1, 0x1f};

static void four_and_eight_digits(void **state)
{
    (void)state;
    char want[16], got[16];
    for (uint32_t v = 0; v < 100000000; v += v < 20000 ? 1 : 9973) {
        uint64_t digits = number_eight_digits(v) | NUMBER_ASCII;
        snprintf(want, sizeof want, "%08" PRIu32, v);
        assert_memory_equal(&digits, want, 8);
        size_t n = (size_t)(number_put_small((uint8_t *)got, v) - (uint8_t *)got);
        snprintf(want, sizeof want, "%" PRIu32, v);
        assert_int_equal(n, strlen(want));
        assert_memory_equal(got, want, n);
    }
}

static size_t slow_decimal(char *out, int64_t v, unsigned scale, bool leading_zero)
{
    uint64_t abs = v < 0 ? -(uint64_t)v : (uint64_t)v, unit = 1;
    for (unsigned i = 0; i < scale; i++)
        unit *= 10;
    char whole[24] = "";
    if (abs / unit || leading_zero)
        snprintf(whole, sizeof whole, "%" PRIu64, abs / unit);
    return (size_t)sprintf(out, "%s%s.%0*" PRIu64, v < 0 ? "-" : "", whole, (int)scale, abs % unit);
}

static void check_decimal(int64_t v, unsigned scale)
{
    char want[64], got[64];
    for (int zero = 0; zero < 2; zero++) {
        size_t n = slow_decimal(want, v, scale, zero);
        memset(got, 'x', sizeof got);
        assert_int_equal(number_put_small_decimal((uint8_t *)got, v, scale, zero) - (uint8_t *)got, n);
        assert_memory_equal(got, want, n);
        assert_int_equal(got[30], 'x'); /* no more than is promised */
    }
    size_t n = slow_decimal(want, v, scale, true);
    while (want[n - 1] == '0' && want[n - 2] != '.')
        n--;
    assert_int_equal(number_put_short_decimal((uint8_t *)got, v, scale) - (uint8_t *)got, n);
    assert_memory_equal(got, want, n);
}

static void decimals_around_every_power(void **state)
{
    (void)state;
    for (unsigned scale = 1; scale <= 8; scale++) {
        int64_t power = 1;
        for (int i = 0; i <= 17; i++, power *= 10)
            for (int64_t factor = 1; factor <= 9; factor++)
                for (int64_t d = -2; d <= 2; d++) {
                    check_decimal(factor * power + d, scale);
                    check_decimal(-factor * power + d, scale);
                }
        check_decimal(INT64_MAX, scale);
        check_decimal(INT64_MIN, scale);
        for (int64_t v = 0; v < 200000; v++)
            check_decimal(v, scale);
    }
}

/* n bytes without anything to escape, but for a special one at `at` (n: none). The memory ends where the text does. */
static uint8_t *text_of(size_t n, size_t at, char special)
{
    uint8_t *s = malloc(n ? n : 1);
    assert_non_null(s);
    for (size_t i = 0; i < n; i++)
        s[i] = (uint8_t)(i % 3 == 2 ? 0xc3 : 'a' + i % 26);
    if (at < n)
        s[at] = (uint8_t)special;
    return s;
}

static bool is_looked_for(uint8_t c, enum scan_for what)
{
    switch (what) {
    case SCAN_JSON: return c < 0x20 || c == '"' || c == '\\';
    case SCAN_CSV: return c == ',' || c == '"' || c == '\n' || c == '\r';
    default: return c == '"';
    }
}

static void the_portable_scan_stops_where_it_must(void **state)
{
    (void)state;
    for (enum scan_for what = SCAN_JSON; what <= SCAN_QUOTE; what++)
        for (size_t n = 0; n <= LENGTH_MAX; n++)
            for (size_t at = 0; at <= n; at++)
                for (size_t k = 0; k < sizeof specials; k++) {
                    uint8_t *s = text_of(n, at, specials[k]), *copy = malloc(n ? n : 1);
                    size_t want = at < n && is_looked_for((uint8_t)specials[k], what) ? at : n;
                    assert_int_equal(scan_copy(copy, s, n, what), want);
                    if (want)
                        assert_memory_equal(copy, s, want);
                    if (n <= 12) {
                        uint8_t inside[16] = {0}, out[16];
                        memcpy(inside + 4, s, n);
                        memset(inside + 4 + n, '"', 12 - n); /* behind the end nothing counts */
                        assert_int_equal(scan_copy_inlined(out, inside + 4, n, what), want == n);
                    }
                    free(copy);
                    free(s);
                }
}

static size_t slow_csv(char *out, const uint8_t *s, size_t n)
{
    bool quoted = n == 0;
    char *p = out;
    for (size_t i = 0; i < n; i++)
        quoted = quoted || is_looked_for(s[i], SCAN_CSV);
    if (quoted)
        *p++ = '"';
    for (size_t i = 0; i < n; i++) {
        *p++ = (char)s[i];
        if (s[i] == '"')
            *p++ = '"';
    }
    if (quoted)
        *p++ = '"';
    return (size_t)(p - out);
}

static size_t slow_json(char *out, const uint8_t *s, size_t n)
{
    char *p = out;
    *p++ = '"';
    for (size_t i = 0; i < n; i++)
        if (s[i] == '\n' || s[i] == '\r')
            p += sprintf(p, "\\%c", s[i] == '\n' ? 'n' : 'r');
        else if (s[i] < 0x20)
            p += sprintf(p, "\\u%04X", s[i]);
        else {
            if (s[i] == '"' || s[i] == '\\')
                *p++ = '\\';
            *p++ = (char)s[i];
        }
    *p++ = '"';
    return (size_t)(p - out);
}

/* The rows of two columns, a string between two numbers, as the encoder writes them. */
static char *encode(enum result_format format, const uint8_t *s, size_t n, size_t window, size_t *ret_length)
{
    int64_t numbers[] = {7, -8};
    struct column_string string[2] = {{.length = (uint32_t)n}, {.length = 1, .inlined = "z"}};
    struct column c[] = {{.type = COL_BIGINT, .name = "a", .data = numbers}, {.type = COL_VARCHAR, .name = "s", .data = string}};
    if (n <= COLUMN_STRING_INLINE)
        memcpy(string[0].inlined, s, n);
    else
        string[0].pointer.data = (const char *)s;
    struct test_sink t;
    test_sink_init(&t, window);
    struct encoder *e = encoder_new(&(struct encoder_options){format}, c, 2);
    assert_non_null(e);
    assert_int_equal(encoder_rows(e, &t.sink, c, 2), 0);
    encoder_free(e);
    return test_sink_finish(&t, ret_length);
}

static void check_string(const uint8_t *s, size_t n)
{
    static const struct {
        enum result_format format;
        const char *before, *behind;
        size_t (*slow)(char *out, const uint8_t *s, size_t n);
    } forms[] = {{FORMAT_CSV, "7,", "\r\n-8,z\r\n", slow_csv},
                 {FORMAT_JSON, "[7,", "],[-8,\"z\"]", slow_json},
                 {FORMAT_NDJSON, "{\"a\":7,\"s\":", "}\n{\"a\":-8,\"s\":\"z\"}\n", slow_json}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        for (size_t w = 0; w < TEST_SINK_WINDOWS; w++) {
            char want[8 * LENGTH_MAX + 64];
            size_t length, at = (size_t)sprintf(want, "%s", forms[i].before);
            at += forms[i].slow(want + at, s, n);
            at += (size_t)sprintf(want + at, "%s", forms[i].behind);
            char *got = encode(forms[i].format, s, n, test_sink_windows[w], &length);
            assert_int_equal(length, at);
            assert_memory_equal(got, want, at);
            free(got);
        }
}

static void strings_of_every_length_with_something_everywhere(void **state)
{
    (void)state;
    for (size_t n = 0; n <= LENGTH_MAX; n++)
        for (size_t at = 0; at <= n; at++)
            for (size_t k = 0; k < sizeof specials; k++) {
                uint8_t *s = text_of(n, at, specials[k]);
                check_string(s, n);
                if (k == 1 && n > 0) { /* a quote at each end as well */
                    s[0] = s[n - 1] = '"';
                    check_string(s, n);
                }
                free(s);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_and_eight_digits),
        cmocka_unit_test(decimals_around_every_power),
        cmocka_unit_test(the_portable_scan_stops_where_it_must),
        cmocka_unit_test(strings_of_every_length_with_something_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
