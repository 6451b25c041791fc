"""Asynchronous queries: POST /v1/queries, their results with ranges and conditions, and their end."""

import json
import os
import threading
from pathlib import Path

import pytest

from lib import proc
from lib.asynchronous import fetch, result, start, submit, wait_over
from lib.client import Cut, new_id
from lib.formats import MEDIA
from lib.keys import bearer, new_key
from lib.server import Server
from lib.session import Session
from lib.sql import BIG_RESULT, CROSS_JOIN, LEVENSHTEIN, ROWS_THEN_RUNAWAY
from lib.wait import stays, wait_until

# 10,000,000 bytes and some: many rings.
LARGE = "SELECT i, md5(i::VARCHAR) AS h FROM range(500000) t(i)"  # beyond what the front copies itself


def spool_roots():
    return [p for p in Path("/var/tmp").glob("bulkhead-spool-*")]


class TestQueries:
    def test_a_small_result_is_what_the_query_gives(self, client):
        query_id = start(client, "SELECT 42 AS a, 'x' AS b")
        record = wait_over(client, query_id)
        response = fetch(client, query_id)
        assert response.status == 200 and response.content_type == "application/json"
        body = response.json()
        assert body["query_id"] == query_id and body["data"] == [[42, "x"]] and body["rows"] == 1
        assert (record["state"], record["code"], record["rows"], record["bytes"], record["progress"]) == ("done", "ok", 1, len(response.body), 1)
        assert response.headers["Accept-Ranges"] == "bytes" and response.headers["Content-Security-Policy"] == "sandbox"

    @pytest.mark.parametrize("form", MEDIA)
    def test_a_large_result_is_the_synchronous_one_byte_for_byte(self, client, form):
        want = client.query(LARGE, format=form)
        got = result(client, LARGE, format=form)
        assert got.status == 200 and got.content_type == MEDIA[form]
        if form == "json":  # the query's id and the times differ
            a, b = got.json(), want.json()
            assert a["data"] == b["data"] and a["columns"] == b["columns"]
        else:
            assert got.body == want.body
        assert len(got.body) == int(got.headers["Content-Length"])

    def test_the_worker_that_wrote_a_large_result_is_not_used_again(self, server, client):
        before = server.metric("bulkhead_worker_deaths_total", reason="retired")
        query_id = start(client, LARGE)
        assert wait_over(client, query_id)["state"] == "done"
        server.wait_metric("bulkhead_worker_deaths_total", before + 1, reason="retired")
        assert fetch(client, query_id).json()["rows"] == 500000

    def test_a_small_one_costs_no_worker(self, server, client):
        deaths = server.metric("bulkhead_worker_deaths_total", reason="retired")
        pids = sorted(server.worker_pids("pool"))
        for _ in range(5):
            assert result(client, "SELECT i FROM range(1000) t(i)").json()["rows"] == 1000
        assert sorted(server.worker_pids("pool")) == pids and server.metric("bulkhead_worker_deaths_total", reason="retired") == deaths

    def test_nor_does_one_that_the_front_can_copy(self, server, client):
        pids = sorted(server.worker_pids("pool"))
        sql = "SELECT i, md5(i::VARCHAR) AS h FROM range(250000) t(i)"  # 10 MB, many times the ring
        want = client.query(sql, format="csv").body
        assert result(client, sql, format="csv").body == want
        assert sorted(server.worker_pids("pool")) == pids

    def test_the_result_outlives_its_worker(self, server, client):
        query_id = start(client, LARGE, format="csv")
        wait_over(client, query_id)
        want = fetch(client, query_id).body
        for pid in server.worker_pids():
            proc.kill(pid)
        server.settle()
        assert fetch(client, query_id).body == want

    def test_compressed_once_it_stays_compressed(self, client):
        import gzip
        query_id = start(client, "SELECT i FROM range(100000) t(i)", headers={"Accept-Encoding": "gzip"}, format="csv")
        wait_over(client, query_id)
        response = fetch(client, query_id)
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(response.body).count(b"\r\n") == 100001

    def test_max_rows_cuts(self, client):
        response = result(client, "FROM range(1000)", format="csv", max_rows=10)
        assert response.headers["Bulkhead-Truncated"] == "true" and response.body.count(b"\r\n") == 11

    def test_parameters_and_raw_sql_work_as_in_a_synchronous_query(self, client):
        assert result(client, "SELECT $a + 1 AS b", params={"a": 41}).json()["data"] == [[42]]
        response = client.raw_sql("SELECT 7 AS a", "/v1/queries?format=csv&timeout=5s")
        assert response.status == 202
        wait_over(client, response.json()["id"])
        assert fetch(client, response.json()["id"]).body == b"a\r\n7\r\n"

    def test_what_is_wrong_with_the_request_is_said_at_once(self, client):
        submit(client, "SELECT 1", nosuch=1).problem(400, "bad_request")
        submit(client, "SELECT 1", headers={"Accept": "image/png"}).problem(406, "not_acceptable")
        client.request("POST", "/v1/queries", b"x", [("Content-Type", "text/weird")]).problem(415, "unsupported_media_type")
        client.request("PUT", "/v1/queries", b"").problem(405, "method_not_allowed")

    def test_an_id_may_be_chosen_and_is_kept_while_its_result_is(self, client):
        mine = new_id()
        assert start(client, "SELECT 1", headers={"Bulkhead-Query-Id": mine}) == mine
        wait_over(client, mine)
        submit(client, "SELECT 2", headers={"Bulkhead-Query-Id": mine}).problem(409, "conflict")
        assert client.request("DELETE", f"/v1/queries/{mine}").json() == {"id": mine, "state": "done"}
        fetch(client, mine).problem(410, "gone")
        assert start(client, "SELECT 2", headers={"Bulkhead-Query-Id": mine}) == mine
        wait_over(client, mine)
        assert fetch(client, mine).json()["data"] == [[2]]

    def test_a_disconnect_does_not_stop_it(self, server, client):
        c = client.connect()
        mine = new_id()
        c.send_request("POST", "/v1/queries", client.query_body(CROSS_JOIN, {"timeout": "60s"}),
                       [("Content-Type", "application/json"), ("Bulkhead-Query-Id", mine)])
        assert c.read_response().status == 202
        server.wait_running(mine)
        c.abort()
        stays(lambda: client.get(f"/v1/queries/{mine}").json()["state"] == "running", "it was stopped", for_s=0.5)
        client.request("DELETE", f"/v1/queries/{mine}")
        assert wait_over(client, mine)["state"] == "cancelled"


