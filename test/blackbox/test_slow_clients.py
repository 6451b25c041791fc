"""Clients that are slower than their result: they get every byte, and hold no worker meanwhile."""

import resource
import time

import pytest

from lib import proc
from lib.client import Cut, new_id
from lib.server import Server
from lib.session import Session
from lib.sql import BIG_RESULT, ENDLESS_RESULT
from lib.wait import wait_until

MANY = 1000


@pytest.fixture(scope="module", autouse=True)
def room_for_connections():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def slow(client, sql, **fields):
    """A query whose answer nobody reads yet, beyond its head."""
    c = client.start_query(sql, receive_buffer=4096, timeout="60s", **fields)
    c.read_head()
    return c


def rest_of(c):
    """The chunked body that is left."""
    parts = []
    while (size := int(c._until(b"\r\n"), 16)) > 0:
        parts.append(c._exactly(size))
        assert c._exactly(2) == b"\r\n"
    assert c._until(b"\r\n") == b""
    return b"".join(parts)


@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_slow_readers_hold_no_worker_and_get_everything(server, client, form):
    want = client.query(BIG_RESULT, format=form).body
    readers = [slow(client, BIG_RESULT, format=form) for _ in range(5)]  # more than there are workers
    server.settle()
    assert server.metric("bulkhead_spool_files") == 5 and server.metric("bulkhead_spool_bytes") > 20_000_000
    assert client.rows("SELECT 1") == [[1]]
    for c in readers:
        assert rest_of(c) == want
        c.close()
    wait_until(lambda: server.metric("bulkhead_spool_files") == 0, "files are left")
    assert server.metric("bulkhead_spool_bytes") == 0


def test_what_was_taken_is_given_back_while_the_rest_waits(server, client):
    c = slow(client, BIG_RESULT, format="csv")
    server.settle()
    all_of_it = server.metric("bulkhead_spool_bytes")
    taken = 0
    while taken < 10_000_000:
        size = int(c._until(b"\r\n"), 16)
        taken += len(c._exactly(size))
        c._exactly(2)
    wait_until(lambda: server.metric("bulkhead_spool_bytes") < all_of_it - 8_000_000, "nothing was given back")
    c.close()


@pytest.mark.parametrize("rows", [24_000, 250_000], ids=["fits the ring", "10 MB"])
def test_a_result_that_the_front_can_copy_costs_no_worker(server, client, rows):
    sql = f"SELECT i, md5(i::VARCHAR) AS h FROM range({rows}) t(i)"  # some 900 KB are more than the socket takes
    pids = sorted(server.worker_pids("pool"))
    readers = [slow(client, sql, format="csv") for _ in range(6)]
    server.settle()
    assert sorted(server.worker_pids("pool")) == pids, "no worker was given a file: none has to go"
    want = client.query(sql, format="csv").body
    for c in readers:
        assert rest_of(c) == want
        c.close()


def test_the_record_says_how_far_its_client_is(server, client):
    mine = new_id()
    c = slow(client, BIG_RESULT, headers={"Bulkhead-Query-Id": mine}, format="csv")
    wait_until(lambda: client.get(f"/v1/queries/{mine}").json()["state"] == "delivering", "the worker is held")
    taken = client.get(f"/v1/queries/{mine}").json()["bytes"]
    size = len(rest_of(c))
    assert 0 < taken < size
    assert wait_until(lambda: (r := client.get(f"/v1/queries/{mine}?wait=10s").json())["state"] == "done" and r, "not done")["bytes"] == size
    c.close()


@pytest.mark.parametrize("how", ["reset", "close"])
def test_one_that_leaves_leaves_nothing(server, client, how):
    before = server.metric("bulkhead_queries_total", code="cancelled")
    readers = [slow(client, BIG_RESULT, format="csv") for _ in range(3)]
    readers += [slow(client, ENDLESS_RESULT, format="csv") for _ in range(2)]
    wait_until(lambda: server.metric("bulkhead_spool_files") == 5, "not in files")
    for c in readers:
        c.abort() if how == "reset" else c.close()
    wait_until(lambda: server.metric("bulkhead_spool_files") == 0, "files are left")
    assert server.metric("bulkhead_spool_bytes") == 0
    server.wait_metric("bulkhead_queries_total", before + 5, code="cancelled")


