"""An import that is killed, or that finds the disk full, in each of its phases: the database is the old one or the new one, whole; readers see
nothing else at any time; the next import works and cleans up. (BULKHEAD_FAULT=phase:action, only in builds with -DBULKHEAD_FAULTS=ON.)"""

import os
import shutil
import subprocess
import sys

import pytest

from lib import proc
from lib.server import WORKER, run_cli
from lib.wait import wait_until

pytestmark = [pytest.mark.fault]
needs_faults = pytest.mark.skipif(b"BULKHEAD_FAULT" not in (WORKER.read_bytes() if WORKER.exists() else b""),
                                  reason="this build has no fault points (cmake -DBULKHEAD_FAULTS=ON)")

SMALL = ["--set", "admin.memory_limit=128MB", "--set", "admin.threads=1"]
OLD, NEW = "old", "new"
SCRIPT = "INSERT INTO t SELECT i, 'new' FROM range(10, 20) r(i); CREATE TABLE u AS SELECT 42 AS a; DELETE FROM t WHERE i = 0"

# Where the command (not its worker) can die, in order, and what a reader finds afterwards.
COMMAND_PHASES = [("import:locked", OLD), ("import:cleaned", OLD), ("import:copying", OLD), ("import:copied", OLD), ("import:fsynced", OLD),
                  ("import:kept", OLD), ("import:before-rename", OLD), ("import:renamed", NEW), ("import:published", NEW)]
# Where its worker can. The command lives, says so, and cleans up.
WORKER_PHASES = ["open", "ready", "import:script", "import:statement", "import:written", "import:checkpointed", "import:closed",
                 "import:verified", "import:answer"]


