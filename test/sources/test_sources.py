"""Sources for one request: declared in the configuration, asked for by name, attached read-only, and gone with the answer."""

import json
import os
import subprocess
import sys

import pytest

from lib.backend import free_port
from lib.db import Db
from lib.server import Server, run_cli
from lib.session import Session
from lib.sources import Sources
from lib.wait import wait_until

FEDERATED = """
SELECT (SELECT count(*) FROM my1.analytics.events), (SELECT count(*) FROM pg1.public.users),
       (SELECT count(*) FROM my1.analytics.events m JOIN pg1.public.users p ON p.id = m.user_id WHERE m.event_id <= 10000)
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("files")
    (path / "prices.csv").write_text("item,price\nbolt,1.25\nnut,0.5\n")
    (path.parent / "outside.csv").write_text("secret\n1\n")
    return path


@pytest.fixture(scope="module")
def declared(tmp_path_factory, pg, my, s3, directory):
    other = Db(tmp_path_factory.mktemp("other"), "archive.duckdb").make("CREATE TABLE old AS SELECT 7 AS seven")
    return (Sources(tmp_path_factory.mktemp("secrets")).postgres("pg1", pg).mysql("my1", my).s3("lake", s3)
            .files("drop", directory).duckdb("attic", other))


@pytest.fixture(scope="module")
def shared_server(declared, items):
    with Server(items, set=declared.settings) as s:
        yield s


def secrets_of(declared):
    return [open(v).read().strip() for k, v in declared.settings.items() if k.endswith("_file")]


def test_the_list_names_them_and_tells_no_more_than_is_needed(client, declared, pg, s3, directory):
    response = client.get("/v1/sources")
    assert response.json() == {"sources": [
        {"name": "pg1", "type": "postgres"}, {"name": "my1", "type": "mysql"}, {"name": "lake", "type": "s3", "uri": "s3://lake/in/"},
        {"name": "drop", "type": "files", "uri": str(directory)}, {"name": "attic", "type": "duckdb"}]}
    for secret in secrets_of(declared) + [str(pg.port), s3.endpoint, "reader", "password"]:
        assert secret not in response.text


def test_postgres_mysql_joined_in_one_query(client):
    assert client.rows(FEDERATED, sources=["my1", "pg1"]) == [[20000, 2000, 8000]]


def test_mysql_on_this_machine_by_its_name(start, my, tmp_path):
    """The connector takes that name for a unix socket's."""
    server = start(set=Sources(tmp_path).mysql("my1", my, host="localhost").settings)
    assert server.client.rows("SELECT count(*) FROM my1.analytics.events", sources=["my1"]) == [[20000]]


def test_s3_files_and_another_database(client, directory):
    assert client.rows("SELECT count(*) FROM 's3://lake/in/countries.csv'", sources=["lake"]) == [[4]]
    assert client.rows(f"SELECT sum(price) FROM '{directory}/prices.csv'", sources=["drop"]) == [[1.75]]
    assert client.rows("SELECT seven FROM attic.old", sources=["attic"]) == [[7]]


def test_all_kinds_at_once_with_the_own_database(client, directory):
    sql = f"""SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM my1.analytics.events), (SELECT count(*) FROM pg1.public.users),
              (SELECT count(*) FROM 's3://lake/in/countries.csv'), (SELECT count(*) FROM '{directory}/prices.csv'), (SELECT seven FROM attic.old)"""
    assert client.rows(sql, sources=["pg1", "my1", "lake", "drop", "attic"]) == [[1000, 20000, 2000, 4, 2, 7]]


def test_nothing_is_left_of_the_request(server, client, pg, my):
    client.rows(FEDERATED, sources=["my1", "pg1"])
    wait_until(lambda: pg.connections() == 0 and my.connections() == 0, "connections are left at the sources")
    wait_until(lambda: not [w for w in server.workers() if w["kind"] in ("sources", "session")], lambda: server.status()["workers"])


def test_without_asking_there_is_no_source(client):
    fields = client.query("SELECT count(*) FROM pg1.public.users").problem(400, "sql_error")
    assert "pg1" in fields["detail"]


def test_a_source_that_does_not_exist_is_not_found(client):
    assert "nosuch" in client.query("SELECT 1", sources=["nosuch"]).problem(404, "not_found")["detail"]


