"""A spare is no idle one: while every worker is busy, one of them at least with a large result, it runs what is quick. In every other respect it stays a
spare."""

import resource
import signal

import pytest

from lib import proc
from lib.client import new_id
from lib.keys import bearer, new_key
from lib.sql import CROSS_JOIN, LEVENSHTEIN, ROWS_THEN_RUNAWAY
from lib.wait import stays, wait_until

READERS = 200
ENDLESS = "SELECT i, md5(i::VARCHAR) FROM range(1000000000000) t(i)"
BULKY = "SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)"


@pytest.fixture
def server(start):
    """Each test's own: what a caller did with the lane counts for a while."""
    return start(set={"limits.queue_length": READERS + 20, "limits.queue_timeout": "300s"})


def run(server, sql, **fields):
    mine = new_id()
    c = server.client.start_query(sql, headers={"Bulkhead-Query-Id": mine}, timeout="300s", **fields)
    return c, server.wait_running(mine), mine


@pytest.fixture
def pinned(server):
    """SELECT 1 is known to be quick, and both workers run something that does not end by itself: its connections, rows and ids."""
    return pin(server)


def stream(server):
    """A result of which rows have left, and that does not end."""
    c, row, mine = run(server, ROWS_THEN_RUNAWAY, format="csv")
    wait_until(lambda: server.client.get(f"/v1/queries/{mine}").json()["bytes"] > 0, "no row has left")
    return c, row, mine


def pin(server):
    server.settle()
    for _ in range(3):
        assert server.client.rows("SELECT 1") == [[1]]
    return [*(run(server, CROSS_JOIN) for _ in range(int(server.settings["pool.workers"]) - 1)), stream(server)]


def end(pinned):
    for c, _, _ in pinned:
        c.close()


def spare(server):
    (row,) = wait_until(lambda: (rows := server.workers("spare")) and len(rows) == 1 and rows, "there is not one spare")
    return row


def queued(server):
    return server.status()["queue"]["length"]


class TestWhatRuns:
    def test_a_query_that_is_known_to_be_quick_does_not_wait(self, server, pinned):
        for i in range(20):
            assert server.client.rows("SELECT 1") == [[1]]
        rows = {w["query_id"] for w in server.workers("pool")}
        assert rows == {mine for _, _, mine in pinned}, "they were not what it ran beside"
        assert spare(server)["state"] == "spare" and spare(server)["slot"] is None and spare(server)["queries"] >= 20
        end(pinned)

    def test_behind_queries_that_only_compute_it_waits(self, server):
        server.settle()
        for _ in range(3):
            assert server.client.rows("SELECT 1") == [[1]]
        pinned = [run(server, CROSS_JOIN) for _ in range(2)]
        waiting = server.client.start_query("SELECT 1", timeout="60s")
        wait_until(lambda: queued(server) == 1, "it does not wait")
        stays(lambda: queued(server) == 1, "it was run", for_s=0.3)
        pinned[0][0].close()
        assert waiting.read_response().data == [[1]]
        waiting.close()
        end(pinned)

    def test_nor_does_a_small_one_that_nobody_knows(self, server, pinned):
        assert server.client.rows("SELECT 41 + 1 AS never_seen") == [[42]]
        end(pinned)

    def test_but_one_more_of_what_runs_does_and_a_large_one(self, server, pinned):
        large = f"SELECT 1 -- {'x' * 20000}"
        waiting = [server.client.start_query(sql, timeout="300s") for sql in (CROSS_JOIN, large)]
        wait_until(lambda: queued(server) == 2, lambda: server.status())
        assert server.client.rows("SELECT 1") == [[1]]
        stays(lambda: queued(server) == 2, "they were run", for_s=0.3)
        for c in waiting:
            c.close()
        end(pinned)

    def test_an_asynchronous_one_waits(self, server, pinned):
        response = server.client.request("POST", "/v1/queries", server.client.query_body("SELECT 1", {}), [("Content-Type", "application/json")])
        query_id = response.json()["id"]
        stays(lambda: server.client.get(f"/v1/queries/{query_id}").json()["state"] == "queued", "a background query ran there", for_s=0.3)
        assert server.client.request("DELETE", f"/v1/queries/{query_id}").status == 202
        end(pinned)

    def test_while_it_works_it_shows_as_busy_and_is_a_spare_all_the_same(self, server, pinned):
        c, row, mine = run(server, LEVENSHTEIN)
        assert (row["kind"], row["state"], row["slot"]) == ("spare", "busy", None)
        metrics = server.metrics()
        assert metrics.get("bulkhead_workers", state="busy") == 3 and metrics.get("bulkhead_workers", state="spare") == 0
        assert server.client.get(f"/v1/queries/{mine}").json()["worker"] is None
        assert len(server.workers("pool")) == 2 and len(server.workers()) == 3
        assert server.client.get("/readyz").status == 200
        c.close()
        end(pinned)

    def test_it_has_its_deadline_and_its_cancellation(self, server, pinned):
        response = server.client.query(LEVENSHTEIN, timeout="300ms")
        assert response.problem(504, "timeout")["stopped_by"] in ("term", "kill")
        wait_until(lambda: spare(server)["state"] == "spare", "no new spare")
        assert {w["query_id"] for w in server.workers("pool")} == {mine for _, _, mine in pinned}
        end(pinned)

    def test_who_held_it_for_long_has_to_wait_the_next_time(self, server, pinned):
        c, row, _ = run(server, LEVENSHTEIN)
        assert row["kind"] == "spare"
        wait_until(lambda: server.client.get("/v1/queries?state=running&limit=1").json()["queries"][0]["exec_ms"] > 1000, "it does not run")
        c.close()
        wait_until(lambda: spare(server)["state"] == "spare", "no new spare")
        waiting = server.client.start_query("SELECT 'not seen either' AS s", timeout="60s")
        wait_until(lambda: queued(server) == 1, "it was run at once")
        waiting.close()
        end(pinned)


