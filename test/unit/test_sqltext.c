/* The lexer against the engine's own: every character that one of them takes for a blank, and what stands before an EXPLAIN's inside. */
#include "unit/engine_fixture.h"

#include "engine/sqltext.h"

static duckdb_database db;
static duckdb_connection con;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(duckdb_open(NULL, &db), DuckDBSuccess);
    assert_int_equal(duckdb_connect(db, &con), DuckDBSuccess);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    duckdb_disconnect(&con);
    duckdb_close(&db);
    return 0;
}

/* The statements that the engine sees in a text; 0: it can't parse it. */
static idx_t statements(const char *sql)
{
    duckdb_extracted_statements all = NULL;
    idx_t n = duckdb_extract_statements(con, sql, &all);
    duckdb_destroy_extracted(&all);
    return n;
}

static size_t utf8(uint32_t c, char *ret)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; c >>= 6)
        ret[i] = (char)(0x80 | (c & 0x3F));
    ret[0] = (char)(first[n] | c);
    return n;
}

/* Does it take c for a blank: between a word and a bracket, before and behind a semicolon? */
static bool engine_parts(const char *c)
{
    char sql[64];
    snprintf(sql, sizeof sql, "VALUES%s(1)%s;%sVALUES%s(2)", c, c, c, c);
    return statements(sql) == 2;
}

static bool ours_parts(const char *c)
{
    char sql[64];
    snprintf(sql, sizeof sql, "VALUES%s(1)%s;%sVALUES%s(2)", c, c, c, c);
    size_t pos = 0, len = strlen(sql);
    static const char *const expected[] = {"VALUES", "(", "1", ")", ";", "VALUES", "(", "2", ")"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct sql_token t = sql_next(sql, len, &pos);
        if (t.end - t.begin != strlen(expected[i]) || memcmp(sql + t.begin, expected[i], t.end - t.begin) != 0)
            return false;
    }
    return sql_next(sql, len, &pos).kind == SQL_END;
}

static void test_every_blank_is_one_for_both(void **state)
{
    (void)state;
    unsigned blanks = 0;
    for (uint32_t c = 1; c < 0x11000; c = c == 0xD7FF ? 0xE000 : c + 1) {
        char text[8] = "";
        text[utf8(c, text)] = 0;
        if (c == ';' || c == '(' || c == ')')
            continue;
        bool ours = ours_parts(text);
        if (ours != engine_parts(text))
            fail_msg("U+%04X is %s blank for us, and %s for the engine", c, ours ? "a" : "no", ours ? "not" : "is one");
        blanks += ours;
    }
    assert_true(blanks >= 20);
}

