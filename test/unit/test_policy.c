/* The policy on the real engine: what is refused with which name, what still works, and the database's own objects. */
#include "unit/engine_fixture.h"

static struct fixture f;

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f);
    make_database(f.path, "CREATE TABLE t AS SELECT i AS a, 'row ' || i AS s FROM range(10) r(i);"
                          "CREATE TABLE u(a INTEGER, j JSON, l INTEGER[]); INSERT INTO u VALUES (1, '{\"k\":[1,2]}', [3,4]);"
                          "CREATE TABLE \"odd.csv\" AS SELECT 1 AS z; CREATE SCHEMA shop; CREATE TABLE shop.csv AS SELECT 2 AS z;"
                          "CREATE VIEW v AS SELECT a FROM t; CREATE MACRO twice(x) AS 2 * x; CREATE MACRO first_of(n) AS TABLE FROM t LIMIT n");
    f.engine = open_engine(f.path, 64);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void refused_as(struct engine *e, const char *sql, const char *what)
{
    struct answer a = ask(e, sql);
    if (a.err.code != ERR_FORBIDDEN || strcmp(a.err.what, what) != 0)
        fail_msg("%s\n -> %s [%s] %s", sql, error_text(a.err.code), a.err.what, a.err.detail);
    assert_non_null(strstr(a.err.detail, " refused: "));
    assert_false(engine_is_spent(e));
}

