"""`bulkhead query` when it does not simply run to its end: stopped, cut off, writing to files and terminals."""

import fcntl
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import termios
import time

import pytest

from lib import proc
from lib.formats import parquet_rows, read_arrow
from lib.server import BULKHEAD, clean_environment, run_cli
from lib.sql import CROSS_JOIN, ENDLESS_RESULT, LEVENSHTEIN
from lib.wait import stays, wait_until


class Query:
    """A running `bulkhead query`, with a scratch directory of its own to look into."""

    def __init__(self, database, sql, *argv, tmp_path, stdout=subprocess.PIPE, **how):
        self.scratch = tmp_path / "scratch"
        self.scratch.mkdir(exist_ok=True)
        env = clean_environment(BULKHEAD_POOL_SCRATCH_DIRECTORY=str(self.scratch), BULKHEAD_LIMITS_INTERRUPT_GRACE="100ms",
                                BULKHEAD_LIMITS_TERM_GRACE="30s")
        self.process = subprocess.Popen([str(BULKHEAD), "query", str(database), sql, *map(str, argv)], stdin=subprocess.DEVNULL,
                                        stdout=stdout, stderr=subprocess.PIPE, env=env, **how)

    def worker(self):
        rows = [s for s in proc.descendants(self.process.pid) if s.name == "bulkhead-worker"]
        return rows[0].pid if rows else None

    def wait_running(self):
        """The worker's pid once it computes."""
        pid = wait_until(self.worker, "the worker")
        wait_until(lambda: proc.cpu_ticks(pid) > 20, "the worker to compute")  # 0.2 s: its start needs much less
        return pid

    def finish(self, limit_s=20):
        out, err = self.process.communicate(timeout=limit_s)
        assert os.listdir(self.scratch) == [], "scratch is left"
        return self.process.returncode, out, err.decode()


@pytest.fixture
def query(items, tmp_path):
    started = []

    def run(sql, *argv, **how):
        started.append(Query(items, sql, *argv, tmp_path=tmp_path, **how))
        return started[-1]

    yield run
    for q in started:
        if q.process.poll() is None:
            q.process.kill()
        q.process.communicate()


class TestStopping:
    def test_ctrl_c_interrupts(self, query):
        q = query(CROSS_JOIN, "--format", "json")
        q.wait_running()
        q.process.send_signal(signal.SIGINT)
        code, out, err = q.finish()
        assert code == 1 and out == b"" and "cancelled" in err and "interrupt" in err and err.count("\n") == 1

    def test_ctrl_c_climbs_the_ladder_when_the_engine_does_not_listen(self, query):
        q = query(LEVENSHTEIN, "--format", "json")
        q.wait_running()
        q.process.send_signal(signal.SIGINT)
        code, out, err = q.finish()
        assert code == 1 and out == b"" and "cancelled" in err and "term" in err

    def test_a_second_ctrl_c_kills(self, query):
        q = query(LEVENSHTEIN, "--format", "json")
        pid = q.wait_running()
        os.kill(pid, signal.SIGSTOP)  # neither the interrupt nor SIGTERM reaches it
        q.process.send_signal(signal.SIGINT)
        stays(lambda: q.process.poll() is None, "it waits for the ladder", 0.3)
        q.process.send_signal(signal.SIGINT)
        code, _, err = q.finish()
        assert code == 1 and "cancelled" in err and "kill" in err and not proc.is_alive(pid)

    @pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
    def test_other_signals_end_it_at_once_and_leave_nothing(self, query, tmp_path, sig):
        q = query(LEVENSHTEIN, "-o", tmp_path / "out.json")
        pid = q.wait_running()
        assert os.listdir(q.scratch)
        q.process.send_signal(sig)
        code, _, err = q.finish()
        assert code == 1 and "cancelled" in err and not proc.is_alive(pid)
        assert os.listdir(tmp_path) == ["scratch"]

    def test_a_signal_before_the_worker_is_ready(self, query):
        q = query(LEVENSHTEIN)
        wait_until(lambda: os.listdir(q.scratch), "the start")
        q.process.send_signal(signal.SIGINT)
        code, out, err = q.finish()
        assert code == 1 and out == b"" and "cancelled" in err

    def test_a_crash_is_told_with_its_signal(self, query):
        q = query(LEVENSHTEIN, "--format", "json")
        os.kill(q.wait_running(), signal.SIGABRT)
        code, out, err = q.finish()
        assert code == 1 and out == b"" and "SIGABRT" in err and "worker_crashed" in err

    def test_its_own_death_takes_the_worker_along(self, query):
        q = query(LEVENSHTEIN)
        pid = q.wait_running()
        q.process.kill()
        q.process.wait()
        wait_until(lambda: not proc.is_alive(pid), "the worker's end")
        left = os.listdir(q.scratch)
        assert len(left) == 1
        again = query("SELECT 1", "--format", "csv")
        code, out, _ = again.finish()  # asserts that the next one wiped it
        assert code == 0 and out.split() == [b"1", b"1"]