def test_the_lane_stays_open_when_a_slow_client_s_worker_is_replaced(server):
    """Its result ends as a file, and it serves nobody after that: its successor starts before, and takes its slot, not the lane's worker."""
    server.settle()
    lane = spare(server)["pid"]
    c, row, _ = run(server, ENDLESS, format="csv")
    ready = wait_until(lambda: (rows := server.workers("spare")) and len(rows) == 2 and all(w["state"] == "spare" for w in rows) and rows,
                       lambda: f"no successor stands ready: {server.status()['workers']}")
    assert row["pid"] in {w["pid"] for w in server.workers("pool")}
    (successor,) = {w["pid"] for w in ready} - {lane}
    c.close()
    wait_until(lambda: {w["pid"] for w in server.workers("pool")} >= {successor} and row["pid"] not in {w["pid"] for w in server.workers()},
               lambda: f"it did not take the slot: {server.status()['workers']}")
    assert spare(server)["pid"] == lane


@pytest.mark.parametrize("texts", ["one text", "200 texts"])
def test_a_quick_query_passes_two_hundred_readers_who_read_nothing(server, pinned, texts):
    """The workers are held all the time, so that none of those before it is done when it is answered: but for the one that may have been taken for quick."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    readers = [server.client.start_query(BULKY if texts == "one text" else f"{BULKY} -- {i}", receive_buffer=4096, timeout="300s", format="csv")
               for i in range(READERS)]
    wait_until(lambda: queued(server) >= READERS - 5, lambda: server.status()["queue"])
    assert server.client.rows("SELECT 1") == [[1]]
    assert queued(server) >= READERS - 5
    assert {w["query_id"] for w in server.workers("pool")} == {mine for _, _, mine in pinned}
    for c in readers:
        c.abort()
    end(pinned)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TestSpare:
    @pytest.mark.parametrize("lane", ["idle", "busy"])
    def test_it_takes_the_slot_of_a_worker_that_dies(self, server, pinned, lane):
        (victim, row, _), (_, other, _) = pinned
        c, lane_row, mine = run(server, LEVENSHTEIN) if lane == "busy" else (None, spare(server), None)
        proc.kill(row["pid"], signal.SIGSEGV)
        victim.read_response().problem(502, "worker_crashed")
        taken = wait_until(lambda: next((w for w in server.workers("pool") if w["pid"] == lane_row["pid"]), None), "it was not given the slot")
        assert taken["slot"] == row["slot"] and taken["query_id"] == mine
        wait_until(lambda: spare(server)["state"] == "spare" and spare(server)["pid"] not in (lane_row["pid"], other["pid"]), "no new spare")
        if c:
            assert server.client.get(f"/v1/queries/{mine}").json()["worker"] == row["slot"]
            wait_until(lambda: server.client.query("SELECT 1").status == 200, "the new spare does not serve")
            c.close()
        else:
            again, again_row, _ = run(server, CROSS_JOIN)
            assert again_row["pid"] == lane_row["pid"]
            again.close()
        end(pinned)

    def test_its_own_death_is_an_ordinary_one(self, server, pinned):
        c, row, _ = run(server, LEVENSHTEIN)
        proc.kill(row["pid"], signal.SIGKILL)
        c.read_response().problem(502, "worker_crashed")
        wait_until(lambda: spare(server)["state"] == "spare" and spare(server)["pid"] != row["pid"], "no new spare")
        assert {w["query_id"] for w in server.workers("pool")} == {mine for _, _, mine in pinned}
        end(pinned)

    def test_a_new_front_has_one_again(self, start):
        server = start()
        front = server.front_pid
        end(pin(server))
        proc.kill(front, signal.SIGKILL)
        wait_until(lambda: server.is_up() and server.client.get("/healthz").status == 200 and server.front_pid != front, "no new front")
        server.settle()
        pinned = pin(server)
        assert server.client.rows("SELECT 1") == [[1]]
        end(pinned)

    def test_new_settings_and_the_number_of_queries_replace_it(self, start, tmp_path, items):
        ini = tmp_path / "b.ini"
        ini.write_text(f"[database]\npath = {items}\n[pool]\nrecycle_after = 4\nstatement_cache = 100\n")
        server = start(None, config=ini, set={"pool.workers": 1})
        pinned, first = pin(server), spare(server)["pid"]
        for _ in range(4):
            assert server.client.rows("SELECT 1") == [[1]]
        wait_until(lambda: spare(server)["pid"] != first and spare(server)["state"] == "spare", "it was not replaced after so many queries")
        second = spare(server)["pid"]
        ini.write_text(ini.read_text().replace("cache = 100", "cache = 90"))
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: spare(server)["pid"] != second and spare(server)["state"] == "spare", "it has the old settings")
        assert server.client.rows("SELECT 1") == [[1]]
        end(pinned)

    def test_with_isolation_by_key_it_serves_one_key_and_then_another_process_does(self, start, tmp_path):
        path = tmp_path / "keys.ini"
        key = {name: new_key(path, name, "admin" if name == "root" else "reader") for name in ("alice", "bob", "root")}
        server = start(set={"server.keys_file": path, "pool.workers": 1, "pool.isolation": "key"}, key=key["root"])
        for name in ("alice", "bob"):
            for _ in range(3):
                assert server.client.query("SELECT 1", headers=bearer(key[name])).data == [[1]]
        server.settle()
        pinned = [stream(server)]
        first = spare(server)["pid"]
        assert server.client.query("SELECT 1", headers=bearer(key["alice"])).data == [[1]]
        assert server.client.query("SELECT 1", headers=bearer(key["bob"])).data == [[1]]
        assert spare(server)["pid"] != first
        assert server.metric("bulkhead_worker_deaths_total", reason="crash") == 0
        end(pinned)

    def test_the_drain_waits_for_what_runs_there(self, start):
        server = start(set={"pool.workers": 1})
        server.settle()
        pinned = [stream(server)]
        c, row, _ = run(server, "SELECT sum(a.i * b.i % 7) AS s FROM range(20000) a(i), range(2000) b(i)")
        assert row["kind"] == "spare"
        server.send_signal(signal.SIGTERM)
        assert c.read_response().status == 200
        end(pinned)
        assert server.wait_end() == 0

    def test_without_spares_there_is_none(self, start):
        server = start(set={"pool.workers": 1, "pool.spares": 0})
        pinned = pin(server)
        c = server.client.start_query("SELECT 1")
        wait_until(lambda: queued(server) == 1, "it was run")
        end(pinned)
        assert c.read_response().data == [[1]]
        c.close()
