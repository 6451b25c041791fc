"""`profile`: what the engine counted of a query, for those that ask, and for nobody else."""

import pytest

from lib.client import new_id
from lib.server import Server
from lib.session import Session


def record(client, query_id):
    return client.get(f"/v1/queries/{query_id}").json()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    from lib.db import Db
    db = Db(tmp_path_factory.mktemp("profile")).make("CREATE TABLE big AS SELECT i, hash(i) AS h FROM range(200000) r(i)")
    with Server(db, set={"pool.memory_limit": "64MB", "session.memory_limit": "64MB"}) as s:
        yield s


def test_rows_scanned_cpu_and_memory(server, client):
    mine = new_id()
    r = client.query("SELECT count(*), sum(h % 7) FROM big", profile=True, headers={"Bulkhead-Query-Id": mine})
    p = r.json()["stats"]["profile"]
    assert p["rows_scanned"] == 200000 and p["cpu_ms"] > 0 and p["spill_bytes"] == 0
    kept = record(client, mine)["profile"]
    assert kept == {k: p[k] for k in ("rows_scanned", "spill_bytes", "peak_memory_bytes")}
    server.wait_log("query", query_id=mine, rows_scanned=200000, spill_bytes=0)


def test_a_query_that_spills_says_so(server, client):
    r = client.query("SELECT * FROM (SELECT i, h, repeat('x', 100) || i AS s FROM big, range(4)) ORDER BY s DESC, h LIMIT 1 OFFSET 700000", profile=True)
    assert r.json()["stats"]["profile"]["spill_bytes"] > 1_000_000, r.text


@pytest.mark.parametrize("fmt", ["ndjson", "csv", "arrow", "parquet"])
def test_every_format_has_it_in_the_register(client, fmt):
    mine = new_id()
    assert client.query("SELECT i FROM big", profile=True, format=fmt, headers={"Bulkhead-Query-Id": mine}).status == 200
    assert record(client, mine)["profile"]["rows_scanned"] == 200000


def test_raw_sql(client):
    assert client.raw_sql("SELECT sum(i) FROM big", "/v1/query?profile=1").json()["stats"]["profile"]["rows_scanned"] == 200000
    # What the engine knows without looking: nothing was scanned.
    assert client.raw_sql("SELECT count(*) FROM big", "/v1/query?profile=1").json()["stats"]["profile"]["rows_scanned"] == 0
    assert "profile" not in client.raw_sql("SELECT 1", "/v1/query?profile=0").json()["stats"]
    client.raw_sql("SELECT 1", "/v1/query?profile=yes").problem(400, "bad_request")
    client.query("SELECT 1", profile=1).problem(400, "bad_request")


def test_nobody_else_pays_for_it(server, client):
    """The profiler goes with the connection: the next query on that worker has none, and the same text as before is found in the cache."""
    for _ in range(4):
        client.query("SELECT 40 + 2", profile=True)
        mine = new_id()
        r = client.query("SELECT value FROM duckdb_settings() WHERE name = 'enable_profiling'", headers={"Bulkhead-Query-Id": mine})
        assert r.data == [[None]] and "profile" not in r.json()["stats"] and "profile" not in record(client, mine)


def test_what_was_cut_or_failed_has_none(client):
    mine = new_id()
    client.query("SELECT i FROM big", profile=True, max_rows=5, headers={"Bulkhead-Query-Id": mine})
    assert "profile" not in record(client, mine)
    client.query("SELECT 1/0 + 'x'::INT", profile=True).problem(400, "sql_error")
    assert client.rows("SELECT 1") == [[1]]


def test_in_a_session_it_is_off_again_afterwards(client):
    with Session(client) as session:
        session.rows("CREATE TEMP TABLE t AS SELECT * FROM big LIMIT 1000")
        r = client.query("SELECT sum(i) FROM t", session=session.id, profile=True)
        assert r.json()["stats"]["profile"]["rows_scanned"] == 1000
        assert session.rows("SELECT value FROM duckdb_settings() WHERE name = 'enable_profiling'") == [[None]]
        assert session.rows("SELECT count(*) FROM t") == [[1000]]
        client.query("SET enable_profiling = 'json'", session=session.id).problem(403, "forbidden")
    client.query("SET enable_profiling = 'json'").problem(403, "forbidden")
