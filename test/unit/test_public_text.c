/* What callers may read of other processes' texts (src/front/public_text.c): the reason, without where things lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/errors.h"
#include "core/utf8.h"
#include "front/public_text.h"

#include <stdlib.h>
#include <string.h>

static struct config *cfg;

static int setup(void **state)
{
    struct error err;
    static const char text[] = "[database]\npath = /srv/my data/sales.duckdb\nextension_directory = /srv/ext\n";
    (void)state;
    return config_load_text(&cfg, text, strlen(text), "test", &err);
}

static int teardown(void **state)
{
    (void)state;
    config_free(cfg);
    return 0;
}

static void paths_go_and_reasons_stay(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"cannot open the database \"/srv/my data/sales.duckdb\": the file does not exist",
         "cannot open the database \"<database>\": the file does not exist"},
        {"/srv/my data/sales.duckdb.wal is damaged", "<database>.wal is damaged"},
        {"cannot load the extension \"/srv/ext/x.duckdb_extension\"", "cannot load the extension \"<extensions>/x.duckdb_extension\""},
        {"cannot load '/opt/else/where/x.duckdb_extension': no", "cannot load 'x.duckdb_extension': no"},
        {"see /etc/bulkhead.ini: line 3", "see bulkhead.ini: line 3"},
        {"failed in /a/b/c.", "failed in c."},
        {"(/a/b/)", "(b)"},
        {"open=/a/b,/c/d", "open=b,d"},
        {"no space left in /var/tmp/bulkhead-scratch-x/w1", "no space left in <scratch>/bulkhead-scratch-x/w1"},
        {"half a / b, 1/2, and/or", "half a / b, 1/2, and/or"},
        {"a writer holds the lock (PID 12)", "a writer holds the lock (PID 12)"},
        {"/srv/extra/x", "x"}, /* begins like a known path, and is another */
        {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char shown[200];
        public_text(cfg, rows[i][0], shown, sizeof shown);
        assert_string_equal(shown, rows[i][1]);
    }
}

static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    char shown[10], *text = malloc(20001);
    assert_non_null(text);
    public_text(cfg, "12345678\xC3\xBC", shown, sizeof shown);
    assert_string_equal(shown, "12345678");
    memset(text, '/', 20000);
    text[20000] = 0;
    public_text(cfg, text, shown, sizeof shown);
    for (int i = 0; i < 20000; i += 2)
        memcpy(text + i, " /", 2);
    public_text(cfg, text, shown, sizeof shown);
    assert_true(utf8_valid(shown, strlen(shown)));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths_go_and_reasons_stay), cmocka_unit_test(long_texts_are_cut_between_characters)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
