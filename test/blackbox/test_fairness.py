"""Several keys want the same workers: whose turn it is, whose query gives way, what each may have."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import proc
from lib.client import new_id
from lib.keys import bearer, new_key
from lib.server import Server
from lib.sql import CROSS_JOIN
from lib.wait import stays, wait_until

KEYS = {"alice": (), "bob": (), "slow": ("--concurrency", "1", "--queue", "2"), "root": ()}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.ini"
    made = {name: new_key(path, name, "admin" if name == "root" else "reader", *options) for name, options in KEYS.items()}
    return path, made


@pytest.fixture(scope="module")
def shared_server(items, keys):
    with Server(items, set={"server.keys_file": keys[0], "limits.queue_length": 6, "limits.queue_timeout": "60s"}, key=keys[1]["root"]) as s:
        s.key = keys[1]
        yield s


def start_as(server, name, sql, query_id=None, **fields):
    headers = bearer(server.key[name])
    if query_id:
        headers["Bulkhead-Query-Id"] = query_id
    return server.client.start_query(sql, headers=headers, **fields)


def waiting(server):
    return {k["key"]: k["waiting"] for k in server.status()["queue"]["keys"]}


@pytest.fixture
def alice_everywhere(server):
    """Every worker runs a query of alice's that does not end by itself; (connections, ids)."""
    ids = [new_id(), new_id()]
    connections = [start_as(server, "alice", CROSS_JOIN, i, timeout="120s") for i in ids]
    for i in ids:
        server.wait_running(i)
    yield connections, ids
    for c in connections:
        c.close()


def test_another_key_s_query_takes_the_first_place_that_gets_free(server, alice_everywhere):
    pins, _ = alice_everywhere
    more = [start_as(server, "alice", CROSS_JOIN, timeout="120s") for _ in range(4)]
    wait_until(lambda: waiting(server).get("alice") == 4, lambda: waiting(server))
    bob = start_as(server, "bob", "SELECT 42")
    wait_until(lambda: waiting(server).get("bob") == 1, lambda: waiting(server))
    pins[0].close()
    assert bob.read_response().data == [[42]]  # had alice's next come first, it would hold the place for two minutes
    for c in [*more, bob]:
        c.close()


def test_a_key_that_fills_the_queue_does_not_shut_others_out(server, alice_everywhere):
    pins, _ = alice_everywhere
    before = server.metric("bulkhead_rejected_total", code="overloaded")
    more = [start_as(server, "alice", "SELECT 1") for _ in range(6)]
    wait_until(lambda: waiting(server).get("alice") == 6, lambda: waiting(server))
    bob = start_as(server, "bob", "SELECT 42")
    fields = more[-1].read_response().problem(503, "overloaded")
    assert "another key" in fields["detail"]
    assert waiting(server) == {"alice": 5, "bob": 1}
    assert server.metric("bulkhead_queue_length") == 6
    assert server.metric("bulkhead_rejected_total", code="overloaded") == before + 1
    response = server.client.query("SELECT 1", headers=bearer(server.key["alice"]))
    assert int(response.headers["Retry-After"]) >= 1 and response.problem(503, "overloaded")
    for c in pins:
        c.close()
    assert bob.read_response().data == [[42]]
    for c in more[:-1]:
        assert c.read_response().data == [[1]]
    for c in [*more, bob]:
        c.close()


def test_health_metrics_and_cancelling_need_no_worker(server, alice_everywhere):
    _, ids = alice_everywhere
    more = [start_as(server, "alice", "SELECT 1") for _ in range(6)]
    wait_until(lambda: waiting(server).get("alice") == 6, lambda: waiting(server))
    for target in ("/healthz", "/readyz", "/metrics", "/v1/status", "/v1/queries"):
        assert server.client.get(target).status == 200, target
    assert server.client.request("DELETE", f"/v1/queries/{ids[0]}").status == 202
    for c in more:
        assert c.read_response().data == [[1]]
        c.close()