@pytest.mark.parametrize("sources", ["pg1", [1], ["pg1", "pg1"], ["PG1"], ["pg1; DROP"], [""], ["x" * 40], [f"s{i}" for i in range(17)], ["pg1\0"]])
def test_wrong_lists_are_refused(client, sources):
    client.query("SELECT 1", sources=sources).problem(400, "bad_request")


def test_an_empty_list_is_the_pool(client):
    assert client.rows("SELECT 42", sources=[]) == [[42]]


PAST_A_READ_ONLY_ATTACH = (
    "FROM postgres_execute('pgw', 'COMMIT; INSERT INTO public.users VALUES (-1, ''written'', ''DE'')')",
    "FROM postgres_query('pgw', 'COMMIT; INSERT INTO public.users VALUES (-2, ''written'', ''DE'') RETURNING *')",
    "FROM postgres_query('pgw', 'INSERT INTO public.users VALUES (-3, ''written'', ''DE'') RETURNING *')",
    "FROM postgres_scan('host=127.0.0.1', 'public', 'users')", "FROM postgres_scan_pushdown('host=127.0.0.1', 'public', 'users')",
    "FROM mysql_execute('myw', 'DELETE FROM analytics.events')", "FROM mysql_query('myw', 'DELETE FROM analytics.events RETURNING *')",
    "SELECT * FROM postgres_attach('host=127.0.0.1')", "FROM pg_clear_cache()", "FROM mysql_clear_cache()",
)


def test_writes_fail_although_the_role_could(start, pg, my, tmp_path):
    server = start(set=Sources(tmp_path).postgres("pgw", pg, "writer").mysql("myw", my, "writer").settings)
    for sql in ("INSERT INTO pgw.public.users SELECT 1, 'x', 'DE'", "CREATE TABLE pgw.public.made AS SELECT 1", "DROP TABLE pgw.public.users",
                "DELETE FROM myw.analytics.events", "COPY (SELECT 1) TO '/tmp/x'", "ATTACH '' AS y (TYPE postgres)", "DETACH pgw"):
        server.client.query(sql, sources=["pgw", "myw"]).problem(403, "forbidden")
    with Session(server.client, sources=["pgw", "myw"]) as session:
        for sql in PAST_A_READ_ONLY_ATTACH:
            for text in (sql, f"CREATE TEMP TABLE x AS {sql}", f"CREATE TEMP VIEW x AS {sql}", f"SET VARIABLE x = (SELECT count(*) FROM ({sql}))",
                         f"EXPLAIN ANALYZE {sql}", f"SELECT * FROM query('{sql.replace(chr(39), chr(39) * 2)}')"):
                assert session.query(text).status in (400, 403), text
    assert pg.sql("SELECT count(*) FROM public.users WHERE name = 'written'") == "0"
    assert pg.sql("SELECT count(*) FROM public.users") == "2000"
    assert my.sql("SELECT count(*) FROM analytics.events") == "20000"


def test_filters_and_projections_reach_postgres(client, pg):
    mark = len(pg.output)
    assert client.rows("SELECT name FROM pg1.public.users WHERE id = 77", sources=["pg1"]) == [["user 77"]]
    sent = " ".join(line for line in pg.output[mark:] if "COPY" in line)
    assert '"name"' in sent and "77" in sent and '"country"' not in sent, sent


def test_postgres_is_told_how_long_a_statement_may_take(client, pg):
    mark = len(pg.output)
    client.rows("SELECT count(*) FROM pg1.public.users", sources=["pg1"])
    plan = client.rows("EXPLAIN SELECT name FROM pg1.public.users WHERE id = 77", sources=["pg1"])
    assert "POSTGRES_SCAN" in json.dumps(plan)
    assert "READ ONLY" in " ".join(pg.output[mark:]).upper()


