"""A hostile database file whose macros and views bear names of the engine's own. The engine looks into the database first, also where a
statement does not write the name: so such a macro could speak for the policy's own statements, or run unseen. Each is shown in plain,
locked DuckDB first."""

import json
import os

import pytest

from lib import plain
from lib.server import Server, run_cli
from lib.session import Session
from lib.sources import Sources
from lib.db import Db

# The tree of a harmless statement, whatever is asked.
TREE = ('{"error":false,"statements":[{"node":{"type":"SELECT_NODE","select_list":[{"class":"CONSTANT","type":"VALUE_CONSTANT",'
        '"value":{"type":{"id":"INTEGER"},"value":1}}],"from_table":{"type":"EMPTY"}}}]}')

TABLE = "CREATE TABLE items AS SELECT i AS id FROM range(100) t(i)"


def make(directory, *statements):
    return Db(directory, "hostile.duckdb").make("\n;;\n".join([TABLE, *statements]))


LIES = [
    f"CREATE MACRO json_serialize_sql(x, skip_null := true, skip_empty := true, skip_default := true) AS '{TREE}'",
    "CREATE MACRO duckdb_views() AS TABLE SELECT 'hostile' AS database_name, 'main' AS schema_name, 'x' AS view_name, 'SELECT 1' AS sql, true AS internal",
    "CREATE MACRO duckdb_functions() AS TABLE SELECT 'hostile' AS database_name, 'main' AS schema_name, 'x' AS function_name, 'macro' AS function_type,"
    " 'SELECT 1' AS macro_definition, true AS internal",
    "CREATE MACRO duckdb_tables() AS TABLE SELECT 'hostile' AS database_name, 'main' AS schema_name, 'x' AS table_name, '' AS sql, true AS internal, 1 AS table_oid",
    "CREATE MACRO contains(a, b) AS false",
    'CREATE MACRO "||"(a, b) AS \'SELECT 1\'',
    "CREATE MACRO string_agg(a, b) AS '1'",
    "CREATE MACRO lower(a) AS 'threads'",
    "CREATE MACRO length(a) AS 1000",
    "CREATE MACRO count(a) AS 0::BIGINT",
    "CREATE MACRO count_star() AS 0::BIGINT",
    "CREATE MACRO bulkhead_values() AS TABLE SELECT 1 AS value",
]
HIDDEN = ["CREATE VIEW hidden AS SELECT count(*) FROM enable_logging()", "CREATE MACRO hidden_macro(x) AS write_log(x::VARCHAR)",
          "CREATE TABLE computed(a VARCHAR, b VARCHAR AS (write_log(a)))"]

FORBIDDEN = [("FROM enable_logging()", "table function enable_logging"), ("SELECT write_log('x')", "function write_log"), ("FROM hidden", "view hidden"),
             ("SELECT hidden_macro('x')", "macro hidden_macro"), ("FROM computed", "table computed"), ("SELECT current_setting('temp_directory')", "setting temp_directory"),
             ("FROM read_text('/etc/hostname')", "table function read_text"), ("COPY items TO '/tmp/x'", "COPY statement")]


def test_the_policy_asks_the_engine_and_not_the_file(tmp_path):
    db = make(tmp_path, *HIDDEN, *LIES)
    told = plain.run(db, "SELECT json_serialize_sql('FROM enable_logging()')", "SELECT lower('ABC')", directory=tmp_path)
    assert told.rows == [["threads"]], told
    with Server(db) as s:
        for sql, what in FORBIDDEN:
            assert s.client.query(sql).problem(403, "forbidden")["what"] == what, sql
        assert s.client.rows("SELECT id FROM items WHERE id = 42") == [[42]]
        text = s.client.query("SELECT path FROM duckdb_databases()").text + s.client.query("SELECT value FROM duckdb_settings()").text
        assert str(tmp_path) not in text and "bytes" not in s.client.query("SELECT nope_at_all()").text


# What makes such an object, and a statement that uses it without a word of it. `{}`: what is forbidden.
UNSEEN = [
    ("CREATE MACRO min(x) AS {}", "SUMMARIZE items"),
    ("CREATE MACRO list_value(x) AS {}", "SELECT [1]"),
    ("CREATE MACRO contains(x, y) AS {}", "SELECT 1 IN [1]"),
    ("CREATE MACRO list_aggr(x, y) AS {}", "SELECT list_sum([1])"),
    ("CREATE VIEW duckdb_tables AS SELECT {0} AS database_name, {0} AS schema_name, {0} AS table_name, false AS internal", "SHOW TABLES"),
    ("CREATE VIEW duckdb_views AS SELECT {0} AS database_name, {0} AS schema_name, {0} AS view_name, {0} AS sql, {0} AS comment, false AS temporary, false AS internal",
     "SELECT count(*) FROM information_schema.tables"),
]
CALL = "(SELECT count(*)::VARCHAR FROM enable_logging())"


