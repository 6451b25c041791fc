"""The policy by function. Every hole that plain, locked DuckDB leaves open is shown there first, and then found closed here: 403 with the
culprit's name, counted, the worker unharmed. Then what has to go on working."""

import os

import pytest

from lib import plain
from lib.server import ROOT, Server
from lib.trap import Trap
from lib.wait import wait_until

EXTENSIONS = ROOT / "build" / "deps" / "extensions"
POSTGRES = EXTENSIONS / "postgres_scanner.duckdb_extension"

STORED = """
CREATE TABLE items AS SELECT i::BIGINT AS id, 'item ' || i AS name, i % 7 AS kind FROM range(100) t(i)
;;
CREATE VIEW good AS SELECT id FROM items WHERE kind = 3
;;
CREATE VIEW hidden AS FROM enable_logging()
;;
CREATE VIEW hidden_twice AS SELECT (SELECT count(*) FROM hidden) AS n
;;
CREATE MACRO hidden_macro(x) AS write_log(x::VARCHAR)
;;
CREATE MACRO assembled(x) AS TABLE FROM query(x)
;;
CREATE VIEW where_it_lies AS SELECT path FROM duckdb_databases()
;;
CREATE TABLE computed(a VARCHAR, b VARCHAR AS (hidden_macro(a)))
;;
CREATE MACRO twice(x) AS 2 * x
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    from lib.db import Db

    return Db(tmp_path_factory.mktemp("hostile"), "hostile.duckdb").make(STORED)


@pytest.fixture(scope="module")
def policy_server(hostile):
    with Server(hostile) as s:
        yield s


@pytest.fixture
def attacked(policy_server):
    """The server; afterwards each of its workers has to be the same process as before: a refusal costs nothing."""
    policy_server.settle()
    pids = sorted(policy_server.worker_pids())
    yield policy_server
    policy_server.settle()
    assert sorted(policy_server.worker_pids()) == pids
    assert policy_server.client.rows("SELECT count(*) FROM items") == [[100]]


def refused(server, sql, what, params=None):
    before = server.metric("bulkhead_queries_total", code="forbidden")
    problem = server.client.query(sql, params).problem(403, "forbidden")
    assert problem["what"] == what, problem
    assert " refused: " in problem["detail"]
    if "statement" not in what and what != "PIVOT without IN":
        assert 1 <= problem["position"] <= len(sql.encode())
    server.wait_metric("bulkhead_queries_total", before + 1, code="forbidden")
    return problem


# (statement, parameters, what this server names). Each runs in plain, locked DuckDB.
OPEN_ELSEWHERE = [
    ("FROM enable_logging(storage='stdout')", None, "table function enable_logging"),
    ("FROM system.main.enable_logging()", None, "table function enable_logging"),
    ('SELECT * FROM "system".main . "Enable_Logging" /* */ ()', None, "table function enable_logging"),
    ("FROM enable_profiling()", None, "table function enable_profiling"),
    ("SELECT write_log('x')", None, "function write_log"),
    ("SELECT ('x').write_log()", None, "function write_log"),
    ("FROM query(concat('fr', 'om enable_', 'logging()'))", None, "table function query"),
    ("FROM query('FROM enable_logging()')", None, "table function enable_logging"),
    ("FROM query($$FROM query('FROM enable_logging()')$$)", None, "table function enable_logging"),
    ("FROM query($1)", ["FROM enable_logging()"], "table function query"),
    ("FROM json_execute_serialized_sql(json_serialize_sql('FROM enable_logging()'))", None, "table function json_execute_serialized_sql"),
    ("FROM hidden", None, "view hidden"),
    ("FROM hidden_twice", None, "view hidden_twice"),
    ("SELECT hidden_macro('x')", None, "macro hidden_macro"),
    ("FROM assembled('FROM enable_logging()')", None, "macro assembled"),
    ("FROM computed", None, "table computed"),
    ("EXPLAIN ANALYZE FROM enable_logging()", None, "table function enable_logging"),
    ("SUMMARIZE SELECT write_log('x')", None, "function write_log"),
    ("CREATE TEMP VIEW items AS SELECT 1", None, "CREATE statement"),
    ("CREATE TEMP MACRO lower(x) AS 'x'", None, "CREATE statement"),
    ("SET VARIABLE q = 'x'", None, "SET statement"),
    ("USE hostile.main", None, "USE statement"),
    ("BEGIN", None, "BEGIN statement"),
    ("PREPARE p AS SELECT 1", None, "PREPARE statement"),
    ("CREATE TEMPORARY SECRET s (TYPE http, BEARER_TOKEN 'x')", None, "CREATE statement"),
    ("PRAGMA enable_profiling", None, "PRAGMA statement"),
    ("CALL enable_logging()", None, "CALL statement"),
    ("PIVOT items ON kind USING count(*)", None, "PIVOT without IN"),
    ("FROM duckdb_secrets()", None, "table function duckdb_secrets"),
    ("FROM which_secret('x', 's3')", None, "table function which_secret"),
    ("FROM duckdb_logs()", None, "table function duckdb_logs"),
    ("FROM truncate_duckdb_logs()", None, "table function truncate_duckdb_logs"),
    ("FROM checkpoint()", None, "table function checkpoint"),
    ("FROM where_it_lies", None, "view where_it_lies"),
    ("FROM pragma_database_list", None, "view pragma_database_list"),
    ("FROM duckdb_databases", None, "view duckdb_databases"),
    ("FROM pg_catalog.pg_settings", None, "view pg_settings"),
    ("SELECT current_setting('temp_directory')", None, "setting temp_directory"),
    ("SELECT current_setting('temp_' || 'directory')", None, "function current_setting"),
]


@pytest.mark.parametrize("sql,params,what", OPEN_ELSEWHERE, ids=[row[0] for row in OPEN_ELSEWHERE])
def test_what_plain_duckdb_runs_is_refused(attacked, hostile, tmp_path, sql, params, what):
    there = plain.run(hostile, (sql, params or []), directory=tmp_path)
    assert there.error is None, f"this is no hole of plain DuckDB: {there}"
    refused(attacked, sql, what, params)


def test_a_variable_does_not_smuggle_a_function(attacked, hostile, tmp_path):
    there = plain.run(hostile, "SET VARIABLE q = 'FROM enable_logging()'", "FROM query(getvariable('q'))", directory=tmp_path)
    assert there.error is None
    refused(attacked, "FROM query(getvariable('q'))", "table function query")


class TestFiles:
    def test_the_database_file_cannot_be_read_raw(self, attacked, hostile, tmp_path):
        sql = f"SELECT octet_length(content) FROM read_blob('{hostile}')"
        assert plain.run(hostile, sql, directory=tmp_path).rows == [[str(os.path.getsize(hostile))]]
        refused(attacked, sql, "table function read_blob")

    def test_the_scratch_directory_cannot_be_read_or_written(self, attacked, hostile, tmp_path):
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        (scratch / "secret.csv").write_text("a\n42\n")
        read = f"SELECT content FROM read_text('{scratch}/secret.csv')"
        assert plain.run(hostile, read, directory=tmp_path, temp_directory=scratch).error is None
        replaced = f"FROM '{scratch}/secret.csv'"
        assert plain.run(hostile, replaced, directory=tmp_path, temp_directory=scratch).rows == [["42"]]
        write = f"COPY (SELECT 1) TO '{scratch}/out.csv'"
        assert plain.run(hostile, write, directory=tmp_path, temp_directory=scratch).error is None
        explain = f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{scratch}/out2.csv'"
        assert plain.run(hostile, explain, directory=tmp_path, temp_directory=scratch).error is None
        assert (scratch / "out2.csv").exists()
        refused(attacked, read, "table function read_text")
        refused(attacked, replaced, f"file {scratch}/secret.csv"[:127])
        refused(attacked, write, "COPY statement")
        refused(attacked, explain, "EXPLAIN of COPY statement")

    @pytest.mark.parametrize("name", ["x.csv", "/etc/passwd", "data.duckdb", "s3://bucket/prefix/../other/x.parquet", "http://127.0.0.1:9/x.csv?a=b", "*.json.gz"])
    @pytest.mark.parametrize("form", ["FROM '{}'", 'SELECT * FROM "{}" AS t', "DESCRIBE '{}'", "SUMMARIZE '{}'", "FROM query_table('\"{}\"')",
                                      "WITH a AS (FROM '{}') FROM a", "SELECT 1 WHERE EXISTS (FROM '{}')"])
    def test_no_file_stands_for_a_table(self, attacked, form, name):
        refused(attacked, form.format(name), f"file {name}")

    def test_two_words_with_a_dot_are_no_file_either(self, attacked):
        refused(attacked, "FROM passwd.csv", "file passwd.csv")

    @pytest.mark.parametrize("call", ["read_csv('x')", "read_csv_auto(['x', 'y'])", "read_json('x')", "read_ndjson_objects('x')", "read_parquet('x')", "parquet_metadata('x')", "parquet_schema('x')",
                                      "glob('*')", "sniff_csv('x')", "read_duckdb('x')", "sql_auto_complete('FROM ''/')"])
    def test_functions_that_read_files(self, attacked, call):
        refused(attacked, f"SELECT * FROM {call}", "table function " + call.split("(")[0])


class TestPaths:
    """Nothing that a client can ask for shows where the server's files lie."""

    ASKS = ["FROM duckdb_databases()", "SELECT * FROM system.main.duckdb_databases() d", "FROM duckdb_settings()", "SELECT list(value) FROM duckdb_settings()", "SHOW DATABASES",
            "SELECT md5(path), path IS NULL FROM duckdb_databases() WHERE database_name = 'hostile'", "FROM pragma_database_size()", "FROM duckdb_tables()", "FROM duckdb_functions()",
            "FROM duckdb_memory()", "FROM pg_catalog.pg_database", "FROM information_schema.schemata", "FROM duckdb_schemas()", "SELECT current_setting('threads')", "FROM pragma_user_agent()",
            "EXPLAIN FROM items", "EXPLAIN ANALYZE FROM items", "FROM duckdb_columns()", "FROM duckdb_variables()", "FROM duckdb_types()"]
    FAILS = ["SELECT error('x')", "FROM nope", "SELECT nope()", "FROM items AT (VERSION => 1)", "SELECT 1::nope", "FROM postgres_scan('a', 'b', 'c')", "FROM duckdb_extensions()",
             "FROM duckdb_temporary_files()", "FROM duckdb_external_file_cache()", "FROM read_csv('nope.csv')", "FROM 'nope.parquet'", "SELECT current_setting('secret_directory')"]

    def test_plain_duckdb_shows_them(self, hostile, tmp_path):
        shown = plain.run(hostile, "SELECT path FROM duckdb_databases() WHERE path IS NOT NULL", directory=tmp_path)
        assert shown.rows == [[str(hostile)]]
        shown = plain.run(hostile, "SELECT count(*) FROM duckdb_settings() WHERE value LIKE '%/%'", directory=tmp_path)
        assert int(shown.rows[0][0]) >= 2

    @pytest.mark.parametrize("sql", ASKS + FAILS)
    def test_no_answer_holds_one(self, attacked, hostile, sql):
        response = attacked.client.query(sql)
        if sql in self.ASKS:
            assert response.status == 200, response
        else:
            assert response.status in (400, 403), response
        directory = str(hostile.path.parent)
        for secret in (directory, os.path.basename(directory), "/var/tmp", "/root", "/home/", ".duckdb/", str(ROOT)):
            assert secret not in response.text, f"{secret} in {response.text[:400]}"

    def test_what_is_left_of_them_is_useful(self, attacked):
        client = attacked.client
        assert client.rows("SELECT database_name, path, readonly FROM duckdb_databases() WHERE NOT internal") == [["hostile", None, True]]
        assert client.rows("SELECT value FROM duckdb_settings() WHERE name = 'TimeZone'") == [["UTC"]]
        assert client.rows("SELECT name FROM duckdb_settings() WHERE name = 'temp_directory' AND value IS NULL") == [["temp_directory"]]
        assert client.rows("SHOW DATABASES") == [["hostile"]]

    def test_the_schema_has_none(self, attacked, hostile):
        response = attacked.client.get("/v1/schema")
        assert response.status == 200 and str(hostile.path.parent) not in response.text
        assert response.json()["databases"][0]["name"] == "hostile"


