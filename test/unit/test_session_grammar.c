/* The little grammar of sessions: what it takes, how it writes it anew, and that nothing of the client's but the select gets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "engine/session_grammar.h"

static void expect(const char *sql, enum session_verb verb, const char *text, const char *select)
{
    struct session_statement s;
    struct error err;
    if (session_parse(sql, strlen(sql), &s, &err) < 0)
        fail_msg("%s: %s", sql, err.detail);
    if (s.verb != verb || s.text.len != strlen(text) || (s.text.len && memcmp(s.text.data, text, s.text.len) != 0))
        fail_msg("%s: verb %d, text %.*s", sql, s.verb, (int)s.text.len, s.text.data);
    if (s.select.len != strlen(select) || (s.select.len && memcmp(s.select.data, select, s.select.len) != 0))
        fail_msg("%s: select %.*s", sql, (int)s.select.len, s.select.data);
    session_statement_free(&s);
}

static void refused(const char *sql)
{
    struct session_statement s;
    struct error err;
    if (session_parse(sql, strlen(sql), &s, &err) == 0)
        fail_msg("%s was taken: %.*s", sql, (int)s.text.len, s.text.data ? s.text.data : "");
    assert_int_equal(err.code, ERR_FORBIDDEN);
    assert_true(err.what[0]);
}

static void test_statements_are_written_anew(void **state)
{
    (void)state;
    expect("create temp table T as select 1", SESSION_CREATE, "CREATE TEMP TABLE \"T\" AS select 1", "select 1");
    expect("/* x */ CREATE OR REPLACE TEMPORARY VIEW temp.\"a\"\"b\" AS FROM t;", SESSION_CREATE, "CREATE OR REPLACE TEMP VIEW \"a\"\"b\" AS FROM t;",
           "FROM t;");
    expect("CREATE TEMP TABLE IF NOT EXISTS t AS (SELECT 1)", SESSION_CREATE, "CREATE TEMP TABLE IF NOT EXISTS \"t\" AS (SELECT 1)", "(SELECT 1)");
    expect("INSERT INTO temp.t SELECT 1", SESSION_INSERT, "INSERT INTO temp.main.\"t\" SELECT 1", "SELECT 1");
    expect("INSERT INTO t (a, \"b c\") VALUES (1, 2)", SESSION_INSERT, "INSERT INTO temp.main.\"t\" (\"a\", \"b c\") VALUES (1, 2)", "VALUES (1, 2)");
    expect("INSERT INTO t (SELECT 1)", SESSION_INSERT, "INSERT INTO temp.main.\"t\" (SELECT 1)", "(SELECT 1)");
    expect("DROP TABLE IF EXISTS temp.t ;;", SESSION_DROP, "DROP TABLE IF EXISTS temp.main.\"t\"", "");
    expect("DROP VIEW v", SESSION_DROP, "DROP VIEW temp.main.\"v\"", "");
    expect("SET VARIABLE x = 1 -- one", SESSION_SET_VARIABLE, "SET VARIABLE \"x\" = (1 -- one\n)", "SELECT (1 -- one\n)");
    expect("SET VARIABLE x = (SELECT 1);", SESSION_SET_VARIABLE, "SET VARIABLE \"x\" = ((SELECT 1)\n)", "SELECT ((SELECT 1)\n)");
    expect("SET TimeZone = 'Europe/Berlin'", SESSION_SET_TIMEZONE, "SET TimeZone = 'Europe/Berlin'", "");
    expect("set session timezone to 'UTC';", SESSION_SET_TIMEZONE, "SET TimeZone = 'UTC'", "");
    expect("SET TIME ZONE 'UTC'", SESSION_SET_TIMEZONE, "SET TimeZone = 'UTC'", "");
}

static void test_what_is_none_of_them(void **state)
{
    (void)state;
    static const char *const others[] = {"",
                                         ";",
                                         "SELECT 1",
                                         "WITH x AS (SELECT 1) FROM x",
                                         "FROM t",
                                         "EXPLAIN SELECT 1",
                                         "(SELECT 1)",
                                         "-- create\nSELECT 1",
                                         "\"create\" temp",
                                         "'SET'",
                                         "createtemp"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        expect(others[i], SESSION_NONE, "", "");
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"CREATE TABLE t AS SELECT 1",
                                      "CREATE TEMP",
                                      "CREATE TEMP TABLE",
                                      "CREATE TEMP TABLE t",
                                      "CREATE TEMP TABLE t AS",
                                      "CREATE TEMP TABLE t (a INT)",
                                      "CREATE TEMP TABLE main.t AS SELECT 1",
                                      "CREATE TEMP TABLE temp.main.t AS SELECT 1",
                                      "CREATE OR TEMP TABLE t AS SELECT 1",
                                      "CREATE TEMP MACRO m() AS 1",
                                      "CREATE TEMP TABLE 't' AS SELECT 1",
                                      "CREATE TEMP TABLE \"t AS SELECT 1",
                                      "CREATE TEMP TABLE \"\" AS SELECT 1",
                                      "CREATE TEMP RECURSIVE VIEW v AS SELECT 1",
                                      "CREATE TEMP TABLE IF EXISTS t AS SELECT 1",
                                      "INSERT t SELECT 1",
                                      "INSERT INTO main.t SELECT 1",
                                      "INSERT INTO temp.main.t SELECT 1",
                                      "INSERT INTO t",
                                      "INSERT INTO t (a) ",
                                      "INSERT INTO t (a b) SELECT 1",
                                      "INSERT INTO t (a, ) SELECT 1",
                                      "DROP TABLE",
                                      "DROP TABLE t CASCADE",
                                      "DROP TABLE t; SELECT 1",
                                      "DROP TABLE t, u",
                                      "DROP SCHEMA s",
                                      "DROP TABLE main.t",
                                      "SET",
                                      "SET x = 1",
                                      "SET VARIABLE",
                                      "SET VARIABLE x",
                                      "SET VARIABLE x =",
                                      "SET VARIABLE x TO 1",
                                      "SET VARIABLE x.y = 1",
                                      "SET TimeZone",
                                      "SET TimeZone = UTC",
                                      "SET TimeZone = ''",
                                      "SET TimeZone = 'a''b'",
                                      "SET TimeZone = 'UTC' || 'x'",
                                      "SET TimeZone = E'UTC'",
                                      "SET TimeZone = $$UTC$$",
                                      "SET GLOBAL TimeZone = 'UTC'",
                                      "SET LOCAL TimeZone = 'UTC'",
                                      "SET TIME 'UTC'",
                                      "SET SESSION threads = 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(bad[i]);
}

static void test_positions_lead_back(void **state)
{
    (void)state;
    static const char sql[] = "CREATE  TEMP  TABLE t AS SELECT x";
    struct session_statement s;
    struct error err;
    assert_int_equal(session_parse(sql, strlen(sql), &s, &err), 0);
    int64_t x = (int64_t)(strchr(sql, 'x') - sql) + 1;
    assert_int_equal(session_position(&s, (int64_t)(strchr(s.text.data, 'x') - s.text.data) + 1, false), x);
    assert_int_equal(session_position(&s, 8, true), x);
    assert_int_equal(session_position(&s, 3, false), 0); /* in our own part */
    assert_int_equal(session_position(&s, 0, false), 0);
    assert_int_equal(session_position(&s, 4000, false), 0);
    session_statement_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements_are_written_anew),
        cmocka_unit_test(test_what_is_none_of_them),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_positions_lead_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