class TestConfiguration:
    def refused(self, *words, **settings):
        argv = ["serve", "--listen", "127.0.0.1:0"]
        for key, value in settings.items():
            argv += ["--set", f"source.x.{key}={value}"]
        done = run_cli(*argv)
        assert done.returncode == 2, (done.returncode, done.stderr)
        for word in ("[source.x]", *words):
            assert word in done.stderr, done.stderr

    def test_what_is_missing_is_named(self):
        self.refused("host", type="postgres", database="d", user="u")
        self.refused("database", type="postgres", host="h", user="u")
        self.refused("user", type="mysql", host="h")
        self.refused("bucket", type="s3")
        self.refused("path", type="files")

    def test_what_belongs_to_another_type_is_named(self):
        self.refused("bucket", type="postgres", host="h", database="d", user="u", bucket="b")
        self.refused("password_file", type="files", path="/srv", password_file="/x")

    @pytest.mark.parametrize("prefix", ["../x", "a/../b", "/a", "a//b", "a/./b", "a?b", "a#b", "a%2e", "a b", "a*"])
    def test_a_prefix_leads_nowhere_else(self, prefix):
        self.refused("prefix", type="s3", bucket="lake", prefix=prefix)

    @pytest.mark.parametrize("endpoint", ["http://", "h:x", "h:0", "h/path", "user@h", "h:1:2:3", "h?x"])
    def test_an_endpoint_is_an_address(self, endpoint):
        self.refused("endpoint", type="s3", bucket="lake", endpoint=endpoint)

    def test_a_host_is_no_connection_string(self):
        self.refused("host", type="postgres", host="h port=1", database="d", user="u")
        self.refused("host", type="mysql", host="h'x", user="u")

    def test_paths_are_absolute_and_not_the_root(self):
        self.refused("path", type="files", path="relative")
        self.refused("path", type="files", path="/")

    def test_secret_files_are_read_at_start(self, tmp_path):
        base = {"type": "mysql", "host": "h", "user": "u"}
        self.refused("password_file", "does not exist", password_file=tmp_path / "none", **base)
        self.refused("password_file", "not a regular file", password_file=tmp_path, **base)
        for content, words in (("", "empty"), ("two\nlines\n", "more than one line"), ("x" * 2000, "longer")):
            (tmp_path / "p").write_text(content)
            self.refused("password_file", words, password_file=tmp_path / "p", **base)
        os.mkfifo(tmp_path / "fifo")
        self.refused("password_file", "not a regular file", password_file=tmp_path / "fifo", **base)

    @pytest.mark.parametrize("name", ["temp", "system", "main", "memory", "information_schema", "pg_catalog"])
    def test_reserved_names(self, name):
        done = run_cli("serve", "--listen", "127.0.0.1:0", "--set", f"source.{name}.type=files", "--set", f"source.{name}.path=/srv")
        assert done.returncode == 2 and f"[source.{name}]" in done.stderr

    def test_the_databases_own_name(self, items):
        done = run_cli("serve", str(items), "--listen", "127.0.0.1:0", "--set", "source.data.type=files", "--set", "source.data.path=/srv")
        assert done.returncode == 2 and "[source.data]" in done.stderr

    @pytest.mark.parametrize("name", ["Pg", "1pg", "a-b", "a.b", "", "x" * 32, "ä"])
    def test_names_that_are_none(self, name, tmp_path):
        path = tmp_path / "c.ini"
        path.write_text(f"[source.{name}]\ntype = files\npath = /srv\n")
        done = run_cli("serve", "--listen", "127.0.0.1:0", "--config", str(path))
        assert done.returncode == 2, done.stderr


