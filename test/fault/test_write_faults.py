"""Admin writes, recoveries and swaps that are killed in each of their phases: the database is the old one or the new one, whole; nothing of a
write stays half done; the next write works and cleans up. (BULKHEAD_FAULT=phase:action, only in builds with -DBULKHEAD_FAULTS=ON.)"""

import json
import os
import subprocess
import sys

import pytest

from lib import proc
from lib.client import Cut, new_id
from lib.db import killed_writer
from lib.server import WORKER, Server, run_cli
from lib.wait import wait_until

needs_faults = pytest.mark.skipif(b"BULKHEAD_FAULT" not in (WORKER.read_bytes() if WORKER.exists() else b""),
                                  reason="this build has no fault points (cmake -DBULKHEAD_FAULTS=ON)")
pytestmark = [pytest.mark.fault, needs_faults]

ADMIN = {"server.keyless_admin": "yes", "admin.memory_limit": "128MB", "admin.threads": 1}
SMALL = ["--set", "admin.memory_limit=128MB", "--set", "admin.threads=1"]
SCRIPT = "INSERT INTO t SELECT i, 'new' FROM range(10, 20) r(i); CREATE TABLE u AS SELECT 42 AS a; DELETE FROM t WHERE i = 0"
OLD, NEW = "old", "new"

# Where the publisher can die, in order, and what readers find afterwards.
PUBLISHER_PHASES = [("import:locked", OLD), ("import:cleaned", OLD), ("import:copying", OLD), ("import:copied", OLD), ("import:fsynced", OLD),
                    ("import:kept", OLD), ("import:before-rename", OLD), ("import:renamed", NEW), ("import:published", NEW)]
WRITER_PHASES = ["import:script", "import:statement", "import:written", "import:checkpointed", "import:closed", "import:verified", "import:answer"]


def content(db):
    """All there is, by an engine that knows nothing of us; None when it can't open it."""
    code = ("import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); "
            "print(sorted(c.execute('SHOW TABLES').fetchall()), c.execute('SELECT * FROM t ORDER BY ALL').fetchall())")
    r = subprocess.run([sys.executable, "-c", code, str(db)], capture_output=True, text=True)
    return r.stdout if r.returncode == 0 else None


def leftovers(db):
    names = sorted(n for n in os.listdir(db.path.parent) if n.startswith("data.duckdb.") and not n.endswith(".bulkhead-lock"))
    kept = [n for n in names if ".bulkhead-version-" in n]
    return [n for n in names if n not in kept[-1:]]


def write(server, sql=SCRIPT):
    return server.client.request("POST", "/v1/admin/sql", json.dumps({"sql": sql}).encode(), [("Content-Type", "application/json")])


@pytest.fixture
def db(make_db):
    return make_db().make("CREATE TABLE t AS SELECT i::INTEGER AS i, 'old' AS s FROM range(10) r(i)")


@pytest.fixture
def both(db, make_db):
    other = make_db("other.duckdb")
    other.path.write_bytes(db.path.read_bytes())
    assert run_cli("import", other, "-", "--keep", "0", *SMALL, input=SCRIPT).returncode == 0
    return {OLD: content(db), NEW: content(other)}


def next_write_works(db, expected):
    with Server(db, set=ADMIN) as server:
        assert content(db) == expected
        assert write(server, "CREATE TABLE again AS SELECT 1 AS a; DROP TABLE again").status == 200
        assert leftovers(db) == []
        server.settle()
    assert content(db) == expected


@pytest.mark.parametrize("phase,then", PUBLISHER_PHASES)
def test_the_publisher_of_an_admin_write_is_killed(start, db, both, phase, then):
    server = start(db, set=ADMIN, env={"BULKHEAD_FAULT": f"{phase}:kill"})
    fields = write(server).problem(503, "unavailable")
    assert "the process that copies and publishes the database died" in fields["detail"]
    server.wait_log("publisher_death", signal="SIGKILL")
    assert content(db) == both[then]
    wait_until(lambda: server.client.rows("SELECT count(*) FROM t WHERE s = 'new'") == [[10 if then == NEW else 0]], "readers see something else", 30)
    server.settle()
    server.stop()
    next_write_works(db, both[then])


@pytest.mark.parametrize("phase,action,status,code", [(p, "kill", 502, "worker_crashed") for p in WRITER_PHASES]
                         + [("import:statement", "segv", 502, "worker_crashed"), ("import:written", "exit", 502, "worker_crashed"),
                            ("import:written", "stop", 504, "timeout"), ("import:closed", "hang", 504, "timeout")])
def test_the_writer_of_an_admin_write_dies(start, db, both, phase, action, status, code):
    server = start(db, set={**ADMIN, "admin.timeout": "1s" if action in ("stop", "hang") else "10s"}, env={"BULKHEAD_FAULT": f"{phase}:{action}"})
    write(server).problem(status, code)
    wait_until(lambda: leftovers(db) == [], lambda: f"left behind: {leftovers(db)}")
    assert content(db) == both[OLD]
    server.settle()
    server.stop()
    next_write_works(db, both[OLD])


