"""A running server takes up what is published, worker by worker: no request fails, running queries end on the file they began with."""

import json
import os
import subprocess
import threading
import time

import pytest

from lib import proc
from lib.client import Cut, new_id
from lib.db import killed_writer
from lib.server import BULKHEAD, clean_environment, run_cli
from lib.sql import ROWS_THEN_RUNAWAY
from lib.wait import stays, wait_until

SMALL = ["--set", "admin.memory_limit=128MB", "--set", "admin.threads=1"]
ADMIN = {"server.keyless_admin": "yes"}


def publish(db, sql):
    r = run_cli("import", db, "-", *SMALL, input=sql)
    assert r.returncode == 0, r.stderr


def rename_into_place(db, content):
    other = db.path.with_name("incoming")
    other.write_bytes(content)
    os.rename(other, db.path)


def database(server):
    return server.status()["database"]


def wait_version_after(server, before):
    wait_until(lambda: database(server)["version"] not in (before, None) and database(server)["state"] == "served",
               lambda: f"no other version than {before}: {database(server)}\n{server.log_text()}", 30)
    return database(server)["version"]


@pytest.fixture
def db(make_db):
    return make_db().make("CREATE TABLE t AS SELECT range::INTEGER AS i FROM range(10)")


class Load:
    """Clients that ask without pause and keep the books."""

    def __init__(self, server, clients=3, sql="SELECT count(*) FROM t"):
        self.server, self.sql, self.stop = server, sql, threading.Event()
        self.answers, self.wrong = [], []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def run(self):
        body = self.server.client.query_body(self.sql, {})
        try:
            with self.server.client.connect() as c:
                while not self.stop.is_set():
                    r = c.request("POST", "/v1/query", body, [("Content-Type", "application/json")])
                    if r.status != 200:
                        self.wrong.append(repr(r))
                    else:
                        self.answers.append((r.headers["Bulkhead-Database-Version"], r.json()["data"][0][0]))
        except (Cut, OSError, AssertionError) as e:
            self.wrong.append(f"{type(e).__name__}: {e}")

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join(30)