@pytest.mark.parametrize("make_sql,sql", UNSEEN, ids=[row[1] for row in UNSEEN])
def test_what_the_engine_uses_by_itself_runs_nothing(tmp_path, make_sql, sql):
    db = make(tmp_path, make_sql.format(CALL))
    there = plain.run(db, sql, "SELECT value FROM duckdb_settings() WHERE name = 'enable_logging'", directory=tmp_path)
    assert there.rows == [["1"]], f"this is no hole of plain DuckDB: {there}"
    name = make_sql.split("(")[0].split(" AS ")[0].split(" ")[-1]
    with Server(db) as s:
        for statement in (sql, "SELECT 1", "EXPLAIN ANALYZE FROM items"):
            problem = s.client.query(statement).problem(403, "forbidden")
            assert problem["what"].endswith(" " + name) and "nothing runs before it is dropped" in problem["detail"], problem


def test_a_view_of_another_database_uses_that_ones(tmp_path, items):
    """A view looks for names where it lies, and what it uses without a word is found there as well."""
    other = Db(tmp_path, "other.duckdb").make(f"{TABLE};; CREATE VIEW v AS SELECT list_sum([id]) AS x FROM items;; CREATE VIEW uses AS FROM v;; CREATE MACRO list_aggr(x, y) AS {CALL}")
    there = plain.run(items, "FROM other.v LIMIT 1", "SELECT current_setting('enable_logging')", directory=tmp_path, before=[f"ATTACH '{other}' AS other (READ_ONLY)"])
    assert there.rows == [["1"]], f"this is no hole of plain DuckDB: {there}"
    sources = Sources(tmp_path).duckdb("other", other)
    with Server(items, set=sources.settings) as s:
        def ask(sql):
            return s.client.query(sql, sources=["other"])

        for sql in ("FROM other.v", "FROM other.uses", "SELECT other.main.list_aggr(1, 2)"):
            assert ask(sql).problem(403, "forbidden")["what"].split(" ")[0] in ("view", "macro"), sql
        assert ask("SELECT count(*), list_sum([1]) FROM other.items").data == [[100, 1]], "the rest of both databases works"


def test_the_doctor_tells_that_nothing_runs(tmp_path):
    db = make(tmp_path, f"CREATE MACRO min(x) AS {CALL}")
    report = json.loads(run_cli("doctor", db, "--format", "json").stdout)
    row, = [c for c in report["checks"] if c["name"] == "macro hostile.main.min"]
    assert row["verdict"] == "WARN" and "nothing runs before it is dropped" in row["in_force"], row


def test_a_harmless_macro_of_such_a_name_works_as_the_engine_has_it(tmp_path):
    """Whoever makes a database may name his macros as he likes; and in a schema of its own nobody takes one for the engine's."""
    db = make(tmp_path, "CREATE MACRO lower(x) AS 'mine'", "CREATE SCHEMA other", "CREATE MACRO other.min(x) AS (SELECT count(*) FROM enable_logging())",
              "CREATE VIEW other.duckdb_tables AS FROM enable_logging()", "CREATE VIEW bad AS FROM enable_logging()")
    with Server(db) as s:
        assert s.client.rows("SELECT lower('X')") == [["mine"]]
        assert s.client.rows("SELECT column_name FROM (SUMMARIZE items)") == [["id"]]
        assert s.client.query("FROM bad").problem(403, "forbidden")["what"] == "view bad"


def test_a_macro_chooses_nothing_that_the_server_sets(tmp_path):
    """SET allowed_configs=['..'] makes its list by that function."""
    names = ["TimeZone", "enable_logging", "temp_directory", "enable_progress_bar"]
    db = make(tmp_path, f"CREATE MACRO list_value(a, b, c) AS string_split('{','.join(names)}', ',')")
    assert plain.run(db, "SELECT ['a', 'b', 'c']", directory=tmp_path).rows == [[str(names)]]
    with Server(db, set={"pool.workers": 1}) as s:
        assert s.client.rows("SELECT count(*) FROM items") == [[100]]
        with Session(s.client) as session:
            assert session.rows("SELECT count(*) FROM items") == [[100]]
            session.rows("SET TimeZone = 'Europe/Berlin'")
            assert session.query("SET temp_directory = '/tmp'").problem(403, "forbidden")


def test_counting_an_imports_tables_asks_no_macro(tmp_path):
    db = make(tmp_path, "CREATE MACRO min(x) AS 4711", "CREATE MACRO count_star() AS 7::BIGINT", "CREATE MACRO duckdb_tables() AS TABLE SELECT 1 AS q")
    script = tmp_path / "more.sql"
    script.write_text("INSERT INTO items VALUES (100);")
    done = run_cli("import", db, script)
    assert done.returncode == 0 and "7" not in done.stdout.split(), done
    assert os.path.exists(str(db))
