"""A source that takes its time: what waits for it is stopped without the worker's death, and PostgreSQL stops, too. (MariaDB does not notice before it has
something to send.)"""

import os
import pathlib
import signal
import socket
import threading

import pytest

from lib import proc
from lib.client import new_id
from lib.server import Server
from lib.session import Session, open_session
from lib.sources import Sources
from lib.wait import wait_until

# A thousand seconds each, of which no row comes out before the buffers are full.
PG_VIEW = "CREATE VIEW public.dawdle AS SELECT i, pg_sleep(1)::text AS s FROM generate_series(1, 1000) i"
MY_VIEW = "CREATE VIEW analytics.dawdle AS SELECT seq AS i, SLEEP(1) AS s FROM analytics.thousand"


@pytest.fixture(scope="module")
def shared_server(items, pg, my, tmp_path_factory):
    pg.sql(PG_VIEW)
    my.sql(f"CREATE TABLE analytics.thousand AS SELECT seq FROM seq_1_to_1000; {MY_VIEW}")
    declared = Sources(tmp_path_factory.mktemp("secrets")).postgres("pg1", pg).mysql("my1", my)
    # An ample grace: that it needs no SIGTERM is the point, not how busy this machine is.
    with Server(items, set={**declared.settings, "limits.interrupt_grace": "60s"}) as s:
        yield s
    pg.sql("DROP VIEW public.dawdle")
    my.drop_connections()
    my.sql("DROP VIEW analytics.dawdle; DROP TABLE analytics.thousand")


def working(pg):
    return pg.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%dawdle%' AND usename <> 'boss'", "postgres")


CASES = [("pg1.public.dawdle", "SELECT count(*) FROM pg1.public.users", 2000),
         ("my1.analytics.dawdle", "SELECT count(*) FROM my1.analytics.events", 20000)]


@pytest.mark.parametrize("slow,quick,rows", CASES, ids=["postgres", "mysql"])
def test_a_timeout_leaves_temporary_tables_and_ends_the_statement_there(client, pg, slow, quick, rows):
    with Session(client, sources=["pg1", "my1"]) as s:
        s.rows("CREATE TEMP TABLE kept AS SELECT 42 AS a")
        for _ in range(2):
            fields = s.query(f"SELECT max(s) FROM {slow}", timeout="1s").problem(504, "timeout")
            assert fields["stopped_by"] == "interrupt", fields
            response = s.query("FROM kept")
            assert response.data == [[42]] and "session_reset" not in response.json()
            assert s.rows(quick) == [[rows]], "its connection was ended, and another one takes its place"
        wait_until(lambda: working(pg) == "0", "the source works on", 30)


def test_a_cancellation_does_the_same(server, client, pg):
    with Session(client, sources=["pg1"]) as s:
        s.rows("CREATE TEMP TABLE kept AS SELECT 42 AS a")
        query_id = new_id()
        running = s.start_query("SELECT count(s) FROM pg1.public.dawdle", headers={"Bulkhead-Query-Id": query_id})
        wait_until(lambda: working(pg) == "1", "it does not run at the source")
        assert client.request("DELETE", f"/v1/queries/{query_id}").status == 202
        running.read_response().problem(499, "cancelled")
        running.close()
        assert s.rows("FROM kept") == [[42]]


