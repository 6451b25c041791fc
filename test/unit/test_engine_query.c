/* The engine's queries: what is answered, what is refused, what an error says. On the real library. */
#include "unit/engine_fixture.h"

static struct fixture f;

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f);
    make_database(f.path, "CREATE TABLE t AS SELECT i, 'row ' || i AS s FROM range(10000) r(i); CREATE TABLE u(a INTEGER)");
    f.engine = open_engine(f.path, 64);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void answers_every_reading_statement(void **state)
{
    (void)state;
    assert_answer(f.engine, "SELECT 42", "42\n");
    assert_answer(f.engine, "SELECT 42;", "42\n");
    assert_answer(f.engine, " ; -- c\n SELECT /* x */ 42 ; ; ", "42\n");
    assert_answer(f.engine, "(SELECT 1)", "1\n");
    assert_answer(f.engine, "VALUES (1), (2)", "1\n2\n");
    assert_answer(f.engine, "FROM t SELECT count(*)", "10000\n");
    assert_answer(f.engine, "WITH a AS (SELECT 3 AS x) SELECT x FROM a", "3\n");
    assert_answer(f.engine, "TABLE u", "");
    assert_answer(f.engine, "DESCRIBE u", "a,INTEGER,YES,,,\n");
    assert_answer(f.engine, "SHOW TABLES", "t\nu\n");
    assert_int_equal(ask(f.engine, "SUMMARIZE t").rows, 2);
    assert_answer(f.engine, "PIVOT (SELECT 1 AS a, 2 AS b) ON a IN (1) USING sum(b)", "2\n");
    assert_answer(f.engine, "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b", "a,1\nb,2\n");
    assert_answer(f.engine, "SELECT count(*), min(s) FROM t", "10000,row 0\n");
    static const char *const explains[] = {"EXPLAIN SELECT 1",
                                           "explain analyze SELECT 1",
                                           "EXPLAIN (FORMAT json) SELECT 1",
                                           "EXPLAIN (SELECT 1)",
                                           "EXPLAIN (ANALYZE, FORMAT json) FROM t",
                                           "EXPLAIN /* x */ ANALYZE\nSELECT 1"};
    for (size_t i = 0; i < sizeof explains / sizeof *explains; i++) {
        struct answer a = ask(f.engine, explains[i]);
        assert_string_equal(a.err.detail, "");
        assert_int_equal(a.rows, 1);
    }
}