def test_a_key_runs_no_more_queries_than_it_may(server):
    ids = [new_id() for _ in range(3)]
    first = start_as(server, "slow", CROSS_JOIN, ids[0], timeout="120s")
    server.wait_running(ids[0])
    others = [start_as(server, "slow", "SELECT 1", i) for i in ids[1:]]
    wait_until(lambda: waiting(server).get("slow") == 2, lambda: waiting(server))
    stays(lambda: waiting(server).get("slow") == 2, "started beyond its limit", for_s=0.3)
    assert server.client.query("SELECT 1", headers=bearer(server.key["bob"])).data == [[1]]
    response = server.client.query("SELECT 1", headers=bearer(server.key["slow"]))
    assert "slow" in response.problem(429, "rate_limited")["detail"] and int(response.headers["Retry-After"]) >= 1
    first.close()
    for c in others:
        assert c.read_response().data == [[1]]
        c.close()


def test_a_client_that_leaves_the_queue_half_closed_is_gone(server, alice_everywhere):
    import socket
    c = start_as(server, "alice", "SELECT 1")
    wait_until(lambda: waiting(server).get("alice") == 1, lambda: waiting(server))
    before = server.metric("bulkhead_queries_total", code="cancelled")
    c.sock.shutdown(socket.SHUT_WR)
    wait_until(lambda: waiting(server).get("alice") == 0, lambda: waiting(server))
    server.wait_metric("bulkhead_queries_total", before + 1, code="cancelled")
    c.close()


class TestIsolation:
    def test_no_worker_serves_two_keys(self, start, keys):
        server = start(set={"server.keys_file": keys[0], "pool.workers": 1, "pool.isolation": "key"}, key=keys[1]["root"])
        server.key = keys[1]
        seen = {}

        def run_as(name):
            before = {w["pid"] for w in server.workers()}
            query_id = new_id()
            assert server.client.query("SELECT 1", headers={**bearer(server.key[name]), "Bulkhead-Query-Id": query_id}).data == [[1]]
            row = next(w for w in server.workers("pool") if w["queries"] and w["state"] != "dying")
            assert before
            return row["pid"]
        for name in ("alice", "bob", "alice", "bob"):
            pid = run_as(name)
            assert run_as(name) == pid, "the same key keeps its worker"
            assert pid not in seen, f"{pid} served {seen[pid]} before {name}"
            seen[pid] = name
            wait_until(lambda: not [p for p in seen if p != pid and proc.is_alive(p)], "the other key's worker lives")
        server.wait_metric("bulkhead_worker_deaths_total", 3, reason="retired")

    def test_many_keys_at_once_are_all_served(self, start, keys):
        server = start(set={"server.keys_file": keys[0], "pool.isolation": "key", "limits.queue_length": 100, "limits.queue_timeout": "60s"},
                       key=keys[1]["root"])
        server.key = keys[1]
        connections = [start_as(server, ("alice", "bob", "root")[i % 3], f"SELECT {i}") for i in range(30)]
        for i, c in enumerate(connections):
            assert c.read_response().data == [[i]]
            c.close()

    def test_no_key_waits_while_others_take_turns(self, start, keys):
        """Three keys on two workers, each asking again as soon as it has its answer: whose query made an idle worker of another key go gets the one
        that comes instead of it."""
        server = start(set={"server.keys_file": keys[0], "pool.isolation": "key", "limits.queue_timeout": "60s"}, key=keys[1]["root"])
        answers = {name: 0 for name in ("alice", "bob", "root")}
        counts = []  # all keys' answers at the moment when one has had its share
        enough = threading.Event()

        def ask(name):
            while not enough.is_set():
                assert server.client.query("SELECT 1", headers=bearer(keys[1][name])).data == [[1]]
                answers[name] += 1
                if answers[name] >= 20 and not enough.is_set():
                    enough.set()
                    counts.append(dict(answers))
        with ThreadPoolExecutor(6) as pool:
            for done in [pool.submit(ask, name) for name in answers for _ in range(2)]:
                done.result()
        assert min(counts[0].values()) >= 10, counts[0]
