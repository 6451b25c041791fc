"""`bulkhead import` and `bulkhead rollback`: a database changes whole, or not at all."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lib import proc
from lib.db import killed_writer
from lib.server import BULKHEAD, clean_environment, run_cli
from lib.sql import CROSS_JOIN
from lib.wait import wait_until

SMALL = ["--set", "admin.memory_limit=128MB", "--set", "admin.threads=1"]


def ask(db, sql):
    """Rows, by a reader of the same build."""
    r = run_cli("query", db, sql, "--format", "json")
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)["data"]


def run_import(db, *argv, **how):
    return run_cli("import", db, *argv, *SMALL, **how)


def good(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(result, *parts, code=1):
    assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("bulkhead "), result.stderr
    for part in parts:
        assert part in lines[0], lines[0]
    return lines[0]


def beside(db):
    """Names in the database's directory that the write path made, apart from the lock file."""
    return sorted(n for n in os.listdir(db.path.parent) if ".bulkhead-" in n and not n.endswith(".bulkhead-lock"))


def fingerprint(db):
    """The file as it is, to the byte."""
    st = os.stat(db.path)
    return st.st_ino, st.st_mtime_ns, db.path.read_bytes()


@pytest.fixture
def db(make_db):
    return make_db().make("CREATE TABLE t AS SELECT range::INTEGER AS i FROM range(10)")


@pytest.fixture
def script(tmp_path):
    def write(text, name="script.sql"):
        path = tmp_path / name
        path.write_text(text)
        return path
    return write