/* Everything that reaches a function, and every way to write its name. */
static void a_refused_function_is_found_everywhere(void **state)
{
    (void)state;
    static const char *const from[] = {
        "FROM enable_logging()",
        "from Enable_Logging(storage='stdout')",
        "SELECT * FROM system.main.\"enable_logging\"()",
        "FROM\xC2\xA0system . main /* x */ . \"Enable_Logging\" -- y\n (level = 'debug')",
        "FROM t, enable_logging()",
        "FROM t JOIN enable_logging() ON true",
        "FROM t POSITIONAL JOIN enable_logging()",
        "FROM t, LATERAL (FROM enable_logging())",
        "SELECT (SELECT count(*) FROM enable_logging())",
        "SELECT 1 WHERE EXISTS (FROM enable_logging())",
        "SELECT 1 WHERE 1 IN (FROM enable_logging())",
        "SELECT 1 WHERE 1 = ANY (SELECT 1 FROM enable_logging())",
        "SELECT ARRAY(SELECT 1 FROM enable_logging())",
        "WITH x AS (FROM enable_logging()) SELECT 1",
        "WITH x AS NOT MATERIALIZED (FROM enable_logging()) SELECT 1",
        "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT 1 FROM enable_logging()) FROM r",
        "SELECT 1 UNION ALL SELECT 2 FROM enable_logging()",
        "SELECT 1 EXCEPT (SELECT 1 INTERSECT SELECT 2 FROM enable_logging())",
        "VALUES ((SELECT 1 FROM enable_logging()))",
        "SELECT a FROM t ORDER BY (SELECT 1 FROM enable_logging())",
        "SELECT a FROM t LIMIT (SELECT count(*) FROM enable_logging())",
        "SELECT a FROM t OFFSET (SELECT count(*) FROM enable_logging())",
        "DESCRIBE FROM enable_logging()",
        "SUMMARIZE FROM enable_logging()",
        "FROM (DESCRIBE FROM enable_logging())",
        "FROM (SUMMARIZE FROM enable_logging())",
        "EXPLAIN FROM enable_logging()",
        "EXPLAIN ANALYZE FROM enable_logging()",
        "EXPLAIN (ANALYZE, FORMAT json) (FROM enable_logging())",
        "EXPLAIN ANALYZE SELECT 1 UNION ALL SELECT 2 FROM enable_logging()",
        "PIVOT (FROM enable_logging()) ON a IN (1) USING count(*)",
        "UNPIVOT (FROM enable_logging()) ON a",
        "FROM (FROM (FROM enable_logging()) USING SAMPLE 1)",
        "FROM enable_logging() TABLESAMPLE 10%",
        "FROM range((SELECT count(*) FROM enable_logging()))",
        "FROM unnest((SELECT [1] FROM enable_logging()))",
        "FROM enable_logging() WITH ORDINALITY",
        "FROM summary((FROM enable_logging()))",
        "FROM query('FROM enable_logging()')",
        "FROM query($$FROM enable_logging()$$)",
        "FROM query($x$FROM query('FROM enable_logging()')$x$)",
        "FROM query('FROM enable_'\n'logging()')",
        "FROM query(E'FROM enable_\\x6cogging()')",
        "FROM query('FROM query(''FROM query(''''FROM enable_logging()'''')'')')",
        "WITH enable_logging AS (SELECT 1) FROM enable_logging()",
        "SELECT * FROM enable_logging() AS enable_logging",
        "FROM (VALUES (1)) x, enable_logging()",
        "((FROM enable_logging()))",
        "FROM (SELECT 1) a ASOF JOIN enable_logging() b ON a.x >= b.y",
        ";; FROM enable_logging();",
    };
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        refused_as(f.engine, from[i], "table function enable_logging");
    static const char *const calls[] = {
        "SELECT write_log('x')",
        "SELECT main.write_log('x')",
        "SELECT system.main.\"write_log\"('x')",
        "SELECT ('x').write_log()",
        "SELECT s.write_log() FROM t",
        "SELECT t.s.write_log() FROM t",
        "SELECT [write_log('x')]",
        "SELECT {'a': write_log('x')}",
        "SELECT {'a': write_log('x')}.a",
        "SELECT MAP {'a': write_log('x')}",
        "SELECT [1][write_log('x')]",
        "SELECT list_transform([1], x -> write_log('x'))",
        "SELECT list_transform([1], lambda x: write_log('x'))",
        "SELECT [write_log('x') FOR x IN [1]]",
        "SELECT [x FOR x IN [1] IF write_log('x') IS NULL]",
        "SELECT COLUMNS(x -> write_log(x) IS NULL) FROM t",
        "SELECT * REPLACE (write_log('x') AS a) FROM t",
        "SELECT count(*) FILTER (write_log('x') IS NULL) FROM t",
        "SELECT sum(a) OVER (ORDER BY write_log('x')) FROM t",
        "SELECT sum(a) OVER (PARTITION BY write_log('x')) FROM t",
        "SELECT sum(a) OVER w FROM t WINDOW w AS (ORDER BY write_log('x'))",
        "SELECT sum(a) OVER (ROWS write_log('x') PRECEDING) FROM t",
        "SELECT sum(a ORDER BY write_log('x')) FROM t",
        "SELECT list(a ORDER BY write_log('x')) FROM t",
        "SELECT lag(a, write_log('x')) OVER () FROM t",
        "SELECT a FROM t WHERE write_log('x') IS NULL",
        "SELECT a FROM t GROUP BY write_log('x')",
        "SELECT 1 FROM t GROUP BY GROUPING SETS ((write_log('x')))",
        "SELECT a FROM t GROUP BY a HAVING write_log('x') IS NULL",
        "SELECT a FROM t QUALIFY write_log('x') IS NULL",
        "SELECT DISTINCT ON (write_log('x')) a FROM t",
        "SELECT a FROM t ORDER BY write_log('x') COLLATE nocase",
        "SELECT a FROM t LIMIT write_log('x')",
        "VALUES (write_log('x'))",
        "VALUES (1), (write_log('x'))",
        "SELECT CASE WHEN true THEN write_log('x') END",
        "SELECT CASE write_log('x') WHEN '' THEN 1 ELSE 2 END",
        "SELECT coalesce(NULL, write_log('x'))",
        "SELECT write_log('x')::INTEGER",
        "SELECT TRY_CAST(write_log('x') AS INTEGER)",
        "SELECT TRY(write_log('x'))",
        "SELECT 1 BETWEEN 0 AND write_log('x')",
        "SELECT 1 IN (1, write_log('x'))",
        "SELECT write_log('x') LIKE 'x' ESCAPE write_log('y')",
        "SELECT write_log('x') IS NOT DISTINCT FROM 'x'",
        "SELECT - write_log('x')",
        "SELECT NOT write_log('x')",
        "SELECT write_log('x') || 'y'",
        "SELECT (write_log('x'), 1)",
        "FROM t JOIN t t2 ON write_log('x') IS NULL",
        "FROM range(write_log('x'))",
        "PIVOT t ON write_log(s) IN (1) USING sum(a)",
        "PIVOT t ON a IN (1) USING sum(write_log('x'))",
        "SELECT twice(write_log('x'))",
        "FROM first_of(write_log('x'))",
        "FROM t AT (VERSION => write_log('x'))",
        "SELECT grouping(a), write_log('x') FROM t GROUP BY ROLLUP (a)",
        "SELECT struct_pack(a := write_log('x'))",
        "SELECT x: write_log('x')",
        "SELECT unnest([write_log('x')])",
        "SELECT EXTRACT(year FROM write_log('x'))",
        "SELECT position('x' IN write_log('x'))",
        "SELECT $1 || write_log('x')",
        "SELECT if(true, write_log('x'), 1)",
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        refused_as(f.engine, calls[i], "function write_log");
}

static void every_class_has_its_refusal(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"FROM query('select ' || '1')", "table function query"},
        {"FROM query(concat('fr', 'om enable_', 'logging()'))", "table function query"},
        {"FROM query($1)", "table function query"},
        {"FROM query(getvariable('q'))", "table function query"},
        {"FROM query((SELECT 'select 1'))", "table function query"},
        {"FROM query('select 1'::VARCHAR)", "table function query"},
        {"FROM query(lower('SELECT 1'))", "table function query"},
        {"FROM query(s) SELECT 1", "table function query"},
        {"FROM t, query(t.s)", "table function query"},
        {"FROM query('select 1; select 2')", "table function query"},
        {"FROM query('INSERT INTO t VALUES (1)')", "table function query"},
        {"FROM query('COPY t TO ''/tmp/x''')", "table function query"},
        {"FROM query('EXPLAIN FROM enable_logging()')", "table function query"},
        {"FROM query('nonsense')", "table function query"},
        {"FROM query('FROM ''x.csv''')", "file x.csv"},
        {"FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))", "table function json_execute_serialized_sql"},
        {"FROM json_execute_serialized_sql('{}')", "table function json_execute_serialized_sql"},
        {"SELECT json_serialize_plan('FROM enable_logging()')", "table function enable_logging"},
        {"SELECT json_serialize_plan(s) FROM t", "function json_serialize_plan"},
        {"FROM query_table(concat('t', ''))", "table function query_table"},
        {"FROM query_table('x.csv')", "file x.csv"},
        {"FROM query_table(['t', '/etc/passwd'])", "file /etc/passwd"},
        {"FROM query_table('system.main.pragma_database_list')", "view pragma_database_list"},
        {"FROM histogram('x.csv', a)", "file x.csv"},
        {"FROM histogram_values(col_name := a, source := 'x.csv')", "file x.csv"},
        {"FROM pragma_table_info('pg_settings')", "view pg_settings"},
        {"FROM 'x.csv'", "file x.csv"},
        {"FROM \"x.csv\"", "file x.csv"},
        {"FROM \"X.CSV\" AS t", "file X.CSV"},
        {"FROM passwd.csv", "file passwd.csv"},
        {"FROM '/etc/passwd'", "file /etc/passwd"},
        {"FROM 's3://bucket/a/../b'", "file s3://bucket/a/../b"},
        {"FROM 'http://127.0.0.1/x.parquet?y'", "file http://127.0.0.1/x.parquet?y"},
        {"FROM 'data.duckdb'", "file data.duckdb"},
        {"DESCRIBE 'x.csv'", "file x.csv"},
        {"SUMMARIZE 'x.parquet'", "file x.parquet"},
        {"EXPLAIN ANALYZE FROM 'x.json.gz'", "file x.json.gz"},
        {"WITH a AS (FROM '*.csv') FROM a", "file *.csv"},
        {"PIVOT 'x.csv' ON a IN (1) USING sum(b)", "file x.csv"},
        {"FROM read_blob('x')", "table function read_blob"},
        {"FROM read_text(['a', 'b'])", "table function read_text"},
        {"SELECT 'x'::VARCHAR AS p FROM t, read_csv(p)", "table function read_csv"},
        {"FROM glob('*')", "table function glob"},
        {"FROM parquet_metadata('x')", "table function parquet_metadata"},
        {"FROM sniff_csv('x')", "table function sniff_csv"},
        {"FROM postgres_scan('host=127.0.0.1', 'public', 't')", "table function postgres_scan"},
        {"FROM postgres_execute('pg1', 'COMMIT')", "table function postgres_execute"},
        {"FROM mysql_execute('my1', 'x')", "table function mysql_execute"},
        {"FROM postgres_attach('host=127.0.0.1')", "table function postgres_attach"},
        {"FROM checkpoint()", "table function checkpoint"},
        {"FROM force_checkpoint('data')", "table function force_checkpoint"},
        {"FROM truncate_duckdb_logs()", "table function truncate_duckdb_logs"},
        {"FROM enable_profiling(save_location='/tmp/x')", "table function enable_profiling"},
        {"FROM disable_profiling()", "table function disable_profiling"},
        {"FROM enable_peg_parser()", "table function enable_peg_parser"},
        {"FROM dbgen(sf = 1)", "table function dbgen"},
        {"FROM arrow_scan(1, 2, 3)", "table function arrow_scan"},
        {"FROM seq_scan()", "table function seq_scan"},
        {"SELECT __internal_decompress_string(1)", "function __internal_decompress_string"},
        {"FROM which_secret('x', 's3')", "table function which_secret"},
        {"FROM duckdb_secrets()", "table function duckdb_secrets"},
        {"FROM duckdb_logs()", "table function duckdb_logs"},
        {"FROM duckdb_logs_parsed('x')", "table function duckdb_logs_parsed"},
        {"FROM duckdb_logs", "view duckdb_logs"},
        {"FROM duckdb_temporary_files()", "table function duckdb_temporary_files"},
        {"FROM duckdb_external_file_cache()", "table function duckdb_external_file_cache"},
        {"FROM sql_auto_complete('SELECT * FROM ''/')", "table function sql_auto_complete"},
        {"FROM duckdb_databases", "view duckdb_databases"},
        {"FROM pragma_database_list", "view pragma_database_list"},
        {"FROM system.main.\"Pragma_Database_List\"", "view Pragma_Database_List"},
        {"FROM pg_catalog.pg_settings", "view pg_settings"},
        {"SELECT current_setting('temp_directory')", "setting temp_directory"},
        {"SELECT current_setting('Secret_Directory')", "setting Secret_Directory"},
        {"SELECT current_setting('temp_' || 'directory')", "function current_setting"},
        {"SELECT current_setting(s) FROM t", "function current_setting"},
        {"SELECT current_setting($1)", "function current_setting"},
        {"FROM query('FROM duckdb_settings()')", "table function duckdb_settings"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused_as(f.engine, rows[i][0], rows[i][1]);
}

/* The engine drops Unicode blanks before it parses, and its positions are those of what is left. Here a comment lies where the position points to. */
static void a_filtered_function_is_found_where_the_engine_sees_it(void **state)
{
    (void)state;
    char sql[512], blanks[128];
    struct answer plain = ask(f.engine, "SELECT count(path) FROM duckdb_databases()");
    assert_int_equal(plain.err.code, ERR_OK);
    assert_string_equal(plain.text, "0\n");
    for (int n = 0; n < 40; n++) {
        blanks[0] = 0;
        for (int i = 0; i < n; i++)
            strcat(blanks, "\xC2\xA0");
        snprintf(sql, sizeof sql, "SELECT count(path)%s FROM /*duckdb_databases(*/duckdb_databases()", blanks);
        struct answer a = ask(f.engine, sql);
        if (a.err.code == ERR_OK ? strcmp(a.text, "0\n") != 0 : a.err.code != ERR_FORBIDDEN)
            fail_msg("%d blanks: %s %s", n, a.text, a.err.detail);
    }
    refused_as(f.engine, "EXPLAIN (ANALYZE, FORMAT 'json') SELECT 1", "EXPLAIN");
    assert_int_equal(ask(f.engine, "EXPLAIN\xE2\x81\xA0/* ) */(ANALYZE\xC2\xA0, FORMAT json)\xE3\x80\x80SELECT 1").err.code, ERR_OK);
}

static void a_text_may_lie_in_a_text_eight_times(void **state)
{
    (void)state;
    char sql[4096] = "SELECT 42", outer[4096];
    for (int depth = 1; depth <= 9; depth++) {
        snprintf(outer, sizeof outer, "FROM query($q%d$%.4000s$q%d$)", depth, sql, depth);
        snprintf(sql, sizeof sql, "%s", outer);
        if (depth <= 8)
            assert_answer(f.engine, sql, "42\n");
        else
            refused_as(f.engine, sql, "table function query");
    }
}

static void refusals_say_where_and_what_else(void **state)
{
    (void)state;
    struct answer a = ask(f.engine, "SELECT 1, current_setting('temp_directory')");
    assert_int_equal(a.err.position, 11);
    a = ask(f.engine, "EXPLAIN SELECT '\xC3\xA4', * FROM read_csv('x')");
    assert_int_equal(a.err.position, 29);
    assert_non_null(strstr(ask(f.engine, "FROM query($1)").err.detail, "; instead: "));
    assert_non_null(strstr(ask(f.engine, "FROM pragma_database_list").err.detail, "SHOW DATABASES"));
    assert_non_null(strstr(ask(f.engine, "PREPARE p AS SELECT 1").err.detail, "params"));
    assert_non_null(strstr(ask(f.engine, "CREATE MACRO m(x) AS x").err.detail, "WITH name AS"));
}

/* The engine's own words where nothing is refused. */
static void what_does_not_exist_is_the_engines_error(void **state)
{
    (void)state;
    struct answer a = ask(f.engine, "SELECT no_such_function(1)");
    assert_int_equal(a.err.code, ERR_SQL);
    assert_non_null(strstr(a.err.detail, "no_such_function does not exist"));
    assert_int_equal(ask(f.engine, "FROM no_such_function()").err.code, ERR_SQL);
    assert_int_equal(ask(f.engine, "FROM no_such_table").err.code, ERR_SQL);
    assert_int_equal(ask(f.engine, "SELECT \"no\\such\"\"function\"(1)").err.code, ERR_SQL);
    assert_int_equal(ask(f.engine, "SELECT $1, $name").err.code, ERR_SQL);
}

static void what_must_work_works(void **state)
{
    (void)state;
    static const char *const sql[] = {
        "SELECT a, sum(a) OVER (PARTITION BY a % 2 ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES), row_number() OVER w FROM t "
        "WINDOW w AS (ORDER BY a)",
        "SELECT ntile(2) OVER (ORDER BY a), first_value(a) OVER (ORDER BY a), nth_value(a, 2) OVER (ORDER BY a), lag(a, 1, 0) OVER (ORDER BY a) FROM "
        "t",
        "SELECT j->'k', j->>'$.k[0]', json_extract(j, '$.k'), json_array_length(j, '$.k'), to_json(l) FROM u",
        "FROM u, json_each(u.j)",
        "SELECT list_transform(l, x -> x + 1), list_filter(l, x -> x > 3), list_reduce(l, (x, y) -> x + y), [x * 2 FOR x IN l IF x > 0], l[1], "
        "l[1:2] FROM u",
        "SELECT regexp_replace(s, '[0-9]+', 'n'), regexp_matches(s, 'row'), s LIKE 'r%', s ILIKE 'R%', s SIMILAR TO 'r.*', s ~ 'r.*', s GLOB 'r*' "
        "FROM t",
        "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 5) SELECT sum(i) FROM r",
        "WITH RECURSIVE r(i) USING KEY (i) AS (SELECT 1 UNION SELECT i + 1 FROM r WHERE i < 3) FROM r",
        "FROM information_schema.tables",
        "FROM information_schema.columns",
        "FROM information_schema.schemata",
        "FROM pg_catalog.pg_class",
        "FROM pg_tables",
        "FROM sqlite_master",
        "FROM duckdb_tables()",
        "FROM duckdb_columns",
        "FROM duckdb_views()",
        "SELECT count(*) FROM duckdb_functions()",
        "FROM duckdb_schemas()",
        "FROM pragma_database_size()",
        "FROM pragma_table_info('t')",
        "FROM pragma_table_info('main.t')",
        "FROM pragma_storage_info('t')",
        "FROM pragma_show('t')",
        "FROM pragma_version()",
        "DESCRIBE t",
        "DESCRIBE v",
        "DESCRIBE SELECT 1",
        "SHOW TABLES",
        "SHOW ALL TABLES",
        "SHOW DATABASES",
        "SHOW SCHEMAS",
        "SHOW t",
        "SHOW TABLES FROM main",
        "SUMMARIZE t",
        "SUMMARIZE SELECT a FROM t",
        "FROM generate_series(1, 3)",
        "FROM range(3) r(i)",
        "SELECT unnest([1, 2]), unlist([3, 4])",
        "SELECT unnest({'a': 1, 'b': 2})",
        "FROM unnest([1, 2]) x(y)",
        "FROM u, unnest(u.l)",
        "PIVOT t ON a IN (1, 2) USING count(*) GROUP BY s",
        "FROM t PIVOT (sum(a) FOR s IN ('row 1', 'row 2'))",
        "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b INTO NAME n VALUE v",
        "VALUES (1, 'x'), (2, NULL)",
        "FROM query('SELECT 42')",
        "FROM query_table('t')",
        "FROM query_table(['t'])",
        "FROM query_table('shop.csv')",
        "FROM histogram(t, a)",
        "FROM histogram('t', a, bin_count := 3)",
        "SELECT json_serialize_sql('SELECT 1')",
        "SELECT twice(a) FROM t",
        "FROM first_of(2)",
        "FROM v",
        "FROM \"odd.csv\"",
        "FROM shop.csv",
        "FROM main.\"odd.csv\"",
        "TABLE t",
        "SELECT current_setting('TimeZone'), current_setting('threads'), current_setting('memory_limit')",
        "SELECT current_user, current_date, localtimestamp IS NULL, current_database(), version()",
        "SELECT 'x.csv' AS \"y.csv\"",
        "SELECT * FROM (SELECT 1) AS \"x.csv\"",
        "SELECT count(*) FILTER (a > 2), string_agg(s, ',' ORDER BY a), quantile_cont(a, 0.5), mode(a), arg_max(s, a), approx_count_distinct(s) FROM "
        "t",
        "SELECT a FROM t TABLESAMPLE reservoir(3)",
        "SELECT a FROM t USING SAMPLE 50%",
        "SELECT * EXCLUDE (s) REPLACE (a + 1 AS a) FROM t",
        "SELECT * RENAME (a AS b) FROM t",
        "SELECT COLUMNS('a|s') FROM t",
        "SELECT COLUMNS(c -> c LIKE 'a%') FROM t",
        "SELECT a FROM t UNION ALL BY NAME SELECT a FROM t",
        "SELECT a, count(*) FROM t GROUP BY ROLLUP (a) HAVING count(*) > 0 QUALIFY row_number() OVER () < 3 ORDER BY ALL LIMIT 2 OFFSET 1",
        "SELECT grouping_id(a) FROM t GROUP BY CUBE (a)",
        "SELECT DISTINCT ON (a % 2) a FROM t ORDER BY a % 2",
        "FROM t a ASOF JOIN t b ON a.a >= b.a SELECT count(*)",
        "FROM t SEMI JOIN u USING (a)",
        "SELECT (SELECT max(a) FROM t), EXISTS (FROM t), 1 IN (SELECT a FROM t), 1 = ANY (SELECT a FROM t)",
        "SELECT INTERVAL 1 DAY + DATE '2020-01-01', EXTRACT(year FROM DATE '2020-01-01'), TIMESTAMPTZ '2020-01-01 00:00:00+00' AT TIME ZONE 'UTC', "
        "date_trunc('month', DATE '2020-01-02')",
        "SELECT CAST('1' AS DECIMAL(4, 1)), TRY_CAST('x' AS INTEGER), '2'::TINYINT, '1'::ENUM('1'), TRY(1 // 0), {'a': 1}.a, MAP {'k': 'v'}['k'], "
        "struct_pack(a := 1), (1, 2), $$q$$, E'\\n', 'a'\n'b'",
        "SELECT trim(BOTH 'x' FROM 'xax'), substring('abc' FROM 2 FOR 1), position('b' IN 'abc'), 'a' COLLATE nocase = 'A', nullif(1, 1), "
        "ifnull(NULL, 1), coalesce(NULL, 2), if(true, 1, 2)",
        "SELECT 18446744073709551616, 1e400, 0.1, -1.5e-3, 12345678901234567890123456789012345678, 'ä \" \\ ' || chr(9)",
        "EXPLAIN SELECT a FROM t",
        "EXPLAIN ANALYZE SELECT a FROM t",
        "EXPLAIN (FORMAT json) FROM t",
        "FROM test_all_types()",
        "SELECT uuid() IS NULL, random() < 2, gen_random_uuid() IS NULL, now() IS NULL, hash(1), md5('x'), sha256('x'), base64('x'::BLOB), "
        "encode('x')",
        "SELECT t FROM t",
        "SELECT t.a.b FROM (SELECT {'b': 1} AS a) t",
        "SELECT s.upper() FROM t",
        "SELECT ('x').upper().lower()",
        "FROM duckdb_settings()",
        "FROM duckdb_databases()",
        "SELECT x FROM (FROM duckdb_settings() SELECT name AS x) JOIN duckdb_databases() d ON true",
        "FROM summary((FROM t))",
        "SELECT alias(a), typeof(a), stats(a) FROM t LIMIT 1",
    };
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        struct answer a = ask(f.engine, sql[i]);
        if (a.err.code != ERR_OK)
            fail_msg("%s\n -> %s [%s] %s", sql[i], error_text(a.err.code), a.err.what, a.err.detail);
    }
}

