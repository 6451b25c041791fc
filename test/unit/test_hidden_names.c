/* Names inside of the quotes of a text that the engine printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/hidden_names.h"

#include <stdio.h>
#include <string.h>

static void note(void *ctx, bool call, bool quoted, struct span name)
{
    char *all = ctx;
    size_t n = strlen(all);
    snprintf(all + n, 512 - n, "%s%s%.*s;", call ? "call " : "table ", quoted ? "quoted " : "", (int)name.len, name.at);
}

static void are_found(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"SELECT f(1) FROM t", ""},
        {"SELECT 'a', \"b\", 'from', 'it is from'", ""},
        {"SELECT ') AS x, (SELECT f(1) FROM t) AS y'", "call f;table t;"},
        {"SELECT 'FROM a.b.\"c d\" JOIN e'", "table a;table b;table quoted c d;table e;"},
        {"SELECT 'FROM \"x.csv\"'", "table quoted x.csv;"},
        {"SELECT \"g(1)\"", "call g;"},
        {"SELECT $$h(1)$$, E'\\'i(1)', $t$from j$t$", "call h;call i;table j;"},
        {"SELECT '\"k\"(1) system.main.l(2)'", "call quoted k;call l;"},
        {"SELECT '\"m(1)\"'", "call m;"},
        {"SELECT 'from", ""},
        {"SELECT 'n(", "call n;"},
        {"SELECT 'o (1)'", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char all[512] = "";
        assert_true(hidden_names(rows[i][0], strlen(rows[i][0]), note, all));
        assert_string_equal(all, rows[i][1]);
    }
}

static void comments_are_told(void **state)
{
    (void)state;
    static const char *const comments[] = {"SELECT 1 -- x", "SELECT /* f(1) */ 1", "--", "SELECT 1 /*", "SELECT 1 - --x\n 2"};
    static const char *const none[] = {"SELECT '--', \"/*\", 1 - -1, 4 / 2, 4 // 2", "SELECT a->b, a->>'c'", "SELECT - 1"};
    char all[512] = "";
    for (size_t i = 0; i < sizeof comments / sizeof *comments; i++)
        assert_false(hidden_names(comments[i], strlen(comments[i]), note, all));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_true(hidden_names(none[i], strlen(none[i]), note, all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(are_found), cmocka_unit_test(comments_are_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
