"""`POST /v1/admin/sql`: an admin's statements run on a copy in a worker of their own, and are published whole, or not at all."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from lib import proc
from lib.client import Cut, new_id
from lib.db import killed_writer
from lib.keys import bearer, new_key
from lib.server import BULKHEAD, clean_environment, run_cli
from lib.sql import CROSS_JOIN, LEVENSHTEIN
from lib.wait import wait_until

ADMIN = {"server.keyless_admin": "yes", "admin.memory_limit": "128MB", "admin.threads": 1}
SLOW_IMPORT = "CREATE TABLE x AS SELECT sum(a.i * b.i % 7) FROM range(10000000) a(i), range(10000000) b(i)"


def body(sql, fields):
    return json.dumps({"sql": sql, **fields}).encode()


def write(server, sql, headers=(), **fields):
    return server.client.request("POST", "/v1/admin/sql", body(sql, fields), [("Content-Type", "application/json"), *dict(headers).items()])


def start_write(server, sql, query_id=None, **fields):
    c = server.client.connect()
    c.send_request("POST", "/v1/admin/sql", body(sql, fields), [("Content-Type", "application/json"), ("Bulkhead-Query-Id", query_id or new_id())])
    return c


def beside(db):
    return sorted(n for n in os.listdir(db.path.parent) if n.startswith("data.duckdb.") and not n.endswith(".bulkhead-lock"))


def inode(db):
    return os.stat(db.path).st_ino


def another_front(server, old):
    try:
        return server.front_pid != old
    except (OSError, Cut, AssertionError):
        return False


def writer_of(server, query_id):
    w = server.worker_of(query_id)
    return w if w and w["kind"] == "writer" else None


@pytest.fixture
def db(make_db):
    return make_db().make("CREATE TABLE t AS SELECT range::INTEGER AS i FROM range(10)")


@pytest.fixture
def server(start, db):
    server = start(db, set=ADMIN)
    server.settle()
    return server


class TestWhatItDoes:
    def test_a_statement_is_published_before_it_is_answered(self, server, db):
        r = write(server, "INSERT INTO t VALUES (100)")
        assert r.data == [[1]]
        seen = server.client.query("SELECT count(*) FROM t")
        assert seen.data == [[11]] and seen.headers["Bulkhead-Database-Version"] == r.headers["Bulkhead-Database-Version"]
        assert server.status()["database"]["version"] == r.headers["Bulkhead-Database-Version"]
        server.wait_log("write_published")
        assert beside(db) == ["data.duckdb.bulkhead-version-1"]
        assert run_cli("rollback", db).returncode == 0
        wait_until(lambda: server.client.rows("SELECT count(*) FROM t") == [[10]], "the rollback is not seen")
        server.settle()

    def test_a_script_answers_with_its_last_statement(self, server):
        r = write(server, "CREATE TABLE u AS SELECT 7 AS x;\nINSERT INTO u VALUES (8);\nFROM u ORDER BY x")
        assert r.data == [[7], [8]]
        assert server.client.rows("FROM u ORDER BY x") == [[7], [8]]

    def test_raw_sql_and_other_formats(self, server):
        r = server.client.raw_sql("CREATE TABLE v AS SELECT 1 AS a; FROM v", "/v1/admin/sql?format=csv")
        assert r.status == 200 and r.body == b"a\r\n1\r\n" and r.content_type == "text/csv"
        write(server, "SELECT 1", format="parquet").problem(406, "not_acceptable")

    @pytest.mark.parametrize("sql,rows", [
        ("SELECT count(*) FROM t", [[10]]), ("SELECT 1; SELECT 2; FROM t LIMIT 1", [[0]]), ("EXPLAIN SELECT 1", None),
        ("WITH a AS (SELECT 5 AS x) FROM a", [[5]]), ("SELECT $1 + 1", [[42]]),
    ])
    def test_statements_that_read_make_no_copy(self, server, db, sql, rows):
        before = inode(db)
        r = write(server, sql, **({"params": [41]} if "$1" in sql else {}))
        assert r.status == 200 and (rows is None or r.data == rows)
        assert inode(db) == before and beside(db) == []
        assert not server.log_contains("write_copied")

    @pytest.mark.parametrize("sql", ["EXPLAIN ANALYZE INSERT INTO t VALUES (1)", "WITH a AS (SELECT 1 AS i) INSERT INTO t FROM a",
                                     "SELECT 1; DELETE FROM t WHERE i = 3", "INSERT INTO t VALUES (1) RETURNING i"])
    def test_what_writes_is_never_taken_for_reading(self, server, db, sql):
        before = inode(db)
        assert write(server, sql).status == 200
        assert inode(db) != before
        assert server.client.rows("SELECT count(*) FROM t") != [[10]]

    def test_a_sequence_in_a_select_is_written(self, server):
        write(server, "CREATE SEQUENCE s")
        assert [write(server, "SELECT nextval('s')").data for _ in range(2)] == [[[1]], [[2]]]

    @pytest.mark.parametrize("sql,part", [
        ("INSERT INTO t VALUES (1); INSERT INTO t VALUES ('x')", "statement 2"), ("INSERT INTO t VALUES (1); INSERT INTO t VALUS (2)", "Parser Error"),
        ("INSERT INTO t VALUES (1); COPY t TO '/tmp/x.csv'", "Permission Error"), ("BEGIN; INSERT INTO t VALUES (1)", "COMMIT is missing"),
        ("CREATE TABLE p AS FROM read_text('/etc/passwd')", "Permission Error"), ("", "no statement"),
        ("INSERT INTO t VALUES (1); ATTACH '/tmp/other.duckdb'", "Permission Error"),
    ])
    def test_a_failure_changes_nothing(self, server, db, sql, part):
        before = inode(db)
        fields = write(server, sql).problem(400, "sql_error")
        assert part in fields["detail"] and str(db.path.parent) not in fields["detail"], fields
        assert inode(db) == before and server.client.rows("SELECT count(*) FROM t") == [[10]]
        wait_until(lambda: beside(db) == [], lambda: f"left behind: {beside(db)}")
        server.settle()

    def test_a_log_beside_the_database_is_folded_in_first(self, start, db):
        killed_writer(db, "INSERT INTO t VALUES (50)")
        server = start(db, set=ADMIN)
        assert write(server, "INSERT INTO t VALUES (60)").status == 200
        assert server.client.rows("SELECT i FROM t WHERE i > 20 ORDER BY i") == [[50], [60]]
        assert not db.path.with_name("data.duckdb.wal").exists()

    def test_a_database_in_memory_has_no_file_to_write(self, start):
        server = start(None, set=ADMIN)
        assert write(server, "SELECT 1").data == [[1]]
        assert "in memory" in write(server, "CREATE TABLE t(i INTEGER)").problem(400, "bad_request")["detail"]
        server.settle()


class TestWhoAndHow:
    def test_roles(self, start, db, tmp_path):
        keys = tmp_path / "keys.ini"
        root, alice = new_key(keys, "root", "admin"), new_key(keys, "alice", "analyst")
        server = start(db, set={"server.keys_file": keys}, key=root)
        assert write(server, "SELECT 1", bearer(alice)).problem(403, "forbidden")["what"] == "role"
        mine = new_id()
        assert write(server, "INSERT INTO t VALUES (1)", {**bearer(root), "Bulkhead-Query-Id": mine}).status == 200
        server.wait_log("admin_sql", key="root", sql="INSERT INTO t VALUES (1)", query_id=mine, last="yes")
        server.wait_log("query", key="root", code="ok", query_id=mine)
        server.client.request("GET", f"/v1/queries/{mine}", headers=bearer(alice)).problem(404, "not_found")

    def test_without_keys_it_must_be_allowed(self, start, db):
        server = start(db)
        assert write(server, "SELECT 1").problem(403, "forbidden")["what"] == "role"

    def test_the_audit_line_has_all_of_the_text_at_any_log_level(self, start, db):
        server = start(db, set={**ADMIN, "log.level": "error", "log.sql": "off"})
        text = "SELECT '" + "\\\"\x01äöü€ \n" * 2000 + "' AS x"
        mine = new_id()
        assert write(server, text, {"Bulkhead-Query-Id": mine}, max_rows=1).status == 200
        server.wait_log("admin_sql", query_id=mine, last="yes")
        lines = server.log_entries("admin_sql", query_id=mine)
        assert "".join(e["sql"] for e in lines) == text
        assert [e["part"] for e in lines] == list(range(1, len(lines) + 1)) and {e["sql_bytes"] for e in lines} == {len(text.encode())}

    def test_its_limits_change_at_runtime(self, start, db, tmp_path):
        config = tmp_path / "b.ini"
        config.write_text("[admin]\ntimeout = 5s\nkeep = 1\n")
        server = start(db, set=ADMIN, config=config)
        write(server, "SELECT 1", timeout="6s").problem(400, "bad_request")
        config.write_text("[admin]\ntimeout = 7s\nkeep = 0\n")
        server.send_signal(signal.SIGHUP)
        server.wait_log("config_changed", key="admin.timeout", **{"from": "5s", "to": "7s"})
        wait_until(lambda: write(server, "SELECT 1", timeout="6s").status == 200, "the new limit is not in force")
        assert write(server, "INSERT INTO t VALUES (1)").status == 200
        assert beside(db) == []

    @pytest.mark.parametrize("fields", [{"session": new_id()}, {"sources": ["a"]}, {"timeout": "11s"}, {"colour": "red"}])
    def test_what_is_not_for_it(self, server, fields):
        write(server, "SELECT 1", **fields).problem(400, "bad_request")

    def test_its_own_worker_takes_no_reader_s_place(self, server):
        mine = new_id()
        c = start_write(server, "INSERT INTO t SELECT 1; " + CROSS_JOIN, mine)
        w = wait_until(lambda: writer_of(server, mine), "it does not run")
        assert w["slot"] is None
        assert len([w for w in server.workers("pool") if w["state"] == "idle"]) == 2
        assert server.client.rows("SELECT count(*) FROM t") == [[10]]
        assert server.client.request("DELETE", f"/v1/queries/{mine}").status == 202
        c.read_response().problem(499, "cancelled")
        c.close()
        server.settle()

    def test_one_by_one(self, server):
        answers = []
        threads = [threading.Thread(target=lambda i=i: answers.append(write(server, f"INSERT INTO t VALUES ({1000 + i})").status)) for i in range(6)]
        for t in threads:
            t.start()
        seen = 0
        while any(t.is_alive() for t in threads):
            seen = max(seen, len([w for w in server.workers() if w["kind"] == "writer" and w["state"] != "dying"]))
        for t in threads:
            t.join(60)
        assert answers == [200] * 6 and seen <= 1
        assert server.client.rows("SELECT count(*) FROM t WHERE i >= 1000") == [[6]]
        server.settle()


class TestStopped:
    # On a busy machine an interrupt may need longer than its usual grace.
    @pytest.mark.parametrize("sql,grace,by", [(CROSS_JOIN, "30s", ("interrupt",)), (LEVENSHTEIN, "250ms", ("term", "kill"))])
    def test_its_own_timeout(self, start, db, sql, grace, by):
        server = start(db, set={**ADMIN, "admin.timeout": "400ms", "limits.interrupt_grace": grace})
        before = inode(db)
        fields = write(server, f"INSERT INTO t VALUES (1); {sql}").problem(504, "timeout")
        assert fields["limit_ms"] == 400 and fields["stopped_by"] in by
        assert inode(db) == before
        wait_until(lambda: beside(db) == [], lambda: f"left behind: {beside(db)}")
        assert write(server, "INSERT INTO t VALUES (1)").status == 200
        server.settle()

    def test_a_client_that_leaves_changes_nothing(self, server, db):
        mine, before = new_id(), inode(db)
        c = start_write(server, "INSERT INTO t VALUES (1); " + LEVENSHTEIN, mine)
        pid = wait_until(lambda: writer_of(server, mine), "it does not run")["pid"]
        c.close()
        wait_until(lambda: not proc.is_alive(pid), "the writer goes on")
        wait_until(lambda: beside(db) == [], lambda: f"left behind: {beside(db)}")
        assert inode(db) == before
        assert write(server, "INSERT INTO t VALUES (1)").status == 200

    def test_a_writer_that_is_killed(self, server, db):
        mine, before = new_id(), inode(db)
        c = start_write(server, "INSERT INTO t VALUES (1); " + LEVENSHTEIN, mine)
        proc.kill(wait_until(lambda: writer_of(server, mine), "it does not run")["pid"])
        assert c.read_response().problem(502, "worker_crashed")["signal"] == "SIGKILL"
        c.close()
        wait_until(lambda: beside(db) == [], lambda: f"left behind: {beside(db)}")
        assert inode(db) == before
        server.settle()

    def test_an_import_under_way_is_a_conflict(self, server, db, tmp_path):
        slow = tmp_path / "slow.sql"
        slow.write_text(SLOW_IMPORT)
        p = subprocess.Popen([str(BULKHEAD), "import", str(db), str(slow), "--set", "admin.memory_limit=128MB"], stderr=subprocess.DEVNULL,
                             env=clean_environment())
        try:
            wait_until(lambda: server.status()["database"].get("holder"), "the import does not start")
            assert f"process {p.pid}" in write(server, "INSERT INTO t VALUES (1)").problem(409, "conflict")["detail"]
            assert write(server, "SELECT count(*) FROM t").data == [[10]]
        finally:
            p.terminate()
            p.wait()
        assert write(server, "INSERT INTO t VALUES (1)").status == 200

    def test_an_import_waits_for_nobody_either(self, server, db):
        mine = new_id()
        c = start_write(server, "INSERT INTO t VALUES (1); " + CROSS_JOIN, mine)
        wait_until(lambda: writer_of(server, mine), "it does not run")
        wait_until(lambda: "admin/sql" in server.status()["database"].get("holder", {}).get("command", ""), lambda: str(server.status()["database"]))
        r = run_cli("import", db, "-", input="INSERT INTO t VALUES (2)")
        assert r.returncode == 1 and "another write" in r.stderr
        server.client.request("DELETE", f"/v1/queries/{mine}")
        c.read_response().problem(499, "cancelled")
        c.close()

    def test_the_front_dies_in_the_middle(self, server, db):
        mine, before = new_id(), inode(db)
        c = start_write(server, "INSERT INTO t VALUES (1); " + CROSS_JOIN, mine)
        wait_until(lambda: writer_of(server, mine), "it does not run")
        proc.kill(server.front_pid)
        c.close()
        wait_until(lambda: beside(db) == [], lambda: f"left behind: {beside(db)}")
        assert inode(db) == before
        assert write(server, "INSERT INTO t VALUES (1)").status == 200
        server.settle()

    def test_the_front_dies_while_workers_start_for_it(self, server):
        for ms in range(0, 200, 15):
            c = start_write(server, "SELECT 1; CREATE OR REPLACE TABLE x AS SELECT 1 AS a")
            time.sleep(ms / 1000)
            front = server.front_pid
            proc.kill(front)
            c.close()
            wait_until(lambda: another_front(server, front), "no new front", 30)
        assert write(server, "INSERT INTO t VALUES (1)").status == 200
        wait_until(lambda: not [w for w in server.workers() if w["kind"] == "writer"], lambda: f"a writer stays: {server.workers()}")
        server.settle()

    def test_the_server_drains(self, start, db):
        """The write that runs is finished and published; the one behind it is told at once that its turn will not come."""
        server = start(db, set=ADMIN)
        mine = new_id()
        c = start_write(server, "INSERT INTO t VALUES (1); SELECT sum(a.i * b.i % 7) FROM range(30000) a(i), range(10000) b(i)", mine)
        wait_until(lambda: writer_of(server, mine), "it does not run")
        behind = start_write(server, "INSERT INTO t VALUES (2)")
        wait_until(lambda: len(server.log_entries("admin_sql")) == 2, "the second has not come")
        server.send_signal(signal.SIGTERM)
        assert "shutting down" in behind.read_response().problem(503, "unavailable")["detail"]
        assert c.read_response().status == 200
        c.close()
        behind.close()
        assert server.wait_end() == 0
        assert run_cli("query", db, "SELECT count(*) FROM t", "--format", "csv").stdout.split() == ["count_star()", "11"]

    def test_the_server_ends_in_the_middle(self, start, db):
        server = start(db, set={**ADMIN, "server.shutdown_grace": "300ms"})
        mine, before = new_id(), inode(db)
        c = start_write(server, "INSERT INTO t VALUES (1); " + CROSS_JOIN, mine)
        wait_until(lambda: writer_of(server, mine), "it does not run")
        server.stop()
        c.close()
        assert inode(db) == before


def test_through_a_symbolic_link(start, db, tmp_path):
    link = tmp_path / "links" / "served.duckdb"
    link.parent.mkdir()
    link.symlink_to(db.path)
    server = start(link, set=ADMIN)
    assert write(server, "INSERT INTO t VALUES (100)").status == 200
    assert server.client.rows("SELECT count(*) FROM t") == [[11]]
    assert link.is_symlink() and beside(db) == ["data.duckdb.bulkhead-version-1"] and os.listdir(link.parent) == ["served.duckdb"]


def test_so_many_versions_are_kept_as_configured(start, db):
    server = start(db, set={**ADMIN, "admin.keep": 2})
    for i in range(4):
        assert write(server, f"INSERT INTO t VALUES ({100 + i})").status == 200
    assert beside(db) == ["data.duckdb.bulkhead-version-3", "data.duckdb.bulkhead-version-4"]


@pytest.mark.parametrize("ballast_kb,rows", [(2400, 10), (0, 1_000_000), (1400, 60_000)], ids=["copy", "script", "checkpoint"])
def test_a_full_disk_changes_nothing(start, tiny_disk, db, ballast_kb, rows):
    target = type(db)(tiny_disk, "data.duckdb")
    shutil.copy(db.path, target.path)
    (tiny_disk / "ballast").write_bytes(b"x" * ballast_kb * 1024)
    server = start(target, set=ADMIN)
    before = inode(target)
    r = write(server, f"CREATE TABLE big AS SELECT hash(i) AS a, hash(i + 1) AS b FROM range({rows}) r(i)")
    fields = r.problem(r.status, r.json()["code"])
    assert r.status in (400, 503) and "space" in fields["detail"], fields
    assert inode(target) == before and server.client.rows("SELECT count(*) FROM t") == [[10]]
    wait_until(lambda: beside(target) == [], lambda: f"left behind: {beside(target)}")
    (tiny_disk / "ballast").unlink()
    assert write(server, "INSERT INTO t VALUES (1)").status == 200
    server.stop()


def test_a_directory_that_cannot_be_written(start, db, tmp_path):
    if os.geteuid() == 0 and subprocess.run(["mount", "--bind", str(tmp_path), str(tmp_path)], capture_output=True).returncode != 0:
        pytest.skip("root can write everywhere, and nothing can be mounted here")
    try:
        if os.geteuid() == 0:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(tmp_path)], check=True)
        else:
            tmp_path.chmod(0o500)
        server = start(db, set=ADMIN)
        assert "lock file" in write(server, "INSERT INTO t VALUES (1)").problem(503, "unavailable")["detail"]
        assert write(server, "SELECT count(*) FROM t").data == [[10]]
        server.stop()
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "-l", str(tmp_path)], check=True)
        else:
            tmp_path.chmod(0o700)
