"""Statements of a few kilobytes that blow the engine's parser or planner up: each costs its sender one worker at most, and nobody else anything."""

import pytest

from lib.keys import bearer, new_key
from lib.sql import LEVENSHTEIN
from lib.wait import wait_until

pytestmark = pytest.mark.fault

# The planner works on these for minutes or for ever, deaf to an interrupt or not.
ENDLESS = {
    "1.8 kB of 1+1+..": "SELECT " + "+".join(["1"] * 900),
    "strings": "SELECT " + "||".join(["'a'"] * 900),
    "20,000 ORs": "SELECT count(*) FROM range(10) t(i) WHERE " + " OR ".join(f"i = {n}" for n in range(20000)),
    "20,000 ANDs": "SELECT count(*) FROM range(10) t(i) WHERE " + " AND ".join(f"i <> {n}" for n in range(20000)),
    "doubling": "WITH c0 AS (FROM range(2))" + "".join(f", c{n} AS (FROM c{n - 1} a, c{n - 1} b)" for n in range(1, 30)) + " SELECT count(*) FROM c29",
    "100,000 comments in comments": "SELECT 1 " + "/*" * 100000,
    "unions": " UNION ALL ".join(["SELECT 1"] * 5000),
}
# These it refuses, or does.
HANDLED = {
    "100,000 brackets": "SELECT " + "(" * 100000 + "1" + ")" * 100000, "100,000 lists": "SELECT " + "[" * 100000 + "]" * 100000, "100,000 terms": "SELECT 1" + "+1" * 100000,
    "5,000 NOTs": "SELECT " + "NOT " * 5000 + "true", "50,000 columns": "SELECT " + ", ".join(f"i AS c{n}" for n in range(50000)) + " FROM range(1) t(i)",
    "20,000 values": "SELECT count(*) FROM range(10) t(i) WHERE i IN (" + ",".join(map(str, range(20000))) + ")", "subqueries": "SELECT * FROM " + "(SELECT * FROM " * 400 + "range(1)" + ")" * 400,
    "60 tables": "SELECT count(*) FROM " + ", ".join(f"range(1) t{n}(i)" for n in range(60)), "a long name": "SELECT " + "a" * 900000, "a long string": "SELECT length('" + "a" * 900000 + "')",
    "quotes": "SELECT " + "''" * 50000, "dollars": "SELECT $" + "a" * 200000 + "$x", "CASEs": "SELECT " + "CASE WHEN true THEN " * 3000 + "1" + " END" * 3000,
    "explains": "EXPLAIN " * 20000 + "SELECT 1", "withs": "WITH " + ", ".join(f"c{n} AS (SELECT 1)" for n in range(2000)) + " SELECT 1",
}


def lost(server):
    return sum(server.metric("bulkhead_worker_deaths_total", reason=r) for r in ("crash", "exit", "timeout", "cancel", "spent", "link", "memory"))


@pytest.fixture(scope="module")
def shared_server(items):
    from lib.server import Server

    with Server(items, set={"limits.timeout": "500ms"}) as s:
        yield s


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_plan_ends_at_the_timeout_or_the_cap(server, name):
    """With one worker lost at most; meanwhile others are answered by the rest."""
    before = lost(server)
    with server.client.start_query(ENDLESS[name]) as blown:
        for _ in range(5):
            assert server.client.rows("SELECT 7", timeout="30s") == [[7]]
        answer = blown.read_response()
    if answer.status == 507:  # on a fast machine some are at the memory cap before
        assert answer.problem(507, "out_of_memory")["stopped_by"] in ("kernel", "engine")
    else:
        assert answer.problem(504, "timeout")["stopped_by"] in ("interrupt", "term", "kill")
    server.settle()
    assert lost(server) <= before + 1


@pytest.mark.parametrize("name", HANDLED)
def test_what_the_engine_can_refuse_costs_a_worker_at_most(server, name):
    before = lost(server)
    response = server.client.query(HANDLED[name], timeout="60s")
    assert response.status in (200, 400, 403, 504, 507), response
    server.settle()
    assert lost(server) <= before + 1
    assert server.client.rows("SELECT 7") == [[7]]


def test_the_sender_pays(start, tmp_path):
    """Its key loses a place in the queue for a while; after the second worker the text is refused to it, and to it alone."""
    keys_file = tmp_path / "keys.ini"
    keys = {name: new_key(keys_file, name, role) for name, role in (("root", "admin"), ("bad", "reader"), ("good", "reader"))}
    s = start(set={"limits.quarantine": "10m", "limits.timeout": "300ms", "server.keys_file": keys_file}, key=keys["root"])
    text = ENDLESS["1.8 kB of 1+1+.."]

    def tenant(name):
        return next((t for t in s.status()["queue"].get("keys", []) if t["key"] == name), None)

    for _ in range(2):
        s.client.query(text, headers=bearer(keys["bad"])).problem(504, "timeout")
    s.wait_log("quarantined", key="bad", why="timeout")
    s.wait_metric("bulkhead_penalties_total", 2)
    with s.client.start_query(LEVENSHTEIN, headers=bearer(keys["bad"])), s.client.start_query(LEVENSHTEIN + " ", headers=bearer(keys["good"])):
        wait_until(lambda: tenant("bad") and tenant("good"), "they do not run")
        assert tenant("bad")["penalty"] >= 1 and tenant("good")["penalty"] == 0
    s.settle()
    before = lost(s)
    for _ in range(5):
        assert s.client.query(text, headers=bearer(keys["bad"])).problem(403, "forbidden")["what"] == "quarantine"
    s.settle()
    assert lost(s) == before
    s.client.query(text, headers=bearer(keys["good"])).problem(504, "timeout")  # another's own first time
    assert s.client.rows("SELECT 7", headers=bearer(keys["bad"])) == [[7]]
    wait_until(lambda: lost(s) == before + 1, "the third worker's death is not counted")
