"""Holes of plain, locked DuckDB that are about its temporary directory and about what one caller leaves to the next; each is shown there first.
(Those about functions and names: test_policy.py; about sources: test/sources/test_holes.py; memory and time: test_memory.py, test_deadlines.py.)"""

import os

import pytest

from lib import plain
from lib.server import Server
from lib.session import Session


@pytest.fixture(scope="module")
def holes_server(items):
    with Server(items) as s:
        yield s


@pytest.fixture(scope="module")
def session(holes_server):
    with Session(holes_server.client) as s:
        yield s


def everything_below(directory):
    return sorted(os.path.join(where, name) for where, _, names in os.walk(directory) for name in names)


# What writes below the temporary directory, {} in its place.
WRITES = [
    "COPY (SELECT 1 AS a) TO '{}/out.csv'", "COPY (SELECT 1 AS a) TO '{}/out.parquet' (FORMAT parquet)", "EXPORT DATABASE '{}/all'",
    "ATTACH '{}/new.duckdb' AS fresh (READ_WRITE)", "EXPLAIN ANALYZE COPY (SELECT 1) TO '{}/explained.csv'",
    "FROM enable_profiling(format='json', save_location='{}/profile.json')",
    "FROM enable_logging(storage='file', storage_path='{}/logs')",
]


@pytest.mark.parametrize("sql", WRITES, ids=[w.split(" ")[0] + w.split("{}")[1][:12] for w in WRITES])
def test_the_temporary_directory_is_written(holes_server, session, items, tmp_path, sql):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    there = plain.run(items, sql.format(scratch), "SELECT 42", directory=tmp_path, temp_directory=scratch)
    assert there.error is None and everything_below(scratch), there
    before = everything_below(scratch)
    for ask in (holes_server.client.query, session.query):
        assert ask(sql.format(scratch)).problem(403, "forbidden")["what"]
    assert everything_below(scratch) == before


READS = ["SELECT content FROM read_text('{}/secret.csv')", "FROM read_csv('{}/*.csv')", "FROM glob('{}/*')", "FROM '{}/secret.csv'", "DESCRIBE '{}/secret.csv'",
         "FROM query($$FROM '{}/secret.csv'$$)", "FROM query_table('{}/secret.csv')", "SUMMARIZE '{}/secret.csv'", "FROM sniff_csv('{}/secret.csv')"]


@pytest.mark.parametrize("sql", READS)
def test_the_temporary_directory_is_read(holes_server, session, items, tmp_path, sql):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "secret.csv").write_text("a,b\n42,43\n")
    assert plain.run(items, sql.format(scratch), directory=tmp_path, temp_directory=scratch).rows
    for ask in (holes_server.client.query, session.query):
        assert ask(sql.format(scratch)).problem(403, "forbidden")["what"]


def test_a_csv_is_copied_in(holes_server, session, items, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "secret.csv").write_text("42\n")
    sql = f"COPY mine FROM '{scratch}/secret.csv'"
    assert plain.run(items, "CREATE TEMP TABLE mine(a INT)", sql, "FROM mine", directory=tmp_path, temp_directory=scratch).rows == [["42"]]
    session.rows("CREATE TEMP TABLE mine AS SELECT 1 AS a")
    assert session.query(sql).problem(403, "forbidden")["what"] == "COPY statement"
    session.rows("DROP TABLE mine")


# What one caller leaves, what the next one then gets from a statement that means something else, and what it means.
LEFT_BEHIND = [
    ("CREATE TEMP VIEW items AS SELECT -1 AS id", "SELECT min(id) FROM items"),
    ("CREATE TEMP TABLE items AS SELECT -1 AS id", "SELECT min(id) FROM items"),
    ("CREATE TEMP MACRO lower(x) AS 'forged'", "SELECT lower('A')"),
    ("CREATE TEMP MACRO duckdb_tables() AS TABLE SELECT 'forged' AS table_name", "SELECT count(table_name) FROM duckdb_tables() WHERE table_name = 'forged'"),
    ("SET VARIABLE who = 'forged'", "SELECT getvariable('who') IS NULL"),
]


@pytest.mark.parametrize("leave,ask", LEFT_BEHIND, ids=[row[0][:30] for row in LEFT_BEHIND])
def test_what_one_caller_leaves_the_next_one_meets(holes_server, items, tmp_path, leave, ask):
    alone = plain.run(items, ask, directory=tmp_path).rows
    assert plain.run(items, leave, ask, directory=tmp_path).rows != alone
    assert holes_server.client.query(leave).problem(403, "forbidden")["what"].endswith("statement")
    for _ in range(4):
        assert [[str(v) for v in row] for row in holes_server.client.rows(ask)] == alone


