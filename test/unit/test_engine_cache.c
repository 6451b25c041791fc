/* The statement cache, and that nothing passes from one query to the next. On the real library. */
#include "unit/engine_fixture.h"

static struct fixture f;

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f);
    make_database(f.path, "CREATE TABLE t AS SELECT i, 'row ' || i AS s FROM range(1000) r(i)");
    f.engine = open_engine(f.path, 8);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void the_same_bytes_hit(void **state)
{
    (void)state;
    assert_int_equal(ask(f.engine, "SELECT 1 AS a").cache_use, CACHE_MISS);
    assert_int_equal(ask(f.engine, "SELECT 1 AS a").cache_use, CACHE_HIT);
    assert_int_equal(ask(f.engine, "SELECT 1 AS a ").cache_use, CACHE_MISS);
    assert_int_equal(ask(f.engine, "select 1 AS a").cache_use, CACHE_MISS);
    struct answer a = ask(f.engine, "SELECT 1 AS a");
    assert_int_equal(a.cache_use, CACHE_HIT);
    assert_string_equal(a.text, "1\n");
    for (int i = 0; i < 50; i++) {
        a = ask(f.engine, "SELECT count(*), max(s) FROM t");
        assert_int_equal(a.cache_use, i == 0 ? CACHE_MISS : CACHE_HIT);
        assert_string_equal(a.text, "1000,row 999\n");
    }
}

static void the_least_recently_used_goes(void **state)
{
    (void)state;
    char sql[40];
    assert_int_equal(ask(f.engine, "SELECT 'kept'").cache_use, CACHE_MISS);
    for (int i = 0; i < 30; i++) {
        snprintf(sql, sizeof sql, "SELECT 'filler', %d", i);
        assert_int_equal(ask(f.engine, sql).cache_use, CACHE_MISS);
        assert_int_equal(ask(f.engine, "SELECT 'kept'").cache_use, CACHE_HIT);
    }
    assert_int_equal(ask(f.engine, "SELECT 'filler', 0").cache_use, CACHE_MISS);
    assert_int_equal(ask(f.engine, "SELECT 'filler', 29").cache_use, CACHE_HIT);
}

static void long_texts_and_a_cache_that_is_off(void **state)
{
    (void)state;
    size_t len = 70000;
    char *sql = malloc(len + 1);
    assert_non_null(sql);
    memset(sql, ' ', len);
    memcpy(sql, "SELECT 5", 8);
    sql[len] = 0;
    for (int i = 0; i < 2; i++) {
        struct answer a = ask(f.engine, sql);
        assert_int_equal(a.cache_use, CACHE_BYPASS);
        assert_string_equal(a.text, "5\n");
    }
    free(sql);
    struct engine *e = open_engine(f.path, 0);
    assert_int_equal(ask(e, "SELECT 1").cache_use, CACHE_BYPASS);
    assert_int_equal(ask(e, "SELECT 1").cache_use, CACHE_BYPASS);
    engine_close(e);
}

/* Each time a new value, also from the cache. */
static void volatile_functions_stay_fresh(void **state)
{
    (void)state;
    static const char *const sql[] = {
        "SELECT random()",
        "SELECT uuid()",
        "SELECT gen_random_uuid()",
        "SELECT uuidv7()",
        "SELECT epoch_ns(now())",
        "SELECT epoch_us(current_timestamp)",
        "SELECT get_current_time()",
        "SELECT current_localtimestamp()",
        "SELECT epoch_us(transaction_timestamp())",
        "SELECT (SELECT random())",
        "SELECT list_transform([1], x -> random())",
        "WITH a AS MATERIALIZED (SELECT now() n) SELECT n FROM a",
        "SELECT i FROM t ORDER BY random() LIMIT 20",
        "SELECT string_agg(i, ',') FROM (SELECT i FROM t USING SAMPLE 20)",
        "SELECT string_agg(i, ',') FROM t TABLESAMPLE reservoir(20)",
    };
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        struct answer first = ask(f.engine, sql[i]), second = ask(f.engine, sql[i]), third = ask(f.engine, sql[i]);
        assert_string_equal(first.err.detail, "");
        assert_string_not_equal(first.text, second.text);
        assert_string_not_equal(second.text, third.text);
        bool fixed = strstr(sql[i], "SAMPLE") || strstr(sql[i], "current_localtimestamp"); /* when it is prepared */
        assert_int_equal(third.cache_use, fixed ? CACHE_BYPASS : CACHE_HIT);
    }
}

