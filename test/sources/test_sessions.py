"""Sessions: a worker of one's own that keeps what it is told, belongs to one owner, ends in time, and survives its own death."""

import os
import signal
import socket
import time

import pytest

from lib import proc
from lib.client import new_id
from lib.server import Server
from lib.session import Session, open_session
from lib.sources import Sources
from lib.sql import CROSS_JOIN, LEVENSHTEIN, SHORT_WORK
from lib.wait import wait_until

FEDERATED = """
SELECT (SELECT count(*) FROM my1.analytics.events), (SELECT count(*) FROM pg1.public.users),
       (SELECT count(*) FROM my1.analytics.events m JOIN pg1.public.users p ON p.id = m.user_id WHERE m.event_id <= 10000)
"""


@pytest.fixture(scope="module")
def shared_server(items, pg, my, tmp_path_factory):
    declared = Sources(tmp_path_factory.mktemp("secrets")).postgres("pg1", pg).mysql("my1", my)
    with Server(items, set={**declared.settings, "session.max": 4, "session.max_per_key": 4, "session.memory_limit": "256MB"}) as s:
        yield s


@pytest.fixture
def session(client):
    with Session(client) as s:
        yield s


def session_workers(server):
    return server.workers("session")


def no_sessions_left(server):
    wait_until(lambda: not server.workers("session") and not server.status()["sessions"], lambda: server.status()["workers"])


class TestState:
    def test_temporary_tables_and_views_stay(self, session):
        assert session.rows("CREATE TEMP TABLE t AS SELECT i, i * 2 AS j FROM range(10) x(i)") == [[10]]
        assert session.rows("INSERT INTO temp.t SELECT 100, 200") == [[1]]
        assert session.rows("INSERT INTO t (j, i) VALUES (8, 4)") == [[1]]
        session.rows("CREATE OR REPLACE TEMP VIEW big AS SELECT * FROM t WHERE i >= 9;")
        assert session.rows("SELECT i, j FROM big ORDER BY i") == [[9, 18], [100, 200]]
        session.rows("DROP VIEW big")
        session.rows("DROP TABLE IF EXISTS temp.t")
        assert session.query("FROM t").problem(400, "sql_error")["error_type"] == "Catalog"

    def test_the_real_tables_are_there_and_stay_as_they_are(self, session):
        assert session.rows("SELECT count(*) FROM items") == [[1000]]
        session.rows("CREATE TEMP TABLE items AS SELECT 1 AS shadow")
        assert session.rows("FROM temp.items") == [[1]]
        session.query("INSERT INTO data.items SELECT 1").problem(403, "forbidden")
        session.query("DROP TABLE data.items").problem(403, "forbidden")

    def test_variables_stay(self, session):
        session.rows("SET VARIABLE top = (SELECT max(id) FROM items) -- the last")
        session.rows("SET VARIABLE word = 'it''s'")
        assert session.rows("SELECT getvariable('top'), getvariable('word')") == [[999, "it's"]]

    def test_the_time_zone_stays(self, session):
        for sql, zone in (("SET TimeZone = 'Europe/Berlin'", "Europe/Berlin"), ("set session timezone to 'Asia/Tokyo'", "Asia/Tokyo"),
                          ("SET TIME ZONE 'UTC'", "UTC")):
            session.rows(sql)
            assert session.rows("SELECT current_setting('TimeZone')") == [[zone]]
        session.rows("SET TimeZone = 'Europe/Berlin'")
        assert session.rows("SELECT hour(TIMESTAMPTZ '2024-07-01 00:00:00+00')") == [[2]]
        session.query("SET TimeZone = 'No/Where'").problem(400, "sql_error")

    def test_parameters_work_in_them(self, session):
        assert session.rows("CREATE TEMP TABLE p AS SELECT $1::INT AS a, $2 AS b", [5, "x"]) == [[1]]
        assert session.rows("FROM p") == [[5, "x"]]

    def test_names_are_quoted_by_us(self, session):
        session.rows('CREATE TEMP TABLE "we""ird; name" AS SELECT 1 AS "a""b"')
        assert session.rows('SELECT "a""b" FROM "we""ird; name"') == [[1]]
        session.rows('DROP TABLE temp."we""ird; name"')

    def test_two_sessions_see_nothing_of_each_other(self, client, session):
        with Session(client) as other:
            session.rows("CREATE TEMP TABLE mine AS SELECT 1 AS a")
            session.rows("SET VARIABLE v = 1")
            other.query("FROM mine").problem(400, "sql_error")
            assert other.rows("SELECT getvariable('v')") == [[None]]
        client.query("FROM mine").problem(400, "sql_error")

    def test_an_error_leaves_the_rest(self, session):
        session.rows("CREATE TEMP TABLE t AS SELECT 1 AS a")
        session.query("SELECT nope FROM t").problem(400, "sql_error")
        session.query("INSERT INTO t SELECT 'no number'").problem(400, "sql_error")
        assert session.rows("FROM t") == [[1]]

    def test_positions_are_those_of_the_clients_text(self, session):
        sql = "CREATE   TEMP TABLE z AS SELECT nope FROM items"
        assert session.query(sql).problem(400, "sql_error")["position"] == sql.index("nope") + 1


