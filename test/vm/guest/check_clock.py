"""The machine's clock jumps, there and back, by an hour, a day and ten years: whatever is measured in time goes on as if nothing had happened,
except what is named by a date: a key's expiry."""

import contextlib
import os
import time

import pytest

from lib import asynchronous
from lib.client import new_id
from lib.keys import bearer, fake_key, new_key
from lib.server import Server
from lib.session import Session, open_session
from lib.wait import PATIENCE, wait_until

HOUR, DAY, DECADE = 3600, 86400, 3650 * 86400
JUMPS = {"ten years on": DECADE, "an hour back": -HOUR}
if "BULKHEAD_SOAK_MINUTES" in os.environ:
    JUMPS |= {"an hour on": HOUR, "a day on": DAY, "a day back": -DAY, "ten years back": -DECADE}
BUSY = "SELECT sum(sqrt(i::DOUBLE)) FROM range(100000000000) t(i)"
# What ends by the clock here, in seconds; on a slow machine nothing may end before it could be looked at.
SHORT_S, QUEUE_S, KEEP_S = (1, 3, 3) if PATIENCE == 1 else (6, 15, 6)


def shift(seconds):
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + seconds)


@contextlib.contextmanager
def jumped(seconds):
    shift(seconds)
    try:
        yield
    finally:
        shift(-seconds)


@pytest.fixture(params=JUMPS)
def jump(request):
    return JUMPS[request.param]


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory):
    return tmp_path_factory.mktemp("keys") / "keys.ini"


@pytest.fixture(scope="module")
def shared_server(items, keys_file):
    keys = {"root": new_key(keys_file, "root", "admin"), "alice": new_key(keys_file, "alice"), "slow": new_key(keys_file, "slow", "reader", "--rate", "1", "--burst", "1"),
            "week": new_key(keys_file, "week", "reader", "--expires", "7d")}
    with Server(items, key=keys["root"], set={"server.keys_file": keys_file, "pool.workers": 1, "limits.queue_timeout": f"{QUEUE_S}s", "limits.timeout": "300s",
                                              "spool.ttl": f"{KEEP_S}s", "session.max": 2, "session.memory_limit": "64MB"}) as s:
        s.keys = keys
        yield s


@pytest.fixture
def quiet(server):
    """The server a test leaves is the one it found, has lost no worker by itself, and has not filled its log."""
    mark = server.log_mark()
    yield server
    assert server.log_entries("worker_death", since=mark, reason="crash") == server.log_entries("worker_death", since=mark, reason="exit") == []
    assert server.log_entries("front_hung") == [] and server.log_entries("front_start")[1:] == []
    assert len(server.log_entries(since=mark)) < 100, server.log_text()


def ask(server, name, sql="SELECT 1", **how):
    return server.client.query(sql, headers=bearer(server.keys.get(name, name)), **how)


@contextlib.contextmanager
def pinned(server, **how):
    """The only worker is busy."""
    mine = new_id()
    with server.client.start_query(BUSY, headers={"Bulkhead-Query-Id": mine}, **how) as c:
        server.wait_running(mine)
        yield c, mine
        server.client.request("DELETE", f"/v1/queries/{mine}")


def test_a_deadline_comes_when_it_should(quiet, jump):
    began = time.monotonic()
    with pinned(quiet, timeout=f"{SHORT_S}s") as (c, _), jumped(jump):
        c.read_response().problem(504, "timeout")
    took = time.monotonic() - began
    assert SHORT_S <= took < SHORT_S + 20 * PATIENCE, took


def test_a_query_waits_its_time_and_is_served(quiet, jump):
    with pinned(quiet) as (c, mine):
        waiting = new_id()
        with quiet.client.start_query("SELECT 7", headers={"Bulkhead-Query-Id": waiting}) as other:
            wait_until(lambda: quiet.metric("bulkhead_queue_length") == 1, "does not wait")
            with jumped(jump):
                assert quiet.metric("bulkhead_queue_length") == 1
                quiet.client.request("DELETE", f"/v1/queries/{mine}")
                c.read_response().problem(499, "cancelled")
                assert other.read_response().data == [[7]]


def test_a_query_that_waits_too_long_is_refused_then(quiet, jump):
    with pinned(quiet):
        began = time.monotonic()
        with quiet.client.start_query("SELECT 7") as other:
            with jumped(jump):
                other.read_response().problem(503, "overloaded")
        took = time.monotonic() - began
    assert QUEUE_S * 0.99 <= took < QUEUE_S + 20 * PATIENCE, took


def short_session(client):
    """One that was open before its time was over, which on a slow machine may take a second try; (the session, its ttl, when it was asked for)."""
    for ttl in (KEEP_S, 4 * KEEP_S, 16 * KEEP_S):
        began, response = time.monotonic(), open_session(client, ttl=f"{ttl}s")
        if response.status == 201:
            return response.json()["id"], ttl, began
        assert response.problem(410, "gone") and time.monotonic() - began >= ttl
    raise AssertionError("no session is ever open in time")


