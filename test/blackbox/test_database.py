"""A database that cannot be opened: the server stays up, says why, tries with patience, and recovers by itself."""

import os
import shutil

import pytest

from lib.db import Db
from lib.wait import stays, wait_until

SPAWN_EVENTS = r".*(spawn|start).*"


def broken(kind, directory):
    """(database, words of which one must be in the reason)"""
    db = Db(directory)
    if kind == "missing":
        return db, ("does not exist", "no such file", "missing", "not found")
    if kind == "directory":
        db.path.mkdir()
        return db, ("directory",)
    if kind == "empty of sense":
        return db.write(os.urandom(64 * 1024)), ("not a", "valid duckdb")
    if kind == "text":
        return db.write(b"id,name\n1,x\n" * 1000), ("not a", "valid duckdb")
    if kind == "cut off":
        db.make()
        content = db.path.read_bytes()
        db.path.write_bytes(content[: 4096 + 100])
        return db, ("corrupt", "truncated", "not a", "could not", "too short", "damaged", "incomplete", "read")
    if kind == "newer version":
        return db.from_newer_version(), ("newer", "version")
    raise AssertionError(kind)


KINDS = ["missing", "directory", "empty of sense", "text", "cut off", "newer version"]


def assert_down(server, words):
    """The four places where it shows."""
    assert server.ready_workers == 0
    ready = server.client.get("/readyz")
    assert ready.status == 503, ready
    assert "database" in ready.text and any(w in ready.text.lower() for w in words), ready
    response = server.client.query("SELECT 1")
    fields = response.problem(503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert server.client.get("/healthz").status == 200
    assert server.status()["version"]
    server.metrics()
    wait_until(lambda: any(any(w in line.lower() for w in words) for line in server.lines), server.log_text)
    return fields


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_why_and_goes_on(start, tmp_path, kind):
    db, words = broken(kind, tmp_path)
    server = start(db)
    assert_down(server, words)
    assert server.is_up()


def test_no_permission(start, tmp_path):
    """The supervisor may read everything as root; whoever opens the file must not."""
    db = Db(tmp_path).make()
    db.path.chmod(0)
    try:
        server = start(db)
        if server.ready_workers:
            # Workers that run as root (no uid drop in this build) can read it: then it has to be served.
            assert os.geteuid() == 0
            assert server.client.rows("SELECT count(*) FROM items") == [[1000]]
        else:
            assert_down(server, ("permission",))
    finally:
        db.path.chmod(0o644)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_no_permission_for_an_ordinary_user(start, make_db, tmp_path):
    from lib.server import WORKER

    if not all(os.stat(p).st_mode & 0o001 for p in [*WORKER.parents][:-1]):
        pytest.skip(f"user nobody may not reach {WORKER}")
    db = make_db().make()
    for p in [*db.path.parents][:-1]:
        if str(p) != "/tmp" and p.owner() == "root" and str(p).startswith("/tmp/"):
            p.chmod(p.stat().st_mode | 0o055)
    db.path.chmod(0o600)

    def become_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    server = start(db, preexec=become_nobody)
    assert_down(server, ("permission",))
    db.path.chmod(0o644)
    wait_until(lambda: server.client.get("/readyz").status == 200, lambda: f"did not recover:\n{server.log_text()}", 45)
    assert server.client.rows("SELECT count(*) FROM items") == [[1000]]


def test_locked_by_a_writer_and_free_again(start, make_db):
    db = make_db().make()
    with db.hold() as writer:
        server = start(db)
        assert_down(server, ("lock",))
        assert str(writer.pid) in server.client.get("/readyz").text
        writer.release()
        wait_until(lambda: server.client.get("/readyz").status == 200, lambda: f"did not recover:\n{server.log_text()}", 45)
    assert server.client.rows("SELECT count(*) FROM items") == [[1000]]
    server.settle(45)


@pytest.mark.parametrize("kind", ["missing", "text"])
def test_it_recovers_by_itself_when_the_file_becomes_good(start, tmp_path, kind):
    db, words = broken(kind, tmp_path)
    server = start(db)
    assert_down(server, words)
    good = Db(tmp_path, "good.duckdb").make()
    shutil.move(good.path, db.path)
    wait_until(lambda: server.client.get("/readyz").status == 200, lambda: f"did not recover:\n{server.log_text()}", 45)
    assert server.client.rows("SELECT count(*) FROM items") == [[1000]]
    server.settle(45)


def test_there_is_no_spawn_storm(start, tmp_path):
    """With a file that stays bad, the number of processes started falls behind time: back-off."""
    db, _ = broken("text", tmp_path)
    server = start(db)
    seen = set()

    def watch():
        for s in server.note_processes():
            seen.add(s)
        return True

    def starts():
        return server.metric("bulkhead_worker_deaths_total", reason="start")

    stays(watch, "", 1.0)
    first = starts()
    stays(watch, "", 1.0)
    second = starts()
    stays(watch, "", 1.0)
    third = starts()
    # Three seconds: with 30 ms for a start and three places, a storm makes 300.
    assert third <= 40, f"{third} starts in about three seconds:\n{server.log_text()}"
    assert third - second <= max(second - first, 3), (first, second, third)
    assert server.is_up() and server.client.get("/healthz").status == 200


def test_without_a_database_there_is_an_empty_one_in_memory(start):
    server = start(None)
    assert server.client.rows("SELECT 42") == [[42]]
    assert server.client.query("SELECT * FROM items").problem(400, "sql_error")


def test_a_file_that_vanishes_while_it_is_served(start, make_db):
    """Workers hold the old file open; those that start later can't: queries still get a definite answer."""
    db = make_db().make()
    server = start(db)
    db.path.unlink()
    assert server.client.rows("SELECT count(*) FROM items") == [[1000]]


def test_serving_leaves_the_file_as_it_was(start, make_db):
    db = make_db().make()
    before = db.path.read_bytes()
    server = start(db)
    server.client.rows("SELECT count(*) FROM items")
    server.client.query("DELETE FROM items")
    server.stop()
    assert db.path.read_bytes() == before
    assert [p.name for p in db.path.parent.iterdir()] == [db.path.name]


def test_a_wal_of_a_killed_writer_is_read(start, make_db, tmp_path):
    import subprocess
    import sys
    db = make_db().make()
    subprocess.run([sys.executable, "-c", "import duckdb, os, sys\nc = duckdb.connect(sys.argv[1])\n"
                    "c.execute(\"SET wal_autocheckpoint='1TB'\")\nc.execute('DELETE FROM items WHERE id >= 10')\nos.kill(os.getpid(), 9)", str(db)])
    assert (tmp_path / "data.duckdb.wal").exists()
    server = start(db)
    assert server.client.rows("SELECT count(*) FROM items") == [[10]]
    size = server.status()["database"]["wal_bytes"]
    assert size == (tmp_path / "data.duckdb.wal").stat().st_size > 0
    assert server.metric("bulkhead_wal_present") == 1 and server.metric("bulkhead_wal_bytes") == size


def test_callers_learn_the_reason_and_the_operator_the_path(start, tmp_path):
    db, words = broken("missing", tmp_path)
    server = start(db)
    for response in (server.client.get("/readyz"), server.client.query("SELECT 1")):
        assert response.status == 503
        assert "does not exist" in response.text and "<database>" in response.text, response
        assert str(tmp_path) not in response.text and db.path.name not in response.text, response
    assert server.log_contains(str(db))
