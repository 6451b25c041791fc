/* Default arguments of macros, out of what the engine says to a call that fits none of their forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/macro_defaults.h"

#include <stdio.h>
#include <stdlib.h>

static const char *message(const char *name, const char *forms)
{
    static char text[2048];
    snprintf(text, sizeof text, "Macro %s() does not support the supplied arguments. You might need to add explicit type casts.\nCandidate macros:%s",
             name, forms);
    return text;
}

static void are_found(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"m", "\n\tm(a := 1)", "SELECT ( 1)"},
        {"m", "\n\tm(a, b := f(1, [2, {'x': 3}]), c)", "SELECT ( f(1, [2, {'x': 3}]))"},
        {"m", "\n\tm(a := 1, b := 2)\n\tm(x)\n\tm(c DECIMAL(18,3) := 3.5)", "SELECT ( 1), ( 2), ( 3.5)"},
        {"m", "\n\tm(a := 'x)\n\tm(b := ''', b := (SELECT count_star() FROM f()))", "SELECT ( 'x)\n\tm(b := '''), ( (SELECT count_star() FROM f()))"},
        {"m", "\n\tm(a := \"),\" + 1)", "SELECT ( \"),\" + 1)"},
        {"a b(", "\n\ta b((p := 1)", "SELECT ( 1)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(macro_defaults_any(message(rows[i][0], rows[i][1]), rows[i][0]));
        char *sql = macro_defaults_sql(message(rows[i][0], rows[i][1]), rows[i][0]);
        assert_non_null(sql);
        assert_string_equal(sql, rows[i][2]);
        free(sql);
    }
}

static void are_not_there(void **state)
{
    (void)state;
    assert_false(macro_defaults_any(message("m", "\n\tm(a, b VARCHAR)\n\tm()"), "m"));
    assert_true(macro_defaults_any("something else", "m"));
    assert_true(macro_defaults_any(message("other", "\n\tother(a)"), "m"));
}

/* What can't be read to its end is not read at all: the caller refuses it. */
static void are_all_read_or_none(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "",
        "m(a := 1)",
        "\n\tm",
        "\n\tm(",
        "\n\tm(a := 1",
        "\n\tm(a := (1)",
        "\n\tm(a := 1]",
        "\n\tm(a := 'x)",
        "\n\tm(a := 1 -- )\n)",
        "\n\tm(a := /* 1, b := 2 */ 3)",
        "\n\tm(a := 1)\n\tn(b := 2)",
        "\n\tm(a := 1) and more",
        "\n\tm(a(x := 1)",
        "\n\tm(a(b := 1))",
        "\n\tm(a)",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        assert_null(macro_defaults_sql(message("m", forms[i]), "m"));
    assert_null(macro_defaults_sql("Macro m() does something else", "m"));
    assert_null(macro_defaults_sql("", "m"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_found),
        cmocka_unit_test(are_not_there),
        cmocka_unit_test(are_all_read_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