class TestScripts:
    def test_a_script_is_published_whole(self, db, script):
        out = good(run_import(db, script("INSERT INTO t VALUES (100);\nCREATE TABLE u AS SELECT 1 AS a;")))
        assert "published, 2 statements" in out and "main.t: 10 -> 11 rows" in out and "main.u: new, 1 rows" in out
        assert ask(db, "SELECT count(*) FROM t") == [[11]] and ask(db, "FROM u") == [[1]]
        assert beside(db) == ["data.duckdb.bulkhead-version-1"]
        assert not db.path.with_name("data.duckdb.wal").exists()

    def test_a_table_that_is_dropped_is_named(self, db, script):
        good(run_import(db, script("CREATE TABLE u AS SELECT 1 AS a")))
        out = good(run_import(db, script("DROP TABLE u; CREATE TABLE v AS SELECT 1 AS a")))
        assert "main.u: dropped, it had 1 rows" in out and "main.v: new, 1 rows" in out and "main.t" not in out

    def test_nothing_is_made_beside_a_file_that_is_no_database(self, tmp_path, script):
        notes = tmp_path / "notes.csv"
        notes.write_text("a,b\n1,2\n" * 10000)
        refused(run_cli("import", notes, script("SELECT 1"), *SMALL), "not a DuckDB database")
        assert sorted(os.listdir(tmp_path)) == ["notes.csv", "script.sql"] and notes.read_text() == "a,b\n1,2\n" * 10000

    def test_a_script_comes_from_standard_input(self, db):
        good(run_import(db, "-", input="INSERT INTO t VALUES (100)"))
        assert ask(db, "SELECT count(*) FROM t") == [[11]]

    @pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_one_that_waits_for_its_script(self, db, sig):
        read, write = os.pipe()
        with subprocess.Popen([str(BULKHEAD), "import", str(db.path), "-"], stdin=read, stderr=subprocess.PIPE, env=clean_environment()) as p:
            os.close(read)
            os.write(write, b"CREATE TABLE t(a INT);")
            wait_until(lambda: proc.stat(p.pid).state == "S", "does not wait")
            p.send_signal(sig)
            try:
                assert p.wait(30) == -sig
            finally:
                p.kill()
                os.close(write)

    def test_a_database_that_is_not_there_is_made(self, make_db, script):
        new = make_db("new.duckdb")
        assert "made, 1 statement" in good(run_import(new, script("CREATE TABLE n AS SELECT 7 AS i")))
        assert ask(new, "FROM n") == [[7]]
        assert beside(new) == []

    def test_a_syntax_error_in_the_last_statement_changes_nothing(self, db, script):
        before = fingerprint(db)
        refused(run_import(db, script("INSERT INTO t VALUES (1);\nCREATE TABLE u(i INTEGER);\nINSERT INTO u VALUS (1);\n")),
                "statement 3, line 3", "Parser Error", "at byte")
        assert fingerprint(db) == before and beside(db) == []

    def test_an_error_in_the_middle_changes_nothing(self, db, script):
        before = fingerprint(db)
        refused(run_import(db, script("INSERT INTO t VALUES (1);\nINSERT INTO t VALUES ('x');\nINSERT INTO t VALUES (3)")), "statement 2, line 2", "Conversion Error")
        assert fingerprint(db) == before and beside(db) == []

    def test_a_dry_run_of_a_script_shows_what_it_would_do(self, db, script):
        before = fingerprint(db)
        out = good(run_import(db, script("INSERT INTO t VALUES (1)"), "--dry-run"))
        assert "nothing was published" in out and "10 -> 11 rows" in out
        assert fingerprint(db) == before and beside(db) == []

    def test_a_script_reads_its_own_directory_and_what_is_allowed(self, db, script, tmp_path):
        other = tmp_path / "elsewhere"
        other.mkdir()
        (other / "x.csv").write_text("a\n1\n")
        (tmp_path / "beside.csv").write_text("a\n2\n")
        good(run_import(db, script(f"CREATE TABLE b AS FROM '{tmp_path}/beside.csv'"), cwd="/"))
        # A relative name is one in the script's directory, or in one that was allowed, wherever the command is run.
        good(run_import(db, script("CREATE TABLE r AS FROM 'beside.csv'; CREATE TABLE s AS FROM read_csv('*side.csv'); CREATE TABLE e AS FROM 'x.csv'"),
                        "--read", other, cwd="/"))
        assert ask(db, "SELECT (FROM r), (FROM s), (FROM e)") == [[2, 2, 1]]
        inside = tmp_path / "scripts"
        inside.mkdir()
        path = inside / "s.sql"
        path.write_text(f"CREATE TABLE x AS FROM '{other}/x.csv'")
        refused(run_import(db, path), "Permission Error", "--read PATH")
        good(run_import(db, path, "--read", other))
        assert ask(db, "FROM x") == [[1]]
        path.write_text("CREATE TABLE p AS FROM read_text('/etc/passwd')")
        refused(run_import(db, path), "Permission Error")

    def test_the_timeout_ends_a_script(self, db, script):
        before = fingerprint(db)
        refused(run_import(db, script(f"INSERT INTO t SELECT 1; CREATE TABLE x AS {CROSS_JOIN}"), "--timeout", "300ms"), "timeout of 300 ms")
        assert fingerprint(db) == before and beside(db) == []

    def test_control_characters_do_not_reach_the_terminal(self, db, script):
        line = refused(run_import(db, script("SELECT \"\x1b[31m\"")), "\\u001b")
        assert "\x1b" not in line


