/* JSON and NDJSON of columns made by hand: keys, big numbers, rows without columns. Values against the engine are in test_columns.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "result/encoder.h"
#include "result/names.h"
#include "test_encode_sink.h"

#include <stdio.h>

static char *encode(const struct encoder_options *options, const struct column *columns, uint32_t count, uint64_t rows, size_t window)
{
    struct test_sink t;
    test_sink_init(&t, window);
    struct encoder *e = encoder_new(options, columns, count);
    assert_non_null(e);
    assert_int_equal(encoder_begin(e, &t.sink, &(struct result_head){"q"}), 0);
    assert_int_equal(encoder_rows(e, &t.sink, columns, rows), 0);
    assert_int_equal(encoder_end(e, &t.sink, &(struct result_tail){.rows = rows}), 0);
    encoder_free(e);
    return test_sink_finish(&t, NULL);
}

static void assert_lines(const struct column *columns, uint32_t count, uint64_t rows, const char *want)
{
    for (size_t i = 0; i < TEST_SINK_WINDOWS; i++) {
        char *got = encode(&(struct encoder_options){FORMAT_NDJSON}, columns, count, rows, test_sink_windows[i]);
        assert_string_equal(got, want);
        free(got);
    }
}

static void lines_have_the_names_as_keys(void **state)
{
    (void)state;
    int32_t a[] = {1, 2};
    uint64_t valid = 2;
    struct column c[] = {{.type = COL_INTEGER, .name = "a", .data = a, .validity = &valid}, {.type = COL_INTEGER, .name = "say \"hi\"\n", .data = a}};
    assert_lines(c, 2, 2, "{\"a\":null,\"say \\\"hi\\\"\\n\":1}\n{\"a\":2,\"say \\\"hi\\\"\\n\":2}\n");
}

static void lines_without_rows_or_columns(void **state)
{
    (void)state;
    int32_t a[] = {1};
    struct column c[] = {{.type = COL_INTEGER, .name = "a", .data = a}};
    assert_lines(c, 1, 0, "");
    assert_lines(c, 0, 3, "{}\n{}\n{}\n");
}

static void repeated_names_become_different_keys(void **state)
{
    (void)state;
    int32_t a[] = {1};
    static const char *const names[] = {"a", "a", "A", "a_1", "b", ""};
    struct column c[6];
    for (int i = 0; i < 6; i++)
        c[i] = (struct column){.type = COL_INTEGER, .name = names[i], .data = a};
    assert_lines(c, 6, 1, "{\"a\":1,\"a_1\":1,\"A_2\":1,\"a_1_1\":1,\"b\":1,\"\":1}\n");
    char **unique = names_unique(c, 6);
    assert_string_equal(unique[3], "a_1_1");
    names_free(unique, 6);
    names_free(NULL, 0);
}

/* Around every bound: of a key copied in blocks, of a shared reserve, of a window. */
static void keys_of_every_length(void **state)
{
    (void)state;
    int32_t a[] = {7};
    for (size_t n = 1; n < 200000; n = n < 100 ? n + 1 : n * 5 / 3) {
        char *name = malloc(n + 1), *want;
        memset(name, 'k', n);
        name[n] = 0;
        struct column c[] = {{.type = COL_INTEGER, .name = "x", .data = a},
                             {.type = COL_INTEGER, .name = name, .data = a},
                             {.type = COL_INTEGER, .name = "y", .data = a}};
        assert_true(asprintf(&want, "{\"x\":7,\"%s\":7,\"y\":7}\n", name) > 0);
        assert_lines(c, 3, 1, want);
        free(want);
        free(name);
    }
}

static void many_columns_in_one_line(void **state)
{
    (void)state;
    enum { N = 3000 };
    static struct column c[N];
    static char names[N][24];
    int32_t a[] = {1};
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "a_rather_long_name_%d", i);
        c[i] = (struct column){.type = COL_INTEGER, .name = names[i], .data = a};
    }
    char *got = encode(&(struct encoder_options){FORMAT_NDJSON}, c, N, 1, 0), want[48];
    size_t at = 0;
    for (int i = 0; i < N; i++) {
        size_t n = (size_t)snprintf(want, sizeof want, "%c\"%s\":1", i ? ',' : '{', names[i]);
        assert_memory_equal(got + at, want, n);
        at += n;
    }
    assert_string_equal(got + at, "}\n");
    free(got);
}

