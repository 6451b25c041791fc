"""The front dies or hangs: connections end, nothing else does; the supervisor puts a new one on the same listening socket."""

import signal

import pytest

from lib import proc
from lib.client import Cut, new_id
from lib.sql import CROSS_JOIN, ENDLESS_RESULT, LEVENSHTEIN
from lib.wait import stays, wait_until

pytestmark = pytest.mark.fault


@pytest.fixture
def server(start):
    """Each test its own: a front's counters and connections do not outlive it."""
    s = start()
    s.settle()
    return s


def wait_new_front(server, old):
    def other():
        try:
            pid = server.front_pid
        except (OSError, Cut, AssertionError):
            return None
        return pid if pid != old else None
    new = wait_until(other, lambda: f"no new front:\n{server.log_text()}")
    server.note_processes()
    return new


def run(server, sql, **how):
    mine = new_id()
    c = server.client.start_query(sql, headers={"Bulkhead-Query-Id": mine}, **how)
    return c, server.wait_running(mine)["pid"]


def end_of(connection):
    """What a client sees when its connection ends: nothing that looks like a whole answer."""
    with pytest.raises((Cut, OSError)):
        connection.read_response()
    connection.close()


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM], ids=lambda s: s.name)
class TestDeath:
    def test_while_idle(self, server, sig):
        front = server.front_pid
        since = server.log_mark()
        proc.kill(front, sig)
        new = wait_new_front(server, front)
        assert proc.is_gone(front) and proc.stat(new).ppid == server.pid
        assert server.client.rows("SELECT count(*) FROM items") == [[1000]]
        server.settle()
        server.wait_log(rf'"pid": {front}\b', since=since)

    def test_with_running_queries_ends_them(self, server, sig):
        front = server.front_pid
        runaway, runaway_pid = run(server, LEVENSHTEIN, timeout="120s")
        joining, joining_pid = run(server, CROSS_JOIN, timeout="120s")
        queued = server.client.start_query("SELECT 1")
        wait_until(lambda: server.metric("bulkhead_queue_length") == 1, "not queued")
        proc.kill(front, sig)
        for c in (runaway, joining, queued):
            if sig == signal.SIGTERM:
                c.close()
            else:
                end_of(c)
        wait_new_front(server, front)
        for pid in (runaway_pid, joining_pid):
            wait_until(lambda: proc.is_gone(pid), "an orphaned query goes on")
        assert server.client.rows("SELECT 1") == [[1]]
        server.settle()


def test_young_workers_that_lose_their_front_do_not_count_as_failed_starts(start):
    """They end by themselves, within a second of their start, without ever having had a query: and the next ones come without a pause."""
    for _ in range(3):
        server = start(wait_ready=True)
        since = server.log_mark()
        front = server.front_pid
        proc.kill(front)
        wait_new_front(server, front)
        assert server.client.rows("SELECT count(*) FROM items") == [[1000]]
        server.settle()
        assert not server.log_entries("backoff|worker_start_failed", since=since), server.log_text()
        server.stop()


class TestConnections:
    def test_none_is_refused_while_there_is_no_front(self, server):
        """The listening socket is the supervisor's: who connects in the gap waits a moment and is served."""
        for _ in range(10):
            front = server.front_pid
            proc.kill(front)
            with server.client.connect() as c:
                # The connection may still have been taken by the dying front: then it ends, and the next one is served.
                try:
                    assert c.request("GET", "/healthz").status == 200
                except Cut:
                    assert server.client.get("/healthz").status == 200
            wait_new_front(server, front)
        server.settle()

    def test_a_result_on_its_way_is_visibly_cut(self, server):
        c, pid = run(server, ENDLESS_RESULT, timeout="60s")
        head = c.read_head()
        proc.kill(server.front_pid)
        with pytest.raises(Cut):
            c._body(head, "POST")
        wait_until(lambda: proc.is_gone(pid), "the orphaned query goes on")
        server.settle()

    def test_no_descriptor_is_lost_over_many_deaths(self, server):
        before = len(proc.fds(server.pid))
        for _ in range(8):
            front = server.front_pid
            proc.kill(front)
            wait_new_front(server, front)
        server.settle()
        wait_until(lambda: len(proc.fds(server.pid)) <= before, lambda: f"{before} before, now {proc.fds(server.pid)}")


class TestHang:
    """SIGSTOP: the kernel still accepts connections, nobody answers."""

    def test_it_is_found_by_its_missing_heartbeat(self, server):
        front = server.front_pid
        since = server.log_mark()
        proc.kill(front, signal.SIGSTOP)
        wait_new_front(server, front)
        assert proc.is_gone(front)
        assert server.client.rows("SELECT 1") == [[1]]
        assert server.log_contains("heartbeat|hung|hang", since=since), server.log_text()
        server.settle()

    def test_deadlines_fire_meanwhile(self, server):
        """The runaway's worker is gone before the hung front is: the supervisor keeps the time itself."""
        front = server.front_pid
        c, pid = run(server, LEVENSHTEIN, timeout="500ms")
        proc.kill(front, signal.SIGSTOP)
        order = []

        def both():
            for name, who in (("worker", pid), ("front", front)):
                if name not in order and not proc.is_alive(who):
                    order.append(name)
            return len(order) == 2
        wait_until(both, lambda: f"{order}\n{server.log_text()}", every_s=0.002)
        assert order == ["worker", "front"]
        c.close()
        wait_new_front(server, front)
        server.settle()

    def test_a_short_pause_is_forgiven(self, server):
        front = server.front_pid
        for _ in range(3):
            proc.kill(front, signal.SIGSTOP)
            wait_until(lambda: proc.state(front) == "T", "not stopped")
            proc.kill(front, signal.SIGCONT)
            assert server.client.rows("SELECT 1") == [[1]]
        assert server.front_pid == front


def test_a_front_that_dies_at_once_every_time_is_not_restarted_in_a_storm(server):
    """Killed as soon as it is there: the supervisor goes on trying, without burning the machine, and serves again afterwards."""
    killed = set()

    def kill_fronts():
        for s in proc.descendants(server.pid):
            if s.pid not in killed and s.state != "Z" and s.name == "bulkhead-front":
                killed.add(s.pid)
                proc.kill(s.pid)
        return server.is_up()
    stays(kill_fronts, "the supervisor ended", 2.0)
    assert killed and len(killed) < 200
    wait_until(lambda: _serves(server), lambda: f"does not serve again:\n{server.log_text()}", 45)
    server.settle(45)


def _serves(server):
    try:
        return server.client.query("SELECT 1").status == 200
    except (OSError, Cut):
        return False