static void many_rows_stream_in_order(void **state)
{
    (void)state;
    struct error err = {0};
    struct engine_query q = {.sql = "SELECT i FROM t ORDER BY i", .sql_len = 26};
    struct stream *s = engine_query(f.engine, &q, &err);
    uint32_t count;
    int64_t n, total = 0;
    assert_non_null(s);
    while ((n = stream_next(s, &err)) > 0) {
        const struct column *c = stream_columns(s, &count);
        assert_int_equal(count, 1);
        for (int64_t i = 0; i < n; i++)
            assert_int_equal(((const int64_t *)c[0].data)[i], total + i);
        total += n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(stream_next(s, &err), 0);
    assert_int_equal(total, 10000);
    stream_free(s);
    stream_free(NULL);
}

static void refuses_every_other_statement(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"COPY t TO '/tmp/bulkhead-never.csv'", "COPY statement"},
        {"copy (select 1) to '/tmp/bulkhead-never.csv'", "COPY statement"},
        {"ATTACH '/tmp/x.duckdb'", "ATTACH statement"},
        {"CREATE TABLE x(i INT)", "CREATE statement"},
        {"CREATE TEMP TABLE x(i INT)", "CREATE statement"},
        {"INSERT INTO u VALUES (1)", "INSERT statement"},
        {"WITH a AS (SELECT 1) INSERT INTO u FROM a", "INSERT statement"},
        {"UPDATE u SET a = 1", "UPDATE statement"},
        {"DELETE FROM u", "DELETE statement"},
        {"WITH a AS (SELECT 1) DELETE FROM u", "DELETE statement"},
        {"MERGE INTO u USING t ON false WHEN MATCHED THEN DELETE", "MERGE statement"},
        {"WITH z AS (SELECT 1 AS k) MERGE INTO u USING z ON u.a = z.k WHEN MATCHED THEN DELETE", "MERGE statement"},
        {"BEGIN", "BEGIN statement"},
        {"PREPARE p AS SELECT 1", "PREPARE statement"},
        {"EXECUTE p", "EXECUTE statement"},
        {"CALL pragma_version()", "CALL statement"},
        {"PRAGMA version", "PRAGMA statement"},
        {";; /* c */ PRAGMA version", "PRAGMA statement"},
        {"\xC2\xA0PRAGMA version", "PRAGMA statement"},
        {"SET threads = 4", "SET statement"},
        {"SET VARIABLE x = 1", "SET statement"},
        {"RESET threads", "RESET statement"},
        {"USE memory", "USE statement"},
        {"LOAD httpfs", "LOAD statement"},
        {"EXPORT DATABASE '/tmp/bulkhead-test-x'", "EXPORT statement"},
        {"CHECKPOINT", "CHECKPOINT statement"},
        {"DETACH data", "DETACH statement"},
        {"EXPLAIN ANALYZE COPY t TO '/tmp/bulkhead-never.csv'", "EXPLAIN of COPY statement"},
        {"EXPLAIN COPY t TO '/tmp/bulkhead-never.csv'", "EXPLAIN of COPY statement"},
        {"EXPLAIN (ANALYZE) COPY t TO '/tmp/bulkhead-never.csv'", "EXPLAIN of COPY statement"},
        {"EXPLAIN ANALYZE CREATE TABLE x(i INT)", "EXPLAIN of CREATE statement"},
        {"EXPLAIN WITH a AS (SELECT 1) INSERT INTO u FROM a", "EXPLAIN of INSERT statement"},
        {"EXPLAIN ANALYZE WITH a AS (SELECT 1) DELETE FROM u", "EXPLAIN of DELETE statement"},
        {"EXPLAIN CALL pragma_version()", "EXPLAIN of CALL statement"},
        {"EXPLAIN PRAGMA version", "EXPLAIN of PRAGMA statement"},
        {"PIVOT t ON i USING count(*)", "PIVOT without IN"},
        {"PIVOT t ON i IN (SELECT 1) USING count(*)", "PIVOT without IN"},
        {"CREATE MACRO m(x) AS x", "CREATE statement"},
        {"CREATE TEMP VIEW v AS FROM t", "CREATE statement"},
        {"DEALLOCATE p", "DEALLOCATE statement"},
        {"FROM (PIVOT t ON i USING count(*))", "PIVOT without IN"},
        {"EXPLAIN PIVOT t ON i USING count(*)", "PIVOT without IN"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct answer a = ask(f.engine, rows[i][0]);
        if (a.err.code != ERR_FORBIDDEN)
            print_message("%s: %s\n", rows[i][0], a.err.detail);
        assert_int_equal(a.err.code, ERR_FORBIDDEN);
        assert_string_equal(a.err.what, rows[i][1]);
    }
    assert_non_null(strstr(ask(f.engine, "PIVOT t ON i USING count(*)").err.detail, "IN (value, ...)"));
    assert_int_equal(access("/tmp/bulkhead-never.csv", F_OK), -1);
    assert_answer(f.engine, "SELECT count(*) FROM u", "0\n");
}

static void takes_exactly_one_statement(void **state)
{
    (void)state;
    static const char *const empty[] = {"", " ", ";", "-- only a comment", "/* a /* b */ c */ ; ;"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        struct answer a = ask(f.engine, empty[i]);
        assert_int_equal(a.err.code, ERR_BAD_REQUEST);
        assert_string_equal(a.err.detail, "there is no statement in the text");
    }
    struct answer a = ask(f.engine, "SELECT 1; SELECT 2");
    assert_int_equal(a.err.code, ERR_BAD_REQUEST);
    assert_string_equal(a.err.detail, "exactly one statement is expected, these are 2");
    a = ask(f.engine, "SELECT 1; DROP TABLE t; SELECT ';'");
    assert_string_equal(a.err.detail, "exactly one statement is expected, these are 3");
    a = ask_len(f.engine, "SELECT 1\0", 9, NULL);
    assert_int_equal(a.err.code, ERR_SQL);
    assert_int_equal(a.err.position, 9);
    /* The text has no end mark: what is behind it must not be read. */
    a = ask_len(f.engine, "SELECT 12345", 8, NULL);
    assert_string_equal(a.text, "1\n");
}