static void long_and_deep_texts(void **state)
{
    (void)state;
    size_t len = 2000000;
    char *sql = malloc(len);
    assert_non_null(sql);
    /* 900 terms: the parser takes them; planning may take long, so it is only judged, inside of what is refused anyway. */
    size_t n = (size_t)snprintf(sql, len, "SELECT write_log('x'), 1");
    for (int i = 0; i < 900; i++)
        n += (size_t)snprintf(sql + n, len - n, "+1");
    refused_as(f.engine, sql, "function write_log");
    n = (size_t)snprintf(sql, len, "SELECT 1");
    for (int i = 0; i < 100000; i++)
        n += (size_t)snprintf(sql + n, len - n, "+1");
    assert_int_equal(ask(f.engine, sql).err.code, ERR_SQL);
    n = (size_t)snprintf(sql, len, "SELECT ");
    memset(sql + n, '(', 100000);
    n += 100000;
    n += (size_t)snprintf(sql + n, len - n, "1");
    memset(sql + n, ')', 100000);
    sql[n + 100000] = 0;
    assert_int_equal(ask(f.engine, sql).err.code, ERR_SQL);
    /* Subqueries in subqueries, as deep as the engine's parser lets them. */
    n = 0;
    for (int i = 0; i < 300; i++)
        n += (size_t)snprintf(sql + n, len - n, "SELECT * FROM (");
    n += (size_t)snprintf(sql + n, len - n, "FROM enable_logging()");
    memset(sql + n, ')', 300);
    sql[n + 300] = 0;
    refused_as(f.engine, sql, "table function enable_logging");
    /* Many values, the last one bad. */
    n = (size_t)snprintf(sql, len, "VALUES (0)");
    for (int i = 0; i < 50000; i++)
        n += (size_t)snprintf(sql + n, len - n, ",(%d)", i);
    snprintf(sql + n, len - n, ",(write_log('x'))");
    refused_as(f.engine, sql, "function write_log");
    sql[n] = 0;
    assert_int_equal(ask(f.engine, sql).rows, 50001);
    free(sql);
}

