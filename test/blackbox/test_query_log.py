"""The log: one line for each query that is over, and what happens when nobody reads it."""

import fcntl
import hashlib
import json
import os
import resource
import signal
import subprocess
import time

import pytest

from lib.client import Client, new_id
from lib.server import READY, Server, clean_environment
from lib.sql import BIG_RESULT, CROSS_JOIN, LEVENSHTEIN, SHORT_WORK
from lib.wait import wait_until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def line_of(server, query_id):
    """The query's one line."""
    lines = wait_until(lambda: server.log_entries("query", query_id=query_id), lambda: f"no line for {query_id}:\n{server.log_text()}")
    assert len(lines) == 1, lines
    return lines[0]


class TestLine:
    def test_it_says_what_the_query_was_and_what_it_cost(self, server, client):
        sql = "SELECT i FROM range(5) t(i) -- a secret of mine"
        response = client.query(sql)
        line = line_of(server, response.query_id)
        assert line["level"] == "info" and line["code"] == "ok" and line["client"] == "127.0.0.1" and line["format"] == "json"
        assert line["rows"] == 5 and line["bytes"] == len(response.body)
        assert line["sql_hash"] == hashlib.sha256(sql.encode()).hexdigest()[:16]
        stats = response.json()["stats"]
        assert line["queue_ms"] == pytest.approx(float(stats["queue_ms"]), abs=5)
        assert 0 <= line["exec_ms"] < 10_000 and line["delivery_ms"] >= 0 and line["cpu_ms"] >= 0
        assert line["worker"] in (0, 1) and line["cache"] in ("miss", "hit")
        assert "key" not in line and "trace_id" not in line and "stopped_by" not in line and "sql" not in line
        assert not server.log_contains("a secret of mine")

    def test_every_query_has_exactly_one(self, server, client):
        mark, before = server.log_mark(), server.metric("bulkhead_queries_total")
        for sql in ("SELECT 1", "SELEC 1", "DROP TABLE items", "SELECT 1; SELECT 2", BIG_RESULT):
            client.query(sql)
        client.raw_sql("SELECT 1", content_type="text/weird")
        client.raw_sql("SELECT 2")
        wait_until(lambda: len(server.log_entries("query", since=mark)) == server.metric("bulkhead_queries_total") - before == 7,
                   lambda: server.log_text())
        codes = [e["code"] for e in server.log_entries("query", since=mark)]
        assert codes == ["ok", "sql_error", "forbidden", "bad_request", "ok", "unsupported_media_type", "ok"]

    def test_cpu_and_memory_are_the_query_s_own(self, server, client):
        line = line_of(server, client.query(SHORT_WORK, timeout="60s").query_id)
        assert line["cpu_ms"] > 5 and line["memory_bytes"] > 1_000_000
        assert line_of(server, client.query("SELECT 1").query_id)["cpu_ms"] < line["cpu_ms"]

    def test_a_timeout_says_who_stopped_it(self, server, client):
        line = line_of(server, client.query(CROSS_JOIN, timeout="300ms").query_id)
        assert line["code"] == "timeout" and line["stopped_by"] == "interrupt" and line["exec_ms"] >= 300 and line["cpu_ms"] > 50
        line = line_of(server, client.query(LEVENSHTEIN, timeout="300ms").query_id)
        assert line["code"] == "timeout" and line["stopped_by"] in ("term", "kill")

    def test_a_client_that_left_is_a_cancelled_query(self, server, client):
        mine = new_id()
        c = client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": mine}, timeout="60s")
        server.wait_running(mine)
        c.close()
        assert line_of(server, mine)["code"] == "cancelled"

    def test_a_trace_goes_into_it(self, server, client):
        line = line_of(server, client.query("SELECT 1", headers={"traceparent": TRACE}).query_id)
        assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736" and line["parent_id"] == "00f067aa0ba902b7"

    @pytest.mark.parametrize("value", ["", "x", TRACE.upper(), TRACE + "-more", TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
                                       "ff" + TRACE[2:], TRACE[:-1]])
    def test_a_trace_that_is_none_is_ignored(self, server, client, value):
        response = client.query("SELECT 1", headers={"traceparent": value})
        assert response.status == 200
        assert "trace_id" not in line_of(server, response.query_id)

    def test_the_client_behind_a_proxy_is_named(self, start):
        server = start(set={"server.trusted_proxies": "127.0.0.1"})
        response = server.client.query("SELECT 1", headers={"X-Forwarded-For": "198.51.100.7, 127.0.0.1"})
        assert line_of(server, response.query_id)["client"] == "198.51.100.7"