def test_delete_ends_what_waits_for_its_client(server, client):
    mine = new_id()
    c = slow(client, BIG_RESULT, headers={"Bulkhead-Query-Id": mine}, format="csv")
    server.settle()
    assert client.request("DELETE", f"/v1/queries/{mine}").status == 202
    with pytest.raises(Cut):
        rest_of(c)
    c.close()
    wait_until(lambda: server.metric("bulkhead_spool_files") == 0, "files are left")


def test_a_failure_after_the_turn_into_the_file_cuts_the_body(server, client):
    sql = "SELECT i, CASE WHEN i < 900000 THEN md5(i::VARCHAR) ELSE error('no further') END AS h FROM range(1000000) t(i)"
    mine = new_id()
    c = slow(client, sql, headers={"Bulkhead-Query-Id": mine}, format="csv")
    assert wait_until(lambda: (r := client.get(f"/v1/queries/{mine}").json())["state"] == "failed" and r, "did not fail")["code"] == "sql_error"
    with pytest.raises(Cut):
        rest_of(c)
    c.close()
    wait_until(lambda: server.metric("bulkhead_spool_files") == 0, "files are left")


def test_a_timeout_counts_though_the_client_is_slow(server, client):
    mine = new_id()
    c = client.start_query(ENDLESS_RESULT, headers={"Bulkhead-Query-Id": mine}, receive_buffer=4096, timeout="1s", format="csv")
    c.read_head()
    r = wait_until(lambda: (r := client.get(f"/v1/queries/{mine}").json())["state"] == "failed" and r, "runs for ever")
    assert r["code"] == "timeout"
    c.close()


def test_http_1_0_gets_a_length_whatever_the_size(server, client):
    want = client.query(BIG_RESULT, format="csv").body
    with client.connect() as c:
        c.send_request("POST", "/v1/query", client.query_body(BIG_RESULT, {"format": "csv"}), [("Content-Type", "application/json")], "HTTP/1.0")
        response = c.read_response()
    assert int(response.headers["Content-Length"]) == len(want) and response.body == want


def test_http_1_0_costs_no_worker_either(server, client):
    sql = "SELECT i, md5(i::VARCHAR) AS h FROM range(250000) t(i)"
    pids, want = sorted(server.worker_pids("pool")), client.query(sql, format="csv").body
    with client.connect() as c:
        c.send_request("POST", "/v1/query", client.query_body(sql, {"format": "csv"}), [("Content-Type", "application/json")], "HTTP/1.0")
        response = c.read_response()
    assert int(response.headers["Content-Length"]) == len(want) and response.body == want
    assert sorted(server.worker_pids("pool")) == pids


def test_a_slow_reader_gets_all_of_it_across_every_seam(server, client):
    """Socket, what the front copied, what the worker wrote: read in steps, so that the client catches up and falls behind again."""
    want = client.query(BIG_RESULT, format="csv").body
    c = slow(client, BIG_RESULT, format="csv")
    parts = []
    while (size := int(c._until(b"\r\n"), 16)) > 0:
        parts.append(c._exactly(size))
        assert c._exactly(2) == b"\r\n"
        if len(parts) < 40 and len(parts) % 4 == 0:
            time.sleep(0.06)
    assert b"".join(parts) == want
    c.close()


def test_in_a_session_it_waits_for_nobody_and_keeps_its_state(server, client):
    with Session(client) as s:
        s.rows("CREATE TEMP TABLE t AS SELECT i, md5(i::VARCHAR) AS h FROM range(500000) t(i)")
        want = s.query("FROM t ORDER BY i", format="csv").body
        c = s.start_query("FROM t ORDER BY i", receive_buffer=4096, format="csv")
        c.read_head()
        wait_until(lambda: s.query("SELECT count(*) AS n FROM t").status == 200, "the session stays busy")
        assert s.get().json()["resets"] == 0
        assert rest_of(c) == want
        c.close()


