"""A query ends in time, whatever it does, and nothing of it goes on."""

import signal

import pytest

from lib import proc
from lib.client import new_id
from lib.sql import CROSS_JOIN, ENDLESS_RESULT, LEVENSHTEIN, ROWS_THEN_RUNAWAY
from lib.wait import stays, wait_until


def is_quiet(pid):
    """The process uses no CPU (or is gone) over a while."""
    if proc.cpu_ticks(pid) is None:
        return True
    before = proc.cpu_ticks(pid)
    stays(lambda: True, "", 0.3)
    now = proc.cpu_ticks(pid)
    return now is None or now - before <= 1


def run_on(server, sql, **fields):
    """Starts the query; (connection, worker's pid)."""
    mine = new_id()
    c = server.client.start_query(sql, headers={"Bulkhead-Query-Id": mine}, **fields)
    return c, server.wait_running(mine)["pid"]


class TestTimeout:
    def test_a_query_that_listens_is_interrupted_and_its_worker_lives(self, server):
        before = server.metrics()
        c, pid = run_on(server, CROSS_JOIN, timeout="500ms")
        fields = c.read_response().problem(504, "timeout")
        assert fields["limit_ms"] == 500 and fields["stopped_by"] == "interrupt"
        assert proc.is_alive(pid) and is_quiet(pid)
        server.wait_metric("bulkhead_stops_total", before.get("bulkhead_stops_total", by="interrupt") + 1, by="interrupt")
        server.wait_metric("bulkhead_queries_total", before.get("bulkhead_queries_total", code="timeout") + 1, code="timeout")
        assert pid in server.worker_pids("pool")

    def test_a_runaway_is_ended_by_force(self, server):
        before = server.metrics()
        since = server.log_mark()
        c, pid = run_on(server, LEVENSHTEIN, timeout="500ms")
        fields = c.read_response().problem(504, "timeout")
        assert fields["limit_ms"] == 500 and fields["stopped_by"] in ("term", "kill")
        wait_until(lambda: proc.is_gone(pid), "the worker goes on")
        by = fields["stopped_by"]
        server.wait_metric("bulkhead_stops_total", before.get("bulkhead_stops_total", by=by) + 1, by=by)
        server.wait_metric("bulkhead_worker_deaths_total", before.get("bulkhead_worker_deaths_total") + 1)
        server.wait_log(rf'"pid": {pid}\b', since=since)

    def test_the_next_query_is_answered_at_once_by_a_spare(self, server):
        spare = server.worker_pids("spare")
        c, pid = run_on(server, LEVENSHTEIN, timeout="300ms")
        assert c.read_response().status == 504
        assert server.client.rows("SELECT 1") == [[1]]
        server.settle()
        assert set(spare) <= set(server.worker_pids("pool")), "the spare did not take the slot"
        assert pid not in server.worker_pids()

    def test_a_stopped_worker_is_killed(self, server):
        """SIGSTOP: neither the interrupt nor SIGTERM can reach it."""
        before = server.metric("bulkhead_stops_total", by="kill")
        c, pid = run_on(server, CROSS_JOIN, timeout="800ms")
        proc.kill(pid, signal.SIGSTOP)
        fields = c.read_response().problem(504, "timeout")
        assert fields["stopped_by"] == "kill"
        wait_until(lambda: proc.is_gone(pid), "the stopped worker is still there")
        server.wait_metric("bulkhead_stops_total", before + 1, by="kill")

    def test_every_worker_at_once(self, server):
        connections = [server.client.start_query(LEVENSHTEIN, timeout="400ms") for _ in range(2)]
        for c in connections:
            assert c.read_response().status == 504
        assert server.client.rows("SELECT 1") == [[1]]

    def test_the_same_runaway_again_and_again(self, server):
        for _ in range(4):
            assert server.client.query(LEVENSHTEIN, timeout="100ms").problem(504, "timeout")["limit_ms"] == 100
        assert server.client.rows("SELECT 1") == [[1]]

    def test_a_statement_that_is_slow_to_plan_is_stopped_too(self, server):
        sql = "SELECT " + "+".join(["1"] * 900)
        response = server.client.query(sql, timeout="300ms")
        assert response.status == 200 or response.problem(504, "timeout")

    def test_after_the_head_has_left_the_body_is_cut_short(self, server):
        from lib.client import Cut
        c, pid = run_on(server, ROWS_THEN_RUNAWAY, timeout="1500ms")
        with pytest.raises(Cut) as cut:
            c.read_response()
        assert cut.value.response.status == 200
        wait_until(lambda: is_quiet(pid), "the engine goes on")
        server.settle()

    def test_the_configured_default_counts_when_the_query_names_none(self, start):
        server = start(set={"limits.timeout": "300ms"})
        assert server.client.query(CROSS_JOIN).problem(504, "timeout")["limit_ms"] == 300
        assert server.client.query("SELECT 1", timeout="10s").status == 200

    def test_a_query_within_its_time_is_left_alone(self, server):
        before = server.metric("bulkhead_stops_total")
        for _ in range(20):
            assert server.client.query("SELECT 1", timeout="5s").status == 200
        assert server.metric("bulkhead_stops_total") == before


class TestDisconnect:
    def test_a_client_that_leaves_stops_its_query(self, server):
        before = server.metric("bulkhead_queries_total", code="cancelled")
        c, pid = run_on(server, CROSS_JOIN, timeout="60s")
        c.close()
        wait_until(lambda: is_quiet(pid), "the engine goes on")
        server.settle()
        server.wait_metric("bulkhead_queries_total", before + 1, code="cancelled")
        assert pid in server.worker_pids(), "an interrupt was enough: the worker should have been kept"

    def test_a_client_that_leaves_a_runaway_stops_it(self, server):
        c, pid = run_on(server, LEVENSHTEIN, timeout="60s")
        # Not before the engine is in the function: an interrupt that comes earlier is enough.
        before = proc.cpu_ticks(pid)
        wait_until(lambda: proc.cpu_ticks(pid) > before + 20, "the runaway does not run")
        c.close()
        wait_until(lambda: proc.is_gone(pid), "the runaway goes on")
        server.settle()

    def test_a_reset_counts_as_leaving(self, server):
        c, pid = run_on(server, CROSS_JOIN, timeout="60s")
        c.abort()
        wait_until(lambda: is_quiet(pid), "the engine goes on")
        server.settle()

    def test_leaving_in_the_middle_of_a_result_stops_it(self, server):
        c, pid = run_on(server, ENDLESS_RESULT, timeout="60s")
        assert c.read_head().status == 200
        c.close()
        wait_until(lambda: is_quiet(pid), "the engine goes on")
        server.settle()
        assert server.client.rows("SELECT 1") == [[1]]

    def test_many_who_leave_at_once_leave_nothing(self, server):
        for _ in range(5):
            connections = [server.client.start_query(CROSS_JOIN, timeout="60s") for _ in range(6)]
            for c in connections:
                c.abort()
        server.settle()
        assert server.client.rows("SELECT 1") == [[1]]


class TestSlowDelivery:
    def test_the_delivery_has_its_own_limit(self, start):
        """A client that takes nothing is cut after delivery_timeout; waiting for it is not the query's time."""
        from lib.client import Cut
        server = start(set={"limits.delivery_timeout": "700ms", "limits.timeout": "300s"})
        c = server.client.start_query(ENDLESS_RESULT, receive_buffer=4096)
        assert c.read_head().status == 200
        server.settle()
        with pytest.raises(Cut):
            c._until(b"\r\n0\r\n\r\n")