class TestStatement:
    def test_full_hash_and_off_change_at_runtime(self, start, tmp_path):
        config = tmp_path / "b.ini"
        config.write_text("[log]\nsql = full\n")
        server = start(config=config)
        line = line_of(server, server.client.query("SELECT 'my words'").query_id)
        assert line["sql"] == "SELECT 'my words'" and "sql_hash" not in line
        config.write_text("[log]\nsql = off\n")
        server.send_signal(signal.SIGHUP)
        server.wait_log("config_changed", key="log.sql")
        wait_until(lambda: "sql" not in line_of(server, server.client.query("SELECT 'my words'").query_id), "still logged")

    def test_a_long_one_is_cut_and_the_line_stays_whole(self, start):
        server = start(set={"log.sql": "full"})
        response = server.client.query("SELECT '" + "ä" * 100_000 + "' AS v")
        line = line_of(server, response.query_id)
        assert line["sql"].startswith("SELECT 'ää") and line["sql"].endswith("...")
        assert len(json.dumps(line, ensure_ascii=False).encode()) < 4200 and line["code"] == "ok"

    def test_control_characters_are_escaped_in_text_too(self, start):
        server = start(set={"log.sql": "full", "log.format": "text"})
        server.client.query("SELECT '\x1b[31m\r\n\x9b forged'")
        server.send_signal(signal.SIGTERM)
        server.wait_end()
        lines = [x for x in server.lines if " query " in x]
        assert len(lines) == 1 and "forged" in lines[0] and "\\u001b" in lines[0] and "\\u009b" in lines[0]
        server.noise.clear()


class Unread:
    """A server whose standard error is a pipe that the test reads when it wants to, or closes."""

    def __init__(self, items):
        self.server = Server(items, start=False)
        self.read_fd, write_fd = os.pipe()
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen(self.server.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=write_fd,
                                        env=clean_environment())
        os.close(write_fd)
        ready = READY.match(self.process.stdout.readline().decode().rstrip("\n"))
        self.client = Client(ready[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        if self.read_fd is not None:
            os.close(self.read_fd)

    def close_reader(self):
        os.close(self.read_fd)
        self.read_fd = None

    def read_available(self):
        os.set_blocking(self.read_fd, False)
        text = b""
        try:
            while part := os.read(self.read_fd, 65536):
                text += part
        except BlockingIOError:
            pass
        return text.decode()


class TestNobodyReads:
    def test_a_full_pipe_blocks_nobody_and_the_loss_is_told(self, items):
        with Unread(items) as s:
            for _ in range(300):
                assert s.client.rows("SELECT 1") == [[1]]
            s.process.send_signal(signal.SIGHUP)  # the supervisor writes too
            assert s.client.query(CROSS_JOIN, timeout="300ms").problem(504, "timeout")  # and its clock goes on
            text = s.read_available()
            assert all(json.loads(x) for x in text.splitlines()), "a line was cut"
            seen = []

            def told():
                s.client.rows("SELECT 1")
                time.sleep(0.02)
                seen.extend(json.loads(x) for x in s.read_available().splitlines())
                return [e for e in seen if e.get("dropped_lines") and e["role"] == "front"]
            first = wait_until(told, "no line says how many were lost")[0]
            # What came, what is told as lost: together all queries up to that line.
            assert first["dropped_lines"] > 200
            s.process.send_signal(signal.SIGTERM)
            assert s.process.wait(30) == 0

    def test_a_file_that_may_not_grow_hurts_nobody(self, items, tmp_path):
        """A limit on the size of files is a signal, which ends whoever does not expect it."""
        path, limit = tmp_path / "log", 64 << 20
        path.touch()
        os.truncate(path, limit - 4096)
        log = os.open(path, os.O_WRONLY | os.O_APPEND)

        def limited():
            os.dup2(log, 2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with Server(items, preexec=limited) as server:
            front = server.front_pid
            for _ in range(50):
                assert server.client.rows("SELECT 1") == [[1]]
            wait_until(lambda: path.stat().st_size == limit, "the file is not full: nothing is shown")
            server.send_signal(signal.SIGHUP)
            assert server.client.rows("SELECT 1") == [[1]]
            assert server.front_pid == front and server.is_up()
        os.close(log)

    def test_a_closed_pipe_hurts_nobody(self, items):
        with Unread(items) as s:
            s.close_reader()
            for _ in range(50):
                assert s.client.rows("SELECT 1") == [[1]]
            assert s.client.query(LEVENSHTEIN, timeout="300ms").problem(504, "timeout")
            s.process.send_signal(signal.SIGHUP)
            assert s.client.rows("SELECT 1") == [[1]]
            s.process.send_signal(signal.SIGTERM)
            assert s.process.wait(30) == 0