def content(db):
    """All there is, by an engine that knows nothing of us."""
    code = ("import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); "
            "print(sorted(c.execute('SHOW TABLES').fetchall()), c.execute('FROM t ORDER BY ALL').fetchall(), "
            "c.execute('SELECT sum(hash(i, s)) FROM t').fetchall())")
    r = subprocess.run([sys.executable, "-c", code, str(db)], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return r.stdout


def leftovers(db):
    """What lies beside the database that should not: all but the lock file and one kept version."""
    names = sorted(n for n in os.listdir(db.path.parent) if n.startswith("data.duckdb.") and not n.endswith(".bulkhead-lock"))
    kept = [n for n in names if ".bulkhead-version-" in n]
    return [n for n in names if n not in kept[-1:]]


@pytest.fixture
def db(make_db):
    return make_db().make("CREATE TABLE t AS SELECT i::INTEGER AS i, 'old' AS s FROM range(10) r(i)")


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.sql"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def both(db, script, make_db):
    """What the old and the new database hold."""
    other = make_db("other.duckdb")
    shutil.copy(db.path, other.path)
    assert run_cli("import", other, script, "--keep", "0", *SMALL).returncode == 0
    return {OLD: content(db), NEW: content(other)}


def killed_log(db):
    code = (f"import duckdb, os; c = duckdb.connect({str(db.path)!r}); c.execute(\"INSERT INTO t VALUES (5000, 'log')\"); "
            "c.execute('CREATE TABLE w AS SELECT 1 AS a'); os.kill(os.getpid(), 9)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert db.path.with_name("data.duckdb.wal").exists()


def import_with(db, script, fault):
    r = run_cli("import", db, script, *SMALL, env={"BULKHEAD_FAULT": fault})
    wait_until(lambda: not [s for s in proc.all_processes() if s.ppid == os.getpid() and s.name.startswith("bulkhead") and s.state != "Z"],
               "its worker outlives it")
    proc.reap_strays()
    return r


def next_import_works(db, script, expected):
    r = run_cli("import", db, "-", *SMALL, input="CREATE TABLE again AS SELECT 1 AS a; DROP TABLE again")
    assert r.returncode == 0, r.stderr
    assert leftovers(db) == []
    assert content(db) == expected


@needs_faults
@pytest.mark.parametrize("phase,then", COMMAND_PHASES)
def test_the_command_is_killed(db, script, both, phase, then):
    r = import_with(db, script, f"{phase}:kill")
    assert r.returncode == -9, (r.returncode, r.stdout, r.stderr)
    assert content(db) == both[then]
    next_import_works(db, script, both[then])


@needs_faults
@pytest.mark.parametrize("phase,action", [(p, "kill") for p in WORKER_PHASES] + [("import:statement", "segv"), ("import:written", "exit")])
def test_its_worker_dies(db, script, both, phase, action):
    r = import_with(db, script, f"{phase}:{action}")
    assert r.returncode == 1 and len(r.stderr.splitlines()) == 1 and "worker" in r.stderr, (r.returncode, r.stderr)
    assert content(db) == both[OLD]
    assert leftovers(db) == []
    next_import_works(db, script, both[OLD])


@needs_faults
@pytest.mark.parametrize("nth", [2, 3])
def test_its_worker_dies_between_statements(db, script, both, nth):
    assert import_with(db, script, f"import:statement:kill:{nth}").returncode == 1
    assert content(db) == both[OLD] and leftovers(db) == []


@needs_faults
@pytest.mark.parametrize("phase,nth", [("import:copied", 1), ("import:fsynced", 1), ("import:marked", 1), ("import:before-rename", 1), ("import:renamed", 1),
                                       ("import:published", 1), ("import:copied", 2), ("import:kept", 3), ("import:renamed", 2)])
def test_the_command_is_killed_while_a_log_is_folded_in(db, script, phase, nth):
    """The log's rows are there before and after, whichever file has them."""
    killed_log(db)
    before = content(db)
    assert "5000" in before
    r = import_with(db, script, f"{phase}:kill:{nth}")
    if (phase, nth) == ("import:kept", 3):  # only two files are published
        assert r.returncode == 0
        return
    assert r.returncode == -9, (r.returncode, r.stdout, r.stderr)
    now = content(db)
    if (phase, nth) == ("import:renamed", 2):
        assert "'new'" in now and "5000" in now and "('w',)" in now
    else:
        assert now == before
    next_import_works(db, script, now)
    assert not db.path.with_name("data.duckdb.wal").exists()


@needs_faults
@pytest.mark.parametrize("phase,version", [("rollback:kept", 2), ("rollback:renamed", 1)])
def test_a_rollback_is_killed(db, script, both, phase, version):
    assert run_cli("import", db, script, *SMALL).returncode == 0
    r = run_cli("rollback", db, env={"BULKHEAD_FAULT": f"{phase}:kill"})
    assert r.returncode == -9
    assert content(db) == both[NEW if version == 2 else OLD]
    again = run_cli("rollback", db)
    assert again.returncode == (0 if version == 2 else 1), again.stderr
    assert content(db) == both[OLD]


@needs_faults
@pytest.mark.parametrize("phase", ["open", "import:script", "import:statement", "import:written", "import:checkpointed", "import:closed", "import:verified"])
def test_in_place_its_worker_dies(db, script, both, phase):
    """In place a kill before the commit is nothing, one behind it everything; never a part."""
    r = import_with_args(db, script, f"{phase}:kill", "--in-place")
    assert r.returncode == 1
    assert content(db) == both[OLD if phase in ("open", "import:script", "import:statement") else NEW]
    assert run_cli("import", db, "-", "--in-place", *SMALL, input="SELECT 1").returncode == 0


def import_with_args(db, script, fault, *argv):
    r = run_cli("import", db, script, *argv, *SMALL, env={"BULKHEAD_FAULT": fault})
    proc.reap_strays()
    return r


@pytest.mark.parametrize("ballast_kb,rows,where", [
    (2400, 10, "the copy"), (0, 1_000_000, "the script"), (1400, 60_000, "the checkpoint"),
], ids=["copy", "script", "checkpoint"])
def test_a_full_disk_changes_nothing(tiny_disk, db, tmp_path, ballast_kb, rows, where):
    target = type(db)(tiny_disk, "data.duckdb")
    shutil.copy(db.path, target.path)
    before = content(target)
    (tiny_disk / "ballast").write_bytes(b"x" * ballast_kb * 1024)
    path = tmp_path / "big.sql"
    path.write_text(f"CREATE TABLE big AS SELECT hash(i) AS a, hash(i + 1) AS b FROM range({rows}) r(i)")
    r = run_cli("import", target, path, *SMALL)
    assert r.returncode == 1 and len(r.stderr.splitlines()) == 1, (where, r.stdout, r.stderr)
    assert "space" in r.stderr, r.stderr
    assert content(target) == before and leftovers(target) == []
    (tiny_disk / "ballast").unlink()
    assert run_cli("import", target, "-", *SMALL, input="INSERT INTO t VALUES (1, 'x')").returncode == 0