@pytest.mark.skipif(not POSTGRES.exists(), reason="scripts/fetch-deps has not fetched the extensions")
def test_a_loaded_extension_gives_nobody_the_network(hostile, tmp_path):
    with Trap() as there, Trap() as here, Server(hostile, set={"database.extensions": str(POSTGRES)}) as s:
        def scan(port):
            return f"FROM postgres_scan('host=127.0.0.1 port={port} connect_timeout=2', 'public', 't')"

        assert plain.run(hostile, scan(there.port), directory=tmp_path, extensions=[POSTGRES]).error
        wait_until(lambda: there.visits, "plain DuckDB's connection")
        refused(s, scan(here.port), "table function postgres_scan")
        refused(s, f"FROM postgres_attach('host=127.0.0.1 port={here.port}')", "table function postgres_attach")
        refused(s, "FROM postgres_execute('pg1', 'COMMIT; INSERT INTO t VALUES (1)')", "table function postgres_execute")
        refused(s, "FROM postgres_query('pg1', 'SELECT 1')", "table function postgres_query")
        assert not here.visits


class TestTheOperator:
    def test_widens_and_narrows_it_and_is_told(self, start):
        s = start(set={"policy.allow_functions": "read_text, enable_logging", "policy.deny_functions": "md5"})
        assert s.log_entries("policy_widened", level="warn", functions="read_text, enable_logging")
        s.client.query("FROM read_text('/etc/hostname')").problem(400, "sql_error")  # the engine's own lock
        refused(s, "SELECT md5('x')", "function md5")
        refused(s, "FROM read_csv('x')", "table function read_csv")
        assert s.client.rows("SELECT sha1('x') IS NOT NULL") == [[True]]
        # What changes the process ends it, so that nobody else meets the change.
        before = s.metric("bulkhead_worker_deaths_total", reason="spent")
        assert s.client.query("FROM enable_logging()").status == 200
        s.wait_one_more_death(before, reason="spent")

    def test_is_not_told_without_a_reason(self, server):
        assert not server.log_entries("policy_widened")

    def test_changes_it_with_new_workers(self, start, tmp_path, items):
        config = tmp_path / "b.ini"
        config.write_text("[policy]\ndeny_functions = md5\n")
        s = start(items, config=config)
        refused(s, "SELECT md5('x')", "function md5")
        config.write_text("[policy]\ndeny_functions = sha1\n")
        pids = set(s.worker_pids())
        s.send_signal(1)
        s.wait_log("config_reloaded")
        wait_until(lambda: not pids & set(s.worker_pids()), "new workers")
        s.settle()
        assert s.client.rows("SELECT md5('x')") == [["9dd4e461268c8034f5c8564e155c67a6"]]
        refused(s, "SELECT sha1('x')", "function sha1")