class TestTables:
    def test_files_of_each_kind_become_tables(self, db, tmp_path):
        (tmp_path / "a.csv").write_text("x,y\n1,one\n2,two\n")
        (tmp_path / "b.csv").write_text("x,y\n3,three\n")
        (tmp_path / "c.json").write_text('[{"x":1,"y":{"z":[1,2]}}]')
        (tmp_path / "d.ndjson").write_text('{"x":1}\n{"x":2}\n')
        subprocess.run([sys.executable, "-c", f"import duckdb; duckdb.sql(\"COPY (FROM range(5) t(x)) TO '{tmp_path}/e.parquet'\")"], check=True)
        assert "main.csvs: new, 3 rows" in good(run_import(db, "--table", "csvs", tmp_path / "a.csv", tmp_path / "b.csv"))
        good(run_import(db, "--table", "js", tmp_path / "c.json"))
        good(run_import(db, "--table", "nd", tmp_path / "d.ndjson"))
        good(run_import(db, "--table", "pq", tmp_path / "e.parquet"))
        assert ask(db, "FROM csvs ORDER BY x") == [[1, "one"], [2, "two"], [3, "three"]]
        assert ask(db, "SELECT y.z[2] FROM js") == [[2]]
        assert ask(db, "SELECT (SELECT count(*) FROM nd), (SELECT count(*) FROM pq)") == [[2, 5]]

    def test_a_table_that_exists_is_replaced_or_grown_as_said(self, db, tmp_path):
        csv = tmp_path / "a.csv"
        csv.write_text("i\n1\n2\n")
        refused(run_import(db, "--table", "t", csv), "already exists", "--replace", "--append")
        refused(run_import(db, "--table", "u", csv, "--append"), "does not exist", "without --append")
        good(run_import(db, "--table", "t", csv, "--append"))
        assert ask(db, "SELECT count(*) FROM t") == [[12]]
        good(run_import(db, "--table", "t", csv, "--replace"))
        assert ask(db, "FROM t ORDER BY i") == [[1], [2]]

    def test_columns_are_added_by_name(self, db, tmp_path, script):
        good(run_import(db, script("CREATE TABLE p(a INTEGER, b VARCHAR, c INTEGER)")))
        csv = tmp_path / "a.csv"
        csv.write_text("b,a\nx,1\n")
        good(run_import(db, "--table", "p", csv, "--append"))
        assert ask(db, "FROM p") == [[1, "x", None]]
        csv.write_text("b,nope\nx,1\n")
        refused(run_import(db, "--table", "p", csv, "--append"), "nope")

    def test_a_bad_row_is_named_and_nothing_is_half_imported(self, db, tmp_path):
        good_csv, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
        rows = 60000  # beyond what the engine looks at to guess the types
        good_csv.write_text("i\n" + "\n".join(map(str, range(rows))) + "\n")
        bad.write_text("i\n" + "\n".join(map(str, range(rows))) + "\nnot a number\n7\n")
        before = fingerprint(db)
        refused(run_import(db, "--table", "t", good_csv, bad, "--append"), f"Line: {rows + 2}", "not a number")
        assert fingerprint(db) == before and beside(db) == []

    def test_a_dry_run_shows_the_columns(self, db, tmp_path):
        csv = tmp_path / "a.csv"
        csv.write_text("n,d,s\n1,2024-01-01,x\n")
        before = fingerprint(db)
        out = good(run_import(db, "--table", "new", csv, "--dry-run"))
        assert [line.split() for line in out.splitlines()[1:]] == [["n", "BIGINT"], ["d", "DATE"], ["s", "VARCHAR"]]
        assert fingerprint(db) == before and beside(db) == []

    def test_names_are_names_whatever_they_hold(self, db, tmp_path):
        csv = tmp_path / "it's a \"file\".csv"
        csv.write_text("i\n1\n")
        good(run_import(db, "--table", 'o"dd; DROP TABLE t; --', csv))
        assert ask(db, 'FROM "o""dd; DROP TABLE t; --"') == [[1]]
        assert ask(db, "SELECT count(*) FROM t") == [[10]]

    @pytest.mark.parametrize("argv,part", [
        ([], "the database is missing"),
        (["DB"], "the script is missing"),
        (["DB", "--table", "x"], "files of the table are missing"),
        (["DB", "a.sql", "b.sql"], "one script"),
        (["DB", "a.sql", "--replace"], "--table"),
        (["DB", "--table", "x", "a.csv", "--replace", "--append"], "contradict"),
        (["DB", "--table", "x", "a.bin"], "--format"),
        (["DB", "--table", "x", "a.csv", "b.json"], "one format"),
        (["DB", "--table", "a.b.c", "EXISTING"], "SCHEMA.NAME"),
        (["DB", "a.sql", "--keep", "many"], "--keep"),
        (["DB", "a.sql", "--kepe", "1"], "unknown option"),
        (["DB", "a.sql", "--in-place", "--dry-run"], "--in-place"),
    ])
    def test_wrong_usage_is_exit_code_2(self, db, tmp_path, argv, part):
        (tmp_path / "x.csv").write_text("a\n1\n")
        argv = [str(db.path) if a == "DB" else str(tmp_path / "x.csv") if a == "EXISTING" else a for a in argv]
        refused(run_cli("import", *argv), part, code=2)

    def test_files_that_can_not_be_read_are_named(self, db, tmp_path):
        refused(run_import(db, "--table", "x", tmp_path / "none.csv"), "none.csv", "No such file")
        refused(run_import(db, tmp_path / "none.sql"), "none.sql", "No such file")