class TestWhatMayRun:
    @pytest.mark.parametrize("sql", [
        "CREATE TABLE t AS SELECT 1", "CREATE TEMP TABLE t(a INT)", "CREATE TEMP MACRO f() AS 1", "CREATE TEMP SEQUENCE s", "CREATE SECRET s (TYPE s3)",
        "CREATE TEMP TABLE data.main.t AS SELECT 1", "CREATE OR REPLACE TABLE t AS SELECT 1", "CREATE TEMP TABLE t AS", "CREATE TYPE x AS ENUM ('a')",
        "CREATE SCHEMA s", "CREATE INDEX i ON items(id)", "CREATE PERSISTENT SECRET s (TYPE s3)",
        "INSERT INTO data.items SELECT 1", "INSERT INTO main.items SELECT 1", "INSERT INTO pg1.public.users SELECT 1", "INSERT OR REPLACE INTO t SELECT 1",
        "DROP TABLE main.items", "DROP TABLE temp.t CASCADE", "DROP SCHEMA main", "DROP SECRET s", "DROP TABLE temp.t, items", "DROP MACRO f",
        "SET threads = 1", "SET memory_limit = '1GB'", "SET lock_configuration = false", "SET enable_external_access = true", "SET GLOBAL TimeZone = 'UTC'",
        "SET TimeZone = 'UTC'; SELECT 1", "SET TimeZone = getvariable('x')", "SET VARIABLE x", "SET TimeZone TO DEFAULT", "SET schema = 'x'",
        "RESET TimeZone", "UPDATE items SET id = 1", "DELETE FROM items", "COPY items TO '/tmp/x'", "EXPORT DATABASE '/tmp/x'", "ATTACH '/tmp/x'",
        "DETACH data", "USE temp", "BEGIN", "COMMIT", "PRAGMA version", "LOAD httpfs", "INSTALL httpfs", "CALL pragma_version()", "CHECKPOINT", "VACUUM",
        "PREPARE p AS SELECT 1", "EXECUTE p", "ALTER TABLE temp.t ADD COLUMN x INT", "TRUNCATE temp.t"])
    def test_nothing_else(self, session, sql):
        fields = session.query(sql).problem(403, "forbidden")
        assert fields["what"], fields

    @pytest.mark.parametrize("sql", [
        "CREATE TEMP TABLE t AS SELECT 1; DROP TABLE items", "CREATE TEMP VIEW v AS SELECT 1; SELECT 2", "INSERT INTO t SELECT 1; SELECT 2"])
    def test_one_at_a_time(self, session, sql):
        session.rows("CREATE OR REPLACE TEMP TABLE t AS SELECT 1 AS a")
        session.query(sql).problem(400, "bad_request")

    @pytest.mark.parametrize("inner", ["INSERT INTO t SELECT 1", "DELETE FROM items RETURNING *", "COPY items TO '/tmp/x'", "DROP TABLE items"])
    def test_what_is_inside_is_checked_like_any_select(self, session, inner):
        assert session.query(f"CREATE TEMP TABLE x AS {inner}").status in (400, 403)
        assert session.query(f"CREATE TEMP VIEW x AS {inner}").status in (400, 403)
        assert session.query(f"SET VARIABLE x = ({inner})").status in (400, 403)

    def test_none_of_it_runs_outside_a_session(self, client):
        for sql in ("CREATE TEMP TABLE t AS SELECT 1", "SET VARIABLE x = 1", "SET TimeZone = 'UTC'", "DROP TABLE temp.t"):
            client.query(sql).problem(403, "forbidden")
            client.query(sql, sources=["pg1"]).problem(403, "forbidden")


