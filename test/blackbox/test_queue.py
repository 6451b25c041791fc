"""More queries than workers: a bounded queue, and a clear word to those who find no place in it."""

import pytest

from lib.client import new_id
from lib.server import Server
from lib.sql import CROSS_JOIN, LEVENSHTEIN, SHORT_WORK
from lib.wait import wait_until


@pytest.fixture(scope="module")
def shared_server(items):
    with Server(items, set={"limits.queue_length": 3, "limits.queue_timeout": "60s"}) as s:
        yield s


@pytest.fixture
def pinned(server):
    """Both workers busy with something that does not end by itself."""
    ids = [new_id(), new_id()]
    connections = [server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": i}, timeout="120s") for i in ids]
    for i in ids:
        server.wait_running(i)
    yield connections
    for c in connections:
        c.close()


def wait_queue(server, length):
    wait_until(lambda: server.metric("bulkhead_queue_length") == length,
               lambda: f"{server.metric('bulkhead_queue_length')} in the queue, not {length}")


def test_those_who_wait_are_answered_in_turn(server, pinned):
    waiting = []
    for i in range(3):
        waiting.append(server.client.start_query("SELECT $1 AS i", params=[i]))
        wait_queue(server, i + 1)
    pinned[0].close()
    for i, c in enumerate(waiting):
        response = c.read_response()
        assert response.data == [[i]]
        assert float(response.json()["stats"]["queue_ms"]) > 0
        c.close()


def test_a_full_queue_says_overloaded_and_when_to_come_back(server, pinned):
    before = server.metrics()
    waiting = [server.client.start_query("SELECT 1") for _ in range(3)]
    wait_queue(server, 3)
    response = server.client.query("SELECT 1")
    response.problem(503, "overloaded")
    assert int(response.headers["Retry-After"]) >= 1
    server.wait_metric("bulkhead_rejected_total", before.get("bulkhead_rejected_total", code="overloaded") + 1, code="overloaded")
    assert server.metric("bulkhead_queue_length") == 3
    for c in pinned:
        c.close()
    for c in waiting:
        assert c.read_response().data == [[1]]
        c.close()


def test_one_who_leaves_the_queue_frees_the_place(server, pinned):
    waiting = [server.client.start_query("SELECT 1") for _ in range(3)]
    wait_queue(server, 3)
    waiting.pop().close()
    wait_queue(server, 2)
    waiting.append(server.client.start_query("SELECT 2 AS late"))
    wait_queue(server, 3)
    for c in pinned:
        c.close()
    for c in waiting:
        assert c.read_response().status == 200
        c.close()


def test_the_front_answers_while_every_worker_is_pinned(server, pinned):
    waiting = [server.client.start_query("SELECT 1") for _ in range(3)]
    wait_queue(server, 3)
    for _ in range(20):
        assert server.client.get("/healthz").status == 200
    assert server.client.get("/readyz").status == 200
    status = server.status()
    assert sum(1 for w in status["workers"] if w["query_id"]) == 2
    server.metrics().check_histogram("bulkhead_queue_seconds")
    for c in waiting:
        c.close()


def test_the_wait_has_a_limit(start):
    server = start(set={"pool.workers": 1, "limits.queue_timeout": "300ms"})
    mine = new_id()
    pin = server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": mine}, timeout="60s")
    server.wait_running(mine)
    response = server.client.query("SELECT 1")
    response.problem(503, "overloaded")
    assert server.metric("bulkhead_queue_length") == 0
    server.wait_metric("bulkhead_rejected_total", 1, code="overloaded")
    pin.close()
    wait_until(lambda: server.client.query("SELECT 1").status == 200, "does not serve again")


def test_without_a_queue_there_is_no_waiting(start):
    server = start(set={"pool.workers": 1, "limits.queue_length": 0})
    assert server.client.rows("SELECT 1") == [[1]]
    mine = new_id()
    pin = server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": mine}, timeout="60s")
    server.wait_running(mine)
    server.client.query("SELECT 1").problem(503, "overloaded")
    pin.close()


def test_waiting_does_not_count_as_execution(start):
    """The time limit is on the execution: a query that waited longer than its limit is still run."""
    server = start(set={"pool.workers": 1})
    mine = new_id()
    pin = server.client.start_query(LEVENSHTEIN, headers={"Bulkhead-Query-Id": mine}, timeout="1500ms")
    server.wait_running(mine)
    waiting = server.client.start_query("SELECT 1", timeout="500ms")
    assert pin.read_response().status == 504
    assert waiting.read_response().data == [[1]]


def test_a_burst_is_served_without_an_error(start):
    server = start(set={"limits.queue_length": 64, "limits.queue_timeout": "120s"})
    connections = [server.client.start_query(SHORT_WORK, timeout="60s") for _ in range(12)]
    rows = {str(c.read_response().data) for c in connections}
    assert len(rows) == 1
