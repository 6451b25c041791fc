/* The table of `bulkhead query`: what people see of a result, whatever is in it and however it is cut into pieces. And the numbers of the
 * formats, which the command line must share with the worker without seeing its header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/filter.h"
#include "cli/json_rows.h"
#include "cli/query_args.h"
#include "cli/screen.h"
#include "cli/table.h"
#include "core/errors.h"
#include "result/encoder.h"

#define HEAD(columns) "{\"query_id\":\"q\",\"columns\":[" columns "],\"data\":["
#define TAIL "],\"rows\":1,\"truncated\":false,\"stats\":{}}\n"
#define COLUMN(name, type) "{\"name\":\"" name "\",\"type\":\"" type "\"}"

static void drain(struct filter *f, struct buf *all)
{
    for (;;) {
        f->more(f);
        if (f->out.len == 0)
            return;
        assert_true(buf_append(all, f->out.data, f->out.len));
        f->out.len = 0;
    }
}

/* The table of a result that comes in pieces of this size; NULL when it was refused. The caller frees. */
static char *table_in_pieces(const char *json, size_t piece, uint64_t rows, unsigned columns)
{
    struct filter *f = filter_table_new(columns);
    struct buf all = BUF_INIT((size_t)64 << 20);
    int ok = 0;
    for (size_t at = 0, len = strlen(json); ok == 0 && at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        ok = f->feed(f, json + at, n, at + n == len) == (ssize_t)n ? 0 : -1;
        drain(f, &all);
    }
    ok = ok == 0 ? f->end(f, rows, false) : -1;
    if (ok == 0)
        drain(f, &all);
    assert_true(buf_append(&all, "", 1));
    filter_free(f);
    if (ok < 0)
        buf_free(&all);
    return all.data;
}

static void assert_table(const char *json, uint64_t rows, unsigned columns, const char *expected)
{
    static const size_t pieces[] = {1, 7, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        char *shown = table_in_pieces(json, pieces[i], rows, columns);
        assert_non_null(shown);
        assert_string_equal(shown, expected);
        free(shown);
    }
}

static void test_numbers_stand_right_and_null_is_named(void **state)
{
    (void)state;
    assert_table(HEAD(COLUMN("id", "BIGINT") "," COLUMN("name", "VARCHAR") "," COLUMN(
                     "d", "DECIMAL(9,2)")) "[1,\"a\",1.5],[200,null,\"NaN\"],[null,\"\",-0.25]" TAIL,
                 3, 0,
                 "   id | name |     d\n"
                 "------+------+-------\n"
                 "    1 | a    |   1.5\n"
                 "  200 | NULL |   NaN\n"
                 " NULL |      | -0.25\n"
                 "(3 rows)\n");
}

static void test_nested_values_and_escapes_are_told_apart_from_structure(void **state)
{
    (void)state;
    assert_table(HEAD(COLUMN("a\\\"data\\\":[", "INTEGER[]") "," COLUMN(
                     "b", "VARCHAR")) "[[1,[2,\"],[\"]],\"\\u00e9\\ud83d\\ude00\\\"\\\\ ],[\"],[{\"k\":\"\\\"}\"},\"\\ud83d!\"]" TAIL,
                 2, 0,
                 " a\"data\":[     | b\n"
                 "---------------+-----------\n"
                 " [1,[2,\"],[\"]] | \xC3\xA9\xF0\x9F\x98\x80\"\\ ],[\n"
                 " {\"k\":\"\\\"}\"}   | \xEF\xBF\xBD!\n"
                 "(2 rows)\n");
}

static void test_nothing_in_a_cell_steers_the_terminal(void **state)
{
    (void)state;
    assert_table(HEAD(COLUMN("v\\u001b[1m", "VARCHAR")) "[\"\\u001B[31m\\u0007\\u0000\\t\\r\x7F\xC2\x9B\xE2\x80\xAE.\"]" TAIL, 1, 0,
                 " v\\u001b[1m\n"
                 "-----------------------------------------------\n"
                 " \\u001b[31m\\u0007\\u0000\\t\\r\\u007f\\u009b\\u202e.\n"
                 "(1 row)\n");
}

static void test_lines_of_a_cell_continue_below(void **state)
{
    (void)state;
    assert_table(HEAD(COLUMN("k", "VARCHAR") "," COLUMN("v", "VARCHAR")) "[\"one\\ntwo\",\"x\\r\\nyy\\nz\"],[\"a\",\"b\"]" TAIL, 2, 0,
                 " k   | v\n"
                 "-----+----\n"
                 " one+| x +\n"
                 " two | yy+\n"
                 "     | z\n"
                 " a   | b\n"
                 "(2 rows)\n");
}

static void test_wide_values_are_cut_to_the_terminal(void **state)
{
    (void)state;
    assert_table(HEAD(COLUMN("n", "BIGINT") "," COLUMN(
                     "v", "VARCHAR")) "[1,\"\xE4\xB8\x96\xE4\xB8\x96\xE4\xB8\x96\xE4\xB8\x96\xE4\xB8\x96\xE4\xB8\x96\"]" TAIL,
                 1, 14,
                 " n | v\n"
                 "---+----------\n"
                 " 1 | \xE4\xB8\x96\xE4\xB8\x96\xE4\xB8\x96\xE2\x80\xA6\n"
                 "(1 row)\n");
    assert_table(HEAD(COLUMN("aaaaaaaaaa", "VARCHAR") "," COLUMN("b", "VARCHAR") "," COLUMN("cccccccccc", "VARCHAR")) "[\"x\",\"y\",\"z\"]" TAIL, 1,
                 15,
                 " aaaaaaaa\xE2\x80\xA6 | b\n"
                 "-----------+---\n"
                 " x         | y\n"
                 "(1 row, 2 of 3 columns shown)\n");
}

