/* The scanner of JSON events: what it takes, what it refuses, escapes, depth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The events as a word each: "{k s ]" and so on. */
static const char *events(const char *text)
{
    static char out[256];
    struct json_scan s;
    enum scan_event e;
    size_t n = 0;
    json_scan_start(&s, text, strlen(text));
    do {
        e = json_scan_next(&s);
        out[n++] = "{}[]ksa.!D"[e];
    } while (e != SCAN_DONE && e != SCAN_BAD && e != SCAN_DEEP && n < sizeof out - 1);
    out[n] = 0;
    assert_int_equal(json_scan_next(&s), e); /* it stays with its last word */
    return out;
}

static void takes_what_the_engine_writes(void **state)
{
    (void)state;
    assert_string_equal(events("{}"), "{}.");
    assert_string_equal(events("[]"), "[].");
    assert_string_equal(events(" \"x\" "), "s.");
    assert_string_equal(events("-12.5e+3"), "a.");
    assert_string_equal(events("{\"a\":1,\"b\":[true,null,\"x\",{\"c\":false}]}"), "{kak[aas{ka}]}.");
    assert_string_equal(events("{ \"a\" : [ ] , \"b\" : Infinity , \"c\" : -Infinity , \"d\" : NaN }"), "{k[]kakaka}.");
    assert_string_equal(events("[18446744073709551615,170141183460469231731687303715884105727]"), "[aa].");
    assert_string_equal(events("\"a\\\"b\\\\\""), "s.");
}

static void refuses_what_is_no_json(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",     " ",     "{",     "[",     "}",     "]",   "{]",        "[}",         "{\"a\"}",  "{\"a\":}", "{\"a\":1,}",
        "[1,]", "[,1]",  "[1 2]", "{1:2}", "{a:1}", "\"x", "\"x\\",     "\"x\\\"",    "\"a\nb\"", "1 2",      "[] []",
        "nul",  "truth", "-",     "e",     "0x1",   "'x'", "{\"a\" 1}", "{\"a\"::1}", "inf",      "\x01",     "[1]]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *e = events(bad[i]);
        if (e[strlen(e) - 1] != '!')
            print_message("%s -> %s\n", bad[i], e);
        assert_int_equal(e[strlen(e) - 1], '!');
    }
}

static void has_a_depth_of_its_own(void **state)
{
    (void)state;
    char *text = malloc(2 * SCAN_DEPTH_MAX + 3);
    assert_non_null(text);
    for (size_t depth = SCAN_DEPTH_MAX; depth <= SCAN_DEPTH_MAX + 1; depth++) {
        struct json_scan s;
        enum scan_event e;
        size_t seen = 0;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        json_scan_start(&s, text, 2 * depth);
        while ((e = json_scan_next(&s)) == SCAN_ARRAY || e == SCAN_ARRAY_END)
            seen++;
        assert_int_equal(e, depth == SCAN_DEPTH_MAX ? SCAN_DONE : SCAN_DEEP);
        assert_int_equal(seen, depth == SCAN_DEPTH_MAX ? 2 * depth : depth - 1);
    }
    free(text);
}

static void resolves_escapes(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *text; /* NULL: broken */
        size_t len;
    } rows[] = {
        {"", "", 0},
        {"plain", "plain", 5},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", 8},
        {"\\u0041\\u00e9\\u20AC", "A\xC3\xA9\xE2\x82\xAC", 6},
        {"\\ud83d\\ude00", "\xF0\x9F\x98\x80", 4},
        {"a\\u0000b", "a\0b", 3},
        {"\\ud83d", NULL, 0},
        {"\\ud83dx", NULL, 0},
        {"\\ud83d\\u0041", NULL, 0},
        {"\\ude00", NULL, 0},
        {"\\u12", NULL, 0},
        {"\\u12g4", NULL, 0},
        {"\\x", NULL, 0},
        {"\\", NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = 99;
        char *text = span_text((struct span){rows[i].raw, strlen(rows[i].raw)}, &len);
        if (!rows[i].text) {
            assert_null(text);
            continue;
        }
        assert_non_null(text);
        assert_int_equal(len, rows[i].len);
        assert_memory_equal(text, rows[i].text, len + 1);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_the_engine_writes),
        cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test(has_a_depth_of_its_own),
        cmocka_unit_test(resolves_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
