"""What plain, locked DuckDB lets a statement do to its sources, each shown there first, and then found closed here."""

import duckdb
import pytest

from lib import plain
from lib.backend import free_port
from lib.server import ROOT, Server
from lib.session import Session
from lib.sources import Sources
from lib.trap import Trap

EXTENSIONS = ROOT / "build" / "deps" / "extensions"
POSTGRES, HTTPFS = EXTENSIONS / "postgres_scanner.duckdb_extension", EXTENSIONS / "httpfs.duckdb_extension"
MYSQL = EXTENSIONS / "mysql_scanner.duckdb_extension"


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def attached(pg, role):
    """As DuckDB's manual has it: by secret, and read-only."""
    return [f"CREATE TEMPORARY SECRET s (TYPE postgres, HOST '127.0.0.1', PORT {pg.port}, DATABASE 'shop', USER '{role}', PASSWORD {quoted(pg.passwords[role])})",
            "ATTACH '' AS pg1 (TYPE postgres, SECRET s, READ_ONLY)", "DROP SECRET s"]


def bucket(s3):
    """A prefix of a bucket, and a secret for just that."""
    return [f"CREATE TEMPORARY SECRET s (TYPE s3, KEY_ID '{s3.key_id}', SECRET {quoted(s3.secret)}, ENDPOINT '{s3.endpoint}', URL_STYLE 'path', USE_SSL false)",
            "SET allowed_directories = ['s3://lake/in/']"]


@pytest.fixture(scope="module")
def holes_server(items, pg, s3, tmp_path_factory):
    declared = Sources(tmp_path_factory.mktemp("secrets")).postgres("pg1", pg, role="writer").s3("lake", s3)
    with Server(items, set=declared.settings) as s:
        yield s


@pytest.fixture(scope="module")
def client(holes_server):
    with Session(holes_server.client, sources=["pg1", "lake"]) as s:
        yield s


def written(pg):
    return pg.sql("SELECT count(*) FROM public.notes")


@pytest.fixture(scope="module", autouse=True)
def notes(pg):
    pg.sql("CREATE TABLE public.notes(a INTEGER); GRANT ALL ON public.notes TO writer")
    yield
    pg.sql("DROP TABLE public.notes")


class TestPostgres:
    WRITE = "FROM postgres_execute('pg1', 'COMMIT; INSERT INTO public.notes VALUES (1)')"

    def test_a_read_only_attach_is_written_through(self, client, items, pg, tmp_path):
        assert written(pg) == "0"
        assert plain.run(items, self.WRITE, directory=tmp_path, extensions=[POSTGRES], before=attached(pg, "writer")).error is None
        assert written(pg) == "1"
        assert client.query(self.WRITE).problem(403, "forbidden")["what"] == "table function postgres_execute"
        assert client.query("FROM query($$" + self.WRITE + "$$)").problem(403, "forbidden")["what"] == "table function postgres_execute"
        for other in ("COMMIT; INSERT INTO public.notes VALUES (2)", "SELECT 1; INSERT INTO public.notes VALUES (3)"):
            assert client.query(f"FROM postgres_query('pg1', '{other}')").problem(403, "forbidden")["what"] == "table function postgres_query"
        assert client.query("INSERT INTO pg1.public.notes VALUES (4)").status == 403
        assert written(pg) == "1"

    def test_the_transactions_at_the_source_are_read_only_too(self, client, pg):
        """Should a statement ever get through: the server itself refuses."""
        client.rows("SELECT count(*) FROM pg1.public.notes")
        assert pg.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'writer'", "postgres") != "0"
        assert any("default_transaction_read_only" in line or "READ ONLY" in line for line in pg.output)

    def test_a_unix_socket_is_reached_after_the_lock(self, client, items, pg, tmp_path):
        scan = f"FROM postgres_scan('host={pg.directory} port={pg.port} user=boss dbname=shop', 'public', 'notes')"
        assert plain.run(items, scan, directory=tmp_path, extensions=[POSTGRES]).error is None
        assert client.query(scan).problem(403, "forbidden")["what"] == "table function postgres_scan"

    def test_a_dsn_shows_its_password(self, client, items, pg, tmp_path):
        dsn = f"host=127.0.0.1 port={pg.port} dbname=shop user=boss password=dsn-s3cret"
        socket = f"host={pg.directory} port={pg.port} dbname=shop user=boss password=dsn-s3cret"
        shown = plain.run(items, "SELECT path FROM duckdb_databases() WHERE database_name = 'pg1'", directory=tmp_path, extensions=[POSTGRES],
                          before=["CREATE TEMPORARY SECRET s (TYPE postgres)", f"ATTACH {quoted(socket)} AS pg1 (TYPE postgres, SECRET s, READ_ONLY)"])
        assert "dsn-s3cret" in shown.rows[0][0]
        secrets = [pg.passwords["writer"], quoted(pg.passwords["writer"]), str(pg.port), "127.0.0.1"]
        for sql in ("FROM duckdb_databases()", "FROM duckdb_settings()", "FROM duckdb_schemas()", "FROM duckdb_tables()", "FROM duckdb_views()", "SHOW DATABASES",
                    "SHOW ALL TABLES", "EXPLAIN FROM pg1.public.notes", "EXPLAIN ANALYZE FROM pg1.public.notes", "SELECT current_setting('pg_connection_limit')"):
            text = client.query(sql).text
            assert not [s for s in secrets if s in text], (sql, text[:500])
        assert client.query(f"ATTACH {quoted(dsn)} AS x (TYPE postgres)").status == 403