class TestPublished:
    def test_no_request_fails_and_all_see_the_new_data(self, start, db):
        server = start(db)
        server.settle()
        before = database(server)["version"]
        with Load(server) as load:
            wait_until(lambda: len(load.answers) > 50 or load.wrong, "no answers")
            publish(db, "INSERT INTO t VALUES (100)")
            after = wait_version_after(server, before)
            n = len(load.answers)
            wait_until(lambda: len(load.answers) > n + 50 or load.wrong, "no answers after the swap")
        assert not load.wrong
        # What a result says of its version is true: each version has its own number of rows.
        assert set(load.answers) == {(before, 10), (after, 11)}
        assert load.answers[-1] == (after, 11)
        server.wait_log("database_swapped", version=after)
        assert server.metric("bulkhead_database_state", state="served") == 1
        server.settle()

    def test_every_worker_is_exchanged_and_none_is_lost(self, start, db):
        server = start(db, set={"pool.workers": 3})
        server.settle()
        old = set(server.worker_pids())
        publish(db, "INSERT INTO t VALUES (100)")
        server.wait_log("database_swapped")
        server.settle()
        assert not old & set(server.worker_pids())
        assert server.metric("bulkhead_worker_deaths_total", reason="crash") == 0

    def test_without_spares_as_well(self, start, db):
        server = start(db, set={"pool.workers": 1, "pool.spares": 0})
        with Load(server) as load:
            wait_until(lambda: len(load.answers) > 5 or load.wrong, "no answers")
            for i in range(3):
                before = database(server)["version"]
                publish(db, f"INSERT INTO t VALUES ({i})")
                wait_version_after(server, before)
        assert not load.wrong
        assert server.client.rows("SELECT count(*) FROM t") == [[13]]
        server.settle()

    def test_the_spare_that_runs_quick_queries_is_exchanged_too(self, start, db):
        server = start(db, set={"pool.workers": 1})
        server.settle()

        def pin():
            mine = new_id()
            c = server.client.start_query(ROWS_THEN_RUNAWAY, headers={"Bulkhead-Query-Id": mine}, timeout="120s", format="csv")
            server.wait_running(mine)
            wait_until(lambda: server.client.get(f"/v1/queries/{mine}").json()["bytes"] > 0, "no row has left")
            return c

        for _ in range(3):  # known to be quick, however slow the first time was
            assert server.client.rows("SELECT count(*) FROM t") == [[10]]
        with pin():
            assert server.client.rows("SELECT count(*) FROM t") == [[10]]
            (old,) = server.worker_pids("spare")
            publish(db, "INSERT INTO t VALUES (100)")
            wait_until(lambda: proc.is_gone(old), "a query could still see the old file there")
        server.wait_log("database_swapped")
        server.settle()
        with pin():
            assert server.client.rows("SELECT count(*) FROM t") == [[11]]
            assert server.workers("spare")[0]["queries"] == 1

    def test_a_running_query_ends_on_the_file_it_began_with(self, start, db):
        server = start(db, set={"pool.workers": 1})
        server.settle()
        mine, before = new_id(), database(server)["version"]
        slow = "SELECT count(*) AS n, (SELECT sum(a.i * b.i % 7) FROM range(60000) a(i), range(20000) b(i)) AS s FROM t"
        with server.client.start_query(slow, headers={"Bulkhead-Query-Id": mine}, timeout="60s") as c:
            worker = server.wait_running(mine)["pid"]
            publish(db, "DELETE FROM t")
            wait_until(lambda: database(server)["state"] == "swapping", lambda: f"the query was too quick: {database(server)}")
            assert server.worker_of(mine)["pid"] == worker
            response = c.read_response()
        assert response.data[0][0] == 10
        assert response.headers["Bulkhead-Database-Version"] == before
        wait_version_after(server, before)
        assert server.client.rows("SELECT count(*) FROM t") == [[0]]
        wait_until(lambda: not proc.is_alive(worker), "the old worker stays")
        server.settle()

    def test_a_rollback_is_taken_up_too(self, start, db):
        server = start(db)
        first = database(server)["version"]
        publish(db, "INSERT INTO t VALUES (100)")
        second = wait_version_after(server, first)
        assert run_cli("rollback", db).returncode == 0
        assert wait_version_after(server, second) == first  # it is the very same file
        assert server.client.rows("SELECT count(*) FROM t") == [[10]]

    def test_a_symbolic_link_that_is_turned_to_another_file(self, start, db, make_db, tmp_path):
        other = make_db("other.duckdb").make("CREATE TABLE t AS SELECT 1 AS i")
        link = tmp_path / "links" / "served.duckdb"
        link.parent.mkdir()
        link.symlink_to(db.path)
        server = start(link)
        before = database(server)["version"]
        (tmp_path / "links" / "next").symlink_to(other.path)
        os.rename(tmp_path / "links" / "next", link)
        wait_version_after(server, before)
        assert server.client.rows("SELECT count(*) FROM t") == [[1]]

    def test_a_database_that_comes_later_is_taken_up_at_once(self, start, make_db):
        later = make_db("later.duckdb")
        server = start(later)
        assert server.ready_workers == 0
        server.client.query("SELECT 1").problem(503, "unavailable")
        time_s, _ = timed(lambda: (publish(later, "CREATE TABLE t AS SELECT 1 AS i"),
                                   wait_until(lambda: server.client.query("FROM t").status == 200, lambda: server.log_text(), 30)))
        assert server.client.get("/readyz").status == 200
        server.settle()
        print(f"{time_s:.2f} s")


def timed(function):
    began = time.monotonic()
    value = function()
    return time.monotonic() - began, value


class TestBadFiles:
    @pytest.mark.parametrize("kind", ["garbage", "truncated", "newer", "empty"])
    def test_the_last_good_version_is_served_on(self, start, db, make_db, kind):
        server = start(db, set=ADMIN)
        server.settle()
        good, version = db.path.read_bytes(), database(server)["version"]
        bad = {"garbage": b"no database" * 1000, "truncated": good[:5000], "empty": b"",
               "newer": good[:12] + (10_000).to_bytes(8, "little") + good[20:]}[kind]
        rename_into_place(db, bad)
        server.wait_log("database_refused", served=version)
        ready = wait_until(lambda: (r := server.client.get("/readyz")).json()["degraded"] and r, lambda: server.log_text())
        assert ready.status == 200 and ready.json()["ready"]
        check = ready.json()["checks"]["database"]
        assert not check["ok"] and "the version before is served" in check["detail"]
        assert str(db.path.parent) not in ready.text
        if kind == "newer":
            assert "newer version of DuckDB" in check["detail"]
        assert database(server)["state"] == "refused" and database(server)["version"] == version
        assert server.metric("bulkhead_database_state", state="refused") == 1
        for _ in range(20):
            assert server.client.rows("SELECT count(*) FROM t") == [[10]]
        problem = server.client.request("POST", "/v1/admin/reload").problem(503, "unavailable")
        assert "the version before is served" in problem["detail"]
        rename_into_place(db, good)
        wait_until(lambda: database(server)["state"] == "served", lambda: server.log_text(), 30)
        assert not server.client.get("/readyz").json()["degraded"]
        assert server.client.request("POST", "/v1/admin/reload").status == 200
        server.settle()

    def test_a_log_that_can_not_be_replayed_beside_a_new_file(self, start, db, make_db):
        server = start(db)
        server.settle()
        other = make_db("other.duckdb").make("CREATE TABLE t AS SELECT 1 AS i")
        wal = killed_writer(other, "INSERT INTO t VALUES (2)")
        damaged = bytearray(wal.read_bytes())
        damaged[40] ^= 1
        db.path.with_name("data.duckdb.wal").write_bytes(damaged)
        os.rename(other.path, db.path)
        server.wait_log("database_refused")
        wait_until(lambda: "write-ahead log cannot be replayed" in server.client.get("/readyz").json()["checks"]["database"]["detail"],
                   lambda: server.client.get("/readyz").text)
        assert server.client.rows("SELECT count(*) FROM t") == [[10]]