class TestSources:
    def test_the_federated_query_and_its_second_run(self, client):
        with Session(client, sources=["my1", "pg1"]) as s:
            assert s.fields["sources"] == ["my1", "pg1"]
            assert s.rows(FEDERATED) == [[20000, 2000, 8000]]
            response = s.query(FEDERATED)
            assert response.data == [[20000, 2000, 8000]]
            assert response.json()["stats"]["queue_ms"] < 100  # nothing is loaded or attached again

    def test_a_crash_in_the_middle_costs_one_query(self, server, client, pg, my):
        with Session(client, sources=["my1", "pg1"]) as s:
            s.rows("CREATE TEMP TABLE mine AS SELECT 1 AS a")
            crashes = server.metric("bulkhead_worker_deaths_total", reason="crash")
            mark, query_id = server.log_mark(), new_id()
            connection = s.start_query("SELECT count(*) FROM pg1.public.users a, pg1.public.users b, range(5000) c WHERE a.id + b.id + c.range > 3",
                                       headers={"Bulkhead-Query-Id": query_id})
            pid = server.wait_running(query_id)["pid"]
            os.kill(pid, signal.SIGSEGV)
            fields = connection.read_response().problem(502, "worker_crashed")
            connection.close()
            assert fields["signal"] == "SIGSEGV"
            server.wait_one_more_death(crashes, reason="crash")
            server.wait_log("session_reset", since=mark, session=s.id)

            response = s.query(FEDERATED)
            assert response.data == [[20000, 2000, 8000]]
            assert response.json()["session_reset"] is True
            assert response.headers["Bulkhead-Session-Reset"] == "true"
            again = s.query(FEDERATED)
            assert "session_reset" not in again.json() and "Bulkhead-Session-Reset" not in again.headers
            s.query("FROM mine").problem(400, "sql_error")
            assert s.get().json()["resets"] == 1
        no_sessions_left(server)
        wait_until(lambda: pg.connections() == 0 and my.connections() == 0, "connections are left at the sources")
        assert proc.is_gone(pid) or not proc.is_alive(pid)

    def test_the_reset_is_told_with_a_failure_as_well(self, server, client):
        with Session(client) as s:
            s.rows("CREATE TEMP TABLE mine AS SELECT 1 AS a")
            os.kill(session_workers(server)[0]["pid"], signal.SIGKILL)
            server.wait_log("session_reset", session=s.id)
            response = s.query("FROM mine")
            response.problem(400, "sql_error")
            assert response.headers["Bulkhead-Session-Reset"] == "true"

    def test_a_session_whose_source_is_down_is_not_opened(self, start, pg, tmp_path):
        from lib.backend import free_port
        server = start(set=Sources(tmp_path).postgres("pg1", pg, port=free_port()).settings)
        fields = open_session(server.client, sources=["pg1"]).problem(502, "source_error")
        assert fields["source"] == "pg1"
        assert server.client.get("/v1/sessions").json() == {"sessions": []}

    def test_a_source_that_drops_its_connections_is_found_again(self, client, pg, my):
        with Session(client, sources=["my1", "pg1"]) as s:
            assert s.rows(FEDERATED) == [[20000, 2000, 8000]]
            pg.drop_connections()
            my.drop_connections()
            wait_until(lambda: s.query(FEDERATED).status == 200, "the sources are not found again")

    def test_unknown_sources_and_wrong_bodies(self, client):
        open_session(client, sources=["nosuch"]).problem(404, "not_found")
        for wish in ({"sources": "pg1"}, {"nosuch": 1}, {"ttl": 5}, {"ttl": "0s"}, {"ttl": "9h"}, {"idle_timeout": "1x"}, {"idle_timeout": "11m"}):
            open_session(client, **wish).problem(400, "bad_request")
        client.request("POST", "/v1/sessions", b"[]", [("Content-Type", "application/json")]).problem(400, "bad_request")
        client.request("POST", "/v1/sessions", b"{", [("Content-Type", "application/json")]).problem(400, "bad_request")
        client.request("POST", "/v1/sessions", b"x", [("Content-Type", "text/plain")]).problem(415, "unsupported_media_type")
        client.query("SELECT 1", session=new_id(), sources=["pg1"]).problem(400, "bad_request")
        client.query("SELECT 1", wait=True).problem(400, "bad_request")


