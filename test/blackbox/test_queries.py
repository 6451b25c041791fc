"""The register of queries: what runs, what ended and how, waiting for an end, and cancelling by id."""

import datetime
import re
import signal

import pytest

from lib import proc
from lib.client import Cut, new_id
from lib.server import Server
from lib.sql import CROSS_JOIN, ENDLESS_RESULT, LEVENSHTEIN, ROWS_THEN_RUNAWAY
from lib.wait import stays, wait_until

FIELDS = {"id", "state", "code", "key", "sql", "submitted_at", "queue_ms", "exec_ms", "rows", "bytes", "progress", "worker",
          "memory_bytes", "cpu_ms", "stopped_by"}


def record(server, query_id):
    response = server.client.get(f"/v1/queries/{query_id}")
    assert response.status == 200, response
    assert response.headers["Bulkhead-Query-Id"] == query_id
    return response.json()


def wait_over(server, query_id):
    """The record once the query is over, by the long poll itself."""
    response = server.client.get(f"/v1/queries/{query_id}?wait=60s")
    assert response.status == 200, response
    assert response.json()["state"] in ("done", "failed", "cancelled")
    return response.json()


def listed(server, query=""):
    response = server.client.get(f"/v1/queries{query}")
    assert response.status == 200, response
    return response.json()


def start(server, sql, **how):
    mine = new_id()
    return mine, server.client.start_query(sql, headers={"Bulkhead-Query-Id": mine}, **how)


def test_a_query_that_ended_is_remembered_with_every_field(server, client):
    response = client.query("SELECT i, 'x' AS t FROM range(10) t(i)")
    r = wait_over(server, response.query_id)
    assert FIELDS <= r.keys()
    assert (r["state"], r["code"], r["rows"], r["bytes"]) == ("done", "ok", 10, len(response.body))
    assert r["sql"] == "SELECT i, 'x' AS t FROM range(10) t(i)"
    assert r["key"] is None and r["stopped_by"] is None and r["progress"] == 1
    assert r["exec_ms"] > 0 and r["queue_ms"] >= 0 and r["cpu_ms"] >= 0 and r["memory_bytes"] > 1_000_000
    assert r["worker"] in (0, 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", r["submitted_at"])
    at = datetime.datetime.fromisoformat(r["submitted_at"].replace("Z", "+00:00"))
    assert abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()) < 60


def test_a_failed_query_is_remembered_with_its_reason(server, client):
    response = client.query("SELECT nosuchcolumn FROM items")
    problem = response.problem(400, "sql_error")
    r = wait_over(server, response.query_id)
    assert (r["state"], r["code"]) == ("failed", "sql_error")
    assert (r["detail"], r["error_type"], r["position"]) == (problem["detail"], "Binder", problem["position"])


def test_what_runs_shows_where_and_what_it_costs(server):
    mine, c = start(server, CROSS_JOIN, timeout="120s")
    row = server.wait_running(mine)
    r = wait_until(lambda: (r := record(server, mine))["cpu_ms"] > 200 and r["memory_bytes"] and r, "no cost is shown")
    assert (r["state"], r["code"], r["worker"]) == ("running", None, row["slot"])
    assert r["exec_ms"] > 0
    later = wait_until(lambda: (s := record(server, mine))["cpu_ms"] > r["cpu_ms"] and s, "CPU time stands still")
    assert later["exec_ms"] > r["exec_ms"]
    c.close()
    r = wait_over(server, mine)
    assert (r["state"], r["code"], r["stopped_by"]) == ("cancelled", "cancelled", "interrupt")
    assert r["cpu_ms"] >= later["cpu_ms"]


def test_one_that_waits_shows_as_queued(server):
    pins = [start(server, CROSS_JOIN, timeout="120s") for _ in range(2)]
    for mine, _ in pins:
        server.wait_running(mine)
    mine, c = start(server, "SELECT 1")
    wait_until(lambda: server.metric("bulkhead_queue_length") == 1, "it does not wait")
    r = record(server, mine)
    assert (r["state"], r["worker"], r["exec_ms"], r["cpu_ms"]) == ("queued", None, 0, None)
    assert [q["id"] for q in listed(server, "?state=queued")["queries"]] == [mine]
    assert {q["id"] for q in listed(server, "?state=running")["queries"]} == {i for i, _ in pins}
    assert {q["id"] for q in listed(server, "?state=running,queued")["queries"]} == {mine, *(i for i, _ in pins)}
    assert server.client.request("DELETE", f"/v1/queries/{mine}").status == 202
    c.read_response().problem(499, "cancelled")
    assert record(server, mine)["state"] == "cancelled"
    for _, c in pins:
        c.close()


def test_the_long_poll_answers_when_the_query_ends(server):
    mine, c = start(server, CROSS_JOIN, timeout="120s")
    server.wait_running(mine)
    polls = [server.client.connect() for _ in range(3)]
    for p in polls:
        p.send_request("GET", f"/v1/queries/{mine}?wait=60s")
    stays(lambda: not any(p.is_closed_by_peer() or p.buffered for p in polls), "a poll was answered early", 0.3)
    assert server.client.request("DELETE", f"/v1/queries/{mine}").status == 202
    for p in polls:
        assert p.read_response().json()["state"] == "cancelled"
        p.close()
    c.read_response().problem(499, "cancelled")