class TestFailures:
    def test_the_failure_is_the_result_s_answer(self, client):
        query_id = start(client, "SELECT nosuchcolumn FROM items")
        record = wait_over(client, query_id)
        assert (record["state"], record["code"]) == ("failed", "sql_error")
        problem = fetch(client, query_id).problem(400, "sql_error")
        assert problem["error_type"] == "Binder" and problem["detail"] == record["detail"] and problem["query_id"] == query_id

    def test_what_is_forbidden_fails_as_that(self, client):
        query_id = start(client, "DROP TABLE items")
        assert wait_over(client, query_id)["what"] == "DROP statement"
        assert fetch(client, query_id).problem(403, "forbidden")["what"] == "DROP statement"

    def test_before_its_end_there_is_no_result(self, server, client):
        query_id = start(client, CROSS_JOIN, timeout="60s")
        server.wait_running(query_id)
        response = fetch(client, query_id)
        assert "running" in response.problem(409, "conflict")["detail"] and int(response.headers["Retry-After"]) >= 1
        client.request("POST", f"/v1/queries/{query_id}/ticket").problem(409, "conflict")
        assert client.request("DELETE", f"/v1/queries/{query_id}").status == 202
        assert wait_over(client, query_id)["state"] == "cancelled"
        fetch(client, query_id).problem(499, "cancelled")

    @pytest.mark.parametrize("sql", [CROSS_JOIN, LEVENSHTEIN, ROWS_THEN_RUNAWAY])
    def test_its_timeout_counts(self, server, client, sql):
        query_id = start(client, sql, timeout="300ms")
        record = wait_over(client, query_id)
        assert record["code"] == "timeout" and record["stopped_by"] in ("interrupt", "term", "kill")
        problem = fetch(client, query_id).problem(504, "timeout")
        assert problem["stopped_by"] == record["stopped_by"] and problem["limit_ms"] == 300
        wait_until(lambda: server.metric("bulkhead_spool_files") == server.metric("bulkhead_results"), "a file is left")

    @pytest.mark.fault
    @pytest.mark.parametrize("sql", [CROSS_JOIN, ROWS_THEN_RUNAWAY])
    def test_a_crash_of_its_worker(self, server, client, sql):
        query_id = start(client, sql, timeout="60s")
        row = server.wait_running(query_id)
        if sql == ROWS_THEN_RUNAWAY:
            wait_until(lambda: client.get(f"/v1/queries/{query_id}").json()["bytes"] > 1_000_000, "nothing is spooled")
        proc.kill(row["pid"])
        assert wait_over(client, query_id)["code"] == "worker_crashed"
        assert fetch(client, query_id).problem(502, "worker_crashed")["signal"] == "SIGKILL"
        wait_until(lambda: server.metric("bulkhead_spool_files") == server.metric("bulkhead_results"), "a file is left")

    def test_a_synchronous_query_has_no_result_to_fetch(self, client):
        query_id = client.query("SELECT 1").query_id
        fetch(client, query_id).problem(404, "not_found")
        client.request("POST", f"/v1/queries/{query_id}/ticket").problem(404, "not_found")

    def test_unknown_ids(self, client):
        for query_id in (new_id(), "nonsense", "..%2f..", "a" * 300):
            fetch(client, query_id).problem(404, "not_found")