@pytest.mark.parametrize("phase,action", [("import:copying", "stop"), ("import:copied", "hang"), ("import:before-rename", "stop")])
def test_a_publisher_that_hangs_is_given_up(start, db, both, phase, action):
    server = start(db, set={**ADMIN, "admin.copy_timeout": "700ms"}, env={"BULKHEAD_FAULT": f"{phase}:{action}"})
    mine = new_id()
    with server.client.connect() as c:
        c.send_request("POST", "/v1/admin/sql", json.dumps({"sql": SCRIPT}).encode(), [("Content-Type", "application/json"), ("Bulkhead-Query-Id", mine)])
        if phase != "import:before-rename":  # the copy is under way, or has just been made
            wait_until(lambda: (seen := server.client.get(f"/v1/queries/{mine}").json())["state"] == "queued" and seen["progress"] is not None, "no progress")
        r = c.read_response()
    if phase == "import:before-rename":
        assert "copy_timeout" in r.problem(503, "unavailable")["detail"]
    else:
        assert r.problem(504, "timeout")["limit_ms"] == 700
    server.wait_log("publisher_death")
    assert content(db) == both[OLD]
    assert write(server, "SELECT count(*) FROM t").data == [[10]]
    server.stop()
    next_write_works(db, both[OLD])


@pytest.mark.parametrize("who", ["supervisor", "front"])
@pytest.mark.parametrize("phase,then", [("import:copying", OLD), ("import:before-rename", OLD), ("import:renamed", NEW)])
def test_server_or_front_is_killed_while_the_publisher_is_there(start, db, both, phase, then, who):
    server = start(db, set=ADMIN, env={"BULKHEAD_FAULT": f"{phase}:stop"})
    with server.client.connect() as c:
        c.send_request("POST", "/v1/admin/sql", json.dumps({"sql": SCRIPT}).encode(), [("Content-Type", "application/json")])
        wait_until(lambda: [s for s in proc.descendants(server.pid) if s.name == "bulkhead-publ" and s.state == "T"], "no publisher stands there", 30)
        proc.kill(server.pid if who == "supervisor" else server.front_pid)
        with pytest.raises(Cut):
            c.read_response()
    if who == "supervisor":
        assert server.wait_end() == -9
        server.assert_nothing_left()
    else:
        wait_until(lambda: server.client.query("SELECT count(*) FROM t").status == 200, "no new front", 30)
        server.stop()
    assert content(db) == both[then]
    next_write_works(db, both[then])


COMMITS = ("INSERT INTO t VALUES (50, 'log')", "CREATE TABLE w AS SELECT 1 AS i", "INSERT INTO t VALUES (51, 'log')")
RECOVER_PHASES = ["import:copying", "recover:copied", "import:script", "import:written", "import:checkpointed", "import:closed", "import:verified", "recover:replayed"]


@pytest.mark.parametrize("phase", RECOVER_PHASES)
def test_a_recovery_is_killed(db, phase):
    killed_writer(db, *COMMITS)
    before = content(db)
    assert "(51, 'log')" in before
    r = run_cli("recover", db, *SMALL, env={"BULKHEAD_FAULT": f"{phase}:kill"})
    assert r.returncode == (-9 if phase in ("import:copying", "recover:copied", "recover:replayed") else 1), (r.stdout, r.stderr)
    proc.reap_strays()
    assert content(db) == before  # by the log, or in the file
    assert run_cli("recover", db, *SMALL).returncode == 0
    assert content(db) == before and not db.path.with_name("data.duckdb.wal").exists()


@pytest.mark.parametrize("phase", ["import:copying", "recover:copied", "recover:aside", "recover:prefix", "import:written", "import:closed"])
def test_a_recovery_that_discards_a_damaged_log_is_killed(db, phase):
    """What stands in front of the damage is there in the end, however often it takes."""
    wal = killed_writer(db, *COMMITS)
    log = bytearray(wal.read_bytes())
    log[log.rindex(b"log") + 1] ^= 1  # in the value of the last insert: its checksum does not match
    wal.write_bytes(log)
    assert content(db) is None
    r = run_cli("recover", db, "--discard-wal", *SMALL, env={"BULKHEAD_FAULT": f"{phase}:kill"})
    if phase in ("import:written", "import:closed"):  # its worker died, and the command goes on without the log
        assert r.returncode == 0, r.stderr
        return
    assert r.returncode == -9
    again = run_cli("recover", db, "--discard-wal", *SMALL)
    assert again.returncode == 0, (again.stdout, again.stderr)
    now = content(db)
    assert "(50, 'log')" in now and "('w',)" in now and "(51, 'log')" not in now