class TestSecretsOfASource:
    """A table `duckdb_secrets` at a PostgreSQL source is a store of secrets to the engine, for whatever it opens, unless it is told otherwise."""

    @pytest.fixture
    def planted(self, pg, s3):
        """Made by DuckDB itself, by somebody who may write to pg1: the objects of the source `lake` are to be fetched where he likes (here: nowhere)."""
        pg.sql("CREATE TABLE public.duckdb_secrets(secret_name VARCHAR PRIMARY KEY, secret_type VARCHAR NOT NULL, serialized_secret BYTEA NOT NULL);"
               "GRANT ALL ON public.duckdb_secrets TO writer")
        login, _, drop = attached(pg, "writer")
        with duckdb.connect() as con:
            for sql in (f"LOAD '{POSTGRES}'", f"LOAD '{HTTPFS}'", login, "ATTACH '' AS pg1 (TYPE postgres, SECRET s)", drop,
                        "CREATE PERSISTENT SECRET planted IN postgres_pg1 (TYPE s3, KEY_ID 'x', SECRET 'x', SCOPE 's3://lake/in/countries.csv', "
                        f"ENDPOINT '127.0.0.1:{free_port()}', USE_SSL false)", "DETACH pg1"):
                con.execute(sql)
        yield pg
        pg.sql("DROP TABLE public.duckdb_secrets")

    def test_they_do_not_lead_another_source_elsewhere(self, holes_server, planted):
        assert planted.sql("SELECT secret_name FROM public.duckdb_secrets") == "planted"
        mark = len(planted.output)
        with Session(holes_server.client, sources=["pg1", "lake"]) as s:
            assert s.rows("SELECT count(*) FROM 's3://lake/in/countries.csv'") == [[4]]
            assert s.rows("SELECT secret_name FROM pg1.public.duckdb_secrets") == [["planted"]], "to us it is a table as any"
        assert not [line for line in planted.output[mark:] if "LOWER(secret_type)" in line]

    def test_a_table_of_that_name_with_other_columns_is_no_error(self, holes_server, pg):
        pg.sql("CREATE TABLE public.duckdb_secrets AS SELECT 7 AS a; GRANT SELECT ON public.duckdb_secrets TO writer")
        try:
            with Session(holes_server.client, sources=["pg1", "lake"]) as s:
                assert s.rows("SELECT a FROM pg1.public.duckdb_secrets") == [[7]]
        finally:
            pg.sql("DROP TABLE public.duckdb_secrets")