class TestFailures:
    """A source that can't be used: 502, named, in time, and not one credential in the text."""

    def failed(self, server, name, *words):
        response = server.client.query(f"SELECT count(*) FROM {name}.public.users", sources=[name])
        fields = response.problem(502, "source_error")
        assert fields["source"] == name, fields
        for word in words:
            assert word in fields["detail"], fields
        assert "options=" not in fields["detail"], "our own connection string is no help"
        assert response.seconds < 20
        text = response.text + server.log_text(200)
        for secret in ("wrong-s3cret-word", "pg'read"):
            assert secret not in text
        return fields

    def test_wrong_password(self, start, pg, my, tmp_path):
        s = Sources(tmp_path)
        wrong = s.secret("wrong", "wrong-s3cret-word")
        server = start(set=s.postgres("pgx", pg, password_file=wrong).mysql("myx", my, password_file=wrong).settings)
        self.failed(server, "pgx", "password authentication failed")
        self.failed(server, "myx", "Access denied")
        assert server.metric("bulkhead_queries_total", code="source_error") == 2

    def test_nobody_listens(self, start, pg, my, tmp_path):
        port = free_port()
        server = start(set=Sources(tmp_path).postgres("pgx", pg, port=port).mysql("myx", my, port=port).settings)
        self.failed(server, "pgx", "refused")
        self.failed(server, "myx")

    def test_a_name_that_nobody_knows(self, start, pg, tmp_path):
        server = start(set=Sources(tmp_path).postgres("pgx", pg, host="no-such-host.invalid").settings)
        self.failed(server, "pgx")

    def test_no_such_database(self, start, pg, tmp_path):
        server = start(set=Sources(tmp_path).postgres("pgx", pg, database="nosuch").settings)
        self.failed(server, "pgx", "nosuch")

    def test_tls_is_wanted_and_not_there(self, start, pg, my, tmp_path):
        server = start(set=Sources(tmp_path).postgres("pgx", pg, sslmode="require").mysql("myx", my, sslmode="require").settings)
        self.failed(server, "pgx", "SSL")
        self.failed(server, "myx", "SSL")

    def test_a_wrong_key_for_s3(self, start, s3, tmp_path):
        s = Sources(tmp_path)
        server = start(set=s.s3("lake", s3, secret_file=s.secret("wrong", "wrong-s3cret-word")).settings)
        response = server.client.query("FROM 's3://lake/in/countries.csv'", sources=["lake"])
        assert response.problem(502, "source_error")["source"] == "lake"
        assert "wrong-s3cret-word" not in response.text and s3.key_id not in response.text

    def test_a_directory_that_is_not_there(self, start, tmp_path):
        server = start(set=Sources(tmp_path).files("f", tmp_path / "gone").duckdb("d", tmp_path / "gone.duckdb").settings)
        server.client.query(f"FROM '{tmp_path}/gone/x.csv'", sources=["f"]).problem(400, "sql_error")
        fields = server.client.query("SELECT 1", sources=["d"]).problem(502, "source_error")
        assert fields["source"] == "d" and str(tmp_path) not in fields["detail"]

    @pytest.mark.parametrize("answer", ["silence", "garbage", "close"])
    def test_a_server_that_is_none(self, start, pg, my, tmp_path, answer):
        with Impostor(answer) as port:
            server = start(set={**Sources(tmp_path).postgres("pgx", pg, port=port).mysql("myx", my, port=port).settings,
                                "limits.queue_timeout": "40s"})  # for machines that are busy
            for name in ("pgx", "myx"):
                self.failed(server, name, *(["does not answer"] if answer == "silence" else []))


IMPOSTOR = """
import os, socket, sys, threading
mode = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
kept = []
while True:
    peer, _ = listener.accept()
    kept.append(peer)
    if mode == "garbage":
        peer.sendall(os.urandom(4096))
    if mode != "silence":
        peer.close()
"""


class Impostor:
    """Something that listens, and speaks no protocol of ours."""

    def __init__(self, mode):
        self.mode = mode

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-c", IMPOSTOR, self.mode], stdout=subprocess.PIPE, text=True)
        return int(self.process.stdout.readline())

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def test_unusual_names_and_types(start, pg, my, tmp_path):
    pg.sql('CREATE SCHEMA IF NOT EXISTS "Od d""schema"; CREATE TABLE IF NOT EXISTS "Od d""schema"."ta ble;" ("co,l" INT, "sel""ect" TEXT); '
           'INSERT INTO "Od d""schema"."ta ble;" SELECT 1, \'a\' WHERE NOT EXISTS (SELECT 1 FROM "Od d""schema"."ta ble;")')
    pg.sql("CREATE TABLE IF NOT EXISTS public.shapes(id INT, at POINT, net INET, range INT4RANGE, words TSVECTOR)")
    server = start(set=Sources(tmp_path).postgres("pg1", pg).settings)
    assert server.client.rows('SELECT "co,l", "sel""ect" FROM pg1."Od d""schema"."ta ble;"', sources=["pg1"]) == [[1, "a"]]
    pg.sql("INSERT INTO public.shapes SELECT 1, '(1,2)', '10.0.0.1/8', '[1,5)', 'a b' WHERE NOT EXISTS (SELECT 1 FROM public.shapes)")
    assert server.client.rows("SELECT * FROM pg1.public.shapes", sources=["pg1"]) == [[1, {"x": 1.0, "y": 2.0}, "10.0.0.1/8", "[1,5)", "'a' 'b'"]]
    assert server.client.rows("SELECT 1") == [[1]]