class TestReload:
    def test_every_worker_opens_the_file_again(self, start, db):
        server = start(db, set=ADMIN)
        server.settle()
        before, old = database(server)["version"], set(server.worker_pids("pool"))
        with Load(server) as load:
            r = server.client.request("POST", "/v1/admin/reload")
            assert r.status == 200 and r.json() == {"reloaded": True, "version": before}
        assert not load.wrong
        wait_until(lambda: not old & set(server.worker_pids("pool")), "old workers stay")
        server.wait_log("admin_reload")
        server.settle()

    def test_several_at_a_time(self, start, db):
        server = start(db, set=ADMIN)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(server.client.request("POST", "/v1/admin/reload").status)) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert answers == [200] * 6
        server.settle()

    def test_the_database_in_memory_too(self, start):
        server = start(None, set=ADMIN)
        server.settle()
        old = set(server.worker_pids("pool"))
        r = server.client.request("POST", "/v1/admin/reload")
        assert r.status == 200 and r.json() == {"reloaded": True, "version": None}
        wait_until(lambda: not old & set(server.worker_pids("pool")), "old workers stay")

    def test_who_may(self, start, db):
        server = start(db)
        assert server.client.request("POST", "/v1/admin/reload").problem(403, "forbidden")["what"] == "role"
        server.client.get("/v1/admin/reload").problem(405, "method_not_allowed")

    def test_it_takes_no_body(self, start, db):
        server = start(db, set=ADMIN)
        server.client.request("POST", "/v1/admin/reload", b"{}", [("Content-Type", "application/json")]).problem(400, "bad_request")

    def test_a_client_that_leaves_and_a_server_that_ends(self, start, db):
        server = start(db, set={**ADMIN, "pool.workers": 1})
        mine = new_id()
        with server.client.start_query("SELECT sum(a.i * b.i % 7) FROM range(20000) a(i), range(15000) b(i)", timeout="60s", headers={"Bulkhead-Query-Id": mine}) as c:
            server.wait_running(mine)
            gone = server.client.connect()
            gone.send_request("POST", "/v1/admin/reload")
            server.wait_log("admin_reload")
            gone.close()
            waiting = server.client.connect()
            waiting.send_request("POST", "/v1/admin/reload")
            wait_until(lambda: len(server.log_entries("admin_reload")) == 2, "the second did not arrive")
            server.send_signal(15)
            waiting.read_response().problem(503, "unavailable")
            waiting.close()
            assert c.read_response().status == 200