static void paths_are_filtered(void **state)
{
    (void)state;
    assert_answer(f.engine, "SELECT database_name, path, tags::VARCHAR, readonly, type FROM duckdb_databases() WHERE NOT internal",
                  "data,,{},true,duckdb\n");
    assert_answer(f.engine, "SELECT d.path FROM system . main /* x */ . \"duckdb_databases\" () d WHERE d.database_name = 'data'", "\n");
    assert_answer(f.engine, "SELECT count(*) FROM DUCKDB_Databases() WHERE path IS NOT NULL", "0\n");
    assert_answer(
        f.engine,
        "SELECT name, value FROM duckdb_settings() WHERE name IN ('temp_directory', 'secret_directory', 'threads', 'home_directory') ORDER BY name",
        "home_directory,\nsecret_directory,\ntemp_directory,\nthreads,2\n");
    assert_answer(f.engine, "SELECT count(*) FROM duckdb_settings() WHERE contains(value, '/')", "0\n");
    assert_answer(f.engine, "SELECT count(*) > 100 FROM duckdb_settings()", "true\n");
    assert_answer(f.engine, "SELECT count(*) FROM duckdb_databases() a, duckdb_databases() b, duckdb_databases() c", "27\n");
    /* A mention that is no call stays what it is. */
    assert_answer(f.engine, "SELECT 'duckdb_settings()' AS duckdb_settings -- duckdb_settings()", "duckdb_settings()\n");
    struct answer a = ask(f.engine, "SELECT nope FROM duckdb_settings()");
    assert_int_equal(a.err.code, ERR_SQL);
    assert_int_equal(a.err.position, 8);
    /* From the cache as well. */
    for (int i = 0; i < 3; i++) {
        a = ask(f.engine, "SELECT path FROM duckdb_databases() WHERE database_name = 'data'");
        assert_string_equal(a.text, "\n");
        assert_int_equal(a.cache_use, i == 0 ? CACHE_MISS : CACHE_HIT);
    }
    a = ask(f.engine, engine_schema_sql());
    assert_string_equal(a.err.detail, "");
    assert_non_null(strstr(a.text, "odd.csv"));
    assert_null(strstr(a.text, f.dir));
}