def test_the_long_poll_answers_when_its_time_is_up(server):
    mine, c = start(server, CROSS_JOIN, timeout="120s")
    server.wait_running(mine)
    assert server.client.get(f"/v1/queries/{mine}?wait=50ms").json()["state"] == "running"
    for wait in ("soon", "-1s", "5"):
        server.client.get(f"/v1/queries/{mine}?wait={wait}").problem(400, "bad_request")
    c.close()


def test_a_poll_that_goes_away_leaves_nothing(server):
    mine, c = start(server, CROSS_JOIN, timeout="120s")
    server.wait_running(mine)
    for how in ("close", "abort"):
        p = server.client.connect()
        p.send_request("GET", f"/v1/queries/{mine}?wait=60s")
        getattr(p, how)()
    wait_until(lambda: server.metric("bulkhead_connections") == 2, "connections are left")  # the query's and the metric's own
    c.close()
    assert wait_over(server, mine)["state"] == "cancelled"


@pytest.mark.parametrize("sql, by", [(CROSS_JOIN, "interrupt"), (LEVENSHTEIN, "term kill")])
def test_delete_ends_what_runs_through_the_ladder(server, sql, by):
    before = server.metrics()
    mine, c = start(server, sql, timeout="120s")
    pid = server.wait_running(mine)["pid"]
    wait_until(lambda: record(server, mine)["cpu_ms"] > 100, "it does not get to work")
    response = server.client.request("DELETE", f"/v1/queries/{mine}")
    assert response.status == 202, response
    assert response.json()["id"] == mine and response.headers["Bulkhead-Query-Id"] == mine
    answer = c.read_response()
    answer.problem(499, "cancelled")
    r = record(server, mine)
    assert (r["state"], r["code"]) == ("cancelled", "cancelled") and r["stopped_by"] in by.split()  # a busy machine is slow to die
    server.wait_metric("bulkhead_queries_total", before.get("bulkhead_queries_total", code="cancelled") + 1, code="cancelled")
    server.wait_metric("bulkhead_stops_total", before.get("bulkhead_stops_total", by=r["stopped_by"]) + 1, by=r["stopped_by"])
    assert server.log_contains("job_stop", by=r["stopped_by"])
    if by == "interrupt":  # the worker lives, and does nothing any more
        at = proc.cpu_ticks(pid)
        stays(lambda: proc.cpu_ticks(pid) - at <= 5, "the worker goes on working")
    else:
        wait_until(lambda: not proc.is_alive(pid), "the worker lives on")


def test_delete_cuts_a_result_that_is_on_its_way(server):
    mine, c = start(server, ENDLESS_RESULT, timeout="120s", receive_buffer=8192)
    c.read_head()
    assert server.client.request("DELETE", f"/v1/queries/{mine}").status == 202
    assert wait_over(server, mine)["state"] == "cancelled"
    with pytest.raises(Cut):
        while True:
            c._exactly(65536)
    c.close()


def test_delete_of_what_is_over_changes_nothing(server, client):
    mine = client.query("SELECT 1").query_id
    response = client.request("DELETE", f"/v1/queries/{mine}")
    assert response.status == 202 and response.json() == {"id": mine, "state": "done"}
    assert record(server, mine)["code"] == "ok"


def test_a_late_failure_cuts_the_body_and_the_register_has_the_reason(server):
    mine, c = start(server, ROWS_THEN_RUNAWAY, timeout="1s")
    with pytest.raises(Cut) as cut:
        c.read_response()
    assert cut.value.response.status == 200
    r = wait_over(server, mine)
    assert (r["state"], r["code"]) == ("failed", "timeout")
    assert r["stopped_by"] in ("interrupt", "term", "kill")
    assert "1000 ms" in r["detail"]


@pytest.mark.fault
def test_a_crash_is_remembered_with_its_signal(server):
    mine, c = start(server, CROSS_JOIN, timeout="120s")
    proc.kill(server.wait_running(mine)["pid"], signal.SIGSEGV)
    c.read_response().problem(502, "worker_crashed")
    r = record(server, mine)
    assert (r["state"], r["code"], r["signal"]) == ("failed", "worker_crashed", "SIGSEGV")
    assert r["cpu_ms"] is not None


def test_a_refused_query_is_not_in_the_register(server, client):
    mine = new_id()
    client.query("SELECT 1", headers={"Bulkhead-Query-Id": mine}, nosuchfield=1).problem(400, "bad_request")
    client.get(f"/v1/queries/{mine}").problem(404, "not_found")


def test_unknown_ids_are_404(client):
    for query_id in (new_id(), "nonsense", "..", "%2e%2e", "a" * 500, "%00x"):
        for method in ("GET", "DELETE"):
            response = client.request(method, f"/v1/queries/{query_id}")
            assert response.status in (404, 400), response
            if "%00" not in query_id:
                response.problem(404, "not_found")


