"""A worker that is killed, crashes or stops, in every phase of its life: one client is concerned at most, and it gets a definite answer."""

import signal

import pytest

from lib import proc
from lib.client import Cut, new_id
from lib.sql import BIG_RESULT, CROSS_JOIN, ENDLESS_RESULT, LEVENSHTEIN, SHORT_WORK
from lib.wait import wait_until

pytestmark = pytest.mark.fault

DEADLY = [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]


def run(server, sql, **how):
    mine = new_id()
    c = server.client.start_query(sql, headers={"Bulkhead-Query-Id": mine}, **how)
    return c, server.wait_running(mine)["pid"]


def assert_serves(server):
    """Two answers at the same time: both slots work."""
    connections = [server.client.start_query("SELECT count(*) FROM items") for _ in range(4)]
    for c in connections:
        assert c.read_response().data == [[1000]]
        c.close()


@pytest.mark.parametrize("sig", DEADLY, ids=lambda s: s.name)
class TestDeath:
    def test_while_idle(self, server, sig):
        before = server.metrics()
        since = server.log_mark()
        pid = server.worker_pids("pool")[0]
        proc.kill(pid, sig)
        wait_until(lambda: proc.is_gone(pid), "not reaped")
        assert_serves(server)
        server.settle()
        assert pid not in server.worker_pids()
        server.wait_metric("bulkhead_worker_deaths_total", before.get("bulkhead_worker_deaths_total", reason="crash") + 1, reason="crash")
        server.wait_log(rf'"pid": {pid}\b', since=since)
        assert server.metric("bulkhead_queries_total", code="worker_crashed") == before.get("bulkhead_queries_total", code="worker_crashed")

    def test_of_the_spare(self, server, sig):
        pool = set(server.worker_pids("pool"))
        (pid,) = server.worker_pids("spare")
        proc.kill(pid, sig)
        wait_until(lambda: proc.is_gone(pid), "not reaped")
        assert_serves(server)
        server.settle()
        assert set(server.worker_pids("pool")) == pool

    def test_before_the_first_row_is_one_502_and_nobody_elses_matter(self, server, sig):
        before = server.metrics()
        neighbour, neighbour_pid = run(server, SHORT_WORK, timeout="60s")
        victim, pid = run(server, CROSS_JOIN, timeout="60s")
        assert pid != neighbour_pid
        proc.kill(pid, sig)
        fields = victim.read_response().problem(502, "worker_crashed")
        assert fields["signal"] in (sig, sig.name, sig.value), fields
        assert neighbour.read_response().status == 200
        assert_serves(server)
        server.settle()
        after = server.metrics()
        assert after.get("bulkhead_queries_total", code="worker_crashed") == before.get("bulkhead_queries_total", code="worker_crashed") + 1
        assert after.get("bulkhead_worker_deaths_total", reason="crash") == before.get("bulkhead_worker_deaths_total", reason="crash") + 1

    def test_while_a_result_is_on_its_way_cuts_it_short(self, server, sig):
        before = server.metric("bulkhead_queries_total", code="worker_crashed")
        c, pid = run(server, ENDLESS_RESULT, timeout="60s")
        assert c.read_head().status == 200
        for _ in range(20):
            size = int(c._until(b"\r\n"), 16)
            assert size > 0
            c._exactly(size + 2)
        proc.kill(pid, sig)
        rest = c.read_to_end()
        assert not rest.endswith(b"\r\n0\r\n\r\n"), "it looks like a whole result"
        server.wait_metric("bulkhead_queries_total", before + 1, code="worker_crashed")
        assert_serves(server)

    def test_while_the_client_is_slow_cuts_it_short(self, server, sig):
        c, pid = run(server, ENDLESS_RESULT, timeout="60s", receive_buffer=4096)
        head = c.read_head()
        assert head.status == 200
        proc.kill(pid, sig)
        wait_until(lambda: proc.is_gone(pid), "not reaped")
        assert_serves(server)
        with pytest.raises(Cut):
            c._body(head, "POST")

    def test_with_others_in_the_queue_concerns_only_its_own_client(self, server, sig):
        first, pid = run(server, CROSS_JOIN, timeout="60s")
        second, other_pid = run(server, CROSS_JOIN, timeout="60s")
        waiting = [server.client.start_query("SELECT $1 AS i", params=[i]) for i in range(5)]
        wait_until(lambda: server.metric("bulkhead_queue_length") == 5, "they do not wait")
        proc.kill(pid, sig)
        first.read_response().problem(502, "worker_crashed")
        for i, c in enumerate(waiting):
            assert c.read_response().data == [[i]]
            c.close()
        assert proc.is_alive(other_pid)
        second.close()