class TestVersions:
    def test_versions_are_kept_and_rolled_back_to(self, db, script):
        one = script("INSERT INTO t VALUES (0)")
        for _ in range(4):
            good(run_import(db, one, "--keep", "2"))
        assert beside(db) == ["data.duckdb.bulkhead-version-3", "data.duckdb.bulkhead-version-4"]
        assert "version 4 is published again" in good(run_cli("rollback", db))
        assert ask(db, "SELECT count(*) FROM t") == [[13]]
        good(run_cli("rollback", db))
        assert ask(db, "SELECT count(*) FROM t") == [[12]]
        refused(run_cli("rollback", db), "no older version")
        assert beside(db) == ["data.duckdb.bulkhead-undone"]
        good(run_import(db, one, "--keep", "0"))
        assert beside(db) == ["data.duckdb.bulkhead-undone"]

    def test_a_version_that_does_not_open_is_not_published(self, db, script):
        good(run_import(db, script("INSERT INTO t VALUES (0)")))
        kept = db.path.with_name("data.duckdb.bulkhead-version-1")
        kept.write_bytes(kept.read_bytes()[:100])
        refused(run_cli("rollback", db), "cannot open the database")
        assert ask(db, "SELECT count(*) FROM t") == [[11]]

    def test_a_damaged_database_is_rolled_back(self, db, script):
        good(run_import(db, script("INSERT INTO t VALUES (0)")))
        db.path.write_bytes(b"x" * 100)
        refused(run_import(db, script("SELECT 1")), "not a DuckDB database")
        good(run_cli("rollback", db))
        assert ask(db, "SELECT count(*) FROM t") == [[10]]