def test_other_methods_are_refused_with_what_is_allowed(client):
    mine = client.query("SELECT 1").query_id
    response = client.request("PUT", f"/v1/queries/{mine}", b"")
    response.problem(405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "DELETE"}
    head = client.request("HEAD", f"/v1/queries/{mine}")
    assert head.status == 200 and int(head.headers["Content-Length"]) > 100


def test_an_id_can_be_used_again_after_its_query_and_not_before(server, client):
    mine, c = start(server, CROSS_JOIN, timeout="120s")
    server.wait_running(mine)
    for text in (mine, mine.upper()):
        client.query("SELECT 1", headers={"Bulkhead-Query-Id": text}).problem(409, "conflict")
    client.request("DELETE", f"/v1/queries/{mine.upper()}")
    c.read_response().problem(499, "cancelled")
    assert client.query("SELECT 7", headers={"Bulkhead-Query-Id": mine}).data == [[7]]
    assert record(server, mine)["sql"] == "SELECT 7"


def test_the_list_has_pages_newest_first(server, client):
    ids = [client.query(f"SELECT {i}").query_id for i in range(7)]
    ids.reverse()
    page = listed(server, "?limit=3")
    assert [q["id"] for q in page["queries"]] == ids[:3] and page["next"] == ids[2]
    page = listed(server, f"?limit=3&after={page['next']}")
    assert [q["id"] for q in page["queries"]] == ids[3:6]
    wait_over(server, ids[0])
    assert listed(server, "?state=done&limit=1")["queries"][0]["id"] == ids[0]
    everything = listed(server, "?limit=1000")
    assert everything["next"] is None and {*ids} <= {q["id"] for q in everything["queries"]}


@pytest.mark.parametrize("query", ["?limit=0", "?limit=1001", "?limit=x", "?state=sleeping", "?after=nonsense", "?nosuch=1",
                                   f"?after={new_id()}"])
def test_a_wrong_list_request_is_refused(client, query):
    client.get(f"/v1/queries{query}").problem(400, "bad_request")


def test_the_history_is_bounded(items):
    with Server(items, set={"limits.history": 5}) as s:
        ids = [s.client.query(f"SELECT {i}").query_id for i in range(12)]
        assert [q["id"] for q in listed(s)["queries"]] == list(reversed(ids[-5:]))
        s.client.get(f"/v1/queries/{ids[0]}").problem(410, "gone")


@pytest.mark.fault
def test_what_a_dead_front_knew_is_gone_and_what_nobody_knew_is_not_found(items):
    with Server(items) as s:
        mine = s.client.query("SELECT 1").query_id
        mark = s.log_mark()
        proc.kill(s.front_pid)
        s.wait_log("front_start", since=mark)
        s.client.get(f"/v1/queries/{mine}").problem(410, "gone")
        s.client.request("DELETE", f"/v1/queries/{mine}").problem(410, "gone")
        s.client.get(f"/v1/queries/{new_id()}").problem(404, "not_found")
        assert listed(s)["queries"] == []


def test_long_statements_do_not_fill_the_memory(items):
    """A history of the longest statements stays small: each is kept by its beginning."""
    with Server(items) as s:
        front = s.front_pid
        for i in range(20):
            s.client.query(f"SELECT {i}")
        before = proc.private_bytes(front)
        for i in range(200):
            assert s.client.query(f"SELECT {i} /* {'x' * 500_000} */").status == 200
        r = listed(s, "?limit=1")["queries"][0]
        assert r["sql_truncated"] is True and len(r["sql"]) == 2048
        assert proc.private_bytes(front) < before + 8_000_000


def test_without_a_history_nothing_is_remembered_and_what_runs_can_be_cancelled(items):
    with Server(items, set={"limits.history": 0}) as s:
        mine = s.client.query("SELECT 1").query_id
        s.client.get(f"/v1/queries/{mine}").problem(410, "gone")
        mine, c = start(s, CROSS_JOIN, timeout="120s")
        s.wait_running(mine)
        p = s.client.connect()
        p.send_request("GET", f"/v1/queries/{mine}?wait=60s")
        assert s.client.request("DELETE", f"/v1/queries/{mine}").status == 202
        c.read_response().problem(499, "cancelled")
        assert p.read_response().json()["state"] == "cancelled"
        p.close()
        assert listed(s)["queries"] == []


def test_draining_does_not_wait_for_a_poll(items):
    s = Server(items)
    mine, c = start(s, CROSS_JOIN, timeout="120s")
    s.wait_running(mine)
    p = s.client.connect()
    p.send_request("GET", f"/v1/queries/{mine}?wait=300s")
    wait_until(lambda: s.metric("bulkhead_connections") == 3, "the poll is not there")
    s.send_signal(signal.SIGTERM)
    assert p.read_response().json()["state"] == "running"
    c.close()
    s.stop()