def test_with_a_full_spool_the_worker_waits_for_its_client(items):
    with Server(items, set={"spool.max_bytes": "6MB"}) as s:
        want = s.client.query(BIG_RESULT, format="csv").body
        c = slow(s.client, BIG_RESULT, format="csv")
        wait_until(lambda: s.metric("bulkhead_spool_bytes") > 3_000_000, "not in a file")
        time.sleep(1)
        assert s.metric("bulkhead_spool_bytes") <= 6_000_000
        assert [w["state"] for w in s.workers("pool")].count("busy") == 1
        assert s.client.rows("SELECT 1") == [[1]]
        assert rest_of(c) == want
        c.close()
        wait_until(lambda: s.metric("bulkhead_spool_files") == 0, "files are left")


def test_without_a_spool_too(items):
    with Server(items, set={"spool.max_bytes": 0}) as s:
        want = s.client.query(BIG_RESULT, format="csv").body
        c = slow(s.client, BIG_RESULT, format="csv")
        time.sleep(0.3)
        assert rest_of(c) == want and s.metric("bulkhead_spool_files") == 0
        c.close()
        with s.client.connect() as c:  # and HTTP/1.0 does without a length
            c.send_request("POST", "/v1/query", s.client.query_body(BIG_RESULT, {"format": "csv"}), [("Content-Type", "application/json")], "HTTP/1.0")
            assert c.read_response().body == want


@pytest.mark.fault
def test_a_worker_that_dies_after_its_part_takes_nothing_along(server, client):
    want = client.query(BIG_RESULT, format="csv").body
    c = slow(client, BIG_RESULT, format="csv")
    server.settle()
    for pid in server.worker_pids():
        proc.kill(pid)
    assert rest_of(c) == want
    c.close()


def test_a_short_query_does_not_wait_behind_a_row_of_bulky_ones(items):
    """All of one caller. It has been seen to be short, and the others, once the first of them is over, to be long."""
    with Server(items, set={"limits.queue_length": 300, "limits.queue_timeout": "120s"}) as s:
        assert s.client.rows("SELECT 1") == [[1]]
        readers = [s.client.start_query(BIG_RESULT, receive_buffer=4096, format="csv") for _ in range(80)]
        wait_until(lambda: s.status()["queue"]["length"] > 40, "they do not wait")
        assert s.client.rows("SELECT 1") == [[1]]
        assert s.status()["queue"]["length"] > 40, "it waited for its turn"
        for c in readers:
            c.abort()


def test_a_thousand_clients_at_a_kilobyte_a_second(items):
    """They hold results and no worker; the front does not grow with them; others are served. Most results fit the ring; each 25th
    is copied from there piece by piece, and each 100th goes on in its file by the worker's hand, which costs that worker's process."""
    def sql_of(i):
        return f"SELECT i, md5(i::VARCHAR) AS h FROM range({450000 if i % 100 == 0 else 40000 if i % 25 == 0 else 24000}) t(i)"

    sql = sql_of(0)
    with Server(items, set={"limits.queue_length": MANY, "limits.queue_timeout": "300s", "pool.overcommit": "yes"}) as s:
        for _ in range(20):
            s.client.query(sql, format="csv")
        front = s.front_pid
        before = proc.private_bytes(front)
        readers = [s.client.start_query(sql_of(i), receive_buffer=4096, format="csv") for i in range(MANY)]

        def pull():
            """A kilobyte for each, and a query of somebody else's meanwhile."""
            for c in readers:
                c.buffered += c.sock.recv(1024)
            assert s.client.rows("SELECT 1") == [[1]]
        pull()  # each has its head
        s.settle(120)
        assert s.metric("bulkhead_spool_files") > MANY * 0.9
        for _ in range(3):
            began = time.monotonic()
            pull()
            time.sleep(max(0, 1 - (time.monotonic() - began)))
        s.settle()
        grown = proc.private_bytes(front) - before
        assert grown < 16_000_000, f"the front has grown by {grown / MANY:.0f} bytes for each"
        for i in (0, 1, 100, 555, 999):
            readers[i].read_head()
            assert rest_of(readers[i]) == s.client.query(sql_of(i), format="csv").body
        for c in readers[1::2]:
            c.abort()
        for c in readers:
            c.close()
        wait_until(lambda: s.metric("bulkhead_spool_files") == 0, "files are left", 60)
        assert s.metric("bulkhead_spool_bytes") == 0