class TestStop:
    """SIGSTOP: the process is there, but does nothing and answers nothing."""

    def test_while_idle_costs_the_next_query_its_time_at_most(self, server):
        stopped = server.worker_pids("pool")
        for pid in stopped:
            proc.kill(pid, signal.SIGSTOP)
        connections = [server.client.start_query("SELECT 1", timeout="400ms") for _ in range(4)]
        answers = [c.read_response() for c in connections]
        for a in answers:
            assert a.status == 200 or a.problem(504, "timeout")["stopped_by"] == "kill"
        assert [a.status for a in answers].count(200) == 2
        for pid in stopped:
            wait_until(lambda: proc.is_gone(pid), "still there")
        server.settle()

    def test_of_the_spare_is_harmless_until_it_is_needed(self, server):
        (pid,) = server.worker_pids("spare")
        proc.kill(pid, signal.SIGSTOP)
        assert_serves(server)
        proc.kill(server.worker_pids("pool")[0])
        answers = [server.client.query("SELECT 1", timeout="400ms") for _ in range(6)]
        assert all(a.status in (200, 504) for a in answers)
        proc.kill(pid, signal.SIGCONT)
        server.settle()
        assert_serves(server)

    def test_before_the_first_row_ends_in_a_kill(self, server):
        c, pid = run(server, CROSS_JOIN, timeout="600ms")
        proc.kill(pid, signal.SIGSTOP)
        assert c.read_response().problem(504, "timeout")["stopped_by"] == "kill"
        wait_until(lambda: proc.is_gone(pid), "still there")
        assert_serves(server)

    def test_while_a_result_is_on_its_way_ends_in_a_cut(self, server):
        c, pid = run(server, ENDLESS_RESULT, timeout="1s")
        head = c.read_head()
        proc.kill(pid, signal.SIGSTOP)
        with pytest.raises(Cut):
            c._body(head, "POST")
        wait_until(lambda: proc.is_gone(pid), "still there")
        assert_serves(server)

    def test_and_a_client_that_leaves(self, server):
        c, pid = run(server, CROSS_JOIN, timeout="60s")
        proc.kill(pid, signal.SIGSTOP)
        c.close()
        wait_until(lambda: proc.is_gone(pid), "still there")
        assert_serves(server)

    def test_for_a_moment_only_changes_nothing(self, server):
        c, pid = run(server, SHORT_WORK, timeout="60s")
        proc.kill(pid, signal.SIGSTOP)
        wait_until(lambda: proc.state(pid) == "T", "not stopped")
        proc.kill(pid, signal.SIGCONT)
        assert c.read_response().status == 200
        assert pid in server.worker_pids()


def test_a_crash_under_an_interrupt_is_a_crash(start):
    """The deadline is over, the interrupt is out, nobody has forced anything yet: what ends the worker now is its own."""
    server = start(set={"limits.interrupt_grace": "20s"})
    since = server.log_mark()
    c, pid = run(server, LEVENSHTEIN, timeout="200ms")
    server.wait_log("job_stop", since=since, pid=pid, by="interrupt")
    proc.kill(pid, signal.SIGSEGV)
    assert c.read_response().problem(502, "worker_crashed")["signal"] == "SIGSEGV"
    server.wait_metric("bulkhead_worker_deaths_total", 1, reason="crash")
    assert server.metric("bulkhead_queries_total", code="timeout") == 0


def test_a_sigterm_from_outside_is_a_death_like_any_other(server):
    c, pid = run(server, CROSS_JOIN, timeout="60s")
    proc.kill(pid, signal.SIGTERM)
    c.read_response().problem(502, "worker_crashed")
    assert_serves(server)


def test_all_workers_and_the_spare_at_once(server):
    for pid in server.worker_pids():
        proc.kill(pid)
    wait_until(lambda: server.client.query("SELECT 1").status == 200, "does not serve again")
    server.settle()


def test_a_slot_that_dies_again_and_again_comes_back_every_time(server):
    for _ in range(12):
        c, pid = run(server, CROSS_JOIN, timeout="60s")
        proc.kill(pid, signal.SIGSEGV)
        c.read_response().problem(502, "worker_crashed")
        c.close()
        assert server.client.rows("SELECT 1") == [[1]]
    server.settle()


def test_the_next_answer_does_not_wait_for_a_new_process(server):
    """With a spare the slot is taken over at once: the answer after the crash comes before the new spare is there."""
    c, pid = run(server, CROSS_JOIN, timeout="60s")
    spare = server.worker_pids("spare")
    proc.kill(pid)
    c.read_response().problem(502, "worker_crashed")
    assert server.client.rows("SELECT 1") == [[1]]
    server.settle()
    assert set(spare) <= set(server.worker_pids("pool"))


@pytest.mark.parametrize("sig", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS], ids=lambda s: s.name)
def test_the_place_is_filled_before_the_kernel_is_through_with_the_dead(start, sig):
    server = start(set={"log.level": "debug"})
    others = [run(server, CROSS_JOIN, timeout="60s") for _ in range(2)]
    c, pid = others[0]
    since = server.log_mark()
    proc.kill(pid, sig)
    assert c.read_response().problem(502, "worker_crashed")["signal"] == sig.name
    assert server.client.rows("SELECT 1") == [[1]]
    server.wait_log("worker_death", since=since, pid=pid)
    assert [(e["event"], e.get("signal")) for e in server.log_entries("worker_dying|worker_death", since=since, pid=pid)] == [
        ("worker_dying", None), ("worker_death", sig.name)]
    others[1][0].close()


def test_a_whole_result_is_never_taken_from_a_dead_worker(server):
    """Many kills at random moments of a chunked result: whole and right, or visibly cut; never whole and wrong."""
    import hashlib
    whole = hashlib.sha256(server.client.query(BIG_RESULT, timeout="60s").body.split(b'"stats"')[0].split(b'"data"')[1]).hexdigest()
    for i in range(6):
        c, pid = run(server, BIG_RESULT, timeout="60s")
        taken = 0
        try:
            head = c.read_head()
            if head.status != 200:
                continue
            parts = []
            while size := int(c._until(b"\r\n"), 16):
                parts.append(c._exactly(size))
                assert c._exactly(2) == b"\r\n"
                taken += size
                if taken > i * 4_000_000:
                    proc.kill(pid)
            c._until(b"\r\n")
            body = b"".join(parts)
            assert hashlib.sha256(body.split(b'"stats"')[0].split(b'"data"')[1]).hexdigest() == whole
        except Cut:
            pass
        finally:
            c.close()
    server.settle()