static void test_beyond_the_limit_rows_are_counted_only(void **state)
{
    (void)state;
    struct buf json = BUF_INIT((size_t)64 << 20);
    assert_true(buf_puts(&json, HEAD(COLUMN("i", "BIGINT"))));
    for (unsigned i = 0; i < TABLE_ROWS_MAX + 10; i++)
        assert_true(buf_printf(&json, "%s[%u]", i ? "," : "", i));
    assert_true(buf_puts(&json, TAIL) && buf_append(&json, "", 1));
    char *shown = table_in_pieces(json.data, 65536, TABLE_ROWS_MAX + 10, 80);
    assert_non_null(shown);
    assert_non_null(strstr(shown, " 4999\n(5010 rows, the first 5000 shown, 10 more; "));
    free(shown);
    buf_free(&json);
}

static void test_one_endless_value_is_cut_and_memory_stays(void **state)
{
    (void)state;
    struct buf json = BUF_INIT((size_t)64 << 20);
    size_t huge = 8u << 20;
    assert_true(buf_puts(&json, HEAD(COLUMN("v", "VARCHAR")) "[\"") && buf_reserve(&json, huge));
    memset(json.data + json.len, 'x', huge);
    json.len += huge;
    assert_true(buf_puts(&json, "\"]" TAIL) && buf_append(&json, "", 1));
    char *shown = table_in_pieces(json.data, 65536, 1, 0);
    assert_non_null(shown);
    assert_true(strlen(shown) < 3 * TABLE_CELL_COLUMNS);
    assert_non_null(strstr(shown, "x\xE2\x80\xA6\n(1 row)\n"));
    free(shown);
    buf_free(&json);
}

static void test_what_is_no_result_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "}",
                                      "[]",
                                      "{\"columns\":[],\"data\":[",
                                      HEAD("") TAIL,
                                      HEAD("1") "[1]" TAIL,
                                      HEAD(COLUMN("a", "INTEGER")) "[1,2]" TAIL,
                                      HEAD(COLUMN("a", "INTEGER")) "[]" TAIL,
                                      HEAD(COLUMN("a", "INTEGER")) "[1",
                                      HEAD(COLUMN("a", "INTEGER")) "1" TAIL,
                                      HEAD(COLUMN("a", "INTEGER")) "[\"\\q\"]" TAIL,
                                      HEAD(COLUMN("a", "INTEGER")) "[\"\\u12x4\"]" TAIL,
                                      HEAD(COLUMN("a", "INTEGER")) "[1]],]" TAIL "x",
                                      HEAD(COLUMN("a", "INTEGER")) "[}]" TAIL};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *shown = table_in_pieces(bad[i], 3, i == 12 ? 2 : 1, 0);
        if (shown)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void test_text_on_a_terminal_is_escaped_across_pieces(void **state)
{
    (void)state;
    static const char text[] = "a,\x1B[0m\r\n\xC3\xA9\tb\rc\xC2\x85\xFF\xE2\x82\n";
    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct filter *f = filter_terminal_new();
        for (size_t at = 0, end = piece; at < sizeof text - 1; end += piece) {
            bool last = end >= sizeof text - 1;
            ssize_t n = f->feed(f, text + at, (last ? sizeof text - 1 : end) - at, last);
            assert_true(n >= 0);
            at += (size_t)n;
        }
        assert_true(buf_append(&f->out, "", 1));
        assert_string_equal(f->out.data, "a,\\u001b[0m\n\xC3\xA9\tb\\rc\\u0085\\xff\\xe2\\x82\n");
        filter_free(f);
    }
}

static void test_messages_become_one_line(void **state)
{
    (void)state;
    struct buf b = BUF_INIT((size_t)1000);
    static const char text[] = "a  \n\n  b\x1B\r\nc d\n";
    assert_true(screen_append(&b, text, sizeof text - 1, SCREEN_ONE_LINE) && buf_append(&b, "", 1));
    assert_string_equal(b.data, "a b\\u001b c d");
    buf_free(&b);
}

static void test_formats_have_the_workers_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t wire;
    } expected[] = {{"table", FORMAT_JSON}, {"json", FORMAT_JSON}, {"csv", FORMAT_CSV}};
    size_t count;
    const struct query_format *formats = query_formats(&count);
    for (size_t k = 0; k < sizeof expected / sizeof expected[0]; k++)
        for (size_t i = 0; i < count; i++)
            if (strcmp(formats[i].name, expected[k].name) == 0)
                assert_int_equal(formats[i].wire, expected[k].wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_stand_right_and_null_is_named),
        cmocka_unit_test(test_nested_values_and_escapes_are_told_apart_from_structure),
        cmocka_unit_test(test_nothing_in_a_cell_steers_the_terminal),
        cmocka_unit_test(test_lines_of_a_cell_continue_below),
        cmocka_unit_test(test_wide_values_are_cut_to_the_terminal),
        cmocka_unit_test(test_beyond_the_limit_rows_are_counted_only),
        cmocka_unit_test(test_one_endless_value_is_cut_and_memory_stays),
        cmocka_unit_test(test_what_is_no_result_is_refused),
        cmocka_unit_test(test_text_on_a_terminal_is_escaped_across_pieces),
        cmocka_unit_test(test_messages_become_one_line),
        cmocka_unit_test(test_formats_have_the_workers_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
