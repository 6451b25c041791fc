/* The engine's messages as errors: what must not reach a client is replaced, however much of it there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <duckdb.h>
#include <stdio.h>
#include <string.h>

#include "engine/failure.h"

#define SECRETS (16 * 3) /* of the most sources that one worker may have */

static void every_secret_of_every_source_is_hidden(void **state)
{
    (void)state;
    static struct failure_hide h;
    char text[4096], path[64];
    for (int i = 0; i < 64; i++) {
        snprintf(path, sizeof path, "/nowhere/extension%d", i);
        failure_hide_path(&h, path, "<x>");
    }
    for (int i = 0; i < SECRETS; i++) {
        snprintf(text, sizeof text, "s3'cr\"et\\%d", i);
        failure_hide_secret(&h, text);
    }
    for (int i = 0; i < SECRETS; i++) {
        snprintf(text, sizeof text, "a: s3'cr\"et\\%d b: s3\\'cr\"et\\\\%d c: s3''cr\"et\\%d d: s3'cr\"\"et\\%d.", i, i, i, i);
        failure_scrub(text, sizeof text, &h);
        assert_string_equal(text, "a: *** b: *** c: *** d: ***.");
    }
    failure_hide_free(&h);
}

static void an_error_inside_of_another_is_the_one_that_counts(void **state)
{
    (void)state;
    const struct failure_context ctx = {.memory_limit_bytes = 1000, .sql_len = 100};
    struct error err;
#define LATE "Attempting to execute an unsuccessful or closed pending query result\nError: "
    assert_false(failure_from_message(
        &err, "Invalid Input Error: " LATE "{\"exception_type\":\"Conversion\",\"exception_message\":\"no number\",\"position\":\"7\"}",
        DUCKDB_ERROR_INVALID_INPUT, &ctx));
    assert_int_equal(err.code, ERR_SQL);
    assert_string_equal(err.detail, "Conversion Error: no number");
    assert_int_equal(err.position, 8);
    assert_true(failure_from_message(&err,
                                     "{\"exception_type\":\"Invalid Input\",\"exception_message\":\""
                                     "Attempting to execute an unsuccessful or closed pending query "
                                     "result\\nError: Out of Memory Error: no more\"}",
                                     DUCKDB_ERROR_INVALID_INPUT, &ctx));
    assert_int_equal(err.code, ERR_OUT_OF_MEMORY);
    assert_string_equal(err.detail, "no more");
}

static void bytes_that_are_no_text_do_not_hide_what_is_one(void **state)
{
    (void)state;
    static struct failure_hide h;
    failure_hide_noise(&h, " at \"options='-c x'\"");
    const struct failure_context ctx = {.hide = &h};
    struct error err;
    failure_from_message(
        &err, "{\"exception_type\":\"IO\",\"exception_message\":\"Unable at \\\"options='-c x'\\\": \xc3\xa4 \xff\xe2\x82 \xf0\x9f\x98\x80\xc3\"}", 0,
        &ctx);
    assert_string_equal(err.detail, "IO Error: Unable: \xc3\xa4 ??? \xf0\x9f\x98\x80?");
    failure_hide_free(&h);
}

static void advice_for_the_engines_developers_is_left_out(void **state)
{
    (void)state;
    const struct failure_context ctx = {0};
    struct error err;
    assert_true(failure_from_message(
        &err, "INTERNAL Error: no default database\nThis error signals an assertion failure within DuckDB. This usually\n\nStack Trace:\n0", 0,
        &ctx));
    assert_string_equal(err.detail, "engine internal error: no default database");
}

static void out_of_memory_tells_whose_limit_it_was(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        int64_t data_limit_bytes, limit_bytes;
        bool kernel;
    } rows[] = {
        {"Out of Memory Error: could not allocate block of size 1 MiB (9 MiB/9 MiB used)", 2000, 1000, false},
        {"Out of Memory Error: Failed to allocate block of 4096 bytes (bad allocation)", 2000, 2000, true},
        {"Out of Memory Error: Allocation failure", 2000, 2000, true},
        {"{\"exception_type\":\"Out of Memory\",\"exception_message\":\"Allocation failure\"}", 2000, 2000, true},
        {"Out of Memory Error: Allocation failure", 0, 1000, false}, /* a control group kills: nothing was refused by the kernel */
        {"INTERNAL Error: std::bad_alloc", 2000, 2000, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct failure_context ctx = {.memory_limit_bytes = 1000, .data_limit_bytes = rows[i].data_limit_bytes};
        struct error err;
        assert_true(failure_from_message(&err, rows[i].message, 0, &ctx));
        assert_int_equal(err.code, ERR_OUT_OF_MEMORY);
        assert_int_equal(err.limit_bytes, rows[i].limit_bytes);
        assert_int_equal(err.stopped_by == STOP_KILL, rows[i].kernel);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_secret_of_every_source_is_hidden), cmocka_unit_test(an_error_inside_of_another_is_the_one_that_counts),
        cmocka_unit_test(bytes_that_are_no_text_do_not_hide_what_is_one), cmocka_unit_test(advice_for_the_engines_developers_is_left_out),
        cmocka_unit_test(out_of_memory_tells_whose_limit_it_was)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