class TestRanges:
    @pytest.fixture(scope="class")
    def big(self, shared_server):
        query_id = start(shared_server.client, LARGE, format="csv")
        wait_over(shared_server.client, query_id)
        return query_id, fetch(shared_server.client, query_id)

    @pytest.mark.parametrize("text,first,end", [("0-0", 0, 1), ("100-199", 100, 200), ("5000000-", 5000000, None), ("-10", -10, None),
                                                ("9000000-99999999999", 9000000, None)])
    def test_one_range(self, client, big, text, first, end):
        query_id, whole = big
        response = fetch(client, query_id, {"Range": f"bytes={text}"})
        assert response.status == 206 and response.body == whole.body[first:end]
        total = len(whole.body)
        at = first if first >= 0 else total + first
        assert response.headers["Content-Range"] == f"bytes {at}-{at + len(response.body) - 1}/{total}"
        assert response.headers["ETag"] == whole.headers["ETag"]

    @pytest.mark.parametrize("text", ["bytes=0-1,5-6", "bytes=9-1", "lines=1-2", "bytes=x", ""])
    def test_what_is_no_single_range_gets_the_whole(self, client, big, text):
        response = fetch(client, big[0], {"Range": text})
        assert response.status == 200 and response.body == big[1].body and "Content-Range" not in response.headers

    def test_beyond_the_end(self, client, big):
        total = len(big[1].body)
        for text in (f"bytes={total}-", f"bytes={total}-{total + 5}", "bytes=-0"):
            response = fetch(client, big[0], {"Range": text})
            response.problem(416, "range_not_satisfiable")
            assert response.headers["Content-Range"] == f"bytes */{total}"

    def test_a_download_is_taken_up_again_only_of_the_same_bytes(self, client, big):
        query_id, whole = big
        etag = whole.headers["ETag"]
        assert etag.startswith('"')
        assert fetch(client, query_id, {"Range": "bytes=5-", "If-Range": etag}).status == 206
        for other in ('"other"', f"W/{etag}", "Sun, 06 Nov 1994 08:49:37 GMT"):
            response = fetch(client, query_id, {"Range": "bytes=5-", "If-Range": other})
            assert response.status == 200 and response.body == whole.body

    def test_conditions(self, client, big):
        query_id, whole = big
        etag = whole.headers["ETag"]
        response = fetch(client, query_id, {"If-None-Match": etag})
        assert response.status == 304 and response.headers["ETag"] == etag and not response.body
        assert fetch(client, query_id, {"If-None-Match": '"x"'}).status == 200
        failed = fetch(client, query_id, {"If-Match": '"x"'})
        assert (failed.status, failed.reason) == (412, "Precondition Failed")
        assert fetch(client, query_id, {"If-Match": etag}).status == 200

    def test_head_tells_all_but_the_bytes(self, client, big):
        query_id, whole = big
        response = fetch(client, query_id, method="HEAD")
        assert response.status == 200 and int(response.headers["Content-Length"]) == len(whole.body)
        for name in ("ETag", "Content-Type", "Accept-Ranges"):
            assert response.headers[name] == whole.headers[name]
        assert fetch(client, query_id, {"Range": "bytes=0-5"}, method="HEAD").status == 200

    def test_http_1_0(self, client, big):
        with client.connect() as c:
            response = c.request("GET", f"/v1/queries/{big[0]}/result", version="HTTP/1.0")
        assert response.body == big[1].body and int(response.headers["Content-Length"]) == len(response.body)

    def test_a_connection_goes_on_after_a_result(self, client, big):
        with client.connect() as c:
            for _ in range(3):
                assert c.request("GET", f"/v1/queries/{big[0]}/result").body == big[1].body
                assert c.request("GET", f"/v1/queries/{big[0]}/result", headers={"Range": "bytes=3-7"}).body == big[1].body[3:8]
            assert c.request("GET", "/healthz").status == 200

    def test_several_readers_at_once_get_it_whole(self, client, big):
        wrong = []

        def read():
            if fetch(client, big[0]).body != big[1].body:
                wrong.append(1)
        threads = [threading.Thread(target=read) for _ in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not wrong

    def test_readers_that_leave_leave_nothing(self, server, client, big):
        for _ in range(20):
            c = client.connect(receive_buffer=4096)
            c.send_request("GET", f"/v1/queries/{big[0]}/result")
            c.read_head()
            c.abort()
        wait_until(lambda: server.metric("bulkhead_connections") == 1, "connections are left")
        assert fetch(client, big[0]).body == big[1].body


class TestTickets:
    @pytest.fixture
    def done(self, client):
        query_id = start(client, "SELECT i FROM range(100) t(i)", format="csv")
        wait_over(client, query_id)
        return query_id

    def ticket(self, client, query_id):
        response = client.request("POST", f"/v1/queries/{query_id}/ticket")
        assert response.status == 201, response
        assert set(response.json()) == {"url", "expires_at"}
        return response.json()["url"]

    def test_it_is_good_for_one_get(self, server, client, done):
        url = self.ticket(client, done)
        want = fetch(client, done)
        for _ in range(3):  # which does not use it up
            assert int(client.request("HEAD", url).headers["Content-Length"]) == len(want.body)
        response = client.get(url)
        assert response.status == 200 and response.body == want.body and response.headers["Cache-Control"] == "no-store"
        client.get(url).problem(410, "gone")
        assert client.request("HEAD", url).status == 410
        assert not any(url.split("/")[-1] in line for line in server.lines), "the ticket is in the log"

    def test_each_is_another_one(self, client, done):
        urls = {self.ticket(client, done) for _ in range(10)}
        assert len(urls) == 10 and all(len(u.split("/")[-1]) >= 32 for u in urls)

    def test_a_guess_finds_nothing(self, client, done):
        url = self.ticket(client, done)
        for guess in ("x", url[:-1] + ("0" if url[-1] != "0" else "1"), url + "0", "/v1/tickets/" + "0" * 48):
            client.get(guess if guess.startswith("/") else f"/v1/tickets/{guess}").problem(404, "not_found")
        assert client.get(url).status == 200

    def test_they_are_bounded(self, client, done):
        for _ in range(16):
            self.ticket(client, done)
        response = client.request("POST", f"/v1/queries/{done}/ticket")
        response.problem(429, "rate_limited")
        assert int(response.headers["Retry-After"]) >= 1

    def test_it_goes_with_its_result(self, client, done):
        url = self.ticket(client, done)
        client.request("DELETE", f"/v1/queries/{done}")
        client.get(url).problem(410, "gone")


class TestKeys:
    @pytest.fixture(scope="class")
    def keyed(self, items, tmp_path_factory):
        path = tmp_path_factory.mktemp("keys") / "keys.ini"
        keys = {name: new_key(path, name, role) for name, role in (("root", "admin"), ("alice", "reader"), ("bob", "reader"))}
        with Server(items, set={"server.keys_file": path, "spool.per_key_bytes": "3MB"}, key=keys["root"]) as s:
            s.keys_file, s.key = path, keys
            yield s

    def test_another_s_result_is_not_there(self, keyed):
        alice, bob = bearer(keyed.key["alice"]), bearer(keyed.key["bob"])
        query_id = start(keyed.client, "SELECT 1", headers=alice)
        wait_over(keyed.client, query_id, alice)
        assert fetch(keyed.client, query_id, alice).status == 200
        fetch(keyed.client, query_id, bob).problem(404, "not_found")
        keyed.client.request("POST", f"/v1/queries/{query_id}/ticket", headers=bob).problem(404, "not_found")
        fetch(keyed.client.without_key(), query_id).problem(401, "unauthorized")
        assert fetch(keyed.client, query_id).status == 200  # an admin

    def test_a_ticket_needs_no_key(self, keyed):
        alice = bearer(keyed.key["alice"])
        query_id = start(keyed.client, "SELECT 1", headers=alice)
        wait_over(keyed.client, query_id, alice)
        url = keyed.client.request("POST", f"/v1/queries/{query_id}/ticket", headers=alice).json()["url"]
        assert keyed.client.without_key().get(url).json()["data"] == [[1]]
        keyed.client.without_key().get(url).problem(410, "gone")

    def test_a_key_has_its_share_of_the_spool(self, keyed):
        alice, bob = bearer(keyed.key["alice"]), bearer(keyed.key["bob"])
        query_id = start(keyed.client, BIG_RESULT, headers=alice)
        assert wait_over(keyed.client, query_id, alice)["code"] == "spool_full"
        fetch(keyed.client, query_id, alice).problem(507, "spool_full")
        query_id = start(keyed.client, "SELECT i FROM range(100000) t(i)", headers=bob)
        assert wait_over(keyed.client, query_id, bob)["state"] == "done"

    def test_a_revoked_key_s_results_are_gone(self, keyed):
        carol = new_key(keyed.keys_file, "carol", "reader")
        wait_until(lambda: keyed.client.request("GET", "/v1/queries", headers=bearer(carol)).status == 200, "the new key is not known")
        query_id = start(keyed.client, "SELECT 1", headers=bearer(carol))
        wait_over(keyed.client, query_id, bearer(carol))
        url = keyed.client.request("POST", f"/v1/queries/{query_id}/ticket", headers=bearer(carol)).json()["url"]
        from lib.server import run_cli
        assert run_cli("key", "revoke", "carol", "--keys", keyed.keys_file).returncode == 0
        wait_until(lambda: fetch(keyed.client, query_id).status == 410, "the result is kept")
        keyed.client.without_key().get(url).problem(410, "gone")


class TestLimits:
    def test_the_spool_s_quota(self, items):
        with Server(items, set={"spool.max_bytes": "8MB"}) as s:
            kept = start(s.client, "SELECT i FROM range(300000) t(i)", format="csv")
            assert wait_over(s.client, kept)["state"] == "done"
            query_id = start(s.client, BIG_RESULT)
            record = wait_over(s.client, query_id)
            assert record["code"] == "spool_full"
            fetch(s.client, query_id).problem(507, "spool_full")
            assert fetch(s.client, kept).status == 200
            size = wait_over(s.client, kept)["bytes"]
            wait_until(lambda: s.metric("bulkhead_spool_bytes") == size and s.metric("bulkhead_spool_files") == 1, "the failed one's file is left")
            s.client.request("DELETE", f"/v1/queries/{kept}")
            assert s.metric("bulkhead_spool_bytes") == 0 and s.metric("bulkhead_results") == 0

    def test_a_result_beyond_its_largest_size(self, items):
        with Server(items, set={"limits.max_result_bytes": "2MB"}) as s:
            query_id = start(s.client, BIG_RESULT)
            assert wait_over(s.client, query_id)["code"] == "result_too_large"
            assert fetch(s.client, query_id).problem(413, "result_too_large")["limit_bytes"] == 2_000_000
            wait_until(lambda: s.metric("bulkhead_spool_files") == 0, "its file is left")

    def test_without_a_spool_there_are_no_asynchronous_queries(self, items):
        with Server(items, set={"spool.max_bytes": 0}) as s:
            submit(s.client, "SELECT 1").problem(507, "spool_full")
            assert s.client.rows("SELECT 1") == [[1]]

    def test_results_have_their_time(self, items):
        with Server(items, set={"spool.ttl": "1s"}) as s:
            query_id = start(s.client, LARGE, format="csv")
            size = wait_over(s.client, query_id)["bytes"]
            c = s.client.connect(receive_buffer=4096)
            c.send_request("GET", f"/v1/queries/{query_id}/result")
            assert c.fill()
            wait_until(lambda: fetch(s.client, query_id).status == 410, "it is kept for ever")
            fetch(s.client, query_id).problem(410, "gone")
            s.client.request("POST", f"/v1/queries/{query_id}/ticket").problem(410, "gone")
            assert s.metric("bulkhead_results") == 0
            assert len(c.read_response().body) == size  # who has begun gets to its end
            c.close()
            wait_until(lambda: s.metric("bulkhead_spool_files") == 0, "its file is left")

    def test_a_time_of_nothing_is_refused(self, items):
        s = Server(items, set={"spool.ttl": "0"}, wait_ready=False)
        assert s.wait_end() == 2
        assert "spool" in s.log_text() and "ttl" in s.log_text()

    def test_kept_results_stay_known_beyond_the_history(self, items):
        with Server(items, set={"limits.history": 2}) as s:
            ids = [start(s.client, f"SELECT {i}") for i in range(6)]
            for i, query_id in enumerate(ids):
                wait_over(s.client, query_id)
                assert fetch(s.client, query_id).json()["data"] == [[i]]


class TestProgress:
    def test_it_grows_while_a_table_is_read(self, make_db):
        db = make_db().make("CREATE TABLE t AS SELECT i, md5(i::VARCHAR) AS h FROM range(1000000) t(i)")
        with Server(db) as s:
            query_id = start(s.client, "SELECT sum(length(md5(repeat(h, 1000)))) FROM t", timeout="300s")
            seen = set()

            def look():
                r = s.client.get(f"/v1/queries/{query_id}").json()
                if r["state"] == "running" and r["progress"] is not None:
                    seen.add(r["progress"])
                return len(seen) >= 3
            wait_until(look, lambda: f"only {seen}", 120)
            assert all(0 <= p <= 1 for p in seen)
            s.client.request("DELETE", f"/v1/queries/{query_id}")
            assert wait_over(s.client, query_id)["state"] == "cancelled"
            assert result(s.client, "SELECT 1").status == 200
            assert s.client.rows("SELECT 1") == [[1]]

    def test_nobody_asked_for_that_of_a_synchronous_one(self, server, client):
        mine = new_id()
        c = client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": mine}, timeout="60s")
        server.wait_running(mine)
        stays(lambda: client.get(f"/v1/queries/{mine}").json()["progress"] is None, "it has one", for_s=1.5)
        c.close()

    def test_settings_of_the_engine_are_not_for_callers(self, client):
        client.query("SET enable_progress_bar = true").problem(403, "forbidden")
        with Session(client) as s:
            s.query("SET enable_progress_bar = true").problem(403, "forbidden")


class TestQueue:
    def test_interactive_queries_go_first_and_the_others_get_their_turn(self, items):
        with Server(items, set={"pool.workers": 2}) as s:
            work = "SELECT sum(a.i * b.i % 7) AS s FROM range(10000) a(i), range(2000) b(i)"
            ids = [start(s.client, work) for _ in range(20)]
            assert s.status()["queue"]["background"] > 0
            for i in range(10):  # one place is never theirs
                assert s.client.query("SELECT 1").status == 200
            assert any(s.client.get(f"/v1/queries/{i}").json()["state"] in ("queued", "running") for i in ids)
            assert all(wait_over(s.client, i)["state"] == "done" for i in ids)


class TestSessions:
    def test_in_a_session_and_its_state_stays(self, server, client):
        with Session(client) as s:
            s.rows("CREATE TEMP TABLE t AS SELECT i, md5(i::VARCHAR) AS h FROM range(250000) t(i)")
            query_id = start(client, "FROM t ORDER BY i", session=s.id, format="csv")
            assert wait_over(client, query_id)["state"] == "done"
            want = client.query("SELECT i, md5(i::VARCHAR) AS h FROM range(250000) t(i)", format="csv").body
            assert fetch(client, query_id).body == want
            response = s.query("SELECT count(*) AS n FROM t")
            assert response.data == [[250000]] and "Bulkhead-Session-Reset" not in response.headers
            assert s.get().json()["resets"] == 0

    def test_it_outlives_its_session(self, client):
        with Session(client) as s:
            s.rows("CREATE TEMP TABLE t AS SELECT 7 AS a")
            query_id = start(client, "FROM t", session=s.id)
            wait_over(client, query_id)
        assert fetch(client, query_id).json()["data"] == [[7]]

    def test_a_busy_session_is_a_conflict(self, server, client):
        with Session(client) as s:
            query_id = start(client, CROSS_JOIN, session=s.id, timeout="60s")
            submit(client, "SELECT 1", session=s.id).problem(409, "conflict")
            client.request("DELETE", f"/v1/queries/{query_id}")
            wait_over(client, query_id)


class TestDeaths:
    @pytest.mark.fault
    def test_with_the_front_the_results_are_gone(self, items):
        with Server(items) as s:
            query_id = start(s.client, LARGE)
            wait_over(s.client, query_id)
            url = s.client.request("POST", f"/v1/queries/{query_id}/ticket").json()["url"]
            mark = s.log_mark()
            proc.kill(s.front_pid)
            s.wait_log("front_start", since=mark)
            fetch(s.client, query_id).problem(410, "gone")
            s.client.get(url).problem(404, "not_found")
            s.client.get(f"/v1/queries/{query_id}").problem(410, "gone")
            assert s.metric("bulkhead_spool_bytes") == 0
            assert result(s.client, "SELECT 1 AS a").json()["data"] == [[1]]

    @pytest.mark.fault
    def test_no_crash_leaves_a_file(self, items, tmp_path):
        s = Server(items, set={"spool.directory": str(tmp_path)})
        query_id = start(s.client, LARGE)
        wait_over(s.client, query_id)
        running = start(s.client, ROWS_THEN_RUNAWAY, timeout="60s")
        wait_until(lambda: s.client.get(f"/v1/queries/{running}").json()["bytes"] > 1_000_000, "nothing is spooled")
        files = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "lock"]
        assert files == [], "files have names"
        proc.kill(s.pid)
        s.wait_end()
        wait_until(lambda: not s.survivors(), "processes are left")
        s.destroy()
        with Server(items, set={"spool.directory": str(tmp_path)}):
            assert len(list(tmp_path.iterdir())) == 1
        assert list(tmp_path.iterdir()) == []

    def test_draining_does_not_wait_for_what_nobody_could_fetch(self, items):
        s = Server(items)
        query_id = start(s.client, CROSS_JOIN, timeout="120s")
        s.wait_running(query_id)
        s.stop()
        assert s.log_contains("query", query_id=query_id, code="cancelled")


