"""Many callers of small queries, more than workers: the next query lies ready at a busy worker, and everybody still gets his own answer, once."""

import json
import os
import threading

import pytest

from lib.wait import wait_until

CALLERS = 24
EACH = 150
SQL = "SELECT $1 AS mine"  # one text, so that it is known to be quick; the value tells whose answer it is


@pytest.fixture
def server(start):
    s = start(set={"limits.queue_length": 10 * CALLERS, "limits.queue_timeout": "300s"})
    s.settle()
    for i in range(3):
        assert s.client.rows(SQL, [i]) == [[i]]
    return s


class Callers:
    """Each on a connection of its own; what goes wrong is kept for the test."""

    def __init__(self, server, one):
        self.server, self.one, self.wrong, self.answers = server, one, [], 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(CALLERS)]

    def run(self, n):
        try:
            for i in range(EACH):
                got = self.one(n, i)
                with self.lock:
                    self.answers += got
        except Exception as e:  # noqa: BLE001 - told by the test
            self.wrong.append(f"caller {n}: {e!r}")

    def all(self):
        for t in self.threads:
            t.start()
        for t in self.threads:
            t.join()
        assert not self.wrong, self.wrong[:5]
        return self.answers


def is_quiet(server):
    status = server.status()
    return status["queue"]["length"] == 0 and not any(w.get("query_id") for w in status["workers"])


def test_everybody_gets_his_own_answer(server):
    connections = [server.client.connect() for _ in range(CALLERS)]

    def one(n, i):
        value = n * 1_000_000 + i
        r = connections[n].request("POST", "/v1/query", json.dumps({"sql": SQL, "params": [value]}).encode(), [("Content-Type", "application/json")])
        assert r.status == 200 and r.data == [[value]], (value, r)
        assert r.json()["stats"]["queue_ms"] >= 0
        return 1

    before = server.metrics()
    assert Callers(server, one).all() == CALLERS * EACH
    assert server.metrics().get("bulkhead_queries_total", code="ok") - (before.get("bulkhead_queries_total", code="ok") or 0) == CALLERS * EACH
    assert not server.metric("bulkhead_worker_deaths_total", reason="link")
    wait_until(lambda: is_quiet(server), lambda: server.status())
    for c in connections:
        c.close()


def test_who_leaves_takes_nobody_s_answer_along(server):
    """A third of the callers hang up before they are answered, at any moment of their query's way."""

    def one(n, i):
        value = n * 1_000_000 + i
        with server.client.start_query(SQL, params=[value]) as c:
            if (n + i) % 3 == 0:
                c.abort()
                return 0
            r = c.read_response()
        assert r.status == 200 and r.data == [[value]], (value, r)
        return 1

    assert Callers(server, one).all() == sum((n + i) % 3 != 0 for n in range(CALLERS) for i in range(EACH))
    wait_until(lambda: is_quiet(server), lambda: server.status())
    assert not server.metric("bulkhead_worker_deaths_total", reason="link")
    assert server.client.rows(SQL, [7]) == [[7]]


def test_a_crash_costs_one_query_at_most(server):
    """Workers are killed under them: no answer is lost or given to another, and a death fails no more than what that worker ran."""
    connections = [server.client.connect() for _ in range(CALLERS)]
    failed = []

    def one(n, i):
        value = n * 1_000_000 + i
        r = connections[n].request("POST", "/v1/query", json.dumps({"sql": SQL, "params": [value]}).encode(), [("Content-Type", "application/json")])
        if r.status == 502:
            failed.append(r.problem(502, "worker_crashed"))
            return 0
        if r.status == 403:  # it crashed two workers, as the server sees it
            r.problem(403, "forbidden")
            return 0
        assert r.status == 200 and r.data == [[value]], (value, r)
        return 1

    callers = Callers(server, one)
    killed = 0

    def kill():
        nonlocal killed
        while any(t.is_alive() for t in callers.threads) and killed < 5:
            pids = server.worker_pids("pool")
            if pids:
                os.kill(pids[killed % len(pids)], 9)
                killed += 1
            wait_until(lambda: len(server.worker_pids("pool")) == 2 or not any(t.is_alive() for t in callers.threads), "no worker")

    killer = threading.Timer(0.05, kill)
    killer.start()
    callers.all()
    killer.join()
    assert killed >= 1
    assert len(failed) <= killed
    wait_until(lambda: is_quiet(server), lambda: server.status())
    for c in connections:
        c.close()