/* Texts, and how many statements they hold: where quotes and comments end is a matter of which semicolons count. */
static void test_quotes_and_comments_end_where_the_engine_ends_them(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT 1 /* ; */ ; SELECT 2",
        "SELECT 1 /* /* ; */ ; */ ; SELECT 2",
        "SELECT 1 /* /* ; */ ; SELECT 2 */",
        "SELECT 1 -- ; \n ; SELECT 2",
        "SELECT 1 -- ; \r ; SELECT 2",
        "SELECT 1 -- ; \f ; SELECT 2",
        "SELECT '; -- ' ; SELECT 2",
        "SELECT ';''; ' ; SELECT 2",
        "SELECT '\\' ; SELECT '2'",
        "SELECT E'\\' ; ' ; SELECT 2",
        "SELECT e'\\\\' ; SELECT 2",
        "SELECT E'\\'';' ; SELECT 2",
        "SELECT 1 AS \"a;b\" ; SELECT 2",
        "SELECT 1 AS \"a\"\";b\" ; SELECT 2",
        "SELECT $$;$$ ; SELECT 2",
        "SELECT $a$;$$;$a$ ; SELECT 2",
        "SELECT $a$;$A$;$a$ ; SELECT 2",
        "SELECT $a1_$ ; $a1_$ ; SELECT 2",
        "SELECT $\xC3\xA4$ ; $\xC3\xA4$ ; SELECT 2",
        "SELECT U&';' ; SELECT 2",
        "SELECT U&'\\003B;' ; SELECT 2",
        "SELECT B'1' ; SELECT 2",
        "SELECT X'0A' ; SELECT 2",
        "SELECT 1--;\n;SELECT 2",
        "SELECT 1/*;*/;SELECT 2",
        "SELECT 4 / 2 ; SELECT 2",
        "SELECT 4 - -2 ; SELECT 2",
        "SELECT a$b$ FROM (SELECT 1 AS a$b$) ; SELECT 2",
        "SELECT '\xC2\xA0;' ; SELECT 2",
        "SELECT 1 /*\xC2\xA0;*/ ; SELECT 2",
        "SELECT E'\\'\xC2\xA0;' ; SELECT 2",
        "SELECT 1 --\xE2\x80\x83;\n ; SELECT 2",
        "SELECT $x$\xC2\xA0;$x$ ; SELECT 2",
        "SELECT 1 AS \"\xE3\x80\x80;\" ; SELECT 2",
        "SELECT\xEF\xBB\xBF'a'\xE2\x81\xA0;\xE2\x80\x8BSELECT 2",
        "SELECT 1 ; ; SELECT 2",
        ";;SELECT 1",
        "SELECT 'x' -- ' ;\n ; SELECT 2",
        "SELECT 'x' /* ' ; */ ; SELECT 2",
        "SELECT 'a'\n'b;' ; SELECT 2",
        "SELECT 1 /*/ ; */ ; SELECT 2",
        "SELECT 1 /**/ ; SELECT 2",
        "SELECT $1 ; SELECT 2",
        "SELECT ?; SELECT 2",
        "SELECT #1 FROM (SELECT 3) ; SELECT 2",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        idx_t theirs = statements(texts[i]);
        size_t ours = sql_count_statements(texts[i], strlen(texts[i]));
        if (theirs > 0 && theirs != ours) /* what the engine can't parse, it does not run either */
            fail_msg("%s\n -> %zu for us, %llu for the engine", texts[i], ours, (unsigned long long)theirs);
    }
}

static void plain(const char *from, const char *to, bool changed)
{
    char sql[256];
    bool was;
    snprintf(sql, sizeof sql, "%s", from);
    size_t inner = sql_explain_inner(sql, strlen(sql));
    if (!sql_explain_plain(sql, inner, &was)) {
        if (to)
            fail_msg("%s is refused", from);
        return;
    }
    if (!to || strcmp(sql, to) != 0 || was != changed)
        fail_msg("%s became %s", from, sql);
}

static void test_nothing_but_words_stands_before_an_explained_statement(void **state)
{
    (void)state;
    plain("EXPLAIN SELECT 1", "EXPLAIN SELECT 1", false);
    plain("explain\tanalyze\nSELECT\t1", "explain analyze\nSELECT\t1", true);
    plain("; ;EXPLAIN/* x */ANALYZE SELECT 1", "   EXPLAIN       ANALYZE SELECT 1", true);
    plain("EXPLAIN (ANALYZE, FORMAT json)SELECT ';'", "EXPLAIN (ANALYZE, FORMAT json)SELECT ';'", false);
    plain("EXPLAIN\xC2\xA0(ANALYZE -- )\n)\xE3\x80\x80SELECT 1", "EXPLAIN  (ANALYZE      )\xE3\x80\x80SELECT 1", true);
    plain("EXPLAIN (FORMAT 'json') SELECT 1", NULL, false);
    plain("EXPLAIN (FORMAT json\xC3\xA4) SELECT 1", NULL, false);
    plain("EXPLAIN (ANALYZE $$)$$) SELECT 1", NULL, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_blank_is_one_for_both),
        cmocka_unit_test(test_quotes_and_comments_end_where_the_engine_ends_them),
        cmocka_unit_test(test_nothing_but_words_stands_before_an_explained_statement),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