class TestTurns:
    def test_a_second_query_conflicts_or_waits(self, server, session):
        query_id = new_id()
        running = session.start_query(SHORT_WORK, headers={"Bulkhead-Query-Id": query_id})
        server.wait_running(query_id)
        session.query("SELECT 1").problem(409, "conflict")
        assert session.rows("SELECT 1", wait=True) == [[1]]
        assert running.read_response().status == 200
        running.close()

    def test_an_interrupt_comes_first_and_leaves_everything(self, server, session):
        session.rows("CREATE TEMP TABLE kept AS SELECT 42 AS a")
        fields = session.query(CROSS_JOIN, timeout="200ms").problem(504, "timeout")
        assert fields["stopped_by"] == "interrupt"
        response = session.query("FROM kept")
        assert response.data == [[42]] and "session_reset" not in response.json()

    def test_what_no_interrupt_ends_costs_the_tables_and_says_so(self, session):
        session.rows("CREATE TEMP TABLE lost AS SELECT 42 AS a")
        assert session.query(LEVENSHTEIN, timeout="200ms").problem(504, "timeout")["stopped_by"] in ("term", "kill")
        response = session.query("SELECT 1")
        assert response.data == [[1]] and response.json()["session_reset"] is True

    def test_running_out_of_memory_costs_the_tables(self, session):
        session.rows("CREATE TEMP TABLE t AS SELECT 1 AS a")
        assert session.query("SELECT list(md5(i::VARCHAR) || repeat('x', 1000)) FROM range(2000000) t(i)").status == 507
        assert session.query("SELECT 1").json()["session_reset"] is True

    def test_cancelling_by_id(self, client, server, session):
        query_id = new_id()
        running = session.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": query_id})
        server.wait_running(query_id)
        assert client.request("DELETE", f"/v1/queries/{query_id}").status == 202
        running.read_response().problem(499, "cancelled")
        running.close()
        assert session.rows("SELECT 1") == [[1]]