static void errors_have_class_position_and_text(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *type, *detail;
        int64_t position;
    } rows[] = {
        {"SELEC 1", "Parser", "Parser Error: syntax error at or near \"SELEC\"", 1},
        {"SELECT 'a\xC3\xA4', nope", "Binder", "Binder Error: Referenced column \"nope\" was not found because the FROM clause is missing", 15},
        {"SELECT 1\n FROM nope", "Catalog", "Catalog Error: Table with name nope does not exist!", 16},
        {"SELECT 1, CAST(s AS INTEGER) FROM t", "Conversion", "Conversion Error: Could not convert string 'row 0' to INT32", 11},
        {"SELECT 'abc", "Parser", "Parser Error: unterminated quoted string at or near \"'abc\"", 8},
        {"SELECT error('boo')", "Invalid Input", "Invalid Input Error: boo", 0},
        {"SELECT error('INTERNAL Error: {\"exception_type\":\"INTERNAL\",\"exception_message\":\"x\"}')", "Invalid Input",
         "Invalid Input Error: ", 0},
        {"SELECT 9223372036854775807 + 1", "Out of Range", "Out of Range Error: Overflow in addition", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct answer a = ask(f.engine, rows[i].sql);
        print_message("%s -> %s\n", rows[i].sql, a.err.detail);
        assert_int_equal(a.err.code, ERR_SQL);
        assert_string_equal(a.err.error_type, rows[i].type);
        assert_memory_equal(a.err.detail, rows[i].detail, strlen(rows[i].detail));
        if (rows[i].position)
            assert_int_equal(a.err.position, rows[i].position);
        assert_false(engine_is_spent(f.engine));
        assert_answer(f.engine, "SELECT 1", "1\n");
    }
}

static void an_error_after_the_first_rows_ends_the_stream(void **state)
{
    (void)state;
    struct answer a = ask(f.engine, "SELECT CASE WHEN i < 9000 THEN i ELSE error('late') END FROM t");
    assert_int_equal(a.err.code, ERR_SQL);
    assert_string_equal(a.err.detail, "Invalid Input Error: late");
    assert_answer(f.engine, "SELECT 1", "1\n");
}

static void a_stream_left_early_leaves_nothing(void **state)
{
    (void)state;
    struct error err = {0};
    struct engine_query q = {.sql = "SELECT a.i FROM t a, t b", .sql_len = 24};
    for (int round = 0; round < 20; round++) {
        struct stream *s = engine_query(f.engine, &q, &err);
        assert_non_null(s);
        assert_true(stream_next(s, &err) > 0);
        stream_free(s);
        assert_answer(f.engine, "SELECT 7", "7\n");
    }
}

static void no_path_of_the_server_in_an_error(void **state)
{
    (void)state;
    char sql[400];
    snprintf(sql, sizeof sql, "SELECT error('cannot read %s.wal or %s')", f.path, f.path);
    struct answer a = ask(f.engine, sql);
    assert_null(strstr(a.err.detail, f.dir));
    assert_string_equal(a.err.detail, "Invalid Input Error: cannot read <database>.wal or <database>");
    const char *const allow[] = {"postgres_scan", NULL};
    struct engine *e = open_engine_allowing(f.path, 0, allow);
    a = ask(e, "FROM postgres_scan('a', 'b', 'c')");
    assert_int_equal(a.err.code, ERR_SQL);
    assert_null(strstr(a.err.detail, "/.duckdb/"));
    engine_close(e);
    a = ask(f.engine, "SELECT error('Extension \"/root/.duckdb/extensions/v1/x.duckdb_extension\" and \"/a/y.duckdb_extension\" not found')");
    assert_string_equal(a.err.detail, "Invalid Input Error: Extension \"x.duckdb_extension\" and \"y.duckdb_extension\" not found");
}

static void out_of_memory_spends_the_engine(void **state)
{
    (void)state;
    struct engine_options o = {.memory_limit_bytes = 16 << 20, .threads = 1, .statement_cache_entries = 4};
    struct error err = {0};
    struct engine *e = engine_open(&o, &err);
    assert_non_null(e);
    assert_int_equal(engine_lock(e, &err), 0);
    struct answer a = ask(e, "SELECT count(*) FROM (SELECT DISTINCT hash(i) FROM range(20000000) r(i))");
    assert_int_equal(a.err.code, ERR_OUT_OF_MEMORY);
    assert_int_equal(a.err.limit_bytes, 16 << 20);
    assert_int_equal(a.err.stopped_by, STOP_NONE);
    assert_true(engine_is_spent(e));
    a = ask(e, "SELECT 1");
    assert_int_equal(a.err.code, ERR_INTERNAL);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_every_reading_statement),     cmocka_unit_test(many_rows_stream_in_order),
        cmocka_unit_test(refuses_every_other_statement),       cmocka_unit_test(takes_exactly_one_statement),
        cmocka_unit_test(errors_have_class_position_and_text), cmocka_unit_test(an_error_after_the_first_rows_ends_the_stream),
        cmocka_unit_test(a_stream_left_early_leaves_nothing),  cmocka_unit_test(no_path_of_the_server_in_an_error),
        cmocka_unit_test(out_of_memory_spends_the_engine),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