def test_tables_that_are_called_like_files(start, pg, tmp_path):
    pg.sql('CREATE TABLE public."x.csv" AS SELECT 1 AS a; CREATE TABLE public.json AS SELECT 2 AS a; CREATE TABLE public."in/x.csv" AS SELECT 3 AS a')
    try:
        server = start(set=Sources(tmp_path).postgres("pg1", pg).settings)
        with Session(server.client, sources=["pg1"]) as s:
            assert s.rows('FROM pg1.public."x.csv"') == s.rows('FROM pg1."x.csv"') == [[1]]
            assert s.rows("FROM pg1.public.json") == s.rows("FROM pg1.json") == [[2]]
            for name in ('pg1."no.csv"', 'pg1.public."no.csv"', "pg1.txt"):
                assert s.query(f"FROM {name}").problem(400, "sql_error")["error_type"] in ("Catalog", "IO")
            for name in ('pg1.public."in/x.csv"', '"x.csv"', "'x.csv'", 'public."x.csv"', 'nosuch."x.csv"', 'pg1."/etc/x.csv"', '"pg1/x.csv"'):
                s.query(f"FROM {name}").problem(403, "forbidden")
    finally:
        pg.sql('DROP TABLE public."x.csv", public.json, public."in/x.csv"')


def test_secrets_are_in_no_process_that_is_looked_at(server, client, declared, pg):
    connection = client.start_query("SELECT count(*) FROM pg1.public.users a, pg1.public.users b, range(500) c WHERE a.id + b.id + c.range > 3",
                                    headers={"Bulkhead-Query-Id": "12121212-1212-1212-1212-121212121212"}, sources=["pg1"])
    row = server.wait_running("12121212-1212-1212-1212-121212121212")
    secrets = [s.encode() for s in secrets_of(declared)]
    for pid in (row["pid"], server.pid, server.front_pid):
        for name in ("environ", "cmdline"):
            with open(f"/proc/{pid}/{name}", "rb") as f:
                content = f.read()
            assert not any(s in content for s in secrets)
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                assert "secrets" not in os.readlink(f"/proc/{pid}/fd/{fd}")
            except FileNotFoundError:
                pass
    client.request("DELETE", "/v1/queries/12121212-1212-1212-1212-121212121212")
    connection.read_response()
    connection.close()


def test_secrets_are_in_no_answer_about_the_engine(client, declared):
    for sql in ("FROM duckdb_databases()", "FROM duckdb_secrets()", "FROM duckdb_settings()", "FROM pragma_database_list",
                "SELECT which_secret('s3://lake/in/x', 's3')", "FROM which_secret('s3://lake/in/x', 's3')"):
        response = client.query(sql, sources=["pg1", "my1", "lake"])
        for secret in secrets_of(declared):
            assert secret not in response.text, (sql, response)
            assert json.dumps(secret)[1:-1] not in response.text or response.status != 200


class TestWarm:
    def test_a_warm_set_needs_no_attach_and_serves_one_request_only(self, start, pg, tmp_path):
        server = start(set=Sources(tmp_path).postgres("pg1", pg, warm=1).settings)

        def warm():
            return [w for w in server.workers("sources") if w["state"] == "spare"]

        wait_until(lambda: len(warm()) == 1, lambda: server.status()["workers"])
        pid = warm()[0]["pid"]
        assert pg.connections() == 1
        assert server.client.rows("SELECT count(*) FROM pg1.public.users", sources=["pg1"]) == [[2000]]
        wait_until(lambda: warm() and warm()[0]["pid"] != pid, lambda: f"not another one: {server.status()['workers']}")

    def test_a_warm_worker_makes_room_for_another_set(self, start, pg, my, tmp_path):
        server = start(set={**Sources(tmp_path).postgres("pg1", pg, warm=1).mysql("my1", my).settings, "session.max": 1})
        wait_until(lambda: server.workers("sources"), "no warm worker")
        assert server.client.rows("SELECT count(*) FROM my1.analytics.events", sources=["my1"]) == [[20000]]

    def test_a_source_that_is_down_does_not_spin(self, start, pg, tmp_path):
        server = start(set=Sources(tmp_path).postgres("pg1", pg, port=free_port(), warm=1).settings)
        server.wait_log("warm_failed")
        server.wait_log("backoff")
        assert server.client.rows("SELECT 1") == [[1]]