static void parameters_rebind(void **state)
{
    (void)state;
    static const char sql[] = "SELECT $1 AS x, typeof($1) AS t";
    static const char *const rows[][3] = {
        {"[1]", "1,BIGINT\n", "BIGINT"},         {"[2]", "2,BIGINT\n", "BIGINT"},
        {"[\"a\"]", "a,VARCHAR\n", "VARCHAR"},   {"[1.5]", "1.5,DOUBLE\n", "DOUBLE"},
        {"[true]", "true,BOOLEAN\n", "BOOLEAN"}, {"[[1,2]]", "\"[1, 2]\",BIGINT[]\n", "BIGINT[]"},
        {"[3]", "3,BIGINT\n", "BIGINT"},         {"[{\"type\":\"DATE\",\"value\":\"2020-02-29\"}]", "2020-02-29,DATE\n", "DATE"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct answer a = ask_with(f.engine, sql, rows[i][0]);
        assert_string_equal(a.err.detail, "");
        assert_string_equal(a.text, rows[i][1]);
        assert_string_equal(a.type, rows[i][2]);
        assert_int_equal(a.cache_use, i == 0 ? CACHE_MISS : CACHE_HIT);
    }
    /* What an earlier request bound is not there for a later one. */
    assert_int_equal(ask(f.engine, sql).err.code, ERR_BAD_REQUEST);
    assert_int_equal(ask_with(f.engine, sql, "[]").err.code, ERR_BAD_REQUEST);
    assert_int_equal(ask_with(f.engine, sql, "{\"2\":1}").err.code, ERR_BAD_REQUEST);
    assert_string_equal(ask_with(f.engine, "SELECT s FROM t WHERE i = $1", "[7]").text, "row 7\n");
    assert_string_equal(ask_with(f.engine, "SELECT s FROM t WHERE i = $1", "[8]").text, "row 8\n");
    assert_string_equal(ask_with(f.engine, "SELECT s FROM t WHERE i = $1", "[\"9\"]").text, "row 9\n");
    assert_int_equal(ask_with(f.engine, "SELECT s FROM t WHERE i = $1", "[\"x\"]").err.code, ERR_SQL);
    assert_string_equal(ask_with(f.engine, "SELECT s FROM t WHERE i = $1", "[10]").text, "row 10\n");
    assert_string_equal(ask_with(f.engine, "SELECT s FROM t LIMIT $1", "[1]").text, "row 0\n");
    assert_int_equal(ask_with(f.engine, "SELECT s FROM t LIMIT $1", "[3]").rows, 3);
}

static void effects_do_not_outlive_their_query(void **state)
{
    (void)state;
    char drawn[4][64];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ask(f.engine, "SELECT 1 AS probe").err.code, ERR_OK);
        struct answer a = ask(f.engine, "SELECT setseed(0.5)");
        assert_int_equal(a.cache_use, CACHE_BYPASS);
        a = ask(f.engine, "SELECT random()");
        snprintf(drawn[i], sizeof drawn[i], "%.60s", a.text);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(drawn[k], drawn[i]);
        /* The connection was replaced, and the cache with it. */
        assert_int_equal(ask(f.engine, "SELECT 1 AS probe").cache_use, CACHE_MISS);
    }
    assert_int_equal(ask(f.engine, "SELECT getvariable('x')").cache_use, CACHE_BYPASS);
    assert_int_equal(ask(f.engine, "FROM query('SELECT getvariable(''x'')')").cache_use, CACHE_BYPASS);
    assert_int_equal(ask(f.engine, "FROM query('SELECT 1')").cache_use, CACHE_MISS);
    assert_int_equal(ask(f.engine, "FROM query('SELECT 1')").cache_use, CACHE_HIT);
    assert_int_equal(ask(f.engine, "SELECT 'a text that says getvariable() and setseed(1)' -- setseed(1)").cache_use, CACHE_MISS);
    assert_int_equal(ask(f.engine, "SELECT 'a text that says getvariable() and setseed(1)' -- setseed(1)").cache_use, CACHE_HIT);
    assert_int_equal(ask(f.engine, "EXPLAIN ANALYZE SELECT 1").cache_use, CACHE_BYPASS);
    assert_false(engine_is_spent(f.engine));
    assert_answer(f.engine, "SELECT count(*) FROM duckdb_prepared_statements()", "0\n");
}

/* A verdict outlives the connection: what was prepared on the old one is prepared again, and judged no more. */
static void verdicts_outlive_the_connection(void **state)
{
    (void)state;
    static const char *const sql[] = {"SELECT 'verdict', i FROM t LIMIT 2", "SELECT localtime IS NULL", "SELECT setseed(0.1)",
                                      "SELECT count(*) FROM duckdb_settings() WHERE name = 'threads'"};
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++)
        for (int k = 0; k < 3; k++) {
            struct answer a = ask(f.engine, sql[i]);
            assert_string_equal(a.err.detail, "");
            assert_int_equal(a.cache_use, i == 1 || i == 2 ? CACHE_BYPASS : CACHE_MISS);
            assert_int_equal(ask(f.engine, "SELECT setseed(0.5)").err.code, ERR_OK); /* the connection is replaced */
        }
}