class TestEnds:
    def test_deleted(self, server, client, pg):
        s = Session(client, sources=["pg1"])
        row = session_workers(server)[0]
        assert s.get().json()["state"] == "idle"
        scratch = [d for d in proc.fds(row["pid"]) if "scratch" in d]
        assert s.delete().status == 204
        s.get().problem(410, "gone")
        s.delete().problem(410, "gone")
        assert "deleted" in s.query("SELECT 1").problem(410, "gone")["detail"]
        no_sessions_left(server)
        wait_until(lambda: proc.is_gone(row["pid"]), "the worker lives on")
        wait_until(lambda: pg.connections() == 0, "a connection is left")
        assert not any(os.path.exists(d) for d in scratch)

    def test_deleted_in_the_middle_of_a_query(self, server, client):
        s = Session(client)
        query_id = new_id()
        running = s.start_query(LEVENSHTEIN, headers={"Bulkhead-Query-Id": query_id})
        server.wait_running(query_id)
        waiting = s.start_query("SELECT 1", wait=True)
        wait_until(lambda: any(q["state"] == "queued" for q in client.get("/v1/queries?state=queued").json()["queries"]), "it does not wait")
        assert s.delete().status == 204
        running.read_response().problem(499, "cancelled")
        waiting.read_response().problem(410, "gone")
        running.close()
        waiting.close()
        no_sessions_left(server)

    def test_idle_for_too_long(self, server, client):
        s = Session(client, idle_timeout="300ms")
        wait_until(lambda: s.get().status == 410, "it lives on")
        assert "idle_timeout" in s.get().problem(410, "gone")["detail"]
        no_sessions_left(server)

    def test_a_running_query_is_not_idle(self, client):
        with Session(client, idle_timeout="300ms") as s:
            assert s.query(CROSS_JOIN, timeout="900ms").problem(504, "timeout")["stopped_by"] == "interrupt"
            assert s.rows("SELECT 1") == [[1]]

    def test_its_time_to_live(self, server, client):
        s = Session(client, ttl="400ms")
        running = s.start_query(CROSS_JOIN)
        running.read_response().problem(499, "cancelled")
        running.close()
        assert "time to live" in s.get().problem(410, "gone")["detail"]
        no_sessions_left(server)

    def test_never_was(self, client):
        client.get(f"/v1/sessions/{new_id()}").problem(404, "not_found")
        client.get("/v1/sessions/x").problem(404, "not_found")
        client.query("SELECT 1", session=new_id()).problem(404, "not_found")

    def test_the_fronts_death_ends_it(self, start, pg, tmp_path):
        server = start(set=Sources(tmp_path).postgres("pg1", pg).settings)
        server.settle()
        s = Session(server.client, sources=["pg1"])
        pid = session_workers(server)[0]["pid"]
        os.kill(server.front_pid, signal.SIGKILL)
        wait_until(lambda: not proc.is_alive(pid), "its worker lives on")

        def gone():
            try:
                return s.get().status == 410
            except (OSError, socket.error):
                return False
        wait_until(gone, "the new front does not know that it was")
        wait_until(lambda: pg.connections() == 0, "a connection is left")


class TestLimits:
    def test_the_most_for_one_key_and_for_all(self, start):
        server = start(set={"session.max": 2, "session.max_per_key": 2, "session.memory_limit": "64MB"})
        with Session(server.client) as a, Session(server.client) as b:
            response = open_session(server.client)
            response.problem(429, "rate_limited")
            assert int(response.headers["Retry-After"]) >= 1
            assert a.rows("SELECT 1") == b.rows("SELECT 1") == [[1]]
        assert server.metric("bulkhead_sessions") == 0

    def test_the_longest_idle_one_makes_room(self, start):
        server = start(set={"session.max": 2, "session.max_per_key": 4, "session.memory_limit": "64MB"})
        a, b = Session(server.client), Session(server.client)
        a.rows("SELECT 1")
        opened = wait_until(lambda: (r := open_session(server.client)).status == 201 and r, "no room is made")
        assert "evicted" in b.get().problem(410, "gone")["detail"]
        assert a.get().status == 200
        assert server.metric("bulkhead_sessions_evicted_total") == 1
        assert opened.json()["id"] in [s["id"] for s in server.client.get("/v1/sessions").json()["sessions"]]

    def test_it_makes_room_for_a_request_with_sources_too(self, start, tmp_path):
        server = start(set={"session.max": 2, "session.memory_limit": "64MB", **Sources(tmp_path).files("drop", tmp_path).settings})
        a, b = Session(server.client), Session(server.client)
        a.rows("SELECT 1")
        assert server.client.query("SELECT 42", sources=["drop"]).data == [[42]]
        assert "evicted" in b.get().problem(410, "gone")["detail"]
        assert a.rows("SELECT 1") == [[1]], "one place was needed, not two"
        assert server.metric("bulkhead_sessions_evicted_total") == 1

    def test_busy_ones_do_not(self, start):
        server = start(set={"session.max": 1, "session.memory_limit": "64MB"})
        with Session(server.client) as s:
            running = s.start_query(CROSS_JOIN)
            wait_until(lambda: s.get().json()["state"] == "busy", "it does not run")
            end = time.monotonic() + 3
            while time.monotonic() < end:
                open_session(server.client).problem(503, "overloaded")
            running.close()

    def test_no_sessions_at_all(self, start):
        server = start(set={"session.max": 0})
        assert open_session(server.client).problem(403, "forbidden")["what"] == "session"

    def test_its_own_memory_limit(self, start):
        server = start(set={"session.max": 1, "session.memory_limit": "200MB", "pool.memory_limit": "64MB"})
        with Session(server.client) as s:
            assert s.rows("SELECT value FROM duckdb_settings() WHERE name = 'memory_limit'") == [["190.7 MiB"]]