def test_a_session_stays_and_ends_in_its_time(quiet, jump):
    with Session(quiet.client) as stays:
        ends, ttl, began = short_session(quiet.client)
        stays.query("CREATE TEMP TABLE t AS SELECT 5 AS i").data
        with jumped(jump):
            assert stays.rows("SELECT i FROM t") == [[5]]
            assert quiet.client.get(f"/v1/sessions/{ends}").status == 200 or time.monotonic() - began > ttl
            wait_until(lambda: quiet.client.get(f"/v1/sessions/{ends}").status == 410, "lives longer than its ttl", ttl + 10)
            assert time.monotonic() - began > ttl * 0.99
            assert stays.rows("SELECT i FROM t") == [[5]]


def test_a_kept_result_and_its_ticket_stay_and_end_in_their_time(quiet, jump):
    for _ in range(10):  # until one is looked at before its time is over
        began, query = time.monotonic(), asynchronous.start(quiet.client, "SELECT 11")
        asynchronous.wait_over(quiet.client, query)
        ticket = quiet.client.request("POST", f"/v1/queries/{query}/ticket")
        if ticket.status == 201:
            break
        assert ticket.status == 410 and time.monotonic() - began > KEEP_S, ticket
    assert ticket.status == 201, ticket
    with jumped(jump):
        kept, used = asynchronous.fetch(quiet.client, query), quiet.client.get(ticket.json()["url"])
        if time.monotonic() - began < KEEP_S:
            assert kept.status == used.status == 200, (kept, used)
            assert kept.data == used.data == [[11]]
        wait_until(lambda: asynchronous.fetch(quiet.client, query).status == 410, "is kept longer than its time", KEEP_S + 10)
        assert time.monotonic() - began > KEEP_S * 0.99


def test_a_rate_of_requests_stays_what_it_is(quiet, jump):
    def until_refused():
        for _ in range(50):
            answer = ask(quiet, "slow")
            if answer.status == 429:
                return answer
        raise AssertionError("its rate is no limit")

    until_refused()
    with jumped(jump):
        began, served = time.monotonic(), 0
        while served < 3:
            answer = ask(quiet, "slow")
            served += answer.status == 200
            assert answer.status == 200 or int(answer.headers["Retry-After"]) <= 2, answer
            assert time.monotonic() - began < 20 * PATIENCE, "it is refused for ever"
        assert time.monotonic() - began > 1.0, "the jump was a gift"


def test_an_address_with_wrong_keys_is_slowed_down_and_forgiven(quiet, jump):
    answers = [ask(quiet, fake_key(i)) for i in range(60)]
    assert any(a.status == 429 for a in answers), "the throttle does not work"
    with jumped(jump):
        after = ask(quiet, fake_key(1000))
        assert after.status == 401 or int(after.headers["Retry-After"]) <= 60, after
        assert ask(quiet, "alice").status == 200
        wait_until(lambda: ask(quiet, fake_key(1001)).status == 401, "is throttled for ever", 60)


def test_a_keys_expiry_is_a_date(quiet, jump):
    assert ask(quiet, "week").status == 200
    with jumped(jump):
        if jump > 7 * DAY:  # once what other tests did to the address is forgiven
            answer = wait_until(lambda: (a := ask(quiet, "week")).status != 429 and a, "is throttled for ever")
            assert "expired" in answer.problem(401, "unauthorized")["detail"]
        else:
            assert ask(quiet, "week").status == 200
    assert ask(quiet, "week").status == 200, "after the clock was put right"


def test_a_key_that_expires_takes_its_queries_along(quiet):
    with quiet.client.start_query(BUSY, headers={**bearer(quiet.keys["week"]), "Bulkhead-Query-Id": (mine := new_id())}) as c:
        quiet.wait_running(mine)
        with jumped(DECADE):
            c.read_response().problem(499, "cancelled")
    quiet.settle()


def test_an_idle_server_says_nothing_of_it(quiet, jump):
    quiet.settle()
    with jumped(jump):
        mark, began = quiet.log_mark(), time.monotonic()
        wait_until(lambda: time.monotonic() - began > 2, "time stands still", 10)
        assert len(quiet.log_entries(since=mark)) < 5, quiet.log_text()
        assert quiet.client.get("/readyz").status == 200 and quiet.client.get("/healthz").status == 200


def test_a_new_file_is_taken_up_all_the_same(start, make_db, jump):
    db = make_db().make("CREATE TABLE t AS SELECT 1 AS i")
    server = start(db, set={"session.max": 0})
    with jumped(jump):
        made = make_db("next.duckdb").make("CREATE TABLE t AS SELECT 2 AS i")
        made.path.replace(db.path)
        wait_until(lambda: server.client.rows("SELECT i FROM t") == [[2]], "the old file is served on")