static void the_operators_lists(void **state)
{
    (void)state;
    const char *const allow[] = {"read_text", NULL}, *const deny[] = {"generate_series", "list_transform", "md5", NULL};
    struct engine_options o = {
        .database_path = f.path, .memory_limit_bytes = 256 << 20, .threads = 1, .allow_functions = allow, .deny_functions = deny};
    struct error err = {0};
    struct engine *e = engine_open(&o, &err);
    assert_non_null(e);
    assert_int_equal(engine_lock(e, &err), 0);
    assert_int_equal(ask(e, "FROM read_text('/etc/hostname')").err.code, ERR_SQL); /* the engine's own lock still says no */
    refused_as(e, "FROM read_text($1)", "table function read_text");
    refused_as(e, "FROM read_text('/etc/' || 'hostname')", "table function read_text");
    refused_as(e, "FROM read_csv('x')", "table function read_csv");
    refused_as(e, "FROM generate_series(1, 2)", "table function generate_series");
    refused_as(e, "SELECT md5('x')", "function md5");
    refused_as(e, "SELECT list_transform([1], x -> x)", "function list_transform");
    assert_answer(e, "SELECT sha1('x')", "11f6ad8ec52a2984abaafd7c3b516503785c2072\n");
    engine_close(e);
}

/* Declared files: the policy lets through what lies below, as a plain string; the engine's own lock stands behind it. */
static void declared_files_may_be_read(void **state)
{
    (void)state;
    char sql[400], files[160];
    snprintf(files, sizeof files, "%s/files", f.dir);
    snprintf(sql, sizeof sql, "mkdir -p '%s' && printf 'a,b\\n1,2\\n' > '%s/x.csv'", files, files);
    assert_int_equal(system(sql), 0);
    struct engine_source source = {.def = {.type = SOURCE_IS_files, .path = files}};
    snprintf(source.def.name, sizeof source.def.name, "files");
    struct engine_options o = {
        .database_path = f.path, .memory_limit_bytes = 256 << 20, .threads = 1, .sources = &source, .source_count = 1, .statement_cache_entries = 8};
    struct error err = {0};
    struct engine *e = engine_open(&o, &err);
    if (!e)
        fail_msg("%s", err.detail);
    assert_int_equal(engine_lock(e, &err), 0);
    static const char *const reads[] = {"FROM read_csv('%s/x.csv')",   "FROM '%s/x.csv'",
                                        "FROM \"%s/x.csv\"",           "SELECT * FROM read_csv(['%s/x.csv'], header := true)",
                                        "SELECT a, b FROM '%s/*.csv'", "FROM query('FROM read_csv(''%s/x.csv'')')"};
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(sql, sizeof sql, reads[i], files);
#pragma GCC diagnostic pop
        assert_answer(e, sql, "1,2\n");
    }
    snprintf(sql, sizeof sql, "SELECT content FROM read_text('%s/x.csv')", files);
    assert_answer(e, sql, "\"a,b\n1,2\n\"\n");
    snprintf(sql, sizeof sql, "FROM read_csv('%s/' || 'x.csv')", files);
    refused_as(e, sql, "table function read_csv");
    snprintf(sql, sizeof sql, "FROM read_csv(['%s/x.csv', $1])", files);
    refused_as(e, sql, "table function read_csv");
    refused_as(e, "FROM read_csv()", "table function read_csv");
    refused_as(e, "FROM read_csv(files := 'x')", "file x");
    refused_as(e, "FROM read_text('/etc/hostname')", "file /etc/hostname");
    refused_as(e, "FROM '/etc/x.csv'", "file /etc/x.csv");
    snprintf(sql, sizeof sql, "FROM read_blob('%s/../data.duckdb')", files);
    assert_int_equal(ask(e, sql).err.code, ERR_FORBIDDEN);
    snprintf(sql, sizeof sql, "FROM '%s/y.duckdb'", files);
    assert_int_equal(ask(e, sql).err.code, ERR_FORBIDDEN);
    refused_as(e, "FROM read_duckdb('x')", "table function read_duckdb");
    engine_close(e);
}