@pytest.fixture
def reflink_disk(tmp_path):
    """A file system that copies by reference."""
    image, where = tmp_path / "xfs.img", tmp_path / "xfs"
    where.mkdir()
    with open(image, "wb") as f:
        f.truncate(400 << 20)
    mkfs = shutil.which("mkfs.xfs", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    made = mkfs and subprocess.run([mkfs, "-q", "-m", "reflink=1", str(image)], capture_output=True)
    if os.geteuid() != 0 or not made or made.returncode != 0 or subprocess.run(["mount", "-o", "loop", str(image), str(where)], capture_output=True).returncode != 0:
        pytest.skip("no XFS of our own can be mounted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_the_copy_is_made_by_reference_where_the_file_system_can(reflink_disk, make_db, script):
    """Two versions of a database, and the space of one."""
    made = make_db("big.duckdb").make("CREATE TABLE t AS SELECT hash(i) AS h FROM range(5000000) r(i)")
    path = reflink_disk / "data.duckdb"
    shutil.copy(made.path, path)
    os.sync()
    size, free = path.stat().st_size, shutil.disk_usage(reflink_disk).free
    assert size > 30 << 20
    good(run_import(path, script("CREATE TABLE u AS SELECT 1 AS a")))
    os.sync()
    assert path.with_name("data.duckdb.bulkhead-version-1").stat().st_size == size
    assert free - shutil.disk_usage(reflink_disk).free < size / 4
    assert ask(path, "SELECT count(*), (SELECT a FROM u) FROM t") == [[5000000, 1]]


class TestOneAtATime:
    def test_a_second_import_is_told_who_holds_the_lock(self, db, script):
        before = fingerprint(db)
        slow = script(f"CREATE TABLE x AS {CROSS_JOIN}", "slow.sql")
        first = subprocess.Popen([str(BULKHEAD), "import", str(db), str(slow), *SMALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, env=clean_environment())
        try:
            wait_until(lambda: (db.path.parent / "data.duckdb.bulkhead-new").exists(), "no copy")
            refused(run_import(db, script("SELECT 1")), f"process {first.pid} (bulkhead import)", "one at a time")
            refused(run_cli("rollback", db), f"process {first.pid}")
            children = [s.pid for s in proc.descendants(first.pid)]
            first.send_signal(signal.SIGINT)
            _, err = first.communicate(timeout=30)
            assert first.returncode == 1 and "stopped by a signal" in err
        finally:
            first.kill()
            first.wait()
        wait_until(lambda: not any(proc.is_alive(p) for p in children), "its worker is left")
        assert fingerprint(db) == before and beside(db) == []
        good(run_import(db, script("SELECT 1")))

    def test_what_a_killed_import_left_is_removed_by_the_next(self, db, script):
        before = fingerprint(db)
        slow = script(f"CREATE TABLE x AS {CROSS_JOIN}", "slow.sql")
        first = subprocess.Popen([str(BULKHEAD), "import", str(db), str(slow), *SMALL], stderr=subprocess.DEVNULL, env=clean_environment())
        wait_until(lambda: [s for s in proc.descendants(first.pid) if s.cpu_ticks > 5], "its worker does not work")
        children = [s.pid for s in proc.descendants(first.pid)]
        first.kill()
        first.wait()
        wait_until(lambda: not any(proc.is_alive(p) for p in children), "its worker outlives it")
        proc.reap_strays()
        assert fingerprint(db) == before
        assert "data.duckdb.bulkhead-new" in beside(db)
        assert "removed what an interrupted run had left" in good(run_import(db, script("INSERT INTO t VALUES (1)")))
        assert beside(db) == ["data.duckdb.bulkhead-version-1"]
        assert ask(db, "SELECT count(*) FROM t") == [[11]]

    def test_a_database_that_another_program_writes_to_is_left_alone(self, db, script):
        with db.hold() as writer:
            line = refused(run_import(db, script("SELECT 1")), f"process {writer.pid}", "open for writing")
            assert "python" in line
        good(run_import(db, script("SELECT 1")))

    def test_a_foreign_lock_without_a_name_is_a_lock_all_the_same(self, db, script):
        lock = db.path.with_name("data.duckdb.bulkhead-lock")
        with open(lock, "w") as f:
            f.write("\x1b[31mnonsense")
            f.flush()
            fcntl.flock(f, fcntl.LOCK_EX)
            line = refused(run_import(db, script("SELECT 1")), "another write", "under way")
            assert "\x1b" not in line and "\\u001b" not in line


class TestLogs:
    def test_the_log_of_a_killed_writer_is_folded_in_first(self, db, script):
        wal = killed_writer(db, "INSERT INTO t VALUES (50)", "CREATE TABLE w AS SELECT 1 AS i")
        assert wal.exists()
        out = good(run_import(db, script("INSERT INTO t VALUES (60)")))
        assert "folded in first" in out and "2 commits" in out
        assert not wal.exists()
        assert ask(db, "SELECT count(*), max(i) FROM t") == [[12, 60]] and ask(db, "FROM w") == [[1]]

    def test_a_log_that_would_lose_something_stops_the_import(self, db, script):
        wal = killed_writer(db, "INSERT INTO t VALUES (50)", "CREATE TABLE w AS SELECT 1 AS i")
        whole = wal.read_bytes()
        wal.write_bytes(whole[:-3])
        refused(run_import(db, script("SELECT 1")), "bulkhead recover", "without a word")
        damaged = bytearray(whole)
        damaged[40] ^= 1
        wal.write_bytes(damaged)
        refused(run_import(db, script("SELECT 1")), "bulkhead recover", "corrupt")
        wal.write_bytes(whole)
        good(run_import(db, script("SELECT 1")))
        assert ask(db, "SELECT count(*) FROM t") == [[11]]


class TestPlaces:
    def test_a_symbolic_link_leads_to_the_file_and_stays(self, db, script, tmp_path):
        link = tmp_path / "links"
        link.mkdir()
        link = link / "sales.db"
        link.symlink_to(db.path)
        good(run_import(link, script("INSERT INTO t VALUES (1)")))
        assert link.is_symlink() and os.listdir(link.parent) == ["sales.db"]
        assert ask(db, "SELECT count(*) FROM t") == [[11]]

    def test_a_directory_that_can_not_be_written_to_is_said(self, db, script):
        if os.geteuid() != 0:
            os.chmod(db.path.parent, 0o500)
            try:
                refused(run_import(db, script("SELECT 1", "../s.sql")), "must be able to write there")
            finally:
                os.chmod(db.path.parent, 0o700)
            return
        path = script("SELECT 1")
        for d in [db.path.parent, *list(db.path.parents)[:3]]:
            os.chmod(d, 0o755)
        r = subprocess.run([str(BULKHEAD), "import", str(db), str(path), *SMALL], capture_output=True, text=True, user="nobody",
                           env=clean_environment(), cwd="/")
        refused(r, "Permission denied", "must be able to write there")

    def test_spilling_to_another_file_system_does_not_matter(self, db, script):
        if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(db.path).st_dev:
            pytest.skip("no second file system here")
        good(run_import(db, script("CREATE TABLE s AS SELECT * FROM range(1000) ORDER BY random()"), "--set", "pool.scratch_directory=/dev/shm"))
        assert ask(db, "SELECT count(*) FROM s") == [[1000]]

    @pytest.mark.parametrize("limit,rows", [(300_000, 10), (3_000_000, 2_000_000)], ids=["copy", "script"])
    def test_a_full_disk_changes_nothing(self, db, script, limit, rows):
        """The limit on a file's size stands for the disk's: the same errors in the same places."""
        before = fingerprint(db)
        path = script(f"CREATE TABLE big AS SELECT i, hash(i) AS h FROM range({rows}) r(i)")
        r = subprocess.run([str(BULKHEAD), "import", str(db), str(path), *SMALL], capture_output=True, text=True, env=clean_environment(),
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        refused(r, "File too large")
        assert fingerprint(db) == before and beside(db) == []


class TestInPlace:
    def test_in_place_all_of_the_script_or_nothing(self, db, script):
        refused(run_import(db, script("INSERT INTO t VALUES (1); INSERT INTO t VALUES ('x')"), "--in-place"), "statement 2")
        assert ask(db, "SELECT count(*) FROM t") == [[10]]
        inode = os.stat(db.path).st_ino
        assert "changed in place" in good(run_import(db, script("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)"), "--in-place"))
        assert os.stat(db.path).st_ino == inode and beside(db) == []
        assert ask(db, "SELECT count(*) FROM t") == [[12]]
        refused(run_import(db, script("INSERT INTO t VALUES (1); COMMIT"), "--in-place"), "COMMIT", "one transaction")

    def test_in_place_waits_for_others_and_gives_up(self, db, script):
        began = time.monotonic()
        reader = subprocess.Popen([str(BULKHEAD), "query", str(db), CROSS_JOIN, "--timeout", "0"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, env=clean_environment())
        try:
            wait_until(lambda: [s for s in proc.descendants(reader.pid) if s.cpu_ticks > 5], "the reader does not read")
            worker = [s.pid for s in proc.descendants(reader.pid)][0]
            refused(run_import(db, script("INSERT INTO t VALUES (1)"), "--in-place", "--wait", "300ms"), f"process {worker}", "still has it open")
            assert time.monotonic() - began < 30
        finally:
            reader.kill()
            reader.wait()
        wait_until(lambda: not proc.is_alive(worker), "the reader is left")
        good(run_import(db, script("INSERT INTO t VALUES (1)"), "--in-place"))
        assert ask(db, "SELECT count(*) FROM t") == [[11]]

    def test_in_place_replays_a_log_of_a_killed_writer(self, db, script):
        wal = killed_writer(db, "INSERT INTO t VALUES (50)")
        good(run_import(db, script("INSERT INTO t VALUES (60)"), "--in-place"))
        assert ask(db, "SELECT count(*) FROM t") == [[12]]
        assert not wal.exists()