/* What changes the process makes it useless for others: where the operator allows it, the process is replaced afterwards. */
static void process_wide_effects_spend_the_engine(void **state)
{
    (void)state;
    static const char *const sql[] = {
        "FROM enable_logging()",
        "FROM system.main.\"enable_logging\" /* x */ (level = 'debug')",
        "SELECT * FROM Enable_Profiling()",
        "FROM query('FROM enable_logging()')",
        "EXPLAIN ANALYZE FROM enable_logging()",
    };
    const char *const allow[] = {"enable_logging", "ENABLE_PROFILING", NULL};
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        struct engine *e = open_engine_allowing(f.path, 8, allow);
        struct answer a = ask(e, sql[i]);
        assert_string_equal(a.err.detail, "");
        assert_true(engine_is_spent(e));
        engine_close(e);
        e = open_engine(f.path, 8);
        assert_int_equal(ask(e, sql[i]).err.code, ERR_FORBIDDEN);
        assert_false(engine_is_spent(e));
        engine_close(e);
    }
    struct engine *e = open_engine(f.path, 8);
    assert_answer(e, "SELECT x.query FROM (SELECT 1 AS query) x", "1\n");
    assert_answer(e, "SELECT 'a query', 2 AS enable_logging", "a query,2\n");
    assert_false(engine_is_spent(e));
    engine_close(e);
}

/* Views, macros and generated columns of the file can hide a function with an effect from the text. */
static void stored_effects_reach_the_statement(void **state)
{
    (void)state;
    static const char *const stored[][2] = {
        {"CREATE VIEW v AS SELECT setseed(0.5) AS x", "FROM v"},
        {"CREATE MACRO v() AS TABLE SELECT setseed(0.5) AS x", "FROM v()"},
        {"CREATE MACRO m() AS setseed(0.5)", "SELECT m()"},
        {"CREATE MACRO m() AS setseed(0.5); CREATE MACRO n() AS m(); CREATE VIEW o AS SELECT n() AS x; CREATE VIEW p AS FROM o", "FROM p"},
        {"CREATE TABLE g(a INT, b INT AS (a + setseed(0.5)))", "SELECT b FROM g"},
        {"CREATE SCHEMA o; CREATE VIEW o.v AS FROM query('SELECT getvariable(''x'')')", "FROM o.v"},
        {"CREATE VIEW v AS FROM range(100000) USING SAMPLE 3", "FROM v"},
    };
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s/stored%zu", f.dir, i);
        make_database(path, stored[i][0]);
        struct engine *e = open_engine(path, 8);
        for (int k = 0; k < 2; k++)
            assert_int_equal(ask(e, stored[i][1]).cache_use, CACHE_BYPASS);
        assert_answer(e, "SELECT 'other'", "other\n");
        assert_int_equal(ask(e, "SELECT 'other'").cache_use, CACHE_HIT);
        engine_close(e);
    }
    char path[160];
    snprintf(path, sizeof path, "%s/harmless", f.dir);
    make_database(path, "CREATE VIEW v AS SELECT 1 AS x; CREATE MACRO m(a) AS a + 1");
    struct engine *e = open_engine(path, 8);
    assert_answer(e, "SELECT m(x) FROM v", "2\n");
    assert_int_equal(ask(e, "SELECT m(x) FROM v").cache_use, CACHE_HIT);
    engine_close(e);
}

static void failures_leave_the_cache_usable(void **state)
{
    (void)state;
    static const char sql[] = "SELECT CASE WHEN i < 990 THEN i ELSE error('late') END FROM t";
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask(f.engine, "SELECT 99").err.code, ERR_OK);
        struct answer a = ask(f.engine, sql);
        assert_string_equal(a.err.detail, "Invalid Input Error: late");
        assert_int_equal(ask(f.engine, "SELEC").err.code, ERR_SQL);
        assert_int_equal(ask(f.engine, "SELECT nope").err.code, ERR_SQL);
        a = ask(f.engine, "SELECT 99");
        assert_int_equal(a.cache_use, CACHE_HIT);
        assert_string_equal(a.text, "99\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes_hit),
        cmocka_unit_test(the_least_recently_used_goes),
        cmocka_unit_test(long_texts_and_a_cache_that_is_off),
        cmocka_unit_test(volatile_functions_stay_fresh),
        cmocka_unit_test(parameters_rebind),
        cmocka_unit_test(effects_do_not_outlive_their_query),
        cmocka_unit_test(process_wide_effects_spend_the_engine),
        cmocka_unit_test(stored_effects_reach_the_statement),
        cmocka_unit_test(verdicts_outlive_the_connection),
        cmocka_unit_test(failures_leave_the_cache_usable),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
