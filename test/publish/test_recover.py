"""`bulkhead recover`: says what a killed writer left, copies everything first, and loses nothing without saying so."""

import os
import subprocess
import sys

import pytest

from lib.db import killed_writer
from lib.server import run_cli

SMALL = ["--set", "admin.memory_limit=128MB", "--set", "admin.threads=1"]
COMMITS = ("INSERT INTO t VALUES (50)", "CREATE TABLE w AS SELECT 1 AS i", "INSERT INTO t VALUES (51)")


@pytest.fixture
def db(make_db):
    return make_db().make("CREATE TABLE t AS SELECT range::INTEGER AS i FROM range(10)")


def recover(db, *argv):
    return run_cli("recover", db, *argv, *SMALL)


def good(result):
    assert result.returncode == 0, (result.stdout, result.stderr)
    return result.stdout


def refused(result, *parts, code=1):
    assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
    assert len(result.stderr.splitlines()) == 1
    for part in parts:
        assert part in result.stderr, result.stderr
    return result.stdout


def content(path):
    """By an engine that knows nothing of us; None when it can't open it."""
    code = ("import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); "
            "print(sorted(c.execute('SHOW TABLES').fetchall()), c.execute('SELECT count(*), max(i) FROM t').fetchall())")
    r = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    return r.stdout.strip() if r.returncode == 0 else None


def beside(db, what=""):
    return sorted(n for n in os.listdir(db.path.parent) if n.startswith(db.path.name + "." + what))


OLD = "[('t',)] [(10, 9)]"
ALL = "[('t',), ('w',)] [(12, 51)]"
FIRST = "[('t',)] [(11, 50)]"


def test_a_clean_database_stays_as_it_is(db):
    before = db.path.read_bytes()
    out = good(recover(db))
    assert "write-ahead log: none" in out and "clean: nothing to recover" in out
    assert db.path.read_bytes() == before and beside(db) == ["data.duckdb.bulkhead-lock"]


def test_a_whole_log_becomes_part_of_the_file(db):
    wal = killed_writer(db, *COMMITS)
    size = wal.stat().st_size
    before, log = db.path.read_bytes(), wal.read_bytes()
    out = good(recover(db))
    assert f"write-ahead log: {size} bytes, replayable: 3 commits" in out and "recovered" in out
    assert content(db) == ALL and not wal.exists()
    copies = beside(db, "bulkhead-backup-")
    assert len(copies) == 2
    # The copies are what was there, and open as it did.
    assert (db.path.parent / copies[0]).read_bytes() == before and (db.path.parent / copies[1]).read_bytes() == log
    assert content(db.path.parent / copies[0]) == ALL
    assert "clean" in good(recover(db))


def test_a_dry_run_touches_nothing(db):
    wal = killed_writer(db, *COMMITS)
    before, log = db.path.read_bytes(), wal.read_bytes()
    assert "dry run: recovery would copy everything, replay" in good(recover(db, "--dry-run"))
    assert db.path.read_bytes() == before and wal.read_bytes() == log and beside(db) == ["data.duckdb.wal"]


def test_a_torn_log_is_replayed_and_the_loss_is_said(db):
    """What the engine would do without a word."""
    wal = killed_writer(db, *COMMITS)
    whole = wal.read_bytes()
    wal.write_bytes(whole[:-5])
    dry = good(recover(db, "--dry-run"))
    assert "ends inside the entry at byte" in dry and "without a word" in dry and "2 commits" in dry
    out = good(recover(db))
    assert "not replayed:" in out and "1 insert" in out
    assert content(db) == "[('t',), ('w',)] [(11, 50)]"
    copies = beside(db, "bulkhead-backup-")
    assert (db.path.parent / copies[1]).read_bytes() == whole[:-5]


def damage(wal, after_commits):
    """Flips a bit in the entry behind so many commits; gives that entry's place. Entries: 8 bytes size, 8 bytes checksum, body."""
    data = bytearray(wal.read_bytes())
    at, commits = 8, 0
    while commits < after_commits:
        size = int.from_bytes(data[at:at + 8], "little")
        commits += data[at + 16:at + 19] == b"\x64\x00\x64"
        at += 16 + size
    data[at + 18] ^= 1
    wal.write_bytes(data)
    return at