class TestFull:
    def test_a_full_disk_is_spool_full(self, items, tmp_path):
        """A file system of 16 MB, where one can be mounted."""
        where = tmp_path / "small"
        where.mkdir()
        if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=16m,mode=1777 none {where} 2>/dev/null") != 0:
            pytest.skip("no file system can be mounted here")
        try:
            with Server(items, set={"spool.directory": str(where)}) as s:
                query_id = start(s.client, BIG_RESULT)
                assert wait_over(s.client, query_id)["code"] == "spool_full"
                fetch(s.client, query_id).problem(507, "spool_full")
                s.wait_log("spool_trouble")
                # The disk is free again with the worker that had the file open; and full again with somebody else's file.
                s.settle()
                (where / "filler").write_bytes(b"x" * 15_900_000)
                assert wait_over(s.client, start(s.client, LARGE))["code"] == "spool_full"
                ready = s.client.get("/readyz").json()
                assert ready["ready"] and ready["degraded"] and not ready["checks"]["spool"]["ok"]
                (where / "filler").unlink()
                wait_until(lambda: not s.client.get("/readyz").json()["degraded"], "the disk stays full")
                assert result(s.client, "SELECT 1 AS a").json()["data"] == [[1]]
                # synchronous ones are served in any case
                assert len(s.client.query(BIG_RESULT).body) > 30_000_000
        finally:
            os.system(f"umount {where}")


def test_a_long_poll_waits_for_its_end(client):
    query_id = start(client, "SELECT sum(a.i * b.i % 7) AS s FROM range(20000) a(i), range(2000) b(i)")
    body = client.get(f"/v1/queries/{query_id}?wait=60s").json()
    assert body["state"] == "done" and json.loads(fetch(client, query_id).text)["rows"] == 1


def test_a_cut_connection_is_noticed_by_its_reader(client, server):
    """The reader of a whole result is told when its server dies in the middle; here by what it lacks."""
    query_id = start(client, LARGE, format="csv")
    size = wait_over(client, query_id)["bytes"]
    c = client.connect(receive_buffer=4096)
    c.send_request("GET", f"/v1/queries/{query_id}/result")
    head = c.read_head()
    assert int(head.headers["Content-Length"]) == size
    c.sock.shutdown(1)  # half-closed: counts as leaving
    with pytest.raises(Cut):
        c._exactly(size)
    c.close()