class TestMySQL:
    """A constant goes into the statement that the scanner sends with its backslashes as they are, and to the server a backslash hides the quote behind it."""

    INJECTED = "SELECT a FROM m.shop.spells WHERE a = 'x\\' AND b = ' OR 1=1 -- '"
    WRITE = "SELECT a FROM m.shop.spells WHERE a = 'x\\' AND b = ' OR 1=1 INTO OUTFILE \"/nowhere/bulkhead\" -- '"

    @pytest.fixture
    def spells(self, my):
        my.sql("CREATE TABLE shop.spells(a VARCHAR(20), b VARCHAR(20)); INSERT INTO shop.spells VALUES ('one', 'b'), ('back\\\\slash', 'b'), ('it''s', 'b')")
        yield my
        my.sql("DROP TABLE shop.spells")

    def login(self, my):
        return [f"CREATE TEMPORARY SECRET s (TYPE mysql, HOST '127.0.0.1', PORT {my.port}, USER 'writer', PASSWORD {quoted(my.passwords['writer'])})",
                "ATTACH '' AS m (TYPE mysql, SECRET s, READ_ONLY)", "DROP SECRET s"]

    def test_a_filter_becomes_a_statement_of_its_own(self, start, items, spells, tmp_path):
        def run_plain(sql):
            return plain.run(items, sql, directory=tmp_path, extensions=[MYSQL], before=self.login(spells))

        assert len(run_plain(self.INJECTED).rows) == 3, "plain DuckDB gives every row"
        assert "/nowhere/bulkhead" in run_plain(self.WRITE).error, "and tries to write a file"
        server = start(set=Sources(tmp_path).mysql("m", spells, role="writer").settings)
        with Session(server.client, sources=["m"]) as s:
            for _ in range(3):  # in each connection, not only the first
                assert s.rows(self.INJECTED) == s.rows(self.WRITE) == []
                assert s.rows("SELECT a FROM m.shop.spells WHERE a = ?", ["x\\' OR 1=1 -- "]) == []

    def test_a_backslash_is_a_backslash(self, start, spells, tmp_path):
        server = start(set=Sources(tmp_path).mysql("m", spells).settings)
        with Session(server.client, sources=["m"]) as s:
            for where in ("a = 'back\\slash'", "a IN ('back\\slash', 'x')", "a LIKE 'back\\s%'", "a >= 'back\\' AND a < 'back]'"):
                assert s.rows(f"SELECT a FROM m.shop.spells WHERE {where}") == [["back\\slash"]], where
            assert s.rows("SELECT a FROM m.shop.spells WHERE a = 'it''s'") == [["it's"]]
            s.rows("CREATE TEMP TABLE mine AS SELECT 'back\\slash' AS a")
            assert s.rows("SELECT count(*) FROM mine JOIN m.shop.spells USING (a)") == [[1]]

    def test_many_statements_in_a_row(self, start, spells, tmp_path):
        """Each has a connection of its own; more at once than the broker makes wait for it."""
        server = start(set=Sources(tmp_path).mysql("m", spells).settings)
        with Session(server.client, sources=["m"]) as s:
            for _ in range(150):
                assert s.rows("SELECT count(*) FROM m.shop.spells") == [[3]]


class TestS3:
    def test_a_path_that_goes_up_leaves_the_allowed_directory(self, client, items, s3, tmp_path):
        sql = "FROM read_csv('s3://lake/in/../secret/salaries.csv')"
        mark = len(s3.requests())
        plain.run(items, sql, directory=tmp_path, extensions=[HTTPFS], before=bucket(s3))
        assert [r for r in s3.requests()[mark:] if "salaries" in r], "plain DuckDB did not ask for it"
        mark = len(s3.requests())
        assert client.query(sql).problem(403, "forbidden")["what"].startswith("file s3://lake/in/..")
        assert not s3.requests()[mark:]

    def test_a_parameter_of_the_address_sends_signed_requests_elsewhere(self, client, items, s3, tmp_path):
        with Trap() as there, Trap() as here:
            def sql(trap):
                return f"FROM read_csv('s3://lake/in/countries.csv?s3_endpoint=127.0.0.1:{trap.port}&s3_use_ssl=false')"

            plain.run(items, sql(there), directory=tmp_path, extensions=[HTTPFS], before=bucket(s3))
            assert there.visits, "plain DuckDB did not go there"
            assert client.query(sql(here)).problem(403, "forbidden")["what"].startswith("file ")
            assert here.visits == []

    def test_the_prefix_itself_is_read(self, client):
        assert client.rows("SELECT count(*) FROM read_csv('s3://lake/in/countries.csv')") == [[4]]
