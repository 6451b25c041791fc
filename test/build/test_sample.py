"""The sample database is whole, real, and published atomically by build/make-sample."""
import os
import signal
import subprocess
import time

import duckdb
import pytest

from fetchlib import BUILD, ROOT

TOOL = BUILD / "make-sample"


def make(out, sql, *arguments):
    script = out.parent / "script.sql"
    script.write_text(sql)
    return subprocess.run([TOOL, out, script, *arguments], capture_output=True, text=True, timeout=120)


def rows(path, sql):
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.sql(sql).fetchall()


def files(directory):
    return sorted(p.name for p in directory.iterdir() if p.name != "script.sql")


def test_the_sample_holds_the_real_data():
    sample = BUILD / "sample.duckdb"
    assert not sample.with_name("sample.duckdb.wal").exists()
    assert rows(sample, "SELECT count(*), min(date)::DATE::VARCHAR, count(DISTINCT origin) > 200 FROM flights") == \
        [(3000000, "2001-01-01", True)]
    assert rows(sample, "SELECT city, state, country FROM airports WHERE iata = 'ORD'") == [("Chicago", "IL", "USA")]
    assert rows(sample, "SELECT count(*) FROM tpch.lineitem") == [(600572,)]
    assert rows(sample, "SELECT count(*) FROM tpch.nation JOIN tpch.region ON n_regionkey = r_regionkey") == [(25,)]


def test_second_run_leaves_the_sample_alone():
    sample = BUILD / "sample.duckdb"
    before = sample.stat()
    result = subprocess.run([ROOT / "scripts" / "make-sample"], env=os.environ | {"BUILD_DIR": str(BUILD)}, capture_output=True,
                            text=True, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (sample.stat().st_ino, sample.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_values_are_quoted(tmp_path):
    out = tmp_path / "x.duckdb"
    result = make(out, "CREATE TABLE t AS SELECT ${a} AS a, ${bb} AS b;", "a=it's; DROP TABLE t; --", "bb=")
    assert result.returncode == 0, result.stderr
    assert rows(out, "SELECT * FROM t") == [("it's; DROP TABLE t; --", "")]
    assert files(tmp_path) == ["x.duckdb"]


def test_a_failing_script_keeps_the_file_before(tmp_path):
    out = tmp_path / "x.duckdb"
    assert make(out, "CREATE TABLE t AS SELECT 1 AS a;").returncode == 0
    before = out.read_bytes()
    result = make(out, "CREATE TABLE u AS SELECT 2 AS b; SELECT * FROM missing;")
    assert result.returncode == 1 and "missing" in result.stderr and "script.sql" in result.stderr
    assert out.read_bytes() == before and files(tmp_path) == ["x.duckdb"]


def test_a_stale_log_beside_the_file_is_not_replayed(tmp_path):
    out = tmp_path / "x.duckdb"
    out.with_name("x.duckdb.wal").write_bytes(b"of another file")
    assert make(out, "CREATE TABLE t AS SELECT 1 AS a;").returncode == 0
    assert files(tmp_path) == ["x.duckdb"] and rows(out, "SELECT a FROM t") == [(1,)]


@pytest.mark.parametrize("arguments, code, words", [(["--load", "/no/such.duckdb_extension"], 1, "/no/such"),
                                                    (["--nonsense"], 2, "--nonsense"), (["novalue"], 2, "novalue")])
def test_bad_arguments(tmp_path, arguments, code, words):
    result = make(tmp_path / "x.duckdb", "SELECT 1;", *arguments)
    assert result.returncode == code and words in result.stderr
    assert files(tmp_path) == []


def test_killed_run_publishes_nothing_and_the_next_recovers(tmp_path):
    out = tmp_path / "x.duckdb"
    script = tmp_path / "script.sql"
    script.write_text("CREATE TABLE t AS SELECT range AS a FROM range(1000000); CREATE TABLE u AS "
                      "SELECT max(a.range + b.range) AS m FROM range(1000000) a, range(10000000) b WHERE a.range <> b.range;")
    run = subprocess.Popen([TOOL, out, script])
    end = time.monotonic() + 60
    while not (tmp_path / "x.duckdb.tmp").exists():
        assert run.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait(timeout=60)
    assert not out.exists()
    assert make(out, "CREATE TABLE v AS SELECT 3 AS c;").returncode == 0
    assert rows(out, "SELECT table_name FROM duckdb_tables()") == [("v",)] and files(tmp_path) == ["x.duckdb"]
