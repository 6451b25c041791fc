"""A statement that ends workers is refused after the second: to its sender, and to all only after crashes of two keys. What a client asks for
itself never counts: nobody can keep another's statement from running."""

import signal

import pytest

from lib import proc
from lib.client import new_id
from lib.keys import bearer, new_key
from lib.sql import CROSS_JOIN, LEVENSHTEIN, SHORT_WORK
from lib.wait import wait_until

pytestmark = pytest.mark.fault

ON = {"limits.quarantine": "10m"}


def crash(server, sql, sig=signal.SIGSEGV, headers=()):
    """The worker dies of a signal in the middle of the statement."""
    mine = new_id()
    pairs = {"Bulkhead-Query-Id": mine, **dict(headers)}
    with server.client.start_query(sql, headers=pairs, timeout="60s") as c:
        pid = server.wait_running(mine)["pid"]
        proc.kill(pid, sig)
        c.read_response().problem(502, "worker_crashed")
    wait_until(lambda: proc.is_gone(pid), "not reaped")


def refused(server, sql, headers=(), **fields):
    before = server.metrics()
    response = server.client.query(sql, headers=headers, **fields)
    problem = response.problem(403, "forbidden")
    assert problem["what"] == "quarantine", problem
    assert 1 <= int(response.headers["Retry-After"]) <= 601
    server.wait_metric("bulkhead_quarantine_refusals_total", before.get("bulkhead_quarantine_refusals_total") + 1)
    server.wait_metric("bulkhead_rejected_total", before.get("bulkhead_rejected_total", code="forbidden") + 1, code="forbidden")
    return problem


def deaths(server):
    return sum(server.metric("bulkhead_worker_deaths_total", reason=r) for r in ("crash", "timeout", "cancel"))


class TestCrashes:
    def test_the_third_try_costs_no_worker(self, start):
        s = start(set=ON)
        crash(s, CROSS_JOIN)
        assert not s.log_entries("quarantined")
        crash(s, CROSS_JOIN, signal.SIGKILL)
        s.wait_log("quarantined", why="crash", refused_to="this key")
        assert s.metric("bulkhead_quarantined") == 1
        assert s.metric("bulkhead_quarantine_strikes_total", by="crash") == 2
        s.settle()
        before = deaths(s)
        for _ in range(5):
            refused(s, CROSS_JOIN)
        assert deaths(s) == before
        # It is that text, byte for byte, and nothing else.
        assert s.client.query(SHORT_WORK).status == 200
        with s.client.start_query(CROSS_JOIN + " ", timeout="60s") as c:
            wait_until(lambda: [w for w in s.workers() if w["query_id"]], "another text does not run")
            c.close()

    def test_it_ends_with_its_time(self, start):
        s = start(set={"limits.quarantine": "1s"})
        crash(s, CROSS_JOIN)
        crash(s, CROSS_JOIN)
        refused(s, CROSS_JOIN)
        wait_until(lambda: s.client.query(CROSS_JOIN, timeout="1ms").status != 403, "still refused")
        assert s.metric("bulkhead_quarantined") == 0
        crash(s, CROSS_JOIN)  # and one more is enough
        refused(s, CROSS_JOIN)

    def test_it_can_be_off(self, start):
        s = start(set={"limits.quarantine": "0"})
        for _ in range(4):
            crash(s, CROSS_JOIN)
        assert s.metric("bulkhead_quarantined") == 0 and not s.log_entries("quarantined")

    def test_what_waited_is_refused_too(self, start):
        """One statement, sent many times at once, costs two workers and not as many as were sent. Or three: a spare takes the slot, and the next
        job with it, while the second is still dying."""
        s = start(set={**ON, "pool.workers": 1, "limits.timeout": "300ms", "limits.queue_timeout": "60s"})
        before = deaths(s)
        connections = [s.client.start_query(LEVENSHTEIN) for _ in range(8)]
        codes = [c.read_response().json()["code"] for c in connections]
        killed = codes.count("timeout")
        assert killed in (2, 3) and codes.count("forbidden") == 8 - killed, codes
        s.settle()
        assert deaths(s) == before + killed
        assert s.client.rows("SELECT 1") == [[1]]