class TestReload:
    def test_a_changed_secret_gives_the_session_a_new_worker(self, pg, tmp_path):
        declared = Sources(tmp_path).postgres("pg1", pg)
        config = tmp_path / "c.ini"
        lines = ["[source.pg1]"] + [f"{k.split('.')[2]} = {v}" for k, v in declared.settings.items()]
        config.write_text("\n".join(lines) + "\n")
        with Server(config=config) as server:
            server.settle()
            with Session(server.client, sources=["pg1"]) as s, Session(server.client) as plain:
                pids = {w["pid"] for w in session_workers(server)}
                plain.rows("CREATE TEMP TABLE kept AS SELECT 1 AS a")
                declared.secret("pg1.password", pg.passwords["reader"])  # the same again: nothing happens
                server.send_signal(signal.SIGHUP)
                server.wait_log("config_reloaded")
                assert s.query("SELECT 1").json().get("session_reset") is None
                declared.secret("pg1.password", pg.passwords["writer"])
                config.write_text(config.read_text().replace("user = reader", "user = writer"))
                server.send_signal(signal.SIGHUP)
                server.wait_log("source_changed", source="pg1")
                wait_until(lambda: len({w["pid"] for w in session_workers(server)} - pids) == 1, lambda: server.status()["workers"])
                response = s.query("SELECT count(*) FROM pg1.public.users")
                assert response.data == [[2000]] and response.json()["session_reset"] is True
                assert pg.connections("writer") >= 1
                assert plain.rows("FROM kept") == [[1]]


    def test_a_secrets_file_that_changes_by_itself(self, start, pg, tmp_path):
        declared = Sources(tmp_path).postgres("pg1", pg).postgres("pg2", pg)
        server = start(set=declared.settings)
        with Session(server.client, sources=["pg1"]) as s, Session(server.client, sources=["pg2"]) as other:
            other.rows("CREATE TEMP TABLE kept AS SELECT 1 AS a")
            os.rename(declared.secret("new", "not the right one"), tmp_path / "pg1.password")
            server.wait_log("source_changed", source="pg1")
            wait_until(lambda: s.query("SELECT 1").status == 502, "the old password is still in use")
            assert s.query("SELECT 1").problem(502, "source_error")["source"] == "pg1"
            os.rename(declared.secret("new", pg.passwords["reader"]), tmp_path / "pg1.password")
            wait_until(lambda: s.query("SELECT count(*) FROM pg1.public.users").status == 200, "the session does not come back")
            assert other.rows("FROM kept") == [[1]]
            assert not server.log_contains("source_changed", source="pg2")

    def test_sessions_end_with_a_change_if_that_is_wanted(self, start, pg, tmp_path):
        declared = Sources(tmp_path).postgres("pg1", pg)
        server = start(set={**declared.settings, "session.on_source_change": "end"})
        with Session(server.client, sources=["pg1"]) as s, Session(server.client) as plain:
            declared.secret("pg1.password", "another")
            wait_until(lambda: s.get().status == 410, "it lives on")
            assert "was changed" in s.get().problem(410, "gone")["detail"]
            assert plain.rows("SELECT 1") == [[1]]


def test_the_list_has_what_it_needs(server, client, session):
    listed = client.get("/v1/sessions").json()["sessions"]
    mine = [s for s in listed if s["id"] == session.id][0]
    assert mine["state"] == "idle" and mine["sources"] == [] and mine["queries"] == 0 and mine["expires_at"] > mine["created_at"]
    assert mine["memory_bytes"] > 1_000_000
    assert [s["id"] for s in server.status()["sessions"]] == [s["id"] for s in listed]
    assert server.metric("bulkhead_sessions") == len(listed)


def test_a_session_can_be_named_in_the_query_string(client, session):
    session.rows("CREATE TEMP TABLE t AS SELECT 3 AS a")
    response = client.raw_sql("FROM t", f"/v1/query?session={session.id}")
    assert response.data == [[3]]