class TestOutput:
    def test_a_slow_reader_costs_the_query_no_time(self, query):
        q = query("SELECT i, md5(i::VARCHAR) FROM range(200000) t(i)", "--format", "csv", "--timeout", "800ms")
        stays(lambda: q.process.poll() is None, "it waits for its reader", 2)
        code, out, err = q.finish()
        assert code == 0 and err == "" and out.count(b"\n") == 200_001

    def test_a_reader_that_leaves_ends_it_quietly(self, query):
        q = query(ENDLESS_RESULT, "--format", "csv")
        assert q.process.stdout.readline()
        q.process.stdout.close()
        assert q.process.wait(20) == -signal.SIGPIPE and q.process.stderr.read() == b""
        assert os.listdir(q.scratch) == []

    def test_a_reader_that_leaves_before_the_first_row(self, query):
        q = query(LEVENSHTEIN, "--format", "csv")
        pid = q.wait_running()
        q.process.stdout.close()
        assert q.process.wait(20) == -signal.SIGPIPE and q.process.stderr.read() == b"" and not proc.is_alive(pid)

    def test_a_full_disk_is_told(self, query):
        with open("/dev/full", "w") as full:
            code, _, err = query("SELECT 1", "--format", "csv", stdout=full).finish()
        assert code == 1 and "standard output" in err and "No space" in err

    def test_memory_does_not_grow_with_the_result(self, items):
        for form in ("table", "csv"):
            p = subprocess.Popen([str(BULKHEAD), "query", str(items), "SELECT i, md5(i::VARCHAR) FROM range(3000000) t(i)", "--format", form],
                                 stdout=subprocess.DEVNULL, env=clean_environment())
            peak = 0
            while p.poll() is None:
                try:
                    status = open(f"/proc/{p.pid}/status").read()
                    # Of its own; the ring is shared.
                    peak = max([peak, *map(int, re.findall(r"RssAnon:\s+(\d+) kB", status))])
                except OSError:
                    pass
                time.sleep(0.01)
            assert p.returncode == 0 and 0 < peak < 16_000, f"{form}: {peak} kB"


class TestFile:
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, query, tmp_path):
        out = tmp_path / "out.csv"
        out.write_text("old")
        for sql, argv in (("SELECT nope", ()), (ENDLESS_RESULT, ("--timeout", "300ms"))):
            code, _, err = query(sql, "-o", out, *argv).finish()
            assert code == 1 and err
        assert out.read_text() == "old" and sorted(os.listdir(tmp_path)) == ["out.csv", "scratch"]

    def test_success_replaces_it_and_keeps_its_mode_and_its_links(self, query, tmp_path):
        out, link = tmp_path / "out.csv", tmp_path / "link.csv"
        out.write_text("old")
        out.chmod(0o640)
        link.symlink_to(out)
        assert query("SELECT 1 AS a", "-o", link).finish()[0] == 0
        assert out.read_text().split() == ["a", "1"] and out.stat().st_mode & 0o777 == 0o640 and link.is_symlink()

    def test_it_never_writes_over_the_database(self, query, items):
        before = open(items, "rb").read()
        code, _, err = query("SELECT 1", "-o", items).finish()
        assert code == 2 and "database" in err and open(items, "rb").read() == before

    def test_a_place_that_cannot_be_written_is_told_before_the_query_runs(self, query, tmp_path):
        for out in (tmp_path, tmp_path / "no" / "such"):
            began = time.monotonic()
            code, _, err = query(LEVENSHTEIN, "-o", out).finish()
            assert code == 1 and str(out) in err and time.monotonic() - began < 5

    def test_a_file_size_limit_on_the_way_is_a_failure(self, query, tmp_path):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
        code, _, err = query(ENDLESS_RESULT, "-o", tmp_path / "out.csv", preexec_fn=limit).finish()
        assert code == 1 and "out.csv" in err and os.listdir(tmp_path) == ["scratch"]

    def test_the_name_chooses_the_format_unless_one_is_given(self, query, tmp_path):
        for name, argv, start in (("a.csv", (), b"a"), ("a.txt", (), b"{"), ("b.csv", ("--format", "json"), b"{"), ("a.jsonl", (), b'{"a":1}\n'),
                                  ("a.ndjson", (), b'{"a":1}\n')):
            assert query("SELECT 1 AS a", "-o", tmp_path / name, *argv).finish()[0] == 0
            assert (tmp_path / name).read_bytes().startswith(start)