def test_an_object_store_that_says_nothing(start, s3, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        declared = Sources(tmp_path).s3("lake", s3, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        server = start(set={**declared.settings, "limits.interrupt_grace": "60s"})
        with Session(server.client, sources=["lake"]) as s:
            s.rows("CREATE TEMP TABLE kept AS SELECT 42 AS a")
            fields = s.query("FROM 's3://lake/in/countries.csv'", timeout="1s").problem(504, "timeout")
            assert fields["stopped_by"] == "interrupt", fields
            assert s.rows("FROM kept") == [[42]]


def test_an_error_in_the_middle_of_a_scan_names_the_source(client, pg):
    pg.sql("CREATE VIEW public.broken AS SELECT 1 / (i - 50000) AS a FROM generate_series(1, 100000) i")
    try:
        fields = client.query("SELECT count(a) FROM pg1.public.broken", sources=["pg1"]).problem(502, "source_error")
        assert fields["source"] == "pg1" and "division by zero" in fields["detail"]
    finally:
        pg.sql("DROP VIEW public.broken")


@pytest.fixture
def told(pg):
    pg.sql("CREATE VIEW public.told AS SELECT name, setting FROM pg_settings WHERE name IN ('statement_timeout', 'client_connection_check_interval', "
           "'default_transaction_read_only', 'standard_conforming_strings'); ALTER ROLE reader SET standard_conforming_strings = off")
    yield
    pg.sql("DROP VIEW public.told; ALTER ROLE reader RESET standard_conforming_strings")


def what_was_told(client, source):
    return dict(map(tuple, client.rows(f"SELECT name, setting FROM {source}.public.told", sources=[source])))


def test_what_postgres_is_told(client, told):
    assert what_was_told(client, "pg1") == {"client_connection_check_interval": "2000", "default_transaction_read_only": "on",
                                            "statement_timeout": "300000", "standard_conforming_strings": "on"}


class Between:
    """Stands between us and PostgreSQL, and lets everything pass."""

    def __init__(self, pg):
        self.pg = pg
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def answer(self, _start):
        """To a client's first message; None: the server's."""

    def passes(self, data, _to_server):
        """What of it passes; None: the connection breaks off."""
        return data

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        head = peer.recv(4, socket.MSG_WAITALL)
        start = head + peer.recv(int.from_bytes(head, "big") - 4, socket.MSG_WAITALL)
        answer = self.answer(start)
        if answer is not None:
            peer.sendall(answer)
            peer.close()
            return
        server = socket.create_connection(("127.0.0.1", self.pg.port))
        server.sendall(start)
        threading.Thread(target=self.copy, args=(server, peer, False), daemon=True).start()
        self.copy(peer, server, True)

    def copy(self, source, target, to_server):
        try:
            while (data := source.recv(65536)) and (data := self.passes(data, to_server)) is not None:
                target.sendall(data)
        except OSError:
            pass
        for s in (source, target):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


class OlderPostgres(Between):
    """PostgreSQL 15 as if it were 13: a connection that asks for what came with 14 is refused as 13 does it."""

    WORD = b"client_connection_check_interval"
    refused = 0

    def answer(self, start):
        if self.WORD not in start:
            return None
        self.refused += 1
        fields = b"SFATAL\0VFATAL\0C42704\0Munrecognized configuration parameter \"" + self.WORD + b"\"\0\0"
        return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


def test_an_older_postgres_is_told_what_it_knows(start, pg, told, tmp_path):
    with OlderPostgres(pg) as older:
        server = start(set=Sources(tmp_path).postgres("pgx", pg, port=older.port, sslmode="disable").settings)
        assert what_was_told(server.client, "pgx") == {"client_connection_check_interval": "0", "default_transaction_read_only": "on",
                                                       "statement_timeout": "300000", "standard_conforming_strings": "on"}
        assert older.refused == 1


class MutePostgres(Between):
    """Lets us in, and answers no statement."""

    asked = False

    def passes(self, data, to_server):
        if not to_server or data[:1] != b"Q":
            return data
        self.asked = True
        return b""


def test_a_source_that_answers_nothing_after_the_login(start, pg, tmp_path):
    """What a caller reads is not that there was no worker: 8 s are less than limits.queue_timeout, which is longer here for machines that are busy."""
    with MutePostgres(pg) as mute:
        server = start(set={**Sources(tmp_path).postgres("pgx", pg, port=mute.port, sslmode="disable").settings, "limits.queue_timeout": "40s"})
        for response in (server.client.query("SELECT 1", sources=["pgx"]), open_session(server.client, sources=["pgx"])):
            fields = response.problem(502, "source_error")
            assert fields["source"] == "pgx" and "does not answer" in fields["detail"], fields


def test_a_source_that_costs_the_worker_its_life_at_the_start(start, pg, tmp_path):
    with MutePostgres(pg) as mute:
        server = start(set=Sources(tmp_path).postgres("pgx", pg, port=mute.port, sslmode="disable").settings)
        server.settle()
        before = {p.pid for p in proc.descendants(server.pid)}
        running = server.client.start_query("SELECT 1", sources=["pgx"])

        def started():
            new = [p.pid for p in proc.descendants(server.pid) if p.pid not in before] if mute.asked else []
            return [pid for pid in new if b"bulkhead-worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]

        wait_until(started, "no worker starts")
        for pid in started():
            os.kill(pid, signal.SIGKILL)
        fields = running.read_response().problem(502, "source_error")
        running.close()
        assert fields["source"] == "pgx" and "died while it attached pgx" in fields["detail"], fields


class BrittlePostgres(Between):
    """Breaks off in the middle of a scan."""

    def passes(self, data, to_server):
        return None if not to_server and len(data) > 8000 else data


def test_a_source_that_breaks_off_in_the_middle_of_a_scan(start, pg, tmp_path):
    with BrittlePostgres(pg) as brittle:
        server = start(set=Sources(tmp_path).postgres("pgx", pg, port=brittle.port, sslmode="disable").settings)
        with Session(server.client, sources=["pgx"]) as s:
            s.rows("CREATE TEMP TABLE kept AS SELECT 42 AS a")
            for _ in range(2):
                fields = s.query("SELECT i, repeat(s, 100) FROM (SELECT id AS i, name AS s FROM pgx.public.users)").problem(502, "source_error")
                assert fields["source"] == "pgx" and "broke off" in fields["detail"], fields
            assert s.rows("FROM kept") == [[42]]


def test_no_statement_runs_at_mysql_for_longer_than_any_may_here(start, my, tmp_path):
    """Whoever has gone: the server itself ends it. Told with the first words of each connection."""
    my.sql("CREATE FUNCTION analytics.most() RETURNS DOUBLE DETERMINISTIC NO SQL RETURN @@max_statement_time; CREATE VIEW analytics.most_seconds AS SELECT analytics.most() AS s")
    try:
        my.sql("GRANT EXECUTE ON FUNCTION analytics.most TO reader")
        server = start(set={**Sources(tmp_path).mysql("my1", my).settings, "limits.timeout_max": "12500ms", "limits.timeout": "5s"})
        assert server.client.rows("SELECT s FROM my1.analytics.most_seconds", sources=["my1"]) == [[12.5]]
    finally:
        my.drop_connections()
        my.sql("DROP VIEW analytics.most_seconds; DROP FUNCTION analytics.most")