/* ---- the database's own objects ---- */

static void refused_objects(void *ctx, const char *kind, const char *name, const char *why)
{
    char *all = ctx;
    size_t n = strlen(all);
    snprintf(all + n, 8192 - n, "%s %s: %s\n", kind, name, why);
}

static void views_and_macros_hide_nothing(void **state)
{
    (void)state;
    char path[160], all[8192] = "";
    snprintf(path, sizeof path, "%s/hostile", f.dir);
    make_database(
        path,
        "CREATE TABLE t(a INT); CREATE VIEW good AS SELECT 1 AS x; CREATE SCHEMA o; CREATE VIEW o.good AS SELECT 2 AS x;"
        "CREATE VIEW bad AS FROM enable_logging(); CREATE VIEW \"as\"(\"x y\", z) AS SELECT write_log('a'), 1; CREATE VIEW uses AS SELECT 1 FROM bad;"
        "CREATE VIEW uses_uses AS SELECT (SELECT count(*) FROM uses) AS n; CREATE VIEW o.good2 AS FROM o.good;"
        "CREATE MACRO bad_scalar(x) AS write_log(x::VARCHAR); CREATE MACRO bad_table(x) AS TABLE FROM query(x); CREATE MACRO also_bad(x, y) AS (x, "
        "bad_scalar(y));"
        "CREATE MACRO overloaded(x) AS x, (x, y) AS bad_scalar(y); CREATE MACRO named(t) AS TABLE FROM query_table(t); CREATE MACRO hist(t) AS TABLE "
        "FROM histogram(t, a);"
        "CREATE MACRO literal() AS TABLE FROM query('SELECT 7 AS seven'); CREATE MACRO o.lower(x) AS write_log(x::VARCHAR); CREATE MACRO setting(x) "
        "AS current_setting(x);"
        "CREATE VIEW macro_view AS SELECT also_bad(1, 'x') AS y; CREATE VIEW paths AS FROM duckdb_databases(); CREATE VIEW list AS FROM "
        "pragma_database_list;"
        "CREATE TABLE generated(a VARCHAR, b VARCHAR AS (bad_scalar(a))); CREATE TABLE fine(a INT DEFAULT 3, b INT AS (a + 1));"
        "CREATE VIEW o.\"quo\"\"ted\" AS FROM bad; CREATE VIEW histo AS FROM histogram(fine, a); CREATE VIEW bad_histo AS FROM histogram(generated, "
        "a)");
    struct engine *e = open_engine(path, 8);
    static const char *const refused[][2] = {
        {"FROM bad", "view bad"},
        {"FROM main.bad", "view bad"},
        {"FROM hostile.main.BAD", "view bad"},
        {"SELECT 1 FROM \"as\"", "view as"},
        {"FROM uses", "view uses"},
        {"FROM uses_uses", "view uses_uses"},
        {"DESCRIBE bad", "view bad"},
        {"SUMMARIZE bad", "view bad"},
        {"EXPLAIN FROM uses", "view uses"},
        {"FROM query('FROM bad')", "view bad"},
        {"FROM query_table('bad')", "view bad"},
        {"FROM query_table('main.uses')", "view uses"},
        {"FROM pragma_table_info('bad')", "view bad"},
        {"FROM histogram(bad, x)", "view bad"},
        {"SELECT bad_scalar('x')", "macro bad_scalar"},
        {"SELECT ('x').bad_scalar()", "macro bad_scalar"},
        {"SELECT main.bad_scalar('x')", "macro bad_scalar"},
        {"FROM bad_table('SELECT 1')", "macro bad_table"},
        {"SELECT also_bad(1, 'x')", "macro also_bad"},
        {"SELECT overloaded(1)", "macro overloaded"},
        {"FROM named('t')", "macro named"},
        {"FROM hist('t')", "macro hist"},
        {"SELECT lower('X')", "macro lower"},
        {"SELECT setting('TimeZone')", "macro setting"},
        {"FROM macro_view", "view macro_view"},
        {"FROM paths", "view paths"},
        {"FROM list", "view list"},
        {"FROM generated", "table generated"},
        {"SELECT a FROM generated", "table generated"},
        {"FROM o.\"quo\"\"ted\"", "view quo\"ted"},
        {"WITH x AS (FROM bad) FROM x", "view bad"},
        {"SELECT list_transform(['x'], v -> bad_scalar(v))", "macro bad_scalar"},
        {"FROM bad_histo", "view bad_histo"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        refused_as(e, refused[i][0], refused[i][1]);
    assert_answer(e, "FROM good", "1\n");
    assert_answer(e, "FROM o.good", "2\n");
    assert_answer(e, "FROM o.good2", "2\n");
    assert_answer(e, "FROM literal()", "7\n");
    assert_answer(e, "FROM fine", "");
    assert_int_equal(ask(e, "FROM histo").err.code, ERR_OK);
    assert_answer(e, "SELECT upper('x')", "X\n");
    engine_refused_objects(e, refused_objects, all);
    assert_non_null(strstr(all, "view hostile.main.uses_uses: it uses view main.uses: it uses view main.bad: table function enable_logging refused"));
    assert_non_null(strstr(all, "macro hostile.o.lower: function write_log refused"));
    assert_non_null(strstr(all, "table hostile.main.generated: it uses macro main.bad_scalar"));
    assert_null(strstr(all, "good"));
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_function_is_found_everywhere),
        cmocka_unit_test(every_class_has_its_refusal),
        cmocka_unit_test(a_filtered_function_is_found_where_the_engine_sees_it),
        cmocka_unit_test(a_text_may_lie_in_a_text_eight_times),
        cmocka_unit_test(refusals_say_where_and_what_else),
        cmocka_unit_test(what_does_not_exist_is_the_engines_error),
        cmocka_unit_test(what_must_work_works),
        cmocka_unit_test(long_and_deep_texts),
        cmocka_unit_test(paths_are_filtered),
        cmocka_unit_test(the_operators_lists),
        cmocka_unit_test(declared_files_may_be_read),
        cmocka_unit_test(views_and_macros_hide_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