class TestTerminal:
    def shown(self, database, sql, *argv, columns=40):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        p = subprocess.Popen([str(BULKHEAD), "query", str(database), sql, *argv], stdin=slave, stdout=slave, stderr=subprocess.PIPE,
                             env=clean_environment())
        os.close(slave)
        out = b""
        try:
            while data := os.read(master, 4096):
                out += data
        except OSError:
            pass
        os.close(master)
        error = p.stderr.read().decode()
        p.stderr.close()
        return p.wait(30), out.decode().replace("\r\n", "\n"), error

    def test_the_table_fits_its_width(self, items):
        code, out, _ = self.shown(items, "SELECT i, repeat('wide ', 50) AS w, md5(i::VARCHAR) AS m FROM range(3) t(i)")
        assert code == 0 and max(map(len, out.splitlines())) <= 40 and "…" in out and "(3 rows)" in out

    def test_columns_that_do_not_fit_are_counted(self, items):
        code, out, _ = self.shown(items, "SELECT " + ", ".join(f"{i} AS column_{i}" for i in range(30)))
        assert code == 0 and re.search(r"\b\d of 30 columns", out)

    @pytest.mark.parametrize("form", ["table", "csv", "json", "ndjson"])
    def test_no_format_steers_the_terminal(self, items, form):
        code, out, _ = self.shown(items, "SELECT chr(27) || '[31mred' || chr(7) || chr(127) || chr(155) AS v", "--format", form)
        assert code == 0 and "red" in out and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out), repr(out)


def test_many_rows_are_counted_and_not_shown(items):
    result = run_cli("query", items, "SELECT i FROM range(300000) t(i)", "--format", "table")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert 1000 < len(lines) < 10_000 and "300000 rows" in lines[-1] and f"{300000 - (len(lines) - 3)} more" in lines[-1]


def test_the_statement_may_come_from_standard_input_and_start_with_a_comment(items):
    assert run_cli("query", items, "-", "--format", "csv", input="SELECT 7 AS a").stdout.split() == ["a", "7"]
    assert run_cli("query", items, "-- a comment\nSELECT 7 AS a", "--format", "csv").stdout.split() == ["a", "7"]


def test_arrow_is_for_files_and_pipes(items, tmp_path):
    sql = "SELECT id, name FROM items ORDER BY id"
    assert run_cli("query", items, sql, "-o", tmp_path / "a.arrow").returncode == 0
    assert run_cli("query", items, sql, "--format", "arrow", "-o", tmp_path / "b").returncode == 0
    table = read_arrow((tmp_path / "a.arrow").read_bytes())
    assert table.num_rows == 1000 and table.column("name")[999].as_py() == "item 999"
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b").read_bytes()
    code, out, err = TestTerminal().shown(items, sql, "--format", "arrow")
    assert code == 2 and "not for a terminal" in err and out == ""


def test_parquet_is_for_files_and_pipes(items, tmp_path):
    sql = "SELECT id, name FROM items ORDER BY id"
    assert run_cli("query", items, sql, "-o", tmp_path / "a.parquet").returncode == 0
    assert parquet_rows(tmp_path / "a.parquet")[1] == [(str(i), f"item {i}") for i in range(1000)]
    code, out, err = TestTerminal().shown(items, sql, "--format", "parquet")
    assert code == 2 and "not for a terminal" in err and out == ""
    result = run_cli("query", items, "SELECT nope", "-o", tmp_path / "b.parquet")
    assert result.returncode == 1 and "nope" in result.stderr and not (tmp_path / "b.parquet").exists()