def test_a_corrupt_log_is_only_put_aside_when_told_to(db):
    wal = killed_writer(db, *COMMITS)
    at = damage(wal, 1)
    log = wal.read_bytes()
    out = refused(recover(db), "--discard-wal", "nothing was done")
    assert f"corrupt: the checksum of the entry at byte {at}" in out and "1 commit (1 insert), behind it 2 more" in out
    assert wal.read_bytes() == log and beside(db, "bulkhead-backup") == []
    refused(recover(db, "--dry-run"), "--discard-wal")
    assert "would copy everything, put the log aside" in good(recover(db, "--dry-run", "--discard-wal"))
    out = good(recover(db, "--discard-wal"))
    assert "1 commits in front of the damage were replayed" in out
    assert content(db) == FIRST and not wal.exists()
    [aside] = beside(db, "bulkhead-discarded-")
    assert (db.path.parent / aside).read_bytes() == log
    assert len(beside(db, "bulkhead-backup-")) == 2


def test_a_log_that_is_corrupt_from_the_start_is_lost_as_a_whole(db):
    wal = killed_writer(db, *COMMITS)
    damage(wal, 0)
    assert "all of the log is lost" in good(recover(db, "--discard-wal"))
    assert content(db) == OLD


def test_a_log_of_another_database_is_put_aside(db, make_db):
    other = make_db("other.duckdb").make("CREATE TABLE o(i INTEGER)")
    wal = killed_writer(other, "INSERT INTO o VALUES (1)")
    mine = db.path.with_name("data.duckdb.wal")
    mine.write_bytes(wal.read_bytes())
    # This format has no identifier: only the engine can find out, by failing.
    log = mine.read_bytes()
    said = recover(db)
    refused(said, "cannot be replayed", "the log is still in its place", "--discard-wal")
    assert "assertion" not in said.stderr
    assert content(db) is None and mine.read_bytes() == log
    good(recover(db, "--discard-wal"))
    assert content(db) == OLD


def test_what_is_no_log_at_all(db):
    db.path.with_name("data.duckdb.wal").write_bytes(b"this is my shopping list")
    out = refused(recover(db), "--discard-wal")
    assert "not a write-ahead log" in out
    good(recover(db, "--discard-wal"))
    assert content(db) == OLD


@pytest.mark.parametrize("where,said", [("before_header", "replayable: 1 commit (1 insert)"), ("after_free_list_write", "replayable: 1 commit (1 insert)"),
                                        ("before_truncate", "already in the database")])
def test_a_crash_in_the_middle_of_a_checkpoint(db, where, said):
    """The engine's own switch for it. With its marker in the log, the log counts only beside the file without that checkpoint."""
    code = (f"import duckdb, os\nc = duckdb.connect({str(db.path)!r})\nc.execute('INSERT INTO t VALUES (50)')\n"
            f"c.execute(\"SET debug_checkpoint_abort = '{where}'\")\n"
            "try:\n    c.execute('CHECKPOINT')\nexcept Exception: pass\nos.kill(os.getpid(), 9)\n")
    subprocess.run([sys.executable, "-c", code])
    assert db.path.with_name("data.duckdb.wal").exists()
    out = good(recover(db))
    assert said in out
    assert content(db) == FIRST and not db.path.with_name("data.duckdb.wal").exists()


def test_never_on_a_file_that_somebody_has_open(db, start):
    killed_writer(db, *COMMITS)
    server = start(db)
    before = db.path.read_bytes()
    refused(recover(db), "process ", "bulkhead-worker", "open")
    server.stop()
    with db.hold() as writer:
        refused(recover(db), f"process {writer.pid}", "for writing")
        refused(recover(db, "--dry-run"), f"process {writer.pid}")
    holder = subprocess.Popen([sys.executable, "-c", f"f = open({str(db.path)!r}); print('open', flush=True); input()"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "open\n"
    refused(recover(db), f"process {holder.pid}")
    holder.communicate("\n")
    good(recover(db))
    assert before


def test_a_damaged_file_is_not_touched(db):
    db.path.write_bytes(db.path.read_bytes()[:6000])
    refused(recover(db), "truncated", "bulkhead rollback")


@pytest.mark.parametrize("argv,part", [([], "the database is missing"), (["DB", "DB"], "one database"), (["DB", "--discard"], "unknown option")])
def test_wrong_usage(db, argv, part):
    refused(run_cli("recover", *[db if a == "DB" else a for a in argv]), part, code=2)