class TestKeys:
    @pytest.fixture
    def keyed(self, start, tmp_path):
        keys_file = tmp_path / "keys.ini"
        keys = {name: new_key(keys_file, name, role) for name, role in (("root", "admin"), ("a", "reader"), ("b", "reader"), ("c", "reader"))}
        s = start(set={**ON, "server.keys_file": keys_file, "limits.timeout": "300ms"}, key=keys["root"])
        return s, {name: bearer(key) for name, key in keys.items()}

    def test_an_administrator_clears_it(self, keyed):
        s, key = keyed
        for _ in range(2):
            crash(s, CROSS_JOIN, headers=key["a"])
        refused(s, CROSS_JOIN, headers=key["a"])
        clear = "/v1/admin/quarantine/clear"
        s.client.request("POST", clear, headers=key["a"]).problem(403, "forbidden")
        s.client.request("GET", clear, headers=key["root"]).problem(405, "method_not_allowed")
        s.client.request("POST", clear, b"x", key["root"]).problem(400, "bad_request")
        refused(s, CROSS_JOIN, headers=key["a"])
        assert s.client.request("POST", clear, headers=key["root"]).json() == {"cleared": 1}
        assert s.client.request("POST", clear, headers=key["root"]).json() == {"cleared": 0}
        s.wait_log("quarantine_cleared", key="root", statements=1)
        assert s.metric("bulkhead_quarantined") == 0
        s.client.query(CROSS_JOIN, headers=key["a"], timeout="10ms").problem(504, "timeout")
        crash(s, CROSS_JOIN, headers=key["a"])  # nothing is left of the strikes before
        s.client.query(CROSS_JOIN, headers=key["a"], timeout="10ms").problem(504, "timeout")

    def test_another_key_is_free_to_run_it(self, keyed):
        s, key = keyed
        for _ in range(2):
            crash(s, CROSS_JOIN, headers=key["a"])
        s.wait_log("quarantined", key="a", refused_to="this key")
        refused(s, CROSS_JOIN, headers=key["a"])
        s.client.query(CROSS_JOIN, headers=key["b"], timeout="10ms").problem(504, "timeout")

    def test_crashes_of_two_keys_close_it_to_all(self, keyed):
        s, key = keyed
        crash(s, CROSS_JOIN, headers=key["a"])
        s.client.query(CROSS_JOIN, headers=key["a"], timeout="10ms").problem(504, "timeout")
        crash(s, CROSS_JOIN, headers=key["b"])
        s.wait_log("quarantined", key="b", refused_to="every key")
        for name in ("a", "b", "c"):
            problem = refused(s, CROSS_JOIN, headers=key[name])
            assert "more than one key" in problem["detail"]

    def test_a_slow_statement_of_two_keys_stays_open_to_others(self, keyed):
        s, key = keyed
        for name in ("a", "b"):
            for _ in range(2):
                s.client.query(LEVENSHTEIN, headers=key[name]).problem(504, "timeout")
            refused(s, LEVENSHTEIN, headers=key[name])
        s.client.query(LEVENSHTEIN, headers=key["c"]).problem(504, "timeout")
        assert s.metric("bulkhead_quarantined") == 2 and not s.log_entries("quarantined", refused_to="every key")


class TestTimeouts:
    def test_killed_twice_under_the_servers_own_timeout(self, start):
        s = start(set={**ON, "limits.timeout": "300ms"})
        for _ in range(2):
            fields = s.client.query(LEVENSHTEIN).problem(504, "timeout")
            assert fields["stopped_by"] in ("term", "kill")
        s.wait_log("quarantined", why="timeout")
        problem = refused(s, LEVENSHTEIN)
        assert "longer timeout" in problem["detail"]
        refused(s, LEVENSHTEIN, timeout="100ms")
        assert s.metric("bulkhead_quarantine_strikes_total", by="timeout") == 2
        # Somebody who grants it more time is let through.
        s.client.query(LEVENSHTEIN, timeout="400ms").problem(504, "timeout")
        refused(s, LEVENSHTEIN, timeout="400ms")

    def test_what_an_interrupt_ends_is_no_strike(self, start):
        s = start(set={**ON, "limits.timeout": "100ms", "limits.interrupt_grace": "20s"})
        for _ in range(4):
            assert s.client.query(CROSS_JOIN).problem(504, "timeout")["stopped_by"] == "interrupt"
        assert s.metric("bulkhead_quarantine_strikes_total", by="timeout") == 0

    def test_a_clients_own_shorter_timeout_is_no_strike(self, start):
        s = start(set=ON)
        for _ in range(3):
            s.client.query(LEVENSHTEIN, timeout="100ms").problem(504, "timeout")
        assert s.metric("bulkhead_quarantine_strikes_total", by="timeout") == 0
        s.client.query(LEVENSHTEIN, timeout="100ms").problem(504, "timeout")

    def test_cancelling_and_leaving_are_no_strikes(self, start):
        s = start(set=ON)
        for i in range(4):
            mine = new_id()
            c = s.client.start_query(LEVENSHTEIN, headers={"Bulkhead-Query-Id": mine}, timeout="60s")
            s.wait_running(mine)
            if i % 2:
                assert s.client.request("DELETE", f"/v1/queries/{mine}").status == 202
                c.read_response().problem(499, "cancelled")
            c.close()
            s.settle()
        assert s.metric("bulkhead_quarantine_strikes_total", by="timeout") == 0
        assert s.metric("bulkhead_quarantine_strikes_total", by="crash") == 0
        s.client.query(LEVENSHTEIN, timeout="100ms").problem(504, "timeout")

    def test_an_error_is_no_strike(self, start):
        s = start(set=ON)
        for _ in range(4):
            s.client.query("SELECT error('x')").problem(400, "sql_error")
        assert s.client.query("SELECT error('x')").status == 400


def test_it_is_forgotten_with_the_front(start):
    s = start(set=ON)
    crash(s, CROSS_JOIN)
    crash(s, CROSS_JOIN)
    refused(s, CROSS_JOIN)
    old = s.front_pid
    proc.kill(old)
    wait_until(lambda: proc.is_gone(old), "the front lives")
    s.settle()
    s.client.query(CROSS_JOIN, timeout="10ms").problem(504, "timeout")