static void big_numbers_are_text_when_asked(void **state)
{
    (void)state;
    int64_t b[] = {9007199254740991, 9007199254740992, -9007199254740991, -9007199254740992, INT64_MIN, 0};
    uint64_t u[] = {9007199254740991, 9007199254740992, UINT64_MAX, 0, 1, 2};
    int32_t d[] = {110, -5, 0, 99999, -99999, 1}; /* DECIMAL(5,2) */
    __int128 h[] = {1, -1, 0, (__int128)1 << 100, 2, 3};
    struct column list = {.type = COL_BIGINT, .name = "", .data = b};
    struct column_list l[] = {{0, 2}, {2, 2}, {4, 2}, {0, 0}, {1, 1}, {0, 1}};
    struct column c[] = {{.type = COL_BIGINT, .name = "b", .data = b},
                         {.type = COL_UBIGINT, .name = "u", .data = u},
                         {.type = COL_DECIMAL, .name = "d", .data = d, .width = 5, .scale = 2, .storage_bytes = 4},
                         {.type = COL_HUGEINT, .name = "h", .data = h},
                         {.type = COL_LIST, .name = "l", .data = l, .children = &list, .child_count = 1}};
    char *got = encode(&(struct encoder_options){FORMAT_NDJSON, .big_numbers_as_text = true}, c, 5, 6, 65536);
    assert_string_equal(
        got, "{\"b\":9007199254740991,\"u\":9007199254740991,\"d\":\"1.10\",\"h\":\"1\",\"l\":[9007199254740991,\"9007199254740992\"]}\n"
             "{\"b\":\"9007199254740992\",\"u\":\"9007199254740992\",\"d\":\"-0.05\",\"h\":\"-1\",\"l\":[-9007199254740991,\"-9007199254740992\"]}\n"
             "{\"b\":-9007199254740991,\"u\":\"18446744073709551615\",\"d\":\"0.00\",\"h\":\"0\",\"l\":[\"-9223372036854775808\",0]}\n"
             "{\"b\":\"-9007199254740992\",\"u\":0,\"d\":\"999.99\",\"h\":\"1267650600228229401496703205376\",\"l\":[]}\n"
             "{\"b\":\"-9223372036854775808\",\"u\":1,\"d\":\"-999.99\",\"h\":\"2\",\"l\":[\"9007199254740992\"]}\n"
             "{\"b\":0,\"u\":2,\"d\":\"0.01\",\"h\":\"3\",\"l\":[9007199254740991]}\n");
    free(got);
    got = encode(&(struct encoder_options){FORMAT_NDJSON}, &c[4], 1, 1, 65536);
    assert_string_equal(got, "{\"l\":[9007199254740991,9007199254740992]}\n");
    free(got);
}

static void a_sink_that_says_stop_ends_the_line(void **state)
{
    (void)state;
    int32_t a[] = {1, 2, 3};
    struct column c[] = {{.type = COL_INTEGER, .name = "a", .data = a}, {.type = COL_INTEGER, .name = "b", .data = a}};
    struct encoder *e = encoder_new(&(struct encoder_options){FORMAT_NDJSON}, c, 2);
    for (long stop = 0; stop < 3; stop++) {
        struct test_sink t;
        test_sink_init(&t, 0);
        t.stop_after = stop;
        assert_int_equal(encoder_rows(e, &t.sink, c, 3), -1);
        free(test_sink_finish(&t, NULL));
    }
    encoder_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_have_the_names_as_keys),
        cmocka_unit_test(lines_without_rows_or_columns),
        cmocka_unit_test(repeated_names_become_different_keys),
        cmocka_unit_test(keys_of_every_length),
        cmocka_unit_test(many_columns_in_one_line),
        cmocka_unit_test(big_numbers_are_text_when_asked),
        cmocka_unit_test(a_sink_that_says_stop_ends_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