class TestHostileTexts:
    @pytest.mark.parametrize("sql", ["SELECT " + "(" * 100000 + "1" + ")" * 100000, "SELECT 1" + "+1" * 100000, "SELECT " + "-" * 20001 + " 1", "SELECT " + "[" * 5000 + "]" * 5000,
                                     "SELECT " + "CASE WHEN true THEN " * 3000 + "1" + " END" * 3000], ids=["brackets", "terms", "comment", "lists", "cases"])
    def test_a_deep_text_is_an_error_and_no_crash(self, attacked, sql):
        response = attacked.client.query(sql)
        assert response.status in (400, 403), response

    def test_a_million_bytes_of_values(self, attacked):
        sql = "VALUES " + ",".join(["(1)"] * 100000)
        assert len(attacked.client.query(sql, timeout="60s").data) == 100000
        refused(attacked, sql + ",(write_log('x'))", "function write_log")

    def test_a_text_in_a_text_in_a_text(self, attacked):
        sql = "FROM enable_logging()"
        for depth in range(7):
            sql = f"FROM query($q{depth}${sql}$q{depth}$)"
        refused(attacked, sql, "table function enable_logging")
        sql = "SELECT 42 AS a"
        for depth in range(8):
            sql = f"FROM query($q{depth}${sql}$q{depth}$)"
        assert attacked.client.rows(sql) == [[42]]
        refused(attacked, f"FROM query($x${sql}$x$)", "table function query")