class TestLogBesideTheFile:
    def test_a_log_makes_the_server_degraded_and_not_down(self, start, db):
        wal = killed_writer(db, "INSERT INTO t VALUES (50)")
        server = start(db)
        server.wait_log("wal_present", bytes=wal.stat().st_size)
        ready = server.client.get("/readyz")
        assert ready.status == 200 and ready.json()["ready"] and ready.json()["degraded"]
        check = ready.json()["checks"]["wal"]
        assert not check["ok"] and f"{wal.stat().st_size} bytes" in check["detail"] and "s old" in check["detail"]
        assert server.metric("bulkhead_wal_present") == 1 and server.metric("bulkhead_wal_bytes") == wal.stat().st_size
        assert database(server)["wal_age_s"] >= 0
        assert server.client.rows("SELECT count(*) FROM t") == [[11]]
        with Load(server) as load:  # the import folds it in, and no reader ever sees anything else
            before = database(server)["version"]
            publish(db, "INSERT INTO t VALUES (60)")
            wait_version_after(server, before)
            wait_until(lambda: load.answers and load.answers[-1][1] == 12 or load.wrong, "no new data")
        assert not load.wrong
        assert {n for _, n in load.answers} <= {11, 12}
        server.wait_log("wal_gone")
        wait_until(lambda: server.metric("bulkhead_wal_present") == 0, "the metric stays")
        assert not server.client.get("/readyz").json()["degraded"]

    def test_who_writes_is_named(self, start, db):
        with db.hold() as writer:
            server = start(db)
            ready = server.client.get("/readyz")
            assert ready.status == 503
            assert f"PID {writer.pid}" in ready.json()["checks"]["database"]["detail"]
            holder = wait_until(lambda: database(server).get("holder"), "no holder")
            assert holder["pid"] == writer.pid and "python" in holder["command"]
        wait_until(lambda: server.client.get("/readyz").status == 200, lambda: server.log_text(), 30)
        wait_until(lambda: "holder" not in database(server), "the holder stays")

    def test_an_import_under_way_is_named(self, start, db, tmp_path):
        server = start(db)
        slow = tmp_path / "slow.sql"
        slow.write_text("CREATE TABLE x AS SELECT sum(a.i * b.i % 7) FROM range(10000000) a(i), range(10000000) b(i)")
        p = subprocess.Popen([str(BULKHEAD), "import", str(db), str(slow), *SMALL], stderr=subprocess.DEVNULL, env=clean_environment())
        try:
            holder = wait_until(lambda: database(server).get("holder"), "no holder")
            assert holder == {"pid": p.pid, "command": "bulkhead import"}
            assert server.client.rows("SELECT count(*) FROM t") == [[10]]
        finally:
            p.terminate()
            p.wait()


class TestInPlace:
    def test_the_server_gives_the_file_up_and_takes_it_up_again(self, start, db):
        server = start(db, set={"limits.queue_timeout": "60s"})
        server.settle()
        before = database(server)["version"]
        with Load(server) as load:
            wait_until(lambda: len(load.answers) > 20 or load.wrong, "no answers")
            r = run_cli("import", db, "-", "--in-place", *SMALL, input="INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
            assert r.returncode == 0, r.stderr
            wait_version_after(server, before)
            wait_until(lambda: load.answers[-1][1] == 12 or load.wrong, "no new data")
        assert not load.wrong
        assert {n for _, n in load.answers} == {10, 12}
        server.wait_log("database_given_up", to="bulkhead import")
        server.wait_log("database_taken_up")
        server.settle()

    def test_a_running_query_ends_first(self, start, db):
        server = start(db)
        server.settle()
        mine = new_id()
        slow = "SELECT count(*) AS n, (SELECT sum(a.i * b.i % 7) FROM range(40000) a(i), range(20000) b(i)) AS s FROM t"
        with server.client.start_query(slow, headers={"Bulkhead-Query-Id": mine}, timeout="60s") as c:
            server.wait_running(mine)
            r = run_cli("import", db, "-", "--in-place", *SMALL, input="DELETE FROM t")
            assert r.returncode == 0, r.stderr
            assert c.read_response().data[0][0] == 10
        wait_until(lambda: server.client.query("SELECT count(*) FROM t").data == [[0]], "no new data")

    def test_an_importer_that_is_killed_gives_it_back(self, start, db, tmp_path):
        server = start(db)
        server.settle()
        slow = tmp_path / "slow.sql"
        slow.write_text("INSERT INTO t VALUES (7); CREATE TABLE x AS SELECT sum(a.i * b.i % 7) FROM range(10000000) a(i), range(10000000) b(i)")
        p = subprocess.Popen([str(BULKHEAD), "import", str(db), str(slow), "--in-place", *SMALL], stderr=subprocess.DEVNULL, env=clean_environment())
        try:
            wait_until(lambda: database(server)["state"] == "paused", lambda: server.log_text())
            ready = wait_until(lambda: (r := server.client.get("/readyz")).status == 503 and r, lambda: server.log_text())
            assert "write in place" in ready.json()["checks"]["database"]["detail"]
            wait_until(lambda: [s for s in proc.descendants(p.pid) if s.cpu_ticks > 5], "its worker does not work")
        finally:
            p.kill()
            p.wait()
        wait_until(lambda: server.client.get("/readyz").status == 200, lambda: server.log_text(), 30)
        assert server.client.rows("SELECT count(*) FROM t") == [[10]]
        server.settle()


def test_other_files_in_the_directory_are_nobodys_business(start, db, tmp_path):
    server = start(db)
    server.settle()
    pids = set(server.worker_pids())
    for i in range(50):
        (tmp_path / f"other-{i}").write_text("x")
        (tmp_path / "data.duckdb.bulkhead-newer").write_text("x")
        (tmp_path / f"other-{i}").unlink()
    stays(lambda: set(server.worker_pids()) == pids, "workers were exchanged", 1.5)
    assert json.loads(server.client.get("/v1/status").text)["database"]["state"] == "served"