class TestASession:
    """What a session makes is its own, and can't stand for what the policy knows by name."""

    def test_shadows_its_own_tables_only(self, holes_server, session):
        right = holes_server.client.rows("SELECT min(id) FROM items")
        session.rows("CREATE TEMP VIEW items AS SELECT -1 AS id")
        assert session.rows("SELECT min(id) FROM items") == [[-1]]
        assert holes_server.client.rows("SELECT min(id) FROM items") == right
        with Session(holes_server.client) as other:
            assert other.rows("SELECT min(id) FROM items") == right
        session.rows("DROP VIEW items")

    @pytest.mark.parametrize("name", ["pg_settings", "duckdb_databases", "pragma_database_list", "duckdb_logs"])
    def test_names_a_view_as_a_refused_one(self, session, name):
        """Refused all the same when it is asked for by that name: errs on the safe side."""
        session.rows(f"CREATE TEMP VIEW {name} AS SELECT 1 AS a")
        assert session.query(f"FROM {name}").status in (200, 403)
        assert session.query(f"FROM system.main.{name}").status == 403 or name == "pg_settings"
        assert session.query("FROM pg_catalog.pg_settings").status == 403
        session.rows(f"DROP VIEW {name}")

    @pytest.mark.parametrize("sql", [
        "CREATE TEMP MACRO duckdb_tables() AS TABLE SELECT 1", "CREATE TEMP FUNCTION lower(x) AS 1", "CREATE TEMP VIEW v AS FROM read_text('/etc/passwd')",
        "CREATE TEMP VIEW v AS FROM '/etc/passwd'", "CREATE TEMP TABLE v AS FROM enable_logging()", "CREATE TEMP VIEW v AS FROM query('FROM enable_logging()')",
        "SET VARIABLE v = (SELECT content FROM read_text('/etc/passwd'))", "SET VARIABLE v = write_log('x')", "CREATE TEMP TABLE \"/etc/passwd\" AS FROM \"/etc/passwd\"",
        "CREATE TEMP VIEW v AS SELECT 1; FROM enable_logging()", "CREATE TEMP TABLE v AS SELECT 1 -- x\n; COPY v TO '/tmp/x'", "INSERT INTO v VALUES (write_log('x'))",
        "CREATE TEMP VIEW v AS FROM pg_settings", "CREATE TEMP TABLE v(a INT DEFAULT write_log('x'))", "CREATE TEMP TABLE v AS SELECT 1 WITH NO DATA; BEGIN",
        "CREATE TEMP VIEW v AS PIVOT items ON kind USING count(*)", "CREATE TEMP SEQUENCE v", "CREATE TEMP TYPE v AS INT", "CREATE TEMP TRIGGER v",
    ])
    def test_makes_nothing_that_hides_a_refused_function(self, session, sql):
        session.query("DROP TABLE v")
        assert session.query(sql).status in (400, 403)
        assert session.query("FROM v").status in (400, 403)

    @pytest.mark.parametrize("sql", ["FROM query(getvariable('q'))", "FROM query_table(getvariable('q'))", "FROM read_text(getvariable('q'))", "SELECT current_setting(getvariable('q'))",
                                     "FROM json_execute_serialized_sql(getvariable('q'))", "FROM query(q) SELECT 1"])
    def test_a_variable_becomes_no_text(self, session, sql):
        session.rows("SET VARIABLE q = 'FROM enable_logging()'")
        assert session.query(sql).status in (400, 403)

    def test_a_view_shows_no_path_either(self, session, items):
        session.rows("CREATE TEMP VIEW where_it_is AS SELECT path FROM duckdb_databases()")
        text = session.query("FROM where_it_is").text + session.query("SELECT sql FROM duckdb_views()").text
        assert str(items.path.parent) not in text
        session.rows("DROP VIEW where_it_is")


# The same call, as the engine's parser understands it: names in every dress.
DRESSES = [
    "FROM {}()", "FROM system.main.{}()", "FROM main.{}()", "FROM \"{}\"()", "FROM \"system\".\"main\".\"{}\"()", "FROM\u00a0{}\u2003(\u3000)", "FROM\ufeff{}()", "FROM /* /* */ */{}/**/()",
    "FROM -- x\n{}()", "SELECT (SELECT count(*) FROM {}())", "DESCRIBE FROM {}()", "SUMMARIZE FROM {}()", "EXPLAIN ANALYZE FROM {}()", "explain(analyze)from {}()", "EXPLAIN\u2060ANALYZE\u00a0FROM {}()",
    "PIVOT (FROM {}()) ON a IN (1)", "FROM (FROM {}()) SELECT COLUMNS(*)", "FROM items POSITIONAL JOIN {}()", "FROM query('FROM {}()')", "FROM query(E'FROM\\x20{}()')", "FROM query(U&'FROM {}()')",
    "FROM query($q$FROM {}()$q$)", "WITH x AS (FROM {}()) FROM x", "SELECT list_transform([1], lambda x: (SELECT count(*) FROM {}()))", "FROM items, LATERAL (FROM {}())", "VALUES ((SELECT 1 FROM {}()))",
]


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("name", ["enable_logging", "ENABLE_Logging"])
def test_a_name_in_any_dress(holes_server, session, dress, name):
    sql = dress.replace("{}", name)
    for ask in (holes_server.client.query, session.query):
        problem = ask(sql)
        assert problem.status in (403, 400), problem
        if problem.status == 403:
            assert problem.problem(403, "forbidden")["what"] in ("table function enable_logging", "table function query"), problem
    assert not holes_server.log_entries("worker_death", reason="spent")