class TestVerdicts:
    def test_are_kept_with_the_statement(self, start, items):
        s = start(items, set={"pool.workers": 1})
        for _ in range(5):
            assert s.client.rows("SELECT count(*) FROM items WHERE kind = 2") == [[143]]
        assert s.metric("bulkhead_statement_cache_total", result="hit") == 4
        assert s.metric("bulkhead_statement_cache_total", result="miss") == 1

    def test_a_refusal_is_never_served_from_anywhere(self, attacked):
        for _ in range(5):
            refused(attacked, "SELECT write_log('again')", "function write_log")

    def test_words_in_strings_and_comments_are_no_calls(self, attacked):
        client = attacked.client
        assert client.rows("SELECT 'FROM enable_logging()' AS write_log -- read_csv('x')") == [["FROM enable_logging()"]]
        assert client.rows('SELECT query, "read_csv" FROM (SELECT 1 AS query, 2 AS read_csv)') == [[1, 2]]
        assert client.rows("WITH enable_logging AS (SELECT 5 AS a) SELECT a FROM enable_logging") == [[5]]


WORKS = [
    "SELECT id, sum(id) OVER (PARTITION BY kind ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM items",
    "SELECT list_transform([1, 2], x -> x + 1), [x FOR x IN [1, 2] IF x > 1], list_reduce([1, 2], (a, b) -> a + b)",
    "SELECT json_extract('{\"a\": [1]}', '$.a[0]'), '{\"a\": 1}'::JSON->>'a', to_json({'a': 1})",
    "SELECT regexp_replace(name, '[0-9]+', ''), name SIMILAR TO 'item.*' FROM items",
    "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 10) SELECT sum(i) FROM r",
    "FROM information_schema.tables", "FROM pg_catalog.pg_class", "FROM sqlite_master", "DESCRIBE items", "SHOW TABLES", "SHOW ALL TABLES", "SUMMARIZE items", "FROM generate_series(1, 3)",
    "SELECT unnest([1, 2, 3])", "PIVOT items ON kind IN (1, 2) USING count(*)", "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b", "VALUES (1, 'a'), (2, 'b')", "FROM query('SELECT 1')", "FROM query_table('items')",
    "FROM histogram(items, id)", "FROM good", "SELECT twice(id) FROM items", "SELECT COLUMNS('id|kind') FROM items", "SELECT id FROM items USING SAMPLE 10", "EXPLAIN ANALYZE SELECT count(*) FROM items",
    "FROM items SELECT kind, count(*) GROUP BY ALL ORDER BY ALL", "SELECT * EXCLUDE (name) FROM items QUALIFY row_number() OVER (PARTITION BY kind ORDER BY id) = 1", "SELECT uuid(), random(), now()",
]


@pytest.mark.parametrize("sql", WORKS)
def test_what_has_to_work_works(attacked, sql):
    assert len(attacked.client.query(sql).data) >= 1


@pytest.mark.parametrize("sql", ["SELECT NULL::ENUM('a', 'b')[]", "SELECT CAST(NULL AS STRUCT(a ENUM('a')))", "FROM query('SELECT NULL::ENUM(''a'')[1]')"])
def test_a_statement_that_the_engine_shows_no_tree_of_is_named_for_that(attacked, sql):
    """A limit of the engine's (1.5): the refusal says which part it is, and the way round works."""
    fields = attacked.client.query(sql).problem(403, "forbidden")
    assert fields["what"] == "type" and "explicit type" in fields["detail"], fields
    assert attacked.client.rows("SELECT typeof($1), $1", [{"type": "ENUM('a', 'b')[]", "value": ["b"]}]) == [["ENUM('a', 'b')[]", ["b"]]]
